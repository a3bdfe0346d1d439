// SPDX-License-Identifier: Apache-2.0
#include "relay/places.h"

#include "base/mem.h"
#include "relay/cell.h"

#define KEY_SIZE 260

struct places {
    struct map_node node;
    uint64_t reserved;
    char key[];
};

static struct slice write_key(char key[KEY_SIZE], struct cell_name name)
{
    weir_assert(name.workspace.len + 1 + name.target.len <= KEY_SIZE);
    memcpy(key, name.workspace.at, name.workspace.len);
    key[name.workspace.len] = '\0';
    memcpy(key + name.workspace.len + 1, name.target.at, name.target.len);
    return slice_of(key, name.workspace.len + 1 + name.target.len);
}

static struct places *find(struct shard *shard, struct slice key)
{
    struct map_node *node = map_find(&shard->places, key);
    return node == NULL ? NULL : container_of(node, struct places, node);
}

static struct places *add(struct shard *shard, struct slice key)
{
    struct places *places = mem_alloc(sizeof *places + key.len);
    if (places == NULL) {
        return NULL;
    }
    places->reserved = 0;
    memcpy(places->key, key.at, key.len);
    if (map_insert(&shard->places, &places->node, slice_of(places->key, key.len)) != WEIR_OK) {
        mem_free(places);
        return NULL;
    }
    return places;
}

bool places_reserve(struct shard *shard, struct cell_name name)
{
    char buffer[KEY_SIZE];
    struct slice key = write_key(buffer, name);
    struct cell *cell = cell_find(shard, name.workspace, name.target);
    struct places *places = find(shard, key);
    uint64_t taken = (cell == NULL ? 0 : cell->client_count) +
                     (places == NULL ? 0 : places->reserved);
    if (taken >= shard->relay->config->max_clients_per_workspace) {
        return false;
    }
    if (places == NULL) {
        places = add(shard, key);
    }
    if (places == NULL) {
        return false;
    }
    places->reserved++;
    return true;
}

void places_give_back(struct shard *shard, struct cell_name name)
{
    char buffer[KEY_SIZE];
    struct places *places = find(shard, write_key(buffer, name));
    weir_assert(places != NULL && places->reserved > 0);
    if (--places->reserved == 0) {
        map_remove(&shard->places, &places->node);
        mem_free(places);
    }
}
