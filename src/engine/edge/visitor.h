// SPDX-License-Identifier: Apache-2.0
// What both HTTP edges do with an arrival before anything else.
#ifndef WEIR_ENGINE_VISITOR_H
#define WEIR_ENGINE_VISITOR_H

#include "engine/edge/arrival.h"
#include "engine/edge/exchange.h"

// How long a request's head may take (spec section 6.9).
#define VISITOR_HEAD_NS (15 * NS_PER_S)
// A visitor who is told to leave reads the last answer in that time, and we discard what he sends.
#define VISITOR_LINGER_NS (2 * NS_PER_S)
// What may wait for a visitor: the high mark, one push above it, and a head.
#define VISITOR_HELD_MAX (EXCHANGE_HELD_HIGH + WORKER_READ_AREA_SIZE + 2 * BLOCK_SIZE)

void visitor_init(
    struct visitor *visitor, struct engine_shard *shard, const struct arrival *arrival);

// How long an exchange may go without a byte of the visitor's or for him. While he waits for the
// answer to begin it is the back that has a deadline; ours is behind it.
uint64_t visitor_silence_ns(const struct exchange *exchange, bool request_done);

// ---- What is held for visitors: the windows of one are generous, those of a thousand are not.
// What a front keeps it counts here; above limits.buffered_bytes those who hold most are cut at the
// end of the turn. Raw streams count too, and are cut like visitors; so are connections of h2
// services, for what waits there and is nobody's.

#define VISITOR_CUT_REASON "limits.buffered_bytes is exceeded, and it held most"

void visitor_hold(struct visitor *visitor, size_t len);
void visitor_release(struct visitor *visitor, size_t len);
// Of a raw stream, or of an h2 service's connection.
void shard_hold(struct engine_shard *shard, size_t len);
void shard_release(struct engine_shard *shard, size_t len);

#endif
