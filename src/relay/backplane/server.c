// SPDX-License-Identifier: Apache-2.0
#include "relay/backplane/server.h"

#include <stdio.h>

#include "base/mem.h"
#include "base/utf8.h"

#define BODY_BYTES_MAX 8192

static const char *const paths[SERVER_CALL_COUNT] = {
    [SERVER_UPSERT] = "presence/upsert",
    [SERVER_RESOLVE] = "presence/resolve",
    [SERVER_PUBLISH] = "bus/publish",
    [SERVER_PULL] = "bus/pull",
};

static const char *const members[SERVER_MEMBER_COUNT] = {
    [SERVER_OK] = "ok",
    [SERVER_BATCH] = "batch",
    [SERVER_RESULTS] = "results",
    [SERVER_FRAMES] = "frames",
    [SERVER_RELAY_ID] = "relayId",
    [SERVER_RELAY_URL] = "relayWsBaseUrl",
    [SERVER_MACHINE] = "machineId",
    [SERVER_CONNECTED] = "daemonConnected",
    [SERVER_STALE] = "stale",
};

static struct server *server_of(struct backplane_driver *driver)
{
    return container_of(driver, struct server, driver);
}

// ---- Calls

struct http_call *server_start(struct server *server, enum server_call call, struct slice body,
    uint64_t more_ns, size_t response_max, http_call_fn *done, void *arg)
{
    const struct relay *relay = server->shard->relay;
    const char *headers[] = {"content-type: application/json", relay->internal_key_header, NULL};
    return http_call_start(server->shard->worker,
        &(struct http_call_options){
            .method = "POST",
            .url = server->urls[call],
            .headers = headers,
            .body = body,
            .tls = &relay->platform_tls,
            .timeout_ns = time_from_ms(relay->config->internal_api_timeout_ms) + more_ns,
            .response_max = response_max,
        },
        done, arg);
}

static enum bus_end judge_transport(const struct http_call_result *answer)
{
    switch (answer->outcome) {
    case HTTP_CALL_TIMEOUT:
        return BUS_END_TIMEOUT;
    case HTTP_CALL_TOO_LARGE:
        return BUS_END_ANSWER_TOO_LARGE;
    case HTTP_CALL_FAILED:
        if (answer->failure == WEIR_MEMORY) {
            return BUS_END_NO_MEMORY;
        }
        return answer->failure == WEIR_CRYPTO ? BUS_END_TLS : BUS_END_UNREACHABLE;
    case HTTP_CALL_ANSWERED:
        break;
    }
    return answer->status / 100 == 2 ? BUS_END_OK : BUS_END_STATUS;
}

enum bus_end server_judge(const struct server *server, const struct http_call_result *answer,
    struct json_value values[SERVER_MEMBER_COUNT])
{
    enum bus_end end = judge_transport(answer);
    if (end != BUS_END_OK) {
        return end;
    }
    if (json_scan(answer->body, server->keys, values) != WEIR_OK) {
        return BUS_END_BAD_ANSWER;
    }
    switch (values[SERVER_OK].kind) {
    case JSON_KIND_TRUE:
        return BUS_END_OK;
    case JSON_KIND_FALSE:
        return BUS_END_REFUSED;
    case JSON_KIND_ABSENT:
    case JSON_KIND_NULL:
    case JSON_KIND_NUMBER:
    case JSON_KIND_STRING:
    case JSON_KIND_ARRAY:
    case JSON_KIND_OBJECT:
        break;
    }
    return BUS_END_BAD_ANSWER;
}

// ---- Looking up

struct resolution {
    struct list node; // in server->resolutions
    struct server *server;
    struct presence_query *query;
    struct http_call *call;
};

static void end_resolution(
    struct resolution *resolution, enum bus_end end, const struct presence *answer)
{
    struct presence_query *query = resolution->query;
    list_remove(&resolution->node);
    mem_free(resolution);
    presence_query_answer(query, end, answer);
}

static bool take_text(const struct json_value *value, struct buf *texts, struct slice *ret_text)
{
    char *at = json_value_is_string(value) ? buf_reserve(texts, value->text.len + 1) : NULL;
    if (at == NULL) {
        return false;
    }
    size_t len = value->text.len;
    if (value->escaped) {
        len = json_value_unescape(value, at);
    } else {
        memcpy(at, value->text.at, len);
    }
    buf_commit(texts, len);
    *ret_text = slice_of(at, len);
    return utf8_valid(*ret_text);
}

// BUS_END_OK with an empty relay id: nobody has it.
static enum bus_end read_presence(const struct json_value values[SERVER_MEMBER_COUNT],
    size_t body_len, struct buf *texts, struct presence *ret_presence)
{
    *ret_presence = (struct presence){0};
    if (values[SERVER_CONNECTED].kind != JSON_KIND_TRUE ||
        values[SERVER_STALE].kind == JSON_KIND_TRUE) {
        return BUS_END_OK;
    }
    // What was read must not move when more is: room for all at once.
    if (buf_reserve(texts, body_len + 3) == NULL) {
        return BUS_END_NO_MEMORY;
    }
    if (!take_text(&values[SERVER_RELAY_ID], texts, &ret_presence->relay_id) ||
        !take_text(&values[SERVER_RELAY_URL], texts, &ret_presence->url)) {
        return BUS_END_BAD_ANSWER;
    }
    if (!take_text(&values[SERVER_MACHINE], texts, &ret_presence->machine)) {
        ret_presence->machine = SLICE_EMPTY;
    }
    return BUS_END_OK;
}

static void on_resolved(void *arg, const struct http_call_result *answer)
{
    struct resolution *resolution = arg;
    struct json_value values[SERVER_MEMBER_COUNT];
    struct presence presence = {0};
    struct buf texts;
    buf_init(&texts, answer->body.len + 8);
    enum bus_end end = server_judge(resolution->server, answer, values);
    if (end == BUS_END_OK) {
        end = read_presence(values, answer->body.len, &texts, &presence);
    }
    bool somebody = end == BUS_END_OK && presence.relay_id.len > 0 && presence.url.len > 0;
    end_resolution(resolution, end, somebody ? &presence : NULL);
    buf_reset(&texts);
}

static void resolve(struct backplane_driver *driver, struct presence_query *query)
{
    struct server *server = server_of(driver);
    struct cell_name name = presence_query_name(query);
    struct resolution *resolution = mem_zalloc(sizeof *resolution);
    if (resolution == NULL) {
        presence_query_answer(query, BUS_END_NO_MEMORY, NULL);
        return;
    }
    list_init(&resolution->node);
    list_push_back(&server->resolutions, &resolution->node);
    resolution->server = server;
    resolution->query = query;
    struct buf body;
    struct json_writer json;
    buf_init(&body, BODY_BYTES_MAX);
    json_writer_init(&json, &body);
    jsonw_object_begin(&json, NULL);
    jsonw_string(&json, "workspaceId", name.workspace);
    if (name.target.len > 0) {
        jsonw_string(&json, "runtimeTargetId", name.target);
    }
    jsonw_object_end(&json);
    if (!body.failed) {
        resolution->call = server_start(server, SERVER_RESOLVE, buf_slice(&body), 0,
            server->shard->relay->config->internal_api_max_response_bytes, on_resolved, resolution);
    }
    buf_reset(&body);
    if (resolution->call == NULL) {
        end_resolution(resolution, BUS_END_NO_MEMORY, NULL);
    }
}

// ---- Life

static void close_server(struct backplane_driver *driver)
{
    struct server *server = server_of(driver);
    server->closing = true;
    puller_free(server->puller);
    while (!list_empty(&server->resolutions)) {
        struct resolution *resolution =
            container_of(server->resolutions.next, struct resolution, node);
        http_call_cancel(resolution->call);
        end_resolution(resolution, BUS_END_CLOSING, NULL);
    }
    server_publish_close(server);
    server_presence_close(server);
    for (size_t i = 0; i < SERVER_CALL_COUNT; i++) {
        mem_free(server->urls[i]);
    }
    json_keys_free(server->keys);
    mem_free(server);
}

static bool make_urls(struct server *server)
{
    const char *origin = server->shard->relay->config->platform_origin;
    size_t size = strlen(origin) + 64;
    for (size_t i = 0; i < SERVER_CALL_COUNT; i++) {
        server->urls[i] = mem_alloc(size);
        if (server->urls[i] == NULL) {
            return false;
        }
        snprintf(server->urls[i], size, "%s/api/runtime/internal/relay/%s", origin, paths[i]);
    }
    return true;
}

static struct backplane_driver *open_server(struct shard *shard, char *problem, size_t size)
{
    struct server *server = mem_zalloc(sizeof *server);
    snprintf(problem, size, "the backplane: out of memory");
    if (server == NULL) {
        return NULL;
    }
    server->driver.ops = &backplane_server_ops;
    server->shard = shard;
    list_init(&server->resolutions);
    list_init(&server->records_waiting);
    list_init(&server->publisher_order);
    map_init(&server->records, &shard->worker->seed);
    map_init(&server->publishers, &shard->worker->seed);
    server->keys = json_keys_new(members, SERVER_MEMBER_COUNT);
    bool pulls = shard->worker->index == 0 && shard->relay->config->bus_enabled;
    server->puller = pulls ? puller_new(server) : NULL;
    if (server->keys == NULL || !make_urls(server) || (pulls && server->puller == NULL)) {
        close_server(&server->driver);
        return NULL;
    }
    return &server->driver;
}

static void put(struct backplane_driver *driver, const struct presence_record *record)
{
    server_put(server_of(driver), record, true);
}

static void withdraw(struct backplane_driver *driver, const struct presence_record *record)
{
    server_put(server_of(driver), record, false);
}

static void publish(struct backplane_driver *driver, const struct bus_parcel *parcel)
{
    server_publish(server_of(driver), parcel);
}

static void write_state(struct backplane_driver *driver, struct json_writer *json)
{
    const struct server *server = server_of(driver);
    jsonw_bool(json, "batch", server->batch);
    if (server->puller != NULL) {
        puller_write_state(server->puller, json);
    }
}

const struct backplane_driver_ops backplane_server_ops = {
    .name = "server",
    .form = BUS_FORM_PLATFORM,
    .open = open_server,
    .close = close_server,
    .put = put,
    .withdraw = withdraw,
    .resolve = resolve,
    .publish = publish,
    .write_state = write_state,
};
