// SPDX-License-Identifier: Apache-2.0
// Writing presence. Calls in parallel may overtake one another, so a cell has one under way at a
// time; what is asked for meanwhile replaces what waits, for only the last word counts.
//
//   (none) ── put ──► WAITING ── its turn ──► FLYING ── answer ──► (none)
//                        ▲                      │ put: something waits behind it
//                        └────── answer ◄───────┘
//
// Invariants
//   1. Every server_put is answered by one backplane_written.
//   2. A record is in records_waiting exactly while it has something to write and is not flying.
#include "base/mem.h"
#include "relay/backplane/server.h"
#include "relay/cell.h"

#define FLYING_MAX 8 // calls at a time: a platform with many relays has enough of them
#define RECORDS_MAX 20000
#define WAIT_MAX_NS (10 * NS_PER_S)
#define BODY_BYTES_MAX 16384
#define MACHINE_LEN_MAX 1024 // a claim is shorter

struct record {
    struct map_node node;
    struct list waiting; // in server->records_waiting
    struct server *server;
    struct http_call *call;
    uint64_t flying_since_ns;
    uint64_t since_ns; // of what waits
    bool due;          // something is to be written
    bool connected;    // what
    size_t machine_len;
    size_t workspace_len;
    size_t key_len;
    char machine[MACHINE_LEN_MAX];
    char key[]; // workspace, NUL, target
};

static struct cell_name name_of(const struct record *record)
{
    return (struct cell_name){slice_of(record->key, record->workspace_len),
        slice_skip(slice_of(record->key, record->key_len), record->workspace_len + 1)};
}

static void record_free(struct record *record)
{
    map_remove(&record->server->records, &record->node);
    list_remove(&record->waiting);
    mem_free(record);
}

static void report(const struct record *record, enum bus_end end, uint64_t since_ns)
{
    struct shard *shard = record->server->shard;
    uint64_t took_ns = worker_now(shard->worker) - since_ns;
    backplane_written(shard, name_of(record), end, (double)took_ns / (double)NS_PER_S);
}

static void write_body(const struct record *record, struct buf *body)
{
    const struct relay_config *config = record->server->shard->relay->config;
    struct cell_name name = name_of(record);
    struct json_writer json;
    json_writer_init(&json, body);
    jsonw_object_begin(&json, NULL);
    jsonw_string(&json, "workspaceId", name.workspace);
    if (name.target.len > 0) {
        jsonw_string(&json, "runtimeTargetId", name.target);
    }
    if (record->machine_len > 0) {
        jsonw_string(&json, "machineId", slice_of(record->machine, record->machine_len));
    }
    jsonw_text(&json, "relayId", config->relay_id);
    jsonw_text(&json, "relayWsBaseUrl", config->public_ws_base_url);
    jsonw_bool(&json, "daemonConnected", record->connected);
    jsonw_object_end(&json);
}

static void start_waiting(struct server *server);

// The record flies no more: what waits gets in line, or the record goes.
static void land(struct record *record)
{
    struct server *server = record->server;
    server->writes_flying--;
    if (record->due) {
        list_push_back(&server->records_waiting, &record->waiting);
    } else {
        record_free(record);
    }
}

static void on_written(void *arg, const struct http_call_result *answer)
{
    struct record *record = arg;
    struct server *server = record->server;
    struct json_value values[SERVER_MEMBER_COUNT];
    record->call = NULL;
    report(record, server_judge(server, answer, values), record->flying_since_ns);
    land(record);
    start_waiting(server);
}

static void fly(struct record *record)
{
    struct server *server = record->server;
    struct buf body;
    buf_init(&body, BODY_BYTES_MAX);
    write_body(record, &body);
    record->due = false;
    record->flying_since_ns = record->since_ns;
    server->writes_flying++;
    if (!body.failed) {
        record->call = server_start(server, SERVER_UPSERT, buf_slice(&body), 0,
            server->shard->relay->config->internal_api_max_response_bytes, on_written, record);
    }
    buf_reset(&body);
    if (record->call == NULL) {
        report(record, BUS_END_NO_MEMORY, record->since_ns);
        land(record);
    }
}

static void start_waiting(struct server *server)
{
    uint64_t now_ns = worker_now(server->shard->worker);
    while (server->writes_flying < FLYING_MAX && !list_empty(&server->records_waiting)) {
        struct record *record = container_of(server->records_waiting.next, struct record, waiting);
        list_remove(&record->waiting);
        if (now_ns - record->since_ns < WAIT_MAX_NS) {
            fly(record);
        } else {
            report(record, BUS_END_EXPIRED, record->since_ns);
            record_free(record);
        }
    }
}

static struct record *record_new(struct server *server, const struct presence_record *from)
{
    size_t len = from->name.workspace.len + 1 + from->name.target.len;
    if (server->records.count >= RECORDS_MAX) {
        return NULL;
    }
    struct record *record = mem_zalloc(sizeof *record + len);
    if (record == NULL) {
        return NULL;
    }
    record->server = server;
    record->workspace_len = from->name.workspace.len;
    record->key_len = len;
    memcpy(record->key, from->name.workspace.at, from->name.workspace.len);
    memcpy(record->key + from->name.workspace.len + 1, from->name.target.at, from->name.target.len);
    list_init(&record->waiting);
    return record;
}

// The cell's record, found or made; NULL when there are too many, or memory ran out.
static struct record *record_of(struct server *server, const struct presence_record *from)
{
    struct record *fresh = record_new(server, from);
    if (fresh == NULL) {
        return NULL;
    }
    struct slice key = slice_of(fresh->key, fresh->key_len);
    struct map_node *node = map_find(&server->records, key);
    if (node != NULL) {
        mem_free(fresh);
        return container_of(node, struct record, node);
    }
    if (map_insert(&server->records, &fresh->node, key) != WEIR_OK) {
        mem_free(fresh);
        return NULL;
    }
    return fresh;
}

void server_put(struct server *server, const struct presence_record *from, bool connected)
{
    struct record *record = record_of(server, from);
    if (record == NULL) {
        bool full = server->records.count >= RECORDS_MAX;
        backplane_written(
            server->shard, from->name, full ? BUS_END_QUEUE_FULL : BUS_END_NO_MEMORY, 0);
        return;
    }
    if (record->due) {
        report(record, BUS_END_OK, record->since_ns); // the last word counts
    }
    record->due = true;
    record->connected = connected;
    record->since_ns = worker_now(server->shard->worker);
    record->machine_len = from->machine.len <= MACHINE_LEN_MAX ? from->machine.len : 0;
    memcpy(record->machine, from->machine.at, record->machine_len);
    if (record->call == NULL && !list_linked(&record->waiting)) {
        list_push_back(&server->records_waiting, &record->waiting);
    }
    start_waiting(server);
}

void server_presence_close(struct server *server)
{
    for (struct map_node *node = map_next(&server->records, NULL); node != NULL;
         node = map_next(&server->records, NULL)) {
        struct record *record = container_of(node, struct record, node);
        http_call_cancel(record->call);
        if (record->call != NULL) {
            report(record, BUS_END_CLOSING, record->flying_since_ns);
        }
        if (record->due) {
            report(record, BUS_END_CLOSING, record->since_ns);
        }
        record_free(record);
    }
    map_fini(&server->records);
}
