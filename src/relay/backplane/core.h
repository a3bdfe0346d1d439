// SPDX-License-Identifier: Apache-2.0
// The core's part of a shard, shared by the files of this folder that are no driver.
#ifndef WEIR_RELAY_BACKPLANE_CORE_H
#define WEIR_RELAY_BACKPLANE_CORE_H

#include "relay/backplane/backplane.h"
#include "relay/backplane/seal.h"
#include "relay/shard.h"

struct backplane {
    struct shard *shard;
    const struct backplane_driver_ops *ops;
    struct backplane_driver *driver; // owned; NULL before it is open
    struct bus_seal *seal;           // owned
    uint64_t draws;                  // of random numbers

    // presence.c
    struct map queries;        // by cell
    struct list known;         // answered queries, the longest unused first
    struct list announcements; // of the daemons here
    size_t writes_open;        // puts and withdrawals without an answer yet
    bool withdrawn;            // nothing is announced any more

    // outgoing.c
    struct list tickets;
    size_t held_bytes;
    struct buf text; // scratch

    // incoming.c
    struct buf scratch;

    // core.c
    bool down;
    const char *problem; // static; NULL while up
    uint64_t down_since_wall_ms;
};

// The link is up again.
void presence_announce_again(struct backplane *plane);
// Ends what the files keep, when the driver has been closed.
void presence_fini(struct backplane *plane);
void outgoing_fini(struct backplane *plane);

#endif
