// SPDX-License-Identifier: Apache-2.0
// HTTP/1.1 and 1.0 visitors (RFC 9112): requests in, one after the other, bodies handed on as they
// come. edge_h1_answer.c has the other direction.
//
//             ┌───────────────── keep-alive ────────────────┐
//             ▼                                             │
//   start ─► HEAD ─► EXCHANGE (head, body; upgraded: raw) ──┴─► LAST ─► LINGER ─► DEAD
//              │         │                                       ▲
//              └ bad head┴ bad body, silence ── page, close ─────┘   (any state ─► DEAD: the peer
//              left)
//
// 1. A call from the back changes flags and gathers output; what follows from it is done by
//    settle(), at the end of the turn, when no back is on the stack.
// 2. Bytes are looked at where they were read. What is left of them goes to conn->in; nothing is
//    read while the back holds too much, or when a pipelined request already waits.
// 3. Every state has a deadline: HEAD 15 s from the first byte or http_idle_seconds without one,
//    EXCHANGE visitor_silence_ns without a byte (not for upgrades), LAST and LINGER 2 s.
// 4. Rejected: http/server.h. It holds bodies whole and answers once.
#include "engine/edge/edge_h1.h"

#include "base/mem.h"
#include "engine/config/config.h"
#include "engine/edge/edge.h"
#include "engine/shard.h"
#include "engine/upstream/upstream_pool.h"

#define READ_HEAD_MAX (16u * 1024)
#define READ_BODY_MAX (64u * 1024)
#define PIPELINED_MAX (16u * 1024)
#define IN_BESIDE_HEAD (READ_BODY_MAX + PIPELINED_MAX)
#define TARGET_LEN_MAX 8192u
#define HALF_OPEN_NS                                                                               \
    (10 * NS_PER_S) // for the answer to a visitor who has said that he sends no more

// ---- The end ------------------------------------------------------------------------------------

static void on_closed(struct stream *stream)
{
    struct h1_conn *conn = container_of(stream, struct h1_conn, stream);
    http1_body_fini(&conn->body);
    buf_reset(&conn->in);
    mem_free(conn);
}

static void close_exchange(struct h1_conn *conn)
{
    if (conn->state == H1_EXCHANGE) {
        exchange_cancel(&conn->exchange);
        exchange_finished(&conn->exchange);
    }
}

static void conn_end(struct h1_conn *conn, bool hard)
{
    if (conn->state == H1_DEAD) {
        return;
    }
    close_exchange(conn);
    conn->state = H1_DEAD;
    timer_cancel(&conn->timer);
    list_remove(&conn->node);
    list_remove(&conn->settle.node);
    upstream_pool_close(&conn->visitor);
    visitor_release(&conn->visitor, conn->in_counted);
    outgo_fini(&conn->out);
    stream_close(&conn->stream, hard, on_closed);
    engine_note_departure(conn->visitor.shard);
}

static void enter(struct h1_conn *conn, enum h1_state state, uint64_t timeout_ns)
{
    conn->state = state;
    worker_arm_in(conn->stream.worker, &conn->timer, timeout_ns);
}

// Everything is written: an end that the visitor can tell from a cut, and time to read it.
static void part(struct h1_conn *conn)
{
    if (conn->cut) {
        conn_end(conn, false);
        return;
    }
    if (!conn->finished_raw) {
        stream_finish(&conn->stream);
    }
    if (conn->visitor_ended) {
        conn_end(conn, false);
        return;
    }
    buf_reset(&conn->in);
    enter(conn, H1_LINGER, VISITOR_LINGER_NS);
}

// ---- Requests -----------------------------------------------------------------------------------

static void begin_exchange(struct h1_conn *conn)
{
    conn->exchange = (struct exchange){.visitor = &conn->visitor, .front = &h1_front_ops};
    conn->has_length = conn->chunked = false;
    conn->back_full = conn->front_full = conn->body_broken = false;
    conn->moved_ns = worker_now(conn->stream.worker);
    enter(conn, H1_EXCHANGE, visitor_silence_ns(&conn->exchange, false));
}

static void refuse(struct h1_conn *conn, struct slice *bytes, enum edge_error error)
{
    *bytes = SLICE_EMPTY;
    conn->keep_alive = false;
    conn->body_done = false;
    conn->minor_version = 1;
    begin_exchange(conn);
    struct request_head head = {.method = SLICE_EMPTY,
        .authority = SLICE_EMPTY,
        .target = SLICE_EMPTY,
        .upgrade = SLICE_EMPTY,
        .version = 1};
    exchange_refuse(&conn->exchange, &head, error);
}

// The protocol to change to, if it is one that we carry: h2c would take the rest of the connection
// past every rule of ours.
static struct slice read_upgrade(const struct http1_head *head, bool has_body)
{
    if (!head->upgrade || head->minor_version == 0 || has_body ||
        slice_eq(head->method, SLICE("CONNECT"))) {
        return SLICE_EMPTY;
    }
    struct slice wanted = http1_find(head, SLICE("upgrade"))->value;
    bool carried = wanted.len < sizeof((struct h1_conn *)0)->upgrade &&
                   slice_find(wanted, ',') < 0 && !slice_starts_with_nocase(wanted, SLICE("h2")) &&
                   !slice_starts_with_nocase(wanted, SLICE("http")) &&
                   !slice_starts_with_nocase(wanted, SLICE("tls"));
    return carried ? wanted : SLICE_EMPTY;
}

static void take_host_out(struct http1_head *head)
{
    for (size_t i = 0; i < head->header_count; i++) {
        if (slice_eq_nocase(head->headers[i].name, SLICE("host"))) {
            head->header_count--;
            memmove(&head->headers[i], &head->headers[i + 1],
                (head->header_count - i) * sizeof *head->headers);
            return;
        }
    }
}

static void start_request(struct h1_conn *conn, struct http1_head *head, struct slice *bytes)
{
    struct http1_target target;
    http1_body_fini(&conn->body);
    http1_body_init_request(&conn->body, head);
    bool has_body = !http1_body_done(&conn->body);
    bool connect = slice_eq(head->method, SLICE("CONNECT"));
    if (http1_read_target(head, &target) != WEIR_OK ||
        (connect && (has_body || head->has_content_length))) {
        refuse(conn, bytes, EDGE_BAD_REQUEST);
        return;
    }
    struct request_head request = {
        .method = head->method,
        .authority = target.authority,
        .target = target.origin,
        .upgrade = read_upgrade(head, has_body),
        .has_body = has_body,
        .has_length = head->has_content_length,
        .length = head->content_length,
        .version = 1,
    };
    take_host_out(head);
    request.fields = head->headers;
    request.field_count = head->header_count;
    *bytes = slice_skip(*bytes, head->head_len);
    conn->minor_version = head->minor_version;
    // What follows a CONNECT was meant for another protocol, whatever the answer is.
    conn->keep_alive = head->keep_alive && !conn->draining && !connect;
    conn->body_done = !has_body;
    conn->asked = true;
    (void)slice_to_text(request.upgrade, conn->upgrade, sizeof conn->upgrade); // it fits
    begin_exchange(conn);
    exchange_start(&conn->exchange, &request);
}

static bool take_head(struct h1_conn *conn, struct slice *bytes)
{
    const struct http1_limits limits = {
        .head_bytes_max = conn->visitor.shard->engine->config->limit_header_bytes,
        .header_count_max = HTTP1_HEADERS_MAX,
        .target_len_max = TARGET_LEN_MAX,
    };
    struct http1_head head;
    enum weir_result result = http1_parse_request_within(*bytes, &limits, &head);
    if (result == WEIR_AGAIN) {
        return false;
    }
    if (result == WEIR_OK) {
        start_request(conn, &head, bytes);
        return true;
    }
    refuse(conn, bytes,
        result == WEIR_TOO_LONG    ? EDGE_URI_TOO_LONG
        : result == WEIR_TOO_LARGE ? EDGE_HEADERS_TOO_LARGE
                                   : EDGE_BAD_REQUEST);
    return false;
}

// ---- Bodies -------------------------------------------------------------------------------------

static void push(struct h1_conn *conn, struct slice bytes)
{
    if (bytes.len > 0 && !conn->exchange.ended) {
        conn->back_full = !exchange_request_body(&conn->exchange, bytes);
    }
}

static void end_body(struct h1_conn *conn)
{
    struct http1_header trailers[HTTP1_TRAILERS_MAX];
    size_t count = 0;
    size_t at = 0;
    conn->body_done = true;
    while (
        count < HTTP1_TRAILERS_MAX && http1_body_trailer_next(&conn->body, &at, &trailers[count])) {
        count++;
    }
    if (!conn->exchange.ended) {
        exchange_request_end(&conn->exchange, trailers, count);
    }
}

static void break_off(struct h1_conn *conn, enum edge_error error)
{
    conn->keep_alive = false;
    if (!conn->exchange.ended) {
        exchange_abort(&conn->exchange, error);
    }
}

static bool take_body(struct h1_conn *conn, struct slice *bytes)
{
    if (conn->body_broken) {
        *bytes = SLICE_EMPTY;
        return false;
    }
    struct slice payload = SLICE_EMPTY;
    conn->moved_ns = worker_now(conn->stream.worker);
    enum weir_result result = http1_body_next(&conn->body, bytes, &payload);
    if (result != WEIR_OK && result != WEIR_CLOSED) {
        break_off(conn, result == WEIR_TOO_LARGE ? EDGE_HEADERS_TOO_LARGE : EDGE_BAD_REQUEST);
        conn->body_broken = true;
        *bytes = SLICE_EMPTY;
        return false;
    }
    push(conn, payload);
    if (result == WEIR_CLOSED || http1_body_done(&conn->body)) {
        end_body(conn);
    }
    return true;
}

// Answers that the visitor does not take: the next request waits for him.
static bool is_behind(const struct h1_conn *conn)
{
    return outgo_waiting(&conn->out) > EXCHANGE_HELD_HIGH / 2;
}

// Takes a piece off the front of bytes; false when they have to wait, or more have to come.
static bool take(struct h1_conn *conn, struct slice *bytes)
{
    if (bytes->len == 0) {
        return false;
    }
    switch (conn->state) {
    case H1_HEAD:
        return !is_behind(conn) && take_head(conn, bytes);
    case H1_EXCHANGE:
        if (conn->exchange.upgraded && !conn->back_full) {
            conn->moved_ns = worker_now(conn->stream.worker);
            push(conn, *bytes);
            *bytes = SLICE_EMPTY;
            return false;
        }
        return !conn->body_done && !conn->back_full && take_body(conn, bytes);
    case H1_LAST:
    case H1_LINGER:
        *bytes = SLICE_EMPTY;
        return false;
    case H1_DEAD:
        break;
    }
    return false;
}

static void take_waiting(struct h1_conn *conn)
{
    struct slice bytes = buf_slice(&conn->in);
    size_t before = bytes.len;
    while (take(conn, &bytes)) {
    }
    buf_consume(&conn->in, before - bytes.len);
}

static void take_fresh(struct h1_conn *conn, struct slice bytes)
{
    bool begun = conn->in.len > 0;
    if (begun) {
        if (buf_append_slice(&conn->in, bytes) != WEIR_OK) {
            conn_end(conn, true);
            return;
        }
        take_waiting(conn);
    } else {
        while (take(conn, &bytes)) {
        }
        if (buf_append_slice(&conn->in, bytes) != WEIR_OK) {
            conn_end(conn, true);
            return;
        }
    }
    if (conn->state == H1_HEAD && !begun && conn->in.len > 0) {
        worker_arm_in(conn->stream.worker, &conn->timer, VISITOR_HEAD_NS);
    }
}

// ---- Settling -----------------------------------------------------------------------------------

// How much may be read now.
static size_t read_room(const struct h1_conn *conn)
{
    switch (conn->state) {
    case H1_HEAD:
        return is_behind(conn) && conn->in.len > 0 ? 0 : READ_HEAD_MAX;
    case H1_EXCHANGE:
        if (conn->visitor_ended || conn->back_full) {
            return 0;
        }
        if (conn->exchange.upgraded || !conn->body_done) {
            return READ_BODY_MAX;
        }
        return conn->in.len < PIPELINED_MAX ? PIPELINED_MAX - conn->in.len : 0;
    case H1_LINGER:
        return READ_BODY_MAX;
    case H1_LAST:
    case H1_DEAD:
        break;
    }
    return 0;
}

static void account(struct h1_conn *conn)
{
    if (conn->in.len > conn->in_counted) {
        visitor_hold(&conn->visitor, conn->in.len - conn->in_counted);
    } else if (conn->in.len < conn->in_counted) {
        visitor_release(&conn->visitor, conn->in_counted - conn->in.len);
    }
    conn->in_counted = conn->in.len;
}

// What shows of a visitor's departure while he is not read. Of one who has said that he sends no
// more, or whose body waits for its service, a FIN is enough: it is later than a close_notify.
// Behind raw bytes and requests that wait for their turn it may only be the last of them.
static unsigned departure(const struct h1_conn *conn)
{
    if (conn->state != H1_EXCHANGE) {
        return WATCH_NONE;
    }
    bool unsettled = conn->visitor_ended || !conn->body_done;
    return unsettled && !conn->exchange.upgraded ? WATCH_HANGUP : WATCH_BROKEN;
}

static void update_interest(struct h1_conn *conn)
{
    account(conn);
    unsigned events = read_room(conn) > 0 ? (unsigned)WATCH_READ : departure(conn);
    if (!outgo_empty(&conn->out)) {
        events |= WATCH_WRITE;
    }
    stream_want(&conn->stream, events);
}

static void finish_exchange(struct h1_conn *conn)
{
    const struct engine_config *config = conn->visitor.shard->engine->config;
    exchange_finished(&conn->exchange);
    if (!conn->keep_alive || !conn->body_done || conn->draining || conn->visitor_ended) {
        enter(conn, H1_LAST, visitor_silence_ns(&conn->exchange, true));
        return;
    }
    enter(conn, H1_HEAD, conn->in.len > 0 ? VISITOR_HEAD_NS : config->http_idle_s * NS_PER_S);
}

// One direction of an upgraded exchange is over.
static void settle_raw(struct h1_conn *conn)
{
    struct exchange *exchange = &conn->exchange;
    if (conn->visitor_ended && !exchange->request_ended && conn->in.len == 0) {
        exchange_request_end(exchange, NULL, 0);
    }
    bool half = exchange->request_ended || exchange->answer_ended;
    if (half && !timer_armed(&conn->timer)) {
        worker_arm_in(conn->stream.worker, &conn->timer, visitor_silence_ns(exchange, true));
    } else if (!half) {
        timer_cancel(&conn->timer);
    }
    if (!exchange->ended && exchange->answer_ended && !conn->finished_raw &&
        outgo_empty(&conn->out)) {
        conn->finished_raw = true;
        stream_finish(&conn->stream);
    }
}

static void settle(struct worker *worker, struct job *job)
{
    struct h1_conn *conn = container_of(job, struct h1_conn, settle);
    struct exchange *exchange = &conn->exchange;
    size_t waited = outgo_waiting(&conn->out);
    bool all_out = outgo_flush(&conn->out);
    if (conn->out.failed) {
        conn_end(conn, true);
        return;
    }
    if (outgo_waiting(&conn->out) < waited) {
        conn->moved_ns = worker_now(worker);
    }
    if (conn->state == H1_EXCHANGE) {
        take_waiting(conn);
        if (exchange->upgraded && !exchange->ended) {
            settle_raw(conn);
        }
        if (!exchange->ended && conn->front_full &&
            outgo_waiting(&conn->out) <= EXCHANGE_HELD_HIGH / 2) {
            conn->front_full = false;
            exchange_answer_resume(exchange);
        }
        if (exchange->ended) {
            finish_exchange(conn);
        }
    }
    if (conn->state == H1_HEAD) {
        take_waiting(conn);
    }
    if (conn->state == H1_LAST && all_out && outgo_empty(&conn->out)) {
        part(conn);
    }
    if (conn->state != H1_DEAD) {
        update_interest(conn);
    }
}

void h1_settle_later(struct h1_conn *conn)
{
    if (conn->state != H1_DEAD && !list_linked(&conn->settle.node)) {
        worker_defer(conn->stream.worker, &conn->settle, settle);
    }
}

// ---- Readiness ----------------------------------------------------------------------------------

static void on_visitor_ended(struct h1_conn *conn, enum weir_result result)
{
    bool orderly = result == WEIR_CLOSED;
    bool may_go_on =
        orderly && conn->state == H1_EXCHANGE && (conn->body_done || conn->exchange.upgraded);
    if (!may_go_on) {
        conn_end(conn, !orderly);
        return;
    }
    conn->visitor_ended = true;
    if (!conn->exchange.upgraded) {
        worker_arm_in(conn->stream.worker, &conn->timer, HALF_OPEN_NS);
    }
    h1_settle_later(conn);
}

static void on_readable(struct h1_conn *conn)
{
    size_t room = read_room(conn);
    if (room == 0) {
        return;
    }
    struct iovec part = {conn->stream.worker->read_area, room};
    size_t len = 0;
    enum weir_result result = stream_read(&conn->stream, &part, 1, &len);
    if (result == WEIR_AGAIN) {
        return;
    }
    if (result != WEIR_OK) {
        on_visitor_ended(conn, result);
        return;
    }
    take_fresh(conn, slice_of(part.iov_base, len));
    if (conn->state != H1_DEAD) {
        update_interest(conn);
    }
}

static void on_ready(struct stream *stream, unsigned events)
{
    struct h1_conn *conn = container_of(stream, struct h1_conn, stream);
    if ((events & (WATCH_HANGUP | WATCH_BROKEN)) != 0) {
        conn_end(conn, true);
        return;
    }
    if ((events & WATCH_WRITE) != 0) {
        h1_settle_later(conn);
    }
    if ((events & WATCH_READ) != 0) {
        on_readable(conn);
    }
}

static void on_silence(struct h1_conn *conn)
{
    struct worker *worker = conn->stream.worker;
    uint64_t patience =
        conn->visitor_ended ? HALF_OPEN_NS : visitor_silence_ns(&conn->exchange, conn->body_done);
    uint64_t deadline = conn->moved_ns + patience;
    if (worker_now(worker) < deadline) {
        worker_arm(worker, &conn->timer, deadline);
    } else if (!outgo_empty(&conn->out) || conn->exchange.ended || conn->exchange.upgraded) {
        conn_end(conn, true);
    } else {
        bool his_turn = !conn->body_done && !conn->back_full;
        break_off(conn, his_turn ? EDGE_REQUEST_TIMEOUT : EDGE_UPSTREAM_TIMEOUT);
        h1_settle_later(conn);
    }
}

static void on_head_timer(struct h1_conn *conn)
{
    struct slice bytes = SLICE_EMPTY;
    if (!outgo_empty(&conn->out)) {
        conn_end(conn, true); // he does not even take the last answer
    } else if (conn->in.len > 0) {
        buf_reset(&conn->in);
        refuse(conn, &bytes, EDGE_REQUEST_TIMEOUT);
    } else {
        part(conn);
    }
}

static void on_timer(struct timer *timer)
{
    struct h1_conn *conn = container_of(timer, struct h1_conn, timer);
    switch (conn->state) {
    case H1_HEAD:
        on_head_timer(conn);
        break;
    case H1_EXCHANGE:
        on_silence(conn);
        break;
    case H1_LAST:
        conn_end(conn, true);
        break;
    case H1_LINGER:
        conn_end(conn, false);
        break;
    case H1_DEAD:
        break;
    }
    if (conn->state == H1_LINGER) {
        update_interest(conn);
    }
}

// ---- Opening ------------------------------------------------------------------------------------

void edge_h1_start(struct engine_shard *shard, struct arrival *arrival)
{
    struct h1_conn *conn = mem_zalloc(sizeof *conn);
    if (conn == NULL) {
        stream_state_drop(&arrival->state);
        buf_reset(&arrival->unread);
        engine_note_departure(shard);
        return;
    }
    if (stream_open(&conn->stream, shard->worker, arrival->state.fd, arrival->state.ssl,
            on_ready) != WEIR_OK) {
        buf_reset(&arrival->unread);
        mem_free(conn);
        engine_note_departure(shard);
        return;
    }
    visitor_init(&conn->visitor, shard, arrival);
    conn->draining = shard->draining;
    buf_init(&conn->in, shard->engine->config->limit_header_bytes + IN_BESIDE_HEAD);
    outgo_init(&conn->out, &conn->stream, &conn->visitor, VISITOR_HELD_MAX);
    timer_init(&conn->timer, on_timer);
    list_init(&conn->settle.node);
    list_push_back(&shard->h1_conns, &conn->node);
    enter(conn, H1_HEAD, VISITOR_HEAD_NS);
    struct buf unread = arrival->unread;
    take_fresh(conn, buf_slice(&unread));
    buf_reset(&unread);
    if (conn->state != H1_DEAD) {
        update_interest(conn);
    }
}

void edge_h1_drain(struct engine_shard *shard, bool newcomers)
{
    list_for_each_safe (node, &shard->h1_conns) {
        struct h1_conn *conn = container_of(node, struct h1_conn, node);
        conn->draining = true;
        if (conn->state == H1_HEAD && conn->in.len == 0 && (conn->asked || newcomers)) {
            part(conn);
            if (conn->state == H1_LINGER) {
                update_interest(conn);
            }
        }
    }
}

void edge_h1_close(struct engine_shard *shard)
{
    list_for_each_safe (node, &shard->h1_conns) {
        conn_end(container_of(node, struct h1_conn, node), true);
    }
}

struct visitor *edge_h1_greediest(struct engine_shard *shard)
{
    struct visitor *most = NULL;
    list_for_each (node, &shard->h1_conns) {
        struct visitor *visitor = &container_of(node, struct h1_conn, node)->visitor;
        if (most == NULL || visitor->held_bytes > most->held_bytes) {
            most = visitor;
        }
    }
    return most;
}

void edge_h1_cut(struct visitor *visitor)
{
    conn_end(container_of(visitor, struct h1_conn, visitor), true);
}
