// SPDX-License-Identifier: Apache-2.0
// What the two halves of upstream_h1 share. Nobody else includes this.
#ifndef WEIR_ENGINE_UPSTREAM_H1_H
#define WEIR_ENGINE_UPSTREAM_H1_H

#include "engine/upstream/upstream_internal.h"

// ---- upstream_h1.c

// Arms the deadline of the phase at hand.
void upstream_h1_arm(struct upstream *upstream);
// Waits for what the state at hand needs, and brings the visitor's account up to date.
void upstream_h1_update(struct upstream *upstream);
// Forgets the exchange, which may be none, and what is held for its visitor.
struct exchange *upstream_h1_let_go(struct upstream_h1_state *h1);
// Lets go of the exchange, whose answer is complete: the stream goes to a pool, or ends. reusable:
// nothing of the answer speaks against that.
void upstream_h1_release(struct upstream *upstream, bool reusable);
// The stream is of no use any more before the answer is complete: sends the request again when that
// is allowed, otherwise fails the exchange.
void upstream_h1_broken(struct upstream *upstream);
// Ends the upstream and its exchange, if it has one.
void upstream_h1_fail(struct upstream *upstream, enum edge_error error);

// ---- upstream_h1_answer.c

// The stream is readable.
void upstream_h1_read(struct upstream *upstream);
// The answer goes on with these bytes.
void upstream_h1_take(struct upstream *upstream, struct slice bytes);

#endif
