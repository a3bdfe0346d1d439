// SPDX-License-Identifier: Apache-2.0
//   http ──detach──► arriving ──ws_open──► open ──ws ended──► closing ──ws gone──► freed
//
// 1. A watcher is in sockets->watchers and counted from sockets_take until its memory goes.
// 2. Only an open watcher is sent to; ws_send itself does nothing on a closing one.
// 3. Whoever sends to many walks a list that no callback changes: watchers leave it in `gone`, at
//    the end of the turn.
#include "health/sockets/sockets_internal.h"

#include <stdio.h>

#include "base/mem.h"
#include "base/time.h"
#include "health/page/page.h"
#include "sys/clock.h"

#define QUEUE_HIGH (64 * 1024)
#define QUEUE_LOW (16 * 1024)
#define PING_NS (30 * NS_PER_S)
#define SILENCE_NS (90 * NS_PER_S)
#define MESSAGE_NS (30 * NS_PER_S)

#define CLOSE_REASON(symbol, label, code, text, who, english)                                      \
    const struct close_reason close_##symbol = {label, text, english, code, CLOSE_BY_##who};
#include "health/sockets/close_reasons.def"
#undef CLOSE_REASON

static const struct socket_kind kinds[] = {
#define SOCKET_KIND(path, audience, hello) {path, AUDIENCE_##audience, hello},
#include "health/sockets/socket_kinds.def"
#undef SOCKET_KIND
};

// ---- A watcher

static void on_ping(struct timer *timer)
{
    struct socket_watcher *watcher = container_of(timer, struct socket_watcher, ping);
    worker_arm_in(watcher->sockets->worker, timer, SOCKET_PING_NS);
    message_text(watcher, "ping", NULL, true);
}

static void watcher_free(struct socket_watcher *watcher)
{
    timer_cancel(&watcher->ping);
    struct sockets *sockets = watcher->sockets;
    list_remove(&watcher->node);
    sockets->count--;
    sockets->counts[watcher->kind->audience]--;
    subscriptions_fini(&watcher->subscriptions);
    buf_reset(&watcher->unread);
    mem_free(watcher);
}

static void on_message(struct ws *ws, struct ws_message *message)
{
    struct socket_watcher *watcher = container_of(ws, struct socket_watcher, ws);
    if (message->opcode == WS_TEXT) {
        socket_hear(watcher, slice_of(message->bytes, message->len));
    }
}

static void on_drained(struct ws *ws)
{
    struct socket_watcher *watcher = container_of(ws, struct socket_watcher, ws);
    if (watcher->missed_summary) {
        watcher->missed_summary = false;
        sockets_send_summary(watcher);
    }
    if (watcher->missed_samples) {
        watcher->missed_samples = false;
        sockets_send_samples(watcher);
    }
    if (watcher->kind->audience == AUDIENCE_PAGE) {
        socket_resume_page(watcher);
    }
}

static void on_ended(struct ws *ws, const struct close_reason *reason)
{
    struct socket_watcher *watcher = container_of(ws, struct socket_watcher, ws);
    timer_cancel(&watcher->ping);
    watcher->sockets->slow += reason == &close_WATCHER_SLOW || reason == &close_OVERFLOW;
}

static void on_gone(struct ws *ws)
{
    watcher_free(container_of(ws, struct socket_watcher, ws));
}

static const struct ws_events watcher_events = {
    .message = on_message, .drained = on_drained, .ended = on_ended, .gone = on_gone};

static const struct ws_policy watcher_policy = {
    .events = &watcher_events,
    .message_max = SOCKET_MESSAGE_MAX,
    .queue_max = SOCKET_QUEUE_MAX,
    .queue_high = QUEUE_HIGH,
    .queue_low = QUEUE_LOW,
    .ping_interval_ns = PING_NS,
    .pong_timeout_ns = SILENCE_NS - PING_NS,
    .idle_timeout_ns = SILENCE_NS,
    .message_timeout_ns = MESSAGE_NS,
};

bool socket_send(struct socket_watcher *watcher, struct slice json, bool skippable)
{
    if (!watcher->opened || !ws_is_open(&watcher->ws)) {
        return true;
    }
    size_t queued = watcher->ws.queue == NULL ? 0 : watcher->ws.queue->len;
    if (skippable && (ws_is_backlogged(&watcher->ws) || queued + json.len > SOCKET_QUEUE_MAX)) {
        return false;
    }
    if (queued > 0 && queued + json.len > SOCKET_QUEUE_MAX) {
        ws_close(&watcher->ws, &close_WATCHER_SLOW);
        return true;
    }
    watcher->sockets->messages++;
    ws_send(&watcher->ws, WS_TEXT, json);
    return true;
}

void sockets_broadcast(
    struct sockets *sockets, enum audience audience, struct slice json, bool skippable)
{
    list_for_each (node, &sockets->watchers) {
        struct socket_watcher *watcher = container_of(node, struct socket_watcher, node);
        if (watcher->kind->audience == audience && !socket_send(watcher, json, skippable)) {
            watcher->missed_summary = true;
        }
    }
}

void sockets_broadcast_about(struct sockets *sockets, enum audience audience, struct slice first,
    struct slice second, struct slice json)
{
    list_for_each (node, &sockets->watchers) {
        struct socket_watcher *watcher = container_of(node, struct socket_watcher, node);
        if (watcher->kind->audience == audience &&
            slice_eq(slice_str(watcher->about.text[0]), first) &&
            slice_eq(slice_str(watcher->about.text[1]), second)) {
            (void)socket_send(watcher, json, false); // a slow one is closed
        }
    }
}

// ---- The handshake

static bool is_token_text(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.at[i] <= ' ' || text.at[i] >= 0x7f) {
            return false;
        }
    }
    return text.len > 0;
}

static const struct slice bearer_prefix = {"bearer.", 7};

// The protocol to answer with: the one that is the token, or else the first.
static struct slice choose_protocol(const struct http1_head *head)
{
    struct slice chosen = SLICE_EMPTY;
    for (size_t i = 0; i < head->header_count; i++) {
        struct slice rest = head->headers[i].value;
        struct slice offer;
        if (!slice_eq_nocase(head->headers[i].name, SLICE("sec-websocket-protocol"))) {
            continue;
        }
        while (slice_split(&rest, ',', &offer)) {
            offer = slice_trim(offer);
            if (is_token_text(offer) &&
                (chosen.len == 0 || slice_starts_with(offer, bearer_prefix))) {
                chosen = offer;
            }
        }
    }
    return chosen;
}

struct slice sockets_offered_token(const struct http1_head *head)
{
    struct slice protocol = choose_protocol(head);
    return slice_starts_with(protocol, bearer_prefix) ? slice_skip(protocol, bearer_prefix.len)
                                                      : SLICE_EMPTY;
}

bool sockets_same_origin(const struct http1_head *head)
{
    const struct http1_header *origin = http1_find(head, SLICE("origin"));
    const struct http1_header *host = http1_find(head, SLICE("host"));
    if (origin == NULL) {
        return true;
    }
    struct slice authority = origin->value;
    authority = slice_starts_with(authority, SLICE("https://"))  ? slice_skip(authority, 8)
                : slice_starts_with(authority, SLICE("http://")) ? slice_skip(authority, 7)
                                                                 : SLICE_EMPTY;
    return host != NULL && authority.len > 0 && slice_eq_nocase(authority, host->value);
}

static bool read_handshake(struct socket_watcher *watcher, const struct http_request *request)
{
    const struct http1_head *head = request->head;
    const struct http1_header *upgrade = http1_find(head, SLICE("upgrade"));
    const struct http1_header *key = http1_find(head, SLICE("sec-websocket-key"));
    const struct http1_header *version = http1_find(head, SLICE("sec-websocket-version"));
    char hello[8];
    size_t len;
    watcher->wants_hello =
        watcher->kind->hello[0] != '\0' ||
        (http1_query_value(request->query, SLICE("hello"), hello, sizeof hello, &len) == WEIR_OK &&
            strcmp(hello, "1") == 0);
    // A token that is too long to be echoed is none of ours.
    return slice_to_text(choose_protocol(head), watcher->protocol, sizeof watcher->protocol) &&
           slice_eq(head->method, SLICE("GET")) && upgrade != NULL &&
           slice_eq_nocase(upgrade->value, SLICE("websocket")) && version != NULL &&
           slice_eq(version->value, SLICE("13")) && key != NULL && ws_key_valid(key->value) &&
           ws_accept_key(key->value, watcher->accept) == WEIR_OK;
}

static void greet(struct socket_watcher *watcher)
{
    const char *hello = watcher->kind->hello;
    struct buf out = BUF_INIT(SOCKET_MESSAGE_MAX);
    struct json_writer writer;
    message_begin(&writer, &out, "connected");
    jsonw_text(&writer, "message", hello[0] == '\0' ? "Connected to event stream" : hello);
    message_time(&writer, sys_wall_ms());
    if (watcher->kind->audience == AUDIENCE_METRICS) {
        jsonw_text(&writer, "server", "portoser-metrics-ws");
    }
    jsonw_object_end(&writer);
    socket_send(watcher, buf_slice(&out), false);
    buf_reset(&out);
    if (watcher->kind->audience == AUDIENCE_EVENTS || watcher->kind->audience == AUDIENCE_CLUSTER) {
        sockets_send_summary(watcher);
    }
}

// The connection is free of the server.
static void on_detached(void *arg)
{
    struct socket_watcher *watcher = arg;
    struct sockets *sockets = watcher->sockets;
    char preface[512];
    bool echo = watcher->protocol[0] != '\0';
    int len = snprintf(preface, sizeof preface,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Accept: %s\r\n%s%s%s\r\n",
        watcher->accept, echo ? "Sec-WebSocket-Protocol: " : "", watcher->protocol,
        echo ? "\r\n" : "");
    if (sockets->stopping) {
        stream_state_drop(&watcher->state);
        watcher_free(watcher);
        return;
    }
    if (ws_open(&watcher->ws, sockets->worker, &watcher->state, &watcher_policy,
            slice_of(preface, (size_t)len), buf_slice(&watcher->unread)) != WEIR_OK) {
        watcher_free(watcher);
        return;
    }
    buf_reset(&watcher->unread);
    watcher->opened = true;
    if (watcher->refused) {
        ws_close(&watcher->ws, &close_SOCKETS_FULL);
    } else if (watcher->kind->audience == AUDIENCE_PAGE) {
        page_wake(sockets->page);
        socket_begin_page(watcher);
    } else if (watcher->wants_hello) {
        greet(watcher);
    }
}

const struct socket_kind *sockets_find(struct slice path, struct path_parts *ret_about)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (path_matches(kinds[i].path, path, ret_about)) {
            return &kinds[i];
        }
    }
    return NULL;
}

enum weir_result sockets_take(struct sockets *sockets, const struct socket_kind *kind,
    const struct path_parts *about, struct http_request *request, enum role role)
{
    // One beyond the limit is told so, and many beyond it are not even that.
    if (sockets->stopping || sockets->count >= 2 * SOCKETS_MAX) {
        return WEIR_CLOSED;
    }
    struct socket_watcher *watcher = mem_zalloc(sizeof *watcher);
    if (watcher == NULL) {
        return WEIR_MEMORY;
    }
    watcher->sockets = sockets;
    watcher->kind = kind;
    watcher->about = *about;
    watcher->role = role;
    watcher->refused = sockets->count >= SOCKETS_MAX;
    if (!read_handshake(watcher, request)) {
        mem_free(watcher);
        return WEIR_MALFORMED;
    }
    list_init(&watcher->node);
    timer_init(&watcher->ping, on_ping);
    list_push_back(&sockets->watchers, &watcher->node);
    sockets->count++;
    sockets->counts[kind->audience]++;
    http_detach(request->conn, &watcher->state, &watcher->unread, on_detached, watcher);
    return WEIR_OK;
}

// ---- Life

void sockets_drain(struct sockets *sockets)
{
    sockets->stopping = true;
    list_for_each (node, &sockets->watchers) {
        struct socket_watcher *watcher = container_of(node, struct socket_watcher, node);
        if (watcher->opened) {
            ws_close(&watcher->ws, &close_MONITOR_STOPS);
        }
    }
}

void sockets_stop(struct sockets *sockets)
{
    if (sockets->worker == NULL) {
        return;
    }
    sockets->stopping = true;
    timer_cancel(&sockets->tick);
    list_for_each (node, &sockets->watchers) {
        struct socket_watcher *watcher = container_of(node, struct socket_watcher, node);
        if (watcher->opened) {
            ws_cut(&watcher->ws, &close_MONITOR_STOPS);
        }
    }
}

void sockets_fini(struct sockets *sockets)
{
    if (sockets->worker == NULL) {
        return;
    }
    weir_assert(sockets->count == 0);
    ws_worker_fini(sockets->worker);
    sockets->worker = NULL;
    buf_reset(&sockets->summary);
    mem_free(sockets->machine_statuses);
    sockets->machine_statuses = NULL;
    registry_unref(sockets->machines_of);
    sockets->machines_of = NULL;
}
