// SPDX-License-Identifier: Apache-2.0
// Publishing: what comes while a transaction is under way waits for the next one, which takes all
// of it: the more there is to do, the fewer commits a frame costs.
//
//   bus_publish ──► pending ──► publishing ──► stored: answered
//
// Pulling: the store is asked at once; without a frame the pull waits until it is told of one, or
// its time is over, and then looks again.
//
// 1. Frames of one process are stored in the order in which they came.
// 2. A pull is on the list of pulls before the store is asked, and what it is told meanwhile makes
// it
//    ask again: a frame that is stored between the answer and the waiting is not missed.
// 3. A pull that has not been told of anything looks once more at the end: what a store may fail to
//    tell costs a delay, and no frame.
#include "platform/errand.h"

#include "base/mem.h"
#include "base/time.h"
#include "proto/json_write.h"
#include "sys/clock.h"

#define TRANSACTION_FRAMES_MAX 512
#define TRANSACTION_BYTES_MAX (4u * 1024 * 1024)
#define ROWS_BYTES_MAX (64u * 1024 * 1024)
// What relays accept of an answer (RELAY_INTERNAL_API_MAX_RESPONSE_BYTES is 262144), less what is
// around the payloads; a frame alone may be longer.
#define PULL_PAYLOAD_BYTES_MAX 131072
#define PULL_ANSWER_BYTES_MAX 245760
#define PULL_BODY_BYTES_MAX (64u * 1024 * 1024)
#define RESULTS_BYTES_MAX 8192

static void publish_next(struct platform_service *service);

// ---- Publishing

static void answer_published(struct errand *errand)
{
    struct buf body = BUF_INIT(RESULTS_BYTES_MAX);
    struct json_writer writer;
    json_writer_init(&writer, &body);
    jsonw_object_begin(&writer, NULL);
    jsonw_bool(&writer, "ok", true);
    jsonw_bool(&writer, "batch", true); // we take batches
    if (errand->ask.batch) {
        jsonw_array_begin(&writer, "results");
        for (size_t i = 0; i < errand->ask.frame_count; i++) {
            jsonw_bool(&writer, NULL, errand->ask.frames[i].valid);
        }
        jsonw_array_end(&writer);
    }
    jsonw_object_end(&writer);
    if (body.failed) {
        errand_refuse(errand, 500, "INTERNAL_ERROR");
    } else {
        errand_answer(errand, 200, buf_slice(&body));
    }
    buf_reset(&body);
}

// Of a store that does not do it.
static void tell_pulls(struct platform_service *service, const struct platform_ask *ask)
{
    struct slice told = SLICE_EMPTY;
    for (size_t i = 0; i < ask->frame_count; i++) {
        struct slice target = ask->frames[i].target_relay_id;
        if (ask->frames[i].valid && (i == 0 || !slice_eq(target, told))) {
            bus_told(service, target);
            told = target;
        }
    }
}

static void on_published(struct store_call *call)
{
    struct platform_service *service = call->arg;
    struct list done;
    service->publish_call = NULL;
    list_take_all(&service->publishing, &done);
    service_add(service, PLATFORM_PUBLISH_TRANSACTIONS, 1);
    for (struct list *node = list_pop_front(&done); node != NULL; node = list_pop_front(&done)) {
        struct errand *errand = container_of(node, struct errand, queue);
        if (call->result != WEIR_OK) {
            errand_fail(errand, call->result);
            continue;
        }
        service_add(service, PLATFORM_FRAMES_PUBLISHED, (int64_t)errand->ask.valid_count);
        if (!service->store->ops->tells) {
            tell_pulls(service, &errand->ask);
        }
        answer_published(errand);
    }
    publish_next(service);
}

static void write_frames(const struct platform_ask *ask, struct buf *rows)
{
    for (size_t i = 0; i < ask->frame_count; i++) {
        if (ask->frames[i].valid) {
            if (rows->len > 1) {
                buf_append_byte(rows, ',');
            }
            frame_ask_write(&ask->frames[i], rows);
        }
    }
}

// Moves what fits into one transaction; at least one errand.
static void gather(struct platform_service *service, struct buf *rows)
{
    size_t count = 0;
    buf_append_byte(rows, '[');
    while (!list_empty(&service->pending) && count < TRANSACTION_FRAMES_MAX &&
           rows->len < TRANSACTION_BYTES_MAX) {
        struct list *node = list_pop_front(&service->pending);
        struct errand *errand = container_of(node, struct errand, queue);
        list_push_back(&service->publishing, node);
        write_frames(&errand->ask, rows);
        count += errand->ask.valid_count;
    }
    buf_append_byte(rows, ']');
}

static void publish_next(struct platform_service *service)
{
    struct buf rows = BUF_INIT(ROWS_BYTES_MAX);
    if (service->publish_call != NULL || list_empty(&service->pending)) {
        return;
    }
    gather(service, &rows);
    struct store_call *call = store_call_new(STORE_BUS_PUBLISH, on_published, service);
    if (call == NULL || rows.failed) {
        struct list failed;
        list_take_all(&service->publishing, &failed);
        for (struct list *node = list_pop_front(&failed); node != NULL;
             node = list_pop_front(&failed)) {
            errand_fail(container_of(node, struct errand, queue), WEIR_MEMORY);
        }
        if (call != NULL) {
            store_call_free(call);
        }
    } else {
        store_call_text(call, buf_slice(&rows));
        store_call_number(call, (int64_t)sys_wall_ms());
        service->publish_call = call;
        platform_store_run(service->store, call);
    }
    buf_reset(&rows);
}

void bus_publish(struct errand *errand)
{
    struct platform_service *service = errand->service;
    const struct platform_ask *ask = &errand->ask;
    service_add(service, PLATFORM_FRAMES_REFUSED, (int64_t)(ask->frame_count - ask->valid_count));
    if (ask->valid_count == 0) {
        answer_published(errand);
        return;
    }
    list_push_back(&service->pending, &errand->queue);
    publish_next(service);
}

// ---- Pulling

static void write_text_or_null(struct json_writer *writer, const char *key,
    const struct store_call *call, size_t row, unsigned column)
{
    struct slice text = store_call_cell(call, row, column);
    if (text.len == 0) {
        jsonw_null(writer, key);
    } else {
        jsonw_string(writer, key, text);
    }
}

static void write_frame(struct json_writer *writer, const struct store_call *call, size_t row)
{
    jsonw_object_begin(writer, NULL);
    jsonw_i64(writer, "id", store_call_cell_number(call, row, 0));
    jsonw_string(writer, "workspaceId", store_call_cell(call, row, 1));
    jsonw_string(writer, "runtimeTargetId", store_call_cell(call, row, 2));
    if (!store_call_is_null(call, row, 3)) {
        jsonw_string(writer, "machineId", store_call_cell(call, row, 3));
    }
    jsonw_string(writer, "sourceRelayId", store_call_cell(call, row, 4));
    write_text_or_null(writer, "targetRelayId", call, row, 5);
    jsonw_string(writer, "direction", store_call_cell(call, row, 6));
    jsonw_string(writer, "payload", store_call_cell(call, row, 7));
    if (!store_call_is_null(call, row, 8)) {
        jsonw_i64(writer, "issuedAtMs", store_call_cell_number(call, row, 8));
    }
    if (!store_call_is_null(call, row, 9)) {
        jsonw_string(writer, "signature", store_call_cell(call, row, 9));
    }
    jsonw_object_end(writer);
}

// Frames beyond what a relay takes of an answer stay for its next pull.
static size_t write_frames_pulled(const struct store_call *call, struct buf *body)
{
    struct json_writer writer;
    size_t count = 0;
    json_writer_init(&writer, body);
    jsonw_object_begin(&writer, NULL);
    jsonw_bool(&writer, "ok", true);
    jsonw_array_begin(&writer, "frames");
    while (count < call->row_count && (count == 0 || body->len < PULL_ANSWER_BYTES_MAX)) {
        struct json_writer before = writer;
        size_t len = body->len;
        write_frame(&writer, call, count);
        if (count > 0 && body->len > PULL_ANSWER_BYTES_MAX) {
            body->len = len;
            writer = before;
            break;
        }
        count++;
    }
    jsonw_array_end(&writer);
    jsonw_object_end(&writer);
    return count;
}

static void answer_pull(struct errand *errand, const struct store_call *call)
{
    struct buf body = BUF_INIT(PULL_BODY_BYTES_MAX);
    size_t count = write_frames_pulled(call, &body);
    if (body.failed) {
        errand_refuse(errand, 500, "INTERNAL_ERROR");
    } else {
        service_add(errand->service, PLATFORM_FRAMES_PULLED, (int64_t)count);
        errand_answer(errand, 200, buf_slice(&body));
    }
    buf_reset(&body);
}

static size_t count_waiting(const struct platform_service *service)
{
    size_t count = 0;
    list_for_each (node, &service->pulls) {
        count++;
    }
    return count;
}

// False: there is nothing to wait for, or no room.
static bool may_wait(const struct errand *errand)
{
    struct platform_service *service = errand->service;
    if (service->draining || worker_now(service->worker) >= errand->deadline_ns) {
        return false;
    }
    if (count_waiting(service) > service->options.config->pulls_max) {
        service_add(service, PLATFORM_PULLS_NOT_WAITED, 1);
        return false;
    }
    return true;
}

static void on_pulled(struct store_call *call)
{
    struct errand *errand = call->arg;
    errand->call = NULL;
    if (call->result != WEIR_OK) {
        errand_fail(errand, call->result);
    } else if (call->row_count > 0) {
        answer_pull(errand, call);
    } else if (errand->again) {
        bus_pull(errand);
    } else if (may_wait(errand)) {
        worker_arm(errand->service->worker, &errand->timer, errand->deadline_ns);
    } else {
        answer_pull(errand, call);
    }
}

void bus_pull(struct errand *errand)
{
    struct platform_service *service = errand->service;
    const struct pull_ask *ask = &errand->ask.pull;
    struct store_call *call = store_call_new(STORE_BUS_PULL, on_pulled, errand);
    if (call == NULL) {
        errand_refuse(errand, 500, "INTERNAL_ERROR");
        return;
    }
    if (!list_linked(&errand->queue)) {
        list_push_back(&service->pulls, &errand->queue);
    }
    timer_cancel(&errand->timer);
    errand->again = false;
    errand->call = call;
    store_call_text(call, ask->relay_id);
    store_call_number(call, ask->since_id);
    store_call_number(call, ask->limit);
    store_call_number(
        call, (int64_t)sys_wall_ms() - (int64_t)service->options.config->frame_ttl_s * 1000);
    store_call_number(call, PULL_PAYLOAD_BYTES_MAX);
    platform_store_run(service->store, call);
}

void bus_told(void *arg, struct slice relay_id)
{
    struct platform_service *service = arg;
    list_for_each_safe (node, &service->pulls) {
        struct errand *errand = container_of(node, struct errand, queue);
        if (relay_id.len > 0 && !slice_eq(relay_id, errand->ask.pull.relay_id)) {
            continue;
        }
        if (errand->call != NULL) {
            errand->again = true;
        } else {
            bus_pull(errand);
        }
    }
}

void bus_release(struct platform_service *service)
{
    bus_told(service, SLICE_EMPTY);
}
