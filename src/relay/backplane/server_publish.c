// SPDX-License-Identifier: Apache-2.0
// One publisher for each relay that frames are on their way to: calls to one platform may overtake
// one another, so a publisher has one under way at a time. Publishers of different relays do not
// wait for one another. How frames travel together: ADR 0009.
//
//   queue ──► flying (one call: a frame, or a batch) ──► each one's ticket is ended
//
// Invariants
//   1. A publisher exists while it has something in its queue or flying.
//   2. Frames are in the queue, or flying, in the order they came; nothing is sent twice.
//   3. A queue holds BUS_QUEUE_COUNT_MAX frames and BUS_QUEUE_BYTES_MAX bytes at most, none of them
//      much longer than BUS_QUEUE_WAIT_NS.
#include "base/mem.h"
#include "relay/backplane/server.h"

#define BATCH_COUNT_MAX 64
#define BATCH_BYTES_MAX (1024u * 1024)
#define BODY_OVERHEAD 64

struct waiting {
    struct list node; // in a publisher's queue, or flying
    struct bus_ticket *ticket;
    uint64_t since_ns;
    size_t len;
    char text[];
};

struct publisher {
    struct map_node node;
    struct list order; // in server->publisher_order
    struct server *server;
    struct http_call *call;
    struct list queue;
    struct list flying;
    size_t count; // of the queue
    size_t bytes;
    bool batch; // what flies is one
    char id[];
};

// ---- Ending

static void end_waiting(struct waiting *waiting, enum bus_end end)
{
    struct bus_ticket *ticket = waiting->ticket;
    list_remove(&waiting->node);
    mem_free(waiting);
    bus_ticket_end(ticket, end);
}

static void end_all(struct list *list, enum bus_end end)
{
    while (!list_empty(list)) {
        end_waiting(container_of(list->next, struct waiting, node), end);
    }
}

static struct waiting *pop(struct publisher *publisher)
{
    struct list *node = list_pop_front(&publisher->queue);
    if (node == NULL) {
        return NULL;
    }
    struct waiting *waiting = container_of(node, struct waiting, node);
    publisher->count--;
    publisher->bytes -= waiting->len;
    return waiting;
}

static void publisher_free(struct publisher *publisher)
{
    map_remove(&publisher->server->publishers, &publisher->node);
    list_remove(&publisher->order);
    mem_free(publisher);
}

// ---- Sending

// Takes what goes into the next call from the queue. Returns the bytes of its texts.
static size_t gather(struct publisher *publisher)
{
    struct server *server = publisher->server;
    uint64_t now_ns = worker_now(server->shard->worker);
    size_t count_max = server->batch ? BATCH_COUNT_MAX : 1;
    size_t count = 0;
    size_t bytes = 0;
    while (count < count_max && !list_empty(&publisher->queue)) {
        struct waiting *next = container_of(publisher->queue.next, struct waiting, node);
        if (count > 0 && bytes + next->len > BATCH_BYTES_MAX) {
            break;
        }
        (void)pop(publisher);
        if (now_ns - next->since_ns > BUS_QUEUE_WAIT_NS) {
            end_waiting(next, BUS_END_EXPIRED);
            continue;
        }
        list_push_back(&publisher->flying, &next->node);
        bytes += next->len + 1;
        count++;
    }
    publisher->batch = count > 1;
    return bytes;
}

static void write_body(const struct publisher *publisher, struct buf *body)
{
    bool first = true;
    if (publisher->batch) {
        buf_append_str(body, "{\"frames\":[");
    }
    list_for_each (node, &publisher->flying) {
        const struct waiting *waiting = container_of(node, struct waiting, node);
        if (!first) {
            buf_append_byte(body, ',');
        }
        buf_append(body, waiting->text, waiting->len);
        first = false;
    }
    if (publisher->batch) {
        buf_append_str(body, "]}");
    }
}

static void on_published(void *arg, const struct http_call_result *answer);

// Sends what can be sent; the publisher goes when there is nothing.
static void pump(struct publisher *publisher)
{
    struct server *server = publisher->server;
    while (publisher->call == NULL && !list_empty(&publisher->queue)) {
        struct buf body;
        buf_init(&body, gather(publisher) + BODY_OVERHEAD);
        if (list_empty(&publisher->flying)) {
            continue;
        }
        write_body(publisher, &body);
        if (!body.failed) {
            publisher->call = server_start(server, SERVER_PUBLISH, buf_slice(&body), 0,
                server->shard->relay->config->internal_api_max_response_bytes, on_published,
                publisher);
        }
        buf_reset(&body);
        if (publisher->call == NULL) {
            end_all(&publisher->flying, BUS_END_NO_MEMORY);
        }
    }
    if (publisher->call == NULL) {
        publisher_free(publisher);
    }
}

// ---- Answers

static bool rejects_batches(const struct http_call_result *answer)
{
    return answer->status == 400 || answer->status == 404 || answer->status == 413 ||
           answer->status == 422;
}

// One boolean a frame, no more and no less; false ends nothing.
static bool results_fit(const struct publisher *publisher, const struct json_value *results)
{
    struct slice rest = results->text;
    struct slice element;
    list_for_each (node, &publisher->flying) {
        if (!json_array_next(&rest, &element) ||
            (!slice_eq(element, SLICE("true")) && !slice_eq(element, SLICE("false")))) {
            return false;
        }
    }
    return !json_array_next(&rest, &element);
}

static void end_batch(struct publisher *publisher, const struct json_value *results)
{
    struct slice rest = results->text;
    struct slice element;
    if (results->kind != JSON_KIND_ARRAY || !results_fit(publisher, results)) {
        end_all(&publisher->flying, BUS_END_BAD_ANSWER);
        return;
    }
    while (json_array_next(&rest, &element)) {
        bool stored = slice_eq(element, SLICE("true"));
        end_waiting(container_of(publisher->flying.next, struct waiting, node),
            stored ? BUS_END_OK : BUS_END_REFUSED);
    }
}

static void on_published(void *arg, const struct http_call_result *answer)
{
    struct publisher *publisher = arg;
    struct server *server = publisher->server;
    struct json_value values[SERVER_MEMBER_COUNT];
    enum bus_end end = server_judge(server, answer, values);
    publisher->call = NULL;
    if (end == BUS_END_OK) {
        server->batch = values[SERVER_BATCH].kind == JSON_KIND_TRUE;
    } else if (end == BUS_END_STATUS && publisher->batch && rejects_batches(answer)) {
        server->batch = false;
    }
    if (end == BUS_END_OK && publisher->batch) {
        end_batch(publisher, &values[SERVER_RESULTS]);
    } else {
        end_all(&publisher->flying, end);
    }
    pump(publisher);
}

// ---- Queueing

static struct publisher *publisher_of(struct server *server, struct slice relay_id)
{
    struct map_node *node = map_find(&server->publishers, relay_id);
    if (node != NULL) {
        return container_of(node, struct publisher, node);
    }
    struct publisher *publisher = mem_zalloc(sizeof *publisher + relay_id.len);
    if (publisher == NULL) {
        return NULL;
    }
    publisher->server = server;
    memcpy(publisher->id, relay_id.at, relay_id.len);
    list_init(&publisher->order);
    list_init(&publisher->queue);
    list_init(&publisher->flying);
    if (map_insert(&server->publishers, &publisher->node, slice_of(publisher->id, relay_id.len)) !=
        WEIR_OK) {
        mem_free(publisher);
        return NULL;
    }
    list_push_back(&server->publisher_order, &publisher->order);
    return publisher;
}

// BUS_END_OK: the frame is in the queue.
static enum bus_end enqueue(struct publisher *publisher, const struct bus_parcel *parcel)
{
    if (publisher->count >= BUS_QUEUE_COUNT_MAX ||
        publisher->bytes + parcel->text.len > BUS_QUEUE_BYTES_MAX) {
        return BUS_END_QUEUE_FULL;
    }
    struct waiting *waiting = mem_alloc(sizeof *waiting + parcel->text.len);
    if (waiting == NULL) {
        return BUS_END_NO_MEMORY;
    }
    waiting->ticket = parcel->ticket;
    waiting->since_ns = worker_now(publisher->server->shard->worker);
    waiting->len = parcel->text.len;
    memcpy(waiting->text, parcel->text.at, parcel->text.len);
    list_init(&waiting->node);
    list_push_back(&publisher->queue, &waiting->node);
    publisher->count++;
    publisher->bytes += waiting->len;
    return BUS_END_OK;
}

void server_publish(struct server *server, const struct bus_parcel *parcel)
{
    struct publisher *publisher = publisher_of(server, parcel->message->target_relay);
    enum bus_end end = publisher == NULL ? BUS_END_NO_MEMORY : enqueue(publisher, parcel);
    if (end != BUS_END_OK) {
        bus_ticket_end(parcel->ticket, end);
    }
    if (publisher != NULL) {
        pump(publisher);
    }
}

void server_publish_close(struct server *server)
{
    while (!list_empty(&server->publisher_order)) {
        struct publisher *publisher =
            container_of(server->publisher_order.next, struct publisher, order);
        http_call_cancel(publisher->call);
        end_all(&publisher->flying, BUS_END_CLOSING);
        end_all(&publisher->queue, BUS_END_CLOSING);
        publisher_free(publisher);
    }
    map_fini(&server->publishers);
}
