// SPDX-License-Identifier: Apache-2.0
// Frames by pub/sub, between relays that both read channels (docs/adr/0012). What is published is a
// line and the message:
//
//   weir1 <flow> <seq> <settled> <lost> LF <message as in a list>
//
// A flow is what one worker sends to one relay for one workspace; <flow> is 16 random hexadecimal
// digits. <seq> counts its frames from 1; up to <settled> the sender knows what became of them, and
// <lost> of those reached nobody, which the sender has counted itself. A mark is a line without a
// message: it repeats the last <seq>, half a second after it.
//
// So the receiver can count what is missing, exactly, and nothing is counted on both sides:
//
//   missing = seq − heard − lost, as soon as all before seq are settled
//
// 1. Replies come in the order of the publishes, so `settled` is the seq of the last reply.
// 2. A frame whose answer never came is settled without being lost: if it did not arrive, the
//    receiver misses it.
// 3. A flow is forgotten only when nothing of it is under way.
#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/number.h"
#include "obs/log.h"
#include "relay/backplane/redis_driver.h"
#include "sys/entropy.h"

#define FLOWS_MAX 16384u
#define MARK_AFTER_NS (NS_PER_S / 2)
#define MARK_TRIES_MAX 20u
#define GAP_MAX 1000000 // more is nonsense that somebody else has published
#define LINE_SIZE 128

struct out_flow {
    struct map_node map_node;
    struct list order;
    struct list unmarked;
    char id[17];
    uint64_t seq;
    uint64_t settled;
    uint64_t lost;
    uint64_t last_ns;
    unsigned under_way; // ops that point here
    unsigned mark_tries;
    size_t channel_len;
    char channel[];
};

struct in_flow {
    struct map_node map_node;
    struct list order;
    uint64_t base_seq;
    uint64_t base_lost;
    uint64_t heard;
    uint64_t missing; // that was counted
    char id[16];
};

struct line {
    struct slice flow;
    uint64_t seq;
    uint64_t settled;
    uint64_t lost;
    bool is_mark;
};

// ---- Names

struct slice redis_channel_name(
    struct redis_driver *driver, struct slice workspace, struct slice relay)
{
    struct buf *out = &driver->scratch;
    buf_clear(out);
    buf_append_str(out, driver->prefix);
    buf_append_slice(out, SLICE(":bus:{"));
    buf_append_slice(out, workspace);
    buf_append_slice(out, SLICE("}:"));
    buf_append_slice(out, relay);
    return out->failed ? SLICE_EMPTY : buf_slice(out);
}

// ---- Flows out

static void forget_out(struct redis_driver *driver, struct out_flow *flow)
{
    map_remove(&driver->out_flows, &flow->map_node);
    list_remove(&flow->order);
    list_remove(&flow->unmarked);
    mem_free(flow);
}

// False: everything is under way.
static bool make_room(struct redis_driver *driver)
{
    if (driver->out_flows.count < FLOWS_MAX) {
        return true;
    }
    struct out_flow *oldest = container_of(driver->out_order.next, struct out_flow, order);
    if (oldest->under_way > 0) {
        return false;
    }
    forget_out(driver, oldest);
    return true;
}

static struct out_flow *make_out(struct redis_driver *driver, struct slice channel)
{
    uint64_t id;
    struct out_flow *flow = mem_zalloc(sizeof *flow + channel.len);
    if (flow == NULL || sys_entropy(&id, sizeof id) != WEIR_OK) {
        mem_free(flow);
        return NULL;
    }
    snprintf(flow->id, sizeof flow->id, "%016" PRIx64, id);
    list_init(&flow->order);
    list_init(&flow->unmarked);
    flow->channel_len = channel.len;
    memcpy(flow->channel, channel.at, channel.len);
    struct slice name = slice_of(flow->channel, channel.len);
    if (map_insert(&driver->out_flows, &flow->map_node, name) != WEIR_OK) {
        mem_free(flow);
        return NULL;
    }
    return flow;
}

static struct out_flow *find_or_make_out(
    struct redis_driver *driver, struct slice channel, enum bus_end *ret_end)
{
    struct map_node *found = map_find(&driver->out_flows, channel);
    struct out_flow *flow;
    if (found != NULL) {
        flow = container_of(found, struct out_flow, map_node);
    } else if (!make_room(driver)) {
        *ret_end = BUS_END_QUEUE_FULL;
        return NULL;
    } else if ((flow = make_out(driver, channel)) == NULL) {
        *ret_end = BUS_END_NO_MEMORY;
        return NULL;
    }
    list_remove(&flow->order);
    list_push_back(&driver->out_order, &flow->order);
    return flow;
}

// ---- Sending

static void append_number(struct buf *out, uint64_t number)
{
    char digits[NUMBER_DIGITS_MAX];
    buf_append_byte(out, ' ');
    buf_append(out, digits, number_put_u64(number, digits));
}

static enum redis_fault publish(
    struct redis_driver *driver, struct redis_op *op, uint64_t seq, struct slice text)
{
    struct out_flow *flow = op->flow;
    buf_clear(&driver->scratch);
    buf_append_slice(&driver->scratch, SLICE("weir1 "));
    buf_append_str(&driver->scratch, flow->id);
    append_number(&driver->scratch, seq);
    append_number(&driver->scratch, flow->settled);
    append_number(&driver->scratch, flow->lost);
    buf_append_byte(&driver->scratch, '\n');
    buf_append_slice(&driver->scratch, text);
    if (driver->scratch.failed) {
        return REDIS_FAULT_MEMORY;
    }
    return redis_client_publish(driver->client, slice_of(flow->channel, flow->channel_len),
        redis_op_tag(op), buf_slice(&driver->scratch));
}

static void want_mark(struct redis_driver *driver, struct out_flow *flow)
{
    list_remove(&flow->unmarked);
    list_push_back(&driver->unmarked, &flow->unmarked);
    flow->last_ns = worker_now(driver->shard->worker);
    if (!timer_armed(&driver->mark_timer)) {
        worker_arm_in(driver->shard->worker, &driver->mark_timer, MARK_AFTER_NS);
    }
}

void redis_channel_publish(struct redis_driver *driver, const struct bus_parcel *parcel)
{
    enum bus_end end = BUS_END_NO_MEMORY;
    const struct bus_message *message = parcel->message;
    struct slice channel = redis_channel_name(driver, message->workspace, message->target_relay);
    struct out_flow *flow = channel.len == 0 ? NULL : find_or_make_out(driver, channel, &end);
    struct redis_op *op = flow == NULL ? NULL : redis_op_new(driver, OP_PUBLISH, 0);
    if (op == NULL) {
        bus_ticket_end(parcel->ticket, end);
        return;
    }
    op->flow = flow;
    op->ticket = parcel->ticket;
    op->seq = flow->seq + 1;
    enum redis_fault fault = publish(driver, op, op->seq, parcel->text);
    if (fault != REDIS_FAULT_NONE) {
        redis_op_free(op);
        bus_ticket_end(parcel->ticket, redis_end_of_refusal(fault));
        return;
    }
    driver->published[ROUTE_CHANNEL]++;
    flow->seq++;
    flow->under_way++;
    flow->mark_tries = 0;
    want_mark(driver, flow);
}

static void send_mark(struct redis_driver *driver, struct out_flow *flow)
{
    struct redis_op *op = redis_op_new(driver, OP_MARK, 0);
    if (op == NULL) {
        want_mark(driver, flow);
        return;
    }
    op->flow = flow;
    if (publish(driver, op, flow->seq, SLICE_EMPTY) == REDIS_FAULT_NONE) {
        flow->under_way++;
        return;
    }
    redis_op_free(op);
    want_mark(driver, flow); // no end to it: the link comes back, or the flow is the oldest
}

static void on_mark(struct timer *timer)
{
    struct redis_driver *driver = container_of(timer, struct redis_driver, mark_timer);
    uint64_t now = worker_now(driver->shard->worker);
    struct list due;
    list_init(&due);
    while (!list_empty(&driver->unmarked)) {
        struct out_flow *flow = container_of(driver->unmarked.next, struct out_flow, unmarked);
        if (flow->last_ns + MARK_AFTER_NS > now) {
            worker_arm(driver->shard->worker, timer, flow->last_ns + MARK_AFTER_NS);
            break;
        }
        list_remove(&flow->unmarked);
        list_push_back(&due, &flow->unmarked);
    }
    while (!list_empty(&due)) {
        struct out_flow *flow = container_of(due.next, struct out_flow, unmarked);
        list_remove(&flow->unmarked);
        if (flow->settled == flow->seq) {
            send_mark(driver, flow);
        } else {
            want_mark(driver, flow);
        }
    }
}

static void mark_done(struct redis_op *op, bool heard)
{
    struct out_flow *flow = op->flow;
    if (!heard && !op->driver->closing && flow->settled == flow->seq &&
        ++flow->mark_tries < MARK_TRIES_MAX) {
        want_mark(op->driver, flow);
    }
}

void redis_channel_done(struct redis_op *op, const struct redisReply *reply)
{
    struct redis_driver *driver = op->driver;
    struct out_flow *flow = op->flow;
    enum bus_end end = redis_end_of_reply(driver, reply);
    bool heard = end == BUS_END_OK && reply->type == REDIS_REPLY_INTEGER && reply->integer > 0;
    flow->under_way--;
    if (op->kind == OP_MARK) {
        mark_done(op, heard);
        redis_op_free(op);
        return;
    }
    if (end == BUS_END_OK && !heard) {
        end = BUS_END_NO_RECEIVER;
    } else if (heard && reply->integer > 1) {
        redis_log_fault(driver, "relay_id",
            "two relays listen under one name; give each a RELAY_ID of its own (while one takes "
            "over "
            "from another this is as it should be)");
    }
    if (op->seq > flow->settled) {
        flow->settled = op->seq;
    }
    driver->in_doubt += end == BUS_END_IN_DOUBT;
    flow->lost += reply != NULL && end != BUS_END_OK;
    struct bus_ticket *ticket = op->ticket;
    redis_op_free(op);
    bus_ticket_end(ticket, end);
}

// ---- Receiving

static bool take_number(struct slice *rest, char separator, uint64_t *ret_number)
{
    struct slice word;
    return slice_split(rest, separator, &word) &&
           number_parse_u64(word, UINT64_MAX / 4, ret_number) == WEIR_OK;
}

// *rest becomes the message.
static bool read_line(struct slice *rest, struct line *ret_line)
{
    struct slice word;
    struct slice line;
    if (!slice_split(rest, '\n', &line) || rest->at == NULL || line.len >= LINE_SIZE ||
        !slice_split(&line, ' ', &word) || !slice_eq(word, SLICE("weir1")) ||
        !slice_split(&line, ' ', &ret_line->flow) || ret_line->flow.len != 16) {
        return false;
    }
    ret_line->is_mark = rest->len == 0;
    return take_number(&line, ' ', &ret_line->seq) && take_number(&line, ' ', &ret_line->settled) &&
           take_number(&line, ' ', &ret_line->lost) && line.at == NULL;
}

static struct in_flow *find_in(struct redis_driver *driver, const struct line *line)
{
    struct map_node *found = map_find(&driver->in_flows, line->flow);
    return found == NULL ? NULL : container_of(found, struct in_flow, map_node);
}

static void forget_in(struct redis_driver *driver, struct in_flow *flow)
{
    map_remove(&driver->in_flows, &flow->map_node);
    list_remove(&flow->order);
    mem_free(flow);
}

// What came before the first that is heard was for somebody else, or was counted by the sender.
static struct in_flow *make_in(struct redis_driver *driver, const struct line *line)
{
    if (driver->in_flows.count >= FLOWS_MAX) {
        forget_in(driver, container_of(driver->in_order.next, struct in_flow, order));
    }
    struct in_flow *flow = mem_zalloc(sizeof *flow);
    if (flow == NULL) {
        return NULL;
    }
    memcpy(flow->id, line->flow.at, sizeof flow->id);
    flow->base_seq = line->is_mark ? line->seq : line->seq - 1;
    flow->base_lost = line->lost;
    list_init(&flow->order);
    if (map_insert(&driver->in_flows, &flow->map_node, slice_of(flow->id, sizeof flow->id)) !=
        WEIR_OK) {
        mem_free(flow);
        return NULL;
    }
    return flow;
}

static void count_missing(struct redis_driver *driver, int64_t count)
{
    char problem[96];
    count = count < GAP_MAX ? count : GAP_MAX;
    driver->gaps += (uint64_t)count;
    for (int64_t i = 0; i < count; i++) {
        metrics_bus_failure(driver->shard->worker->metrics, BUS_CALL_PULL, BUS_END_GAP);
    }
    snprintf(problem, sizeof problem, "%" PRId64 " frames of other relays did not arrive", count);
    redis_log_fault(driver, "gap", problem);
}

static void note(struct redis_driver *driver, const struct line *line)
{
    struct in_flow *flow = find_in(driver, line);
    if (flow == NULL && (flow = make_in(driver, line)) == NULL) {
        return; // memory: this flow is not counted
    }
    list_remove(&flow->order);
    list_push_back(&driver->in_order, &flow->order);
    flow->heard += !line->is_mark;
    uint64_t before = line->is_mark ? line->seq : line->seq - 1;
    if (line->settled < before) {
        return; // a later one says it
    }
    int64_t missing = (int64_t)(line->seq - flow->base_seq) - (int64_t)flow->heard -
                      (int64_t)(line->lost - flow->base_lost);
    if (missing > (int64_t)flow->missing) {
        count_missing(driver, missing - (int64_t)flow->missing);
        flow->missing = (uint64_t)missing;
    }
}

void redis_channel_receive(struct redis_driver *driver, struct slice payload)
{
    struct line line;
    if (!read_line(&payload, &line) || (line.seq == 0)) {
        metrics_count(driver->shard->worker->metrics, METRIC_BUS_FRAMES_REJECTED);
        redis_log_fault(driver, "malformed", "a channel has a message that is no relay's");
        return;
    }
    note(driver, &line);
    if (!line.is_mark) {
        driver->received[ROUTE_CHANNEL]++;
        backplane_receive(driver->shard, payload, ROUTE_CHANNEL);
    }
}

// ---- Life

void redis_channel_init(struct redis_driver *driver)
{
    map_init(&driver->out_flows, &driver->shard->worker->seed);
    map_init(&driver->in_flows, &driver->shard->worker->seed);
    list_init(&driver->out_order);
    list_init(&driver->in_order);
    list_init(&driver->unmarked);
    timer_init(&driver->mark_timer, on_mark);
}

void redis_channel_stop(struct redis_driver *driver)
{
    timer_cancel(&driver->mark_timer);
}

void redis_channel_fini(struct redis_driver *driver)
{
    while (!list_empty(&driver->out_order)) {
        forget_out(driver, container_of(driver->out_order.next, struct out_flow, order));
    }
    while (!list_empty(&driver->in_order)) {
        forget_in(driver, container_of(driver->in_order.next, struct in_flow, order));
    }
    map_fini(&driver->out_flows);
    map_fini(&driver->in_flows);
}
