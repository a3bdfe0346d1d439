// SPDX-License-Identifier: Apache-2.0
#include "relay/owners.h"

#include "base/mem.h"
#include "relay/remotes.h"

struct entry {
    struct map_node node;
    struct list order;
    struct list by_peer;
    struct owners *table;
    struct owner owner; // with a reference to the remote
    uint64_t since_ns;
    char key[];
};

void owners_init(struct owners *owners, const struct siphash_key *seed, uint64_t count_max,
    uint64_t ttl_ns, bool refresh)
{
    map_init(&owners->entries, seed);
    list_init(&owners->order);
    owners->count_max = count_max;
    owners->ttl_ns = ttl_ns;
    owners->refresh = refresh;
}

static void entry_free(struct entry *entry)
{
    map_remove(&entry->table->entries, &entry->node);
    list_remove(&entry->order);
    list_remove(&entry->by_peer);
    remote_unref(entry->owner.remote);
    mem_free(entry);
}

void owners_clear(struct owners *owners)
{
    list_for_each_safe(node, &owners->order) {
        entry_free(container_of(node, struct entry, order));
    }
}

void owners_fini(struct owners *owners)
{
    owners_clear(owners);
    map_fini(&owners->entries);
}

void owners_forget_peer(struct list *by_peer)
{
    list_for_each_safe(node, by_peer) {
        entry_free(container_of(node, struct entry, by_peer));
    }
}

static void drop_old(struct owners *owners, uint64_t now_ns)
{
    list_for_each_safe(node, &owners->order) {
        struct entry *oldest = container_of(node, struct entry, order);
        if (now_ns - oldest->since_ns < owners->ttl_ns) {
            return;
        }
        entry_free(oldest);
    }
}

static struct entry *find(struct owners *owners, struct slice key, uint64_t now_ns)
{
    struct map_node *node = map_find(&owners->entries, key);
    if (node == NULL) {
        return NULL;
    }
    struct entry *entry = container_of(node, struct entry, node);
    if (now_ns - entry->since_ns >= owners->ttl_ns) {
        drop_old(owners, now_ns);
        return NULL;
    }
    return entry;
}

static void renew(struct owners *owners, struct entry *entry, uint64_t now_ns)
{
    entry->since_ns = now_ns;
    list_remove(&entry->order);
    list_push_back(&owners->order, &entry->order);
}

static struct entry *add(struct owners *owners, struct slice key)
{
    struct entry *entry = mem_alloc(sizeof *entry + key.len);
    if (entry == NULL) {
        return NULL;
    }
    memcpy(entry->key, key.at, key.len);
    entry->table = owners;
    entry->owner = (struct owner){NULL, NULL};
    list_init(&entry->order);
    list_init(&entry->by_peer);
    if (map_insert(&owners->entries, &entry->node, slice_of(entry->key, key.len)) != WEIR_OK) {
        mem_free(entry);
        return NULL;
    }
    return entry;
}

// The entry of the key, old or new, that belongs to nobody; NULL without memory.
static struct entry *claim(struct owners *owners, struct slice key, uint64_t now_ns)
{
    drop_old(owners, now_ns);
    struct entry *entry = find(owners, key, now_ns);
    if (entry == NULL) {
        if (owners->entries.count >= owners->count_max) {
            entry_free(container_of(owners->order.next, struct entry, order));
        }
        entry = add(owners, key);
    }
    if (entry == NULL) {
        return NULL;
    }
    list_remove(&entry->by_peer);
    remote_unref(entry->owner.remote);
    entry->owner = (struct owner){NULL, NULL};
    renew(owners, entry, now_ns);
    return entry;
}

enum weir_result owners_set(struct owners *owners, struct slice key, struct peer *peer,
    struct list *by_peer, uint64_t now_ns)
{
    struct entry *entry = claim(owners, key, now_ns);
    if (entry == NULL) {
        return WEIR_MEMORY;
    }
    entry->owner.peer = peer;
    list_push_back(by_peer, &entry->by_peer);
    return WEIR_OK;
}

enum weir_result owners_set_remote(
    struct owners *owners, struct slice key, struct remote *remote, uint64_t now_ns)
{
    remote->refs++; // before the entry may give up the last one
    struct entry *entry = claim(owners, key, now_ns);
    if (entry == NULL) {
        remote_unref(remote);
        return WEIR_MEMORY;
    }
    entry->owner.remote = remote;
    return WEIR_OK;
}

struct owner owners_find(struct owners *owners, struct slice key, uint64_t now_ns)
{
    struct entry *entry = find(owners, key, now_ns);
    if (entry == NULL) {
        return (struct owner){NULL, NULL};
    }
    if (owners->refresh) {
        renew(owners, entry, now_ns);
    }
    return entry->owner;
}

struct owner owners_take(struct owners *owners, struct slice key, uint64_t now_ns)
{
    struct entry *entry = find(owners, key, now_ns);
    if (entry == NULL) {
        return (struct owner){NULL, NULL};
    }
    struct owner owner = entry->owner;
    entry->owner.remote = NULL;
    entry_free(entry);
    return owner;
}
