// SPDX-License-Identifier: Apache-2.0
// Other relays as owners of requests and sessions. Many entries belong to one relay, so its name is
// kept once a worker.
#ifndef WEIR_RELAY_REMOTES_H
#define WEIR_RELAY_REMOTES_H

#include "base/map.h"

struct remote {
    struct map_node node;
    struct map *map; // borrowed; outlives the remote
    size_t refs;
    uint16_t route; // how the last frame from there came; see backplane.h
    size_t id_len;
    char id[];
};

#define REMOTE_ID_LEN_MAX 512

// Whether a name may be another relay's: not empty, not endless, and without control characters, which
// would blur what is signed (spec section 8.1).
bool remote_id_is_sound(struct slice id);
// With one reference more; id has REMOTE_ID_LEN_MAX bytes at most. NULL without memory.
struct remote *remote_ref(struct map *remotes, struct slice id, uint16_t route) WEIR_MUST_CHECK;
// NULL is fine. The last reference frees it.
void remote_unref(struct remote *remote);

static inline struct slice remote_id(const struct remote *remote)
{
    return slice_of(remote->id, remote->id_len);
}

#endif
