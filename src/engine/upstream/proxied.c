// SPDX-License-Identifier: Apache-2.0
// A request for a stream, on the worker of the visitor:
//
//                    ProxyReq, zero_rtt               done(BOUND)
//   ASKED ──────────────────────────────────────────────────────► gone
//     │ ProxyReq, zero_rtt false                  hold ends   ▲
//     ├────────────────────────────► HOLDING ── detached ─────┘
//     │                                 │ the agent's connection fails
//     └─ refused, full, gone, deadline ─┴───► done(reason) ───► gone
//
// The hold (spec section 4.11): ProxyRsp leaves in a record of its own, and nothing follows until
// the agent has said anything, or has accepted the stream on its control channel, or 50 ms passed.
//
// Invariants:
// 1. A request is in shard->proxied, by stream id, exactly while it is ASKED; so an id is good
//    once, and an unknown, a used and a wrong one look the same from outside.
// 2. Each request ends in exactly one outcome that is counted, or is cancelled (counted as gone).
// 3. Unless the control channel has settled it (a verdict came), its worker is told to forget it.
#include "engine/upstream/proxied.h"

#include "base/mem.h"
#include "base/time.h"
#include "engine/control/control.h"
#include "engine/edge/arrival.h"
#include "engine/edge/census.h"
#include "engine/edge/parting.h"
#include "engine/upstream/proxied_internal.h"
#include "obs/log.h"
#include "sys/entropy.h"

#define HOLD_NS (50 * NS_PER_MS)
#define LAST_ARRIVAL_NS (250 * NS_PER_MS) // for who has been accepted, and is being read
#define UNREAD_MAX (64u * 1024)

enum proxied_state { PROXIED_ASKED, PROXIED_HOLDING, PROXIED_LEAVING, PROXIED_ENDED };

struct proxied {
    struct stream stream;  // the agent's connection, while HOLDING
    struct map_node node;  // in shard->proxied
    struct list held_node; // in shard->holding
    struct engine_shard *shard;
    struct tunnel *tunnel; // a reference
    struct timer timer;
    struct job job;   // the deferred end, and the message to forget
    proxied_fn *done; // NULL: cancelled
    void *arg;
    uint64_t asked_ns;
    enum proxied_kind kind;
    enum proxied_state state;
    enum proxied_outcome outcome;
    bool settled;  // the control channel does not know it any more
    bool accepted; // the agent has said so
    struct stream_state bound;
    struct buf unread;
    char id[TUNNEL_ID_SIZE];
    char secret[STREAM_SECRET_SIZE];
};

const char *proxied_id(const struct proxied *proxied)
{
    return proxied->id;
}

// ---- The end

static void free_proxied(struct proxied *proxied)
{
    tunnel_unref(proxied->tunnel);
    buf_reset(&proxied->unread);
    mem_free(proxied);
}

static void on_forget(struct worker *worker, struct job *job)
{
    struct proxied *proxied = container_of(job, struct proxied, job);
    struct engine_shard *shard = engine_shard_of(worker);
    if (shard != NULL) {
        control_forget(shard, proxied->tunnel->channel, slice_str(proxied->id));
    }
    free_proxied(proxied);
}

// Gives the memory up, by way of the channel's worker when that one still has the ask.
static void let_go(struct proxied *proxied)
{
    struct worker *workers = proxied->shard->engine->crew->workers;
    proxied->state = PROXIED_ENDED;
    if (proxied->settled) {
        free_proxied(proxied);
    } else if (proxied->tunnel->worker == proxied->shard->worker->index) {
        on_forget(proxied->shard->worker, &proxied->job);
    } else {
        worker_post(&workers[proxied->tunnel->worker], &proxied->job, on_forget);
    }
}

static void count_outcome(struct proxied *proxied, enum proxied_outcome outcome)
{
    struct engine_shard *shard = proxied->shard;
    unsigned nth = (unsigned)proxied->kind * PROXIED_OUTCOME_COUNT + (unsigned)outcome;
    engine_count_nth(shard, ENGINE_STREAMS_HTTP_OK, nth);
    if (outcome != PROXIED_BOUND) {
        return;
    }
    uint64_t took_ns = worker_now(shard->worker) - proxied->asked_ns;
    engine_observe(shard,
        (enum engine_histogram)(ENGINE_HISTOGRAM_STREAM_SETUP_HTTP + (unsigned)proxied->kind),
        (double)took_ns / NS_PER_S);
    engine_count_nth(shard, ENGINE_STREAMS_ACTIVE_HTTP, proxied->kind);
    atomic_fetch_add_explicit(&proxied->tunnel->streams_active, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&proxied->tunnel->streams_total, 1, memory_order_relaxed);
}

void proxied_ended(struct engine_shard *shard, struct tunnel *tunnel, enum proxied_kind kind)
{
    engine_add(shard, (enum engine_metric)(ENGINE_STREAMS_ACTIVE_HTTP + (unsigned)kind), -1);
    atomic_fetch_sub_explicit(&tunnel->streams_active, 1, memory_order_relaxed);
}

// Out of all lists; from here on only the memory is left.
static void leave(struct proxied *proxied)
{
    if (proxied->state == PROXIED_ASKED) {
        map_remove(&proxied->shard->proxied, &proxied->node);
    }
    list_remove(&proxied->held_node);
    list_remove(&proxied->job.node);
    timer_cancel(&proxied->timer);
}

// Without a connection.
static void fail(struct proxied *proxied, enum proxied_outcome outcome)
{
    proxied_fn *done = proxied->done;
    void *arg = proxied->arg;
    leave(proxied);
    count_outcome(proxied, outcome);
    let_go(proxied);
    done(arg, outcome, NULL, NULL);
}

static void succeed(struct proxied *proxied)
{
    proxied_fn *done = proxied->done;
    void *arg = proxied->arg;
    struct stream_state state = proxied->bound;
    struct buf unread = proxied->unread;
    proxied->unread = BUF_INIT(0);
    leave(proxied);
    count_outcome(proxied, PROXIED_BOUND);
    let_go(proxied);
    done(arg, PROXIED_BOUND, &state, &unread);
}

static void on_failed(struct worker *worker, struct job *job)
{
    struct proxied *proxied = container_of(job, struct proxied, job);
    (void)worker;
    fail(proxied, proxied->outcome);
}

static void fail_later(struct proxied *proxied, enum proxied_outcome outcome)
{
    proxied->outcome = outcome;
    worker_defer(proxied->shard->worker, &proxied->job, on_failed);
}

// ---- Holding

static void on_held_closed(struct stream *stream)
{
    struct proxied *proxied = container_of(stream, struct proxied, stream);
    if (proxied->done == NULL) {
        let_go(proxied);
    } else {
        fail(proxied, PROXIED_REFUSED);
    }
}

static void drop_held(struct proxied *proxied)
{
    if (proxied->state != PROXIED_HOLDING) {
        return; // it is on its way out already
    }
    proxied->state = PROXIED_LEAVING;
    list_remove(&proxied->held_node);
    timer_cancel(&proxied->timer);
    stream_close(&proxied->stream, true, on_held_closed);
}

static void on_held_detached(struct stream *stream)
{
    struct proxied *proxied = container_of(stream, struct proxied, stream);
    if (proxied->done != NULL) {
        succeed(proxied);
        return;
    }
    stream_state_drop(&proxied->bound);
    let_go(proxied);
}

static void end_hold(struct proxied *proxied)
{
    if (proxied->state != PROXIED_HOLDING) {
        return;
    }
    proxied->state = PROXIED_LEAVING;
    list_remove(&proxied->held_node);
    timer_cancel(&proxied->timer);
    stream_detach(&proxied->stream, &proxied->bound, on_held_detached);
}

static void on_hold_over(struct timer *timer)
{
    end_hold(container_of(timer, struct proxied, timer));
}

static void on_held_ready(struct stream *stream, unsigned events)
{
    struct proxied *proxied = container_of(stream, struct proxied, stream);
    struct iovec part = {stream->worker->read_area, UNREAD_MAX};
    const void *bytes = part.iov_base;
    size_t len = 0;
    (void)events;
    enum weir_result result = stream_read(stream, &part, 1, &len);
    if (result == WEIR_AGAIN) {
        return;
    }
    if (result == WEIR_OK) {
        result = buf_append(&proxied->unread, bytes, len);
    } else if (result == WEIR_CLOSED) {
        result = WEIR_OK; // met again by whoever gets the stream
    }
    if (result == WEIR_OK) {
        end_hold(proxied);
    } else {
        drop_held(proxied);
    }
}

static enum weir_result say_fine(struct proxied *proxied)
{
    struct buf words = BUF_INIT(RSTRM_FRAME_MAX);
    enum weir_result result =
        rstrm_encode(&words, &(struct rstrm_message){.kind = RSTRM_PROXY_RSP});
    if (result == WEIR_OK) {
        struct iovec part = {words.at + words.start, words.len};
        size_t written = 0;
        result = stream_write(&proxied->stream, &part, 1, &written);
    }
    buf_reset(&words);
    return result;
}

// The agent waits for an answer (zero_rtt false). It fits into an empty socket.
static void begin_hold(struct proxied *proxied)
{
    struct engine_shard *shard = proxied->shard;
    map_remove(&shard->proxied, &proxied->node);
    timer_cancel(&proxied->timer);
    proxied->state = PROXIED_HOLDING;
    list_push_back(&shard->holding, &proxied->held_node);
    if (stream_open(&proxied->stream, shard->worker, proxied->bound.fd, proxied->bound.ssl,
            on_held_ready) != WEIR_OK) {
        fail(proxied, PROXIED_FAILED);
        return;
    }
    stream_accept_bare_end(&proxied->stream);
    if (say_fine(proxied) != WEIR_OK) {
        drop_held(proxied);
    } else if (proxied->accepted || proxied->unread.len > 0) {
        end_hold(proxied);
    } else {
        timer_init(&proxied->timer, on_hold_over);
        worker_arm_in(shard->worker, &proxied->timer, HOLD_NS);
        stream_want(&proxied->stream, WATCH_READ);
    }
}

// ---- The agent's verdict

static void act_on_verdict(struct proxied *proxied, enum verdict verdict)
{
    proxied->settled = true;
    switch (verdict) {
    case VERDICT_ACCEPTED:
        proxied->accepted = true;
        break;
    case VERDICT_REFUSED:
        fail(proxied, PROXIED_REFUSED);
        break;
    case VERDICT_FULL:
        fail(proxied, PROXIED_FULL);
        break;
    case VERDICT_GONE:
        fail(proxied, PROXIED_GONE);
        break;
    }
}

// While it is held, the agent's word only shortens that; an error then shows on the connection.
static void act_while_held(struct engine_shard *shard, const struct ask *ask)
{
    list_for_each_safe (node, &shard->holding) {
        struct proxied *proxied = container_of(node, struct proxied, held_node);
        if (strcmp(proxied->id, ask->id) == 0) {
            proxied->settled = true;
            end_hold(proxied);
            return;
        }
    }
}

void proxied_take_verdict(struct worker *worker, struct job *job)
{
    struct ask *ask = container_of(job, struct ask, job);
    struct engine_shard *shard = engine_shard_of(worker);
    struct map_node *node = shard == NULL ? NULL : map_find(&shard->proxied, slice_str(ask->id));
    if (node != NULL) {
        act_on_verdict(container_of(node, struct proxied, node), ask->verdict);
    } else if (shard != NULL) {
        act_while_held(shard, ask);
    }
    ask_free(ask);
}

// ---- The agent's connection

// An arrival on its way to the worker that waits for it.
struct transfer {
    struct job job;
    struct arrival arrival;
    bool zero_rtt;
    char id[TUNNEL_ID_SIZE];
    char secret[STREAM_SECRET_SIZE]; // "" when it cannot be one
};

static void reject(struct engine_shard *shard, struct transfer *transfer)
{
    struct buf words = BUF_INIT(RSTRM_FRAME_MAX);
    struct rstrm_error error = {RSTRM_CODE_INVALID_STREAM, SLICE("No such stream.")};
    struct rstrm_message message = {.kind = RSTRM_PROXY_RSP, .proxy_rsp.error = &error};
    struct log_line line;
    char peer[IP_TEXT_SIZE];
    ip_to_text(&transfer->arrival.peer.ip, peer);
    log_begin(&line, LOG_PROXY_CONNECTION_REJECTED);
    log_text(&line, "peer", peer);
    log_end(&line);
    if (!transfer->zero_rtt && rstrm_encode(&words, &message) != WEIR_OK) {
        buf_reset(&words); // then the end alone must do
    }
    buf_reset(&transfer->arrival.unread);
    parting_start(shard, &transfer->arrival.state, &words);
}

static void meet(struct engine_shard *shard, struct transfer *transfer)
{
    struct map_node *node = map_find(&shard->proxied, slice_str(transfer->id));
    struct proxied *proxied = node == NULL ? NULL : container_of(node, struct proxied, node);
    if (proxied == NULL ||
        !slice_eq_secret(slice_str(proxied->secret), slice_str(transfer->secret))) {
        reject(shard, transfer);
        return;
    }
    proxied->bound = transfer->arrival.state;
    proxied->unread = transfer->arrival.unread;
    census_vouch(proxied->bound.ssl);
    sys_watch_peer(proxied->bound.fd);
    if (transfer->zero_rtt) {
        succeed(proxied);
    } else {
        begin_hold(proxied);
    }
}

static void on_transfer(struct worker *worker, struct job *job)
{
    struct transfer *transfer = container_of(job, struct transfer, job);
    struct engine_shard *shard = engine_shard_of(worker);
    if (shard == NULL || shard->stopping) {
        buf_reset(&transfer->arrival.unread);
        stream_state_drop(&transfer->arrival.state);
    } else {
        meet(shard, transfer);
    }
    mem_free(transfer);
}

// The worker whose number is the first byte of the id.
static struct worker *worker_of(struct engine_shard *shard, struct slice id)
{
    struct crew *crew = shard->engine->crew;
    unsigned index = 0;
    for (size_t i = 0; i < 2 && i < id.len; i++) {
        char c = id.at[i];
        bool digit = c >= '0' && c <= '9';
        bool letter = c >= 'a' && c <= 'f';
        index = index * 16 + (digit       ? (unsigned)(c - '0')
                                 : letter ? (unsigned)(c - 'a') + 10
                                          : 255);
    }
    return index < crew->count ? &crew->workers[index] : shard->worker;
}

void proxied_arrived(
    struct engine_shard *shard, struct arrival *arrival, const struct rstrm_proxy_req *message)
{
    struct transfer *transfer = mem_zalloc(sizeof *transfer);
    const struct rstrm_client_details *details = message->client_details;
    if (transfer == NULL) {
        buf_reset(&arrival->unread);
        stream_state_drop(&arrival->state);
        return;
    }
    transfer->arrival = *arrival;
    arrival->unread = BUF_INIT(0);
    transfer->zero_rtt = message->zero_rtt == RSTRM_TRUE;
    (void)slice_to_text(message->stream_id, transfer->id, sizeof transfer->id);
    if (details != NULL) {
        (void)slice_to_text(details->token, transfer->secret, sizeof transfer->secret);
    }
    struct worker *worker = worker_of(shard, slice_str(transfer->id));
    if (worker == shard->worker) {
        on_transfer(worker, &transfer->job);
    } else {
        worker_post(worker, &transfer->job, on_transfer);
    }
}

// ---- Asking

static void write_uuid(const uint8_t bytes[16], char text[TUNNEL_ID_SIZE])
{
    static const char hex[] = "0123456789abcdef";
    for (size_t i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) {
            *text++ = '-';
        }
        *text++ = hex[bytes[i] >> 4];
        *text++ = hex[bytes[i] & 15];
    }
    *text = '\0';
}

// A UUID of version 4 (RFC 4122) but for its first byte, which names the worker; and the secret.
static enum weir_result make_names(struct proxied *proxied)
{
    uint8_t random[16 + STREAM_SECRET_LEN];
    enum weir_result result = sys_entropy(random, sizeof random);
    if (result != WEIR_OK) {
        return result;
    }
    random[0] = (uint8_t)proxied->shard->worker->index;
    random[6] = (uint8_t)((random[6] & 0x0f) | 0x40);
    random[8] = (uint8_t)((random[8] & 0x3f) | 0x80);
    write_uuid(random, proxied->id);
    base64url_encode(random + 16, STREAM_SECRET_LEN, proxied->secret);
    return WEIR_OK;
}

static void on_deadline(struct timer *timer)
{
    struct proxied *proxied = container_of(timer, struct proxied, timer);
    fail(proxied, proxied->shard->shut ? PROXIED_GONE : PROXIED_TIMEOUT);
}

void proxied_give_up(struct engine_shard *shard)
{
    struct map_node *node = map_next(&shard->proxied, NULL);
    for (; node != NULL; node = map_next(&shard->proxied, node)) {
        struct proxied *proxied = container_of(node, struct proxied, node);
        if (proxied->state == PROXIED_ASKED) {
            worker_arm_in(shard->worker, &proxied->timer, LAST_ARRIVAL_NS);
        }
    }
}

static void on_ask(struct worker *worker, struct job *job)
{
    struct ask *ask = container_of(job, struct ask, job);
    struct engine_shard *shard = engine_shard_of(worker);
    if (shard == NULL) {
        ask_free(ask);
    } else {
        control_ask(shard, ask);
    }
}

static void send_ask(struct proxied *proxied, struct ask *ask, const struct ip *source)
{
    struct engine_shard *shard = proxied->shard;
    struct crew *crew = shard->engine->crew;
    ask->tunnel = tunnel_ref(proxied->tunnel);
    ask->from = shard->worker->index;
    ask->source = *source;
    memcpy(ask->id, proxied->id, sizeof ask->id);
    memcpy(ask->secret, proxied->secret, sizeof ask->secret);
    if (proxied->tunnel->worker == ask->from) {
        control_ask(shard, ask);
    } else {
        worker_post(&crew->workers[proxied->tunnel->worker], &ask->job, on_ask);
    }
}

// Whether the limits say yes; counted as it is bound, so it may be overshot by what is under way.
static bool has_room(const struct proxied *proxied)
{
    uint64_t active = atomic_load_explicit(&proxied->tunnel->streams_active, memory_order_relaxed);
    return active < proxied->shard->engine->config->limit_streams_per_tunnel;
}

static void ask(struct proxied *proxied, const struct ip *source)
{
    struct engine_shard *shard = proxied->shard;
    struct ask *message = NULL;
    if (shard->shut || !has_room(proxied)) {
        proxied->settled = true;
        fail_later(proxied, shard->shut ? PROXIED_GONE : PROXIED_FULL);
        return;
    }
    if (make_names(proxied) == WEIR_OK) {
        message = mem_zalloc(sizeof *message);
    }
    if (message == NULL ||
        map_insert(&shard->proxied, &proxied->node, slice_str(proxied->id)) != WEIR_OK) {
        mem_free(message);
        proxied->settled = true;
        fail_later(proxied, PROXIED_FAILED);
        return;
    }
    proxied->state = PROXIED_ASKED;
    worker_arm_in(
        shard->worker, &proxied->timer, shard->engine->config->stream_request_s * NS_PER_S);
    send_ask(proxied, message, source);
}

struct proxied *proxied_open(struct engine_shard *shard, struct tunnel *tunnel,
    enum proxied_kind kind, const struct ip *source, proxied_fn *done, void *arg)
{
    struct proxied *proxied = mem_zalloc(sizeof *proxied);
    if (proxied == NULL) {
        return NULL;
    }
    proxied->shard = shard;
    proxied->tunnel = tunnel_ref(tunnel);
    proxied->kind = kind;
    proxied->done = done;
    proxied->arg = arg;
    proxied->asked_ns = worker_now(shard->worker);
    proxied->state = PROXIED_LEAVING; // until it is in the map
    list_init(&proxied->held_node);
    list_init(&proxied->job.node);
    timer_init(&proxied->timer, on_deadline);
    ask(proxied, source);
    return proxied;
}

void proxied_cancel(struct proxied *proxied)
{
    if (proxied == NULL) {
        return;
    }
    count_outcome(proxied, PROXIED_GONE);
    proxied->done = NULL;
    if (proxied->state == PROXIED_HOLDING) {
        drop_held(proxied);
        return;
    }
    bool leaving = proxied->state == PROXIED_LEAVING && !list_linked(&proxied->job.node);
    if (leaving) {
        return; // its stream is being closed or detached: that ends it
    }
    leave(proxied);
    let_go(proxied);
}
