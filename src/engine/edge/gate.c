// SPDX-License-Identifier: Apache-2.0
// From the accepted connection to its owner:
//
//   accept ─► PROXY ─► HELLO ─┬─► (passthrough) ───────────────────────────┐
//             (named   (peek) ├─► alert 112, end                           ├─► GONE: detached, and
//             networks)       └─► TLS ─┬─► h2, http/1.1, TLS tunnel ───────┤   handed to its owner
//                                      └─► FRAME (agents: one frame) ──────┘
//
// Each state has a deadline of its own. No work is done before the hello is complete: it stays in
// the socket, and SO_RCVLOWAT keeps the loop asleep until more of it is there.
//
// Invariants:
// 1. end_conn and hand_over are the only exits; the memory goes when the stream is closed.
// 2. What a connection is, is decided once, by its hello; the ALPN callback only follows.
// 3. Before a token or secret was checked, a peer costs at most one frame of memory.
#include "engine/edge/gate.h"

#include "base/mem.h"
#include "base/time.h"
#include "engine/control/directory.h"
#include "engine/edge/arrival.h"
#include "engine/edge/census.h"
#include "engine/edge/decision.h"
#include "engine/edge/engine_tls.h"
#include "engine/edge/parting.h"
#include "engine/upstream/upstream.h"
#include "obs/log.h"
#include "proto/proxy_header.h"
#include "sys/process.h"

#define STEP_MAX_NS (10 * NS_PER_S) // each of PROXY with HELLO, TLS, FRAME
#define PATIENCE_NS NS_PER_S        // with silence, while others wait for a place
#define READ_CHUNK 4096
#define LEAVERS_PER_TRIM 128
#define TRIM_DELAY_NS (500 * NS_PER_MS)

enum gate_state { GATE_PROXY, GATE_HELLO, GATE_TLS, GATE_FRAME, GATE_GONE };

struct gate_conn {
    struct stream stream;
    struct engine_shard *shard; // borrowed
    struct list node;           // in shard->gate_conns
    struct timer deadline;
    struct tunnel *tunnel; // a reference: what was found at the server name; or NULL
    uint64_t accepted_ns;
    size_t peeked; // bytes of the PROXY header or hello when we last looked
    enum gate_state state;
    enum decision decision;
    bool refused; // TLS will end, or has ended, by an alert of ours
    struct arena arena;
    struct rstrm_message message; // an agent's first, in arena
    struct arrival arrival;
};

// ---- Ends

// Handshakes are large while they last. When a burst of them is over, the holes they leave between
// what stays would otherwise count for every idle connection.
static void on_trim(struct timer *timer)
{
    (void)timer;
    sys_trim_heap();
}

static void note_leaver(struct engine_shard *shard)
{
    if (++shard->gate_leavers >= LEAVERS_PER_TRIM) {
        shard->gate_leavers = 0;
        worker_arm_in(shard->worker, &shard->trim_timer, TRIM_DELAY_NS);
    }
}

static void leave(struct gate_conn *conn)
{
    conn->state = GATE_GONE;
    timer_cancel(&conn->deadline);
    list_remove(&conn->node);
    conn->shard->gate_conn_count--;
    listener_resume(&conn->shard->gate);
    engine_add(conn->shard, ENGINE_CONNECTIONS_PENDING, -1);
    note_leaver(conn->shard);
}

static void free_conn(struct gate_conn *conn)
{
    struct engine_shard *shard = conn->shard;
    tunnel_unref(conn->tunnel);
    census_leave(conn->arrival.seat);
    arena_reset(&conn->arena);
    buf_reset(&conn->arrival.unread);
    mem_free(conn);
    engine_note_departure(shard);
}

static void on_closed(struct stream *stream)
{
    free_conn(container_of(stream, struct gate_conn, stream));
}

static void end_conn(struct gate_conn *conn, bool hard)
{
    if (conn->state == GATE_GONE) {
        return;
    }
    leave(conn);
    stream_close(&conn->stream, hard, on_closed);
}

// Agents only: visitors find out by TLS or HTTP means.
static void end_agent(struct gate_conn *conn, const char *reason)
{
    struct log_line line;
    char text[IP_TEXT_SIZE];
    ip_to_text(&conn->arrival.peer.ip, text);
    log_begin(&line, LOG_AGENT_REJECTED);
    log_text(&line, "peer", text);
    log_text(&line, "reason", reason);
    log_end(&line);
    stream_finish(&conn->stream);
    end_conn(conn, false);
}

// ---- Handing over

static void give_agent(struct engine_shard *shard, struct gate_conn *conn)
{
    const struct rstrm_message *message = &conn->message;
    if (message->kind == RSTRM_OPEN_CONTROL_CHANNEL_REQ) {
        control_start(shard, &conn->arrival, &message->open_control_channel_req);
    } else if (message->kind == RSTRM_PROXY_REQ) {
        proxied_arrived(shard, &conn->arrival, &message->proxy_req);
    } else {
        dial_start(shard, &conn->arrival, &message->stream_req);
    }
}

static void give(struct engine_shard *shard, struct gate_conn *conn)
{
    const unsigned char *protocol;
    unsigned len = 0;
    switch (conn->decision) {
    case DECIDED_AGENT:
        give_agent(shard, conn);
        break;
    case DECIDED_HTTP:
        SSL_get0_alpn_selected(conn->arrival.state.ssl, &protocol, &len);
        if (len == 2) {
            edge_h2_start(shard, &conn->arrival);
        } else {
            edge_h1_start(shard, &conn->arrival);
        }
        break;
    case DECIDED_TLS_TUNNEL:
    case DECIDED_PASSTHROUGH:
        visitor_raw_start(shard, &conn->arrival, conn->tunnel);
        break;
    case DECIDED_NO_NAME:
        parting_start(shard, &conn->arrival.state, &conn->arrival.unread);
        break;
    }
}

static void on_detached(struct stream *stream)
{
    struct gate_conn *conn = container_of(stream, struct gate_conn, stream);
    if (conn->shard->stopping) {
        stream_state_drop(&conn->arrival.state);
    } else {
        give(conn->shard, conn);
    }
    free_conn(conn);
}

static void hand_over(struct gate_conn *conn)
{
    leave(conn);
    if (conn->stream.ssl != NULL) {
        SSL_set_app_data(conn->stream.ssl, NULL);
    }
    stream_detach(&conn->stream, &conn->arrival.state, on_detached);
}

// ---- The first frame of an agent

static void enter(struct gate_conn *conn, enum gate_state state)
{
    conn->state = state;
    worker_arm_in(conn->stream.worker, &conn->deadline, STEP_MAX_NS);
}

static bool begins_something(const struct rstrm_message *message)
{
    return message->kind == RSTRM_OPEN_CONTROL_CHANNEL_REQ || message->kind == RSTRM_PROXY_REQ ||
           message->kind == RSTRM_STREAM_REQ;
}

// Takes the frame at the front; messages that mean nothing are skipped, at the cost of their room.
static void look_for_frame(struct gate_conn *conn)
{
    size_t used = 0;
    for (;;) {
        struct slice payload;
        struct slice rest = slice_skip(buf_slice(&conn->arrival.unread), used);
        enum weir_result result = rstrm_next_frame(rest, &payload);
        if (result == WEIR_AGAIN) {
            return;
        }
        if (result == WEIR_OK) {
            arena_reset(&conn->arena);
            result = rstrm_decode(payload, &conn->arena, &conn->message);
        }
        if (result != WEIR_OK) {
            end_agent(conn, "the first frame cannot be read");
            return;
        }
        used += RSTRM_LENGTH_SIZE + payload.len;
        if (begins_something(&conn->message)) {
            break;
        }
        if (conn->message.kind != RSTRM_NONE) {
            end_agent(conn, "the first frame opens nothing");
            return;
        }
    }
    buf_consume(&conn->arrival.unread, used);
    hand_over(conn);
}

static void read_frame(struct gate_conn *conn)
{
    struct buf *unread = &conn->arrival.unread;
    size_t room = unread->len_max - unread->len;
    size_t len = room < READ_CHUNK ? room : READ_CHUNK;
    char *at = len == 0 ? NULL : buf_reserve(unread, len);
    if (at == NULL) {
        end_agent(conn, "too much before the first frame");
        return;
    }
    struct iovec part = {at, len};
    enum weir_result result = stream_read(&conn->stream, &part, 1, &len);
    if (result == WEIR_AGAIN) {
        return;
    }
    if (result != WEIR_OK) {
        end_conn(conn, result != WEIR_CLOSED);
        return;
    }
    buf_commit(unread, len);
    look_for_frame(conn);
}

// ---- TLS

int gate_select_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
    const unsigned char *in, unsigned in_len, void *arg)
{
    (void)arg;
    struct gate_conn *conn = SSL_get_app_data(ssl);
    struct slice protocol;
    switch (
        decide_alpn(conn->decision, conn->tunnel, slice_of((const char *)in, in_len), &protocol)) {
    case ALPN_SELECTED:
        *out = (const unsigned char *)protocol.at;
        *out_len = (unsigned char)protocol.len;
        return SSL_TLSEXT_ERR_OK;
    case ALPN_NONE:
        return SSL_TLSEXT_ERR_NOACK;
    case ALPN_REFUSED:
        break;
    }
    conn->refused = true;
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static void count_failure(struct gate_conn *conn, enum weir_result result)
{
    bool left = result == WEIR_CLOSED || result == WEIR_RESET;
    enum engine_metric metric = conn->refused ? ENGINE_TLS_HANDSHAKES_REFUSED
                                : left        ? ENGINE_TLS_HANDSHAKES_CLOSED
                                              : ENGINE_TLS_HANDSHAKES_FAILED;
    engine_count(conn->shard, metric);
}

static void shake_hands(struct gate_conn *conn)
{
    enum weir_result result = stream_handshake(&conn->stream);
    if (result == WEIR_AGAIN) {
        return;
    }
    if (result != WEIR_OK) {
        count_failure(conn, result);
        end_conn(conn, false);
        return;
    }
    uint64_t took_ns = worker_now(conn->shard->worker) - conn->accepted_ns;
    conn->arrival.tls_version = SSL_version(conn->stream.ssl);
    engine_count(conn->shard, conn->arrival.tls_version == TLS1_3_VERSION
                                  ? ENGINE_TLS_HANDSHAKES_OK_13
                                  : ENGINE_TLS_HANDSHAKES_OK_12);
    engine_observe(conn->shard, ENGINE_HISTOGRAM_TLS_HANDSHAKE, (double)took_ns / NS_PER_S);
    if (conn->decision == DECIDED_AGENT) {
        enter(conn, GATE_FRAME);
        stream_want(&conn->stream, WATCH_READ);
    } else {
        hand_over(conn);
    }
}

// Before OpenSSL reads the hello: what it must know to answer it.
static bool prepare_tls(struct gate_conn *conn, SSL *ssl, unsigned version_max)
{
    unsigned version = TLS1_2_VERSION;
    const char *ciphers = NULL;
    if (conn->decision == DECIDED_AGENT) {
        version = TLS1_3_VERSION;
    } else if (conn->tunnel != NULL) {
        version = conn->tunnel->tls_version_min;
        ciphers = conn->tunnel->tls_ciphers;
    }
    conn->refused = version_max < version;
    SSL_set_accept_state(ssl);
    return SSL_set_app_data(ssl, conn) == 1 && SSL_set_min_proto_version(ssl, (int)version) == 1 &&
           (ciphers == NULL || SSL_set_cipher_list(ssl, ciphers) == 1);
}

static void start_tls(struct gate_conn *conn, unsigned version_max)
{
    engine_refresh_certificate(conn->shard);
    SSL *ssl = SSL_new(
        tls_pairs_choose(&conn->shard->tls_pairs, slice_str(conn->arrival.sni)));
    if (ssl == NULL || stream_start_tls(&conn->stream, ssl) != WEIR_OK ||
        census_attach(ssl, conn->arrival.seat) != WEIR_OK) {
        engine_count(conn->shard, ENGINE_TLS_HANDSHAKES_FAILED);
        end_conn(conn, true);
        return;
    }
    conn->arrival.seat = NULL;
    if (!prepare_tls(conn, ssl, version_max)) {
        engine_count(conn->shard, ENGINE_TLS_HANDSHAKES_FAILED);
        end_conn(conn, true);
        return;
    }
    enter(conn, GATE_TLS);
    shake_hands(conn);
}

// ---- The hello

static void refuse_unnamed(struct gate_conn *conn, size_t hello_len)
{
    static const char unrecognized_name[] = {0x15, 0x03, 0x03, 0, 2, 2, 112};
    size_t len;
    enum weir_result result =
        sys_recv(conn->stream.fd, conn->stream.worker->read_area, hello_len, &len);
    if (result == WEIR_OK) {
        result = buf_append(&conn->arrival.unread, unrecognized_name, sizeof unrecognized_name);
    }
    engine_count(conn->shard, ENGINE_TLS_HANDSHAKES_REFUSED);
    if (result != WEIR_OK) {
        end_conn(conn, true);
    } else {
        hand_over(conn);
    }
}

static void act_on_hello(struct gate_conn *conn, const struct clienthello *hello)
{
    struct slice name = clienthello_server_name(hello);
    struct tunnel *tunnel = name.len == 0 ? NULL : directory_by_host(conn->shard, name);
    conn->decision = decide(hello, tunnel);
    conn->tunnel = tunnel == NULL ? NULL : tunnel_ref(tunnel);
    memcpy(conn->arrival.sni, hello->server_name, name.len + 1);
    switch (conn->decision) {
    case DECIDED_PASSTHROUGH:
        engine_count(conn->shard, ENGINE_TLS_PASSTHROUGHS);
        hand_over(conn);
        break;
    case DECIDED_NO_NAME:
        refuse_unnamed(conn, hello->len);
        break;
    case DECIDED_AGENT:
    case DECIDED_HTTP:
    case DECIDED_TLS_TUNNEL:
        start_tls(conn, hello->version_max);
        break;
    }
}

bool arrival_take_seat(struct engine_shard *shard, struct arrival *arrival)
{
    const struct engine_config *config = shard->engine->config;
    struct census_limits limits = {
        config->limit_connections, config->limit_connections_per_address};
    enum census_outcome outcome =
        census_enter(shard->engine->census, &arrival->peer.ip, &limits, &arrival->seat);
    if (outcome != CENSUS_SEATED) {
        engine_count(shard, outcome == CENSUS_ADDRESS ? ENGINE_CONNECTIONS_REFUSED_ADDRESS
                                                      : ENGINE_CONNECTIONS_REFUSED_FULL);
    }
    return outcome == CENSUS_SEATED;
}

// Who it is is known now.
static bool find_seat(struct gate_conn *conn)
{
    if (!arrival_take_seat(conn->shard, &conn->arrival)) {
        end_conn(conn, true);
        return false;
    }
    return true;
}

// Peeked bytes stay readable: wakes up for new ones only. False when the peer has ended instead:
// then it is readable without any.
static bool wait_for_more(struct gate_conn *conn, size_t len)
{
    if (len <= conn->peeked) {
        return false;
    }
    conn->peeked = len;
    sys_set_receive_low(conn->stream.fd, len + 1);
    return true;
}

// What was waited for is here. Most never wait: a hello usually comes in one piece.
static void wake_for_any(struct gate_conn *conn)
{
    if (conn->peeked > 0) {
        conn->peeked = 0;
        sys_set_receive_low(conn->stream.fd, 1);
    }
}

static void peek_hello(struct gate_conn *conn)
{
    struct clienthello hello;
    char *area = conn->stream.worker->read_area;
    size_t len = 0;
    enum weir_result result = sys_peek(conn->stream.fd, area, CLIENTHELLO_BYTES_MAX, &len);
    if (result == WEIR_AGAIN) {
        return;
    }
    bool left = result != WEIR_OK;
    if (!left) {
        result = clienthello_parse(slice_of(area, len), &hello);
        left = result == WEIR_AGAIN && !wait_for_more(conn, len);
    }
    if (result == WEIR_AGAIN && !left) {
        return;
    }
    if (result != WEIR_OK) {
        engine_count(
            conn->shard, left ? ENGINE_TLS_HANDSHAKES_CLOSED : ENGINE_TLS_HANDSHAKES_FAILED);
        end_conn(conn, !left);
        return;
    }
    wake_for_any(conn);
    act_on_hello(conn, &hello);
}

// ---- The PROXY header

static void take_proxy_header(struct gate_conn *conn)
{
    struct proxy_header header;
    char *area = conn->stream.worker->read_area;
    size_t len = 0;
    enum weir_result result = sys_peek(conn->stream.fd, area, PROXY_HEADER_BYTES_MAX, &len);
    if (result == WEIR_AGAIN) {
        return;
    }
    if (result == WEIR_OK) {
        result = proxy_header_parse(slice_of(area, len), &header);
        if (result == WEIR_AGAIN && wait_for_more(conn, len)) {
            return;
        }
    }
    if (result == WEIR_OK) {
        result = sys_recv(conn->stream.fd, area, header.len, &len);
    }
    if (result != WEIR_OK) {
        engine_count(conn->shard, ENGINE_TLS_HANDSHAKES_PROXY_HEADER);
        end_conn(conn, true);
        return;
    }
    if (header.has_source) {
        conn->arrival.peer = (struct sys_address){header.source, header.source_port};
    }
    wake_for_any(conn);
    conn->state = GATE_HELLO;
    if (find_seat(conn)) {
        peek_hello(conn);
    }
}

// ---- Readiness

static void on_ready(struct stream *stream, unsigned events)
{
    struct gate_conn *conn = container_of(stream, struct gate_conn, stream);
    (void)events;
    switch (conn->state) {
    case GATE_PROXY:
        take_proxy_header(conn);
        break;
    case GATE_HELLO:
        peek_hello(conn);
        break;
    case GATE_TLS:
        shake_hands(conn);
        break;
    case GATE_FRAME:
        read_frame(conn);
        break;
    case GATE_GONE:
        break;
    }
}

static void on_deadline(struct timer *timer)
{
    struct gate_conn *conn = container_of(timer, struct gate_conn, deadline);
    if (conn->state == GATE_FRAME) {
        end_agent(conn, "no frame in time");
        return;
    }
    engine_count(conn->shard, ENGINE_TLS_HANDSHAKES_TIMEOUT);
    end_conn(conn, true);
}

// ---- Accepting

static void admit(
    struct engine_shard *shard, struct gate_conn *conn, const struct sys_address *peer)
{
    const struct engine_config *config = shard->engine->config;
    const struct conf_networks *proxies = &config->proxy_networks;
    bool by_proxy = config->proxy_protocol && ip_in_any(proxies->items, proxies->count, &peer->ip);
    conn->shard = shard;
    conn->accepted_ns = worker_now(shard->worker);
    conn->arrival.peer = *peer;
    buf_init(&conn->arrival.unread, RSTRM_FRAME_MAX + READ_CHUNK);
    arena_init(&conn->arena, RSTRM_ARENA_BYTES_MAX);
    timer_init(&conn->deadline, on_deadline);
    list_push_back(&shard->gate_conns, &conn->node);
    shard->gate_conn_count++;
    engine_add(shard, ENGINE_CONNECTIONS_PENDING, 1);
    enter(conn, by_proxy ? GATE_PROXY : GATE_HELLO);
    if (by_proxy || find_seat(conn)) {
        stream_want(&conn->stream, WATCH_READ);
    }
}

// Newcomers wait in the kernel while all places are taken; a place that somebody keeps without
// saying anything is taken from the one who has kept it longest.
static void make_room(struct engine_shard *shard)
{
    size_t max = shard->engine->config->limit_handshakes;
    if (shard->gate_conn_count < max) {
        return;
    }
    struct gate_conn *oldest = container_of(shard->gate_conns.next, struct gate_conn, node);
    if (worker_now(shard->worker) - oldest->accepted_ns >= PATIENCE_NS) {
        engine_count(shard, ENGINE_CONNECTIONS_REFUSED_FULL);
        end_conn(oldest, true);
    } else {
        listener_pause(&shard->gate);
    }
}

static void on_accept(struct listener *listener, int fd, const struct sys_address *peer)
{
    struct engine_shard *shard = listener->owner;
    struct gate_conn *conn = mem_zalloc(sizeof *conn);
    if (conn == NULL || sys_set_nodelay(fd) != WEIR_OK) {
        mem_free(conn);
        sys_close_hard(fd);
        return;
    }
    if (stream_open(&conn->stream, shard->worker, fd, NULL, on_ready) != WEIR_OK) {
        mem_free(conn);
        return;
    }
    admit(shard, conn, peer);
    make_room(shard);
}

void gate_init(struct engine_shard *shard)
{
    timer_init(&shard->trim_timer, on_trim);
}

// Streams at rest are the descriptors that nobody waits for.
static void on_short(struct listener *listener)
{
    upstream_drain(listener->owner);
}

enum weir_result gate_open(struct engine_shard *shard, int fd)
{
    enum weir_result result = listener_open(&shard->gate, shard->worker, fd, on_accept, shard);
    shard->gate.runs_short = on_short;
    return result;
}

void gate_drain(struct engine_shard *shard)
{
    listener_drain(&shard->gate);
}

void gate_close(struct engine_shard *shard)
{
    listener_close(&shard->gate);
    list_for_each_safe (node, &shard->gate_conns) {
        end_conn(container_of(node, struct gate_conn, node), true);
    }
    timer_cancel(&shard->trim_timer);
}
