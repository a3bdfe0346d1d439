// SPDX-License-Identifier: Apache-2.0
// Who waits for an answer, or has a session: the three tables of a cell (spec section 7.3). Entries
// belong to a connection here, or to another relay's; they go when the connection ends, when they are
// too old, or, oldest first, when the table is full.
#ifndef WEIR_RELAY_OWNERS_H
#define WEIR_RELAY_OWNERS_H

#include "base/list.h"
#include "base/map.h"
#include "base/result.h"

struct peer;
struct remote;

struct owners {
    struct map entries;
    struct list order; // oldest first, by use when `refresh`
    uint64_t count_max;
    uint64_t ttl_ns;
    bool refresh; // a lookup renews the entry (spec section 14, 3)
};

// One of the two is set, or none: nobody.
struct owner {
    struct peer *peer;
    struct remote *remote; // borrowed from the table, or with a reference, as the function says
};

void owners_init(struct owners *owners, const struct siphash_key *seed, uint64_t count_max,
    uint64_t ttl_ns, bool refresh);
void owners_fini(struct owners *owners);
// Sets the owner of a key; by_peer is the owner's list of all its entries. A key that is there gets
// the new owner. WEIR_MEMORY.
enum weir_result owners_set(struct owners *owners, struct slice key, struct peer *peer,
    struct list *by_peer, uint64_t now_ns) WEIR_MUST_CHECK;
// The same for another relay, which the table takes a reference of its own to.
enum weir_result owners_set_remote(struct owners *owners, struct slice key, struct remote *remote,
    uint64_t now_ns) WEIR_MUST_CHECK;
// Nobody when there is none, or only one that is too old. Valid until the table changes.
struct owner owners_find(struct owners *owners, struct slice key, uint64_t now_ns);
// Finds and removes; a reference to the remote goes with it: remote_unref.
struct owner owners_take(struct owners *owners, struct slice key, uint64_t now_ns) WEIR_MUST_CHECK;
void owners_clear(struct owners *owners);
// Removes all entries of a connection, whatever tables they are in.
void owners_forget_peer(struct list *by_peer);

#endif
