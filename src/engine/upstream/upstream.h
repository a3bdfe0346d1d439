// SPDX-License-Identifier: Apache-2.0
// The back of published HTTP: carries exchanges to the service behind a tunnel's agent, over
// proxied streams (proxied.h) that speak HTTP/1.1 or h2, with TLS of the service's own inside when
// the tunnel asks for it (spec sections 6.1, 6.4, 6.5, 6.9).
#ifndef WEIR_ENGINE_UPSTREAM_H
#define WEIR_ENGINE_UPSTREAM_H

#include "engine/edge/exchange.h"

struct engine_shard;
struct upstream;

// Starts the back of an exchange that has none: on a stream that is at rest, otherwise on a new
// one. Borrows head for the call; takes what references of the tunnel it needs. May end the
// exchange before it returns.
void upstream_start(
    struct exchange *exchange, struct tunnel *tunnel, const struct request_head *head);

// Before the first visitor of a worker, and behind the last one.
void upstream_shard_init(struct engine_shard *shard);
void upstream_shard_fini(struct engine_shard *shard);
// Streams at rest end now, others with their exchange. Each that goes calls engine_note_departure.
void upstream_drain(struct engine_shard *shard);
// What the one that holds most keeps for its service and for no visitor in particular, and its end.
// NULL when no stream holds anything.
struct upstream *upstream_greediest(struct engine_shard *shard);
size_t upstream_held(const struct upstream *upstream);
void upstream_cut_greedy(struct upstream *upstream);
// Ends all of them at once; their exchanges fail. Memory is reclaimed by the loop.
void upstream_close_all(struct engine_shard *shard);

#endif
