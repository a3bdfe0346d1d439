// SPDX-License-Identifier: Apache-2.0
// HTTP/2 visitors (RFC 9113) over nghttp2: the connection, its deadlines and its end.
//
//   start ─► OPEN ─┬─ the session wants nothing any more (GOAWAY, last stream) ─► LINGER ─► DEAD
//                  └─ the peer left, or nothing can be sent ─────────────────────────────► DEAD
//
// 1. nghttp2 is entered from readiness, timers and settle() only, and never from its own callbacks
//    (conn->in_session). What a back's call changes is written by settle(), at the end of the turn;
//    a large piece of a body may be framed before (edge_h2_answer.c).
// 2. Streams are freed by settle() or with the connection, when no back is on the stack.
// 3. Deadlines: VISITOR_HEAD_NS for the first SETTINGS and for a header block, http_idle_seconds
//    without a stream, PING_NS of silence before a ping and again until its answer, and
//    visitor_silence_ns for a stream.
// 4. NO_RFC7540_PRIORITIES is not offered: nghttp2 1.52 then frees a frame twice when memory runs
//    out while it queues one (session_attach_stream_item forgets to detach it).
#include "engine/edge/edge_h2.h"

#include "base/mem.h"
#include "engine/config/config.h"
#include "engine/edge/edge.h"
#include "engine/shard.h"
#include "engine/upstream/upstream_pool.h"

#define READ_MAX (64u * 1024)
#define PING_NS (30 * NS_PER_S)
#define SETTINGS_ENTRIES_MAX 32
#define ACKS_WAITING_MAX 200
#define CONTINUATIONS_MAX 8

// ---- Memory of the library ----------------------------------------------------------------------

static void *library_malloc(size_t size, void *arg)
{
    (void)arg;
    return mem_alloc(size);
}

static void library_free(void *block, void *arg)
{
    (void)arg;
    mem_free(block);
}

static void *library_calloc(size_t count, size_t size, void *arg)
{
    (void)arg;
    return size != 0 && count > SIZE_MAX / size ? NULL : mem_zalloc(count * size);
}

static void *library_realloc(void *block, size_t size, void *arg)
{
    (void)arg;
    return mem_realloc(block, size);
}

static nghttp2_mem library_memory = {
    NULL, library_malloc, library_free, library_calloc, library_realloc};

// ---- The end ------------------------------------------------------------------------------------

static void free_stream(struct h2_stream *stream)
{
    struct h2_conn *conn = stream->conn;
    if (stream->started) {
        timer_cancel(&stream->timer);
        exchange_cancel(&stream->exchange);
        exchange_finished(&stream->exchange);
    }
    list_remove(&stream->node);
    list_remove(&stream->work_node);
    conn->stream_count--;
    conn->rest_since_ns = worker_now(conn->stream.worker);
    // What the back never took is taken now: its window is the connection's.
    if (stream->held.len > 0 && conn->session != NULL &&
        nghttp2_session_consume_connection(conn->session, stream->held.len) != 0) {
        conn->out.failed = true;
    }
    visitor_release(&conn->visitor, stream->held.len + stream->out.len);
    buf_reset(&stream->held);
    buf_reset(&stream->out);
    buf_reset(&stream->request_trailers.bytes);
    buf_reset(&stream->trailers.bytes);
    mem_free(stream);
}

static void on_closed(struct stream *stream)
{
    struct h2_conn *conn = container_of(stream, struct h2_conn, stream);
    h2_head_drop(conn);
    mem_free(conn);
}

static void free_streams(struct h2_conn *conn)
{
    nghttp2_session_del(conn->session);
    conn->session = NULL;
    list_for_each_safe (node, &conn->streams) {
        free_stream(container_of(node, struct h2_stream, node));
    }
}

static void conn_end(struct h2_conn *conn, bool hard)
{
    if (conn->state == H2_DEAD) {
        return;
    }
    conn->state = H2_DEAD;
    timer_cancel(&conn->timer);
    list_remove(&conn->node);
    list_remove(&conn->settle.node);
    free_streams(conn);
    upstream_pool_close(&conn->visitor);
    outgo_fini(&conn->out);
    stream_close(&conn->stream, hard, on_closed);
    engine_note_departure(conn->visitor.shard);
}

// Everything is said and written.
static void part(struct h2_conn *conn)
{
    conn->state = H2_LINGER;
    free_streams(conn);
    stream_finish(&conn->stream);
    worker_arm_in(conn->stream.worker, &conn->timer, VISITOR_LINGER_NS);
    stream_want(&conn->stream, WATCH_READ);
}

// ---- Deadlines ----------------------------------------------------------------------------------

static uint64_t next_deadline(const struct h2_conn *conn)
{
    const struct engine_config *config = conn->visitor.shard->engine->config;
    if (conn->head != NULL) {
        return conn->head_since_ns + VISITOR_HEAD_NS;
    }
    if (!conn->greeted) {
        return conn->rest_since_ns + VISITOR_HEAD_NS;
    }
    if (conn->stream_count == 0) {
        return conn->rest_since_ns + config->http_idle_s * NS_PER_S;
    }
    return conn->heard_ns + (conn->pinged ? 2 : 1) * PING_NS;
}

static void say_goodbye(struct h2_conn *conn, uint32_t code)
{
    if (nghttp2_session_terminate_session(conn->session, code) != 0) {
        conn->out.failed = true;
    }
}

static void on_deadline(struct h2_conn *conn)
{
    if (conn->head != NULL || !conn->greeted) {
        conn_end(conn, true);
    } else if (conn->stream_count == 0) {
        say_goodbye(conn, NGHTTP2_NO_ERROR);
    } else if (conn->pinged) {
        conn_end(conn, true); // it has not answered for PING_NS
    } else {
        conn->pinged = true;
        if (nghttp2_submit_ping(conn->session, NGHTTP2_FLAG_NONE, NULL) != 0) {
            conn->out.failed = true;
        }
    }
}

// The timer may be early: deadlines move on without it.
static void on_timer(struct timer *timer)
{
    struct h2_conn *conn = container_of(timer, struct h2_conn, timer);
    struct worker *worker = conn->stream.worker;
    if (conn->state == H2_LINGER) {
        conn_end(conn, false);
        return;
    }
    if (worker_now(worker) >= next_deadline(conn)) {
        on_deadline(conn);
    }
    if (conn->state == H2_OPEN) {
        uint64_t soonest = worker_now(worker) + NS_PER_S;
        uint64_t deadline = next_deadline(conn);
        conn->armed_ns = deadline > soonest ? deadline : soonest;
        worker_arm(worker, &conn->timer, conn->armed_ns);
        h2_settle_later(conn);
    }
}

static void arm(struct h2_conn *conn)
{
    uint64_t deadline = next_deadline(conn);
    if (!timer_armed(&conn->timer) || deadline < conn->armed_ns) {
        conn->armed_ns = deadline;
        worker_arm(conn->stream.worker, &conn->timer, deadline);
    }
}

// ---- Settling -----------------------------------------------------------------------------------

static void work_on(struct h2_stream *stream)
{
    struct exchange *exchange = &stream->exchange;
    if (stream->closed) {
        free_stream(stream);
        return;
    }
    if (!stream->started) {
        return;
    }
    h2_stream_feed(stream);
    if (stream->front_full && !exchange->ended && stream->out.len <= EXCHANGE_HELD_HIGH / 2) {
        stream->front_full = false;
        exchange_answer_resume(exchange);
    }
}

static void work_on_streams(struct h2_conn *conn)
{
    struct list *node;
    while ((node = list_pop_front(&conn->work)) != NULL) {
        work_on(container_of(node, struct h2_stream, work_node));
    }
}

// Calls out of the work may make more of it, and writing too; that is the next settling's.
static void settle(struct worker *worker, struct job *job)
{
    struct h2_conn *conn = container_of(job, struct h2_conn, settle);
    (void)worker;
    work_on_streams(conn);
    bool all_out = outgo_flush(&conn->out);
    if (all_out) {
        h2_pump(conn);
        all_out = outgo_flush(&conn->out);
    }
    if (conn->out.failed) {
        conn_end(conn, true);
        return;
    }
    if (!list_empty(&conn->work)) {
        h2_settle_later(conn);
    } else if (all_out && !nghttp2_session_want_read(conn->session) &&
               !nghttp2_session_want_write(conn->session)) {
        part(conn);
        return;
    }
    arm(conn);
    stream_want(&conn->stream, all_out ? WATCH_READ : WATCH_READ | WATCH_WRITE);
}

void h2_settle_later(struct h2_conn *conn)
{
    if (conn->state == H2_OPEN && !list_linked(&conn->settle.node)) {
        worker_defer(conn->stream.worker, &conn->settle, settle);
    }
}

void h2_stream_touch(struct h2_stream *stream)
{
    if (!list_linked(&stream->work_node)) {
        list_push_back(&stream->conn->work, &stream->work_node);
    }
    h2_settle_later(stream->conn);
}

// ---- Readiness ----------------------------------------------------------------------------------

static void take(struct h2_conn *conn, struct slice bytes)
{
    conn->heard_ns = worker_now(conn->stream.worker);
    conn->in_session = true;
    ssize_t taken = nghttp2_session_mem_recv(conn->session, (const uint8_t *)bytes.at, bytes.len);
    conn->in_session = false;
    if (taken == NGHTTP2_ERR_FLOODED || taken == NGHTTP2_ERR_TOO_MANY_CONTINUATIONS) {
        h2_calm_down(conn);
    } else if (taken == NGHTTP2_ERR_NOMEM || taken == NGHTTP2_ERR_CALLBACK_FAILURE) {
        conn->out.failed = true;
    } else if (taken < 0) {
        say_goodbye(conn, NGHTTP2_PROTOCOL_ERROR);
    }
    h2_settle_later(conn);
}

static void on_ready(struct stream *stream, unsigned events)
{
    struct h2_conn *conn = container_of(stream, struct h2_conn, stream);
    if ((events & WATCH_WRITE) != 0) {
        h2_settle_later(conn);
    }
    if ((events & WATCH_READ) == 0) {
        return;
    }
    struct iovec part_read = {stream->worker->read_area, READ_MAX};
    size_t len = 0;
    enum weir_result result = stream_read(stream, &part_read, 1, &len);
    if (result == WEIR_AGAIN) {
        return;
    }
    if (result != WEIR_OK) {
        conn_end(conn, result != WEIR_CLOSED);
    } else if (conn->state == H2_OPEN) {
        take(conn, slice_of(part_read.iov_base, len));
    }
}

// ---- Opening ------------------------------------------------------------------------------------

static nghttp2_session *session_new(struct h2_conn *conn)
{
    nghttp2_session_callbacks *callbacks = NULL;
    nghttp2_option *option = NULL;
    nghttp2_session *session = NULL;
    if (nghttp2_session_callbacks_new(&callbacks) == 0 && nghttp2_option_new(&option) == 0) {
        h2_request_callbacks(callbacks);
        h2_answer_callbacks(callbacks);
        nghttp2_option_set_no_auto_window_update(option, 1);
        nghttp2_option_set_no_closed_streams(option, 1);
        nghttp2_option_set_max_settings(option, SETTINGS_ENTRIES_MAX);
        nghttp2_option_set_max_outbound_ack(option, ACKS_WAITING_MAX);
        nghttp2_option_set_max_continuations(option, CONTINUATIONS_MAX);
        if (nghttp2_session_server_new3(&session, callbacks, conn, option, &library_memory) != 0) {
            session = NULL;
        }
    }
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    return session;
}

static bool greet(struct h2_conn *conn)
{
    const struct engine_config *config = conn->visitor.shard->engine->config;
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, (uint32_t)config->limit_h2_streams},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, H2_STREAM_WINDOW},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)h2_head_list_max(conn)},
        {NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1},
    };
    return nghttp2_submit_settings(conn->session, NGHTTP2_FLAG_NONE, settings,
               sizeof settings / sizeof *settings) == 0 &&
           nghttp2_session_set_local_window_size(
               conn->session, NGHTTP2_FLAG_NONE, 0, (int32_t)H2_CONNECTION_WINDOW) == 0;
}

static void begin(struct h2_conn *conn, struct engine_shard *shard, struct arrival *arrival)
{
    visitor_init(&conn->visitor, shard, arrival);
    outgo_init(&conn->out, &conn->stream, &conn->visitor, VISITOR_HELD_MAX);
    timer_init(&conn->timer, on_timer);
    list_init(&conn->settle.node);
    list_init(&conn->streams);
    list_init(&conn->work);
    list_push_back(&shard->h2_conns, &conn->node);
    conn->rest_since_ns = conn->heard_ns = worker_now(shard->worker);
    conn->session = session_new(conn);
    if (conn->session == NULL || !greet(conn)) {
        conn_end(conn, true);
        return;
    }
    arm(conn);
    stream_want(&conn->stream, WATCH_READ);
    if (arrival->unread.len > 0) {
        take(conn, buf_slice(&arrival->unread));
    }
    h2_settle_later(conn);
}

void edge_h2_start(struct engine_shard *shard, struct arrival *arrival)
{
    struct h2_conn *conn = mem_zalloc(sizeof *conn);
    if (conn == NULL) {
        stream_state_drop(&arrival->state);
        engine_note_departure(shard);
    } else if (stream_open(&conn->stream, shard->worker, arrival->state.fd, arrival->state.ssl,
                   on_ready) != WEIR_OK) {
        mem_free(conn);
        engine_note_departure(shard);
    } else {
        begin(conn, shard, arrival);
    }
    buf_reset(&arrival->unread);
}

void edge_h2_drain(struct engine_shard *shard)
{
    list_for_each_safe (node, &shard->h2_conns) {
        struct h2_conn *conn = container_of(node, struct h2_conn, node);
        if (conn->state != H2_OPEN || conn->draining) {
            continue;
        }
        conn->draining = true;
        int32_t last = nghttp2_session_get_last_proc_stream_id(conn->session);
        if (nghttp2_submit_goaway(
                conn->session, NGHTTP2_FLAG_NONE, last, NGHTTP2_NO_ERROR, NULL, 0) != 0) {
            conn->out.failed = true;
        }
        h2_settle_later(conn);
    }
}

void edge_h2_close(struct engine_shard *shard)
{
    list_for_each_safe (node, &shard->h2_conns) {
        conn_end(container_of(node, struct h2_conn, node), true);
    }
}

struct visitor *edge_h2_greediest(struct engine_shard *shard)
{
    struct visitor *most = NULL;
    list_for_each (node, &shard->h2_conns) {
        struct visitor *visitor = &container_of(node, struct h2_conn, node)->visitor;
        if (most == NULL || visitor->held_bytes > most->held_bytes) {
            most = visitor;
        }
    }
    return most;
}

void edge_h2_cut(struct visitor *visitor)
{
    conn_end(container_of(visitor, struct h2_conn, visitor), true);
}
