// SPDX-License-Identifier: Apache-2.0
// Private to client*.c.
#ifndef WEIR_REDIS_CLIENT_INTERNAL_H
#define WEIR_REDIS_CLIENT_INTERNAL_H

#include "base/map.h"
#include "redis/client.h"
#include "redis/slot.h"

#define NODES_MAX 64
#define NODE_NONE UINT8_MAX
#define PROBE_CHANNEL_SIZE 320
#define PROBE_TOKEN_SIZE 40

enum lane { LANE_COMMANDS, LANE_EVENTS, LANE_BLOCKING, LANE_COUNT };

struct redis_node {
    struct redis_client *client;
    struct redis_address address;
    struct redis_link links[LANE_COUNT];
    bool in_use;
    bool up;
    bool probing; // the probe's channel is subscribed
    struct timer probe_deadline;
    struct timer look;                      // whether it is still a master
    char probe_channel[PROBE_CHANNEL_SIZE]; // "": none yet
    char probe_token[PROBE_TOKEN_SIZE];     // "": none under way
};

struct redis_channel {
    struct map_node map_node;
    bool subscribed;
    uint8_t node; // that was asked; NODE_NONE: none
    size_t name_len;
    char name[];
};

enum scout_step { SCOUT_RESTING, SCOUT_ASKING, SCOUT_LISTENING };

struct redis_client {
    struct worker *worker;
    struct redis_client_options options;
    struct redis_client_hooks hooks;
    SSL_CTX *tls;             // owned; NULL: plain
    struct redis_node *nodes; // owned
    unsigned node_count;      // slots of nodes, not all in use
    uint8_t *slots;           // owned; NULL: all keys are the first node's
    bool mapped;              // nodes and slots are known
    bool sharded;             // SSUBSCRIBE and SPUBLISH
    struct map channels;
    bool up;
    enum redis_fault told_fault; // while it is not up
    bool closing;
    uint64_t nonce; // in probes
    uint64_t probe_count;

    struct redis_link scout;
    struct redis_address scout_address;
    unsigned scout_at; // in the place's seeds
    enum scout_step scout_step;
    enum redis_fault scout_fault;
    bool scout_again; // it is to be asked once more when it has answered
    struct timer scout_timer;
};

// client_scout.c
// The node at an address; NODE_NONE: not of this cluster, as far as is known.
uint8_t node_find(const struct redis_client *client, const struct redis_address *address);

// client_node.c
void node_open(struct redis_client *client, unsigned index, const struct redis_address *address);
void node_close(struct redis_node *node);
// It does not count any more, and its memory may be used for another.
bool node_is_gone(const struct redis_node *node);
// The node that owns a key, or NULL.
struct redis_node *node_of(struct redis_client *client, struct slice key);
// Channels whose node is another now, or none yet, are subscribed there.
void nodes_place_channels(struct redis_client *client);
// Does nothing when its node does not stand.
void channel_ask(struct redis_client *client, struct redis_channel *channel);
void channel_leave(struct redis_client *client, struct redis_channel *channel);

// client.c
// Looks whether all nodes are up, and tells.
void client_judge(struct redis_client *client);
void client_note_gone(struct redis_client *client);

// client_scout.c
// Does nothing for a single Redis.
enum weir_result scout_open(struct redis_client *client) WEIR_MUST_CHECK;
// What is known may be wrong.
void scout_ask_again(struct redis_client *client);
void scout_close(struct redis_client *client);

#endif
