// SPDX-License-Identifier: Apache-2.0
// The answers on a stream of HTTP/1.1: one read a turn, parsed where it lies. Only a head that is
// not complete yet is kept; it goes in front of the next read, so that a head is always parsed in
// one piece. A head and what came of its body with it reach the front in the same turn.
//
// Invariants:
// 1. After every call into the exchange nothing is touched unless the upstream still carries it.
// 2. Bytes behind a complete answer end the stream: nobody asked for them.
// 3. A body that ends with the connection is complete only when TLS said so; an end without
//    close_notify cuts it (spec section 3.3).
#include "base/time.h"
#include "engine/upstream/upstream_h1.h"

#define INTERIM_MAX 32 // answers of 1xx to one request

static bool carries(const struct upstream *upstream, const struct exchange *exchange)
{
    return upstream->state == UPSTREAM_READY && upstream->h1.exchange == exchange;
}

static void push(struct upstream *upstream, struct slice payload)
{
    struct exchange *exchange = upstream->h1.exchange;
    if (payload.len > 0) {
        bool more = exchange_body(exchange, payload);
        if (carries(upstream, exchange)) {
            upstream->h1.paused = !more; // what it said last counts
        }
    }
}

// ---- Heads

// Nothing is sent again once something was answered.
static void note_answer(struct upstream_h1_state *h1)
{
    if (h1->repeatable) {
        if (h1->out_sent == h1->out.len) {
            buf_clear(&h1->out);
        } else {
            buf_consume(&h1->out, h1->out_sent);
        }
        h1->out_sent = 0;
        h1->repeatable = false;
    }
}

static void take_interim(struct upstream *upstream, const struct answer_head *answer)
{
    if (++upstream->h1.interim_count > INTERIM_MAX) {
        upstream_h1_fail(upstream, EDGE_UPSTREAM_BAD);
        return;
    }
    upstream_h1_arm(upstream);
    exchange_head(upstream->h1.exchange, answer);
}

// A 101 that nobody asked for (a plain CONNECT does not), or to another key, is no answer.
static bool may_go_raw(const struct upstream_h1_state *h1, const struct http1_head *head)
{
    if (head->status == 101 && h1->exchange->connect && h1->accept[0] == '\0') {
        return false;
    }
    if (head->status == 101 && h1->accept[0] != '\0') {
        const struct http1_header *accept = http1_find(head, SLICE("sec-websocket-accept"));
        return accept != NULL && slice_eq(accept->value, slice_str(h1->accept));
    }
    return h1->wants_raw;
}

static void go_raw(
    struct upstream *upstream, const struct http1_head *head, struct answer_head *answer)
{
    struct upstream_h1_state *h1 = &upstream->h1;
    struct exchange *exchange = h1->exchange;
    if (!may_go_raw(h1, head)) {
        upstream_h1_fail(upstream, EDGE_UPSTREAM_BAD);
        return;
    }
    const struct http1_header *upgrade = http1_find(head, SLICE("upgrade"));
    answer->upgrade = upgrade == NULL ? SLICE_EMPTY : upgrade->value;
    h1->phase = H1_RAW;
    h1->request_done = false;
    exchange->upgraded = true;
    stream_accept_bare_end(&upstream->stream);
    upstream_h1_arm(upstream);
    exchange_head(exchange, answer);
}

static void take_final(struct upstream *upstream, const struct http1_head *head,
    struct answer_head *answer, bool leftover)
{
    struct upstream_h1_state *h1 = &upstream->h1;
    struct exchange *exchange = h1->exchange;
    struct slice method = exchange->head_only ? SLICE("HEAD") : SLICE("GET");
    if (exchange->connect && head->status < 300) {
        upstream_h1_fail(upstream, EDGE_UPSTREAM_BAD); // it would look like a success of CONNECT
        return;
    }
    http1_body_init_response(&h1->body, head, method);
    answer->has_body = !http1_body_done(&h1->body);
    answer->has_length = head->has_content_length;
    answer->length = head->content_length;
    h1->keep_alive = head->keep_alive && h1->body.kind != HTTP1_BODY_UNTIL_CLOSE;
    if (answer->has_body) {
        h1->phase = H1_BODY;
        upstream_h1_arm(upstream);
    } else {
        upstream_h1_release(upstream, !leftover);
    }
    exchange_head(exchange, answer);
}

// An extended CONNECT has become an upgrade, for which a 200 is no more than a page.
static bool goes_raw(const struct upstream_h1_state *h1, unsigned status)
{
    bool plain_connect = h1->exchange->connect && h1->accept[0] == '\0';
    return status == 101 || (plain_connect && status >= 200 && status < 300);
}

static void take_parsed(struct upstream *upstream, const struct http1_head *head, bool leftover)
{
    struct http1_header fields[HTTP1_HEADERS_MAX];
    struct answer_head answer = {.status = head->status, .fields = fields, .upgrade = SLICE_EMPTY};
    if (exchange_answer_fields(head->headers, head->header_count, fields, &answer.field_count) !=
        WEIR_OK) {
        upstream_h1_fail(upstream, EDGE_UPSTREAM_BAD);
    } else if (goes_raw(&upstream->h1, head->status)) {
        go_raw(upstream, head, &answer);
    } else if (head->status < 200) {
        take_interim(upstream, &answer);
    } else {
        take_final(upstream, head, &answer, leftover);
    }
}

static void take_head(struct upstream *upstream, struct slice *bytes)
{
    struct upstream_h1_state *h1 = &upstream->h1;
    struct http1_head head;
    // The bound that in got, whatever a reload has made of the configuration since.
    const struct http1_limits limits = {h1->in.len_max, HTTP1_HEADERS_MAX, 0};
    enum weir_result result = http1_parse_response_within(*bytes, &limits, &head);
    if (result == WEIR_AGAIN) {
        result = buf_append_slice(&h1->in, *bytes);
        *bytes = SLICE_EMPTY;
        if (result != WEIR_OK) {
            upstream_h1_fail(upstream, EDGE_UPSTREAM_BAD);
        }
        return;
    }
    if (result != WEIR_OK) {
        upstream_h1_fail(upstream, EDGE_UPSTREAM_BAD);
        return;
    }
    *bytes = slice_skip(*bytes, head.head_len);
    take_parsed(upstream, &head, bytes->len > 0);
}

// ---- Bodies

static void complete(struct upstream *upstream, bool leftover)
{
    struct exchange *exchange = upstream->h1.exchange;
    struct http1_body body = upstream->h1.body;
    struct http1_header trailers[HTTP1_TRAILERS_MAX];
    size_t count = 0;
    size_t at = 0;
    while (count < HTTP1_TRAILERS_MAX && http1_body_trailer_next(&body, &at, &trailers[count])) {
        count++;
    }
    upstream->h1.body = (struct http1_body){0};
    upstream_h1_release(upstream, !leftover);
    exchange_end(exchange, trailers, count);
    http1_body_fini(&body);
}

static void take_body(struct upstream *upstream, struct slice *bytes)
{
    struct exchange *exchange = upstream->h1.exchange;
    struct slice payload = SLICE_EMPTY;
    enum weir_result result = http1_body_next(&upstream->h1.body, bytes, &payload);
    if (result != WEIR_OK && result != WEIR_CLOSED) {
        upstream_h1_fail(upstream, EDGE_UPSTREAM_BAD);
        return;
    }
    push(upstream, payload);
    if (carries(upstream, exchange) && http1_body_done(&upstream->h1.body)) {
        complete(upstream, bytes->len > 0);
    }
}

static void take_raw(struct upstream *upstream, struct slice *bytes)
{
    struct slice payload = *bytes;
    *bytes = SLICE_EMPTY;
    push(upstream, payload);
}

void upstream_h1_take(struct upstream *upstream, struct slice bytes)
{
    struct exchange *exchange = upstream->h1.exchange;
    while (bytes.len > 0 && carries(upstream, exchange)) {
        switch (upstream->h1.phase) {
        case H1_HEAD:
            take_head(upstream, &bytes);
            break;
        case H1_BODY:
            take_body(upstream, &bytes);
            break;
        case H1_RAW:
            take_raw(upstream, &bytes);
            break;
        case H1_REST:
        case H1_LAST:
            return;
        }
    }
}

// ---- Reading

static void end_raw(struct upstream *upstream)
{
    struct upstream_h1_state *h1 = &upstream->h1;
    struct exchange *exchange = h1->exchange;
    h1->answer_done = true;
    if (h1->request_done) {
        upstream_h1_let_go(h1);
        h1->phase = H1_LAST;
        upstream_h1_arm(upstream);
        upstream_h1_update(upstream);
        if (buf_slice(&h1->out).len == 0) {
            upstream_close(upstream, false);
        }
    } else {
        upstream_h1_update(upstream);
    }
    exchange_end(exchange, NULL, 0);
}

// The stream has ended, or broke.
static void take_end(struct upstream *upstream, enum weir_result result)
{
    struct upstream_h1_state *h1 = &upstream->h1;
    if (h1->phase == H1_REST) {
        upstream_close(upstream, false);
    } else if (h1->phase == H1_LAST) {
        upstream_close(upstream, true);
    } else if (h1->phase == H1_RAW && result == WEIR_CLOSED) {
        end_raw(upstream);
    } else if (h1->phase == H1_BODY && result == WEIR_CLOSED &&
               http1_body_ends_at_close(&h1->body)) {
        complete(upstream, false);
    } else {
        upstream_h1_broken(upstream);
    }
}

void upstream_h1_read(struct upstream *upstream)
{
    struct upstream_h1_state *h1 = &upstream->h1;
    char *area = upstream->shard->worker->read_area;
    struct slice held = buf_slice(&h1->in);
    memcpy(area, held.at, held.len);
    struct iovec part = {area + held.len, WORKER_READ_AREA_SIZE - held.len};
    size_t len = 0;
    enum weir_result result = stream_read(&upstream->stream, &part, 1, &len);
    if (result == WEIR_AGAIN) {
        return;
    }
    if (result != WEIR_OK) {
        take_end(upstream, result);
        return;
    }
    upstream_count_received(upstream, len);
    if (h1->exchange == NULL) {
        upstream_close(upstream, h1->phase == H1_LAST);
        return;
    }
    buf_reset(&h1->in);
    note_answer(h1);
    if (h1->phase == H1_BODY) {
        upstream_h1_arm(upstream);
    }
    upstream_h1_take(upstream, slice_of(area, held.len + len));
    if (upstream->state == UPSTREAM_READY) {
        upstream_h1_update(upstream);
    }
}
