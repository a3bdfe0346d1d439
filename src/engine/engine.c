// SPDX-License-Identifier: Apache-2.0
// The engine's life. Draining, on each worker (spec section 2.4):
//
//   drain ─► the gates drain, exchanges come to their end; who has come is still served, once
//         ─► all gates are closed (20 ms, a second at most): shut, no agent's connection comes in
//         ─► streams have gone, or GRACE_NS
//         ─► agents: close_notify and FIN (no CloseTunnelRsp: that would be for good)
//         ─► all have gone, or PARTING_NS ─► drained; what is left is cut when the worker stops
#include "engine/engine.h"

#include <stdio.h>

#include "base/mem.h"
#include "engine/api/feed.h"
#include "engine/api/watch.h"
#include "engine/control/control.h"
#include "engine/control/dial.h"
#include "engine/edge/census.h"
#include "engine/edge/edge.h"
#include "engine/edge/engine_tls.h"
#include "engine/edge/gate.h"
#include "engine/edge/parting.h"
#include "engine/edge/raw_stream.h"
#include "engine/edge/redirect.h"
#include "engine/edge/visitor_raw.h"
#include "engine/metrics/metrics_page.h"
#include "engine/shard.h"
#include "engine/upstream/upstream.h"
#include "obs/log.h"
#include "sys/clock.h"

#define GRACE_NS (5 * NS_PER_S)
#define NEWCOMERS_NS NS_PER_S // for the first request of who came last
#define DRAIN_LOOK_NS (20 * NS_PER_MS)
#define PARTING_NS NS_PER_S
#define STOP_ROUNDS 8 // of cutting, until nothing begets anything any more

// ---- Process-wide

enum weir_result engine_init(
    struct engine *engine, struct crew *crew, const struct engine_config *config)
{
    *engine = (struct engine){.crew = crew};
    engine->config = config;
    enum weir_result result = tls_tickets_init(&engine->tickets, sys_now_ns());
    if (result != WEIR_OK) {
        return result;
    }
    engine->notices = mem_zalloc(crew->count * sizeof *engine->notices);
    engine->metrics = engine_metrics_new(crew->count);
    engine->feed = feed_new(crew);
    engine->census = census_new(&crew->workers[0].seed);
    engine->directory = engine->feed == NULL ? NULL : directory_new(engine->feed);
    bool ok = engine->notices != NULL && engine->metrics != NULL && engine->directory != NULL &&
              engine->census != NULL;
    return ok ? WEIR_OK : WEIR_MEMORY;
}

void engine_fini(struct engine *engine)
{
    if (engine->crew == NULL) {
        return;
    }
    listen_set_close(&engine->listen);
    listen_set_close(&engine->redirect_listen);
    listen_set_close(&engine->metrics_listen);
    if (engine->directory != NULL) {
        directory_free(engine->directory);
    }
    if (engine->feed != NULL) {
        feed_free(engine->feed);
    }
    census_free(engine->census);
    engine_metrics_free(engine->metrics);
    mem_free(engine->notices);
    tls_tickets_fini(&engine->tickets);
    *engine = (struct engine){0};
}

// While two processes listen, an agent's connection for a stream may reach the one that does not wait
// for it: they should not stay so.
static enum weir_result listen_at(struct listen_set *set, const char *name,
    const struct conf_listen *listen, unsigned count, char *problem, size_t size)
{
    return listen_set_open(set,
        &(struct listen_wish){name, listen->host, (uint16_t)listen->port, count}, problem, size);
}

enum weir_result engine_listen(struct engine *engine, char *problem, size_t size)
{
    const struct engine_config *config = engine->config;
    unsigned count = engine->crew->count;
    enum weir_result result =
        listen_at(&engine->listen, "engine", &config->tls_listen, count, problem, size);
    if (result == WEIR_OK && config->http_enabled) {
        result = listen_at(&engine->redirect_listen, "engine-http", &config->http_listen, count,
            problem, size);
    }
    if (result == WEIR_OK && config->metrics_enabled) {
        result = listen_at(
            &engine->metrics_listen, "engine-metrics", &config->metrics_listen, 1, problem, size);
    }
    engine->address = engine->listen.address;
    return result;
}

// ---- Draining

static uint64_t drained_for_ns(const struct engine_shard *shard)
{
    return worker_now(shard->worker) - shard->drain_began_ns;
}

static bool has_newcomers(const struct engine_shard *shard)
{
    return !shard->shut || (shard->gate_conn_count > 0 && drained_for_ns(shard) < NEWCOMERS_NS);
}

// Those that still wait for their agent's connection do not count: it could not come in any more.
static bool has_streams(const struct engine_shard *shard)
{
    return !list_empty(&shard->raws) || !list_empty(&shard->h1_conns) ||
           !list_empty(&shard->h2_conns);
}

static void shard_done(struct engine_shard *shard)
{
    struct engine *engine = shard->engine;
    if (shard->drained) {
        return;
    }
    shard->drained = true;
    timer_cancel(&shard->drain_timer);
    if (atomic_fetch_sub(&engine->shards_busy, 1) == 1) {
        engine->drained(engine->drained_arg);
    }
}

static void look_if_done(struct engine_shard *shard)
{
    if (shard->parted && shard->channels.count == 0 && list_empty(&shard->partings)) {
        shard_done(shard);
    }
}

static void part_from_agents(struct engine_shard *shard)
{
    if (shard->parted || shard->stopping) {
        return;
    }
    shard->parted = true;
    upstream_drain(shard);
    controls_drain(shard);
    worker_arm_in(shard->worker, &shard->drain_timer, PARTING_NS);
    look_if_done(shard);
}

static void part_on_worker(struct worker *worker, struct job *job)
{
    struct engine_shard *shard = engine_shard_of(worker);
    (void)job;
    if (shard != NULL) {
        part_from_agents(shard);
    }
}

// The streams of one worker may be those of an agent on another: all wait for all.
static void note_quiet(struct engine_shard *shard)
{
    struct engine *engine = shard->engine;
    if (shard->quiet || has_newcomers(shard) || has_streams(shard)) {
        return;
    }
    shard->quiet = true;
    if (atomic_fetch_sub(&engine->shards_streaming, 1) != 1) {
        return;
    }
    for (unsigned i = 0; i < engine->crew->count; i++) {
        worker_post(&engine->crew->workers[i], &engine->notices[i].part, part_on_worker);
    }
}

void engine_note_departure(struct engine_shard *shard)
{
    if (shard->draining && !shard->drained && !shard->stopping) {
        note_quiet(shard);
        look_if_done(shard);
    }
}

static void look_at_gates(struct engine_shard *shard)
{
    struct engine *engine = shard->engine;
    if (!shard->gate_ended && !listener_is_open(&shard->gate)) {
        shard->gate_ended = true;
        atomic_fetch_sub(&engine->gates_open, 1);
    }
    if (!shard->shut && atomic_load(&engine->gates_open) == 0) {
        shard->shut = true;
        proxied_give_up(shard);
    }
}

static void on_drain_timer(struct timer *timer)
{
    struct engine_shard *shard = container_of(timer, struct engine_shard, drain_timer);
    if (shard->parted) {
        shard_done(shard);
        return;
    }
    if (drained_for_ns(shard) >= GRACE_NS) {
        part_from_agents(shard);
        return;
    }
    worker_arm_in(shard->worker, timer, DRAIN_LOOK_NS);
    look_at_gates(shard);
    if (drained_for_ns(shard) >= NEWCOMERS_NS) {
        edge_h1_drain(shard, true);
        edge_h2_drain(shard);
    }
    engine_note_departure(shard);
}

static void drain_on_worker(struct worker *worker, struct job *job)
{
    struct engine_shard *shard = engine_shard_of(worker);
    (void)job;
    if (shard == NULL) {
        return; // it could not start, which ends the crew anyway
    }
    shard->draining = true;
    shard->drain_began_ns = worker_now(worker);
    gate_drain(shard);
    http_server_drain(&shard->redirect);
    edge_h1_drain(shard, false);
    edge_h2_drain(shard);
    watch_drain(shard);
    worker_arm_in(worker, &shard->drain_timer, DRAIN_LOOK_NS);
}

void engine_drain(struct engine *engine, void (*drained)(void *arg), void *arg)
{
    if (atomic_exchange(&engine->draining, true)) {
        return;
    }
    engine->drained = drained;
    engine->drained_arg = arg;
    atomic_store(&engine->shards_busy, engine->crew->count);
    atomic_store(&engine->gates_open, engine->crew->count);
    atomic_store(&engine->shards_streaming, engine->crew->count);
    for (unsigned i = 0; i < engine->crew->count; i++) {
        worker_post(&engine->crew->workers[i], &engine->notices[i].drain, drain_on_worker);
    }
}

// ---- Reloading

static void load_pages(struct engine_shard *shard)
{
    const char *path;
    struct log_line line;
    if (pages_load(&shard->pages, shard->engine->config, &path) != WEIR_OK &&
        shard->worker->index == 0) {
        log_begin(&line, LOG_CONFIG_WARNING);
        log_text(&line, "warning", "a page cannot be read");
        log_text(&line, "path", path);
        log_end(&line);
    }
}

static void reload_on_worker(struct worker *worker, struct job *job)
{
    struct engine_shard *shard = engine_shard_of(worker);
    atomic_store(&container_of(job, struct engine_notice, reload)->reload_posted, false);
    if (shard != NULL && !shard->draining) {
        engine_reload_certificate(shard);
        load_pages(shard);
        controls_withdraw(shard);
        watch_withdraw(shard);
    }
}

void engine_reload(struct engine *engine, const struct engine_config *config)
{
    engine->config = config;
    for (unsigned i = 0; i < engine->crew->count; i++) {
        struct engine_notice *notice = &engine->notices[i];
        if (!atomic_exchange(&notice->reload_posted, true)) {
            worker_post(&engine->crew->workers[i], &notice->reload, reload_on_worker);
        }
    }
}

// ---- A shard

// On one worker for all.
static void on_ticket_timer(struct timer *timer)
{
    struct engine_shard *shard = container_of(timer, struct engine_shard, ticket_timer);
    worker_arm(
        shard->worker, timer, tls_tickets_turn(&shard->engine->tickets, worker_now(shard->worker)));
}

static void shard_init(struct engine_shard *shard, struct engine *engine, struct worker *worker)
{
    struct list *lists[] = {&shard->gate_conns, &shard->partings, &shard->probes, &shard->holding,
        &shard->dials, &shard->raw_visitors, &shard->raws, &shard->h1_conns, &shard->h2_conns,
        &shard->watchers};
    shard->engine = engine;
    shard->worker = worker;
    shard->metrics = &engine->metrics[worker->index];
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        list_init(lists[i]);
    }
    map_init(&shard->channels, &worker->seed);
    map_init(&shard->proxied, &worker->seed);
    blocks_init(&shard->blocks);
    list_init(&shard->relief.node);
    gate_init(shard);
    upstream_shard_init(shard);
    tls_pairs_init(&shard->tls_pairs, &shard->tls, &worker->seed);
    host_cache_init(&shard->host_cache, engine->directory, worker);
    timer_init(&shard->drain_timer, on_drain_timer);
    timer_init(&shard->ticket_timer, on_ticket_timer);
    if (worker->index == 0) {
        on_ticket_timer(&shard->ticket_timer);
    }
}

static enum weir_result open_listeners(struct engine_shard *shard, char *problem, size_t size)
{
    struct engine *engine = shard->engine;
    unsigned index = shard->worker->index;
    enum weir_result result = engine_load_certificate(shard, problem, size);
    if (result == WEIR_OK) {
        result = gate_open(shard, listen_set_take(&engine->listen, index));
        shard->gate.inherited = engine->listen.inherited;
    }
    if (result == WEIR_OK && engine->redirect_listen.count > 0) {
        result = redirect_open(shard, listen_set_take(&engine->redirect_listen, index));
        shard->redirect.listener.inherited = engine->redirect_listen.inherited;
    }
    if (result == WEIR_OK && index == 0 && engine->metrics_listen.count > 0) {
        result = engine_metrics_serve(shard, listen_set_take(&engine->metrics_listen, 0));
        shard->metrics_server.listener.inherited = engine->metrics_listen.inherited;
    }
    return result;
}

enum weir_result engine_worker_start(
    struct engine *engine, struct worker *worker, char *problem, size_t size)
{
    struct engine_shard *shard = mem_zalloc(sizeof *shard);
    snprintf(problem, size, "out of memory");
    if (shard == NULL) {
        return WEIR_MEMORY;
    }
    shard_init(shard, engine, worker);
    worker->rooms[ROOM_ENGINE] = shard;
    load_pages(shard);
    watch_attach(shard);
    return open_listeners(shard, problem, size);
}

static void cut_all(struct engine_shard *shard)
{
    gate_close(shard);
    edge_h1_close(shard);
    edge_h2_close(shard);
    upstream_close_all(shard);
    visitors_raw_cut(shard);
    dials_cut(shard);
    raw_streams_cut(shard);
    controls_drain(shard);
    control_probes_cut(shard);
    partings_cut(shard);
}

void engine_worker_stop(struct worker *worker)
{
    struct engine_shard *shard = engine_shard_of(worker);
    if (shard == NULL) {
        return;
    }
    shard->draining = shard->parted = shard->drained = shard->stopping = true;
    timer_cancel(&shard->drain_timer);
    timer_cancel(&shard->ticket_timer);
    http_server_close(&shard->redirect);
    http_server_close(&shard->metrics_server);
    for (unsigned i = 0; i < STOP_ROUNDS; i++) {
        cut_all(shard);
        worker_settle(worker);
    }
    weir_assert(list_empty(&shard->raws) && list_empty(&shard->holding));
    weir_assert(shard->channels.count == 0 && shard->proxied.count == 0);
    worker->rooms[ROOM_ENGINE] = NULL;
    map_fini(&shard->channels);
    map_fini(&shard->proxied);
    host_cache_fini(&shard->host_cache);
    upstream_shard_fini(shard);
    blocks_fini(&shard->blocks);
    pages_fini(&shard->pages);
    tls_pairs_fini(&shard->tls_pairs);
    tls_server_fini(&shard->tls);
    mem_free(shard);
}
