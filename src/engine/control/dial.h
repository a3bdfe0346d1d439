// SPDX-License-Identifier: Apache-2.0
// Private dials (spec section 4.12); dial_start is in arrival.h.
#ifndef WEIR_ENGINE_DIAL_H
#define WEIR_ENGINE_DIAL_H

#include "engine/shard.h"

// Ends every dialer that still waits for its stream.
void dials_cut(struct engine_shard *shard);

#endif
