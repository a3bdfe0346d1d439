// SPDX-License-Identifier: Apache-2.0
// Who has which daemon: what this relay announces, and what it asks (spec sections 7.5, 8, 9 and 14,
// 2). All functions are fine in mode single, where nothing is announced and nobody found.
#ifndef WEIR_RELAY_BACKPLANE_PRESENCE_H
#define WEIR_RELAY_BACKPLANE_PRESENCE_H

#include "relay/backplane/backplane.h"

struct cell;
struct peer;

// The cell's daemon is cell->daemon now: announced at once and every sync interval.
void presence_announce(struct cell *cell);
// It is not any more, and nobody took its place; daemon is who was it.
void presence_withdraw(struct cell *cell, const struct peer *daemon);

// Whether it makes sense to ask.
bool presence_usable(const struct shard *shard);
// The answer that is known at this moment; NULL when the backplane has to be asked. Valid until the
// next call that asks anything.
const struct presence *presence_known(struct shard *shard, struct cell_name name);

// Who waits for an answer. Embedded; cleared by presence_waiter_init.
struct presence_waiter;
// With BUS_END_OK: answer, or NULL when no other relay has the daemon. Valid during the call.
typedef void presence_fn(
    struct presence_waiter *waiter, enum bus_end end, const struct presence *answer);
struct presence_waiter {
    struct list node;
    presence_fn *done;
};
static inline void presence_waiter_init(struct presence_waiter *waiter, presence_fn *done)
{
    list_init(&waiter->node);
    waiter->done = done;
}
// Calls done once, at once or later. Answers are kept for two seconds; those who ask for the same
// cell meanwhile wait for the same answer.
void presence_ask(struct shard *shard, struct cell_name name, struct presence_waiter *waiter);
// Does not wait any more; fine for one that does not.
static inline void presence_cancel(struct presence_waiter *waiter)
{
    list_remove(&waiter->node);
}
// What is known of the cell turned out not to help.
void presence_forget(struct shard *shard, struct cell_name name);

#endif
