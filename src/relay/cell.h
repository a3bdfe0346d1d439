// SPDX-License-Identifier: Apache-2.0
// A cell joins one daemon and its clients: (workspace, runtime target). Spec sections 5.2 and 7.3.
// Cells are made when somebody is registered, never before (14, 12), and dropped when they have been
// empty for the TTL.
#ifndef WEIR_RELAY_CELL_H
#define WEIR_RELAY_CELL_H

#include "relay/owners.h"
#include "relay/shard.h"

struct peer;
struct announcement; // of its daemon to other relays; see backplane/presence.c

#define CELL_ID_LEN_MAX 128

// The counters of relay_frames_in_total and relay_frames_out_total, shared by a workspace's cells.
struct workspace {
    struct map_node node;
    unsigned cell_count;
    bool labelled; // false: its frames are counted under "_other"
    uint64_t frames_in;
    uint64_t frames_out;
    size_t id_len;
    char id[];
};

struct cell_tables {
    struct owners key_exchanges;
    struct owners sessions;
    struct owners pairings;
};

struct cell {
    struct map_node node;
    struct list order;
    struct list empty; // in shard->empty_cells while nobody is here
    struct shard *shard;
    struct workspace *workspace;
    struct peer *daemon;    // NULL: none
    struct peer *candidate; // a daemon that waits whether the old one still answers
    struct list clients;
    size_t client_count;
    struct cell_tables *tables; // owned; NULL until something is tracked
    struct map channels;        // session-event channels by name
    struct announcement *announcement; // owned; NULL without a daemon, or other relays
    int64_t generation;         // -1: none seen
    uint64_t last_activity_wall_ms;
    uint64_t empty_since_ns;
    struct slice target; // len 0: none; points into key
    size_t key_len;
    char key[]; // workspace, NUL, target
};

// Workspace and target as they may be on the wire (spec section 4.3).
bool cell_is_id(struct slice text);
// NULL when there is none. target may be empty.
struct cell *cell_find(struct shard *shard, struct slice workspace, struct slice target);
// NULL when memory ran out.
struct cell *cell_find_or_make(
    struct shard *shard, struct slice workspace, struct slice target) WEIR_MUST_CHECK;
struct slice cell_workspace(const struct cell *cell);
// "workspace:target", as logs and Redis keys have it; valid until the next call on this thread.
struct slice cell_scope_key(const struct cell *cell);
// Somebody came or left: begins or ends the time to eviction.
void cell_update_emptiness(struct cell *cell);
// The tables; NULL when memory ran out.
struct cell_tables *cell_tables(struct cell *cell) WEIR_MUST_CHECK;
void cell_clear_tables(struct cell *cell);
// Evicts what has been empty for long enough, or everything that is empty.
void cells_evict(struct shard *shard, bool all);

#endif
