// SPDX-License-Identifier: Apache-2.0
// Where streams wait for their next exchange.
//
// A stream serves one visitor connection by default: what a service believes to know about a
// connection (who is behind it, NTLM and Negotiate, rate limits of its own) stays true, and the
// address the agent shows stays right. With http.upstream_keepalive a stream goes to the worker's
// pool of its tunnel instead and serves any visitor's next request, except
//   - one that has carried an Authorization of Negotiate or NTLM: it is its visitor's for good, and
//     such a request takes no stream but one of its own visitor's,
//   - one that turned into raw bytes, which nobody uses again,
// and a request that will turn into raw bytes never takes one from there.
//
// A tunnel that closes leaves its streams at rest as they are: nobody can be routed to them any
// more, and they end when they have been idle or their agent ends them (spec sections 4.8 and 6.1).
//
// Invariants:
// 1. A stream is in at most one pool, by at_rest; visitor or pool says which.
// 2. A stream of HTTP/1.1 is in a pool only while nothing travels on it; it is watched there, and
//    ends when the service sends anything or leaves. One of h2 is in its pool while it takes
//    requests.
// 3. The longest-waiting stream goes when a pool is full; the latest is taken first, so that the
//    others get old.
#include "engine/upstream/upstream_pool.h"

#include "base/mem.h"
#include "engine/upstream/upstream_internal.h"

#define VISITOR_STREAMS_MAX 32 // an h2 connection of 100 requests at once keeps this many
#define TUNNEL_STREAMS_MAX 256 // of one tunnel, on each worker

struct upstream_pool {
    struct map_node node;  // in shard->upstream_pools, by the tunnel's id
    struct tunnel *tunnel; // a reference
    struct list streams;
    size_t count;
};

void upstream_pool_open(struct visitor *visitor)
{
    list_init(&visitor->idle_upstreams);
    visitor->idle_upstream_count = 0;
}

void upstream_pool_close(struct visitor *visitor)
{
    for (struct list *node; (node = visitor->idle_upstreams.next) != &visitor->idle_upstreams;) {
        upstream_close(container_of(node, struct upstream, at_rest), false);
    }
}

static struct upstream_pool *find_pool(struct engine_shard *shard, const struct tunnel *tunnel)
{
    struct map_node *node = map_find(&shard->upstream_pools, slice_str(tunnel->id));
    return node == NULL ? NULL : container_of(node, struct upstream_pool, node);
}

static struct upstream_pool *make_pool(struct engine_shard *shard, struct tunnel *tunnel)
{
    struct upstream_pool *pool = mem_zalloc(sizeof *pool);
    if (pool == NULL) {
        return NULL;
    }
    list_init(&pool->streams);
    if (map_insert(&shard->upstream_pools, &pool->node, slice_str(tunnel->id)) != WEIR_OK) {
        mem_free(pool);
        return NULL;
    }
    pool->tunnel = tunnel_ref(tunnel);
    return pool;
}

void upstream_pool_remove(struct upstream *upstream)
{
    if (!list_linked(&upstream->at_rest)) {
        return;
    }
    list_remove(&upstream->at_rest);
    struct upstream_pool *pool = upstream->pool;
    if (pool == NULL) {
        upstream->visitor->idle_upstream_count--;
    } else if (--pool->count == 0) {
        map_remove(&upstream->shard->upstream_pools, &pool->node);
        tunnel_unref(pool->tunnel);
        mem_free(pool);
    }
    upstream->visitor = NULL;
    upstream->pool = NULL;
}

static bool fits(const struct upstream *upstream, const struct upstream_need *need)
{
    return upstream->tunnel == need->tunnel &&
           (upstream->protocol == &upstream_h1 || (!need->raw && upstream_h2_has_room(upstream)));
}

static struct upstream *find_in(struct list *streams, const struct upstream_need *need)
{
    list_for_each (node, streams) {
        struct upstream *upstream = container_of(node, struct upstream, at_rest);
        if (fits(upstream, need)) {
            return upstream;
        }
    }
    return NULL;
}

static struct upstream *find_shared(const struct upstream_need *need)
{
    struct engine_shard *shard = need->visitor->shard;
    if (!shard->engine->config->upstream_keepalive || need->raw || need->bound) {
        return NULL;
    }
    struct upstream_pool *pool = find_pool(shard, need->tunnel);
    return pool == NULL ? NULL : find_in(&pool->streams, need);
}

struct upstream *upstream_pool_take(const struct upstream_need *need)
{
    struct upstream *upstream = find_in(&need->visitor->idle_upstreams, need);
    if (upstream == NULL) {
        upstream = find_shared(need);
    }
    if (upstream != NULL && upstream->protocol == &upstream_h1) {
        upstream_pool_remove(upstream);
    }
    return upstream;
}

// The one that has waited longest; a stream of h2 may be busy all the same, so it only leaves.
static void evict_last(struct list *streams)
{
    struct upstream *last = container_of(streams->prev, struct upstream, at_rest);
    if (last->protocol == &upstream_h1) {
        upstream_close(last, false);
    } else {
        upstream_pool_remove(last);
    }
}

static bool give_to_tunnel(struct upstream *upstream)
{
    struct upstream_pool *pool = find_pool(upstream->shard, upstream->tunnel);
    if (pool == NULL) {
        pool = make_pool(upstream->shard, upstream->tunnel);
    }
    if (pool == NULL) {
        return false;
    }
    upstream->pool = pool;
    pool->count++;
    list_push_front(&pool->streams, &upstream->at_rest);
    if (pool->count > TUNNEL_STREAMS_MAX) {
        evict_last(&pool->streams);
    }
    return true;
}

static void give_to_visitor(struct upstream *upstream, struct visitor *visitor)
{
    upstream->visitor = visitor;
    visitor->idle_upstream_count++;
    list_push_front(&visitor->idle_upstreams, &upstream->at_rest);
    if (visitor->idle_upstream_count > VISITOR_STREAMS_MAX) {
        evict_last(&visitor->idle_upstreams);
    }
}

bool upstream_pool_give(struct upstream *upstream, struct visitor *visitor)
{
    weir_assert(!list_linked(&upstream->at_rest));
    const struct engine_shard *shard = upstream->shard;
    if (shard->draining || !atomic_load_explicit(&upstream->tunnel->open, memory_order_relaxed)) {
        return false;
    }
    if (shard->engine->config->upstream_keepalive && !upstream->personal) {
        return give_to_tunnel(upstream);
    }
    give_to_visitor(upstream, visitor);
    return true;
}
