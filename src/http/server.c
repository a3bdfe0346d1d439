// SPDX-License-Identifier: Apache-2.0
// Invariants:
// 1. conn_end is the only exit: idempotent, legal in any state.
// 2. A handler is called with a complete request and answers exactly once; until then no further
//    request of that connection is looked at (pipelined bytes wait in `in`).
// 3. The memory of a connection goes when its stream is closed, at the end of the turn.
#include "http/server.h"

#include <stdio.h>

#include "base/mem.h"
#include "base/time.h"
#include "proto/proxy_header.h"

#define OUT_MAX (64u * 1024 * 1024) // an answer: /state of a big relay
#define READ_CHUNK 8192
#define LAST_REQUEST_NS NS_PER_S // while draining, for the first byte of who came last

enum conn_state {
    CONN_PROXY,
    CONN_TLS,
    CONN_HEAD,
    CONN_BODY,
    CONN_HANDLER, // a handler has the request
    CONN_ANSWER,  // the answer is on its way
    CONN_LINGER,  // our end is closed; waiting for the peer's
    CONN_DEAD,
};

struct http_conn {
    struct stream stream;
    struct http_server *server;
    struct list node; // in server->conns
    struct timer timer;
    struct sys_address peer;
    size_t peeked; // bytes of the PROXY header when we last looked
    enum conn_state state;
    bool keep_alive;
    bool asked; // a request, at least one
    struct buf in;
    size_t request_len; // of head and body, once the head is known: no parsing before they are here
    struct buf out;
    struct job pipelined; // deferred: the next request has been read already
    void (*gone)(void *arg);
    void *gone_arg;
    http_detached_fn *detached;
};

static void go_on(struct http_conn *conn);

static void on_gone(struct stream *stream)
{
    struct http_conn *conn = container_of(stream, struct http_conn, stream);
    if (conn->detached != NULL) {
        conn->detached(conn->gone_arg);
    }
    mem_free(conn);
}

static void leave_server(struct http_conn *conn)
{
    conn->state = CONN_DEAD;
    timer_cancel(&conn->timer);
    list_remove(&conn->node);
    list_remove(&conn->pipelined.node);
    conn->server->conn_count--;
    buf_reset(&conn->out);
}

static void conn_end(struct http_conn *conn, bool hard)
{
    if (conn->state == CONN_DEAD) {
        return;
    }
    leave_server(conn);
    buf_reset(&conn->in);
    stream_close(&conn->stream, hard, on_gone);
    if (conn->gone != NULL) {
        void (*gone)(void *) = conn->gone;
        conn->gone = NULL;
        gone(conn->gone_arg);
    }
}

static void report(struct http_conn *conn, enum http_failure failure)
{
    if (conn->server->options->failed != NULL) {
        conn->server->options->failed(conn->server, &conn->peer.ip, failure);
    }
}

static void enter(struct http_conn *conn, enum conn_state state, uint64_t timeout_ns)
{
    conn->state = state;
    worker_arm_in(conn->stream.worker, &conn->timer, timeout_ns);
}

// ---- Answering

static void linger(struct http_conn *conn)
{
    stream_finish(&conn->stream);
    enter(conn, CONN_LINGER, NS_PER_S);
    stream_want(&conn->stream, WATCH_READ);
}

static void on_pipelined(struct worker *worker, struct job *job)
{
    (void)worker;
    go_on(container_of(job, struct http_conn, pipelined));
}

static void next_request(struct http_conn *conn)
{
    const struct http_options *options = conn->server->options;
    if (!conn->keep_alive || conn->server->draining) {
        linger(conn);
        return;
    }
    enter(conn, CONN_HEAD, conn->in.len > 0 ? options->setup_timeout_ns : options->idle_timeout_ns);
    stream_want(&conn->stream, WATCH_READ);
    if (conn->in.len > 0 && !list_linked(&conn->pipelined.node)) {
        worker_defer(conn->stream.worker, &conn->pipelined, on_pipelined);
    }
}

// True when everything is written.
static bool write_out(struct http_conn *conn)
{
    while (conn->out.len > 0) {
        struct slice waiting = buf_slice(&conn->out);
        struct iovec part = {(char *)(uintptr_t)waiting.at, waiting.len};
        size_t written = 0;
        enum weir_result result = stream_write(&conn->stream, &part, 1, &written);
        if (result == WEIR_AGAIN) {
            stream_want(&conn->stream, WATCH_WRITE);
            return false;
        }
        if (result != WEIR_OK) {
            conn_end(conn, true);
            return false;
        }
        buf_consume(&conn->out, written);
    }
    return true;
}

static void start_answer(struct http_conn *conn)
{
    if (conn->out.failed) {
        conn_end(conn, true);
        return;
    }
    enter(conn, CONN_ANSWER, conn->server->options->setup_timeout_ns);
    if (write_out(conn)) {
        next_request(conn);
    }
}

bool http_peer_is_certified(const struct http_conn *conn)
{
    const SSL *ssl = conn->stream.ssl;
    return ssl != NULL && SSL_get0_peer_certificate(ssl) != NULL &&
           SSL_get_verify_result(ssl) == X509_V_OK;
}

void http_answer(struct http_conn *conn, const struct http_answer *answer)
{
    weir_assert(conn->state == CONN_HANDLER);
    conn->gone = NULL;
    bool close = !conn->keep_alive || conn->server->draining;
    buf_printf(&conn->out, "HTTP/1.1 %u %s\r\n", answer->status, http1_reason(answer->status));
    if (answer->content_type != NULL) {
        buf_printf(&conn->out, "Content-Type: %s\r\n", answer->content_type);
    }
    // 204 and 304 end with their heads, and say no length (RFC 9110 section 8.6).
    if (answer->status != 204 && answer->status != 304) {
        buf_printf(&conn->out, "Content-Length: %zu\r\n", answer->body.len);
    }
    buf_printf(&conn->out, "%s%s\r\n", answer->headers == NULL ? "" : answer->headers,
        close ? "Connection: close\r\n" : "");
    if (!answer->head_only) {
        buf_append_slice(&conn->out, answer->body);
    }
    start_answer(conn);
}

void http_wait(struct http_conn *conn, void (*gone)(void *arg), void *arg)
{
    http_wait_for(conn, conn->server->options->setup_timeout_ns, gone, arg);
}

void http_wait_for(struct http_conn *conn, uint64_t timeout_ns, void (*gone)(void *arg), void *arg)
{
    weir_assert(conn->state == CONN_HANDLER);
    conn->gone = gone;
    conn->gone_arg = arg;
    worker_arm_in(conn->stream.worker, &conn->timer, timeout_ns);
}

void http_refuse(struct http_conn *conn, struct slice raw)
{
    weir_assert(conn->state == CONN_HANDLER);
    conn->gone = NULL;
    conn->keep_alive = false;
    if (raw.len == 0) {
        conn_end(conn, false);
        return;
    }
    buf_append_slice(&conn->out, raw);
    start_answer(conn);
}

void http_detach(struct http_conn *conn, struct stream_state *ret_state, struct buf *ret_unread,
    http_detached_fn *detached, void *arg)
{
    weir_assert(conn->state == CONN_HANDLER);
    leave_server(conn);
    *ret_unread = conn->in;
    conn->in = BUF_INIT(0);
    conn->gone = NULL;
    conn->gone_arg = arg;
    conn->detached = detached;
    stream_detach(&conn->stream, ret_state, on_gone);
}

// A request nobody could understand.
static void answer_error(struct http_conn *conn, unsigned status, enum http_failure failure)
{
    report(conn, failure);
    conn->state = CONN_HANDLER;
    conn->keep_alive = false;
    buf_reset(&conn->in);
    http_answer(conn, &(struct http_answer){.status = status,
                          .headers = conn->server->options->error_headers,
                          .body = SLICE_EMPTY});
}

// ---- Receiving

static void call_handler(struct http_conn *conn, struct http1_head *head, struct slice body)
{
    const struct http_options *options = conn->server->options;
    struct http_request request = {.conn = conn, .head = head, .body = body};
    if (http1_split_target(head->target, &request.path, &request.query) != WEIR_OK) {
        answer_error(conn, 400, HTTP_FAILURE_MALFORMED);
        return;
    }
    timer_cancel(&conn->timer);
    conn->state = CONN_HANDLER;
    stream_want(&conn->stream, WATCH_NONE);
    if (head->upgrade && options->upgrade != NULL) {
        options->upgrade(&request);
        return;
    }
    for (const struct http_route *route = options->routes; route->path != NULL; route++) {
        if (slice_eq(request.path, slice_str(route->path)) &&
            (route->method == NULL || slice_eq(head->method, slice_str(route->method)))) {
            route->handle(&request);
            return;
        }
    }
    options->not_found(&request);
}

// A handler's slices point into the head, which is kept until the handler returns; what is behind
// the request stays for the next one, or for whoever takes the stream.
static void dispatch(struct http_conn *conn, struct http1_head *head)
{
    size_t body_len = (size_t)head->content_length;
    struct buf taken = conn->in;
    struct slice all = buf_slice(&taken);
    struct slice rest = slice_skip(all, head->head_len + body_len);
    conn->in = BUF_INIT(taken.len_max);
    if (rest.len > 0 && buf_append_slice(&conn->in, rest) != WEIR_OK) {
        buf_reset(&taken);
        conn_end(conn, true);
        return;
    }
    conn->keep_alive = head->keep_alive;
    conn->asked = true;
    call_handler(conn, head, slice_of(all.at + head->head_len, body_len));
    buf_reset(&taken);
}

static size_t body_limit(struct http_server *server, const struct http1_head *head)
{
    const struct http_options *options = server->options;
    size_t limit = options->body_max;
    if (options->body_limit != NULL && head->content_length > 0) {
        size_t own = options->body_limit(server, head);
        limit = own < limit ? own : limit;
    }
    return limit;
}

static void take_head(struct http_conn *conn)
{
    struct http1_head head;
    enum weir_result result = http1_parse_request(buf_slice(&conn->in), &head);
    if (result == WEIR_AGAIN) {
        if (conn->in.len >= HTTP1_HEAD_BYTES_MAX) {
            answer_error(conn, 431, HTTP_FAILURE_TOO_LARGE);
        }
        return;
    }
    if (result != WEIR_OK) {
        bool large = result == WEIR_TOO_LARGE;
        answer_error(
            conn, large ? 431 : 400, large ? HTTP_FAILURE_TOO_LARGE : HTTP_FAILURE_MALFORMED);
        return;
    }
    if (head.chunked) {
        answer_error(conn, 411, HTTP_FAILURE_MALFORMED);
        return;
    }
    if (head.content_length > body_limit(conn->server, &head)) {
        answer_error(conn, 413, HTTP_FAILURE_TOO_LARGE);
        return;
    }
    if (conn->in.len >= head.head_len + head.content_length) {
        dispatch(conn, &head);
    } else {
        conn->state = CONN_BODY;
        conn->request_len = head.head_len + (size_t)head.content_length;
    }
}

// Looks at what has been read until more is needed or somebody else has the connection.
static void go_on(struct http_conn *conn)
{
    bool look = (conn->state == CONN_HEAD && conn->in.len > 0) ||
                (conn->state == CONN_BODY && conn->in.len >= conn->request_len);
    if (look) {
        take_head(conn);
    }
}

static void read_request(struct http_conn *conn)
{
    bool fresh = conn->in.len == 0;
    size_t room = conn->in.len_max - conn->in.len;
    size_t len = room < READ_CHUNK ? room : READ_CHUNK;
    char *at = buf_reserve(&conn->in, len);
    if (at == NULL) {
        conn_end(conn, true);
        return;
    }
    struct iovec part = {at, len};
    enum weir_result result = stream_read(&conn->stream, &part, 1, &len);
    if (result == WEIR_AGAIN) {
        if (fresh) {
            buf_reset(&conn->in);
        }
        return;
    }
    if (result != WEIR_OK) {
        if (!fresh) {
            report(conn, HTTP_FAILURE_LEFT);
        }
        conn_end(conn, result != WEIR_CLOSED);
        return;
    }
    buf_commit(&conn->in, len);
    if (fresh) {
        enter(conn, CONN_HEAD, conn->server->options->setup_timeout_ns);
    }
    go_on(conn);
}

static void discard(struct http_conn *conn)
{
    char waste[READ_CHUNK];
    struct iovec part = {waste, sizeof waste};
    size_t len;
    enum weir_result result = stream_read(&conn->stream, &part, 1, &len);
    if (result != WEIR_OK && result != WEIR_AGAIN) {
        conn_end(conn, false);
    }
}

static void shake_hands(struct http_conn *conn)
{
    enum weir_result result = stream_handshake(&conn->stream);
    if (result == WEIR_AGAIN) {
        return;
    }
    if (result != WEIR_OK) {
        report(conn, HTTP_FAILURE_TLS);
        conn_end(conn, false);
        return;
    }
    conn->state = CONN_HEAD;
    stream_want(&conn->stream, WATCH_READ);
}

// Peeked bytes stay readable: wakes up for new ones only. False when the peer has ended instead:
// then it is readable without any.
static bool wait_for_more(struct http_conn *conn, size_t len)
{
    if (len <= conn->peeked) {
        return false;
    }
    conn->peeked = len;
    sys_set_receive_low(conn->stream.fd, len + 1);
    return true;
}

// The bytes behind the PROXY header may be TLS, so the header alone is taken off the socket.
static void take_proxy_header(struct http_conn *conn)
{
    char peeked[PROXY_HEADER_BYTES_MAX];
    struct proxy_header header;
    size_t len = 0;
    enum weir_result result = sys_peek(conn->stream.fd, peeked, sizeof peeked, &len);
    if (result == WEIR_AGAIN) {
        return;
    }
    if (result == WEIR_OK) {
        result = proxy_header_parse(slice_of(peeked, len), &header);
        if (result == WEIR_AGAIN && wait_for_more(conn, len)) {
            return;
        }
    }
    sys_set_receive_low(conn->stream.fd, 1);
    if (result == WEIR_OK) {
        result = sys_recv(conn->stream.fd, peeked, header.len, &len);
    }
    if (result != WEIR_OK) {
        report(conn, HTTP_FAILURE_PROXY);
        conn_end(conn, true);
        return;
    }
    if (header.has_source) {
        conn->peer = (struct sys_address){header.source, header.source_port};
    }
    conn->state = CONN_TLS;
    shake_hands(conn);
}

static void on_readable(struct http_conn *conn)
{
    switch (conn->state) {
    case CONN_PROXY:
        take_proxy_header(conn);
        break;
    case CONN_TLS:
        shake_hands(conn);
        break;
    case CONN_HEAD:
    case CONN_BODY:
        read_request(conn);
        break;
    case CONN_LINGER:
        discard(conn);
        break;
    case CONN_HANDLER:
    case CONN_ANSWER:
    case CONN_DEAD:
        break;
    }
}

static void on_ready(struct stream *stream, unsigned events)
{
    struct http_conn *conn = container_of(stream, struct http_conn, stream);
    if (conn->state == CONN_ANSWER) {
        if (write_out(conn)) {
            next_request(conn);
        }
        return;
    }
    if (conn->state == CONN_TLS || (events & WATCH_READ) != 0) {
        on_readable(conn);
    }
}

static void on_timer(struct timer *timer)
{
    struct http_conn *conn = container_of(timer, struct http_conn, timer);
    bool begun = conn->state == CONN_PROXY || conn->state == CONN_TLS ||
                 (conn->state == CONN_HEAD && conn->in.len > 0) || conn->state == CONN_BODY;
    if (begun) {
        report(conn, HTTP_FAILURE_TIMEOUT);
    }
    conn_end(conn, begun);
}

// ---- Opening

// Who is silent holds up the end of the process.
static void hurry(struct http_conn *conn)
{
    if (conn->state == CONN_HEAD && conn->in.len == 0) {
        worker_arm_in(conn->stream.worker, &conn->timer, LAST_REQUEST_NS);
    }
}

static void begin(struct http_conn *conn)
{
    const struct http_options *options = conn->server->options;
    enter(conn, options->proxy_protocol ? CONN_PROXY : CONN_TLS, options->setup_timeout_ns);
    stream_want(&conn->stream, WATCH_READ);
    if (options->tls == NULL && !options->proxy_protocol) {
        conn->state = CONN_HEAD;
    }
    if (conn->server->draining) {
        hurry(conn);
    }
}

// Ends one connection so that a newcomer fits, if there is one to end: who holds connections open
// without using them cannot keep others out.
static void make_room(struct http_server *server)
{
    struct http_conn *begun = NULL;
    list_for_each (node, &server->conns) {
        struct http_conn *conn = container_of(node, struct http_conn, node);
        if (conn->state == CONN_HEAD && conn->in.len == 0) {
            conn_end(conn, false);
            return;
        }
        if (begun == NULL && conn->state != CONN_HANDLER) {
            begun = conn;
        }
    }
    if (begun != NULL) {
        conn_end(begun, true);
    }
}

static void on_accept(struct listener *listener, int fd, const struct sys_address *peer)
{
    struct http_server *server = listener->owner;
    const struct http_options *options = server->options;
    struct http_conn *conn = mem_zalloc(sizeof *conn);
    SSL *ssl = options->tls == NULL ? NULL : SSL_new(options->tls->current);
    bool prompt = options->unix_socket || sys_set_nodelay(fd) == WEIR_OK;
    if (conn == NULL || !prompt || (options->tls != NULL && ssl == NULL)) {
        SSL_free(ssl);
        mem_free(conn);
        sys_close_hard(fd);
        return;
    }
    if (ssl != NULL) {
        SSL_set_accept_state(ssl);
    }
    if (stream_open(&conn->stream, server->worker, fd, ssl, on_ready) != WEIR_OK) {
        mem_free(conn);
        return;
    }
    if (options->conn_max > 0 && server->conn_count >= options->conn_max) {
        make_room(server);
    }
    conn->server = server;
    conn->peer = *peer;
    buf_init(&conn->in, HTTP1_HEAD_BYTES_MAX + options->body_max);
    buf_init(&conn->out, OUT_MAX);
    timer_init(&conn->timer, on_timer);
    list_init(&conn->pipelined.node);
    list_push_back(&server->conns, &conn->node);
    server->conn_count++;
    begin(conn);
}

enum weir_result http_server_open(
    struct http_server *server, struct worker *worker, const struct http_options *options, int fd)
{
    *server = (struct http_server){.worker = worker, .options = options};
    list_init(&server->conns);
    return listener_open(&server->listener, worker, fd, on_accept, server);
}

void http_server_drain(struct http_server *server)
{
    if (server->worker == NULL) {
        return;
    }
    server->draining = true;
    listener_drain(&server->listener);
    list_for_each_safe (node, &server->conns) {
        struct http_conn *conn = container_of(node, struct http_conn, node);
        if (conn->state == CONN_HEAD && conn->in.len == 0 && conn->asked) {
            conn_end(conn, false);
        } else {
            hurry(conn);
        }
    }
}

bool http_server_is_empty(const struct http_server *server)
{
    return server->draining && !listener_is_open(&server->listener) && server->conn_count == 0;
}

void http_server_close(struct http_server *server)
{
    if (server->worker == NULL) {
        return;
    }
    listener_close(&server->listener);
    list_for_each_safe (node, &server->conns) {
        conn_end(container_of(node, struct http_conn, node), true);
    }
}

void *http_owner(const struct http_conn *conn)
{
    return conn->server->options->owner;
}

bool http_is_local(const struct http_conn *conn)
{
    return conn->server->options->unix_socket;
}

struct worker *http_worker(const struct http_conn *conn)
{
    return conn->stream.worker;
}

const struct sys_address *http_peer(const struct http_conn *conn)
{
    return &conn->peer;
}
