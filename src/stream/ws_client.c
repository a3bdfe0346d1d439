// SPDX-License-Identifier: Apache-2.0
#include "stream/ws_client.h"

#include <openssl/x509v3.h>
#include <stdio.h>

#include "base/base64.h"
#include "base/mem.h"
#include "proto/http1.h"
#include "sys/entropy.h"

#define REQUEST_SIZE 24576 // a target and a token of 8 KiB each
#define REASON_SIZE 256

enum dial_state { DIAL_CONNECTING, DIAL_TLS, DIAL_ANSWER, DIAL_DONE };

struct ws_dial {
    struct stream stream;
    struct timer deadline;
    struct ws *ws;
    struct worker *worker;
    const struct ws_policy *policy;
    struct ws_dial_events events;
    void *arg;
    const char *peer;
    unsigned status;
    enum dial_state state;
    struct stream_state detached;
    struct buf answer;
    size_t head_len;
    size_t request_len;
    char accept[WS_ACCEPT_SIZE];
    char reason[REASON_SIZE]; // "" while nothing went wrong
    char request[REQUEST_SIZE];
};

static void dial_free(struct ws_dial *dial)
{
    buf_reset(&dial->answer);
    mem_free(dial);
}

static void on_closed(struct stream *stream)
{
    struct ws_dial *dial = container_of(stream, struct ws_dial, stream);
    dial->events.failed(dial->arg, dial->reason, dial->status);
    dial_free(dial);
}

static void fail(struct ws_dial *dial, const char *reason)
{
    if (dial->state == DIAL_DONE) {
        return;
    }
    dial->state = DIAL_DONE;
    snprintf(dial->reason, sizeof dial->reason, "%s", reason);
    timer_cancel(&dial->deadline);
    stream_close(&dial->stream, true, on_closed);
}

static void on_detached(struct stream *stream)
{
    struct ws_dial *dial = container_of(stream, struct ws_dial, stream);
    struct slice unread = slice_skip(buf_slice(&dial->answer), dial->head_len);
    if (ws_open(dial->ws, dial->worker, &dial->detached, dial->policy, SLICE_EMPTY, unread) ==
        WEIR_OK) {
        dial->events.connected(dial->arg);
    } else {
        dial->events.failed(dial->arg, "out of memory or descriptors", 0);
    }
    dial_free(dial);
}

static void judge_answer(struct ws_dial *dial, const struct http1_head *head)
{
    const struct http1_header *accept = http1_find(head, SLICE("sec-websocket-accept"));
    char reason[REASON_SIZE];
    if (head->status != 101) {
        snprintf(reason, sizeof reason, "%s answered %u %s", dial->peer, head->status,
            http1_reason(head->status));
        dial->status = head->status;
        fail(dial, reason);
        return;
    }
    if (accept == NULL || !slice_eq(accept->value, slice_str(dial->accept))) {
        fail(dial, "the answer to the WebSocket handshake is wrong");
        return;
    }
    dial->head_len = head->head_len;
    dial->state = DIAL_DONE;
    timer_cancel(&dial->deadline);
    stream_detach(&dial->stream, &dial->detached, on_detached);
}

static void read_answer(struct ws_dial *dial)
{
    struct http1_head head;
    char *at = buf_reserve(&dial->answer, 4096);
    size_t len;
    if (at == NULL) {
        fail(dial, "the answer is too long");
        return;
    }
    struct iovec part = {at, 4096};
    enum weir_result result = stream_read(&dial->stream, &part, 1, &len);
    if (result == WEIR_AGAIN) {
        return;
    }
    if (result != WEIR_OK) {
        fail(dial, weir_result_text(result));
        return;
    }
    buf_commit(&dial->answer, len);
    result = http1_parse_response(buf_slice(&dial->answer), &head);
    if (result == WEIR_OK) {
        judge_answer(dial, &head);
    } else if (result != WEIR_AGAIN) {
        fail(dial, "the answer is not HTTP");
    }
}

static void send_request(struct ws_dial *dial)
{
    struct iovec part = {dial->request, dial->request_len};
    size_t written = 0;
    enum weir_result result = stream_write(&dial->stream, &part, 1, &written);
    if (result != WEIR_OK || written != dial->request_len) {
        fail(dial, "the request could not be sent");
        return;
    }
    dial->state = DIAL_ANSWER;
    stream_want(&dial->stream, WATCH_READ);
}

static void explain_tls(struct ws_dial *dial)
{
    long verdict = SSL_get_verify_result(dial->stream.ssl);
    char reason[REASON_SIZE];
    snprintf(reason, sizeof reason, "the TLS handshake failed: %s",
        verdict == X509_V_OK ? "is it TLS there?" : X509_verify_cert_error_string(verdict));
    fail(dial, reason);
}

static void shake_hands(struct ws_dial *dial)
{
    enum weir_result result = stream_handshake(&dial->stream);
    if (result == WEIR_OK) {
        send_request(dial);
    } else if (result != WEIR_AGAIN) {
        explain_tls(dial);
    }
}

static void on_ready(struct stream *stream, unsigned events)
{
    struct ws_dial *dial = container_of(stream, struct ws_dial, stream);
    (void)events;
    if (dial->state == DIAL_CONNECTING) {
        enum weir_result result = sys_connect_result(stream->fd);
        if (result != WEIR_OK) {
            fail(dial, weir_result_text(result));
            return;
        }
        dial->state = DIAL_TLS;
    }
    if (dial->state == DIAL_TLS) {
        shake_hands(dial);
    } else if (dial->state == DIAL_ANSWER) {
        read_answer(dial);
    }
}

static void on_deadline(struct timer *timer)
{
    fail(container_of(timer, struct ws_dial, deadline), "no answer in time");
}

static bool write_request(struct ws_dial *dial, const struct ws_dial_options *options)
{
    unsigned char nonce[16];
    char key[BASE64_SIZE(sizeof nonce)];
    if (sys_entropy(nonce, sizeof nonce) != WEIR_OK) {
        return false;
    }
    base64_encode(nonce, sizeof nonce, key);
    bool bare_v6 = strchr(options->host, ':') != NULL;
    int len = snprintf(dial->request, sizeof dial->request,
        "GET %s HTTP/1.1\r\nHost: %s%s%s:%u\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n%s%s%s\r\n",
        options->target, bare_v6 ? "[" : "", options->host, bare_v6 ? "]" : "", options->port, key,
        options->token == NULL ? "" : "Authorization: Bearer ",
        options->token == NULL ? "" : options->token, options->token == NULL ? "" : "\r\n");
    dial->request_len = (size_t)len;
    return len > 0 && (size_t)len < sizeof dial->request &&
           ws_accept_key(slice_str(key), dial->accept) == WEIR_OK;
}

static SSL *make_tls(const struct ws_dial_options *options)
{
    SSL *ssl = SSL_new(options->tls);
    if (ssl == NULL) {
        return NULL;
    }
    SSL_set_connect_state(ssl);
    struct ip literal;
    bool is_name = ip_parse(slice_str(options->host), &literal) != WEIR_OK;
    bool ok = !is_name || SSL_set_tlsext_host_name(ssl, options->host) == 1;
    if (ok && options->verify_host) {
        ok = is_name ? SSL_set1_host(ssl, options->host) == 1
                     : X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), options->host) == 1;
    }
    if (!ok) {
        SSL_free(ssl);
        return NULL;
    }
    return ssl;
}

static enum weir_result begin(const struct ws_dial_options *options, int *ret_fd)
{
    return options->unix_path != NULL ? sys_connect_unix(options->unix_path, ret_fd)
                                      : sys_connect(&options->address, ret_fd);
}

struct ws_dial *ws_dial_start(struct worker *worker, struct ws *ws,
    const struct ws_dial_options *options, const struct ws_dial_events *events, void *arg)
{
    int fd;
    struct ws_dial *dial = mem_zalloc(sizeof *dial);
    if (dial == NULL || !write_request(dial, options) || begin(options, &fd) != WEIR_OK) {
        mem_free(dial);
        return NULL;
    }
    SSL *ssl = options->tls == NULL ? NULL : make_tls(options);
    if (options->tls != NULL && ssl == NULL) {
        sys_close(fd);
        mem_free(dial);
        return NULL;
    }
    if (stream_open(&dial->stream, worker, fd, ssl, on_ready) != WEIR_OK) {
        mem_free(dial);
        return NULL;
    }
    dial->worker = worker;
    dial->ws = ws;
    dial->peer = options->peer;
    dial->policy = options->policy;
    dial->events = *events;
    dial->arg = arg;
    buf_init(&dial->answer, HTTP1_HEAD_BYTES_MAX);
    timer_init(&dial->deadline, on_deadline);
    worker_arm_in(worker, &dial->deadline, options->timeout_ns);
    stream_want(&dial->stream, WATCH_WRITE);
    return dial;
}

void ws_dial_give_up(struct ws_dial *dial)
{
    fail(dial, "it was given up");
}
