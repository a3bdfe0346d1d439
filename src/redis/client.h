// SPDX-License-Identifier: Apache-2.0
// A worker's way to a Redis, whatever kind of place it is: one server, the master that sentinels
// name, or the nodes of a cluster. Commands and messages travel on connections of their own, and
// commands that block on a third. Each node is called up when both connections stand, all channels
// are subscribed, and what was published to a channel of its own has come back.
//
//   place ──► scout (sentinels: who is master; cluster: who has which slot) ──► nodes
//   key, channel ──► slot ──► node ──► commands | events | blocking
//
// Nothing waits for a connection: what cannot be sent is refused with the reason.
#ifndef WEIR_REDIS_CLIENT_H
#define WEIR_REDIS_CLIENT_H

#include "redis/link.h"

struct redis_client;

struct redis_client_options {
    const struct redis_place *place; // borrowed, outlives the client
    struct slice prefix;             // of the probe's channels; borrowed, outlives the client
    struct slice blocking_key;       // len 0: no blocking connection; borrowed, outlives the client
    uint64_t connect_ns;
    uint64_t answer_ns;
    uint64_t blocking_ns; // for the answer to a blocking command
    size_t reply_max;
    size_t out_max;       // bytes a connection may still have to send
    unsigned pending_max; // commands a connection may wait for
};

struct redis_client_hooks {
    // All nodes are up; or, after that, one is not any more.
    void (*up)(void *arg);
    void (*down)(void *arg, enum redis_fault fault);
    // The answer to a command, in the order of those of one slot. reply is NULL when there will be
    // none: what was asked may have been done or not.
    void (*replied)(void *arg, uint64_t tag, const struct redisReply *reply);
    // A message of a channel.
    void (*message)(void *arg, struct slice channel, struct slice payload);
    // The channel is subscribed from here on; what was published while it was not is lost.
    void (*subscribed)(void *arg, struct slice channel);
    // A blocking command may be sent.
    void (*blocking_ready)(void *arg);
    // After redis_client_close. The memory has gone.
    void (*closed)(void *arg);
    void *arg;
};

#define REDIS_CLIENT_TAG_MAX (UINT64_C(1) << 56)
#define REDIS_CHANNEL_MAX 1024

// NULL: WEIR_MEMORY or WEIR_CRYPTO in *ret_result.
struct redis_client *redis_client_open(struct worker *worker,
    const struct redis_client_options *options, const struct redis_client_hooks *hooks,
    enum weir_result *ret_result) WEIR_MUST_CHECK;
// Answers all commands with NULL, and calls `closed`, now or when the worker has turned; no other
// hook is called. NULL is fine.
void redis_client_close(struct redis_client *client);

// All four: key names the slot; REDIS_FAULT_NONE: it will be answered, else why not. Never call
// back. tag is below REDIS_CLIENT_TAG_MAX.
enum redis_fault redis_client_send(struct redis_client *client, struct slice key, uint64_t tag,
    const struct slice *words, size_t count) WEIR_MUST_CHECK;
enum redis_fault redis_client_publish(struct redis_client *client, struct slice channel,
    uint64_t tag, struct slice payload) WEIR_MUST_CHECK;
// Sends a command again where the reply to it points (MOVED, ASK). Frames are not sent again: they
// would be overtaken by those that go to the new node at once.
enum redis_fault redis_client_follow(struct redis_client *client, const struct redisReply *reply,
    uint64_t tag, const struct slice *words, size_t count) WEIR_MUST_CHECK;
// On the connection for the blocking key.
enum redis_fault redis_client_send_blocking(struct redis_client *client, uint64_t tag,
    const struct slice *words, size_t count) WEIR_MUST_CHECK;

// From now on, across connections; once more is fine. WEIR_MEMORY, WEIR_TOO_LONG.
enum weir_result redis_client_subscribe(
    struct redis_client *client, struct slice channel) WEIR_MUST_CHECK;
void redis_client_unsubscribe(struct redis_client *client, struct slice channel);
bool redis_client_is_subscribed(const struct redis_client *client, struct slice channel);

bool redis_client_is_up(const struct redis_client *client);
// While it is not up: the first thing that is wrong.
enum redis_fault redis_client_fault(const struct redis_client *client);
// The same in full, with the host; "" while it is up.
void redis_client_problem(const struct redis_client *client, char *text, size_t size);

#endif
