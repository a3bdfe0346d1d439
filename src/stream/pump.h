// SPDX-License-Identifier: Apache-2.0
// One direction of a relayed pair: what is read from one stream is written to another.
#ifndef WEIR_STREAM_PUMP_H
#define WEIR_STREAM_PUMP_H

#include "base/buf.h"
#include "stream/stream.h"

// What a pump moves in one turn at most, and what it holds when the sink does not take it (spec
// section 14, limits).
#define PUMP_HELD_MAX (64u * 1024)
// Into TLS it may move as much as leaves by one call, which such a stream keeps itself when the
// socket does not take it (stream_kept).
#define PUMP_BATCH_MAX (128u * 1024)

enum pump_state {
    PUMP_FLOWS,
    PUMP_ENDING, // the source has ended; what is held, then our end, still go to the sink
    PUMP_ENDED,
    PUMP_FAILED,
};

// What failed, and at which end: the source in reading, or the sink in writing.
enum pump_act { PUMP_READ, PUMP_WRITE };

struct pump;
// What was just read; len 0: the end. Must not end the pump.
typedef void pump_tap_fn(struct pump *pump, const void *bytes, size_t len);

struct pump {
    struct stream *from; // borrowed, as is to
    struct stream *to;
    size_t piece_max; // PUMP_HELD_MAX, unless the owner sets PUMP_BATCH_MAX
    size_t owed;      // taken over by the sink, which has not sent them yet
    struct buf held;  // owned; go behind those
    uint64_t bytes;   // written to the sink
    enum pump_state state;
    pump_tap_fn *tap;         // NULL: nobody looks
    bool paused;              // nothing is read or written until it is cleared
    enum pump_act failed_act; // with PUMP_FAILED
    enum weir_result result;
};

// first is taken over: bytes that were read from the source before.
void pump_init(struct pump *pump, struct stream *from, struct stream *to, struct buf *first);
void pump_fini(struct pump *pump);
// Moves what can be moved now, at most piece_max bytes; returns whether anything was. Calls
// nobody back. Afterwards wait for what pump_wants_* say.
bool pump_turn(struct pump *pump);
static inline bool pump_is_empty(const struct pump *pump)
{
    return pump->owed == 0 && pump->held.len == 0;
}
// What it keeps, as plaintext and as records.
static inline size_t pump_held(const struct pump *pump)
{
    return pump_is_empty(pump) ? 0 : pump->held.len + stream_backlog(pump->to);
}
static inline bool pump_wants_read(const struct pump *pump)
{
    return pump->state == PUMP_FLOWS && !pump->paused && pump_is_empty(pump);
}
static inline bool pump_wants_write(const struct pump *pump)
{
    return !pump->paused && (pump->state == PUMP_ENDING || !pump_is_empty(pump)) &&
           pump->state != PUMP_FAILED;
}

#endif
