// SPDX-License-Identifier: Apache-2.0
// Two streams joined: what one says the other gets, until both have ended. `front` is who dialled
// in, `back` who answers.
#ifndef WEIR_STREAM_PAIR_H
#define WEIR_STREAM_PAIR_H

#include "stream/pump.h"

// How a pair ended: symbol, text for logs ("while ...").
enum pair_end {
#define PAIR_END(symbol, text) PAIR_##symbol,
#include "stream/pair_ends.def"
#undef PAIR_END
    PAIR_END_COUNT,
};
const char *pair_end_text(enum pair_end end);

struct pair;
// Once, at the end of a turn: the pair's memory may go.
typedef void pair_ended_fn(struct pair *pair, enum pair_end end);
// Bytes that were just written to the back (up) and to the front (down). Must not end the pair.
typedef void pair_moved_fn(struct pair *pair, uint64_t up, uint64_t down);
// Bytes as they were read from the front (up) or the back; len 0: its end. Must not end the pair.
typedef void pair_tapped_fn(struct pair *pair, bool up, const void *bytes, size_t len);

// What the pair keeps of bytes under way is more or less than it was. Must not end the pair.
typedef void pair_held_fn(struct pair *pair, size_t before, size_t now);

struct pair_options {
    struct stream_state front; // taken over, with everything below
    struct stream_state back;
    struct buf *front_unread; // bytes that were read already; they go first
    struct buf *back_unread;
    uint64_t idle_ns;      // without a byte in either direction
    uint64_t half_idle_ns; // the same when one direction has ended
    // Nothing goes to the front before its first byte came, or so long; 0: no hold.
    uint64_t hold_ns;
    // Pieces of PUMP_BATCH_MAX go to a side with TLS: bulk costs less, one that stalls keeps more.
    bool whole_batches;
    pair_moved_fn *moved;
    pair_tapped_fn *tapped; // NULL: nobody looks
    pair_held_fn *held;     // NULL: nobody asks
    pair_ended_fn *ended;
};

struct pair {
    struct stream front;
    struct stream back;
    struct pump up;   // front to back
    struct pump down; // back to front
    struct worker *worker;
    struct timer timer; // hold, then idleness
    struct job gone;
    uint64_t active_ns;
    uint64_t idle_ns;
    uint64_t half_idle_ns;
    pair_moved_fn *moved;
    pair_tapped_fn *tapped;
    pair_held_fn *held;
    pair_ended_fn *ended;
    size_t held_bytes;
    unsigned open_count; // streams whose closing has not been told
    bool closing;
    enum pair_end end;
};

// Never fails and never calls `ended` from inside: what goes wrong ends the pair later.
void pair_open(struct pair *pair, struct worker *worker, struct pair_options *options);
// Ends it at once, for a reason of the owner's. Fine at any time before `ended`.
void pair_cut(struct pair *pair);

#endif
