// SPDX-License-Identifier: Apache-2.0
// Who is there: the control channels and tunnels of the whole process. Changes are rare and take a
// lock; looking up a host on the data path does not: each worker keeps what it found and forgets it
// when the directory's version moves on.
//
// Every change is published to the feed (feed.h) under the same lock, so that a snapshot and the
// events behind it never miss or repeat one (spec section 8.6).
#ifndef WEIR_ENGINE_DIRECTORY_H
#define WEIR_ENGINE_DIRECTORY_H

#include "engine/tunnel.h"

struct directory;
struct engine;
struct engine_shard;

// A control channel as everybody sees it.
struct client {
    char id[TUNNEL_ID_SIZE];
    char identity[65]; // whose: the token's subject, or a hash of the token (spec section 5.6)
    struct slice json; // owned; the object of spec section 8.5
    struct slice user_id; // owned
};

enum directory_outcome {
    DIRECTORY_ADDED,
    DIRECTORY_HOST_TAKEN, // also a TCP port
    DIRECTORY_NAME_TAKEN,
    DIRECTORY_FULL,   // limits.tunnels
    DIRECTORY_MEMORY,
};

struct directory *directory_new(struct engine *engine) WEIR_MUST_CHECK;
void directory_free(struct directory *directory);

// The client is borrowed until it is removed. False without memory, or when limits.* say no
// (*ret_full).
bool directory_add_client(
    struct directory *directory, struct client *client, bool *ret_full) WEIR_MUST_CHECK;
// After its tunnels.
void directory_remove_client(struct directory *directory, struct client *client);

// Makes the tunnel visible everywhere before it returns, and takes a reference. When a host, port or
// name is taken, *ret_holder is the one who has it (a reference, to be given back), otherwise NULL.
enum directory_outcome directory_add(struct directory *directory, struct tunnel *tunnel,
    struct tunnel **ret_holder) WEIR_MUST_CHECK;
// Frees host and name at once; the directory's reference goes. Fine for one that is gone already.
void directory_remove(struct directory *directory, struct tunnel *tunnel);

// The open tunnel that is published at host (lower case, no port, no trailing dot), or NULL.
// Borrowed until the end of this turn. Costs an atomic load and a hash lookup.
struct tunnel *directory_by_host(struct engine_shard *shard, struct slice host);
// For a private dial: by id, then by name (spec section 4.12). A reference, or NULL.
struct tunnel *directory_by_id_or_name(
    struct directory *directory, struct slice id_or_name) WEIR_MUST_CHECK;

#endif
