// SPDX-License-Identifier: Apache-2.0
// The driver of mode redis (spec section 9, docs/adr/0012): one for each worker, shared by
// redis_*.c and nobody else.
//
//   presence  SET, GET, EVAL on `<prefix>:presence:…`
//   channel   PUBLISH, SUBSCRIBE on `<prefix>:bus:{<workspace>}:<relay>`, between weir relays
//   list      RPUSH, BLPOP on `<prefix>:queue:<relay>`, with relays that know nothing else
#ifndef WEIR_RELAY_BACKPLANE_REDIS_DRIVER_H
#define WEIR_RELAY_BACKPLANE_REDIS_DRIVER_H

#include "base/list.h"
#include "base/map.h"
#include "proto/json_scan.h"
#include "redis/client.h"
#include "relay/backplane/backplane.h"
#include "relay/shard.h"

// How a relay is reached; the `route` of the seam.
enum redis_route { ROUTE_LIST, ROUTE_CHANNEL };

enum redis_op_kind {
    OP_PUT,
    OP_WITHDRAW,
    OP_RESOLVE,
    OP_PUBLISH,
    OP_MARK,
    OP_PUSH,
    OP_POP,
    OP_POP_REST,
};

struct out_flow;

// What is under way. Its address is the tag of its command.
struct redis_op {
    struct list node; // in driver->held, or alone
    struct redis_driver *driver;
    enum redis_op_kind kind;
    uint64_t started_ns;
    struct bus_ticket *ticket;    // OP_PUBLISH, OP_PUSH
    struct presence_query *query; // OP_RESOLVE
    struct out_flow *flow;        // OP_PUBLISH, OP_MARK
    uint64_t seq;                 // the flow's
    // OP_PUT, OP_WITHDRAW, OP_RESOLVE; what is named lies in text
    unsigned redirects; // that were followed
    struct cell_name name;
    struct slice key;
    struct slice value;
    char text[];
};

struct redis_driver {
    struct backplane_driver driver; // first
    struct shard *shard;
    struct redis_place place;
    struct redis_client *client; // NULL: has gone, or never was
    bool closing;
    char *prefix;       // owned
    char *queue_key;    // owned
    struct buf scratch; // names and payloads under construction
    struct list held;   // presence that waits for the workspace's channel, the oldest first
    struct timer held_timer;
    struct json_keys *presence_keys; // owned

    // redis_channel.c
    struct map out_flows;
    struct list out_order; // the longest unused first
    struct map in_flows;
    struct list in_order;
    struct list unmarked; // out flows whose last frame is not followed by a mark
    struct timer mark_timer;

    // redis_list.c
    bool pop_many;    // LPOP takes a count (Redis 6.2)
    bool mail_away;   // what was read is with the workers
    bool fresh_start; // the list has not been found empty yet
    uint64_t opened_wall_ms;

    uint64_t published[2]; // by enum redis_route
    uint64_t received[2];
    uint64_t gaps;
    uint64_t in_doubt;
};

// ---- redis.c

// NULL without memory. text_len bytes of text.
struct redis_op *redis_op_new(
    struct redis_driver *driver, enum redis_op_kind kind, size_t text_len) WEIR_MUST_CHECK;
void redis_op_free(struct redis_op *op);
static inline uint64_t redis_op_tag(const struct redis_op *op)
{
    return (uint64_t)(uintptr_t)op;
}
// How a command that could not be sent ends.
enum bus_end redis_end_of_refusal(enum redis_fault fault);
// How a command ends that has been answered, or will not be (reply NULL). Logs what is wrong.
enum bus_end redis_end_of_reply(struct redis_driver *driver, const struct redisReply *reply);
void redis_log_fault(struct redis_driver *driver, const char *reason, const char *problem);

// ---- redis_presence.c

void redis_presence_put(struct backplane_driver *driver, const struct presence_record *record);
void redis_presence_withdraw(struct backplane_driver *driver, const struct presence_record *record);
void redis_presence_resolve(struct backplane_driver *driver, struct presence_query *query);
void redis_presence_done(struct redis_op *op, const struct redisReply *reply);
// The channel of some workspace is subscribed.
void redis_presence_go_on(struct redis_driver *driver);
// Ends everything that is held.
void redis_presence_give_up(struct redis_driver *driver, enum bus_end end);
enum weir_result redis_presence_init(struct redis_driver *driver) WEIR_MUST_CHECK;

// ---- redis_channel.c

// The channel by which a relay is reached for a workspace; in driver->scratch. len 0: no memory.
struct slice redis_channel_name(
    struct redis_driver *driver, struct slice workspace, struct slice relay);
void redis_channel_publish(struct redis_driver *driver, const struct bus_parcel *parcel);
void redis_channel_done(struct redis_op *op, const struct redisReply *reply);
void redis_channel_receive(struct redis_driver *driver, struct slice payload);
void redis_channel_init(struct redis_driver *driver);
void redis_channel_stop(struct redis_driver *driver);
void redis_channel_fini(struct redis_driver *driver);

// ---- redis_list.c

void redis_list_push(struct redis_driver *driver, const struct bus_parcel *parcel);
void redis_list_pushed(struct redis_op *op, const struct redisReply *reply);
// Asks for what is in our list, and goes on asking.
void redis_list_read(struct redis_driver *driver);
void redis_list_popped(struct redis_op *op, const struct redisReply *reply);

#endif
