// SPDX-License-Identifier: Apache-2.0
// A dialer between its StreamReq and its stream:
//
//   StreamReq ─► token ─► target ─► proxied_open ─► bound ─► StreamRsp ─► detached ─► raw stream
//                  │        │           │                   (zero_rtt false)
//                  ▼        ▼           ▼
//                 1000     3000        6000, 7000           as StreamRsp when zero_rtt is false,
//                                                           else by the end alone
//
// What the dialer sends meanwhile is kept, UNREAD_MAX at most; then it is not read any more. Its
// end is no reason to stop (it may have said all it has to say), a broken connection is.
//
// Invariants:
// 1. close_dial, refuse and on_bound are the only ways out of WAITING.
// 2. proxied is not NULL exactly while WAITING.
#include "engine/control/dial.h"

#include "base/mem.h"
#include "base/time.h"
#include "engine/control/directory.h"
#include "engine/control/token.h"
#include "engine/edge/arrival.h"
#include "engine/edge/census.h"
#include "engine/edge/parting.h"
#include "engine/edge/raw_stream.h"
#include "engine/upstream/proxied.h"
#include "obs/log.h"
#include "sys/clock.h"

#define UNREAD_MAX (64u * 1024)
// Spec section 4.11: some dialers misread payload that comes with the response.
#define HOLD_NS (20 * NS_PER_MS)

struct dial {
    struct stream stream;
    struct engine_shard *shard;
    struct list node; // in shard->dials
    struct proxied *proxied;
    struct tunnel *tunnel; // a reference
    struct buf unread;
    bool zero_rtt;
    bool bound; // a stream is ours, and counted
    struct stream_state front;
    struct stream_state back;
    struct buf back_unread;
    struct buf words; // last ones, when it is refused
    char id[TUNNEL_ID_SIZE];
};

static void free_dial(struct dial *dial)
{
    struct engine_shard *shard = dial->shard;
    buf_reset(&dial->unread);
    buf_reset(&dial->back_unread);
    buf_reset(&dial->words);
    tunnel_unref(dial->tunnel);
    mem_free(dial);
    engine_note_departure(shard);
}

// ---- Refusing

static void write_error(struct buf *words, enum rstrm_code code, const char *text)
{
    struct rstrm_error error = {(int32_t)code, slice_str(text)};
    struct rstrm_message message = {.kind = RSTRM_STREAM_RSP, .stream_rsp.error = &error};
    if (rstrm_encode(words, &message) != WEIR_OK) {
        buf_reset(words); // then the end alone must do
    }
}

static void log_refusal(const struct sys_address *peer, enum rstrm_code code, const char *reason)
{
    struct log_line line;
    char text[IP_TEXT_SIZE];
    ip_to_text(&peer->ip, text);
    log_begin(&line, LOG_DIAL_REJECTED);
    log_text(&line, "peer", text);
    log_u64(&line, "code", (uint64_t)code);
    log_text(&line, "reason", reason);
    log_end(&line);
}

static void refuse_arrival(struct engine_shard *shard, struct arrival *arrival, bool zero_rtt,
    enum rstrm_code code, const char *text, const char *reason)
{
    struct buf words = BUF_INIT(RSTRM_FRAME_MAX);
    log_refusal(&arrival->peer, code, reason);
    if (!zero_rtt) {
        write_error(&words, code, text);
    }
    buf_reset(&arrival->unread);
    parting_start(shard, &arrival->state, &words);
}

static void on_detached_to_part(struct stream *stream)
{
    struct dial *dial = container_of(stream, struct dial, stream);
    if (dial->shard->stopping) {
        stream_state_drop(&dial->front);
    } else {
        parting_start(dial->shard, &dial->front, &dial->words);
    }
    free_dial(dial);
}

// Without a stream.
static void refuse(struct dial *dial, enum rstrm_code code, const char *text)
{
    list_remove(&dial->node);
    dial->proxied = NULL;
    if (!dial->zero_rtt) {
        write_error(&dial->words, code, text);
    }
    stream_detach(&dial->stream, &dial->front, on_detached_to_part);
}

static void on_closed(struct stream *stream)
{
    free_dial(container_of(stream, struct dial, stream));
}

static void close_dial(struct dial *dial)
{
    list_remove(&dial->node);
    proxied_cancel(dial->proxied);
    dial->proxied = NULL;
    stream_close(&dial->stream, true, on_closed);
}

void dials_cut(struct engine_shard *shard)
{
    list_for_each_safe (node, &shard->dials) {
        close_dial(container_of(node, struct dial, node));
    }
}

// ---- Bound

static void on_detached(struct stream *stream)
{
    struct dial *dial = container_of(stream, struct dial, stream);
    raw_stream_start(dial->shard, &(struct raw_options){
                                      .tunnel = dial->tunnel,
                                      .kind = PROXIED_DIAL,
                                      .front = dial->front,
                                      .back = dial->back,
                                      .front_unread = &dial->unread,
                                      .back_unread = &dial->back_unread,
                                      .hold_ns = dial->zero_rtt ? 0 : HOLD_NS,
                                  });
    free_dial(dial);
}

// In a record of its own: some dialers lose what comes in the same one (spec section 4.11).
static enum weir_result say_bound(struct dial *dial)
{
    struct rstrm_message message = {
        .kind = RSTRM_STREAM_RSP, .stream_rsp.stream_id = slice_str(dial->id)};
    enum weir_result result = rstrm_encode(&dial->words, &message);
    if (result == WEIR_OK) {
        struct slice words = buf_slice(&dial->words);
        struct iovec part = {(char *)(uintptr_t)words.at, words.len};
        size_t written = 0;
        result = stream_write(&dial->stream, &part, 1, &written);
    }
    buf_reset(&dial->words);
    return result;
}

static void on_bound(struct dial *dial, struct stream_state *state, struct buf *unread)
{
    list_remove(&dial->node);
    dial->proxied = NULL;
    dial->back = *state;
    dial->back_unread = *unread;
    if (!dial->zero_rtt && say_bound(dial) != WEIR_OK) {
        proxied_ended(dial->shard, dial->tunnel, PROXIED_DIAL);
        stream_state_drop(&dial->back);
        stream_close(&dial->stream, true, on_closed);
        return;
    }
    stream_detach(&dial->stream, &dial->front, on_detached);
}

static void on_outcome(
    void *arg, enum proxied_outcome outcome, struct stream_state *state, struct buf *unread)
{
    struct dial *dial = arg;
    switch (outcome) {
    case PROXIED_BOUND:
        on_bound(dial, state, unread);
        break;
    case PROXIED_FULL:
        refuse(dial, RSTRM_CODE_CAPACITY_EXHAUSTED, "Too many streams.");
        break;
    case PROXIED_REFUSED:
        refuse(dial, RSTRM_CODE_SERVICE_UNAVAILABLE, "The agent refused the stream.");
        break;
    case PROXIED_TIMEOUT:
        refuse(dial, RSTRM_CODE_SERVICE_UNAVAILABLE, "The agent did not answer.");
        break;
    case PROXIED_GONE:
        refuse(dial, RSTRM_CODE_SERVICE_UNAVAILABLE, "The tunnel has just closed.");
        break;
    case PROXIED_FAILED:
    case PROXIED_OUTCOME_COUNT:
        refuse(dial, RSTRM_CODE_INTERNAL, "The engine is out of memory.");
        break;
    }
}

// ---- Waiting

static void want(struct dial *dial)
{
    stream_want(&dial->stream, dial->unread.len < UNREAD_MAX ? WATCH_READ : WATCH_BROKEN);
}

static void on_ready(struct stream *stream, unsigned events)
{
    struct dial *dial = container_of(stream, struct dial, stream);
    struct iovec part = {stream->worker->read_area, UNREAD_MAX - dial->unread.len};
    const void *bytes = part.iov_base;
    size_t len = 0;
    if (events == WATCH_BROKEN) {
        close_dial(dial);
        return;
    }
    enum weir_result result = stream_read(stream, &part, 1, &len);
    if (result == WEIR_AGAIN) {
        return;
    }
    if (result == WEIR_CLOSED) {
        stream_want(stream, WATCH_BROKEN); // whoever gets the stream meets the end again
        return;
    }
    if (result == WEIR_OK) {
        result = buf_append(&dial->unread, bytes, len);
    }
    if (result != WEIR_OK) {
        close_dial(dial);
        return;
    }
    want(dial);
}

static void wait_for_stream(
    struct engine_shard *shard, struct arrival *arrival, struct tunnel *tunnel, bool zero_rtt)
{
    struct dial *dial = mem_zalloc(sizeof *dial);
    if (dial == NULL || stream_open(&dial->stream, shard->worker, arrival->state.fd,
                            arrival->state.ssl, on_ready) != WEIR_OK) {
        if (dial == NULL) {
            stream_state_drop(&arrival->state);
        }
        buf_reset(&arrival->unread);
        mem_free(dial);
        return;
    }
    stream_accept_bare_end(&dial->stream);
    census_vouch(dial->stream.ssl);
    dial->shard = shard;
    dial->tunnel = tunnel_ref(tunnel);
    dial->zero_rtt = zero_rtt;
    dial->unread = arrival->unread;
    arrival->unread = BUF_INIT(0);
    buf_init(&dial->words, RSTRM_FRAME_MAX);
    list_push_back(&shard->dials, &dial->node);
    dial->proxied = proxied_open(shard, tunnel, PROXIED_DIAL, &arrival->peer.ip, on_outcome, dial);
    if (dial->proxied == NULL) {
        refuse(dial, RSTRM_CODE_INTERNAL, "The engine is out of memory.");
        return;
    }
    memcpy(dial->id, proxied_id(dial->proxied), sizeof dial->id);
    want(dial);
}

// ---- Judging

static bool may_dial(const struct token *token, const struct tunnel *tunnel)
{
    return token_permits(token, TOKEN_DIAL) && token_reaches(token, SCOPE_CONNECT, tunnel);
}

void dial_start(
    struct engine_shard *shard, struct arrival *arrival, const struct rstrm_stream_req *message)
{
    const struct rstrm_client_details *details = message->client_details;
    bool zero_rtt = message->zero_rtt == RSTRM_TRUE;
    const char *reason = "no client details";
    struct slice secret = slice_str(shard->engine->config->jwt_secret);
    struct token *token =
        details == NULL ? NULL : token_read(details->token, secret, sys_wall_ms(), &reason);
    if (token == NULL) {
        refuse_arrival(
            shard, arrival, zero_rtt, RSTRM_CODE_UNAUTHORIZED, "The token is not valid.", reason);
        return;
    }
    struct tunnel *tunnel =
        directory_by_id_or_name(shard->engine->directory, message->tunnel_id_name);
    if (message->datagram_channel == RSTRM_TRUE) {
        refuse_arrival(shard, arrival, zero_rtt, RSTRM_CODE_FEATURE_NOT_AVAILABLE,
            "datagram_channel is not available.", "datagram_channel");
    } else if (tunnel == NULL) {
        refuse_arrival(shard, arrival, zero_rtt, RSTRM_CODE_TUNNEL_NOT_FOUND, "No such tunnel.",
            "no such tunnel");
    } else if (!may_dial(token, tunnel)) {
        refuse_arrival(shard, arrival, zero_rtt, RSTRM_CODE_UNAUTHORIZED,
            "The token does not permit this.", "no permission");
    } else {
        wait_for_stream(shard, arrival, tunnel, zero_rtt);
    }
    tunnel_unref(tunnel);
    token_free(token);
}
