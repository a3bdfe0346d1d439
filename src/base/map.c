// SPDX-License-Identifier: Apache-2.0
#include "base/map.h"

#include "base/mem.h"

#define SLOTS_MIN 8

void map_init(struct map *map, const struct siphash_key *seed)
{
    *map = (struct map){.seed = *seed};
}

void map_fini(struct map *map)
{
    mem_free(map->slots);
    map->slots = NULL;
    map->slot_count = map->count = 0;
}

static struct map_node **slot_of(const struct map *map, uint64_t hash)
{
    return &map->slots[hash & (map->slot_count - 1)];
}

struct map_node *map_find(const struct map *map, struct slice key)
{
    if (map->count == 0) {
        return NULL;
    }
    uint64_t hash = siphash(&map->seed, key.at, key.len);
    for (struct map_node *node = *slot_of(map, hash); node != NULL; node = node->next) {
        if (node->hash == hash && slice_eq(node->key, key)) {
            return node;
        }
    }
    return NULL;
}

static enum weir_result grow(struct map *map)
{
    size_t slot_count = map->slot_count == 0 ? SLOTS_MIN : map->slot_count * 2;
    struct map_node **slots = mem_zalloc(slot_count * sizeof *slots);
    if (slots == NULL) {
        return WEIR_MEMORY;
    }
    struct map_node **old = map->slots;
    size_t old_count = map->slot_count;
    map->slots = slots;
    map->slot_count = slot_count;
    for (size_t i = 0; i < old_count; i++) {
        for (struct map_node *node = old[i], *next; node != NULL; node = next) {
            next = node->next;
            struct map_node **slot = slot_of(map, node->hash);
            node->next = *slot;
            *slot = node;
        }
    }
    mem_free(old);
    return WEIR_OK;
}

enum weir_result map_insert(struct map *map, struct map_node *node, struct slice key)
{
    // A full table only costs speed; an empty one cannot hold anything.
    if (map->count >= map->slot_count && grow(map) != WEIR_OK && map->slot_count == 0) {
        return WEIR_MEMORY;
    }
    node->key = key;
    node->hash = siphash(&map->seed, key.at, key.len);
    struct map_node **slot = slot_of(map, node->hash);
    node->next = *slot;
    *slot = node;
    map->count++;
    return WEIR_OK;
}

void map_remove(struct map *map, struct map_node *node)
{
    struct map_node **link = slot_of(map, node->hash);
    while (*link != node) {
        weir_assert(*link != NULL);
        link = &(*link)->next;
    }
    *link = node->next;
    node->next = NULL;
    map->count--;
}

struct map_node *map_next(const struct map *map, const struct map_node *node)
{
    if (node != NULL && node->next != NULL) {
        return node->next;
    }
    size_t slot = node == NULL ? 0 : (node->hash & (map->slot_count - 1)) + 1;
    for (; slot < map->slot_count; slot++) {
        if (map->slots[slot] != NULL) {
            return map->slots[slot];
        }
    }
    return NULL;
}
