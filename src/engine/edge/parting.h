// SPDX-License-Identifier: Apache-2.0
// The last words to a connection that nobody else owns any more: a frame that says why, then
// close_notify and FIN, so that the peer reads it before it meets the end.
#ifndef WEIR_ENGINE_PARTING_H
#define WEIR_ENGINE_PARTING_H

#include "base/buf.h"
#include "engine/shard.h"
#include "stream/stream.h"

// Takes state and words over, whatever happens. words may be empty.
void parting_start(struct engine_shard *shard, struct stream_state *state, struct buf *words);
// Ends all of the shard at once.
void partings_cut(struct engine_shard *shard);

#endif
