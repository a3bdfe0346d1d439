// SPDX-License-Identifier: Apache-2.0
// Mode server: other relays are reached through the platform (spec section 8; ADR 0009). Shared by
// the server_*.c files, and nobody else.
#ifndef WEIR_RELAY_BACKPLANE_SERVER_H
#define WEIR_RELAY_BACKPLANE_SERVER_H

#include "http/client.h"
#include "proto/json_scan.h"
#include "relay/backplane/backplane.h"
#include "relay/relay.h"
#include "relay/shard.h"

enum server_call {
    SERVER_UPSERT,
    SERVER_RESOLVE,
    SERVER_PUBLISH,
    SERVER_PULL,
    SERVER_CALL_COUNT,
};

enum server_member {
    SERVER_OK,
    SERVER_BATCH,
    SERVER_RESULTS,
    SERVER_FRAMES,
    SERVER_RELAY_ID,
    SERVER_RELAY_URL,
    SERVER_MACHINE,
    SERVER_CONNECTED,
    SERVER_STALE,
    SERVER_MEMBER_COUNT,
};

struct puller;

struct server {
    struct backplane_driver driver;
    struct shard *shard;               // borrowed
    char *urls[SERVER_CALL_COUNT];     // owned
    struct json_keys *keys;            // owned
    bool closing;
    struct list resolutions;           // under way
    // server_presence.c
    struct map records;                // by cell: to be written, or being written
    struct list records_waiting;
    unsigned writes_flying;
    // server_publish.c
    struct map publishers;             // by relay
    struct list publisher_order;
    bool batch;                        // the platform takes batches
    // server_pull.c
    struct puller *puller;             // owned; worker 0 only, and only with the bus on
};

// NULL without memory.
struct http_call *server_start(struct server *server, enum server_call call, struct slice body,
    uint64_t more_ns, size_t response_max, http_call_fn *done, void *arg) WEIR_MUST_CHECK;
// How a call ended; with BUS_END_OK the answer's members are in values.
enum bus_end server_judge(const struct server *server, const struct http_call_result *answer,
    struct json_value values[SERVER_MEMBER_COUNT]) WEIR_MUST_CHECK;

void server_put(struct server *server, const struct presence_record *record, bool connected);
void server_presence_close(struct server *server);

void server_publish(struct server *server, const struct bus_parcel *parcel);
void server_publish_close(struct server *server);

// NULL without memory. The first pull goes out in the loop's first turn.
struct puller *puller_new(struct server *server) WEIR_MUST_CHECK;
void puller_free(struct puller *puller);
void puller_write_state(const struct puller *puller, struct json_writer *json);

#endif
