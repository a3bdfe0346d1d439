// SPDX-License-Identifier: Apache-2.0
// A visitor between its arrival and its stream:
//
//   arrival ─► proxied_open ─► bound ─┬─► (upstream_tls: the service's handshake) ─┬─► raw stream
//                 │                   └────────────────────────────────────────────┘
//                 └─► refused, late, gone: the end, without a word
//
// It is not read, and not even watched, until the
// agent's connection is there: what it sends stays in the socket (of a passthrough tunnel the whole
// hello, which was only peeked at), so that nothing has to be replayed and a visitor that floods
// is slowed by its own kernel.
#include "engine/visitor_raw.h"

#include "base/mem.h"
#include "engine/arrival.h"
#include "engine/census.h"
#include "engine/parting.h"
#include "engine/proxied.h"
#include "engine/raw_stream.h"
#include "engine/upstream_tls.h"

struct raw_visitor {
    struct engine_shard *shard;
    struct list node;               // in shard->raw_visitors
    struct proxied *proxied;        // while the agent is asked
    struct upstream_tls *handshake; // then, while the service is
    struct tunnel *tunnel;          // a reference
    struct stream_state front;
    struct census_seat *seat; // owned; NULL with TLS, whose session keeps it
    enum proxied_kind kind;
};

static void free_visitor(struct raw_visitor *visitor)
{
    struct engine_shard *shard = visitor->shard;
    list_remove(&visitor->node);
    tunnel_unref(visitor->tunnel);
    census_leave(visitor->seat);
    mem_free(visitor);
    engine_note_departure(shard);
}

// There is no way to say why in a protocol that we do not know.
static void turn_away(struct engine_shard *shard, struct stream_state *state)
{
    struct buf no_words = BUF_INIT(0);
    parting_start(shard, state, &no_words);
}

static void give_up(struct raw_visitor *visitor)
{
    turn_away(visitor->shard, &visitor->front);
    free_visitor(visitor);
}

static void join(struct raw_visitor *visitor, struct stream_state *state, struct buf *unread)
{
    struct buf nothing = BUF_INIT(0);
    raw_stream_start(visitor->shard, &(struct raw_options){
                                         .tunnel = visitor->tunnel,
                                         .kind = visitor->kind,
                                         .front = visitor->front,
                                         .back = *state,
                                         .front_unread = &nothing,
                                         .back_unread = unread,
                                         .front_seat = visitor->seat,
                                     });
    visitor->seat = NULL;
    free_visitor(visitor);
}

static void on_service(void *arg, enum weir_result result, struct stream_state *state)
{
    struct raw_visitor *visitor = arg;
    struct buf nothing = BUF_INIT(0);
    visitor->handshake = NULL;
    if (result == WEIR_OK) {
        join(visitor, state, &nothing);
        return;
    }
    proxied_ended(visitor->shard, visitor->tunnel, visitor->kind);
    give_up(visitor);
}

// A TLS service says nothing before its visitor does, so there is nothing unread.
static void greet_service(
    struct raw_visitor *visitor, struct stream_state *state, struct buf *unread)
{
    bool early = unread->len > 0;
    buf_reset(unread);
    if (early) {
        stream_state_drop(state);
    } else {
        visitor->handshake = upstream_tls_start(
            visitor->shard, visitor->tunnel, UPSTREAM_TLS_NO_ALPN, state, on_service, visitor);
    }
    if (visitor->handshake == NULL) {
        proxied_ended(visitor->shard, visitor->tunnel, visitor->kind);
        give_up(visitor);
    }
}

static void on_outcome(
    void *arg, enum proxied_outcome outcome, struct stream_state *state, struct buf *unread)
{
    struct raw_visitor *visitor = arg;
    visitor->proxied = NULL;
    if (outcome != PROXIED_BOUND) {
        give_up(visitor);
    } else if (visitor->tunnel->upstream_tls) {
        greet_service(visitor, state, unread);
    } else {
        join(visitor, state, unread);
    }
}

static void start(struct engine_shard *shard, struct arrival *arrival, struct tunnel *tunnel,
    enum proxied_kind kind)
{
    const struct conf_networks *trusted = &tunnel->trusted_ips;
    const struct ip *peer = &arrival->peer.ip;
    if (trusted->count > 0 && !ip_in_any(trusted->items, trusted->count, peer)) {
        engine_count(shard, ENGINE_CONNECTIONS_REFUSED_UNTRUSTED);
        turn_away(shard, &arrival->state);
        return;
    }
    struct raw_visitor *visitor = mem_zalloc(sizeof *visitor);
    if (visitor == NULL) {
        stream_state_drop(&arrival->state);
        return;
    }
    sys_watch_peer(arrival->state.fd);
    visitor->shard = shard;
    visitor->front = arrival->state;
    visitor->seat = arrival->seat;
    arrival->seat = NULL;
    visitor->kind = kind;
    visitor->tunnel = tunnel_ref(tunnel);
    list_push_back(&shard->raw_visitors, &visitor->node);
    visitor->proxied = proxied_open(shard, tunnel, kind, peer, on_outcome, visitor);
    if (visitor->proxied == NULL) {
        stream_state_drop(&visitor->front);
        free_visitor(visitor);
    }
}

void visitor_raw_start(struct engine_shard *shard, struct arrival *arrival, struct tunnel *tunnel)
{
    buf_reset(&arrival->unread);
    start(shard, arrival, tunnel, PROXIED_TLS);
}

void visitors_raw_cut(struct engine_shard *shard)
{
    list_for_each_safe (node, &shard->raw_visitors) {
        struct raw_visitor *visitor = container_of(node, struct raw_visitor, node);
        proxied_cancel(visitor->proxied);
        if (visitor->handshake != NULL) {
            upstream_tls_cancel(visitor->handshake);
            proxied_ended(shard, visitor->tunnel, visitor->kind);
        }
        stream_state_drop(&visitor->front);
        free_visitor(visitor);
    }
}

// ---- Published TCP ports

struct tunnel_listener {
    struct listener listener;
    struct engine_shard *shard;
    struct tunnel *tunnel; // a reference
};

static void on_accept(struct listener *listener, int fd, const struct sys_address *peer)
{
    struct tunnel_listener *self = container_of(listener, struct tunnel_listener, listener);
    struct arrival arrival = {.state.fd = fd, .peer = *peer};
    if (sys_set_nodelay(fd) != WEIR_OK || !arrival_take_seat(self->shard, &arrival)) {
        sys_close_hard(fd);
        return;
    }
    start(self->shard, &arrival, self->tunnel, PROXIED_TCP);
    census_leave(arrival.seat);
}

struct tunnel_listener *tunnel_listener_open(struct engine_shard *shard, struct tunnel *tunnel)
{
    int fd;
    struct sys_address address = shard->engine->address;
    struct tunnel_listener *self = mem_zalloc(sizeof *self);
    address.port = tunnel->port;
    if (self == NULL || sys_listen_alone(&address, &fd) != WEIR_OK) {
        mem_free(self);
        return NULL;
    }
    if (listener_open(&self->listener, shard->worker, fd, on_accept, self) != WEIR_OK) {
        mem_free(self);
        return NULL;
    }
    self->shard = shard;
    self->tunnel = tunnel_ref(tunnel);
    return self;
}

static void on_listener_closed(struct listener *listener)
{
    mem_free(container_of(listener, struct tunnel_listener, listener));
}

void tunnel_listener_close(struct tunnel_listener *self)
{
    if (self == NULL) {
        return;
    }
    tunnel_unref(self->tunnel);
    self->listener.closed = on_listener_closed;
    listener_close(&self->listener);
}
