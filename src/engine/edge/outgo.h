// SPDX-License-Identifier: Apache-2.0
// What a connection sends: small pieces gather in a block until they fill a TLS record or the turn
// ends, large ones go out with what has gathered in one write, and what the kernel does not take
// waits. A connection with nothing on its way owns no memory here.
#ifndef WEIR_ENGINE_OUTGO_H
#define WEIR_ENGINE_OUTGO_H

#include "base/buf.h"
#include "engine/edge/visitor.h"
#include "stream/stream.h"

#define OUTGO_SMALL_MAX 8192u // pieces up to this are copied, so that more can join their record
#define OUTGO_PARTS_MAX 3u

struct outgo {
    struct stream *stream;   // borrowed
    struct visitor *visitor; // borrowed; what is held is held for it
    char *block;             // owned while something has gathered
    size_t len;
    struct buf held; // what the kernel did not take; goes out before the block
    size_t records;  // of it, that lie encrypted in the stream, as counted
    bool failed;     // sticky: the peer has gone, or memory has; everything is dropped from then on
};

// held_max: more than that waiting is a failure.
void outgo_init(struct outgo *out, struct stream *stream, struct visitor *visitor, size_t held_max);
// Safe on a zeroed struct, and to repeat.
void outgo_fini(struct outgo *out);
// Gathers a piece.
void outgo_add(struct outgo *out, struct slice piece);
// Sends pieces (OUTGO_PARTS_MAX at most) that belong together: gathers them when they are small,
// otherwise writes at once.
void outgo_send(struct outgo *out, const struct slice *pieces, size_t count);
// Writes what has gathered and what waits. False when something is left: wait for WATCH_WRITE.
bool outgo_flush(struct outgo *out);

// What the peer has not taken.
static inline size_t outgo_waiting(const struct outgo *out)
{
    return out->held.len;
}
static inline bool outgo_empty(const struct outgo *out)
{
    return out->held.len == 0 && out->len == 0;
}

#endif
