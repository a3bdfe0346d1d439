// SPDX-License-Identifier: Apache-2.0
//   head of the queue ──► POST ──► 2xx: it leaves the queue, the next one
//          ▲                 ├───► redirect to the same host: POST there
//          │                 ├───► 408, 425, 429, 5xx, no answer: wait, with full jitter
//          └─────────────────┘└──► anything else, or too long: failed, the end
//
// 1. At most one call is under way, and it is for the head of the queue.
// 2. A status of 2xx counts as soon as it was read, whatever becomes of the answer's rest.
// 3. After `failed` nothing is sent any more.
#include "cli/engine/delivery.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/number.h"
#include "base/time.h"
#include "sys/clock.h"
#include "sys/entropy.h"

#define TIMEOUT_NS (10 * NS_PER_S) // spec section 9.2
#define ANSWER_MAX 4096
#define REDIRECTS_MAX 5
#define WAIT_FIRST_NS (500 * NS_PER_MS)
#define WAIT_MAX_NS (30 * NS_PER_S)
#define RETRY_AFTER_MAX_S 300
#define HEADERS_MAX 8
#define HEADER_SIZE 512
#define PROBLEM_SIZE 512

struct item {
    struct list node;
    struct delivery_request request;
    size_t len; // of the body
    uint64_t since_ns;
    unsigned attempts;
};

static void send_head(struct delivery *delivery);

// ---- What is sent

static void copy_text(
    const json_t *event, const char *key, const char *prefix, char *text, size_t size)
{
    const char *value = json_string_value(json_object_get(event, key));
    bool usable = value != NULL && value[0] != '\0' && strlen(value) < size;
    for (const char *at = value; usable && *at != '\0'; at++) {
        usable = *at > ' ' && *at <= '~'; // it becomes a header
    }
    if (usable) {
        snprintf(text, size, "%s", value);
    } else {
        event_id_make(prefix, text);
    }
}

bool delivery_request_init(struct delivery_request *request, const json_t *event, bool signed_shape)
{
    *request = (struct delivery_request){0};
    copy_text(event, "id", "evt_cli_", request->event_id, sizeof request->event_id);
    copy_text(event, "type", "", request->event_type, sizeof request->event_type);
    event_id_make("cli_del_", request->delivery_id);
    json_t *body = signed_shape ? webhook_body(event) : json_incref((json_t *)(uintptr_t)event);
    char *text = body == NULL ? NULL : json_dumps(body, JSON_COMPACT);
    request->body = text == NULL ? NULL : mem_copy(text, strlen(text));
    free(text);
    json_decref(body);
    return request->body != NULL;
}

void delivery_request_fini(struct delivery_request *request)
{
    mem_free(request->body);
    request->body = NULL;
}

json_t *delivery_headers(const struct delivery_options *options,
    const struct delivery_request *request, uint64_t seconds)
{
    char signature[WEBHOOK_SIGNATURE_SIZE];
    if (!options->signed_shape) {
        return json_pack("{s:s}", "content-type", "application/json");
    }
    if (webhook_sign(options->secrets, options->secret_count, seconds, slice_str(request->body),
            signature) != WEIR_OK) {
        return NULL;
    }
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "content-type", "application/json",
        "rstream-signature", signature, "rstream-event-id", request->event_id, "rstream-event-type",
        request->event_type, "rstream-webhook-id", options->webhook_id, "rstream-delivery-id",
        request->delivery_id);
}

// ---- The queue

static struct item *head_of(const struct delivery *delivery)
{
    return container_of(delivery->queue.next, struct item, node);
}

static void drop_head(struct delivery *delivery)
{
    struct item *item = head_of(delivery);
    list_remove(&item->node);
    delivery->count--;
    delivery->bytes -= item->len;
    delivery_request_fini(&item->request);
    mem_free(item);
}

static void fail(struct delivery *delivery, const char *problem, bool refused)
{
    delivery->closed = true;
    delivery->options.failed(delivery->options.arg, problem, refused);
}

static void acknowledged(struct delivery *delivery)
{
    drop_head(delivery);
    if (delivery->count > 0) {
        send_head(delivery);
    }
    if (delivery->was_full && !delivery->closed && delivery->count <= DELIVERY_EVENTS_MAX / 2 &&
        delivery->bytes <= DELIVERY_BYTES_MAX / 2) {
        delivery->was_full = false;
        delivery->options.room(delivery->options.arg);
    }
}

// ---- One attempt after the other

static uint64_t next_wait_ns(struct delivery *delivery, unsigned attempts, uint64_t least_ns)
{
    uint64_t random = 0;
    uint64_t most_ns = attempts < 7 ? WAIT_FIRST_NS << (attempts - 1) : WAIT_MAX_NS;
    if (sys_entropy(&random, sizeof random) != WEIR_OK) {
        random = worker_now(delivery->worker);
    }
    return least_ns + random % (most_ns < WAIT_MAX_NS ? most_ns : WAIT_MAX_NS);
}

static void retry(struct delivery *delivery, const char *problem, uint64_t least_ns)
{
    struct item *item = head_of(delivery);
    uint64_t wait_ns = next_wait_ns(delivery, item->attempts, least_ns);
    uint64_t taken_ns = worker_now(delivery->worker) - item->since_ns;
    if (!delivery->options.retry || taken_ns + wait_ns > delivery->options.retry_for_ns) {
        fail(delivery, problem, false);
        return;
    }
    worker_arm_in(delivery->worker, &delivery->again, wait_ns);
    delivery->options.retrying(delivery->options.arg, problem, wait_ns);
}

static const struct http_call_header *find(const struct http_call_result *result, const char *name)
{
    for (size_t i = 0; i < result->header_count; i++) {
        if (slice_eq(result->headers[i].name, slice_str(name))) {
            return &result->headers[i];
        }
    }
    return NULL;
}

static uint64_t retry_after_ns(const struct http_call_result *result)
{
    const struct http_call_header *header = find(result, "retry-after");
    uint64_t seconds;
    bool usable =
        header != NULL && number_parse_u64(header->value, UINT64_MAX, &seconds) == WEIR_OK;
    return !usable ? 0 : (seconds < RETRY_AFTER_MAX_S ? seconds : RETRY_AFTER_MAX_S) * NS_PER_S;
}

static bool is_redirect(unsigned status)
{
    return status == 301 || status == 302 || status == 307 || status == 308;
}

static void post(struct delivery *delivery);

static void follow(struct delivery *delivery, const struct http_call_result *result)
{
    char url[DELIVERY_URL_SIZE];
    char place[WEBHOOK_PLACE_SIZE];
    char problem[PROBLEM_SIZE];
    const struct http_call_header *location = find(result, "location");
    if (location != NULL && delivery->redirects < REDIRECTS_MAX &&
        webhook_redirect(delivery->url, location->value, url, sizeof url)) {
        delivery->redirects++;
        snprintf(delivery->url, sizeof delivery->url, "%s", url);
        post(delivery);
        return;
    }
    webhook_place(delivery->url, place);
    snprintf(problem, sizeof problem,
        "%s answers %u and sends the event elsewhere: only %d redirects to the same host, and "
        "never from https to http, are followed",
        place, result->status, REDIRECTS_MAX);
    fail(delivery, problem, true);
}

static void on_answer(void *arg, const struct http_call_result *result)
{
    struct delivery *delivery = arg;
    char place[WEBHOOK_PLACE_SIZE];
    char problem[PROBLEM_SIZE];
    unsigned status = result->status;
    delivery->call = NULL;
    webhook_place(delivery->url, place);
    if (status / 100 == 2) {
        acknowledged(delivery);
    } else if (result->outcome != HTTP_CALL_ANSWERED) {
        snprintf(problem, sizeof problem, "%s: %s", place,
            result->outcome == HTTP_CALL_TIMEOUT ? "no answer in time" : result->error);
        retry(delivery, problem, 0);
    } else if (is_redirect(status)) {
        follow(delivery, result);
    } else {
        snprintf(problem, sizeof problem, "%s answers %u", place, status);
        if (status == 408 || status == 425 || status == 429 || status / 100 == 5) {
            retry(delivery, problem, retry_after_ns(result));
        } else {
            fail(delivery, problem, true);
        }
    }
}

static void post(struct delivery *delivery)
{
    struct item *item = head_of(delivery);
    char lines[HEADERS_MAX][HEADER_SIZE];
    const char *pointers[HEADERS_MAX + 1] = {NULL};
    json_t *headers = delivery_headers(&delivery->options, &item->request, sys_wall_ms() / 1000);
    const char *key;
    json_t *value;
    size_t count = 0;
    json_object_foreach(headers, key, value)
    {
        snprintf(lines[count], HEADER_SIZE, "%s: %s", key, json_string_value(value));
        pointers[count] = lines[count];
        count++;
    }
    delivery->call = headers == NULL ? NULL
                                     : http_call_start(delivery->worker,
                                           &(struct http_call_options){
                                               .method = "POST",
                                               .url = delivery->url,
                                               .headers = pointers,
                                               .body = slice_of(item->request.body, item->len),
                                               .tls = &delivery->tls,
                                               .timeout_ns = TIMEOUT_NS,
                                               .response_max = ANSWER_MAX,
                                               .keep_headers = true,
                                               .cut_body = true,
                                           },
                                           on_answer, delivery);
    json_decref(headers);
    if (delivery->call == NULL) {
        retry(delivery, "the request could not be made: out of memory, or the URL is none", 0);
    }
}

static void send_head(struct delivery *delivery)
{
    struct item *item = head_of(delivery);
    if (item->attempts++ == 0) {
        item->since_ns = worker_now(delivery->worker);
    }
    delivery->redirects = 0;
    snprintf(delivery->url, sizeof delivery->url, "%s", delivery->options.url);
    post(delivery);
}

static void on_again(struct timer *timer)
{
    send_head(container_of(timer, struct delivery, again));
}

// ---- Life

void delivery_open(
    struct delivery *delivery, struct worker *worker, const struct delivery_options *options)
{
    *delivery = (struct delivery){
        .options = *options,
        .worker = worker,
        .tls = {.verify = !options->insecure, .ca_path = options->ca_file},
    };
    list_init(&delivery->queue);
    timer_init(&delivery->again, on_again);
}

enum weir_result delivery_add(struct delivery *delivery, struct delivery_request *request)
{
    struct item *item = delivery->closed ? NULL : mem_zalloc(sizeof *item);
    if (item == NULL) {
        delivery_request_fini(request);
        return delivery->closed ? WEIR_OK : WEIR_MEMORY;
    }
    item->request = *request;
    item->len = strlen(request->body);
    list_push_back(&delivery->queue, &item->node);
    delivery->bytes += item->len;
    if (delivery->count++ == 0) {
        send_head(delivery);
    }
    return WEIR_OK;
}

bool delivery_is_full(struct delivery *delivery)
{
    bool full = delivery->count >= DELIVERY_EVENTS_MAX || delivery->bytes >= DELIVERY_BYTES_MAX;
    delivery->was_full = delivery->was_full || full;
    return full;
}

void delivery_close(struct delivery *delivery)
{
    if (delivery->worker == NULL) {
        return;
    }
    delivery->closed = true;
    timer_cancel(&delivery->again);
    http_call_cancel(delivery->call);
    delivery->call = NULL;
    while (delivery->count > 0) {
        drop_head(delivery);
    }
}
