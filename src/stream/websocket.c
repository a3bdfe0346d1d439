// SPDX-License-Identifier: Apache-2.0
// Life and death of a WebSocket connection: opening, the close handshake, the heartbeat, deadlines.
// Receiving is in websocket_read.c, sending in outbox.c.
//
// Invariants:
// 1. leave_open is the only way out of OPEN; it records the first reason and calls `ended` once.
// 2. die is the only way into DEAD, from any state; `gone` follows at the end of that turn.
// 3. Exactly one timer runs in every state but DEAD: heartbeat and message deadline while OPEN, the
//    close deadline afterwards. No state is without a deadline.
#include "stream/websocket.h"

#include "base/time.h"
#include "stream/websocket_internal.h"
#include "sys/entropy.h"

#define CLOSING_TIMEOUT_NS (2 * NS_PER_S)
#define LINGER_TIMEOUT_NS (1 * NS_PER_S)
#define NO_HEARTBEAT_NS (3600 * NS_PER_S)

#define CLOSE_REASON(symbol, label, code, text, who, english)                                      \
    const struct close_reason close_##symbol = {label, text, english, code, CLOSE_BY_##who};
#include "stream/close_reasons.def"
#undef CLOSE_REASON

static void on_gone(struct stream *stream)
{
    struct ws *ws = container_of(stream, struct ws, stream);
    ws->policy->events->gone(ws);
}

static void die(struct ws *ws, bool hard)
{
    if (ws->state == WS_DEAD) {
        return;
    }
    ws->state = WS_DEAD;
    outbox_forget(ws);
    outbox_release_queue(ws);
    ws_drop_input(ws);
    timer_cancel(&ws->timer);
    list_remove(&ws->resume.node);
    stream_close(&ws->stream, hard, on_gone);
}

static void leave_open(struct ws *ws, const struct close_reason *reason)
{
    if (ws->reason != NULL) {
        return;
    }
    ws->reason = reason;
    ws->policy->events->ended(ws, reason);
}

static void enter(struct ws *ws, enum ws_state state, uint64_t timeout_ns)
{
    ws->state = (uint8_t)state;
    worker_arm_in(ws->stream.worker, &ws->timer, timeout_ns);
}

void ws_update_interest(struct ws *ws)
{
    if (ws->state == WS_DEAD) {
        return;
    }
    bool input_waits = ws->paused || list_linked(&ws->resume.node);
    unsigned events = ws->state != WS_LINGER && input_waits ? WATCH_NONE : WATCH_READ;
    if (ws_queued(ws) > 0) {
        events |= WATCH_WRITE;
    }
    stream_want(&ws->stream, events);
}

// ---- Closing

static void send_control(struct ws *ws, enum ws_opcode opcode, const char *payload, size_t len)
{
    char frame[WS_HEADER_MAX + WS_CONTROL_PAYLOAD_MAX];
    uint8_t mask[4] = {0};
    if (ws->policy->client && sys_entropy(mask, sizeof mask) != WEIR_OK) {
        return; // without a mask nothing may be sent; the peer's deadline ends the connection
    }
    size_t header_len = ws_header_write(frame, len, opcode, ws->policy->client ? mask : NULL);
    ws_unmask(frame + header_len, payload, len, mask, 0);
    outbox_send(ws, &(struct iovec){frame, header_len + len}, 1);
}

static void send_close(struct ws *ws, uint16_t code, struct slice text)
{
    char payload[WS_CONTROL_PAYLOAD_MAX];
    size_t len = code == 0 ? 0 : ws_close_write(payload, code, text);
    ws->close_sent = true;
    send_control(ws, WS_CLOSE, payload, len);
}

void ws_finish_when_done(struct ws *ws)
{
    if (ws->state == WS_CLOSING && ws->close_sent && ws->close_received && ws_queued(ws) == 0) {
        stream_finish(&ws->stream);
        enter(ws, WS_LINGER, LINGER_TIMEOUT_NS);
        ws_update_interest(ws);
    }
}

// Nobody resumes a connection that is closing. Input that waits is used up before more is read: it
// may hold the peer's close frame.
static void begin_closing(struct ws *ws)
{
    enter(ws, WS_CLOSING, CLOSING_TIMEOUT_NS);
    ws_resume(ws);
}

void ws_close(struct ws *ws, const struct close_reason *reason)
{
    if (ws->state != WS_OPEN) {
        return;
    }
    outbox_flush_one(ws);
    if (ws->state != WS_OPEN) {
        return; // the flush found the connection broken
    }
    leave_open(ws, reason);
    if (reason->code == 0) {
        die(ws, true);
        return;
    }
    begin_closing(ws);
    send_close(ws, reason->code, slice_str(reason->text));
    ws_update_interest(ws);
}

// A queue that is full cannot take a close frame either: it goes to the socket as far as it can.
static bool can_still_speak(const struct ws *ws, const struct close_reason *reason)
{
    return ws->state == WS_OPEN && reason->code != 0;
}

void ws_fail(struct ws *ws, const struct close_reason *reason)
{
    if (ws->state == WS_DEAD) {
        return;
    }
    if (can_still_speak(ws, reason)) {
        ws_close(ws, reason);
        return;
    }
    leave_open(ws, reason);
    die(ws, reason != &close_PEER_GONE);
}

void ws_cut(struct ws *ws, const struct close_reason *reason)
{
    if (ws->state != WS_DEAD) {
        leave_open(ws, reason);
        die(ws, true);
    }
}

void ws_peer_closed(struct ws *ws, struct slice payload)
{
    uint16_t code;
    struct slice text;
    enum weir_result result = ws_close_parse(payload, &code, &text);
    if (result != WEIR_OK && ws->state == WS_OPEN) {
        ws_fail(ws, result == WEIR_MALFORMED ? &close_BAD_UTF8 : &close_PROTOCOL);
        return;
    }
    ws->close_received = true;
    if (ws->state == WS_OPEN) {
        outbox_flush_one(ws);
        if (ws->state != WS_OPEN) {
            return;
        }
        leave_open(ws, &close_PEER_CLOSED);
        begin_closing(ws);
        send_close(ws, payload.len == 0 ? 0 : code, SLICE_EMPTY);
    }
    ws_finish_when_done(ws);
}

// ---- Heartbeat and deadlines

void ws_arm_timer(struct ws *ws)
{
    if (ws->state != WS_OPEN) {
        return;
    }
    uint64_t deadline = ws->next_ping_ns;
    uint64_t idle_end_ns = ws->last_activity_ns + ws->policy->idle_timeout_ns + 1;
    if (ws->policy->ping_interval_ns != 0 && !ws->paused && idle_end_ns < deadline) {
        deadline = idle_end_ns;
    }
    if (ws->ping_sent_ns != 0 && ws->ping_sent_ns + ws->policy->pong_timeout_ns < deadline) {
        deadline = ws->ping_sent_ns + ws->policy->pong_timeout_ns;
    }
    if (ws->partial_since_ns != 0 &&
        ws->partial_since_ns + ws->policy->message_timeout_ns < deadline) {
        deadline = ws->partial_since_ns + ws->policy->message_timeout_ns;
    }
    worker_arm(ws->stream.worker, &ws->timer, deadline);
}

void ws_ping(struct ws *ws)
{
    if (ws->state != WS_OPEN) {
        return;
    }
    ws->ping_sent_ns = worker_now(ws->stream.worker);
    send_control(ws, WS_PING, "", 0);
}

// What is wrong with a connection at this time, or NULL.
static const struct close_reason *overdue(const struct ws *ws, uint64_t now_ns)
{
    const struct ws_policy *policy = ws->policy;
    if (ws->paused) {
        return NULL;
    }
    if (ws->partial_since_ns != 0 && now_ns >= ws->partial_since_ns + policy->message_timeout_ns) {
        return &close_MESSAGE_TIMEOUT;
    }
    if (policy->ping_interval_ns == 0) {
        return NULL;
    }
    if (now_ns > ws->last_activity_ns + policy->idle_timeout_ns) {
        return &close_IDLE;
    }
    if (ws->ping_sent_ns != 0 && ws->last_activity_ns < ws->ping_sent_ns &&
        now_ns >= ws->ping_sent_ns + policy->pong_timeout_ns) {
        return &close_HEARTBEAT;
    }
    return NULL;
}

static void keep_alive(struct ws *ws)
{
    uint64_t now_ns = worker_now(ws->stream.worker);
    const struct close_reason *reason = overdue(ws, now_ns);
    if (reason != NULL) {
        ws_close(ws, reason);
        return;
    }
    if (ws->ping_sent_ns != 0 && now_ns >= ws->ping_sent_ns + ws->policy->pong_timeout_ns) {
        ws->ping_sent_ns = 0; // data came instead of the pong
    }
    if (now_ns >= ws->next_ping_ns) {
        uint64_t interval_ns = ws->policy->ping_interval_ns;
        ws->next_ping_ns = now_ns + (interval_ns == 0 ? NO_HEARTBEAT_NS : interval_ns);
        if (interval_ns != 0 && ws->ping_sent_ns == 0) {
            ws_ping(ws);
        }
    }
    ws_arm_timer(ws);
}

static void on_timer(struct timer *timer)
{
    struct ws *ws = container_of(timer, struct ws, timer);
    if (ws->state == WS_OPEN) {
        keep_alive(ws);
    } else {
        die(ws, ws->state == WS_CLOSING);
    }
}

// Each connection has a phase of its own, so that a fleet that connects at once is not pinged at
// once (spec section 14, 17).
static uint64_t first_ping(struct ws *ws)
{
    uint64_t interval_ns = ws->policy->ping_interval_ns;
    uint64_t now_ns = worker_now(ws->stream.worker);
    if (interval_ns == 0) {
        return now_ns + NO_HEARTBEAT_NS;
    }
    uintptr_t identity = (uintptr_t)ws;
    uint64_t hash = siphash(&ws->stream.worker->seed, &identity, sizeof identity) ^ now_ns;
    return now_ns + interval_ns / 2 + hash % (interval_ns / 2 + 1);
}

// ---- Opening

static void on_ready(struct stream *stream, unsigned events)
{
    struct ws *ws = container_of(stream, struct ws, stream);
    if ((events & WATCH_WRITE) != 0) {
        outbox_on_writable(ws);
    }
    if ((events & WATCH_READ) != 0 && ws->state != WS_DEAD) {
        ws_on_readable(ws);
    }
}

enum weir_result ws_open(struct ws *ws, struct worker *worker, struct stream_state *state,
    const struct ws_policy *policy, struct slice preface, struct slice unread)
{
    *ws = (struct ws){.policy = policy};
    timer_init(&ws->timer, on_timer);
    list_init(&ws->resume.node);
    enum weir_result result = stream_open(&ws->stream, worker, state->fd, state->ssl, on_ready);
    if (result != WEIR_OK) {
        return result;
    }
    ws->last_activity_ns = worker_now(worker);
    ws->next_ping_ns = first_ping(ws);
    ws_arm_timer(ws);
    if (preface.len > 0) {
        outbox_send(ws, &(struct iovec){(char *)(uintptr_t)preface.at, preface.len}, 1);
    }
    if (unread.len > 0 && ws->state == WS_OPEN) {
        if (ws_stash(ws, unread.at, unread.len) != WEIR_OK) {
            ws_fail(ws, &close_NO_MEMORY);
        } else {
            worker_defer(worker, &ws->resume, ws_on_resume);
        }
    }
    ws_update_interest(ws);
    return WEIR_OK;
}

static void send_masked(struct ws *ws, enum ws_opcode opcode, struct slice payload)
{
    uint8_t mask[4];
    struct buf frame;
    buf_init(&frame, WS_HEADER_MAX + payload.len);
    char *at = buf_reserve(&frame, WS_HEADER_MAX + payload.len);
    if (at == NULL || sys_entropy(mask, sizeof mask) != WEIR_OK) {
        ws_fail(ws, &close_NO_MEMORY);
    } else {
        size_t header_len = ws_header_write(at, payload.len, opcode, mask);
        ws_unmask(at + header_len, payload.at, payload.len, mask, 0);
        ws->frames_sent++;
        outbox_send(ws, &(struct iovec){at, header_len + payload.len}, 1);
    }
    buf_reset(&frame);
}

void ws_send(struct ws *ws, enum ws_opcode opcode, struct slice payload)
{
    if (ws->state != WS_OPEN) {
        return;
    }
    if (opcode >= WS_CLOSE) {
        send_control(ws, opcode, payload.at, payload.len);
        return;
    }
    if (ws->policy->client) {
        send_masked(ws, opcode, payload);
        return;
    }
    char header[WS_HEADER_MAX];
    size_t header_len = ws_header_write(header, payload.len, opcode, NULL);
    struct iovec parts[2] = {
        {header, header_len},
        {(char *)(uintptr_t)payload.at, payload.len},
    };
    ws->frames_sent++;
    outbox_send(ws, parts, payload.len > 0 ? 2 : 1);
}

void ws_pause(struct ws *ws)
{
    if (!ws->paused) {
        ws->paused = true;
        ws_update_interest(ws);
    }
}

void ws_resume(struct ws *ws)
{
    if (!ws->paused) {
        return;
    }
    ws->paused = false;
    ws->last_activity_ns = worker_now(ws->stream.worker);
    ws->ping_sent_ns = 0;
    if (ws->state != WS_DEAD && !list_linked(&ws->resume.node)) {
        worker_defer(ws->stream.worker, &ws->resume, ws_on_resume);
    }
    if (ws->partial_since_ns != 0) {
        ws->partial_since_ns = worker_now(ws->stream.worker);
    }
}
