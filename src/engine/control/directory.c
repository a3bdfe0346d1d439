// SPDX-License-Identifier: Apache-2.0
// One lock for everything here. It is taken for a change, a snapshot, a private dial, and for the
// first look at a host on each worker; what happens under it is a few hash operations, and copying
// an event for the feed when somebody watches.
//
// 1. A tunnel is in the maps exactly while its entry is in `tunnels`, and `open` says the same.
// 2. A host cache may hold a tunnel that has closed; it never hands one out. Hosts nobody asks for
//    again are swept when enough tunnels have gone since the last sweep.
// 3. References that a cache gives up go at the end of the turn, because a caller of
//    directory_by_host may still be using the tunnel.
#include "engine/control/directory.h"

#include <pthread.h>
#include <stdio.h>

#include "base/mem.h"
#include "engine/shard.h"
#include "sys/clock.h"
#include "sys/entropy.h"

#define SWEEP_MIN 64 // removals
#define PLACE_SIZE TUNNEL_HOST_SIZE

// A registered tunnel.
struct entry {
    struct tunnel *tunnel; // a reference
    struct list node;      // in directory->tunnels
    struct map_node by_id;
    struct map_node by_name;  // when it has one
    struct map_node by_place; // when it is published
    char place[PLACE_SIZE];   // its hostname; of a TCP tunnel ":port"
};

// How many control channels an identity has.
struct owner {
    struct map_node node;
    char identity[TUNNEL_IDENTITY_SIZE];
    size_t count;
};

struct directory {
    pthread_mutex_t lock;
    struct feed *feed; // borrowed
    struct map ids;
    struct map names;
    struct map places;
    struct map owners;
    struct list clients; // the oldest first
    struct list tunnels;
    size_t client_count;
    size_t tunnel_count;
    uint16_t next_port;
    atomic_uint_fast64_t removals;
};

struct directory *directory_new(struct feed *feed)
{
    struct siphash_key seed;
    struct directory *directory = mem_zalloc(sizeof *directory);
    if (directory == NULL || sys_entropy(&seed, sizeof seed) != WEIR_OK) {
        mem_free(directory);
        return NULL;
    }
    pthread_mutex_init(&directory->lock, NULL);
    directory->feed = feed;
    map_init(&directory->ids, &seed);
    map_init(&directory->names, &seed);
    map_init(&directory->places, &seed);
    map_init(&directory->owners, &seed);
    list_init(&directory->clients);
    list_init(&directory->tunnels);
    return directory;
}

void directory_free(struct directory *directory)
{
    if (directory == NULL) {
        return;
    }
    weir_assert(list_empty(&directory->clients) && list_empty(&directory->tunnels));
    map_fini(&directory->ids);
    map_fini(&directory->names);
    map_fini(&directory->places);
    map_fini(&directory->owners);
    pthread_mutex_destroy(&directory->lock);
    mem_free(directory);
}

// ---- Control channels.

static struct owner *find_owner(struct directory *directory, const char *identity)
{
    struct map_node *node = map_find(&directory->owners, slice_str(identity));
    return node == NULL ? NULL : container_of(node, struct owner, node);
}

static void leave_owner(struct directory *directory, const char *identity)
{
    struct owner *owner = find_owner(directory, identity);
    if (--owner->count == 0) {
        map_remove(&directory->owners, &owner->node);
        mem_free(owner);
    }
}

static enum directory_outcome join_owner(
    struct directory *directory, const char *identity, size_t count_max)
{
    struct owner *owner = find_owner(directory, identity);
    if (owner != NULL) {
        if (owner->count >= count_max) {
            return DIRECTORY_FULL;
        }
        owner->count++;
        return DIRECTORY_ADDED;
    }
    owner = mem_zalloc(sizeof *owner);
    if (owner == NULL) {
        return DIRECTORY_MEMORY;
    }
    owner->count = 1;
    snprintf(owner->identity, sizeof owner->identity, "%s", identity);
    if (map_insert(&directory->owners, &owner->node, slice_str(owner->identity)) != WEIR_OK) {
        mem_free(owner);
        return DIRECTORY_MEMORY;
    }
    return DIRECTORY_ADDED;
}

enum directory_outcome directory_add_client(
    struct directory *directory, struct client *client, const struct directory_limits *limits)
{
    pthread_mutex_lock(&directory->lock);
    enum directory_outcome outcome =
        directory->client_count >= limits->clients
            ? DIRECTORY_FULL
            : join_owner(directory, client->identity, limits->clients_each);
    if (outcome == DIRECTORY_ADDED) {
        client->listed = true;
        list_push_back(&directory->clients, &client_ref(client)->node);
        directory->client_count++;
        feed_publish_client(directory->feed, FEED_CLIENT_CREATED, client);
    }
    pthread_mutex_unlock(&directory->lock);
    return outcome;
}

void directory_remove_client(struct directory *directory, struct client *client)
{
    pthread_mutex_lock(&directory->lock);
    bool listed = client->listed;
    if (listed) {
        client->listed = false;
        list_remove(&client->node);
        directory->client_count--;
        leave_owner(directory, client->identity);
        feed_publish_client(directory->feed, FEED_CLIENT_DELETED, client);
    }
    pthread_mutex_unlock(&directory->lock);
    if (listed) {
        client_unref(client);
    }
}

// ---- Tunnels.

static struct entry *entry_by_id(struct directory *directory, struct slice id)
{
    struct map_node *node = map_find(&directory->ids, id);
    return node == NULL ? NULL : container_of(node, struct entry, by_id);
}

static struct entry *entry_by_name(struct directory *directory, struct slice name)
{
    struct map_node *node = map_find(&directory->names, name);
    return node == NULL ? NULL : container_of(node, struct entry, by_name);
}

static struct entry *entry_by_place(struct directory *directory, struct slice place)
{
    struct map_node *node = map_find(&directory->places, place);
    return node == NULL ? NULL : container_of(node, struct entry, by_place);
}

static void port_place(uint16_t port, char place[PLACE_SIZE])
{
    snprintf(place, PLACE_SIZE, ":%u", port);
}

static struct entry *new_entry(struct tunnel *tunnel)
{
    struct entry *entry = mem_zalloc(sizeof *entry);
    if (entry == NULL) {
        return NULL;
    }
    entry->tunnel = tunnel;
    list_init(&entry->node);
    if (tunnel->protocol == TUNNEL_TCP) {
        port_place(tunnel->port, entry->place);
    } else {
        snprintf(entry->place, sizeof entry->place, "%s", tunnel->hostname);
    }
    return entry;
}

// Which of the entry's keys somebody else has, if any.
static enum directory_outcome find_conflict(
    struct directory *directory, const struct entry *entry, struct entry **ret_other)
{
    *ret_other = NULL;
    if (entry->tunnel->published) {
        *ret_other = entry_by_place(directory, slice_str(entry->place));
    }
    if (*ret_other != NULL) {
        return entry->tunnel->protocol == TUNNEL_TCP ? DIRECTORY_PORT_TAKEN : DIRECTORY_HOST_TAKEN;
    }
    if (entry->tunnel->name[0] != '\0') {
        *ret_other = entry_by_name(directory, slice_str(entry->tunnel->name));
    }
    return *ret_other == NULL ? DIRECTORY_ADDED : DIRECTORY_NAME_TAKEN;
}

// All keys or none.
static enum directory_outcome insert_keys(struct directory *directory, struct entry *entry)
{
    struct tunnel *tunnel = entry->tunnel;
    if (map_insert(&directory->ids, &entry->by_id, slice_str(tunnel->id)) != WEIR_OK) {
        return DIRECTORY_MEMORY;
    }
    if (tunnel->published &&
        map_insert(&directory->places, &entry->by_place, slice_str(entry->place)) != WEIR_OK) {
        map_remove(&directory->ids, &entry->by_id);
        return DIRECTORY_MEMORY;
    }
    if (tunnel->name[0] != '\0' &&
        map_insert(&directory->names, &entry->by_name, slice_str(tunnel->name)) != WEIR_OK) {
        map_remove(&directory->ids, &entry->by_id);
        if (tunnel->published) {
            map_remove(&directory->places, &entry->by_place);
        }
        return DIRECTORY_MEMORY;
    }
    return DIRECTORY_ADDED;
}

static enum directory_outcome add_entry(struct directory *directory, struct entry *entry,
    const struct directory_limits *limits, struct tunnel **ret_holder)
{
    struct entry *other;
    if (directory->tunnel_count >= limits->tunnels) {
        return DIRECTORY_FULL;
    }
    enum directory_outcome outcome = find_conflict(directory, entry, &other);
    if (outcome != DIRECTORY_ADDED) {
        *ret_holder = tunnel_ref(other->tunnel);
        return outcome;
    }
    outcome = insert_keys(directory, entry);
    if (outcome == DIRECTORY_ADDED) {
        tunnel_ref(entry->tunnel);
        list_push_back(&directory->tunnels, &entry->node);
        directory->tunnel_count++;
        atomic_store_explicit(&entry->tunnel->open, true, memory_order_release);
        feed_publish_tunnel(directory->feed, FEED_TUNNEL_CREATED, entry->tunnel);
    }
    return outcome;
}

enum directory_outcome directory_add(struct directory *directory, struct tunnel *tunnel,
    const struct directory_limits *limits, struct tunnel **ret_holder)
{
    *ret_holder = NULL;
    struct entry *entry = new_entry(tunnel);
    if (entry == NULL) {
        return DIRECTORY_MEMORY;
    }
    pthread_mutex_lock(&directory->lock);
    enum directory_outcome outcome = add_entry(directory, entry, limits, ret_holder);
    pthread_mutex_unlock(&directory->lock);
    if (outcome != DIRECTORY_ADDED) {
        mem_free(entry);
    }
    return outcome;
}

static void remove_entry(struct directory *directory, struct entry *entry)
{
    struct tunnel *tunnel = entry->tunnel;
    atomic_store_explicit(&tunnel->open, false, memory_order_release);
    map_remove(&directory->ids, &entry->by_id);
    if (tunnel->published) {
        map_remove(&directory->places, &entry->by_place);
    }
    if (tunnel->name[0] != '\0') {
        map_remove(&directory->names, &entry->by_name);
    }
    list_remove(&entry->node);
    directory->tunnel_count--;
    atomic_fetch_add_explicit(&directory->removals, 1, memory_order_relaxed);
    feed_publish_tunnel(directory->feed, FEED_TUNNEL_DELETED, tunnel);
}

bool directory_remove(struct directory *directory, struct tunnel *tunnel)
{
    pthread_mutex_lock(&directory->lock);
    struct entry *entry = entry_by_id(directory, slice_str(tunnel->id));
    if (entry != NULL) {
        remove_entry(directory, entry);
    }
    pthread_mutex_unlock(&directory->lock);
    if (entry == NULL) {
        return false;
    }
    tunnel_unref(entry->tunnel);
    mem_free(entry);
    return true;
}

// ---- Finding.

struct tunnel *directory_by_id(struct directory *directory, struct slice id)
{
    pthread_mutex_lock(&directory->lock);
    struct entry *entry = entry_by_id(directory, id);
    struct tunnel *tunnel = entry == NULL ? NULL : tunnel_ref(entry->tunnel);
    pthread_mutex_unlock(&directory->lock);
    return tunnel;
}

struct tunnel *directory_by_id_or_name(struct directory *directory, struct slice id_or_name)
{
    pthread_mutex_lock(&directory->lock);
    struct entry *entry = entry_by_id(directory, id_or_name);
    if (entry == NULL) {
        entry = entry_by_name(directory, id_or_name);
    }
    struct tunnel *tunnel = entry == NULL ? NULL : tunnel_ref(entry->tunnel);
    pthread_mutex_unlock(&directory->lock);
    return tunnel;
}

uint16_t directory_free_port(struct directory *directory, uint16_t port_min, uint16_t port_max)
{
    char place[PLACE_SIZE];
    unsigned range = (unsigned)port_max - port_min + 1;
    uint16_t found = 0;
    if (port_min == 0 || port_max < port_min) {
        return 0;
    }
    pthread_mutex_lock(&directory->lock);
    // Where the last search ended, so that a port that was just freed is not given to the next one.
    for (unsigned i = 0; found == 0 && i < range; i++) {
        uint16_t port = (uint16_t)(port_min + (directory->next_port + i) % range);
        port_place(port, place);
        if (entry_by_place(directory, slice_str(place)) == NULL) {
            found = port;
            directory->next_port = (uint16_t)(port - port_min + 1);
        }
    }
    pthread_mutex_unlock(&directory->lock);
    return found;
}

// ---- What a worker remembers.

struct known_host {
    struct map_node map_node;
    struct list stale_node;
    struct tunnel *tunnel; // a reference; its hostname is the key
};

void host_cache_init(struct host_cache *cache, struct directory *directory, struct worker *worker)
{
    *cache = (struct host_cache){.directory = directory, .worker = worker};
    map_init(&cache->hosts, &worker->seed);
    list_init(&cache->stale);
    list_init(&cache->drop.node);
}

static void drop_stale(struct host_cache *cache)
{
    struct list *node;
    while ((node = list_pop_front(&cache->stale)) != NULL) {
        struct known_host *known = container_of(node, struct known_host, stale_node);
        tunnel_unref(known->tunnel);
        mem_free(known);
    }
}

static void on_drop(struct worker *worker, struct job *job)
{
    (void)worker;
    drop_stale(container_of(job, struct host_cache, drop));
}

static void forget(struct host_cache *cache, struct known_host *known)
{
    map_remove(&cache->hosts, &known->map_node);
    list_push_back(&cache->stale, &known->stale_node);
}

// Forgets the closed ones, or all.
static void sweep(struct host_cache *cache, bool all)
{
    struct map_node *node = map_next(&cache->hosts, NULL);
    while (node != NULL) {
        struct known_host *known = container_of(node, struct known_host, map_node);
        node = map_next(&cache->hosts, node);
        if (all || !atomic_load_explicit(&known->tunnel->open, memory_order_acquire)) {
            forget(cache, known);
        }
    }
}

void host_cache_fini(struct host_cache *cache)
{
    if (cache->directory == NULL) {
        return;
    }
    sweep(cache, true);
    drop_stale(cache);
    list_remove(&cache->drop.node);
    map_fini(&cache->hosts);
    cache->directory = NULL;
}

static void drop_later(struct host_cache *cache)
{
    if (!list_empty(&cache->stale) && !list_linked(&cache->drop.node)) {
        worker_defer(cache->worker, &cache->drop, on_drop);
    }
}

static void sweep_when_due(struct host_cache *cache)
{
    uint64_t removals = atomic_load_explicit(&cache->directory->removals, memory_order_relaxed);
    if (removals - cache->removals >= SWEEP_MIN + cache->hosts.count) {
        cache->removals = removals;
        sweep(cache, false);
    }
}

static struct tunnel *look_up(struct host_cache *cache, struct slice host)
{
    struct known_host *known = mem_zalloc(sizeof *known);
    if (known == NULL) {
        return NULL;
    }
    pthread_mutex_lock(&cache->directory->lock);
    struct entry *entry = entry_by_place(cache->directory, host);
    known->tunnel = entry == NULL ? NULL : tunnel_ref(entry->tunnel);
    pthread_mutex_unlock(&cache->directory->lock);
    if (known->tunnel == NULL) {
        mem_free(known);
        return NULL;
    }
    list_init(&known->stale_node);
    if (map_insert(&cache->hosts, &known->map_node, slice_str(known->tunnel->hostname)) !=
        WEIR_OK) {
        list_push_back(&cache->stale, &known->stale_node); // good for this turn
    }
    return known->tunnel;
}

struct tunnel *directory_by_host(struct engine_shard *shard, struct slice host)
{
    struct host_cache *cache = &shard->host_cache;
    struct map_node *node = map_find(&cache->hosts, host);
    struct tunnel *tunnel = NULL;
    if (node != NULL) {
        struct known_host *known = container_of(node, struct known_host, map_node);
        if (atomic_load_explicit(&known->tunnel->open, memory_order_acquire)) {
            return known->tunnel;
        }
        forget(cache, known);
    }
    sweep_when_due(cache);
    tunnel = look_up(cache, host);
    drop_later(cache);
    return tunnel;
}

// ---- Snapshots.

// Under the lock.
static bool copy_everybody(struct directory *directory, struct snapshot *snapshot)
{
    snapshot->clients = mem_alloc((directory->client_count + 1) * sizeof(struct client *));
    snapshot->tunnels = mem_alloc((directory->tunnel_count + 1) * sizeof(struct tunnel *));
    if (snapshot->clients == NULL || snapshot->tunnels == NULL) {
        return false;
    }
    list_for_each (node, &directory->clients) {
        snapshot->clients[snapshot->client_count++] =
            client_ref(container_of(node, struct client, node));
    }
    list_for_each (node, &directory->tunnels) {
        snapshot->tunnels[snapshot->tunnel_count++] =
            tunnel_ref(container_of(node, struct entry, node)->tunnel);
    }
    return true;
}

bool directory_snapshot(
    struct directory *directory, struct worker *subscriber, struct snapshot *ret_snapshot)
{
    *ret_snapshot = (struct snapshot){.taken_ms = sys_wall_ms()};
    pthread_mutex_lock(&directory->lock);
    bool whole = copy_everybody(directory, ret_snapshot);
    if (whole) {
        ret_snapshot->feed_number = subscriber == NULL
                                        ? feed_newest(directory->feed)
                                        : feed_subscribe(directory->feed, subscriber);
    }
    pthread_mutex_unlock(&directory->lock);
    if (!whole) {
        snapshot_fini(ret_snapshot);
    }
    return whole;
}

void snapshot_fini(struct snapshot *snapshot)
{
    for (size_t i = 0; i < snapshot->client_count; i++) {
        client_unref(snapshot->clients[i]);
    }
    for (size_t i = 0; i < snapshot->tunnel_count; i++) {
        tunnel_unref(snapshot->tunnels[i]);
    }
    mem_free(snapshot->clients);
    mem_free(snapshot->tunnels);
    *snapshot = (struct snapshot){0};
}
