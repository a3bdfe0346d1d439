// SPDX-License-Identifier: Apache-2.0
// What the shard asks of the visitors' connections that it has handed to the HTTP edge (arrival.h).
#ifndef WEIR_ENGINE_EDGE_H
#define WEIR_ENGINE_EDGE_H

#include <stdbool.h>

struct engine_shard;
struct visitor;

// No new exchanges: connections at rest close, others after the exchange they have under way (h2:
// GOAWAY at once). Those that have not asked for anything yet are newcomers, who are let go on unless
// that is said, too. Every connection that goes calls engine_note_departure. Safe to repeat.
void edge_h1_drain(struct engine_shard *shard, bool newcomers);
void edge_h2_drain(struct engine_shard *shard);
// The visitor for whom most is held; NULL without any. cut ends his connection at once; not from
// inside a call of a back.
struct visitor *edge_h1_greediest(struct engine_shard *shard);
struct visitor *edge_h2_greediest(struct engine_shard *shard);
void edge_h1_cut(struct visitor *visitor);
void edge_h2_cut(struct visitor *visitor);
// Ends every connection at once. Memory is reclaimed by the loop.
void edge_h1_close(struct engine_shard *shard);
void edge_h2_close(struct engine_shard *shard);

#endif
