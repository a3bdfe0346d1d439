// SPDX-License-Identifier: Apache-2.0
// Rate limiters of a worker (spec section 7.7): token buckets and fixed windows by key. A key's
// state outlives connections; keys nobody holds are forgotten, the longest unused first, when there
// are more than keys_max.
//
// A connection that is charged for every frame holds its key, so that a frame costs no lookup.
#ifndef WEIR_RELAY_LIMITER_H
#define WEIR_RELAY_LIMITER_H

#include <stdint.h>

#include "base/list.h"
#include "base/map.h"
#include "base/result.h"

// Starts full; refills continuously.
struct bucket {
    double tokens;
    uint64_t filled_ns;
};

struct limiter {
    struct map keys;
    struct list unheld; // least recently used first
    uint64_t keys_max;
    double capacity; // tokens, and tokens a minute
};

struct limiter_key;

void limiter_init(struct limiter *limiter, const struct siphash_key *seed, uint64_t rate_per_minute,
    uint64_t keys_max);
void limiter_fini(struct limiter *limiter);
// NULL when memory ran out. Held until limiter_drop.
struct limiter_key *limiter_hold(
    struct limiter *limiter, struct slice key, uint64_t now_ns) WEIR_MUST_CHECK;
void limiter_drop(struct limiter *limiter, struct limiter_key *key);
// Token bucket: takes one token, or none.
bool limiter_take(struct limiter *limiter, struct limiter_key *key, uint64_t now_ns);
// Time until a token is there.
uint64_t limiter_wait_ns(
    const struct limiter *limiter, struct limiter_key *key, uint64_t now_ns);
// Fixed window of a minute: counts one; false when there were too many. Without memory nobody is
// limited.
bool limiter_count(struct limiter *limiter, struct slice key, uint64_t now_ns);

// A bucket on its own.
void bucket_init(struct bucket *bucket, double capacity, uint64_t now_ns);
bool bucket_take(struct bucket *bucket, double capacity, uint64_t now_ns);

#endif
