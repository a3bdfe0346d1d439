// SPDX-License-Identifier: Apache-2.0
// What a service says on h2, as nghttp2 tells it. A header block is gathered field by field in the
// session's buffer (blocks never interleave) and passed on when its frame is complete.
//
// Invariants:
// 1. The callbacks run inside nghttp2: what they end is freed by whoever called it.
// 2. An exchange is let go of before the call that ends it.
// 3. The connection's window is given back at once, a stream's when the front has taken the bytes.
#include "base/number.h"
#include "base/time.h"
#include "engine/upstream/upstream_h2.h"

#define FIELDS_MAX (HTTP1_HEADERS_MAX + 4)
#define INTERIM_MAX 32
// Frames that nothing is done with cost us something each, header blocks by their length: a byte
// may name a field of 4 KiB. An honest service says other things in between, or takes a body.
#define USELESS_FRAME_COST 100
#define USELESS_MAX (1024u * 1024)

struct packed_field {
    uint32_t name_len;
    uint32_t value_len;
};

// ---- Header blocks

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct upstream_h2 *h2 = ((struct upstream *)arg)->h2;
    (void)session;
    (void)frame;
    buf_clear(&h2->block);
    h2->block_list_size = h2->block_count = 0;
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
    size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags, void *arg)
{
    struct upstream_h2 *h2 = ((struct upstream *)arg)->h2;
    struct packed_field field = {(uint32_t)name_len, (uint32_t)value_len};
    (void)flags;
    h2->block_list_size += name_len + value_len + 32;
    if (h2->block_list_size > H2_HEADER_LIST_MAX || ++h2->block_count > FIELDS_MAX) {
        struct h2_call *stream = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
        if (stream != NULL) {
            upstream_h2_broken(stream, false, EDGE_UPSTREAM_BAD);
        }
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; // resets it
    }
    buf_append(&h2->block, &field, sizeof field);
    buf_append(&h2->block, name, name_len);
    buf_append(&h2->block, value, value_len);
    return h2->block.failed ? NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE : 0;
}

// What stands in the block.
struct block {
    struct http1_header fields[FIELDS_MAX]; // without pseudo fields
    size_t count;
    unsigned status; // 0: none, so they are trailers
    bool has_length;
    uint64_t length;
};

static void take_field(struct block *block, struct slice name, struct slice value)
{
    if (slice_eq(name, SLICE(":status"))) {
        for (size_t i = 0; i < value.len; i++) { // nghttp2 has seen three digits
            block->status = block->status * 10 + (unsigned)(value.at[i] - '0');
        }
        return;
    }
    if (slice_eq(name, SLICE("content-length"))) {
        block->has_length = number_parse_u64(value, UINT64_MAX, &block->length) == WEIR_OK;
    }
    block->fields[block->count++] = (struct http1_header){name, value};
}

static void unpack(const struct buf *packed, struct block *ret_block)
{
    ret_block->count = 0;
    ret_block->status = 0;
    ret_block->has_length = false;
    ret_block->length = 0;
    struct slice rest = buf_slice(packed);
    while (rest.len > 0) {
        struct packed_field field;
        memcpy(&field, rest.at, sizeof field);
        struct slice name = slice_of(rest.at + sizeof field, field.name_len);
        struct slice value = slice_of(name.at + name.len, field.value_len);
        take_field(ret_block, name, value);
        rest = slice_skip(rest, sizeof field + name.len + value.len);
    }
}

// ---- Answers

static void refuse(struct h2_call *stream)
{
    upstream_h2_reset(stream, NGHTTP2_PROTOCOL_ERROR);
    upstream_h2_broken(stream, false, EDGE_UPSTREAM_BAD);
}

// The answer is complete. What is left of the request is of no interest to anybody.
static struct exchange *release(struct h2_call *stream)
{
    struct exchange *exchange = stream->exchange;
    upstream_h2_let_go(stream);
    if (!stream->request_done) {
        upstream_h2_reset(stream, NGHTTP2_CANCEL);
    }
    return exchange;
}

// RFC 9110 section 6.4.1. Services may end such a stream by an empty frame behind the head.
static bool has_no_body(const struct exchange *exchange, unsigned status)
{
    return exchange->head_only || status == 204 || status == 304;
}

// The answer is complete with its head, the stream perhaps not yet: it gets some time to end.
static struct exchange *release_early(struct h2_call *stream)
{
    struct upstream *upstream = stream->upstream;
    struct exchange *exchange = release(stream);
    worker_arm_in(upstream->shard->worker, &stream->timer, upstream_first_byte_ns(upstream));
    return exchange;
}

static void take_head(struct h2_call *stream, const struct block *block, bool ends)
{
    struct http1_header fields[FIELDS_MAX];
    bool interim = block->status < 200;
    bool bodiless = !interim && has_no_body(stream->exchange, block->status);
    struct answer_head head = {.status = block->status,
        .fields = fields,
        .upgrade = SLICE_EMPTY,
        .has_body = !ends && !bodiless,
        .has_length = block->has_length,
        .length = block->length};
    if (exchange_answer_fields(block->fields, block->count, fields, &head.field_count) != WEIR_OK ||
        (interim && (ends || ++stream->interim_count > INTERIM_MAX))) {
        refuse(stream);
        return;
    }
    stream->answered = !interim;
    upstream_h2_arm(stream);
    exchange_head(interim || head.has_body ? stream->exchange
                  : ends                   ? release(stream)
                                           : release_early(stream),
        &head);
}

static void take_headers(struct h2_call *stream, struct upstream_h2 *h2, bool ends)
{
    struct block block;
    unpack(&h2->block, &block);
    if (block.status != 0 && !stream->answered) {
        upstream_request_free(stream->again);
        stream->again = NULL;
        take_head(stream, &block, ends);
    } else if (stream->answered && ends) {
        exchange_end(release(stream), block.fields, block.count);
    } else {
        refuse(stream);
    }
    buf_reset(&h2->block);
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct upstream *upstream = arg;
    struct h2_call *stream = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    bool ends = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    if (frame->hd.type == NGHTTP2_SETTINGS && !ends) { // whose flag means an acknowledgement
        upstream->h2->greeted = true;
        upstream_h2_flush_later(upstream);
    } else if (frame->hd.type == NGHTTP2_GOAWAY) {
        upstream->h2->refuses = true;
        upstream_pool_remove(upstream);
    } else if (stream == NULL || stream->exchange == NULL) {
        return 0;
    } else if (frame->hd.type == NGHTTP2_HEADERS) {
        take_headers(stream, upstream->h2, ends);
    } else if (frame->hd.type == NGHTTP2_DATA && ends) {
        exchange_end(release(stream), NULL, 0);
    }
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *bytes,
    size_t len, void *arg)
{
    struct h2_call *stream = nghttp2_session_get_stream_user_data(session, id);
    (void)flags;
    (void)arg;
    (void)nghttp2_session_consume_connection(session, len);
    if (stream == NULL || stream->exchange == NULL) {
        return 0;
    }
    upstream_h2_arm(stream);
    bool more = exchange_body(stream->exchange, slice_of((const char *)bytes, len));
    stream->held_len += len;
    if (more && stream->exchange != NULL) {
        (void)nghttp2_session_consume_stream(session, id, stream->held_len);
        stream->held_len = 0;
    }
    return 0;
}

static bool is_of_use(const nghttp2_frame_hd *frame, const struct h2_call *stream)
{
    bool carries = frame->length > 0 || (frame->flags & NGHTTP2_FLAG_END_STREAM) != 0;
    return stream != NULL && stream->exchange != NULL && carries &&
           (frame->type == NGHTTP2_HEADERS || frame->type == NGHTTP2_DATA);
}

// Its frame is not begun when there were too many.
static int on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *frame, void *arg)
{
    struct upstream_h2 *h2 = ((struct upstream *)arg)->h2;
    bool head = frame->type == NGHTTP2_HEADERS || frame->type == NGHTTP2_CONTINUATION;
    if (is_of_use(frame, nghttp2_session_get_stream_user_data(session, frame->stream_id))) {
        h2->useless = 0;
    } else {
        h2->useless += USELESS_FRAME_COST + (head ? frame->length : 0);
    }
    return h2->useless > USELESS_MAX ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static int on_frame_sent(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    (void)arg;
    struct h2_call *stream = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (stream != NULL && frame->hd.type == NGHTTP2_HEADERS) {
        upstream_h2_forget_head(stream);
    }
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *arg)
{
    struct h2_call *stream = nghttp2_session_get_stream_user_data(session, id);
    (void)arg;
    if (stream != NULL) {
        upstream_h2_broken(stream, code == NGHTTP2_REFUSED_STREAM,
            code == NGHTTP2_NO_ERROR || code == NGHTTP2_CANCEL || code == NGHTTP2_REFUSED_STREAM ||
                    code == NGHTTP2_INTERNAL_ERROR
                ? EDGE_UPSTREAM_CLOSED
                : EDGE_UPSTREAM_BAD);
        upstream_h2_free_stream(stream);
    }
    return 0;
}

// A field that HTTP does not allow ends the stream, not only the field.
static int on_invalid_frame(
    nghttp2_session *session, const nghttp2_frame *frame, int error, void *arg)
{
    struct h2_call *stream = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    (void)error;
    (void)arg;
    if (stream != NULL) {
        upstream_h2_broken(stream, false, EDGE_UPSTREAM_BAD);
    }
    return 0;
}

void upstream_h2_set_callbacks(nghttp2_session_callbacks *callbacks)
{
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, on_begin_frame);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_sent);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, on_invalid_frame);
}
