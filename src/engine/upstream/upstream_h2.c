// SPDX-License-Identifier: Apache-2.0
// An upstream stream that speaks h2 (RFC 9113): many exchanges at once on one proxied stream, over
// nghttp2. This file sends requests and owns the lives of the session and of its exchanges;
// upstream_h2_answer.c takes what comes back.
//
// Frames are collected during a turn and leave together. The body of a request waits in its
// exchange until the service's window lets it into frames. Windows towards the service are given
// back only when the front has taken what they let through, so that a slow visitor stops the
// service for its own exchange and no other one.
//
// Invariants:
// 1. nghttp2 is never freed while it is on the stack; upstream_close may be called from inside it,
//    and whoever called nghttp2 frees it then.
// 2. Every exchange has its own deadline; an upstream without exchanges has that of a stream at
//    rest, also while the service takes nothing of what is left to tell it.
// 3. An exchange is sent again once, on another stream, when the service says that it has not
// looked
//    at it (REFUSED_STREAM, or a GOAWAY below it: RFC 9113 section 8.7), or when a stream that had
//    carried others before ends without a byte of an answer and the request may be repeated. Only
//    requests without a body: of the others we have passed the beginning on.
// 4. h2_call lives until nghttp2 has closed its stream; its exchange may go earlier.
// 5. What waits for the service's socket, or to become a frame, is counted: a body for its visitor,
//    the rest for nobody (upstream->held).
#include "engine/upstream/upstream_h2.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/time.h"
#include "engine/edge/visitor.h"

#define OUT_BATCH (64u * 1024)            // frames collected for one write
#define OUT_MAX (OUT_BATCH + 128u * 1024) // and the largest head as one
#define OUT_KEPT_MAX 16384
#define BODY_LOW (EXCHANGE_HELD_HIGH / 4)
#define STREAMS_MAX_ASSUMED 100 // before the service has said it
#define STREAMS_MAX 1000        // whatever it says: each of them costs us more than it

static const struct back_ops back_ops;

// ---- nghttp2's memory comes from where all of ours does.

static void *take_memory(size_t size, void *arg)
{
    (void)arg;
    return mem_alloc(size);
}

static void give_memory(void *block, void *arg)
{
    (void)arg;
    mem_free(block);
}

static void *take_zeroed(size_t count, size_t size, void *arg)
{
    (void)arg;
    return size > 0 && count > SIZE_MAX / size ? NULL : mem_zalloc(count * size);
}

static void *resize_memory(void *block, size_t size, void *arg)
{
    (void)arg;
    return mem_realloc(block, size);
}

static nghttp2_session *make_session(struct upstream *upstream)
{
    nghttp2_mem memory = {NULL, take_memory, give_memory, take_zeroed, resize_memory};
    nghttp2_session_callbacks *callbacks = NULL;
    nghttp2_option *options = NULL;
    nghttp2_session *session = NULL;
    if (nghttp2_session_callbacks_new(&callbacks) == 0 && nghttp2_option_new(&options) == 0) {
        upstream_h2_set_callbacks(callbacks);
        nghttp2_option_set_no_auto_window_update(options, 1);
        nghttp2_option_set_peer_max_concurrent_streams(options, STREAMS_MAX_ASSUMED);
        if (nghttp2_session_client_new3(&session, callbacks, upstream, options, &memory) != 0) {
            session = NULL;
        }
    }
    nghttp2_option_del(options);
    nghttp2_session_callbacks_del(callbacks);
    return session;
}

static bool greet(nghttp2_session *session)
{
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, H2_STREAM_WINDOW},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, H2_HEADER_LIST_MAX},
    };
    return nghttp2_submit_settings(
               session, NGHTTP2_FLAG_NONE, settings, sizeof settings / sizeof *settings) == 0 &&
           nghttp2_session_set_local_window_size(
               session, NGHTTP2_FLAG_NONE, 0, H2_CONNECTION_WINDOW) == 0;
}

static bool open_protocol(struct upstream *upstream)
{
    struct upstream_h2 *h2 = mem_zalloc(sizeof *h2);
    upstream->h2 = h2;
    if (h2 == NULL) {
        return false;
    }
    h2->upstream = upstream;
    list_init(&h2->streams);
    list_init(&h2->flush.node);
    buf_init(&h2->out, OUT_MAX);
    buf_init(&h2->block, H2_HEADER_LIST_MAX);
    h2->session = make_session(upstream);
    if (h2->session == NULL || !greet(h2->session)) {
        return false;
    }
    if (!list_linked(&upstream->at_rest) && !list_empty(&upstream->requests)) {
        struct upstream_request *first =
            container_of(upstream->requests.next, struct upstream_request, node);
        (void)upstream_pool_give(upstream, first->exchange->visitor);
    }
    upstream_h2_flush_later(upstream);
    return true;
}

bool upstream_h2_has_room(const struct upstream *upstream)
{
    const struct upstream_h2 *h2 = upstream->h2;
    if (h2 == NULL) {
        return true; // it is being opened
    }
    uint32_t most =
        nghttp2_session_get_remote_settings(h2->session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
    return !h2->refuses && h2->stream_count < (most < STREAMS_MAX ? most : STREAMS_MAX) &&
           nghttp2_session_check_request_allowed(h2->session) != 0;
}

bool upstream_h2_takes_now(const struct upstream *upstream)
{
    bool may = upstream->h2->greeted || upstream->h2->stream_count == 0;
    return may && upstream_h2_has_room(upstream);
}

// ---- The books

static void account(struct upstream *upstream, size_t now)
{
    size_t before = upstream->held;
    upstream->held = now;
    if (now > before) {
        shard_hold(upstream->shard, now - before);
    } else if (now < before) {
        shard_release(upstream->shard, before - now);
    }
}

static void account_now(struct upstream *upstream)
{
    const struct upstream_h2 *h2 = upstream->h2;
    account(upstream, h2->heads_len + h2->out.len + stream_backlog(&upstream->stream));
}

void upstream_h2_forget_head(struct h2_call *stream)
{
    stream->upstream->h2->heads_len -= stream->head_len;
    stream->head_len = 0;
}

// ---- The end

static void free_session(struct upstream *upstream)
{
    struct upstream_h2 *h2 = upstream->h2;
    account(upstream, 0);
    for (struct list *node; (node = h2->streams.next) != &h2->streams;) {
        upstream_h2_free_stream(container_of(node, struct h2_call, node));
    }
    nghttp2_session_del(h2->session);
    buf_reset(&h2->out);
    buf_reset(&h2->block);
    list_remove(&h2->flush.node);
    upstream->h2 = NULL;
    mem_free(h2);
}

static void fini(struct upstream *upstream)
{
    if (upstream->h2 != NULL && !upstream->h2->inside) {
        free_session(upstream);
    }
}

// After a call of nghttp2: true when the upstream is still alive.
static bool come_out(struct upstream *upstream)
{
    upstream->h2->inside = false;
    if (upstream->state == UPSTREAM_DEAD) {
        free_session(upstream);
        return false;
    }
    return true;
}

// Everybody's exchange, before the upstream ends: first those that may try again elsewhere.
static void end_all(struct upstream *upstream, enum edge_error error)
{
    struct upstream_h2 *h2 = upstream->h2;
    if (h2 != NULL) {
        h2->refuses = true;
        upstream_pool_remove(upstream);
        list_for_each_safe (node, &h2->streams) {
            upstream_h2_broken(container_of(node, struct h2_call, node), false, error);
            if (upstream->state == UPSTREAM_DEAD) {
                return;
            }
        }
    }
    upstream_end(upstream, error);
}

// ---- Sending

// Frames that are due go to out. False when that failed, or the upstream has ended meanwhile.
static bool collect(struct upstream *upstream)
{
    struct upstream_h2 *h2 = upstream->h2;
    const uint8_t *bytes;
    ssize_t len = 1;
    bool ok = true;
    h2->inside = true;
    while (ok && len > 0 && h2->out.len < OUT_BATCH) {
        len = nghttp2_session_mem_send(h2->session, &bytes);
        ok = len >= 0 && (len == 0 || buf_append(&h2->out, bytes, (size_t)len) == WEIR_OK);
    }
    return come_out(upstream) && ok;
}

// True when all of out is written.
static bool write_out(struct upstream *upstream)
{
    struct upstream_h2 *h2 = upstream->h2;
    struct slice bytes = buf_slice(&h2->out);
    struct iovec part = {(char *)(uintptr_t)bytes.at, bytes.len};
    size_t written = 0;
    enum weir_result result = stream_write(&upstream->stream, &part, 1, &written);
    if (result != WEIR_OK) {
        // A broken stream says so when it is read, behind what it still brings.
        return false;
    }
    upstream_count_sent(upstream, written);
    if (written < bytes.len) {
        buf_consume(&h2->out, written);
        return false;
    }
    if (h2->out.size > OUT_KEPT_MAX) {
        buf_reset(&h2->out);
    }
    buf_clear(&h2->out);
    return true;
}

static void wake_fronts(struct upstream *upstream)
{
    struct upstream_h2 *h2 = upstream->h2;
    h2->some_low = false;
    list_for_each_safe (node, &h2->streams) {
        struct h2_call *stream = container_of(node, struct h2_call, node);
        if (stream->front_waits && stream->body.len <= BODY_LOW && stream->exchange != NULL) {
            stream->front_waits = false;
            exchange_resume(stream->exchange);
            if (upstream->state == UPSTREAM_DEAD) {
                return;
            }
        }
    }
}

static void flush(struct upstream *upstream)
{
    struct upstream_h2 *h2 = upstream->h2;
    list_remove(&h2->flush.node);
    upstream_begin_waiting(upstream);
    if (upstream->state == UPSTREAM_DEAD) {
        return;
    }
    bool all = true;
    account_now(upstream);
    while (all) {
        if (!collect(upstream)) {
            end_all(upstream, EDGE_INTERNAL);
            return;
        }
        if (h2->out.len == 0) {
            break;
        }
        all = write_out(upstream);
    }
    account_now(upstream);
    stream_want(&upstream->stream, WATCH_READ | (all ? 0 : (unsigned)WATCH_WRITE));
    if (nghttp2_session_want_read(h2->session) == 0 && h2->out.len == 0) {
        // With exchanges left only after a GOAWAY of ours, to somebody who does not speak h2.
        end_all(upstream, EDGE_UPSTREAM_BAD);
    } else if (h2->some_low) {
        wake_fronts(upstream);
    }
}

static void on_flush(struct worker *worker, struct job *job)
{
    (void)worker;
    struct upstream_h2 *h2 = container_of(job, struct upstream_h2, flush);
    flush(h2->upstream);
}

void upstream_h2_flush_later(struct upstream *upstream)
{
    struct upstream_h2 *h2 = upstream->h2;
    if (!list_linked(&h2->flush.node)) {
        worker_defer(upstream->shard->worker, &h2->flush, on_flush);
    }
}

// ---- Requests

static void forget_copy(struct h2_call *stream)
{
    upstream_request_free(stream->again);
    stream->again = NULL;
}

void upstream_h2_let_go(struct h2_call *stream)
{
    struct upstream *upstream = stream->upstream;
    if (stream->exchange != NULL) {
        visitor_release(stream->exchange->visitor, stream->body.len);
        if (--upstream->h2->exchange_count == 0 && upstream->state == UPSTREAM_READY) {
            bool others = !list_empty(&upstream->requests);
            worker_arm_in(upstream->shard->worker, &upstream->timer,
                others ? upstream_first_byte_ns(upstream) : upstream_rest_ns(upstream));
        }
    }
    stream->exchange = NULL;
    timer_cancel(&stream->timer);
    forget_copy(stream);
    buf_reset(&stream->body);
}

void upstream_h2_reset(struct h2_call *stream, uint32_t code)
{
    // Fails without memory only; the service then learns it from the end of the connection.
    (void)nghttp2_submit_rst_stream(
        stream->upstream->h2->session, NGHTTP2_FLAG_NONE, stream->id, code);
    upstream_h2_flush_later(stream->upstream);
}

void upstream_h2_free_stream(struct h2_call *stream)
{
    struct upstream *upstream = stream->upstream;
    struct upstream_h2 *h2 = upstream->h2;
    list_remove(&stream->node);
    upstream_h2_let_go(stream);
    upstream_h2_forget_head(stream);
    mem_free(stream->trailers);
    mem_free(stream);
    if (--h2->stream_count > 0 || upstream->state != UPSTREAM_READY) {
        return;
    }
    if (!list_empty(&upstream->requests)) {
        upstream_h2_flush_later(upstream);
    } else if (h2->refuses) {
        upstream_close(upstream, false);
    }
}

void upstream_h2_arm(struct h2_call *stream)
{
    struct upstream *upstream = stream->upstream;
    bool begun = stream->answered || stream->interim_count > 0;
    uint64_t delay_ns = upstream_body_idle_ns(upstream);
    if (!begun && stream->request_done && stream->body.len == 0) {
        delay_ns = upstream_first_byte_ns(upstream);
    } else if (!begun && stream->body.len == 0) {
        delay_ns *= 2; // it is the visitor who has to go on, and his front tells him
    }
    worker_arm_in(upstream->shard->worker, &stream->timer, delay_ns);
}

void upstream_h2_broken(struct h2_call *stream, bool unprocessed, enum edge_error error)
{
    struct exchange *exchange = stream->exchange;
    struct upstream_request *again = stream->again;
    if (exchange == NULL) {
        return;
    }
    stream->again = NULL;
    upstream_h2_let_go(stream);
    if (again != NULL && (unprocessed || stream->repeatable)) {
        engine_count(stream->upstream->shard, ENGINE_HTTP_RETRIES);
        upstream_request_open(again, stream->upstream->tunnel);
    } else {
        upstream_request_free(again);
        exchange_fail(exchange, error);
    }
}

static void on_late(struct timer *timer)
{
    struct h2_call *stream = container_of(timer, struct h2_call, timer);
    forget_copy(stream);
    if (!stream->upstream->h2->greeted) {
        end_all(stream->upstream, EDGE_UPSTREAM_TIMEOUT); // it does not speak h2
        return;
    }
    upstream_h2_reset(stream, NGHTTP2_CANCEL);
    upstream_h2_broken(stream, false, EDGE_UPSTREAM_TIMEOUT);
}

static nghttp2_nv pair_of(struct slice name, struct slice value)
{
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name.at, (uint8_t *)(uintptr_t)value.at, name.len,
        value.len, NGHTTP2_NV_FLAG_NONE};
}

static bool has_capital(struct slice name)
{
    for (size_t i = 0; i < name.len; i++) {
        if (name.at[i] >= 'A' && name.at[i] <= 'Z') {
            return true;
        }
    }
    return false;
}

static void to_lower(char *at, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        at[i] = at[i] >= 'A' && at[i] <= 'Z' ? (char)(at[i] | 0x20) : at[i];
    }
}

// Names of h2 are lower case; those that are not are copied to block. False when that is full.
static bool put_fields(
    const struct request_head *head, nghttp2_nv *pairs, size_t *count, char *block)
{
    size_t used = 0;
    for (size_t i = 0; i < head->field_count; i++) {
        struct slice name = head->fields[i].name;
        if (has_capital(name)) {
            if (name.len > BLOCK_SIZE - used) {
                return false;
            }
            memcpy(block + used, name.at, name.len);
            to_lower(block + used, name.len);
            name.at = block + used;
            used += name.len;
        }
        pairs[(*count)++] = pair_of(name, head->fields[i].value);
    }
    return true;
}

static ssize_t read_body(nghttp2_session *session, int32_t id, uint8_t *out, size_t size,
    uint32_t *flags, nghttp2_data_source *source, void *arg);

static bool submit(struct h2_call *stream, const struct request_head *head, char *block)
{
    nghttp2_nv pairs[EXCHANGE_FIELDS_MAX + 5];
    char length[24];
    size_t count = 0;
    bool encrypted = stream->upstream->tunnel->upstream_tls;
    pairs[count++] = pair_of(SLICE(":method"), head->method);
    pairs[count++] = pair_of(SLICE(":scheme"), encrypted ? SLICE("https") : SLICE("http"));
    pairs[count++] = pair_of(SLICE(":authority"), head->authority);
    pairs[count++] = pair_of(SLICE(":path"), head->target);
    if (head->has_length) {
        int len = snprintf(length, sizeof length, "%" PRIu64, head->length);
        pairs[count++] = pair_of(SLICE("content-length"), slice_of(length, (size_t)len));
    }
    if (!put_fields(head, pairs, &count, block)) {
        return false;
    }
    nghttp2_data_provider body = {.source.ptr = stream, .read_callback = read_body};
    stream->id = nghttp2_submit_request(
        stream->upstream->h2->session, NULL, pairs, count, head->has_body ? &body : NULL, stream);
    for (size_t i = 0; stream->id > 0 && i < count; i++) {
        stream->head_len += pairs[i].namelen + pairs[i].valuelen;
    }
    stream->upstream->h2->heads_len += stream->head_len;
    return stream->id > 0;
}

static struct h2_call *new_stream(struct upstream *upstream, struct exchange *exchange)
{
    struct h2_call *stream = mem_zalloc(sizeof *stream);
    if (stream == NULL) {
        return NULL;
    }
    stream->upstream = upstream;
    stream->exchange = exchange;
    buf_init(&stream->body, UPSTREAM_OUT_MAX);
    timer_init(&stream->timer, on_late);
    list_push_back(&upstream->h2->streams, &stream->node);
    upstream->h2->stream_count++;
    upstream->h2->exchange_count++;
    return stream;
}

static void start(struct upstream *upstream, struct exchange *exchange,
    const struct request_head *onward, bool again)
{
    struct h2_call *stream = new_stream(upstream, exchange);
    char *block = blocks_take(&upstream->shard->blocks);
    if (stream == NULL || block == NULL || !submit(stream, onward, block)) {
        blocks_give(&upstream->shard->blocks, block);
        if (stream != NULL) {
            upstream_h2_free_stream(stream);
        }
        exchange_fail(exchange, EDGE_INTERNAL);
        return;
    }
    blocks_give(&upstream->shard->blocks, block);
    timer_cancel(&upstream->timer);
    exchange->back = &back_ops;
    exchange->back_state = stream;
    stream->has_body = onward->has_body;
    stream->request_done = !onward->has_body;
    stream->repeatable = upstream->reused && upstream_is_repeatable(onward);
    if (!again && !onward->has_body) {
        // Without memory for it there is no second try.
        stream->again = upstream_request_new(exchange, onward);
        if (stream->again != NULL) {
            stream->again->again = true;
        }
    }
    upstream_h2_arm(stream);
    upstream_h2_flush_later(upstream);
}

// ---- Bodies of requests

static void submit_trailers(struct h2_call *stream)
{
    nghttp2_nv pairs[HTTP1_TRAILERS_MAX];
    size_t count = 0;
    for (; count < stream->trailer_count && count < HTTP1_TRAILERS_MAX; count++) {
        pairs[count] = pair_of(stream->trailers[count].name, stream->trailers[count].value);
    }
    // Without memory the stream does not end; its deadline does that then.
    (void)nghttp2_submit_trailer(stream->upstream->h2->session, stream->id, pairs, count);
}

static ssize_t read_body(nghttp2_session *session, int32_t id, uint8_t *out, size_t size,
    uint32_t *flags, nghttp2_data_source *source, void *arg)
{
    struct h2_call *stream = source->ptr;
    (void)session;
    (void)id;
    (void)arg;
    size_t len = stream->body.len < size ? stream->body.len : size;
    if (len == 0 && !stream->request_done) {
        stream->sleeps = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    stream->upstream->h2->useless = 0; // it gives windows for this
    memcpy(out, buf_slice(&stream->body).at, len);
    buf_consume(&stream->body, len);
    if (stream->exchange != NULL) {
        visitor_release(stream->exchange->visitor, len);
        upstream_h2_arm(stream);
    }
    if (stream->front_waits && stream->body.len <= BODY_LOW) {
        stream->upstream->h2->some_low = true;
    }
    if (stream->body.len == 0 && stream->request_done) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        if (stream->trailer_count > 0) {
            *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
            submit_trailers(stream);
        }
    }
    return (ssize_t)len;
}

static void wake_body(struct h2_call *stream)
{
    if (stream->sleeps) {
        stream->sleeps = false;
        (void)nghttp2_session_resume_data(stream->upstream->h2->session, stream->id);
    }
    upstream_h2_flush_later(stream->upstream);
}

static void fail_stream(struct h2_call *stream)
{
    forget_copy(stream);
    upstream_h2_reset(stream, NGHTTP2_CANCEL);
    upstream_h2_broken(stream, false, EDGE_INTERNAL);
}

static bool on_body(struct exchange *exchange, struct slice bytes)
{
    struct h2_call *stream = exchange->back_state;
    if (buf_append_slice(&stream->body, bytes) != WEIR_OK) {
        fail_stream(stream);
        return false;
    }
    visitor_hold(exchange->visitor, bytes.len);
    wake_body(stream);
    stream->front_waits = stream->body.len > EXCHANGE_HELD_HIGH;
    return !stream->front_waits;
}

static void on_end(struct exchange *exchange, const struct http1_header *trailers, size_t count)
{
    struct h2_call *stream = exchange->back_state;
    if (count > 0) {
        stream->trailers = upstream_copy_fields(trailers, count);
        if (stream->trailers == NULL) {
            fail_stream(stream);
            return;
        }
        stream->trailer_count = count;
        for (size_t i = 0; i < count; i++) {
            to_lower((char *)(uintptr_t)stream->trailers[i].name.at, trailers[i].name.len);
        }
    }
    stream->request_done = true;
    wake_body(stream);
}

static void on_resume(struct exchange *exchange)
{
    struct h2_call *stream = exchange->back_state;
    upstream_h2_arm(stream);
    (void)nghttp2_session_consume_stream(
        stream->upstream->h2->session, stream->id, stream->held_len);
    stream->held_len = 0;
    upstream_h2_flush_later(stream->upstream);
}

static void on_cancel(struct exchange *exchange)
{
    struct h2_call *stream = exchange->back_state;
    upstream_h2_let_go(stream);
    upstream_h2_reset(stream, NGHTTP2_CANCEL);
}

static const struct back_ops back_ops = {
    .body = on_body, .end = on_end, .resume = on_resume, .cancel = on_cancel};

// ---- As a protocol

static void take(struct upstream *upstream, struct slice bytes)
{
    struct upstream_h2 *h2 = upstream->h2;
    upstream_count_received(upstream, bytes.len);
    h2->inside = true;
    ssize_t used = nghttp2_session_mem_recv(h2->session, (const uint8_t *)bytes.at, bytes.len);
    if (!come_out(upstream)) {
        return;
    }
    if (used < 0) {
        end_all(upstream, EDGE_UPSTREAM_BAD);
    } else {
        flush(upstream);
    }
}

static void read_stream(struct upstream *upstream)
{
    struct iovec part = {upstream->shard->worker->read_area, WORKER_READ_AREA_SIZE};
    size_t len = 0;
    enum weir_result result = stream_read(&upstream->stream, &part, 1, &len);
    if (result == WEIR_OK) {
        take(upstream, slice_of(part.iov_base, len));
    } else if (result != WEIR_AGAIN) {
        end_all(upstream, EDGE_UPSTREAM_CLOSED);
    }
}

static void on_ready(struct upstream *upstream, unsigned events)
{
    if ((events & WATCH_WRITE) != 0) {
        if (write_out(upstream)) {
            flush(upstream);
        } else {
            account_now(upstream);
        }
    }
    if (upstream->state == UPSTREAM_READY && (events & WATCH_READ) != 0) {
        read_stream(upstream);
    }
}

// At rest for too long, or the service takes nothing any more.
static void late(struct upstream *upstream)
{
    if (list_empty(&upstream->requests)) {
        upstream_close(upstream, false);
    } else {
        end_all(upstream, EDGE_UPSTREAM_TIMEOUT);
    }
}

static void fail(struct upstream *upstream, enum edge_error error)
{
    if (upstream->h2 != NULL) {
        list_for_each (node, &upstream->h2->streams) {
            forget_copy(container_of(node, struct h2_call, node));
        }
    }
    end_all(upstream, error);
}

const struct upstream_protocol upstream_h2 = {
    .open = open_protocol,
    .start = start,
    .ready = on_ready,
    .take = take,
    .late = late,
    .fail = fail,
    .fini = fini,
};
