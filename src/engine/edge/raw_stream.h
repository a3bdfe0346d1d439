// SPDX-License-Identifier: Apache-2.0
// A bound stream of raw bytes: a visitor of a TLS or TCP tunnel, or a dialer, and the agent's
// connection, until both have ended.
#ifndef WEIR_ENGINE_RAW_STREAM_H
#define WEIR_ENGINE_RAW_STREAM_H

#include "engine/shard.h"
#include "engine/upstream/proxied.h"

struct raw_options {
    struct tunnel *tunnel; // borrowed for the call
    enum proxied_kind kind;
    struct stream_state front; // taken over, with everything below
    struct stream_state back;
    struct buf *front_unread;
    struct buf *back_unread;
    struct census_seat *front_seat; // NULL with TLS
    uint64_t hold_ns;               // see pair_options
};

// Never fails: what goes wrong ends the stream, and is counted as its end. Calls proxied_ended when
// it is over.
void raw_stream_start(struct engine_shard *shard, struct raw_options *options);
// Ends all of the shard at once.
void raw_streams_cut(struct engine_shard *shard);
// The stream that holds most (visitor.h); NULL without any.
struct raw;
struct raw *raw_stream_greediest(struct engine_shard *shard);
size_t raw_stream_held(const struct raw *raw);
// Ends it, with a line in the log. Not from inside a call of its pair.
void raw_stream_cut_greedy(struct raw *raw);

#endif
