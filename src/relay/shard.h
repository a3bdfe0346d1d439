// SPDX-License-Identifier: Apache-2.0
// What the relay keeps per worker. Everything here is touched by its worker's thread only. Private
// to src/relay.
#ifndef WEIR_RELAY_SHARD_H
#define WEIR_RELAY_SHARD_H

#include "base/list.h"
#include "base/map.h"
#include "http/server.h"
#include "relay/close_reasons.h"
#include "relay/limiter.h"
#include "relay/relay.h"

struct shard {
    struct relay *relay;   // borrowed, outlives the shard
    struct worker *worker; // borrowed
    struct map cells;      // by key (see cell.h)
    struct list cell_order; // in order of creation, for /state
    struct list empty_cells; // to be evicted, the longest empty first
    struct timer eviction;
    struct timer trim;      // gives memory back after a burst of upgrades
    unsigned upgrade_count; // since the last time
    struct map workspaces;
    size_t labelled_workspaces;
    uint64_t evicted_frames[2]; // by enum relay_family: of workspaces that have gone
    struct map places;   // see places.h
    struct limiter kex;
    struct limiter pairing;
    struct limiter client_runtime;
    struct limiter workspace_runtime;
    struct limiter daemon;
    struct list peers;    // every connection that was upgraded
    struct list upgrades; // every upgrade under way
    size_t peer_count;
    struct map remotes;      // other relays that own something here; see remotes.h
    struct backplane *backplane; // owned; NULL in mode single
    struct jwks_cache *jwks; // owned; NULL without RELAY_JWKS_URL
    struct http_server server;
    struct http_options server_options;
    struct tls_server tls;
    struct timer certificate_watch;
    struct timer farewell;        // while draining: the next ones to be told
    uint64_t farewell_deadline_ns;
    bool draining;
    bool listening_ended; // counted in the relay, as is the next
    bool receiving_ended;
    bool drained;
};

static inline struct shard *shard_of(const struct worker *worker)
{
    return worker->rooms[ROOM_RELAY];
}

// A peer or an upgrade has gone: while draining, the last one ends the shard's part of it.
void relay_note_departure(struct shard *shard);
// An upgrade has arrived on this worker.
void relay_note_upgrade(struct shard *shard);

#endif
