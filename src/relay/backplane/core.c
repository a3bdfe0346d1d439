// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>

#include "base/mem.h"
#include "obs/log.h"
#include "relay/backplane/core.h"
#include "relay/backplane/presence.h"
#include "sys/clock.h"

#define SMALL_SCRATCH (64 * 1024)

static const struct backplane_driver_ops *const drivers[] = {
    [BACKPLANE_SERVER] = &backplane_server_ops,
    [BACKPLANE_REDIS] = &backplane_redis_ops,
};

static struct backplane *make(struct shard *shard)
{
    const struct relay_config *config = shard->relay->config;
    struct backplane *plane = mem_zalloc(sizeof *plane);
    if (plane == NULL) {
        return NULL;
    }
    plane->shard = shard;
    plane->ops = drivers[config->backplane_mode];
    map_init(&plane->queries, &shard->worker->seed);
    list_init(&plane->known);
    list_init(&plane->announcements);
    list_init(&plane->tickets);
    // A byte of a frame takes six in JSON at worst.
    buf_init(&plane->text, 6 * config->max_frame_bytes + SMALL_SCRATCH);
    buf_init(&plane->scratch, 6 * config->max_frame_bytes + SMALL_SCRATCH);
    plane->seal = bus_seal_new(NULL, &shard->worker->seed,
        &(struct bus_seal_options){
            .key = config->bus_hmac_key,
            .max_skew_ms = config->bus_signature_max_skew_ms,
            .track_max = config->bus_freshness_track_max,
        });
    if (plane->seal == NULL) {
        mem_free(plane);
        return NULL;
    }
    return plane;
}

enum weir_result backplane_open(struct shard *shard, char *problem, size_t size)
{
    struct backplane *plane = make(shard);
    if (plane == NULL) {
        snprintf(problem, size, "the backplane: out of memory");
        return WEIR_MEMORY;
    }
    shard->backplane = plane;
    plane->driver = plane->ops->open(shard, problem, size);
    return plane->driver == NULL ? WEIR_MEMORY : WEIR_OK;
}

void backplane_close(struct shard *shard)
{
    struct backplane *plane = shard->backplane;
    if (plane == NULL) {
        return;
    }
    if (plane->driver != NULL) {
        plane->ops->close(plane->driver);
    }
    outgoing_fini(plane);
    presence_fini(plane);
    backplane_link(shard, true, NULL); // who has gone does not count
    bus_seal_free(plane->seal);
    buf_reset(&plane->text);
    buf_reset(&plane->scratch);
    shard->backplane = NULL;
    mem_free(plane);
}

uint64_t backplane_jitter(struct shard *shard, uint64_t bound_ns)
{
    uint64_t draw = ++shard->backplane->draws;
    return siphash(&shard->worker->seed, &draw, sizeof draw) % (bound_ns + 1);
}

void backplane_watch(struct shard *shard, struct slice workspace)
{
    struct backplane *plane = shard->backplane;
    if (plane != NULL && plane->ops->watch != NULL) {
        plane->ops->watch(plane->driver, workspace);
    }
}

void backplane_unwatch(struct shard *shard, struct slice workspace)
{
    struct backplane *plane = shard->backplane;
    if (plane != NULL && plane->ops->unwatch != NULL) {
        plane->ops->unwatch(plane->driver, workspace);
    }
}

// ---- The link

static void log_link(const struct backplane *plane, uint64_t now_wall_ms)
{
    struct log_line line;
    log_begin(&line, plane->down ? LOG_BACKPLANE_DOWN : LOG_BACKPLANE_UP);
    log_text(&line, "backplaneMode", plane->ops->name);
    log_u64(&line, "worker", plane->shard->worker->index);
    if (plane->down) {
        log_text(&line, "reason", plane->problem);
    } else {
        log_u64(&line, "downMs", now_wall_ms - plane->down_since_wall_ms);
    }
    log_end(&line);
}

static void go_down(struct backplane *plane, const char *problem)
{
    struct relay *relay = plane->shard->relay;
    plane->down = true;
    plane->down_since_wall_ms = sys_wall_ms();
    plane->problem = problem;
    log_link(plane, plane->down_since_wall_ms);
    metrics_count(plane->shard->worker->metrics, METRIC_BACKPLANE_LOSSES);
    metrics_set(plane->shard->worker->metrics, METRIC_BACKPLANE_LINKS_DOWN, 1);
    // Before it is down for those who look.
    atomic_store(&relay->link_problem, problem);
    if (atomic_load(&relay->links_down) == 0) {
        atomic_store(&relay->links_down_since_wall_ms, plane->down_since_wall_ms);
    }
    atomic_fetch_add(&relay->links_down, 1);
}

static void come_up(struct backplane *plane)
{
    uint64_t now_ms = sys_wall_ms();
    plane->down = false;
    plane->problem = NULL;
    // A clock that was set back must not make the outage endless.
    log_link(plane, now_ms > plane->down_since_wall_ms ? now_ms : plane->down_since_wall_ms);
    metrics_set(plane->shard->worker->metrics, METRIC_BACKPLANE_LINKS_DOWN, 0);
    atomic_fetch_sub(&plane->shard->relay->links_down, 1);
    presence_announce_again(plane);
}

void backplane_link(struct shard *shard, bool up, const char *problem)
{
    struct backplane *plane = shard->backplane;
    if (up && plane->down) {
        come_up(plane);
    } else if (!up && !plane->down) {
        go_down(plane, problem);
    }
}

void backplane_pulled(struct shard *shard, enum bus_end end)
{
    struct metrics_shard *metrics = shard->worker->metrics;
    if (end == BUS_END_OK) {
        metrics_count(metrics, METRIC_BUS_PULL_OK);
        return;
    }
    struct log_line line;
    metrics_count(metrics, METRIC_BUS_PULL_FAILED);
    metrics_bus_failure(metrics, BUS_CALL_PULL, end);
    log_begin(&line, LOG_RELAY_BUS_PULL_ERROR);
    log_text(&line, "reason", bus_end_label(end));
    log_end(&line);
}

void backplane_reject(struct shard *shard, enum metric metric, const char *reason)
{
    struct log_line line;
    metrics_count(shard->worker->metrics, metric);
    log_begin(&line, LOG_BUS_FRAME_REJECTED);
    log_text(&line, "reason", reason);
    log_end(&line);
}

void backplane_write_state(struct shard *shard, struct json_writer *json)
{
    const struct backplane *plane = shard->backplane;
    char since[TIME_ISO_SIZE];
    jsonw_object_begin(json, NULL);
    jsonw_u64(json, "worker", shard->worker->index);
    jsonw_bool(json, "up", !plane->down);
    if (plane->down) {
        time_to_iso(plane->down_since_wall_ms, since);
        jsonw_text(json, "downSince", since);
        jsonw_text(json, "problem", plane->problem);
    }
    if (plane->ops->write_state != NULL) {
        plane->ops->write_state(plane->driver, json);
    }
    jsonw_object_end(json);
}
