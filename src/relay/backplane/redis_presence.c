// SPDX-License-Identifier: Apache-2.0
// Presence in a Redis (spec section 9). A relay that reads channels says so by one more member,
// "bus":"channel", which others ignore.
//
// 1. Nothing of a workspace is announced, or looked up, before its channel is subscribed: whoever
//    learns of us, or answers us, can reach us. What waits for that is held, no longer than an
//    answer may take.
// 2. Writes of a cell go to one connection in the order they were asked for.
#include <hiredis/hiredis.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/number.h"
#include "obs/log.h"
#include "relay/backplane/redis_driver.h"
#include "sys/clock.h"

#define WORDS_MAX 5
#define REDIRECTS_MAX 3

// Deletes an entry, but only our own: another relay may have the daemon by now.
static const char withdraw_script[] =
    "local v=redis.call('GET',KEYS[1]) "
    "if not v then return 0 end "
    "local ok,t=pcall(cjson.decode,v) "
    "if ok and type(t)=='table' and t.relayId==ARGV[1] then return redis.call('DEL',KEYS[1]) end "
    "return 0";

enum { FIELD_RELAY, FIELD_URL, FIELD_CONNECTED, FIELD_UPDATED, FIELD_MACHINE, FIELD_BUS, FIELDS };
static const char *const field_names[FIELDS] = {
    "relayId", "relayWsBaseUrl", "daemonConnected", "updatedAtMs", "machineId", "bus"};

static struct redis_driver *driver_of(struct backplane_driver *driver)
{
    return container_of(driver, struct redis_driver, driver);
}

// ---- Ends

static double seconds_since(const struct redis_op *op)
{
    return (double)(worker_now(op->driver->shard->worker) - op->started_ns) / (double)NS_PER_S;
}

// Frees op.
static void end_op(struct redis_op *op, enum bus_end end, const struct presence *answer)
{
    struct shard *shard = op->driver->shard;
    list_remove(&op->node);
    if (op->kind == OP_RESOLVE) {
        presence_query_answer(op->query, end, answer);
    } else {
        backplane_written(shard, op->name, end, seconds_since(op));
    }
    redis_op_free(op);
}

static struct slice text_of(const struct json_value *value, char *out)
{
    return value->escaped ? slice_of(out, json_value_unescape(value, out)) : value->text;
}

static void take_entry(struct redis_op *op, struct slice text)
{
    struct redis_driver *driver = op->driver;
    struct json_value fields[FIELDS];
    double number;
    char *area = mem_alloc(text.len + 1); // for what is escaped
    if (area == NULL) {
        end_op(op, BUS_END_NO_MEMORY, NULL);
        return;
    }
    if (json_scan(text, driver->presence_keys, fields) != WEIR_OK ||
        !json_value_is_filled(&fields[FIELD_RELAY]) || !json_value_is_filled(&fields[FIELD_URL]) ||
        fields[FIELD_CONNECTED].kind != JSON_KIND_TRUE ||
        !json_value_is_int(&fields[FIELD_UPDATED], &number)) {
        // Not connected, or not an entry of any relay: nobody has it.
        mem_free(area);
        end_op(op, BUS_END_OK, NULL);
        return;
    }
    struct presence answer = {.machine = SLICE_EMPTY};
    char *at = area;
    answer.relay_id = text_of(&fields[FIELD_RELAY], at);
    at += fields[FIELD_RELAY].text.len;
    answer.url = text_of(&fields[FIELD_URL], at);
    at += fields[FIELD_URL].text.len;
    if (json_value_is_string(&fields[FIELD_MACHINE])) {
        answer.machine = text_of(&fields[FIELD_MACHINE], at);
    }
    bool channel = json_value_is_text(&fields[FIELD_BUS], SLICE("channel"));
    answer.route = channel ? ROUTE_CHANNEL : ROUTE_LIST;
    end_op(op, BUS_END_OK, &answer);
    mem_free(area);
}

// ---- Sending

struct command {
    struct slice words[WORDS_MAX];
    size_t count;
    char ttl[NUMBER_DIGITS_MAX];
};

static void write_command(const struct redis_op *op, struct command *command)
{
    const struct relay_config *config = op->driver->shard->relay->config;
    struct slice *words = command->words;
    size_t ttl_len = number_put_u64(config->redis_presence_ttl_ms, command->ttl);
    if (op->kind == OP_RESOLVE) {
        words[0] = SLICE("GET");
        words[1] = op->key;
        command->count = 2;
        return;
    }
    if (op->kind == OP_PUT) {
        words[0] = SLICE("SET");
        words[1] = op->key;
        words[2] = op->value;
        words[3] = SLICE("PX");
        words[4] = slice_of(command->ttl, ttl_len);
    } else {
        words[0] = SLICE("EVAL");
        words[1] = slice_str(withdraw_script);
        words[2] = SLICE("1");
        words[3] = op->key;
        words[4] = slice_str(config->relay_id);
    }
    command->count = 5;
}

static enum redis_fault send_op(struct redis_op *op)
{
    struct command command;
    write_command(op, &command);
    return redis_client_send(
        op->driver->client, op->key, redis_op_tag(op), command.words, command.count);
}

// True: it is asked elsewhere, where the reply points.
static bool follow(struct redis_op *op, const struct redisReply *reply)
{
    struct command command;
    if (reply == NULL || op->redirects == REDIRECTS_MAX) {
        return false;
    }
    op->redirects++;
    write_command(op, &command);
    return redis_client_follow(op->driver->client, reply, redis_op_tag(op), command.words,
               command.count) == REDIS_FAULT_NONE;
}

void redis_presence_done(struct redis_op *op, const struct redisReply *reply)
{
    if (follow(op, reply)) {
        return;
    }
    enum bus_end end = redis_end_of_reply(op->driver, reply);
    if (end == BUS_END_IN_DOUBT) {
        end = BUS_END_UNREACHABLE; // whether it was written does not matter: it will be again
    }
    if (end == BUS_END_OK && op->kind == OP_RESOLVE && reply->type == REDIS_REPLY_STRING) {
        take_entry(op, slice_of(reply->str, (size_t)reply->len));
    } else {
        end_op(op, end, NULL);
    }
}

static void start_op(struct redis_op *op)
{
    list_remove(&op->node);
    enum redis_fault fault = send_op(op);
    if (fault != REDIS_FAULT_NONE) {
        end_op(op, redis_end_of_refusal(fault), NULL);
    }
}

static bool is_reachable(struct redis_driver *driver, struct slice workspace)
{
    if (!driver->shard->relay->config->bus_enabled) {
        return true;
    }
    struct slice own = slice_str(driver->shard->relay->config->relay_id);
    struct slice channel = redis_channel_name(driver, workspace, own);
    return redis_client_is_subscribed(driver->client, channel);
}

static uint64_t hold_ns(const struct redis_driver *driver)
{
    return time_from_ms((uint64_t)driver->shard->relay->config->internal_api_timeout_ms);
}

static void arm_held(struct redis_driver *driver)
{
    if (list_empty(&driver->held)) {
        timer_cancel(&driver->held_timer);
        return;
    }
    const struct redis_op *first = container_of(driver->held.next, struct redis_op, node);
    worker_arm(driver->shard->worker, &driver->held_timer, first->started_ns + hold_ns(driver));
}

static void hold_or_start(struct redis_op *op)
{
    struct redis_driver *driver = op->driver;
    if (redis_client_is_up(driver->client) && is_reachable(driver, op->name.workspace)) {
        start_op(op);
    } else if (redis_client_fault(driver->client) > REDIS_FAULT_STARTING) {
        end_op(op, BUS_END_LINK_DOWN, NULL);
    } else {
        list_push_back(&driver->held, &op->node);
        arm_held(driver);
    }
}

void redis_presence_go_on(struct redis_driver *driver)
{
    struct list ready;
    list_init(&ready);
    for (struct list *at = driver->held.next, *next; at != &driver->held; at = next) {
        struct redis_op *op = container_of(at, struct redis_op, node);
        next = at->next;
        if (is_reachable(driver, op->name.workspace)) {
            list_remove(at);
            list_push_back(&ready, at);
        }
    }
    while (!list_empty(&ready)) {
        start_op(container_of(ready.next, struct redis_op, node));
    }
    arm_held(driver);
}

void redis_presence_give_up(struct redis_driver *driver, enum bus_end end)
{
    while (!list_empty(&driver->held)) {
        end_op(container_of(driver->held.next, struct redis_op, node), end, NULL);
    }
    timer_cancel(&driver->held_timer);
}

static void on_held(struct timer *timer)
{
    struct redis_driver *driver = container_of(timer, struct redis_driver, held_timer);
    uint64_t now = worker_now(driver->shard->worker);
    while (!list_empty(&driver->held)) {
        struct redis_op *op = container_of(driver->held.next, struct redis_op, node);
        if (op->started_ns + hold_ns(driver) > now) {
            break;
        }
        end_op(op, BUS_END_TIMEOUT, NULL);
    }
    arm_held(driver);
}

// ---- The seam

static void write_value(struct redis_driver *driver, const struct presence_record *record)
{
    const struct relay_config *config = driver->shard->relay->config;
    struct json_writer json;
    json_writer_init(&json, &driver->scratch);
    jsonw_object_begin(&json, NULL);
    jsonw_text(&json, "relayId", config->relay_id);
    jsonw_text(&json, "relayWsBaseUrl", config->public_ws_base_url);
    jsonw_bool(&json, "daemonConnected", true);
    if (record->name.target.len > 0) {
        jsonw_string(&json, "runtimeTargetId", record->name.target);
    }
    if (record->machine.len > 0) {
        jsonw_string(&json, "machineId", record->machine);
    }
    jsonw_u64(&json, "updatedAtMs", sys_wall_ms());
    if (config->bus_enabled) {
        jsonw_text(&json, "bus", "channel");
    }
    jsonw_object_end(&json);
}

// What is in scratch from key_len on is the value.
static struct redis_op *make_op(
    struct redis_driver *driver, enum redis_op_kind kind, struct cell_name name, size_t key_len)
{
    struct slice text = buf_slice(&driver->scratch);
    size_t names_len = name.workspace.len + name.target.len;
    struct redis_op *op =
        driver->scratch.failed ? NULL : redis_op_new(driver, kind, text.len + names_len);
    if (op == NULL) {
        return NULL;
    }
    memcpy(op->text, text.at, text.len);
    op->key = slice_of(op->text, key_len);
    op->value = slice_of(op->text + key_len, text.len - key_len);
    char *at = op->text + text.len;
    memcpy(at, name.workspace.at, name.workspace.len);
    op->name.workspace = slice_of(at, name.workspace.len);
    at += name.workspace.len;
    memcpy(at, name.target.at, name.target.len);
    op->name.target = slice_of(at, name.target.len);
    return op;
}

static size_t put_key(struct redis_driver *driver, struct cell_name name)
{
    buf_clear(&driver->scratch);
    buf_printf(&driver->scratch, "%s:presence:%.*s", driver->prefix, SLICE_ARG(name.workspace));
    if (name.target.len > 0) {
        buf_printf(&driver->scratch, ":%.*s", SLICE_ARG(name.target));
    }
    return driver->scratch.len;
}

// A write of the cell that waits is replaced by a later one.
static void drop_held_write(struct redis_driver *driver, struct slice key)
{
    for (struct list *at = driver->held.next; at != &driver->held; at = at->next) {
        struct redis_op *op = container_of(at, struct redis_op, node);
        if (op->kind != OP_RESOLVE && slice_eq(op->key, key)) {
            end_op(op, BUS_END_OK, NULL);
            return; // there is one at most
        }
    }
}

void redis_presence_put(struct backplane_driver *base, const struct presence_record *record)
{
    struct redis_driver *driver = driver_of(base);
    size_t key_len = put_key(driver, record->name);
    write_value(driver, record);
    struct redis_op *op = make_op(driver, OP_PUT, record->name, key_len);
    if (op == NULL) {
        backplane_written(driver->shard, record->name, BUS_END_NO_MEMORY, 0);
        return;
    }
    drop_held_write(driver, op->key);
    hold_or_start(op);
}

void redis_presence_withdraw(struct backplane_driver *base, const struct presence_record *record)
{
    struct redis_driver *driver = driver_of(base);
    size_t key_len = put_key(driver, record->name);
    struct redis_op *op = make_op(driver, OP_WITHDRAW, record->name, key_len);
    if (op == NULL) {
        backplane_written(driver->shard, record->name, BUS_END_NO_MEMORY, 0);
        return;
    }
    drop_held_write(driver, op->key);
    start_op(op);
}

void redis_presence_resolve(struct backplane_driver *base, struct presence_query *query)
{
    struct redis_driver *driver = driver_of(base);
    struct cell_name name = presence_query_name(query);
    size_t key_len = put_key(driver, name);
    struct redis_op *op = make_op(driver, OP_RESOLVE, name, key_len);
    if (op == NULL) {
        presence_query_answer(query, BUS_END_NO_MEMORY, NULL);
        return;
    }
    op->query = query;
    hold_or_start(op);
}

enum weir_result redis_presence_init(struct redis_driver *driver)
{
    list_init(&driver->held);
    timer_init(&driver->held_timer, on_held);
    driver->presence_keys = json_keys_new(field_names, FIELDS);
    return driver->presence_keys == NULL ? WEIR_MEMORY : WEIR_OK;
}
