// SPDX-License-Identifier: Apache-2.0
#include <hiredis/hiredis.h>
#include <stdio.h>

#include "base/mem.h"
#include "obs/log.h"
#include "relay/backplane/redis_driver.h"
#include "sys/clock.h"

#define SCRATCH_SMALL (64 * 1024)
#define BLOCKING_SLACK_NS (5 * NS_PER_S)
#define PROBLEM_SIZE 512

// ---- What is under way

struct redis_op *redis_op_new(struct redis_driver *driver, enum redis_op_kind kind, size_t text_len)
{
    struct redis_op *op = mem_alloc(sizeof *op + text_len);
    if (op != NULL) {
        *op = (struct redis_op){
            .driver = driver, .kind = kind, .started_ns = worker_now(driver->shard->worker)};
        list_init(&op->node);
    }
    return op;
}

void redis_op_free(struct redis_op *op)
{
    mem_free(op);
}

enum bus_end redis_end_of_refusal(enum redis_fault fault)
{
    return fault == REDIS_FAULT_TOO_LARGE ? BUS_END_QUEUE_FULL
           : fault == REDIS_FAULT_MEMORY  ? BUS_END_NO_MEMORY
                                          : BUS_END_LINK_DOWN;
}

void redis_log_fault(struct redis_driver *driver, const char *reason, const char *problem)
{
    struct log_line line;
    log_begin(&line, LOG_RELAY_REDIS_ERROR);
    log_u64(&line, "worker", driver->shard->worker->index);
    log_text(&line, "reason", reason);
    log_text(&line, "problem", problem);
    log_end(&line);
}

enum bus_end redis_end_of_reply(struct redis_driver *driver, const struct redisReply *reply)
{
    char problem[PROBLEM_SIZE];
    if (reply == NULL) {
        return driver->closing ? BUS_END_CLOSING : BUS_END_IN_DOUBT;
    }
    enum redis_fault fault = redis_fault_of(reply);
    if (fault == REDIS_FAULT_NONE) {
        return BUS_END_OK;
    }
    snprintf(problem, sizeof problem, "%s (%.*s)", redis_fault_text(fault),
        reply->len > 200 ? 200 : (int)reply->len, reply->str);
    redis_log_fault(driver, redis_fault_label(fault), problem);
    return BUS_END_REFUSED;
}

static void on_replied(void *arg, uint64_t tag, const struct redisReply *reply)
{
    struct redis_driver *driver = arg;
    struct redis_op *op = (struct redis_op *)(uintptr_t)tag;
    if (op == NULL) {
        if (reply != NULL) {
            enum bus_end ignored = redis_end_of_reply(driver, reply); // logged
            (void)ignored;
        }
        return;
    }
    switch (op->kind) {
    case OP_PUT:
    case OP_WITHDRAW:
    case OP_RESOLVE:
        redis_presence_done(op, reply);
        break;
    case OP_PUBLISH:
    case OP_MARK:
        redis_channel_done(op, reply);
        break;
    case OP_PUSH:
        redis_list_pushed(op, reply);
        break;
    case OP_POP:
    case OP_POP_REST:
        redis_list_popped(op, reply);
        break;
    }
}

// ---- The link

static void on_up(void *arg)
{
    struct redis_driver *driver = arg;
    backplane_link(driver->shard, true, NULL);
    redis_presence_go_on(driver);
}

static void on_down(void *arg, enum redis_fault fault)
{
    struct redis_driver *driver = arg;
    char problem[PROBLEM_SIZE];
    redis_client_problem(driver->client, problem, sizeof problem);
    redis_log_fault(driver, redis_fault_label(fault), problem);
    backplane_link(driver->shard, false, redis_fault_text(fault));
    redis_presence_give_up(driver, BUS_END_LINK_DOWN);
}

static void on_message(void *arg, struct slice channel, struct slice payload)
{
    (void)channel; // all that are subscribed are ours, and the message says the workspace
    redis_channel_receive(arg, payload);
}

static void on_subscribed(void *arg, struct slice channel)
{
    struct redis_driver *driver = arg;
    (void)channel;
    if (redis_client_is_up(driver->client)) {
        redis_presence_go_on(driver);
    }
}

static void on_blocking_ready(void *arg)
{
    redis_list_read(arg);
}

// ---- The seam

static struct redis_driver *driver_of(struct backplane_driver *driver)
{
    return container_of(driver, struct redis_driver, driver);
}

static void driver_publish(struct backplane_driver *base, const struct bus_parcel *parcel)
{
    if (parcel->route == ROUTE_CHANNEL) {
        redis_channel_publish(driver_of(base), parcel);
    } else {
        redis_list_push(driver_of(base), parcel);
    }
}

static struct slice own_channel(struct redis_driver *driver, struct slice workspace)
{
    return redis_channel_name(driver, workspace, slice_str(driver->shard->relay->config->relay_id));
}

static void driver_watch(struct backplane_driver *base, struct slice workspace)
{
    struct redis_driver *driver = driver_of(base);
    if (driver->shard->relay->config->bus_enabled &&
        redis_client_subscribe(driver->client, own_channel(driver, workspace)) != WEIR_OK) {
        redis_log_fault(driver, "memory", "memory ran out: a workspace is not reachable");
    }
}

static void driver_unwatch(struct backplane_driver *base, struct slice workspace)
{
    struct redis_driver *driver = driver_of(base);
    redis_client_unsubscribe(driver->client, own_channel(driver, workspace));
}

static void driver_write_state(struct backplane_driver *base, struct json_writer *json)
{
    static const char *const kinds[] = {"redis", "sentinel", "cluster"};
    const struct redis_driver *driver = driver_of(base);
    char problem[PROBLEM_SIZE];
    redis_client_problem(driver->client, problem, sizeof problem);
    jsonw_text(json, "redis", kinds[driver->place.kind]);
    if (problem[0] != '\0') {
        jsonw_text(json, "redisProblem", problem);
    }
    jsonw_u64(json, "publishedToChannels", driver->published[ROUTE_CHANNEL]);
    jsonw_u64(json, "publishedToLists", driver->published[ROUTE_LIST]);
    jsonw_u64(json, "receivedFromChannels", driver->received[ROUTE_CHANNEL]);
    jsonw_u64(json, "receivedFromLists", driver->received[ROUTE_LIST]);
    jsonw_u64(json, "inDoubt", driver->in_doubt);
    jsonw_u64(json, "gaps", driver->gaps);
}

// ---- Life

static void driver_free(void *arg)
{
    struct redis_driver *driver = arg;
    redis_channel_fini(driver);
    json_keys_free(driver->presence_keys);
    buf_reset(&driver->scratch);
    mem_free(driver->prefix);
    mem_free(driver->queue_key);
    mem_free(driver);
}

static enum weir_result make_names(struct redis_driver *driver)
{
    const struct relay_config *config = driver->shard->relay->config;
    struct slice prefix = slice_str(config->redis_key_prefix);
    driver->prefix = mem_copy(prefix.at, prefix.len);
    buf_printf(&driver->scratch, "%s:queue:%s", config->redis_key_prefix, config->relay_id);
    struct slice key = buf_slice(&driver->scratch);
    driver->queue_key = driver->scratch.failed ? NULL : mem_copy(key.at, key.len);
    return driver->prefix == NULL || driver->queue_key == NULL ? WEIR_MEMORY : WEIR_OK;
}

static enum weir_result make_place(struct redis_driver *driver, char *problem, size_t size)
{
    const struct relay_config *config = driver->shard->relay->config;
    const char *url = relay_config_redis_url(config);
    enum weir_result result = redis_place_parse(slice_str(url), &driver->place, problem, size);
    driver->place.ca_path = config->redis_ca_cert_path;
    driver->place.server_name = config->redis_tls_server_name;
    driver->place.sentinel_user = config->redis_sentinel_user;
    driver->place.sentinel_password = config->redis_sentinel_password;
    return result;
}

static enum weir_result connect_client(struct redis_driver *driver)
{
    static const struct redis_client_hooks hooks = {
        .up = on_up,
        .down = on_down,
        .replied = on_replied,
        .message = on_message,
        .subscribed = on_subscribed,
        .blocking_ready = on_blocking_ready,
        .closed = driver_free,
    };
    const struct relay_config *config = driver->shard->relay->config;
    bool reads = config->bus_enabled && driver->shard->worker->index == 0;
    uint64_t pull_ns = time_from_ms((uint64_t)config->bus_pull_wait_ms);
    struct redis_client_hooks mine = hooks;
    mine.arg = driver;
    struct redis_client_options options = {
        .place = &driver->place,
        .prefix = slice_str(driver->prefix),
        .blocking_key = reads ? slice_str(driver->queue_key) : SLICE_EMPTY,
        .connect_ns = time_from_ms((uint64_t)config->redis_connect_timeout_ms),
        .answer_ns = time_from_ms((uint64_t)config->internal_api_timeout_ms),
        .blocking_ns = pull_ns + BLOCKING_SLACK_NS,
        .reply_max = 2 * BUS_QUEUE_BYTES_MAX + 6 * (size_t)config->max_frame_bytes,
        .out_max = BUS_QUEUE_BYTES_MAX + 6 * (size_t)config->max_frame_bytes,
        .pending_max = BUS_QUEUE_COUNT_MAX,
    };
    enum weir_result result = WEIR_OK;
    driver->client = redis_client_open(driver->shard->worker, &options, &mine, &result);
    return result;
}

static struct backplane_driver *driver_open(struct shard *shard, char *problem, size_t size)
{
    const struct relay_config *config = shard->relay->config;
    struct redis_driver *driver = mem_zalloc(sizeof *driver);
    if (driver == NULL) {
        snprintf(problem, size, "the Redis driver: out of memory");
        return NULL;
    }
    driver->driver.ops = &backplane_redis_ops;
    driver->shard = shard;
    driver->pop_many = driver->fresh_start = true;
    driver->opened_wall_ms = sys_wall_ms();
    buf_init(&driver->scratch, 6 * (size_t)config->max_frame_bytes + SCRATCH_SMALL);
    redis_channel_init(driver);
    snprintf(problem, size, "the Redis driver: out of memory");
    enum weir_result result = redis_presence_init(driver);
    if (result == WEIR_OK) {
        result = make_names(driver);
    }
    if (result == WEIR_OK) {
        result = make_place(driver, problem, size);
    }
    if (result == WEIR_OK) {
        snprintf(problem, size, "the Redis's CA file %s cannot be used, or there is no memory",
            driver->place.ca_path == NULL ? "(the system's)" : driver->place.ca_path);
        result = connect_client(driver);
    }
    if (result != WEIR_OK) {
        driver_free(driver);
        return NULL;
    }
    return &driver->driver;
}

static void driver_close(struct backplane_driver *base)
{
    struct redis_driver *driver = driver_of(base);
    driver->closing = true;
    if (driver->mail_away) {
        bus_mail_forget(driver->shard->relay->mail);
    }
    redis_presence_give_up(driver, BUS_END_CLOSING);
    redis_channel_stop(driver);
    redis_client_close(driver->client); // and then driver_free
}

const struct backplane_driver_ops backplane_redis_ops = {
    .name = "redis",
    .form = BUS_FORM_REDIS,
    .open = driver_open,
    .close = driver_close,
    .put = redis_presence_put,
    .withdraw = redis_presence_withdraw,
    .resolve = redis_presence_resolve,
    .publish = driver_publish,
    .watch = driver_watch,
    .unwatch = driver_unwatch,
    .write_state = driver_write_state,
};
