// SPDX-License-Identifier: Apache-2.0
//   RESOLVING ─► CONNECTING (each address in its turn) ─► SHAKING HANDS ─► OPENING ─► the end
#include "cli/doctor/probe.h"

#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "base/time.h"
#include "cli/plain.h"
#include "loop/resolver.h"
#include "proto/rstrm.h"
#include "stream/stream.h"
#include "stream/tls_context.h"

#define DNS_NS (5 * NS_PER_S)
#define STEP_NS (10 * NS_PER_S)
#define PROTOCOL_VERSION "1.4.5"
#define READ_SIZE 4096

static const unsigned char alpn[] = {7, 'r', 's', 't', 'r', 'm', '/', '1'};

enum probe_state { RESOLVING, CONNECTING, SHAKING, OPENING, ENDED };

struct probe {
    struct worker *worker;
    const struct profile *profile; // borrowed
    probe_fn *done;
    void *arg;
    struct resolve *resolve;
    struct stream stream;
    struct timer timer;
    struct job begin;
    SSL_CTX *tls; // owned
    struct buf in;
    uint64_t since_ns;
    size_t ip_at;
    enum probe_state state;
    bool stream_open;
    bool moving_on; // the stream closes; the next address is tried then
    bool with_channel;
    bool cancelled;
    struct probe_result result;
};

static void probe_free(struct probe *probe)
{
    timer_cancel(&probe->timer);
    buf_reset(&probe->in);
    SSL_CTX_free(probe->tls);
    mem_free(probe);
}

static void finish(struct probe *probe)
{
    if (!probe->cancelled) {
        probe->done(probe->arg, &probe->result);
    }
    probe_free(probe);
}

static void on_closed(struct stream *stream)
{
    finish(container_of(stream, struct probe, stream));
}

// problem: NULL when all went well.
static void end(struct probe *probe, enum probe_step reached, const char *problem)
{
    if (probe->state == ENDED) {
        return;
    }
    probe->state = ENDED;
    probe->result.reached = reached;
    snprintf(
        probe->result.problem, sizeof probe->result.problem, "%s", problem == NULL ? "" : problem);
    timer_cancel(&probe->timer);
    if (probe->resolve != NULL) {
        resolve_cancel(probe->resolve);
        probe->resolve = NULL;
    }
    if (probe->stream_open) {
        stream_finish(&probe->stream);
        stream_close(&probe->stream, false, on_closed);
    } else if (!probe->moving_on) {
        finish(probe);
    }
}

// ---- The control channel

static const char *architecture(void)
{
#if defined(__x86_64__)
    return "amd64";
#elif defined(__aarch64__)
    return "arm64";
#else
    return "other";
#endif
}

static bool send_message(struct probe *probe, const struct rstrm_message *message)
{
    struct buf out = BUF_INIT(RSTRM_FRAME_MAX);
    size_t written = 0;
    bool ok = rstrm_encode(&out, message) == WEIR_OK;
    if (ok) {
        struct iovec part = {out.at, out.len}; // a fresh connection takes so much
        ok = stream_write(&probe->stream, &part, 1, &written) == WEIR_OK && written == out.len;
    }
    buf_reset(&out);
    return ok;
}

static void open_channel(struct probe *probe)
{
    struct rstrm_client_details details = {
        .agent = SLICE("weir"),
        .channel = SLICE("cli"),
        .version = SLICE(WEIR_VERSION),
        .os = SLICE("linux"),
        .arch = slice_str(architecture()),
        .token = slice_str(probe->profile->token),
        .protocol_version = SLICE(PROTOCOL_VERSION),
    };
    probe->state = OPENING;
    probe->since_ns = worker_now(probe->worker);
    worker_arm_in(probe->worker, &probe->timer, STEP_NS);
    if (!send_message(probe, &(struct rstrm_message){.kind = RSTRM_OPEN_CONTROL_CHANNEL_REQ,
                                 .open_control_channel_req = {.client_details = &details}})) {
        end(probe, PROBE_CHANNEL, "the request could not be sent");
        return;
    }
    stream_want(&probe->stream, WATCH_READ);
}

static void copy_plain(char *text, size_t size, struct slice from)
{
    struct buf out = BUF_INIT(size - 1);
    if (plain_append(&out, from) != WEIR_OK || !slice_to_text(buf_slice(&out), text, size)) {
        text[0] = '\0';
    }
    buf_reset(&out);
}

static void take_answer(struct probe *probe, const struct rstrm_open_control_channel_rsp *answer)
{
    char problem[PROBE_TEXT_SIZE];
    char message[PROBE_TEXT_SIZE / 2];
    probe->result.channel_ns = worker_now(probe->worker) - probe->since_ns;
    if (answer->error != NULL) {
        copy_plain(message, sizeof message, answer->error->message);
        snprintf(problem, sizeof problem, "the engine refuses (%d): %s", (int)answer->error->code,
            message);
        end(probe, PROBE_CHANNEL, problem);
        return;
    }
    const struct rstrm_server_details *server =
        answer->ok == NULL ? NULL : answer->ok->server_details;
    snprintf(probe->result.server, sizeof probe->result.server, "an engine");
    if (server != NULL && server->agent.len > 0) {
        copy_plain(probe->result.server, sizeof probe->result.server, server->agent);
        copy_plain(
            probe->result.server_version, sizeof probe->result.server_version, server->version);
    }
    // An orderly end; an engine that does not hear of it sees the connection close.
    (void)send_message(probe, &(struct rstrm_message){.kind = RSTRM_CLOSE_CONTROL_CHANNEL_REQ});
    end(probe, PROBE_DONE, NULL);
}

// Looks at every whole frame that came.
static void take_frames(struct probe *probe)
{
    struct slice payload;
    enum weir_result result = WEIR_OK;
    while (probe->state == OPENING &&
           (result = rstrm_next_frame(buf_slice(&probe->in), &payload)) == WEIR_OK) {
        struct arena arena;
        struct rstrm_message message;
        arena_init(&arena, RSTRM_ARENA_BYTES_MAX);
        result = rstrm_decode(payload, &arena, &message);
        if (result == WEIR_OK && message.kind == RSTRM_OPEN_CONTROL_CHANNEL_RSP) {
            take_answer(probe, &message.open_control_channel_rsp);
        }
        arena_reset(&arena);
        if (result != WEIR_OK) {
            break;
        }
        buf_consume(&probe->in, RSTRM_LENGTH_SIZE + payload.len);
    }
    if (result != WEIR_OK && result != WEIR_AGAIN) {
        end(probe, PROBE_CHANNEL, "what answers does not speak rstrm/1");
    }
}

static void read_answer(struct probe *probe)
{
    char *at = buf_reserve(&probe->in, READ_SIZE);
    size_t len;
    struct iovec part = {at, READ_SIZE};
    if (at == NULL) {
        end(probe, PROBE_CHANNEL, "the answer is too long");
        return;
    }
    enum weir_result result = stream_read(&probe->stream, &part, 1, &len);
    if (result == WEIR_OK) {
        buf_commit(&probe->in, len);
        take_frames(probe);
    } else if (result != WEIR_AGAIN) {
        end(probe, PROBE_CHANNEL, "the connection ended instead of an answer");
    }
}

// ---- TLS

static uint64_t seconds_of(const ASN1_TIME *time)
{
    struct tm parts;
    if (time == NULL || ASN1_TIME_to_tm(time, &parts) != 1) {
        return 0;
    }
    time_t seconds = timegm(&parts);
    return seconds < 0 ? 0 : (uint64_t)seconds;
}

static void read_names(struct probe *probe, const X509 *certificate)
{
    struct buf names = BUF_INIT(PROBE_TEXT_SIZE - 1);
    GENERAL_NAMES *list = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; i < sk_GENERAL_NAME_num(list); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(list, i);
        if (name->type == GEN_DNS) {
            buf_append_str(&names, names.len == 0 ? "" : ", ");
            plain_append(&names, slice_of((const char *)ASN1_STRING_get0_data(name->d.dNSName),
                                     (size_t)ASN1_STRING_length(name->d.dNSName)));
        }
    }
    GENERAL_NAMES_free(list);
    (void)slice_to_text(buf_slice(&names), probe->result.names, sizeof probe->result.names);
    buf_reset(&names);
}

static void read_certificate(struct probe *probe)
{
    SSL *ssl = probe->stream.ssl;
    X509 *certificate = SSL_get1_peer_certificate(ssl);
    const unsigned char *selected = NULL;
    unsigned selected_len = 0;
    SSL_get0_alpn_selected(ssl, &selected, &selected_len);
    snprintf(
        probe->result.tls_version, sizeof probe->result.tls_version, "%s", SSL_get_version(ssl));
    copy_plain(probe->result.alpn, sizeof probe->result.alpn,
        slice_of((const char *)selected, selected_len));
    probe->result.verify = SSL_get_verify_result(ssl);
    if (certificate != NULL) {
        read_names(probe, certificate);
        probe->result.not_before_s = seconds_of(X509_get0_notBefore(certificate));
        probe->result.not_after_s = seconds_of(X509_get0_notAfter(certificate));
    }
    X509_free(certificate);
}

static void shake_hands(struct probe *probe)
{
    enum weir_result result = stream_handshake(&probe->stream);
    if (result == WEIR_AGAIN) {
        return;
    }
    if (result != WEIR_OK) {
        end(probe, PROBE_TLS, "what answers does not speak TLS, or not with ALPN rstrm/1");
        return;
    }
    probe->result.tls_ns = worker_now(probe->worker) - probe->since_ns;
    read_certificate(probe);
    bool trusted = probe->result.verify == X509_V_OK || probe->profile->insecure_skip_verify;
    if (strcmp(probe->result.alpn, RSTRM_ALPN) != 0) {
        end(probe, PROBE_TLS, "what answers does not choose ALPN rstrm/1");
    } else if (!trusted) {
        end(probe, PROBE_TLS, X509_verify_cert_error_string(probe->result.verify));
    } else if (probe->with_channel) {
        open_channel(probe);
    } else {
        end(probe, PROBE_DONE, NULL);
    }
}

// It goes on whatever the certificate says; the result tells.
static SSL *make_tls(struct probe *probe)
{
    const char *name = probe->profile->server_name;
    struct ip literal;
    SSL *ssl = SSL_new(probe->tls);
    if (ssl == NULL) {
        return NULL;
    }
    SSL_set_connect_state(ssl);
    SSL_set_verify(ssl, SSL_VERIFY_NONE, NULL);
    bool is_name = ip_parse(slice_str(name), &literal) != WEIR_OK;
    bool ok = SSL_set_alpn_protos(ssl, alpn, sizeof alpn) == 0; // 0 is its success
    if (is_name) {
        ok = ok && SSL_set_tlsext_host_name(ssl, name) == 1 && SSL_set1_host(ssl, name) == 1;
    } else {
        ok = ok && X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1;
    }
    if (!ok) {
        SSL_free(ssl);
        return NULL;
    }
    return ssl;
}

// ---- The connection

static void connect_next(struct probe *probe, const char *problem);

static void on_failed_closed(struct stream *stream)
{
    struct probe *probe = container_of(stream, struct probe, stream);
    probe->moving_on = false;
    if (probe->state == ENDED) {
        finish(probe);
    } else {
        connect_next(probe, probe->result.problem);
    }
}

static void on_ready(struct stream *stream, unsigned events)
{
    struct probe *probe = container_of(stream, struct probe, stream);
    (void)events;
    if (probe->state == CONNECTING) {
        enum weir_result result = sys_connect_result(stream->fd);
        if (result != WEIR_OK) {
            snprintf(probe->result.problem, sizeof probe->result.problem, "%s",
                weir_result_text(result));
            probe->stream_open = false;
            probe->moving_on = true;
            stream_close(stream, true, on_failed_closed);
            return;
        }
        probe->state = SHAKING;
        worker_arm_in(probe->worker, &probe->timer, STEP_NS);
    }
    if (probe->state == SHAKING) {
        shake_hands(probe);
    } else if (probe->state == OPENING) {
        read_answer(probe);
    }
}

// The next address, or the end with this problem when there is none.
static void connect_next(struct probe *probe, const char *problem)
{
    int fd;
    if (probe->ip_at == probe->result.ip_count) {
        end(probe, PROBE_CONNECT, problem);
        return;
    }
    probe->result.ip = probe->result.ips[probe->ip_at++];
    probe->state = CONNECTING;
    probe->since_ns = worker_now(probe->worker);
    worker_arm_in(probe->worker, &probe->timer, STEP_NS);
    enum weir_result result =
        sys_connect(&(struct sys_address){probe->result.ip, probe->profile->port}, &fd);
    if (result != WEIR_OK) {
        connect_next(probe, weir_result_text(result)); // as often as there are addresses
        return;
    }
    SSL *ssl = make_tls(probe);
    if (ssl == NULL) {
        sys_close(fd);
        end(probe, PROBE_TLS, "TLS cannot be set up");
    } else if (stream_open(&probe->stream, probe->worker, fd, ssl, on_ready) != WEIR_OK) {
        end(probe, PROBE_CONNECT, "out of memory or descriptors");
    } else {
        probe->stream_open = true;
        stream_want(&probe->stream, WATCH_WRITE);
    }
}

static void on_resolved(void *arg, enum weir_result result, const struct ip *ips, size_t count)
{
    struct probe *probe = arg;
    probe->resolve = NULL;
    if (result != WEIR_OK || count == 0) {
        end(probe, PROBE_DNS,
            result == WEIR_NOT_FOUND ? "there is no such name" : "no name server answers");
        return;
    }
    probe->result.ip_count = count < SYS_RESOLVE_MAX ? count : SYS_RESOLVE_MAX;
    memcpy(probe->result.ips, ips, probe->result.ip_count * sizeof *ips);
    connect_next(probe, "");
}

static void on_begin(struct worker *worker, struct job *job)
{
    struct probe *probe = container_of(job, struct probe, begin);
    if (probe->cancelled) {
        probe_free(probe);
        return;
    }
    if (ip_parse(slice_str(probe->profile->host), &probe->result.ips[0]) == WEIR_OK) {
        probe->result.ip_count = 1;
        connect_next(probe, "");
        return;
    }
    worker_arm_in(worker, &probe->timer, DNS_NS);
    probe->resolve = resolve_start(worker, probe->profile->host, on_resolved, probe);
    if (probe->resolve == NULL) {
        end(probe, PROBE_DNS, "out of memory");
    }
}

static void on_timer(struct timer *timer)
{
    struct probe *probe = container_of(timer, struct probe, timer);
    static const struct {
        enum probe_step step;
        const char *problem;
    } late[] = {
        [RESOLVING] = {PROBE_DNS, "no name server answers in 5 s"},
        [CONNECTING] = {PROBE_CONNECT, "no answer in 10 s: is a firewall in between?"},
        [SHAKING] = {PROBE_TLS, "the TLS handshake does not end in 10 s"},
        [OPENING] = {PROBE_CHANNEL, "no answer in 10 s"},
    };
    end(probe, late[probe->state].step, late[probe->state].problem);
}

struct probe *probe_start(struct worker *worker, const struct profile *profile, bool with_channel,
    probe_fn *done, void *arg)
{
    struct probe *probe = mem_zalloc(sizeof *probe);
    if (probe == NULL) {
        return NULL;
    }
    probe->worker = worker;
    probe->profile = profile;
    probe->done = done;
    probe->arg = arg;
    probe->with_channel = with_channel;
    buf_init(&probe->in, RSTRM_FRAME_MAX + READ_SIZE);
    timer_init(&probe->timer, on_timer);
    list_init(&probe->begin.node);
    probe->tls = tls_client_new(profile->ca_file, true);
    if (probe->tls == NULL) {
        probe_free(probe);
        return NULL;
    }
    worker_defer(worker, &probe->begin, on_begin);
    return probe;
}

void probe_cancel(struct probe *probe)
{
    if (probe == NULL) {
        return;
    }
    probe->cancelled = true;
    if (!list_linked(&probe->begin.node)) {
        end(probe, PROBE_DONE, NULL);
    }
}
