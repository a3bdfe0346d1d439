// SPDX-License-Identifier: Apache-2.0
// The life of an upstream stream: asked of the agent, bound, perhaps encrypted once more, used,
// at rest in a pool, ended. What is said on it is the matter of upstream_h1.c and upstream_h2.c.
//
//   upstream_start ──┬── a pool has one ─────────────────────────────► READY ◄──► (at rest)
//                    │                                                  ▲  │          │
//                    └── OPENING ── bound ──┬───────────────────────────┘  │          │
//                           │               └── HANDSHAKE ── done ─────────┤          │
//                           │ refused, late         │ failed, late         │ the end  │ late
//                           └───────────────────────┴──────────────────────┴──────────┴──► DEAD
//
// Which protocol: h2c tunnels speak h2 from the first byte; tunnels with upstream TLS offer h2 and
// http/1.1 and follow the service; all others speak HTTP/1.1. A request that turns into raw bytes
// (WebSocket and other upgrades, CONNECT) always travels as HTTP/1.1 on a stream of its own: over
// TLS such a stream offers http/1.1 only, and to an h2c service it is sent in clear HTTP/1.1, which
// servers that take h2c by its preface (Go, Envoy, Caddy, Hypercorn, Jetty) answer on the same
// port. One that does not gives an answer that is not HTTP/1.1, and the visitor gets 502.
//
// Invariants:
// 1. upstream_close is the only end. It tells nobody: whoever travels on the stream has been told
//    or taken off before.
// 2. proxied_ended is called once for each stream that was bound.
// 3. A request that waits for its stream is in `requests`; once begun, it is its protocol's. On h2
//    all but the first wait until the service has said how many it takes at once; the first one's
//    deadline is theirs.
// 4. No state without a deadline: OPENING has proxied.c's, HANDSHAKE that of upstream_tls.c, READY
//    the protocol's in `timer`; only an upgraded exchange has none.
#include "engine/upstream/upstream.h"

#include "base/mem.h"
#include "base/time.h"
#include "engine/edge/visitor.h"
#include "engine/upstream/upstream_internal.h"
#include "obs/log.h"
#include "stream/tls_stack.h"

#define SCRATCH_MAX 16384
// A head that is not complete goes in front of the next read, in the same area.
#define ANSWER_HEAD_MAX ((size_t)WORKER_READ_AREA_SIZE / 2)

// By enum proxied_outcome.
static const enum edge_error outcome_errors[] = {
    [PROXIED_BOUND] = EDGE_UPSTREAM_BAD, // not an error
    [PROXIED_REFUSED] = EDGE_AGENT_REFUSED,
    [PROXIED_TIMEOUT] = EDGE_AGENT_TIMEOUT,
    [PROXIED_FULL] = EDGE_BUSY,
    [PROXIED_GONE] = EDGE_OFFLINE,
    [PROXIED_FAILED] = EDGE_INTERNAL,
};

// ---- Starting an exchange

bool upstream_wants_raw(const struct request_head *head)
{
    return head->upgrade.len > 0 || slice_eq(head->method, SLICE("CONNECT"));
}

bool upstream_is_repeatable(const struct request_head *head)
{
    static const char *const idempotent[] = {"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"};
    for (size_t i = 0; !head->has_body && i < sizeof idempotent / sizeof *idempotent; i++) {
        if (slice_eq(head->method, slice_str(idempotent[i]))) {
            return true;
        }
    }
    return false;
}

// NTLM and Negotiate authenticate a connection, not a request.
bool upstream_binds_connection(const struct request_head *head)
{
    for (size_t i = 0; i < head->field_count; i++) {
        if (slice_eq_nocase(head->fields[i].name, SLICE("authorization"))) {
            struct slice value = head->fields[i].value;
            return slice_starts_with_nocase(value, SLICE("negotiate")) ||
                   slice_starts_with_nocase(value, SLICE("ntlm"));
        }
    }
    return false;
}

// Bytes nobody asked for, or an end, that the loop has not shown us yet.
static bool has_ended_meanwhile(struct upstream *upstream)
{
    char byte;
    size_t len;
    struct iovec part = {&byte, sizeof byte};
    return stream_read(&upstream->stream, &part, 1, &len) != WEIR_AGAIN;
}

// One from a pool, or NULL. A request that cannot be sent twice does not learn from its failure
// that the stream was stale: there one read more is spent on looking first.
static struct upstream *take_from_pool(
    const struct upstream_need *need, const struct request_head *onward)
{
    struct upstream *upstream = upstream_pool_take(need);
    while (upstream != NULL && upstream->protocol == &upstream_h1 &&
           !upstream_is_repeatable(onward) && has_ended_meanwhile(upstream)) {
        upstream_close(upstream, false);
        upstream = upstream_pool_take(need);
    }
    return upstream;
}

static bool takes_now(const struct upstream *upstream)
{
    return upstream->state == UPSTREAM_READY &&
           (upstream->protocol != &upstream_h2 || upstream_h2_takes_now(upstream));
}

static void start_fresh(struct exchange *exchange, struct tunnel *tunnel,
    const struct request_head *onward, struct upstream *opening)
{
    struct upstream_request *request = upstream_request_new(exchange, onward);
    if (request == NULL) {
        exchange_fail(exchange, EDGE_INTERNAL);
    } else if (opening != NULL) {
        upstream_request_wait(request, opening);
    } else {
        upstream_request_open(request, tunnel);
    }
}

static void start_onward(
    struct exchange *exchange, struct tunnel *tunnel, const struct request_head *onward)
{
    struct visitor *visitor = exchange->visitor;
    struct upstream_need need = {.visitor = visitor,
        .tunnel = tunnel,
        .raw = upstream_wants_raw(onward),
        .bound = upstream_binds_connection(onward)};
    struct upstream *upstream = take_from_pool(&need, onward);
    if (upstream == NULL || !takes_now(upstream)) {
        start_fresh(exchange, tunnel, onward, upstream);
        return;
    }
    engine_count(visitor->shard, ENGINE_HTTP_STREAM_REUSES);
    upstream->reused = true;
    upstream->personal = upstream->personal || need.bound;
    upstream->protocol->start(upstream, exchange, onward, false);
}

void upstream_start(
    struct exchange *exchange, struct tunnel *tunnel, const struct request_head *head)
{
    struct http1_header fields[EXCHANGE_FIELDS_MAX];
    struct buf scratch = BUF_INIT(SCRATCH_MAX);
    struct request_head onward = *head;
    onward.fields = fields;
    enum weir_result result =
        exchange_forward_fields(exchange, head, &scratch, fields, &onward.field_count);
    if (result == WEIR_OK) {
        start_onward(exchange, tunnel, &onward);
    } else {
        exchange_fail(exchange, result == WEIR_MEMORY ? EDGE_INTERNAL : EDGE_HEADERS_TOO_LARGE);
    }
    buf_reset(&scratch);
}

// ---- One stream

static void on_late(struct timer *timer);

struct upstream *upstream_new(struct engine_shard *shard, struct tunnel *tunnel)
{
    struct upstream *upstream = mem_zalloc(sizeof *upstream);
    if (upstream == NULL) {
        return NULL;
    }
    upstream->shard = shard;
    upstream->tunnel = tunnel_ref(tunnel);
    upstream->stream.fd = -1;
    list_init(&upstream->requests);
    list_init(&upstream->at_rest);
    list_init(&upstream->gone.node);
    list_init(&upstream->h1.flush.node);
    timer_init(&upstream->timer, on_late);
    buf_init(&upstream->h1.out, UPSTREAM_OUT_MAX);
    buf_init(&upstream->h1.in, upstream_answer_head_max(upstream));
    list_push_back(&shard->upstreams, &upstream->node);
    return upstream;
}

static void tell(struct list *waiting, enum edge_error error)
{
    for (struct list *node; (node = list_pop_front(waiting)) != NULL;) {
        struct upstream_request *request = container_of(node, struct upstream_request, node);
        struct exchange *exchange = request->exchange;
        upstream_request_free(request);
        exchange_fail(exchange, error);
    }
}

void upstream_end(struct upstream *upstream, enum edge_error error)
{
    struct list waiting;
    list_take_all(&upstream->requests, &waiting);
    upstream_close(upstream, true);
    tell(&waiting, error);
}

// Everybody who waits for a stream that does not come, or travels on it.
static void fail_all(struct upstream *upstream, enum edge_error error)
{
    struct list waiting;
    list_take_all(&upstream->requests, &waiting);
    if (upstream->protocol != NULL) {
        upstream->protocol->fail(upstream, error);
    }
    upstream_close(upstream, true);
    tell(&waiting, error);
}

static void on_late(struct timer *timer)
{
    struct upstream *upstream = container_of(timer, struct upstream, timer);
    upstream->protocol->late(upstream);
}

static void send_elsewhere(struct upstream_request *request, struct tunnel *tunnel)
{
    struct upstream_need need = {.visitor = request->exchange->visitor,
        .tunnel = tunnel,
        .bound = upstream_binds_connection(&request->head)};
    struct upstream *other = upstream_pool_take(&need);
    if (other == NULL) {
        upstream_request_open(request, tunnel);
    } else if (takes_now(other)) {
        request->upstream = other;
        other->reused = true;
        upstream_request_begin(request);
    } else {
        upstream_request_wait(request, other);
    }
}

void upstream_begin_waiting(struct upstream *upstream)
{
    while (!list_empty(&upstream->requests) && takes_now(upstream)) {
        struct list *node = list_pop_front(&upstream->requests);
        upstream_request_begin(container_of(node, struct upstream_request, node));
    }
    while (!list_empty(&upstream->requests) && upstream->state == UPSTREAM_READY &&
           !upstream_h2_has_room(upstream)) {
        struct list *node = list_pop_front(&upstream->requests);
        send_elsewhere(container_of(node, struct upstream_request, node), upstream->tunnel);
    }
}

static void become_ready(struct upstream *upstream)
{
    upstream->state = UPSTREAM_READY;
    stream_want(&upstream->stream, WATCH_READ);
    if (upstream->protocol->open(upstream)) {
        upstream_begin_waiting(upstream);
    } else {
        fail_all(upstream, EDGE_INTERNAL);
    }
}

static void on_ready(struct stream *stream, unsigned events)
{
    struct upstream *upstream = container_of(stream, struct upstream, stream);
    upstream->protocol->ready(upstream, events);
}

// The stream is ours from here on. False when it is of no use, and everybody has been told.
static bool take_stream(struct upstream *upstream, struct stream_state *state)
{
    if (stream_open(&upstream->stream, upstream->shard->worker, state->fd, state->ssl, on_ready) !=
        WEIR_OK) {
        fail_all(upstream, EDGE_INTERNAL);
        return false;
    }
    if (upstream->protocol == NULL) {
        bool h2 = slice_eq(tls_stack_alpn(&upstream->stream), SLICE("h2"));
        upstream->protocol = h2 ? &upstream_h2 : &upstream_h1;
    }
    become_ready(upstream);
    return upstream->state == UPSTREAM_READY;
}

static void on_encrypted(void *arg, enum weir_result result, struct stream_state *state)
{
    struct upstream *upstream = arg;
    upstream->handshake = NULL;
    if (result == WEIR_OK) {
        (void)take_stream(upstream, state);
    } else {
        fail_all(upstream, result == WEIR_TIMEOUT ? EDGE_UPSTREAM_TIMEOUT : EDGE_UPSTREAM_BAD);
    }
}

static void encrypt(struct upstream *upstream, struct stream_state *state)
{
    bool h1_only = upstream->h1_only || upstream->tunnel->upstream == TUNNEL_UPSTREAM_HTTP1;
    upstream->state = UPSTREAM_HANDSHAKE;
    upstream->handshake = upstream_tls_start(upstream->shard, upstream->tunnel,
        h1_only ? UPSTREAM_TLS_HTTP1 : UPSTREAM_TLS_HTTP, state, on_encrypted, upstream);
    if (upstream->handshake == NULL) {
        fail_all(upstream, EDGE_INTERNAL);
    }
}

// Bytes that came with the bind, before a request went out: only h2 lets the service speak first.
static void take_bound(struct upstream *upstream, struct stream_state *state, struct slice unread)
{
    if (unread.len > 0 && (upstream->tunnel->upstream_tls || upstream->protocol != &upstream_h2)) {
        stream_state_drop(state);
        fail_all(upstream, EDGE_UPSTREAM_BAD);
    } else if (upstream->tunnel->upstream_tls) {
        encrypt(upstream, state);
    } else if (take_stream(upstream, state) && unread.len > 0) {
        upstream->protocol->take(upstream, unread);
    }
}

static void on_bound(
    void *arg, enum proxied_outcome outcome, struct stream_state *state, struct buf *unread)
{
    struct upstream *upstream = arg;
    upstream->opening = NULL;
    if (outcome != PROXIED_BOUND) {
        fail_all(upstream, outcome_errors[outcome]);
        return;
    }
    upstream->bound = true;
    struct buf taken = *unread;
    take_bound(upstream, state, buf_slice(&taken));
    buf_reset(&taken);
}

bool upstream_open(struct upstream *upstream, const struct visitor *visitor)
{
    upstream->opening = proxied_open(
        upstream->shard, upstream->tunnel, PROXIED_HTTP, &visitor->peer.ip, on_bound, upstream);
    return upstream->opening != NULL;
}

// ---- The end

static void free_upstream(struct upstream *upstream)
{
    struct engine_shard *shard = upstream->shard;
    tunnel_unref(upstream->tunnel);
    mem_free(upstream);
    engine_note_departure(shard);
}

static void on_stream_closed(struct stream *stream)
{
    free_upstream(container_of(stream, struct upstream, stream));
}

static void on_gone(struct worker *worker, struct job *job)
{
    (void)worker;
    free_upstream(container_of(job, struct upstream, gone));
}

void upstream_close(struct upstream *upstream, bool hard)
{
    if (upstream->state == UPSTREAM_DEAD) {
        return;
    }
    upstream->state = UPSTREAM_DEAD;
    timer_cancel(&upstream->timer);
    upstream_pool_remove(upstream);
    list_remove(&upstream->node);
    proxied_cancel(upstream->opening);
    upstream->opening = NULL;
    upstream_tls_cancel(upstream->handshake);
    upstream->handshake = NULL;
    upstream_h1.fini(upstream);
    upstream_h2.fini(upstream);
    if (upstream->bound) {
        proxied_ended(upstream->shard, upstream->tunnel, PROXIED_HTTP);
    }
    if (upstream->stream.fd < 0) {
        worker_defer(upstream->shard->worker, &upstream->gone, on_gone);
        return;
    }
    if (!hard) {
        stream_finish(&upstream->stream);
    }
    stream_close(&upstream->stream, hard, on_stream_closed);
}

// ---- The books

void upstream_count_sent(struct upstream *upstream, size_t len)
{
    engine_add(upstream->shard, ENGINE_STREAM_BYTES_TO_AGENT_HTTP, (int64_t)len);
    atomic_fetch_add_explicit(&upstream->tunnel->bytes_in, len, memory_order_relaxed);
}

void upstream_count_received(struct upstream *upstream, size_t len)
{
    engine_add(upstream->shard, ENGINE_STREAM_BYTES_FROM_AGENT_HTTP, (int64_t)len);
    atomic_fetch_add_explicit(&upstream->tunnel->bytes_out, len, memory_order_relaxed);
}

struct upstream *upstream_greediest(struct engine_shard *shard)
{
    struct upstream *most = NULL;
    list_for_each (node, &shard->upstreams) {
        struct upstream *upstream = container_of(node, struct upstream, node);
        if (upstream->held > (most == NULL ? 0 : most->held)) {
            most = upstream;
        }
    }
    return most;
}

size_t upstream_held(const struct upstream *upstream)
{
    return upstream->held;
}

void upstream_cut_greedy(struct upstream *upstream)
{
    struct log_line line;
    log_begin(&line, LOG_VISITOR_CUT);
    log_text(&line, "tunnelId", upstream->tunnel->id);
    log_text(&line, "hostname", upstream->tunnel->hostname);
    log_u64(&line, "bytes", upstream->held);
    log_text(&line, "reason", VISITOR_CUT_REASON);
    log_end(&line);
    fail_all(upstream, EDGE_BUSY);
}

size_t upstream_answer_head_max(const struct upstream *upstream)
{
    uint64_t configured = upstream->shard->engine->config->limit_header_bytes;
    return configured < ANSWER_HEAD_MAX ? (size_t)configured : ANSWER_HEAD_MAX;
}

uint64_t upstream_first_byte_ns(const struct upstream *upstream)
{
    return upstream->shard->engine->config->stream_request_s * NS_PER_S;
}

uint64_t upstream_rest_ns(const struct upstream *upstream)
{
    return upstream->shard->engine->config->http_idle_s * NS_PER_S;
}

uint64_t upstream_body_idle_ns(const struct upstream *upstream)
{
    return upstream->shard->engine->config->limit_body_idle_s * NS_PER_S;
}

// ---- The worker's part

void upstream_shard_init(struct engine_shard *shard)
{
    list_init(&shard->upstreams);
    map_init(&shard->upstream_pools, &shard->worker->seed);
}

void upstream_shard_fini(struct engine_shard *shard)
{
    SSL_CTX_free(shard->upstream_tls);
    shard->upstream_tls = NULL;
    map_fini(&shard->upstream_pools);
}

static bool is_at_rest(const struct upstream *upstream)
{
    return list_linked(&upstream->at_rest) && upstream->h1.phase == H1_REST &&
           upstream->protocol == &upstream_h1;
}

void upstream_drain(struct engine_shard *shard)
{
    list_for_each_safe (node, &shard->upstreams) {
        struct upstream *upstream = container_of(node, struct upstream, node);
        if (is_at_rest(upstream)) {
            upstream_close(upstream, false);
        }
    }
}

void upstream_close_all(struct engine_shard *shard)
{
    for (struct list *node; (node = shard->upstreams.next) != &shard->upstreams;) {
        fail_all(container_of(node, struct upstream, node), EDGE_UPSTREAM_CLOSED);
    }
}
