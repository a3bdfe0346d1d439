// SPDX-License-Identifier: Apache-2.0
// An upstream stream that speaks HTTP/1.1: one exchange at a time. This file sends requests and
// owns the life of an exchange; upstream_h1_answer.c reads what comes back.
//
//            ┌──────────────── the answer is complete, the stream may be used again ───────────┐
//            ▼                                                                                  │
//   REST ── start ──► HEAD ── final head ──► BODY ──────────── complete ────────────────────────┤
//                      │ ▲                                                                      │
//                 1xx  └─┘── 101, 2xx to CONNECT ──► RAW ── both ended ──► LAST ── sent ──► (ends)
//
// Invariants:
// 1. Bytes of a request leave in order: first out, then what is pushed. What the stream does not
//    take is copied to out; above EXCHANGE_HELD_HIGH the front waits.
// 2. A repeatable request stays in out, whole, until anything is answered; then it cannot be sent
//    again any more. Only a stream that has carried an exchange before may fail for being stale, so
//    only then is it sent again, once, on a fresh stream.
// 3. After the request nothing is half-closed: agents take the end of our side for the end of the
//    stream (spec section 4.13). Upgraded exchanges end each side by itself.
// 4. A head that a body follows leaves with the first piece of it, or at the end of the turn.
// 5. When the service takes no more (deaf) it may still answer: the rest of the request is dropped,
//    and reading says what becomes of the exchange.
// 6. The exchange is let go of before exchange_end, exchange_fail or a head without a body.
#include "engine/upstream/upstream_h1.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/base64.h"
#include "base/time.h"
#include "engine/edge/visitor.h"
#include "proto/websocket.h"
#include "sys/entropy.h"

#define OUT_LOW (EXCHANGE_HELD_HIGH / 4)
#define OUT_KEPT_MAX 4096 // storage that a stream at rest keeps for its next request
#define LAST_NS (10 * NS_PER_S)

static const struct back_ops back_ops;

static struct slice unsent(const struct upstream_h1_state *h1)
{
    return slice_skip(buf_slice(&h1->out), h1->out_sent);
}

// ---- Deadlines and readiness

void upstream_h1_arm(struct upstream *upstream)
{
    struct upstream_h1_state *h1 = &upstream->h1;
    bool asked = h1->request_done && unsent(h1).len == 0;
    uint64_t delay_ns = upstream_body_idle_ns(upstream);
    if (h1->phase == H1_RAW) {
        timer_cancel(&upstream->timer);
        return;
    }
    if (h1->phase == H1_REST) {
        delay_ns = upstream_rest_ns(upstream);
    } else if (h1->phase == H1_LAST) {
        delay_ns = LAST_NS;
    } else if (h1->phase == H1_HEAD && h1->interim_count == 0 && asked) {
        delay_ns = upstream_first_byte_ns(upstream);
    } else if (h1->phase == H1_HEAD && unsent(h1).len == 0 && !asked) {
        delay_ns *= 2; // it is the visitor who has to go on, and his front tells him
    }
    worker_arm_in(upstream->shard->worker, &upstream->timer, delay_ns);
}

// What the service has not taken, and records of it, are held for the visitor whose request it is.
static void account(struct upstream *upstream)
{
    struct upstream_h1_state *h1 = &upstream->h1;
    size_t held = h1->exchange == NULL ? 0 : h1->out.len;
    held += held == 0 ? 0 : stream_backlog(&upstream->stream);
    if (held > h1->counted) {
        visitor_hold(h1->exchange->visitor, held - h1->counted);
    } else if (held < h1->counted) {
        visitor_release(h1->exchange->visitor, h1->counted - held);
    }
    h1->counted = held;
}

void upstream_h1_update(struct upstream *upstream)
{
    struct upstream_h1_state *h1 = &upstream->h1;
    account(upstream);
    bool reads = !h1->paused && !h1->answer_done;
    bool writes = unsent(h1).len > 0 && !list_linked(&h1->flush.node);
    stream_want(&upstream->stream,
        (reads ? (unsigned)WATCH_READ : 0) | (writes ? (unsigned)WATCH_WRITE : 0));
}

// ---- The end of an exchange

struct exchange *upstream_h1_let_go(struct upstream_h1_state *h1)
{
    struct exchange *exchange = h1->exchange;
    if (exchange != NULL) {
        visitor_release(exchange->visitor, h1->counted);
    }
    h1->counted = 0;
    h1->exchange = NULL;
    return exchange;
}

static void fail(struct upstream *upstream, enum edge_error error)
{
    struct exchange *exchange = upstream_h1_let_go(&upstream->h1);
    upstream_close(upstream, true);
    if (exchange != NULL) {
        exchange_fail(exchange, error);
    }
}

void upstream_h1_fail(struct upstream *upstream, enum edge_error error)
{
    fail(upstream, error);
}

static void rest(struct upstream *upstream, struct visitor *visitor)
{
    struct upstream_h1_state *h1 = &upstream->h1;
    h1->phase = H1_REST;
    if (h1->out.size > OUT_KEPT_MAX) {
        buf_reset(&h1->out);
    }
    buf_clear(&h1->out);
    h1->out_sent = 0;
    if (!upstream_pool_give(upstream, visitor)) {
        upstream_close(upstream, false);
        return;
    }
    upstream_h1_arm(upstream);
    upstream_h1_update(upstream);
}

void upstream_h1_release(struct upstream *upstream, bool reusable)
{
    struct upstream_h1_state *h1 = &upstream->h1;
    struct visitor *visitor = upstream_h1_let_go(h1)->visitor;
    h1->paused = h1->front_waits = false;
    bool clean = reusable && h1->keep_alive && h1->request_done && !h1->deaf && !h1->wants_raw &&
                 (unsent(h1).len == 0);
    if (clean) {
        rest(upstream, visitor);
    } else {
        upstream_close(upstream, !h1->request_done);
    }
}

// Sends what is in out on a stream of its own; the exchange does not notice.
static void send_again(struct upstream *stale)
{
    struct upstream_h1_state *h1 = &stale->h1;
    struct exchange *exchange = h1->exchange;
    struct upstream *fresh = upstream_new(stale->shard, stale->tunnel);
    if (fresh == NULL) {
        fail(stale, EDGE_INTERNAL);
        return;
    }
    engine_count(stale->shard, ENGINE_HTTP_RETRIES);
    fresh->protocol = &upstream_h1;
    fresh->h1_only = true;
    fresh->personal = stale->personal;
    fresh->h1.exchange = exchange;
    fresh->h1.out = h1->out;
    fresh->h1.counted = h1->counted;
    fresh->h1.phase = H1_HEAD;
    fresh->h1.request_done = true;
    fresh->h1.wants_raw = h1->wants_raw;
    memcpy(fresh->h1.accept, h1->accept, sizeof h1->accept);
    exchange->back_state = fresh;
    h1->out = BUF_INIT(UPSTREAM_OUT_MAX);
    h1->counted = 0;
    h1->exchange = NULL;
    upstream_close(stale, true);
    if (!upstream_open(fresh, exchange->visitor)) {
        fail(fresh, EDGE_INTERNAL);
    }
}

void upstream_h1_broken(struct upstream *upstream)
{
    struct upstream_h1_state *h1 = &upstream->h1;
    bool silent = h1->phase == H1_HEAD && h1->interim_count == 0 && h1->in.len == 0;
    if (silent && h1->repeatable && upstream->reused) {
        send_again(upstream);
    } else {
        fail(upstream, EDGE_UPSTREAM_CLOSED);
    }
}

// ---- Sending

static void drop_sent(struct upstream_h1_state *h1, size_t len)
{
    if (h1->repeatable) {
        h1->out_sent += len;
    } else if (len == h1->out.len) {
        buf_clear(&h1->out);
    } else {
        buf_consume(&h1->out, len);
    }
}

// The service takes no more.
static void go_deaf(struct upstream *upstream)
{
    struct upstream_h1_state *h1 = &upstream->h1;
    if (h1->phase == H1_RAW || h1->phase == H1_LAST) {
        fail(upstream, EDGE_UPSTREAM_CLOSED);
        return;
    }
    h1->deaf = true;
    h1->out_sent = h1->out.len;
    upstream_h1_arm(upstream);
    upstream_h1_update(upstream);
}

// What an upgraded exchange still has to do when all its bytes are out.
static void finish_sending(struct upstream *upstream)
{
    struct upstream_h1_state *h1 = &upstream->h1;
    if (h1->phase == H1_LAST) {
        upstream_close(upstream, false);
    } else if (h1->phase == H1_RAW && h1->request_done) {
        stream_finish(&upstream->stream);
    }
}

static void flush(struct upstream *upstream)
{
    struct upstream_h1_state *h1 = &upstream->h1;
    list_remove(&h1->flush.node);
    while (unsent(h1).len > 0) {
        struct slice bytes = unsent(h1);
        struct iovec part = {(char *)(uintptr_t)bytes.at, bytes.len};
        size_t written = 0;
        enum weir_result result = stream_write(&upstream->stream, &part, 1, &written);
        if (result == WEIR_AGAIN) {
            break;
        }
        if (result != WEIR_OK) {
            go_deaf(upstream);
            return;
        }
        upstream_count_sent(upstream, written);
        drop_sent(h1, written);
    }
    upstream_h1_arm(upstream);
    if (unsent(h1).len == 0) {
        finish_sending(upstream);
    }
    if (upstream->state == UPSTREAM_DEAD) {
        return;
    }
    upstream_h1_update(upstream);
    if (h1->front_waits && unsent(h1).len <= OUT_LOW) {
        h1->front_waits = false;
        exchange_resume(h1->exchange);
    }
}

static void on_flush(struct worker *worker, struct job *job)
{
    (void)worker;
    struct upstream *upstream = container_of(job, struct upstream, h1.flush);
    if (upstream->state == UPSTREAM_READY) {
        flush(upstream);
    }
}

// Copies what is behind the first skip bytes of the parts.
static bool keep_rest(struct buf *out, const struct iovec *parts, size_t count, size_t skip)
{
    for (size_t i = 0; i < count; i++) {
        size_t passed = skip < parts[i].iov_len ? skip : parts[i].iov_len;
        skip -= passed;
        if (buf_append(out, (const char *)parts[i].iov_base + passed, parts[i].iov_len - passed) !=
            WEIR_OK) {
            return false;
        }
    }
    return true;
}

// Writes out and the parts as one; copies what does not go.
static enum weir_result write_behind_out(
    struct upstream *upstream, const struct iovec *parts, size_t count)
{
    struct upstream_h1_state *h1 = &upstream->h1;
    struct slice waiting = unsent(h1);
    struct iovec all[4] = {{(char *)(uintptr_t)waiting.at, waiting.len}};
    size_t first = waiting.len > 0 ? 1 : 0;
    memcpy(all + first, parts, count * sizeof *parts);
    size_t written = 0;
    enum weir_result result = stream_write(&upstream->stream, all, count + first, &written);
    if (result != WEIR_OK && result != WEIR_AGAIN) {
        return result;
    }
    upstream_count_sent(upstream, written);
    size_t of_out = written < waiting.len ? written : waiting.len;
    drop_sent(h1, of_out);
    return keep_rest(&h1->out, parts, count, written - of_out) ? WEIR_OK : WEIR_MEMORY;
}

// At most three parts. False when the front has to wait, or the exchange is gone.
static bool send_parts(struct upstream *upstream, const struct iovec *parts, size_t count)
{
    struct upstream_h1_state *h1 = &upstream->h1;
    bool queued = unsent(h1).len > 0 && !list_linked(&h1->flush.node);
    enum weir_result result = WEIR_OK;
    if (upstream->state != UPSTREAM_READY || queued) {
        result = keep_rest(&h1->out, parts, count, 0) ? WEIR_OK : WEIR_MEMORY;
    } else {
        list_remove(&h1->flush.node);
        result = write_behind_out(upstream, parts, count);
    }
    if (result == WEIR_MEMORY) {
        fail(upstream, EDGE_INTERNAL);
        return false;
    }
    if (result != WEIR_OK) {
        go_deaf(upstream);
        return upstream->state != UPSTREAM_DEAD;
    }
    upstream_h1_arm(upstream);
    upstream_h1_update(upstream);
    h1->front_waits = unsent(h1).len > EXCHANGE_HELD_HIGH;
    return !h1->front_waits;
}

// ---- The head of a request

static void put(char **at, struct slice text)
{
    memcpy(*at, text.at, text.len);
    *at += text.len;
}

static void put_line(char **at, struct slice name, struct slice value)
{
    put(at, name);
    put(at, SLICE(": "));
    put(at, value);
    put(at, SLICE("\r\n"));
}

// A WebSocket that was asked for by an extended CONNECT of h2 (RFC 8441) becomes an upgrade with a
// key of ours. An empty key: no entropy.
static struct slice make_key(char accept[29], char text[BASE64_SIZE(16)])
{
    unsigned char nonce[16];
    if (sys_entropy(nonce, sizeof nonce) != WEIR_OK) {
        return SLICE_EMPTY;
    }
    struct slice key = slice_of(text, base64_encode(nonce, sizeof nonce, text));
    return ws_accept_key(key, accept) == WEIR_OK ? key : SLICE_EMPTY;
}

static void put_framing(char **at, const struct request_head *head)
{
    if (head->has_length) {
        *at += sprintf(*at, "Content-Length: %" PRIu64 "\r\n", head->length);
    } else if (head->has_body) {
        put(at, SLICE("Transfer-Encoding: chunked\r\n"));
    }
    if (head->upgrade.len > 0) {
        put(at, SLICE("Connection: Upgrade\r\n"));
        put_line(at, SLICE("Upgrade"), head->upgrade);
    }
}

// The head in out, with room for it reserved before.
static bool write_head(struct upstream_h1_state *h1, const struct request_head *head)
{
    char text[BASE64_SIZE(16)];
    bool extended = head->upgrade.len > 0 && slice_eq(head->method, SLICE("CONNECT"));
    struct slice key = extended ? make_key(h1->accept, text) : SLICE_EMPTY;
    struct slice target = head->target.len > 0 ? head->target : head->authority;
    size_t room = head->method.len + target.len + head->authority.len + head->upgrade.len + 256;
    for (size_t i = 0; i < head->field_count; i++) {
        room += head->fields[i].name.len + head->fields[i].value.len + 4;
    }
    char *begin = buf_reserve(&h1->out, room);
    if (begin == NULL || (extended && key.len == 0)) {
        return false;
    }
    char *at = begin;
    put(&at, extended ? SLICE("GET") : head->method);
    put(&at, SLICE(" "));
    put(&at, target);
    put(&at, SLICE(" HTTP/1.1\r\n"));
    put_line(&at, SLICE("Host"), head->authority);
    for (size_t i = 0; i < head->field_count; i++) {
        put_line(&at, head->fields[i].name, head->fields[i].value);
    }
    put_framing(&at, head);
    if (extended) {
        put_line(&at, SLICE("Sec-WebSocket-Key"), key);
    }
    put(&at, SLICE("\r\n"));
    buf_commit(&h1->out, (size_t)(at - begin));
    return true;
}

static void start(struct upstream *upstream, struct exchange *exchange,
    const struct request_head *onward, bool again)
{
    struct upstream_h1_state *h1 = &upstream->h1;
    (void)again; // a stream that has carried nothing before is not sent again from
    weir_assert(h1->phase == H1_REST && h1->exchange == NULL);
    h1->exchange = exchange;
    h1->phase = H1_HEAD;
    h1->interim_count = 0;
    h1->repeatable = upstream_is_repeatable(onward);
    h1->wants_raw = upstream_wants_raw(onward);
    h1->chunked = onward->has_body && !onward->has_length;
    h1->request_done = !onward->has_body;
    h1->accept[0] = '\0';
    exchange->back = &back_ops;
    exchange->back_state = upstream;
    if (!write_head(h1, onward)) {
        fail(upstream, EDGE_INTERNAL);
        return;
    }
    if (onward->has_body) {
        upstream_h1_arm(upstream);
        worker_defer(upstream->shard->worker, &h1->flush, on_flush);
    } else {
        flush(upstream);
    }
}

// ---- As the exchange's back

static bool on_body(struct exchange *exchange, struct slice bytes)
{
    struct upstream *upstream = exchange->back_state;
    struct upstream_h1_state *h1 = &upstream->h1;
    if (h1->deaf || bytes.len == 0) {
        return true;
    }
    struct iovec payload = {(char *)(uintptr_t)bytes.at, bytes.len};
    if (!h1->chunked || h1->phase == H1_RAW) {
        return send_parts(upstream, &payload, 1);
    }
    char line[HTTP1_CHUNK_HEAD_MAX];
    struct iovec parts[3] = {{line, http1_chunk_head_write(line, bytes.len)}, payload,
        {(char *)(uintptr_t)HTTP1_CHUNK_TAIL, sizeof HTTP1_CHUNK_TAIL - 1}};
    return send_parts(upstream, parts, 3);
}

static void end_chunks(struct upstream *upstream, const struct http1_header *trailers, size_t count)
{
    struct upstream_h1_state *h1 = &upstream->h1;
    struct buf *out = &h1->out;
    bool at_once = unsent(h1).len == 0 || list_linked(&h1->flush.node);
    buf_append_str(out, HTTP1_LAST_CHUNK);
    for (size_t i = 0; i < count; i++) {
        buf_append_slice(out, trailers[i].name);
        buf_append_str(out, ": ");
        buf_append_slice(out, trailers[i].value);
        buf_append_str(out, "\r\n");
    }
    buf_append_str(out, "\r\n");
    if (out->failed) {
        fail(upstream, EDGE_INTERNAL);
    } else if (at_once && upstream->state == UPSTREAM_READY) {
        flush(upstream);
    }
}

static void on_end(struct exchange *exchange, const struct http1_header *trailers, size_t count)
{
    struct upstream *upstream = exchange->back_state;
    struct upstream_h1_state *h1 = &upstream->h1;
    h1->request_done = true;
    if (h1->deaf) {
        return;
    }
    if (h1->phase != H1_RAW) {
        if (h1->chunked) {
            end_chunks(upstream, trailers, count);
        }
        return;
    }
    if (h1->answer_done) {
        upstream_h1_let_go(h1);
        h1->phase = H1_LAST;
    }
    flush(upstream);
}

static void on_resume(struct exchange *exchange)
{
    struct upstream *upstream = exchange->back_state;
    upstream->h1.paused = false;
    if (upstream->state == UPSTREAM_READY) {
        upstream_h1_arm(upstream);
        upstream_h1_update(upstream);
    }
}

static void on_cancel(struct exchange *exchange)
{
    struct upstream *upstream = exchange->back_state;
    upstream_h1_let_go(&upstream->h1);
    upstream_close(upstream, true);
}

static const struct back_ops back_ops = {
    .body = on_body, .end = on_end, .resume = on_resume, .cancel = on_cancel};

// ---- As a protocol

// One that was made to send a request again has it in out already.
static bool open_protocol(struct upstream *upstream)
{
    struct upstream_h1_state *h1 = &upstream->h1;
    if (h1->exchange != NULL) {
        flush(upstream);
    }
    return true;
}

static void on_ready(struct upstream *upstream, unsigned events)
{
    if ((events & WATCH_WRITE) != 0) {
        flush(upstream);
    }
    if (upstream->state == UPSTREAM_READY && (events & WATCH_READ) != 0) {
        upstream_h1_read(upstream);
    }
}

static void late(struct upstream *upstream)
{
    enum upstream_h1_phase phase = upstream->h1.phase;
    if (phase == H1_REST || phase == H1_LAST) {
        upstream_close(upstream, phase == H1_LAST);
    } else {
        fail(upstream, EDGE_UPSTREAM_TIMEOUT);
    }
}

static void fini(struct upstream *upstream)
{
    struct upstream_h1_state *h1 = &upstream->h1;
    list_remove(&h1->flush.node);
    buf_reset(&h1->out);
    buf_reset(&h1->in);
    http1_body_fini(&h1->body);
}

const struct upstream_protocol upstream_h1 = {
    .open = open_protocol,
    .start = start,
    .ready = on_ready,
    .take = upstream_h1_take,
    .late = late,
    .fail = fail,
    .fini = fini,
};
