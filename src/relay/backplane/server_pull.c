// SPDX-License-Identifier: Apache-2.0
// The one puller of a process, on worker 0: a long poll for frames, which it hands to the workers
// they belong to; when all have handled theirs, the next one is asked for.
//
// A relay that starts under the name it had before finds what was meant for the one before it. That
// was handled, or is for connections that are gone: until the bus has once been empty, frames that
// were issued before the process was started are dropped.
//
//              ┌────────── all handled, or nothing came after a wait ─────────┐
//              ▼                                                              │
//   ASKING ── frames ──► HANDING ─────────────────────────────────────────────┤
//      │ failure                                                              │
//      └────────► PAUSING (random, longer with each failure; or because the platform did not wait)
//
// Invariants
//   1. One of the three at a time: so what is under way is one answer, and its size is bounded.
//   2. `since` never goes back, and a frame that is not above it is refused. An answer whose frames
//   do
//      not bring it forward is a bad one: else a platform could keep us busy with the same for
//      ever.
#include "base/mem.h"
#include "relay/backplane/server.h"
#include "relay/cell.h"

#define WAIT_MAX_MS 2000
#define PAUSE_MIN_NS (100 * NS_PER_MS)
#define PAUSE_MAX_NS (5 * NS_PER_S)
#define BODY_BYTES_MAX 8192
#define FRAME_JSON_FACTOR                                                                          \
    3 // bytes of an answer for one of a frame, at worst, with room for the rest

struct puller {
    struct server *server;
    struct http_call *call;
    struct timer timer;
    uint64_t since;
    uint64_t limit; // asked for now; halved while answers are too large
    uint64_t asked_ns;
    uint64_t asked_wait_ns;
    unsigned failures; // in a row
    bool got_frames;   // by the last answer
    bool caught_up;    // the bus was empty once
};

static const struct relay_config *config_of(const struct puller *puller)
{
    return puller->server->shard->relay->config;
}

static uint64_t wait_ms(const struct puller *puller)
{
    if (!puller->caught_up) {
        return 0;
    }
    uint64_t wait = config_of(puller)->bus_pull_wait_ms;
    return wait < WAIT_MAX_MS ? wait : WAIT_MAX_MS;
}

static size_t response_max(const struct puller *puller)
{
    const struct relay_config *config = config_of(puller);
    size_t frame = FRAME_JSON_FACTOR * config->max_frame_bytes + BODY_BYTES_MAX;
    size_t set = config->internal_api_max_response_bytes;
    return set > frame ? set : frame;
}

static void pause_for(struct puller *puller, uint64_t pause_ns)
{
    worker_arm_in(puller->server->shard->worker, &puller->timer, pause_ns);
}

// ---- Failures

static void note_failure(struct puller *puller, enum bus_end end)
{
    struct shard *shard = puller->server->shard;
    unsigned doublings = puller->failures < 6 ? puller->failures : 6;
    uint64_t bound_ns = PAUSE_MIN_NS << doublings;
    bool smaller = end == BUS_END_ANSWER_TOO_LARGE && puller->limit > 1;
    backplane_pulled(shard, end);
    if (smaller) {
        puller->limit /= 2;
        pause_for(puller, 0);
        return;
    }
    puller->failures++;
    backplane_link(shard, false, bus_end_english(end));
    pause_for(puller, backplane_jitter(shard, bound_ns < PAUSE_MAX_NS ? bound_ns : PAUSE_MAX_NS));
}

// ---- Asking and handing out

static void on_pulled(void *arg, const struct http_call_result *answer);

static void write_body(const struct puller *puller, struct buf *body)
{
    struct json_writer json;
    json_writer_init(&json, body);
    jsonw_object_begin(&json, NULL);
    jsonw_text(&json, "relayId", config_of(puller)->relay_id);
    jsonw_u64(&json, "sinceId", puller->since);
    jsonw_u64(&json, "limit", puller->limit);
    jsonw_u64(&json, "waitMs", wait_ms(puller));
    jsonw_object_end(&json);
}

static void ask(struct puller *puller)
{
    struct buf body;
    buf_init(&body, BODY_BYTES_MAX);
    write_body(puller, &body);
    puller->asked_ns = worker_now(puller->server->shard->worker);
    puller->asked_wait_ns = time_from_ms(wait_ms(puller));
    if (!body.failed) {
        puller->call = server_start(puller->server, SERVER_PULL, buf_slice(&body),
            puller->asked_wait_ns, response_max(puller), on_pulled, puller);
    }
    buf_reset(&body);
    if (puller->call == NULL) {
        note_failure(puller, BUS_END_NO_MEMORY);
    }
}

static void on_timer(struct timer *timer)
{
    ask(container_of(timer, struct puller, timer));
}

// A platform that answers at once although it has nothing is asked again after a pause.
static void on_handled(void *arg)
{
    struct puller *puller = arg;
    uint64_t pause_ns = time_from_ms(config_of(puller)->bus_poll_interval_ms);
    uint64_t took_ns = worker_now(puller->server->shard->worker) - puller->asked_ns;
    if (puller->got_frames || took_ns >= pause_ns || took_ns >= puller->asked_wait_ns) {
        ask(puller);
    } else {
        pause_for(puller, pause_ns - took_ns);
    }
}

// False: memory ran out.
static bool take_frame(struct puller *puller, struct slice frame, uint64_t since)
{
    char scratch[6 * CELL_ID_LEN_MAX];
    struct shard *shard = puller->server->shard;
    struct bus_envelope envelope = bus_message_peek(frame, scratch, sizeof scratch);
    puller->since = envelope.id > puller->since ? envelope.id : puller->since;
    if (envelope.id == 0) {
        backplane_reject(shard, METRIC_BUS_FRAMES_REJECTED, "malformed");
    } else if (envelope.id <= since) {
        backplane_reject(shard, METRIC_BUS_FRAMES_REJECTED, "repeated_id");
    } else if (!puller->caught_up && envelope.issued_at_ms < shard->relay->crew->started_wall_ms) {
        backplane_reject(shard, METRIC_BUS_FRAMES_DROPPED, "before_start");
    } else {
        return bus_mail_add(shard->relay->mail, shard, frame, &envelope, 0);
    }
    return true;
}

// BUS_END_OK: what is good of the answer is in the mail; otherwise nothing is.
static enum bus_end take_frames(struct puller *puller, const struct json_value *frames)
{
    struct slice rest = frames->text;
    struct slice frame;
    uint64_t since = puller->since;
    if (frames->kind != JSON_KIND_ARRAY) {
        return BUS_END_BAD_ANSWER;
    }
    puller->got_frames = false;
    while (json_array_next(&rest, &frame)) {
        puller->got_frames = true;
        if (!take_frame(puller, frame, since)) {
            break; // counted; the others may still go
        }
    }
    puller->caught_up = puller->caught_up || !puller->got_frames;
    return puller->got_frames && puller->since == since ? BUS_END_BAD_ANSWER : BUS_END_OK;
}

static void on_pulled(void *arg, const struct http_call_result *answer)
{
    struct puller *puller = arg;
    struct shard *shard = puller->server->shard;
    struct json_value values[SERVER_MEMBER_COUNT];
    enum bus_end end = server_judge(puller->server, answer, values);
    puller->call = NULL;
    if (end == BUS_END_OK) {
        end = take_frames(puller, &values[SERVER_FRAMES]);
    }
    if (end != BUS_END_OK) {
        note_failure(puller, end);
        return;
    }
    bool came_back = puller->failures > 0;
    puller->failures = 0;
    if (puller->limit < config_of(puller)->bus_pull_limit) {
        puller->limit = 2 * puller->limit < config_of(puller)->bus_pull_limit
                            ? 2 * puller->limit
                            : config_of(puller)->bus_pull_limit;
    }
    backplane_pulled(shard, BUS_END_OK);
    backplane_link(shard, true, NULL);
    if (came_back) {
        bus_mail_announce(shard->relay->mail);
    }
    if (puller->got_frames || came_back) {
        bus_mail_send(shard->relay->mail, shard, on_handled, puller);
    } else {
        on_handled(puller);
    }
}

// ---- Life

struct puller *puller_new(struct server *server)
{
    struct puller *puller = mem_zalloc(sizeof *puller);
    if (puller == NULL) {
        return NULL;
    }
    puller->server = server;
    puller->limit = config_of(puller)->bus_pull_limit;
    timer_init(&puller->timer, on_timer);
    pause_for(puller, 0);
    return puller;
}

void puller_free(struct puller *puller)
{
    if (puller == NULL) {
        return;
    }
    bus_mail_forget(puller->server->shard->relay->mail);
    timer_cancel(&puller->timer);
    http_call_cancel(puller->call);
    mem_free(puller);
}

void puller_write_state(const struct puller *puller, struct json_writer *json)
{
    jsonw_u64(json, "sinceId", puller->since);
    jsonw_u64(json, "failedPulls", puller->failures);
}
