// SPDX-License-Identifier: Apache-2.0
// A visitor between its arrival and its stream:
//
//   arrival ─► proxied_open ─► bound ─┬─► (upstream_tls: the service's handshake) ─┬─► raw stream
//                 │                   └────────────────────────────────────────────┘
//                 ├─► refused, late, gone: the end, without a word
//                 └─► it leaves: the stream is not wanted any more
//
// It is not read until the agent's connection is there: what it sends stays in the socket (of a
// passthrough tunnel the whole hello, which was only peeked at), so that nothing has to be replayed
// and a visitor that floods is slowed by its own kernel. But it is watched. A reset means that it
// has left, and so does an end before the other side of a handshake was heard; any other end may be
// that of somebody who has said all he has to say.
//
// Invariants:
// 1. finish and close_visitor are the only ways out, and one of them happens once: behind it
// nothing
//    can call us that would lead to another one.
// 2. At most one of proxied and handshake is not NULL, and neither on the way out.
#include "engine/edge/visitor_raw.h"

#include "base/mem.h"
#include "engine/edge/arrival.h"
#include "engine/edge/census.h"
#include "engine/edge/parting.h"
#include "engine/edge/raw_stream.h"
#include "engine/upstream/proxied.h"
#include "engine/upstream/upstream_tls.h"
#include "obs/log.h"

struct raw_visitor {
    struct stream stream; // the visitor's connection
    struct engine_shard *shard;
    struct list node;               // in shard->raw_visitors
    struct proxied *proxied;        // while the agent is asked
    struct upstream_tls *handshake; // then, while the service is
    struct tunnel *tunnel;          // a reference
    struct stream_state front;      // detached
    struct stream_state back;       // while bound
    struct buf back_unread;
    struct census_seat *seat; // owned; NULL with TLS, whose session keeps it
    enum proxied_kind kind;
    bool bound; // back is ours, and counted
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

// Without it.
static void drop_back(struct raw_visitor *visitor)
{
    if (visitor->bound) {
        stream_state_drop(&visitor->back);
        buf_reset(&visitor->back_unread);
        proxied_ended(visitor->shard, visitor->tunnel, visitor->kind);
    }
}

static void join(struct raw_visitor *visitor)
{
    struct buf nothing = BUF_INIT(0);
    raw_stream_start(visitor->shard, &(struct raw_options){
                                         .tunnel = visitor->tunnel,
                                         .kind = visitor->kind,
                                         .front = visitor->front,
                                         .back = visitor->back,
                                         .front_unread = &nothing,
                                         .back_unread = &visitor->back_unread,
                                         .front_seat = visitor->seat,
                                     });
    visitor->seat = NULL;
}

static void on_detached(struct stream *stream)
{
    struct raw_visitor *visitor = container_of(stream, struct raw_visitor, stream);
    if (visitor->shard->stopping) {
        stream_state_drop(&visitor->front);
        drop_back(visitor);
    } else if (visitor->bound) {
        join(visitor);
    } else {
        turn_away(visitor->shard, &visitor->front);
    }
    free_visitor(visitor);
}

static void on_closed(struct stream *stream)
{
    free_visitor(container_of(stream, struct raw_visitor, stream));
}

// To its stream when it is bound, else to the end.
static void finish(struct raw_visitor *visitor)
{
    list_remove(&visitor->node);
    stream_detach(&visitor->stream, &visitor->front, on_detached);
}

// The visitor has gone, or is cut.
static void close_visitor(struct raw_visitor *visitor)
{
    list_remove(&visitor->node);
    proxied_cancel(visitor->proxied);
    if (visitor->handshake != NULL) {
        upstream_tls_cancel(visitor->handshake);
        proxied_ended(visitor->shard, visitor->tunnel, visitor->kind);
    }
    visitor->proxied = NULL;
    visitor->handshake = NULL;
    stream_close(&visitor->stream, true, on_closed);
}

static void log_departure(const struct raw_visitor *visitor)
{
    struct log_line line;
    log_begin(&line, LOG_RAW_VISITOR_LEFT);
    log_text(&line, "tunnelId", visitor->tunnel->id);
    log_text(&line, "hostname", visitor->tunnel->hostname);
    log_end(&line);
}

static void on_hangup(struct stream *stream, unsigned events)
{
    struct raw_visitor *visitor = container_of(stream, struct raw_visitor, stream);
    (void)events;
    bool broken = sys_connect_result(stream->fd) != WEIR_OK;
    if (broken || visitor->tunnel->passthrough) {
        log_departure(visitor);
        close_visitor(visitor);
    } else {
        stream_want(stream, WATCH_BROKEN); // whoever gets the stream meets the end again
    }
}

static void take_back(struct raw_visitor *visitor, struct stream_state *state, struct buf *unread)
{
    visitor->bound = true;
    visitor->back = *state;
    visitor->back_unread = *unread;
    finish(visitor);
}

static void on_service(void *arg, enum weir_result result, struct stream_state *state)
{
    struct raw_visitor *visitor = arg;
    struct buf nothing = BUF_INIT(0);
    visitor->handshake = NULL;
    if (result == WEIR_OK) {
        take_back(visitor, state, &nothing);
        return;
    }
    proxied_ended(visitor->shard, visitor->tunnel, visitor->kind);
    finish(visitor);
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
        finish(visitor);
    }
}

static void on_outcome(
    void *arg, enum proxied_outcome outcome, struct stream_state *state, struct buf *unread)
{
    struct raw_visitor *visitor = arg;
    visitor->proxied = NULL;
    if (outcome != PROXIED_BOUND) {
        finish(visitor);
    } else if (visitor->tunnel->upstream_tls) {
        greet_service(visitor, state, unread);
    } else {
        take_back(visitor, state, unread);
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
    if (stream_open(&visitor->stream, shard->worker, arrival->state.fd, arrival->state.ssl,
            on_hangup) != WEIR_OK) {
        mem_free(visitor);
        return;
    }
    sys_watch_peer(visitor->stream.fd);
    visitor->shard = shard;
    visitor->seat = arrival->seat;
    arrival->seat = NULL;
    visitor->kind = kind;
    visitor->tunnel = tunnel_ref(tunnel);
    list_push_back(&shard->raw_visitors, &visitor->node);
    stream_want(&visitor->stream, WATCH_HANGUP);
    visitor->proxied = proxied_open(shard, tunnel, kind, peer, on_outcome, visitor);
    if (visitor->proxied == NULL) {
        close_visitor(visitor);
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
        close_visitor(container_of(node, struct raw_visitor, node));
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
