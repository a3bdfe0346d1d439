// SPDX-License-Identifier: Apache-2.0
// Who is there: the control channels and tunnels of the whole process. Changes are rare and take a
// lock; looking up a host on the data path does not: each worker keeps what it found for as long as
// that tunnel is open.
//
// Every change is published to the feed (feed.h) under the same lock, so that a snapshot and the
// events behind it never miss or repeat one (spec section 8.6).
#ifndef WEIR_ENGINE_DIRECTORY_H
#define WEIR_ENGINE_DIRECTORY_H

#include "base/map.h"
#include "engine/api/feed.h"
#include "engine/control/client.h"
#include "engine/control/tunnel.h"
#include "loop/worker.h"

struct directory;
struct engine_shard;

struct directory_limits {
    size_t clients;
    size_t clients_each; // of one identity
    size_t tunnels;
};

enum directory_outcome {
    DIRECTORY_ADDED,
    DIRECTORY_HOST_TAKEN,
    DIRECTORY_PORT_TAKEN, // of a published TCP tunnel
    DIRECTORY_NAME_TAKEN,
    DIRECTORY_FULL, // limits
    DIRECTORY_MEMORY,
};

// The feed is borrowed and outlives the directory. NULL without memory or entropy.
struct directory *directory_new(struct feed *feed) WEIR_MUST_CHECK;
// After all workers have ended, and everybody has removed what he added.
void directory_free(struct directory *directory);

// ADDED, FULL or MEMORY; takes a reference.
enum directory_outcome directory_add_client(struct directory *directory, struct client *client,
    const struct directory_limits *limits) WEIR_MUST_CHECK;
// After its tunnels. Fine for one that was never added.
void directory_remove_client(struct directory *directory, struct client *client);

// Makes the tunnel visible everywhere before it returns, and takes a reference. When a host, port
// or name is taken, *ret_holder is the one who has it (a reference, to be given back), otherwise
// NULL.
enum directory_outcome directory_add(struct directory *directory, struct tunnel *tunnel,
    const struct directory_limits *limits, struct tunnel **ret_holder) WEIR_MUST_CHECK;
// Frees host and name at once; the directory's reference goes. Fine for one that is gone already or
// was never added; true when it was there.
bool directory_remove(struct directory *directory, struct tunnel *tunnel);

// What one worker remembers of the hosts it looked up; struct engine_shard has one. Bounded by the
// hosts that are open, and as many closed ones again.
struct host_cache {
    struct directory *directory; // borrowed
    struct worker *worker;       // borrowed
    struct map hosts;
    struct list stale; // tunnels that closed: their references go at the end of the turn
    struct job drop;
    uint64_t removals; // of the directory, when closed ones were last sought
};
void host_cache_init(struct host_cache *cache, struct directory *directory, struct worker *worker);
// Gives all references back; fine on a zeroed one and twice.
void host_cache_fini(struct host_cache *cache);

// The open tunnel that is published at host (lower case, no port, no trailing dot), or NULL.
// Borrowed until the end of this turn. Costs a hash lookup and an atomic load.
struct tunnel *directory_by_host(struct engine_shard *shard, struct slice host);
// For a private dial: by id, then by name (spec section 4.12). A reference, or NULL.
struct tunnel *directory_by_id_or_name(
    struct directory *directory, struct slice id_or_name) WEIR_MUST_CHECK;
// The tunnel of that id. A reference, or NULL.
struct tunnel *directory_by_id(struct directory *directory, struct slice id) WEIR_MUST_CHECK;
// A port in the range that no tunnel has, or 0.
uint16_t directory_free_port(struct directory *directory, uint16_t port_min, uint16_t port_max);

// Everybody who was there at one moment, the oldest first.
struct snapshot {
    struct client **clients; // owned; references
    size_t client_count;
    struct tunnel **tunnels;
    size_t tunnel_count;
    uint64_t taken_ms;    // wall clock
    uint64_t feed_number; // events up to it are in the snapshot
};
// subscriber: NULL, or the worker on which a watcher begins with this snapshot (feed_subscribe; not
// when the result is false). False without memory; *ret_snapshot is empty then.
bool directory_snapshot(struct directory *directory, struct worker *subscriber,
    struct snapshot *ret_snapshot) WEIR_MUST_CHECK;
// Gives the references back; fine on an empty one and twice.
void snapshot_fini(struct snapshot *snapshot);

#endif
