// SPDX-License-Identifier: Apache-2.0
//   RESOLVING ──► CONNECTING ──► SHAKING ──► LEAVING ──► done
//        │          │  ▲ │         │
//        │          └──┘ │         │     the next address, when this one fails or is silent
//        ▼               ▼         ▼
//       LEAVING with a fault ─────────────────────────► done
//
// With hold_ns it is HELD between SHAKING and LEAVING, until somebody takes it. Meanwhile it is
// read: a session ticket comes that way, or the engine's end.
//
// Invariants:
// 1. In LEAVING something is on its way that ends it: the stream's closing or detaching, or `told`.
// 2. done is NULL from reach_cancel on; the object then frees itself without a word.
#include "agent/reach.h"

#include <stdio.h>

#include "base/mem.h"
#include "base/time.h"
#include "loop/resolver.h"
#include "sys/resolve.h"

#define ADDRESS_MAX_NS (2 * NS_PER_S) // of one that has another behind it

enum reach_state { REACH_RESOLVING, REACH_CONNECTING, REACH_SHAKING, REACH_HELD, REACH_LEAVING };

struct reach {
    struct stream stream;
    struct worker *worker;
    struct reach_options options;
    enum reach_state state;
    bool opened; // stream is open, or closing
    bool next;   // it closes to make room for the next address
    struct resolve *resolve;
    struct timer deadline;
    struct timer patience; // with one address
    struct job told;
    size_t ip_count;
    size_t ip_next;
    struct ip ips[SYS_RESOLVE_MAX];
    enum weir_result last;
    struct reach_result result;
};

static void try_next(struct reach *reach);

// ---- The end

static void finish(struct reach *reach)
{
    reach_fn *done = reach->options.done;
    timer_cancel(&reach->deadline);
    timer_cancel(&reach->patience);
    if (done != NULL) {
        done(reach->options.arg, &reach->result);
    } else if (reach->result.state.fd >= 0) {
        stream_state_drop(&reach->result.state);
    }
    mem_free(reach);
}

static void on_told(struct worker *worker, struct job *job)
{
    (void)worker;
    finish(container_of(job, struct reach, told));
}

static void on_closed(struct stream *stream)
{
    struct reach *reach = container_of(stream, struct reach, stream);
    reach->opened = false;
    if (reach->next && reach->state == REACH_CONNECTING) {
        reach->next = false;
        try_next(reach);
        return;
    }
    finish(reach);
}

static void leave(struct reach *reach)
{
    reach->state = REACH_LEAVING;
    timer_cancel(&reach->deadline);
    timer_cancel(&reach->patience);
    if (reach->resolve != NULL) {
        resolve_cancel(reach->resolve);
        reach->resolve = NULL;
    }
    if (!reach->opened) {
        worker_defer(reach->worker, &reach->told, on_told);
    } else if (!reach->stream.closing) {
        bool held = reach->stream.ssl != NULL && SSL_is_init_finished(reach->stream.ssl);
        if (held) {
            stream_finish(&reach->stream);
        }
        stream_close(&reach->stream, !held, on_closed);
    }
}

void reach_cancel(struct reach *reach)
{
    if (reach == NULL) {
        return;
    }
    reach->options.done = NULL;
    if (reach->state != REACH_LEAVING) {
        leave(reach);
    }
}

static void fail(struct reach *reach, enum weir_agent_error error, const char *text)
{
    bool local = reach->options.tls == NULL && error != WEIR_AGENT_ERROR_RESOURCES;
    if (reach->state == REACH_LEAVING) {
        return;
    }
    fault_set(&reach->result.fault, local ? WEIR_AGENT_ERROR_LOCAL : error, "%s: %s",
        reach->options.what, text);
    leave(reach);
}

static void fail_connecting(struct reach *reach, enum weir_result result)
{
    if (result == WEIR_TIMEOUT) {
        fail(reach, WEIR_AGENT_ERROR_TIMEOUT, "no answer in time");
    } else if (result == WEIR_MEMORY || result == WEIR_DESCRIPTORS) {
        fail(reach, WEIR_AGENT_ERROR_RESOURCES, weir_result_text(result));
    } else {
        fail(reach, WEIR_AGENT_ERROR_UNREACHABLE,
            result == WEIR_REFUSED     ? "nobody listens there"
            : result == WEIR_NOT_FOUND ? "there is no such socket"
                                       : weir_result_text(result));
    }
}

static void on_deadline(struct timer *timer)
{
    struct reach *reach = container_of(timer, struct reach, deadline);
    fail(reach, WEIR_AGENT_ERROR_TIMEOUT,
        reach->state == REACH_RESOLVING ? "no name server answered in time" : "no answer in time");
}

// ---- TLS

static void on_detached(struct stream *stream)
{
    struct reach *reach = container_of(stream, struct reach, stream);
    reach->opened = false;
    finish(reach);
}

static void succeed(struct reach *reach)
{
    reach->state = REACH_LEAVING;
    stream_detach(&reach->stream, &reach->result.state, on_detached);
}

static void hold(struct reach *reach)
{
    reach->state = REACH_HELD;
    worker_arm_in(reach->worker, &reach->deadline, reach->options.hold_ns);
    stream_want(&reach->stream, WATCH_READ);
}

static void read_held(struct reach *reach)
{
    char byte;
    struct iovec part = {&byte, sizeof byte};
    size_t len;
    if (stream_read(&reach->stream, &part, 1, &len) != WEIR_AGAIN) {
        fail(reach, WEIR_AGENT_ERROR_CLOSED, "the engine closed the connection");
    }
}

bool reach_is_held(const struct reach *reach)
{
    return reach->state == REACH_HELD;
}

void reach_take(struct reach *reach, reach_fn *done, void *arg)
{
    weir_assert(reach->state == REACH_HELD);
    reach->options.done = done;
    reach->options.arg = arg;
    timer_cancel(&reach->deadline);
    succeed(reach);
}

static void shake_hands(struct reach *reach)
{
    enum weir_result result = stream_handshake(&reach->stream);
    const SSL *ssl = reach->stream.ssl;
    if (result == WEIR_AGAIN) {
        return;
    }
    if (result == WEIR_OK && agent_tls_is_engine(ssl)) {
        if (reach->options.hold_ns > 0) {
            hold(reach);
        } else {
            succeed(reach);
        }
        return;
    }
    const char *verdict = reach->options.tls->verify ? agent_tls_verdict(ssl) : NULL;
    if (result == WEIR_OK) {
        fail(reach, WEIR_AGENT_ERROR_TLS, "who listens there is no engine: no " RSTRM_ALPN);
    } else if (verdict != NULL) {
        char text[192];
        snprintf(text, sizeof text, "its certificate is not trusted: %s", verdict);
        fail(reach, WEIR_AGENT_ERROR_TLS, text);
    } else if (result == WEIR_PROTOCOL) {
        fail(reach, WEIR_AGENT_ERROR_TLS,
            "no TLS 1.3 with " RSTRM_ALPN " could be agreed on: is it an engine?");
    } else {
        fail(reach, WEIR_AGENT_ERROR_LOST, "the connection broke off in the TLS handshake");
    }
}

static void start_tls(struct reach *reach)
{
    SSL *ssl = agent_tls_new(reach->options.tls);
    if (ssl == NULL || stream_start_tls(&reach->stream, ssl) != WEIR_OK) {
        fail(reach, WEIR_AGENT_ERROR_RESOURCES, "out of memory");
        return;
    }
    sys_watch_peer(reach->stream.fd);
    reach->state = REACH_SHAKING;
    shake_hands(reach);
}

// ---- Connecting

static void connected(struct reach *reach)
{
    timer_cancel(&reach->patience);
    if (reach->options.unix_path == NULL && sys_set_nodelay(reach->stream.fd) != WEIR_OK) {
        fail(reach, WEIR_AGENT_ERROR_LOST, "the connection broke off");
    } else if (reach->options.tls != NULL) {
        start_tls(reach);
    } else {
        succeed(reach);
    }
}

static void give_way(struct reach *reach, enum weir_result why)
{
    reach->last = why;
    reach->next = true;
    stream_close(&reach->stream, true, on_closed);
}

static void on_patience(struct timer *timer)
{
    give_way(container_of(timer, struct reach, patience), WEIR_TIMEOUT);
}

static void on_ready(struct stream *stream, unsigned events)
{
    struct reach *reach = container_of(stream, struct reach, stream);
    (void)events;
    if (reach->state == REACH_HELD) {
        read_held(reach);
        return;
    }
    if (reach->state == REACH_SHAKING) {
        shake_hands(reach);
        return;
    }
    enum weir_result result = sys_connect_result(stream->fd);
    if (result == WEIR_OK) {
        connected(reach);
    } else {
        timer_cancel(&reach->patience);
        give_way(reach, result);
    }
}

static void try_next(struct reach *reach)
{
    while (reach->ip_next < reach->ip_count) {
        int fd;
        reach->result.address =
            (struct sys_address){reach->ips[reach->ip_next++], reach->options.port};
        enum weir_result result = sys_connect(&reach->result.address, &fd);
        if (result == WEIR_OK) {
            result = stream_open(&reach->stream, reach->worker, fd, NULL, on_ready);
        }
        if (result == WEIR_OK) {
            reach->opened = true;
            if (reach->ip_next < reach->ip_count) {
                worker_arm_in(reach->worker, &reach->patience, ADDRESS_MAX_NS);
            }
            stream_want(&reach->stream, WATCH_WRITE);
            return;
        }
        reach->last = result;
    }
    fail_connecting(reach, reach->last);
}

static void connect_unix(struct reach *reach)
{
    int fd;
    enum weir_result result = sys_connect_unix(reach->options.unix_path, &fd);
    if (result == WEIR_OK) {
        result = stream_open(&reach->stream, reach->worker, fd, NULL, on_ready);
    }
    if (result == WEIR_OK) {
        reach->opened = true;
        connected(reach);
    } else {
        fail_connecting(reach, result);
    }
}

// ---- Names

static void on_resolved(void *arg, enum weir_result result, const struct ip *ips, size_t count)
{
    struct reach *reach = arg;
    reach->resolve = NULL;
    if (result != WEIR_OK) {
        fail(reach, WEIR_AGENT_ERROR_NAME,
            result == WEIR_NOT_FOUND     ? "there is no such name"
            : result == WEIR_UNREACHABLE ? "no name server answers"
                                         : weir_result_text(result));
        return;
    }
    memcpy(reach->ips, ips, count * sizeof *ips);
    reach->ip_count = count;
    reach->state = REACH_CONNECTING;
    try_next(reach);
}

// The addresses that need no name server. A service on "localhost" may have only one of the two.
static bool is_known(struct reach *reach)
{
    static const uint8_t loopback_v4[4] = {127, 0, 0, 1};
    static const uint8_t loopback_v6[16] = {[15] = 1};
    const struct reach_options *options = &reach->options;
    if (options->known != NULL) {
        reach->ips[0] = options->known->ip;
        reach->ip_count = 1;
    } else if (slice_eq_nocase(slice_str(options->host), SLICE("localhost"))) {
        reach->ips[0] = ip_from_v4(loopback_v4);
        reach->ips[1] = ip_from_v6(loopback_v6);
        reach->ip_count = 2;
    } else if (ip_parse(slice_str(options->host), &reach->ips[0]) == WEIR_OK) {
        reach->ip_count = 1;
    }
    return reach->ip_count > 0;
}

struct reach *reach_start(struct worker *worker, const struct reach_options *options)
{
    struct reach *reach = mem_zalloc(sizeof *reach);
    if (reach == NULL) {
        return NULL;
    }
    reach->worker = worker;
    reach->options = *options;
    reach->result.state.fd = -1;
    reach->last = WEIR_UNREACHABLE;
    timer_init(&reach->deadline, on_deadline);
    timer_init(&reach->patience, on_patience);
    list_init(&reach->told.node);
    worker_arm_in(worker, &reach->deadline, options->timeout_ns);
    reach->state = REACH_CONNECTING;
    if (options->unix_path != NULL) {
        connect_unix(reach);
    } else if (is_known(reach)) {
        try_next(reach);
    } else {
        reach->state = REACH_RESOLVING;
        reach->resolve = resolve_start(worker, options->host, on_resolved, reach);
        if (reach->resolve == NULL) {
            fail(reach, WEIR_AGENT_ERROR_RESOURCES, "out of memory");
        }
    }
    return reach;
}
