// SPDX-License-Identifier: Apache-2.0
#include "relay/limiter.h"

#include "base/mem.h"
#include "base/time.h"

#define MINUTE_NS (60 * NS_PER_S)

struct limiter_key {
    struct map_node node;
    struct list unheld;
    unsigned holders;
    struct bucket bucket; // of a window: tokens counts up, filled_ns is its start
    char bytes[];
};

void bucket_init(struct bucket *bucket, double capacity, uint64_t now_ns)
{
    bucket->tokens = capacity;
    bucket->filled_ns = now_ns;
}

static void refill(struct bucket *bucket, double capacity, uint64_t now_ns)
{
    if (now_ns <= bucket->filled_ns) {
        return;
    }
    double minutes = (double)(now_ns - bucket->filled_ns) / (double)MINUTE_NS;
    bucket->tokens += capacity * minutes;
    bucket->tokens = bucket->tokens > capacity ? capacity : bucket->tokens;
    bucket->filled_ns = now_ns;
}

bool bucket_take(struct bucket *bucket, double capacity, uint64_t now_ns)
{
    refill(bucket, capacity, now_ns);
    if (bucket->tokens < 1) {
        return false;
    }
    bucket->tokens -= 1;
    return true;
}

void limiter_init(struct limiter *limiter, const struct siphash_key *seed, uint64_t rate_per_minute,
    uint64_t keys_max)
{
    map_init(&limiter->keys, seed);
    list_init(&limiter->unheld);
    limiter->capacity = (double)rate_per_minute;
    limiter->keys_max = keys_max;
}

static void forget(struct limiter *limiter, struct limiter_key *key)
{
    map_remove(&limiter->keys, &key->node);
    list_remove(&key->unheld);
    mem_free(key);
}

void limiter_fini(struct limiter *limiter)
{
    if (limiter->keys.count > 0) {
        list_for_each_safe(node, &limiter->unheld) {
            forget(limiter, container_of(node, struct limiter_key, unheld));
        }
    }
    weir_assert(limiter->keys.count == 0);
    map_fini(&limiter->keys);
}

static struct limiter_key *add(struct limiter *limiter, struct slice bytes, uint64_t now_ns)
{
    if (limiter->keys.count >= limiter->keys_max && !list_empty(&limiter->unheld)) {
        forget(limiter, container_of(limiter->unheld.next, struct limiter_key, unheld));
    }
    struct limiter_key *key = mem_alloc(sizeof *key + bytes.len);
    if (key == NULL) {
        return NULL;
    }
    memcpy(key->bytes, bytes.at, bytes.len);
    key->holders = 0;
    list_init(&key->unheld);
    bucket_init(&key->bucket, limiter->capacity, now_ns);
    if (map_insert(&limiter->keys, &key->node, slice_of(key->bytes, bytes.len)) != WEIR_OK) {
        mem_free(key);
        return NULL;
    }
    return key;
}

struct limiter_key *limiter_hold(struct limiter *limiter, struct slice bytes, uint64_t now_ns)
{
    struct map_node *node = map_find(&limiter->keys, bytes);
    struct limiter_key *key = node == NULL ? add(limiter, bytes, now_ns)
                                           : container_of(node, struct limiter_key, node);
    if (key != NULL) {
        key->holders++;
        list_remove(&key->unheld);
    }
    return key;
}

void limiter_drop(struct limiter *limiter, struct limiter_key *key)
{
    if (key != NULL && --key->holders == 0) {
        list_push_back(&limiter->unheld, &key->unheld);
    }
}

bool limiter_take(struct limiter *limiter, struct limiter_key *key, uint64_t now_ns)
{
    return key == NULL || bucket_take(&key->bucket, limiter->capacity, now_ns);
}

uint64_t limiter_wait_ns(const struct limiter *limiter, struct limiter_key *key, uint64_t now_ns)
{
    refill(&key->bucket, limiter->capacity, now_ns);
    double missing = 1 - key->bucket.tokens;
    return missing <= 0 ? 0 : (uint64_t)(missing / limiter->capacity * (double)MINUTE_NS) + 1;
}

bool limiter_count(struct limiter *limiter, struct slice bytes, uint64_t now_ns)
{
    bool known = map_find(&limiter->keys, bytes) != NULL;
    struct limiter_key *key = limiter_hold(limiter, bytes, now_ns);
    if (key == NULL) {
        return true;
    }
    struct bucket *window = &key->bucket;
    if (!known || now_ns - window->filled_ns >= MINUTE_NS) {
        *window = (struct bucket){.tokens = 0, .filled_ns = now_ns};
    }
    window->tokens += 1;
    bool within = window->tokens <= limiter->capacity;
    limiter_drop(limiter, key);
    return within;
}
