// SPDX-License-Identifier: Apache-2.0
// An intrusive hash map from byte strings, keyed with SipHash. The caller's object embeds a
// map_node and owns the key's bytes for as long as it is in the map; the map owns only its table.
// ADR 0002 says why this is not uthash.
#ifndef WEIR_BASE_MAP_H
#define WEIR_BASE_MAP_H

#include <stddef.h>
#include <stdint.h>

#include "base/result.h"
#include "base/siphash.h"
#include "base/slice.h"

struct map_node {
    struct map_node *next; // in the same slot
    uint64_t hash;
    struct slice key; // borrows the object's bytes
};

struct map {
    struct map_node **slots; // owned; NULL while empty
    size_t slot_count;       // a power of two, or 0
    size_t count;
    struct siphash_key seed;
};

void map_init(struct map *map, const struct siphash_key *seed);
// Frees the table. The objects are the caller's.
void map_fini(struct map *map);
// NULL when there is none.
struct map_node *map_find(const struct map *map, struct slice key);
// The key must not be in the map yet. WEIR_MEMORY leaves the map as it was.
enum weir_result map_insert(struct map *map, struct map_node *node, struct slice key) WEIR_MUST_CHECK;
// The node must be in the map.
void map_remove(struct map *map, struct map_node *node);
// Walks all nodes: pass NULL first; the order means nothing. The node returned last may be removed
// from the map only after the next one was asked for.
struct map_node *map_next(const struct map *map, const struct map_node *node);

#endif
