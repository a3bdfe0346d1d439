// SPDX-License-Identifier: Apache-2.0
// A small HTTP/1.1 server on a worker: requests with bounded heads and bodies in, answers out,
// keep-alive, and upgrades handed over whole. One per worker and listening address.
//
//   accept ─► PROXY header ─► TLS ─► head ─► body ─► handler ─► answer ─┐
//             (when enabled)  (when    ▲                                │ keep-alive
//                             enabled) └────────────────────────────────┘
//
// Every state has a deadline: `setup_timeout_ns` from the accept (or from a later request's first
// byte) to the end of head and body, `idle_timeout_ns` between requests, `setup_timeout_ns` for the
// answer to be taken.
#ifndef WEIR_HTTP_SERVER_H
#define WEIR_HTTP_SERVER_H

#include "base/buf.h"
#include "proto/http1.h"
#include "stream/listener.h"
#include "stream/stream.h"
#include "stream/tls_context.h"

struct http_server;
struct http_conn;

struct http_request {
    struct http_conn *conn;
    const struct http1_head *head;
    struct slice path;
    struct slice query;
    struct slice body;
};

struct http_answer {
    const char *content_type; // NULL: no body
    const char *headers;      // complete extra lines, or NULL
    struct slice body;
    unsigned status;
    bool head_only; // the answer to HEAD: the body is measured, and not sent
};

typedef void http_handler_fn(struct http_request *request);

struct http_route {
    const char *path;   // exact
    const char *method; // NULL: the handler looks at it
    http_handler_fn *handle;
};

// Why a connection ended without a request that a handler saw.
enum http_failure {
    HTTP_FAILURE_TLS,
    HTTP_FAILURE_PROXY,     // no or a bad PROXY header
    HTTP_FAILURE_MALFORMED, // answered 400
    HTTP_FAILURE_TOO_LARGE, // answered 431 or 413
    HTTP_FAILURE_TIMEOUT,   // the deadline passed with a begun request
    HTTP_FAILURE_LEFT,      // the peer left with a begun request
};

struct http_options {
    const struct http_route *routes; // ended by a row without a path
    http_handler_fn *not_found;
    http_handler_fn *upgrade; // NULL: Upgrade is ignored
    // NULL: not interested.
    void (*failed)(struct http_server *server, const struct ip *peer, enum http_failure failure);
    struct tls_server *tls; // borrowed; NULL: plain
    uint64_t setup_timeout_ns;
    uint64_t idle_timeout_ns;
    size_t body_max;
    // How much of that a request may have, by its head; NULL: all of it.
    size_t (*body_limit)(struct http_server *server, const struct http1_head *head);
    const char *error_headers; // whole lines for the answers that no handler gives, or NULL
    // So many connections at most, 0: any number. One more makes the oldest leave that has no
    // request with a handler, those between requests first.
    size_t conn_max;
    bool proxy_protocol;
    bool unix_socket; // so is what it listens on
    void *owner;      // what the handlers find by http_owner
};

struct http_server {
    struct listener listener;
    struct worker *worker;
    const struct http_options *options; // borrowed, outlives the server
    struct list conns;
    size_t conn_count;
    bool draining;
};

// fd is a listening socket (sys_listen), owned from here on, also on failure.
enum weir_result http_server_open(struct http_server *server, struct worker *worker,
    const struct http_options *options, int fd) WEIR_MUST_CHECK;
// No new connections but those that the kernel has begun to take (listener_drain), which may ask once;
// those between requests are closed, others after their answer. Nothing on one that never opened.
void http_server_drain(struct http_server *server);
// Drained, and nobody can come any more.
bool http_server_is_empty(const struct http_server *server);
// Ends everything at once. The memory of connections is reclaimed by the loop.
void http_server_close(struct http_server *server);

void *http_owner(const struct http_conn *conn);
// It came over a Unix socket.
bool http_is_local(const struct http_conn *conn);
struct worker *http_worker(const struct http_conn *conn);
// The peer of the socket, or the one its PROXY header names.
const struct sys_address *http_peer(const struct http_conn *conn);

// The peer has shown a certificate that one of tls_settings.client_ca_path's has signed.
bool http_peer_is_certified(const struct http_conn *conn);

// Answers the request at hand: exactly once, in the handler or after http_wait.
void http_answer(struct http_conn *conn, const struct http_answer *answer);
// Puts the answer off. When the connection goes away first, `gone` is called once with arg, and
// http_answer must not be called.
void http_wait(struct http_conn *conn, void (*gone)(void *arg), void *arg);
// The same for a time of the caller's instead of setup_timeout_ns.
void http_wait_for(struct http_conn *conn, uint64_t timeout_ns, void (*gone)(void *arg), void *arg);
// Instead of an answer: raw bytes (NULL slice: none at all), then the end.
void http_refuse(struct http_conn *conn, struct slice raw);
// Instead of an answer: hands out the stream with what was read behind the request head (owned by
// the caller). The connection is gone; `detached` follows with arg when the stream may be opened on
// a worker.
typedef void http_detached_fn(void *arg);
void http_detach(struct http_conn *conn, struct stream_state *ret_state, struct buf *ret_unread,
    http_detached_fn *detached, void *arg);

#endif
