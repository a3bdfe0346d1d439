// SPDX-License-Identifier: Apache-2.0
// A request that has no stream yet: its head in one block, and as much of its body as the front may
// push before it has to wait. It is the exchange's back until the upstream is ready, and then hands
// over what it has in the same calls the front would have made.
#include "base/mem.h"
#include "engine/edge/visitor.h"
#include "engine/upstream/upstream_internal.h"

static size_t len_of_fields(const struct http1_header *fields, size_t count)
{
    size_t len = 0;
    for (size_t i = 0; i < count; i++) {
        len += fields[i].name.len + fields[i].value.len;
    }
    return len;
}

static struct slice copy_to(char **at, struct slice text)
{
    struct slice copy = slice_of(*at, text.len);
    memcpy(*at, text.at, text.len);
    *at += text.len;
    return copy;
}

static void copy_fields(
    struct http1_header *to, const struct http1_header *fields, size_t count, char **at)
{
    for (size_t i = 0; i < count; i++) {
        to[i].name = copy_to(at, fields[i].name);
        to[i].value = copy_to(at, fields[i].value);
    }
}

struct http1_header *upstream_copy_fields(const struct http1_header *fields, size_t count)
{
    size_t fields_size = count * sizeof *fields;
    struct http1_header *copy = mem_alloc(fields_size + len_of_fields(fields, count));
    if (copy != NULL) {
        char *at = (char *)copy + fields_size;
        copy_fields(copy, fields, count, &at);
    }
    return copy;
}

struct upstream_request *upstream_request_new(
    struct exchange *exchange, const struct request_head *onward)
{
    size_t fields_size = onward->field_count * sizeof *onward->fields;
    size_t size = sizeof(struct upstream_request) + fields_size +
                  len_of_fields(onward->fields, onward->field_count) + onward->method.len +
                  onward->authority.len + onward->target.len + onward->upgrade.len;
    struct upstream_request *request = mem_alloc(size);
    if (request == NULL) {
        return NULL;
    }
    struct http1_header *fields = (struct http1_header *)(request + 1);
    char *at = (char *)fields + fields_size;
    *request = (struct upstream_request){.exchange = exchange, .head = *onward, .head_size = size};
    visitor_hold(exchange->visitor, size);
    list_init(&request->node);
    buf_init(&request->body, UPSTREAM_OUT_MAX);
    copy_fields(fields, onward->fields, onward->field_count, &at);
    request->head.fields = fields;
    request->head.method = copy_to(&at, onward->method);
    request->head.authority = copy_to(&at, onward->authority);
    request->head.target = copy_to(&at, onward->target);
    request->head.upgrade = copy_to(&at, onward->upgrade);
    return request;
}

void upstream_request_free(struct upstream_request *request)
{
    if (request == NULL) {
        return;
    }
    list_remove(&request->node);
    visitor_release(request->exchange->visitor, request->head_size + request->body.len);
    buf_reset(&request->body);
    mem_free(request->trailers);
    mem_free(request);
}

// One that is not used yet, and that nobody waits for any more.
static void close_unwanted(struct upstream *upstream)
{
    if (upstream->state != UPSTREAM_READY && list_empty(&upstream->requests)) {
        upstream_close(upstream, true);
    }
}

static void fail(struct upstream_request *request, enum edge_error error)
{
    struct exchange *exchange = request->exchange;
    struct upstream *upstream = request->upstream;
    upstream_request_free(request);
    if (upstream != NULL) {
        close_unwanted(upstream);
    }
    exchange_fail(exchange, error);
}

// ---- As the exchange's back

static bool on_body(struct exchange *exchange, struct slice bytes)
{
    struct upstream_request *request = exchange->back_state;
    if (buf_append_slice(&request->body, bytes) != WEIR_OK) {
        fail(request, EDGE_INTERNAL);
        return false;
    }
    visitor_hold(exchange->visitor, bytes.len);
    request->front_waits = request->body.len > EXCHANGE_HELD_HIGH;
    return !request->front_waits;
}

static void on_end(struct exchange *exchange, const struct http1_header *trailers, size_t count)
{
    struct upstream_request *request = exchange->back_state;
    request->ended = true;
    request->trailer_count = count;
    if (count > 0) {
        request->trailers = upstream_copy_fields(trailers, count);
        if (request->trailers == NULL) {
            fail(request, EDGE_INTERNAL);
        }
    }
}

static void on_resume(struct exchange *exchange)
{
    (void)exchange; // no answer has been pushed that could have been too much
}

static void on_cancel(struct exchange *exchange)
{
    struct upstream_request *request = exchange->back_state;
    struct upstream *upstream = request->upstream;
    upstream_request_free(request);
    close_unwanted(upstream);
}

static const struct back_ops waiting_ops = {
    .body = on_body, .end = on_end, .resume = on_resume, .cancel = on_cancel};

void upstream_request_wait(struct upstream_request *request, struct upstream *upstream)
{
    request->upstream = upstream;
    request->exchange->back = &waiting_ops;
    request->exchange->back_state = request;
    list_push_back(&upstream->requests, &request->node);
}

// ---- On its way

void upstream_request_begin(struct upstream_request *request)
{
    struct exchange *exchange = request->exchange;
    struct upstream *upstream = request->upstream;
    upstream->protocol->start(upstream, exchange, &request->head, request->again);
    bool more = true;
    if (!exchange->ended && request->body.len > 0) {
        more = exchange->back->body(exchange, buf_slice(&request->body));
    }
    if (!exchange->ended && request->ended) {
        exchange->back->end(exchange, request->trailers, request->trailer_count);
    } else if (!exchange->ended && request->front_waits && more) {
        exchange_resume(exchange);
    }
    upstream_request_free(request);
}

// The protocol of a tunnel whose services do not negotiate, for this request.
static const struct upstream_protocol *known_protocol(
    const struct tunnel *tunnel, const struct request_head *head)
{
    if (tunnel->upstream_tls) {
        return NULL;
    }
    bool h2 = tunnel->upstream == TUNNEL_UPSTREAM_H2C && !upstream_wants_raw(head);
    return h2 ? &upstream_h2 : &upstream_h1;
}

void upstream_request_open(struct upstream_request *request, struct tunnel *tunnel)
{
    struct visitor *visitor = request->exchange->visitor;
    struct upstream *upstream = upstream_new(visitor->shard, tunnel);
    if (upstream == NULL) {
        fail(request, EDGE_INTERNAL);
        return;
    }
    upstream->protocol = known_protocol(tunnel, &request->head);
    upstream->h1_only = upstream_wants_raw(&request->head);
    upstream->personal = upstream_binds_connection(&request->head);
    upstream_request_wait(request, upstream);
    if (!upstream_open(upstream, visitor)) {
        fail(request, EDGE_INTERNAL);
    } else if (upstream->protocol == &upstream_h2) {
        // The visitor's next requests need not wait for streams of their own.
        (void)upstream_pool_give(upstream, visitor);
    }
}
