// SPDX-License-Identifier: Apache-2.0
// Which relays a client may be sent to (spec section 10).
#ifndef WEIR_RELAY_REDIRECT_H
#define WEIR_RELAY_REDIRECT_H

#include "relay/shard.h"

// False for our own URL, and for one that must not be named to clients, which is logged. Only the
// redirect is void then: frames still go there.
bool redirect_is_usable(const struct shard *shard, struct slice url);

#endif
