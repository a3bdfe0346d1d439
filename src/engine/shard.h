// SPDX-License-Identifier: Apache-2.0
// What the engine keeps per worker. Everything here is touched by its worker's thread only. Private
// to src/engine.
#ifndef WEIR_ENGINE_SHARD_H
#define WEIR_ENGINE_SHARD_H

#include "base/list.h"
#include "base/map.h"
#include "engine/control/directory.h"
#include "engine/edge/blocks.h"
#include "engine/edge/page.h"
#include "engine/engine.h"
#include "engine/metrics/engine_metrics.h"
#include "http/server.h"
#include "stream/listener.h"
#include "stream/tls_context.h"
#include "stream/tls_pairs.h"

struct engine_shard {
    struct engine *engine;          // borrowed, outlives the shard
    struct worker *worker;          // borrowed
    struct engine_metrics *metrics; // borrowed; this worker's

    // The TLS port (gate.c).
    struct listener gate;
    struct tls_server tls;
    struct tls_settings tls_settings;
    struct tls_pairs tls_pairs; // extensions.certs; choose from these, tls is among them
    struct timer ticket_timer; // on worker 0
    struct list gate_conns;    // connections before anybody owns them, the oldest first
    size_t gate_conn_count;
    unsigned gate_leavers;   // since the heap was trimmed
    struct timer trim_timer; // when a burst of handshakes is over
    struct list partings; // last words under way (parting.c)

    // Agents (control.c, proxied.c).
    struct map channels; // control channels by number
    struct list probes;  // who asks about holders of names (control_tunnels.c)
    struct map proxied;  // requests that wait for their connection, by stream id
    struct list holding; // those whose connection waits for the end of its hold
    struct list dials;   // dialers that wait for their stream

    // Visitors.
    struct list raw_visitors; // of TLS and TCP tunnels that wait for their stream (visitor_raw.c)
    struct list raws;         // bound streams of raw bytes (raw_stream.c)
    struct list h1_conns;
    struct list h2_conns;
    struct list upstreams;     // every upstream, pooled or busy
    struct map upstream_pools; // streams at rest for any visitor, by tunnel (upstream_pool.c)
    SSL_CTX *upstream_tls;     // owned; made when the first tunnel needs it
    struct blocks blocks;      // blocks_init before the first visitor
    size_t held_bytes;         // for all visitors (visitor.h)
    struct job relief;         // deferred: more is held than may be
    struct pages pages;        // pages_load at the start and after a reload
    uint64_t request_count;    // for request ids

    struct list watchers; // who watches events (watch.c)
    struct host_cache host_cache;

    struct http_server redirect; // the plain HTTP listener, when enabled
    struct http_options redirect_options;
    struct http_server metrics_server;
    struct http_options metrics_options;

    struct timer drain_timer;
    uint64_t drain_began_ns;
    bool draining; // no newcomers but those whom the kernel has begun to take
    bool gate_ended; // counted in the engine
    bool shut;     // nobody can come in any more, by any shard
    bool quiet;    // and its streams have gone
    bool parted;   // agents have been told, or cut
    bool drained;
    bool stopping; // the worker has ended: everything is cut
};

static inline struct engine_shard *engine_shard_of(const struct worker *worker)
{
    return worker->rooms[ROOM_ENGINE];
}

// ---- Metrics (engine_metrics.def).

static inline void engine_add(struct engine_shard *shard, enum engine_metric metric, int64_t amount)
{
    engine_metrics_add(shard->metrics, metric, amount);
}

static inline void engine_count(struct engine_shard *shard, enum engine_metric metric)
{
    engine_add(shard, metric, 1);
}

// One of several rows that follow one another: engine_count_nth(shard,
// ENGINE_EDGE_ERRORS_BAD_REQUEST, error) counts that enum edge_error.
static inline void engine_count_nth(
    struct engine_shard *shard, enum engine_metric first, unsigned nth)
{
    engine_add(shard, (enum engine_metric)((unsigned)first + nth), 1);
}

static inline void engine_observe(
    struct engine_shard *shard, enum engine_histogram histogram, double seconds)
{
    engine_metrics_observe(shard->metrics, histogram, seconds);
}

// Something that drain waits for has gone (a connection, a stream).
void engine_note_departure(struct engine_shard *shard);

#endif
