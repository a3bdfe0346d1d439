// SPDX-License-Identifier: Apache-2.0
// The key set of RELAY_JWKS_URL, cached per worker (spec section 4.6): fetched on first use, kept
// for an hour, fetched again for an unknown key id, at most once in 30 s.
#ifndef WEIR_RELAY_JWKS_CACHE_H
#define WEIR_RELAY_JWKS_CACHE_H

#include "auth/jwt_precheck.h"
#include "relay/shard.h"

struct jwks_cache;

struct jwks_cache *jwks_cache_new(struct shard *shard) WEIR_MUST_CHECK;
void jwks_cache_free(struct jwks_cache *cache);

// A token that waits for its check; embedded in the upgrade.
struct jwks_waiter {
    struct list node;
    struct slice token; // borrowed until done or jwks_cancel
    void (*done)(struct jwks_waiter *waiter, enum precheck verdict);
};
// Calls done at once when the set at hand decides, else after a fetch, whether it goes well or not.
void jwks_check(struct jwks_cache *cache, struct jwks_waiter *waiter);
// Safe on a waiter that does not wait.
void jwks_cancel(struct jwks_waiter *waiter);

#endif
