// SPDX-License-Identifier: Apache-2.0
#include "relay/ledger.h"

#include <pthread.h>

#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/time.h"

#define WINDOW_NS (60 * NS_PER_S)

struct address {
    struct map_node node;
    struct list recent; // in ledger->recent, oldest at the front
    struct ip ip;
    uint64_t connections;
    uint64_t window_start_ns;
    uint64_t window_count;
};

struct ledger {
    pthread_mutex_t lock;
    struct ledger_limits limits;
    struct map addresses;
    struct list recent;
    uint64_t total;
};

struct ledger *ledger_new(const struct ledger_limits *limits, const struct siphash_key *seed)
{
    struct ledger *ledger = mem_zalloc(sizeof *ledger);
    if (ledger == NULL) {
        return NULL;
    }
    pthread_mutex_init(&ledger->lock, NULL);
    ledger->limits = *limits;
    map_init(&ledger->addresses, seed);
    list_init(&ledger->recent);
    return ledger;
}

static void forget(struct ledger *ledger, struct address *address)
{
    map_remove(&ledger->addresses, &address->node);
    list_remove(&address->recent);
    mem_free(address);
}

void ledger_free(struct ledger *ledger)
{
    if (ledger == NULL) {
        return;
    }
    list_for_each_safe(node, &ledger->recent) {
        forget(ledger, container_of(node, struct address, recent));
    }
    map_fini(&ledger->addresses);
    pthread_mutex_destroy(&ledger->lock);
    mem_free(ledger);
}

static struct slice key_of(const struct ip *ip)
{
    return slice_of((const char *)ip->bytes, sizeof ip->bytes);
}

static struct address *find(struct ledger *ledger, const struct ip *ip)
{
    struct map_node *node = map_find(&ledger->addresses, key_of(ip));
    return node == NULL ? NULL : container_of(node, struct address, node);
}

// Addresses that hold connections stay; their number is bounded by the connections' own cap.
static void make_room(struct ledger *ledger)
{
    list_for_each_safe(node, &ledger->recent) {
        if (ledger->addresses.count < ledger->limits.addresses_max) {
            return;
        }
        struct address *oldest = container_of(node, struct address, recent);
        if (oldest->connections == 0) {
            forget(ledger, oldest);
        }
    }
}

static struct address *find_or_add(struct ledger *ledger, const struct ip *ip, uint64_t now_ns)
{
    struct address *address = find(ledger, ip);
    if (address != NULL) {
        list_remove(&address->recent);
        list_push_back(&ledger->recent, &address->recent);
        return address;
    }
    make_room(ledger);
    address = mem_zalloc(sizeof *address);
    if (address == NULL) {
        return NULL;
    }
    address->ip = *ip;
    address->window_start_ns = now_ns;
    list_init(&address->recent);
    if (map_insert(&ledger->addresses, &address->node, key_of(&address->ip)) != WEIR_OK) {
        mem_free(address);
        return NULL;
    }
    list_push_back(&ledger->recent, &address->recent);
    return address;
}

static bool over_rate(struct ledger *ledger, struct address *address, uint64_t now_ns)
{
    if (now_ns - address->window_start_ns >= WINDOW_NS) {
        address->window_start_ns = now_ns;
        address->window_count = 0;
    }
    return ++address->window_count > ledger->limits.rate_per_minute;
}

// The order of the checks is the specification's.
static enum ledger_verdict judge(struct ledger *ledger, const struct ip *ip, uint64_t now_ns)
{
    struct address *address = find_or_add(ledger, ip, now_ns);
    if (address == NULL) {
        return LEDGER_NO_MEMORY;
    }
    if (over_rate(ledger, address, now_ns)) {
        return LEDGER_RATE_LIMITED;
    }
    if (ledger->total >= ledger->limits.total_max) {
        return LEDGER_FULL;
    }
    if (address->connections >= ledger->limits.per_address_max) {
        return LEDGER_ADDRESS_FULL;
    }
    ledger->total++;
    address->connections++;
    return LEDGER_ADMITTED;
}

enum ledger_verdict ledger_enter(struct ledger *ledger, const struct ip *ip, uint64_t now_ns)
{
    pthread_mutex_lock(&ledger->lock);
    enum ledger_verdict verdict = judge(ledger, ip, now_ns);
    pthread_mutex_unlock(&ledger->lock);
    return verdict;
}

void ledger_exempt(struct ledger *ledger)
{
    pthread_mutex_lock(&ledger->lock);
    weir_assert(ledger->total > 0);
    ledger->total--;
    pthread_mutex_unlock(&ledger->lock);
}

void ledger_leave(struct ledger *ledger, const struct ip *ip, bool exempt)
{
    pthread_mutex_lock(&ledger->lock);
    struct address *address = find(ledger, ip);
    weir_assert(address != NULL && address->connections > 0);
    address->connections--;
    if (!exempt) {
        weir_assert(ledger->total > 0);
        ledger->total--;
    }
    pthread_mutex_unlock(&ledger->lock);
}
