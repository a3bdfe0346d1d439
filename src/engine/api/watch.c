// SPDX-License-Identifier: Apache-2.0
//   BEGIN ─► CLIENTS ─► TUNNELS ─► LIVE ─┬─► the visitor leaves (cancel), or an SSE ends
//     ▲     (one message: the snapshot)  │
//     └──── stale: it was too slow ──────┤
//                                        └─► PARTING (a WebSocket's closing handshake, 2 s)
//
// 1. A watcher is subscribed to the feed and in shard->watchers from watch_start until `leave`.
// 2. The snapshot and the subscription are one moment: events up to watcher->number are in the
//    snapshot, also when they are delivered later.
// 3. The queue holds references of shared events; past its bounds it is dropped, what was in it is
//    counted, and a snapshot taken later makes good for all of it.
// 4. Only `pump` writes snapshots and queued events; it never runs inside a call from the front.
// 5. After every call that may write, the watcher may be gone: exchange->ended says so.
#include "engine/api/watch_internal.h"

#include "base/mem.h"
#include "base/time.h"
#include "sys/clock.h"

#define QUEUE_EVENTS_MAX 1024
#define QUEUE_BYTES_MAX (1u << 20)
#define PIECE_BYTES_MAX (1u << 20) // the last object of it may be this large
#define WRITES_PER_TURN 8
#define TICK_NS (15 * NS_PER_S) // keep-alive of SSE; every other one a ping of WebSockets
#define SILENCE_NS (90 * NS_PER_S)
#define BLOCKED_NS (90 * NS_PER_S)
#define PARTING_NS (2 * NS_PER_S)

static void pump(struct worker *worker, struct job *job);

static void pump_later(struct watcher *watcher)
{
    if (!list_linked(&watcher->job.node)) {
        worker_defer(watcher->shard->worker, &watcher->job, pump);
    }
}

// ---- The end.

static struct feed_event *queue_pop(struct watcher *watcher)
{
    struct feed_event *event = watcher->queue[watcher->queue_start];
    watcher->queue_start = (watcher->queue_start + 1) % QUEUE_EVENTS_MAX;
    watcher->queue_bytes -= event->json.len;
    if (--watcher->queue_count == 0) {
        mem_free(watcher->queue);
        watcher->queue = NULL;
    }
    return event;
}

static size_t queue_drop(struct watcher *watcher)
{
    size_t count = watcher->queue_count;
    while (watcher->queue_count > 0) {
        feed_event_unref(queue_pop(watcher));
    }
    return count;
}

static enum engine_metric gauge_of(const struct watcher *watcher)
{
    return watcher->transport == WATCH_SSE ? ENGINE_WATCH_SUBSCRIBERS_SSE
                                           : ENGINE_WATCH_SUBSCRIBERS_WEBSOCKET;
}

// Watches no more; safe to repeat.
static void leave(struct watcher *watcher)
{
    if (!list_linked(&watcher->node)) {
        return;
    }
    list_remove(&watcher->node);
    list_remove(&watcher->job.node);
    feed_unsubscribe(watcher->shard->engine->feed, watcher->shard->worker);
    engine_add(watcher->shard, gauge_of(watcher), -1);
    (void)queue_drop(watcher);
    snapshot_fini(&watcher->snapshot);
    watcher->phase = WATCH_PARTING;
}

static void destroy(struct watcher *watcher)
{
    leave(watcher);
    timer_cancel(&watcher->timer);
    watch_params_fini(&watcher->params);
    token_free(watcher->token);
    mem_free(watcher);
}

// A cut that the visitor can tell from an end.
static void cut(struct watcher *watcher, enum edge_error error)
{
    struct exchange *exchange = watcher->exchange;
    destroy(watcher);
    exchange_fail(exchange, error);
}

// Our end. A WebSocket's peer has two seconds for its own.
static void finish(struct watcher *watcher)
{
    struct exchange *exchange = watcher->exchange;
    if (watcher->transport == WATCH_SSE || exchange->request_ended) {
        destroy(watcher);
    } else {
        leave(watcher);
        watcher->answered = true;
        worker_arm_in(watcher->shard->worker, &watcher->timer, PARTING_NS);
    }
    exchange_end(exchange, NULL, 0);
}

// ---- Writing.

// False when the watcher is gone.
static bool write_bytes(struct watcher *watcher, struct slice bytes)
{
    struct exchange *exchange = watcher->exchange;
    bool more = exchange_body(exchange, bytes);
    if (exchange->ended) {
        return false;
    }
    if (!more && !watcher->blocked) {
        watcher->blocked = true;
        watcher->blocked_since_ns = worker_now(watcher->shard->worker);
    }
    return true;
}

// Three parts as one write; takes nothing over.
static bool write_parts(
    struct watcher *watcher, struct slice before, struct slice text, struct slice behind)
{
    struct buf whole = BUF_INIT(before.len + text.len + behind.len);
    buf_append_slice(&whole, before);
    buf_append_slice(&whole, text);
    buf_append_slice(&whole, behind);
    if (whole.failed) {
        buf_reset(&whole);
        cut(watcher, EDGE_INTERNAL);
        return false;
    }
    bool there = write_bytes(watcher, buf_slice(&whole));
    buf_reset(&whole);
    return there;
}

bool watch_send_frame(
    struct watcher *watcher, enum ws_opcode opcode, bool fin, struct slice payload)
{
    char header[WS_HEADER_MAX];
    size_t len = ws_header_write(header, payload.len, opcode, NULL);
    if (!fin) {
        header[0] = (char)(header[0] & 0x7f);
    }
    return write_parts(watcher, slice_of(header, len), payload, SLICE_EMPTY);
}

// A part of a message, which is one event. False when the watcher is gone.
static bool write_message(struct watcher *watcher, struct slice text, bool last)
{
    bool first = !watcher->in_message;
    watcher->in_message = !last;
    if (last) {
        engine_count(watcher->shard, ENGINE_WATCH_EVENTS);
    }
    if (watcher->transport == WATCH_WEBSOCKET) {
        return watch_send_frame(watcher, first ? WS_TEXT : WS_CONTINUATION, last, text);
    }
    return write_parts(
        watcher, first ? SLICE("data: ") : SLICE_EMPTY, text, last ? SLICE("\n\n") : SLICE_EMPTY);
}

// ---- Snapshots.

// False when the watcher is gone.
static bool write_piece(struct watcher *watcher)
{
    struct buf piece = BUF_INIT(PIECE_BYTES_MAX);
    watch_append_piece(watcher, &piece);
    if (piece.failed) {
        buf_reset(&piece);
        cut(watcher, EDGE_INTERNAL);
        return false;
    }
    bool there = write_message(watcher, buf_slice(&piece), watcher->phase == WATCH_LIVE);
    buf_reset(&piece);
    return there;
}

// It was too slow: everything from the beginning. False when the watcher is gone.
static bool begin_again(struct watcher *watcher)
{
    snapshot_fini(&watcher->snapshot);
    if (!directory_snapshot(watcher->shard->engine->directory, NULL, &watcher->snapshot)) {
        cut(watcher, EDGE_INTERNAL);
        return false;
    }
    watcher->stale = false;
    watcher->number = watcher->snapshot.feed_number;
    watcher->phase = WATCH_BEGIN;
    return true;
}

// ---- Events.

static void become_stale(struct watcher *watcher, size_t dropped)
{
    dropped += queue_drop(watcher);
    engine_add(watcher->shard, ENGINE_WATCH_EVENTS_DROPPED, (int64_t)dropped);
    watcher->stale = true;
}

static void queue_push(struct watcher *watcher, struct feed_event *event)
{
    bool full = watcher->queue_count == QUEUE_EVENTS_MAX ||
                watcher->queue_bytes + event->json.len > QUEUE_BYTES_MAX;
    if (!full && watcher->queue == NULL) {
        watcher->queue = mem_alloc(QUEUE_EVENTS_MAX * sizeof watcher->queue[0]);
        watcher->queue_start = 0;
    }
    if (full || watcher->queue == NULL) {
        become_stale(watcher, 1);
        return;
    }
    size_t at = (watcher->queue_start + watcher->queue_count++) % QUEUE_EVENTS_MAX;
    watcher->queue[at] = feed_event_ref(event);
    watcher->queue_bytes += event->json.len;
}

static bool shows(const struct watcher *watcher, const struct feed_event *event)
{
    return event->client != NULL ? watch_shows_client(watcher, event->client)
                                 : watch_shows_tunnel(watcher, event->tunnel);
}

static void hear(struct watcher *watcher, struct feed_event *event)
{
    if (event == NULL) {
        become_stale(watcher, 0);
    } else if (event->number <= watcher->number || !shows(watcher, event)) {
        return;
    } else if (watcher->stale) {
        engine_count(watcher->shard, ENGINE_WATCH_EVENTS_DROPPED);
        return;
    } else {
        queue_push(watcher, event);
    }
    if (!watcher->blocked) {
        pump_later(watcher);
    }
}

static void on_event(void *arg, struct feed_event *event)
{
    struct engine_shard *shard = arg;
    list_for_each (node, &shard->watchers) {
        hear(container_of(node, struct watcher, node), event);
    }
}

// One write. False when there is nothing to write, or the watcher is gone.
static bool write_next(struct watcher *watcher)
{
    if (watcher->stale && !watcher->in_message && !begin_again(watcher)) {
        return false;
    }
    if (watcher->phase < WATCH_LIVE) {
        return write_piece(watcher);
    }
    if (watcher->queue_count == 0) {
        return false;
    }
    struct feed_event *event = queue_pop(watcher);
    bool there = write_message(watcher, event->json, true);
    feed_event_unref(event);
    return there;
}

static void pump(struct worker *worker, struct job *job)
{
    struct watcher *watcher = container_of(job, struct watcher, job);
    for (int i = 0; i < WRITES_PER_TURN; i++) {
        if (watcher->blocked) {
            return;
        }
        if (!write_next(watcher)) {
            return;
        }
    }
    worker_defer(worker, &watcher->job, pump);
}

// We begin the end: an SSE ends, a WebSocket gets a close frame and two seconds to answer it.
static void close_with(struct watcher *watcher, uint16_t code, const char *reason)
{
    char payload[WS_CONTROL_PAYLOAD_MAX];
    if (watcher->transport == WATCH_SSE) {
        finish(watcher);
        return;
    }
    size_t len = ws_close_write(payload, code, slice_str(reason));
    leave(watcher);
    worker_arm_in(watcher->shard->worker, &watcher->timer, PARTING_NS);
    (void)watch_send_frame(watcher, WS_CLOSE, true, slice_of(payload, len));
}

// ---- Time.

static uint64_t expiry_ns(const struct watcher *watcher)
{
    uint64_t expires_ms = token_expires_ms(watcher->token);
    uint64_t now_ms = sys_wall_ms();
    uint64_t left_ms = expires_ms <= now_ms ? 0 : expires_ms - now_ms;
    return left_ms > TICK_NS / NS_PER_MS ? TICK_NS : time_from_ms(left_ms);
}

static void arm(struct watcher *watcher)
{
    worker_arm_in(watcher->shard->worker, &watcher->timer, expiry_ns(watcher));
}

// A sign of life where it does not break a message up. False when the watcher is gone.
static bool keep_alive(struct watcher *watcher)
{
    if (watcher->blocked) {
        return true;
    }
    if (watcher->transport == WATCH_WEBSOCKET) {
        return ++watcher->ticks % 2 != 0 || watch_send_frame(watcher, WS_PING, true, SLICE_EMPTY);
    }
    return watcher->in_message || write_bytes(watcher, SLICE(": ping\n\n"));
}

static bool too_silent(const struct watcher *watcher, uint64_t now_ns)
{
    bool deaf = watcher->blocked && now_ns - watcher->blocked_since_ns >= BLOCKED_NS;
    bool dumb = watcher->transport == WATCH_WEBSOCKET && now_ns - watcher->heard_ns >= SILENCE_NS;
    return deaf || dumb;
}

static void on_parting_timer(struct watcher *watcher)
{
    if (watcher->answered) {
        cut(watcher, EDGE_REQUEST_TIMEOUT);
    } else {
        finish(watcher);
    }
}

static bool is_withdrawn(const struct watcher *watcher)
{
    return !token_signed_with(
        watcher->token, slice_str(watcher->shard->engine->config->jwt_secret));
}

static void on_timer(struct timer *timer)
{
    struct watcher *watcher = container_of(timer, struct watcher, timer);
    if (watcher->phase == WATCH_PARTING) {
        on_parting_timer(watcher);
    } else if (is_withdrawn(watcher)) {
        close_with(watcher, 1008, "token withdrawn");
    } else if (token_expires_ms(watcher->token) <= sys_wall_ms()) {
        close_with(watcher, 1008, "token expired");
    } else if (too_silent(watcher, worker_now(watcher->shard->worker))) {
        cut(watcher, EDGE_REQUEST_TIMEOUT);
    } else if (keep_alive(watcher)) {
        arm(watcher);
    }
}

// ---- Closing a WebSocket (RFC 6455 section 7).

void watch_fail_with(struct watcher *watcher, uint16_t code, const char *reason)
{
    char payload[WS_CONTROL_PAYLOAD_MAX];
    size_t len = ws_close_write(payload, code, slice_str(reason));
    leave(watcher);
    if (watch_send_frame(watcher, WS_CLOSE, true, slice_of(payload, len))) {
        finish(watcher);
    }
}

void watch_answer_close(struct watcher *watcher, struct slice payload)
{
    char answer[WS_CONTROL_PAYLOAD_MAX];
    uint16_t code;
    struct slice reason;
    bool good = ws_close_parse(payload, &code, &reason) == WEIR_OK;
    bool ours_is_out = watcher->phase == WATCH_PARTING;
    size_t len = 0;
    if (!good || payload.len > 0) {
        len = ws_close_write(answer, good ? code : 1002, SLICE_EMPTY);
    }
    leave(watcher);
    if (ours_is_out || watch_send_frame(watcher, WS_CLOSE, true, slice_of(answer, len))) {
        finish(watcher);
    }
}

// ---- The back.

static bool on_body(struct exchange *exchange, struct slice bytes)
{
    struct watcher *watcher = exchange->back_state;
    if (watcher->transport == WATCH_SSE || watcher->answered) {
        return true;
    }
    watcher->heard_ns = worker_now(watcher->shard->worker);
    if (!watch_take(watcher, bytes)) {
        return true;
    }
    watcher->paused = watcher->blocked;
    return !watcher->paused;
}

static void on_end(struct exchange *exchange, const struct http1_header *trailers, size_t count)
{
    struct watcher *watcher = exchange->back_state;
    (void)trailers;
    (void)count;
    if (exchange->ended) {
        destroy(watcher);
    } else if (watcher->transport == WATCH_WEBSOCKET) {
        finish(watcher); // it left without a close frame
    }
}

static void on_resume(struct exchange *exchange)
{
    struct watcher *watcher = exchange->back_state;
    watcher->blocked = false;
    if (watcher->phase != WATCH_PARTING) {
        pump_later(watcher);
    }
    if (watcher->paused) {
        watcher->paused = false;
        exchange_resume(exchange);
    }
}

static void on_cancel(struct exchange *exchange)
{
    destroy(exchange->back_state);
}

static const struct back_ops watch_back = {
    .body = on_body, .end = on_end, .resume = on_resume, .cancel = on_cancel};

// ---- The beginning.

void watch_attach(struct engine_shard *shard)
{
    feed_attach(shard->engine->feed, shard->worker, on_event, shard);
}

void watch_drain(struct engine_shard *shard)
{
    // Each leaves the list; a connection that breaks meanwhile may take others with it.
    while (!list_empty(&shard->watchers)) {
        close_with(container_of(shard->watchers.next, struct watcher, node), 1001, "going away");
    }
}

void watch_withdraw(struct engine_shard *shard)
{
    uint64_t count = 0;
    list_for_each (node, &shard->watchers) {
        count++;
    }
    uint64_t after_ns = 0;
    list_for_each (node, &shard->watchers) {
        struct watcher *watcher = container_of(node, struct watcher, node);
        if (is_withdrawn(watcher)) {
            worker_arm_in(shard->worker, &watcher->timer, after_ns);
            after_ns += NS_PER_S / count;
        }
    }
}

static void send_head(
    struct api_request *request, enum watch_transport transport, const char *accept_key)
{
    struct exchange *exchange = request->exchange;
    struct http1_header fields[3];
    bool over_h1 = transport == WATCH_WEBSOCKET && accept_key != NULL;
    struct answer_head head = {.status = over_h1 ? 101 : 200,
        .fields = fields,
        .upgrade = over_h1 ? SLICE("websocket") : SLICE_EMPTY,
        .has_body = !exchange->head_only};
    if (transport == WATCH_SSE) {
        fields[head.field_count++] =
            (struct http1_header){SLICE("content-type"), SLICE(API_TYPE_EVENTS)};
        fields[head.field_count++] =
            (struct http1_header){SLICE("cache-control"), SLICE("no-cache")};
    } else if (over_h1) {
        fields[head.field_count++] =
            (struct http1_header){SLICE("sec-websocket-accept"), slice_str(accept_key)};
    }
    api_count(request, head.status);
    exchange_head(exchange, &head);
}

// False: it has been answered.
static bool read_params(struct api_request *request, struct watch_params *ret_params)
{
    char text[API_PARAMS_SIZE];
    char problem[PARAMS_PROBLEM_SIZE];
    struct slice params;
    if (!api_params(request, text, &params)) {
        return false;
    }
    enum weir_result result = params_read_watch(params, ret_params, problem);
    if (result == WEIR_MALFORMED) {
        api_error(request, 400, problem);
    } else if (result != WEIR_OK) {
        api_error(request, 500, "The engine has run out of memory.");
    }
    return result == WEIR_OK;
}

// Subscribed, with its snapshot. NULL without memory; token and params are taken over then, too.
static struct watcher *new_watcher(
    struct api_request *request, enum watch_transport transport, struct watch_params *params)
{
    struct engine_shard *shard = request->exchange->visitor->shard;
    struct watcher *watcher = mem_zalloc(sizeof *watcher);
    if (watcher == NULL) {
        watch_params_fini(params);
        return NULL;
    }
    *watcher = (struct watcher){.shard = shard,
        .exchange = request->exchange,
        .transport = transport,
        .token = request->token,
        .params = *params,
        .heard_ns = worker_now(shard->worker)};
    request->token = NULL;
    list_init(&watcher->node);
    list_init(&watcher->job.node);
    timer_init(&watcher->timer, on_timer);
    if (!directory_snapshot(shard->engine->directory, shard->worker, &watcher->snapshot)) {
        destroy(watcher);
        return NULL;
    }
    watcher->number = watcher->snapshot.feed_number;
    list_push_back(&shard->watchers, &watcher->node);
    engine_add(shard, gauge_of(watcher), 1);
    return watcher;
}

void watch_start(
    struct api_request *request, enum watch_transport transport, const char *accept_key)
{
    struct exchange *exchange = request->exchange;
    struct engine_shard *shard = exchange->visitor->shard;
    const struct engine_config *config = shard->engine->config;
    struct watch_params params;
    if (!read_params(request, &params)) {
        return;
    }
    if (shard->draining || feed_subscribers(shard->engine->feed) >= config->limit_watchers) {
        watch_params_fini(&params);
        api_error(request, 503, "There is no room for more watchers.");
        return;
    }
    if (exchange->head_only) {
        watch_params_fini(&params);
        send_head(request, transport, accept_key);
        return;
    }
    struct watcher *watcher = new_watcher(request, transport, &params);
    if (watcher == NULL) {
        api_error(request, 500, "The engine has run out of memory.");
        return;
    }
    exchange->back = &watch_back;
    exchange->back_state = watcher;
    send_head(request, transport, accept_key);
    if (!exchange->ended) {
        arm(watcher);
        pump_later(watcher);
    }
}
