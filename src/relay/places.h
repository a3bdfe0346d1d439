// SPDX-License-Identifier: Apache-2.0
// Places of clients in cells, reserved while the platform is asked (spec section 14, 12). No cell is
// made for them.
#ifndef WEIR_RELAY_PLACES_H
#define WEIR_RELAY_PLACES_H

#include "relay/shard.h"

// What the query names; target may be empty.
struct cell_name {
    struct slice workspace;
    struct slice target;
};

// False: the cell has as many clients, and places reserved, as it may, or memory ran out.
bool places_reserve(struct shard *shard, struct cell_name name) WEIR_MUST_CHECK;
// After a true places_reserve, once.
void places_give_back(struct shard *shard, struct cell_name name);

#endif
