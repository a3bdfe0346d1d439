// SPDX-License-Identifier: Apache-2.0
// Frames by lists, as relays use that know nothing else (spec section 9). One worker reads this
// relay's list for all: BLPOP waits for the first message, LPOP takes the others that are there,
// the workers handle them, and BLPOP is asked again at once.
//
// What BLPOP or LPOP had taken when the connection broke is lost, and nobody can say how many those
// were: the protocol has no way to ask.
#include <hiredis/hiredis.h>

#include "base/number.h"
#include "obs/log.h"
#include "relay/backplane/redis_driver.h"
#include "relay/cell.h"

#define QUEUE_TTL_MS "60000" // of a list that nobody writes to; its frames are stale long before
#define ROUND_BYTES_MAX (UINT64_C(16) * 1024 * 1024)
#define TAG_SIDE 0 // of commands whose answers only matter when they are errors

// ---- Writing

void redis_list_push(struct redis_driver *driver, const struct bus_parcel *parcel)
{
    const struct relay_config *config = driver->shard->relay->config;
    char first[NUMBER_DIGITS_MAX + 1] = "-";
    size_t first_len = 1 + number_put_u64((uint64_t)config->redis_queue_max, first + 1);
    struct redis_op *op = redis_op_new(driver, OP_PUSH, 0);
    buf_clear(&driver->scratch);
    buf_printf(&driver->scratch, "%s:queue:%.*s", driver->prefix,
        SLICE_ARG(parcel->message->target_relay));
    if (op == NULL || driver->scratch.failed) {
        redis_op_free(op);
        bus_ticket_end(parcel->ticket, BUS_END_NO_MEMORY);
        return;
    }
    struct slice key = buf_slice(&driver->scratch);
    struct slice push[] = {SLICE("RPUSH"), key, parcel->text};
    struct slice trim[] = {SLICE("LTRIM"), key, slice_of(first, first_len), SLICE("-1")};
    struct slice expire[] = {SLICE("PEXPIRE"), key, SLICE(QUEUE_TTL_MS)};
    op->ticket = parcel->ticket;
    enum redis_fault fault = redis_client_send(driver->client, key, redis_op_tag(op), push, 3);
    if (fault != REDIS_FAULT_NONE) {
        redis_op_free(op);
        bus_ticket_end(parcel->ticket, redis_end_of_refusal(fault));
        return;
    }
    driver->published[ROUTE_LIST]++;
    // When there is no room for these, there is for the next frame's.
    if (redis_client_send(driver->client, key, TAG_SIDE, trim, 4) == REDIS_FAULT_NONE) {
        fault = redis_client_send(driver->client, key, TAG_SIDE, expire, 3);
        (void)fault;
    }
}

void redis_list_pushed(struct redis_op *op, const struct redisReply *reply)
{
    struct bus_ticket *ticket = op->ticket;
    enum bus_end end = redis_end_of_reply(op->driver, reply);
    op->driver->in_doubt += end == BUS_END_IN_DOUBT;
    redis_op_free(op);
    bus_ticket_end(ticket, end);
}

// ---- Reading

static void ask(
    struct redis_driver *driver, enum redis_op_kind kind, const struct slice *words, size_t count)
{
    struct redis_op *op = redis_op_new(driver, kind, 0);
    if (op == NULL || redis_client_send_blocking(driver->client, redis_op_tag(op), words, count) !=
                          REDIS_FAULT_NONE) {
        redis_op_free(op); // the connection has failed, and asks when it is back
    }
}

void redis_list_read(struct redis_driver *driver)
{
    uint64_t wait_s = ((uint64_t)driver->shard->relay->config->bus_pull_wait_ms + 999) / 1000;
    char digits[NUMBER_DIGITS_MAX];
    size_t len = number_put_u64(wait_s > 0 ? wait_s : 1, digits);
    struct slice words[] = {SLICE("BLPOP"), slice_str(driver->queue_key), slice_of(digits, len)};
    // A relay of our name may have started beside this one, which drains: the list is its then.
    if (!driver->mail_away && !driver->closing && !driver->shard->draining) {
        ask(driver, OP_POP, words, 3);
    }
}

static void on_handled(void *arg)
{
    struct redis_driver *driver = arg;
    driver->mail_away = false;
    redis_list_read(driver);
}

static void hand_out(struct redis_driver *driver)
{
    driver->mail_away = true;
    bus_mail_send(driver->shard->relay->mail, driver->shard, on_handled, driver);
}

// Left by a relay of our name that ran before: whoever waited for it does no longer.
static bool is_stale(struct redis_driver *driver, struct slice text)
{
    const struct relay_config *config = driver->shard->relay->config;
    struct bus_reader reader = {slice_str(config->relay_id), (size_t)config->max_frame_bytes};
    struct bus_message message;
    if (!driver->fresh_start) {
        return false;
    }
    enum bus_verdict verdict =
        bus_message_read(text, BUS_FORM_REDIS, &reader, 0, &driver->scratch, &message);
    return verdict == BUS_FOR_US && message.issued &&
           message.issued_at_ms + (uint64_t)config->bus_signature_max_skew_ms <
               driver->opened_wall_ms;
}

static void take(struct redis_driver *driver, const redisReply *reply)
{
    struct metrics_shard *metrics = driver->shard->worker->metrics;
    if (reply->type != REDIS_REPLY_STRING) {
        return;
    }
    struct slice text = slice_of(reply->str, (size_t)reply->len);
    driver->received[ROUTE_LIST]++;
    if (is_stale(driver, text)) {
        metrics_bus_failure(metrics, BUS_CALL_PULL, BUS_END_LEFT_BEHIND);
        return;
    }
    char scratch[6 * CELL_ID_LEN_MAX];
    struct bus_envelope envelope = bus_message_peek(text, scratch, sizeof scratch);
    bool ok = bus_mail_add(driver->shard->relay->mail, driver->shard, text, &envelope, ROUTE_LIST);
    (void)ok; // counted there
}

// How many more a round takes: what they may hold together is bounded.
static uint64_t rest_max(const struct relay_config *config)
{
    uint64_t fits = ROUND_BYTES_MAX / (uint64_t)config->max_frame_bytes;
    uint64_t limit = (uint64_t)config->bus_pull_limit - 1;
    return fits < limit ? fits : limit;
}

static void take_first(struct redis_driver *driver, const redisReply *reply)
{
    uint64_t limit = rest_max(driver->shard->relay->config);
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2) {
        driver->fresh_start = false;
        redis_list_read(driver); // nothing came in time
        return;
    }
    take(driver, reply->element[1]);
    if (!driver->pop_many || limit == 0) {
        hand_out(driver);
        return;
    }
    char digits[NUMBER_DIGITS_MAX];
    size_t len = number_put_u64(limit, digits);
    struct slice words[] = {SLICE("LPOP"), slice_str(driver->queue_key), slice_of(digits, len)};
    ask(driver, OP_POP_REST, words, 3);
}

void redis_list_popped(struct redis_op *op, const struct redisReply *reply)
{
    struct redis_driver *driver = op->driver;
    enum redis_op_kind kind = op->kind;
    enum bus_end end = redis_end_of_reply(driver, reply);
    redis_op_free(op);
    if (driver->closing) {
        return;
    }
    backplane_pulled(driver->shard, end == BUS_END_IN_DOUBT ? BUS_END_UNREACHABLE : end);
    if (end == BUS_END_OK && kind == OP_POP) {
        take_first(driver, reply);
        return;
    }
    if (kind == OP_POP_REST) {
        // Before Redis 6.2 it takes no count; the connection comes back, and asks for one at a
        // time.
        driver->pop_many = driver->pop_many && !(reply != NULL && end != BUS_END_OK);
        for (size_t i = 0; end == BUS_END_OK && i < reply->elements; i++) {
            take(driver, reply->element[i]);
        }
        hand_out(driver); // the first one is there in any case
    }
}
