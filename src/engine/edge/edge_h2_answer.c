// SPDX-License-Identifier: Apache-2.0
// Answers on an HTTP/2 connection. A body lies in stream->out until the session may frame it; a
// large piece goes from where the back has it straight into the record under construction, and only
// what windows or the socket do not take is copied.
//
//   back ─► out / direct ─► (windows) ─► send_data ─► outgo: frames of all streams in one record
//
// 1. The session is not entered while it is on the stack; settle() enters it then.
// 2. Nothing here calls a back.
// 3. What a cut leaves in stream->out still goes out; the reset stands behind it.
#include "engine/edge/edge_h2.h"

#include <stdio.h>

#define NV_MAX (EXCHANGE_FIELDS_MAX + 2)
// With its header a frame fills a TLS record.
#define FRAME_PAYLOAD_MAX (16384 - 9)

static struct h2_stream *stream_of(struct exchange *exchange)
{
    return container_of(exchange, struct h2_stream, exchange);
}

// ---- Kept fields --------------------------------------------------------------------------------

enum weir_result h2_trailers_keep(
    struct h2_trailers *kept, const struct http1_header *fields, size_t count)
{
    buf_init(&kept->bytes, H2_HEAD_LIST_MAX + HTTP1_HEADERS_MAX * 2 * sizeof(size_t));
    kept->count = count < HTTP1_HEADERS_MAX ? count : HTTP1_HEADERS_MAX;
    for (size_t i = 0; i < kept->count; i++) {
        buf_append(&kept->bytes, &fields[i].name.len, sizeof(size_t));
        buf_append(&kept->bytes, &fields[i].value.len, sizeof(size_t));
        buf_append_slice(&kept->bytes, fields[i].name);
        buf_append_slice(&kept->bytes, fields[i].value);
    }
    return kept->bytes.failed ? WEIR_MEMORY : WEIR_OK;
}

static size_t take_len(struct slice *rest)
{
    size_t len;
    memcpy(&len, rest->at, sizeof len);
    *rest = slice_skip(*rest, sizeof len);
    return len;
}

size_t h2_trailers_list(const struct h2_trailers *kept, struct http1_header *fields)
{
    struct slice rest = buf_slice(&kept->bytes);
    for (size_t i = 0; i < kept->count; i++) {
        size_t name_len = take_len(&rest);
        size_t value_len = take_len(&rest);
        fields[i].name = slice_of(rest.at, name_len);
        fields[i].value = slice_of(rest.at + name_len, value_len);
        rest = slice_skip(rest, name_len + value_len);
    }
    return kept->count;
}

// ---- What the session asks for ------------------------------------------------------------------

static nghttp2_nv nv_of(struct slice name, struct slice value)
{
    return (nghttp2_nv){
        .name = (uint8_t *)(uintptr_t)name.at,
        .value = (uint8_t *)(uintptr_t)value.at,
        .namelen = name.len,
        .valuelen = value.len,
        .flags = NGHTTP2_NV_FLAG_NONE,
    };
}

static int submit_trailers(struct h2_stream *stream)
{
    struct http1_header fields[HTTP1_HEADERS_MAX];
    nghttp2_nv nva[HTTP1_HEADERS_MAX];
    size_t count = h2_trailers_list(&stream->trailers, fields);
    for (size_t i = 0; i < count; i++) {
        nva[i] = nv_of(fields[i].name, fields[i].value);
    }
    return nghttp2_submit_trailer(stream->conn->session, stream->id, nva, count);
}

static size_t body_len(const struct h2_stream *stream)
{
    return stream->direct.len > 0 ? stream->direct.len : stream->out.len;
}

static ssize_t on_read(nghttp2_session *session, int32_t id, uint8_t *bytes, size_t room,
    uint32_t *flags, nghttp2_data_source *source, void *arg)
{
    struct h2_stream *stream = source->ptr;
    size_t len = body_len(stream);
    (void)session;
    (void)id;
    (void)bytes;
    (void)arg;
    if (len == 0 && !stream->answer_done) {
        return NGHTTP2_ERR_DEFERRED;
    }
    if (len == 0 && stream->cut) {
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; // RST_STREAM INTERNAL_ERROR
    }
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (len > room) {
        return (ssize_t)room;
    }
    if (stream->answer_done && !stream->cut) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        if (stream->trailers.count > 0) {
            *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
            if (submit_trailers(stream) != 0) {
                return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
            }
        }
    }
    return (ssize_t)len;
}

static int on_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *header,
    size_t len, nghttp2_data_source *source, void *arg)
{
    struct h2_conn *conn = arg;
    struct h2_stream *stream = source->ptr;
    (void)session;
    (void)frame; // never padded: there is no callback that asks for it
    if (outgo_waiting(&conn->out) > 0) {
        return NGHTTP2_ERR_WOULDBLOCK;
    }
    outgo_add(&conn->out, slice_of((const char *)header, 9));
    if (stream->direct.len > 0) {
        outgo_add(&conn->out, slice_of(stream->direct.at, len));
        stream->direct = slice_skip(stream->direct, len);
    } else {
        outgo_add(&conn->out, slice_of(buf_slice(&stream->out).at, len));
        buf_consume(&stream->out, len);
        visitor_release(&conn->visitor, len);
    }
    stream->moved_ns = worker_now(conn->stream.worker);
    if (stream->front_full && stream->out.len <= EXCHANGE_HELD_HIGH / 2) {
        h2_stream_touch(stream);
    }
    return 0;
}

static ssize_t on_read_length(nghttp2_session *session, uint8_t type, int32_t id,
    int32_t connection_window, int32_t stream_window, uint32_t frame_size_max, void *arg)
{
    int32_t len = FRAME_PAYLOAD_MAX;
    (void)session;
    (void)type;
    (void)id;
    (void)arg;
    len = connection_window < len ? connection_window : len;
    len = stream_window < len ? stream_window : len;
    return (uint32_t)len > frame_size_max ? (ssize_t)frame_size_max : len;
}

// Nobody who keeps to the protocol makes us send these.
static bool is_forced(uint32_t code)
{
    return code == NGHTTP2_PROTOCOL_ERROR || code == NGHTTP2_FLOW_CONTROL_ERROR ||
           code == NGHTTP2_STREAM_CLOSED || code == NGHTTP2_FRAME_SIZE_ERROR;
}

// The answer is complete before the request (RFC 9113 section 8.1).
static int on_frame_sent(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    bool may_end = frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS;
    if (frame->hd.type == NGHTTP2_RST_STREAM && is_forced(frame->rst_stream.error_code)) {
        h2_note_forced_reset(arg);
    }
    if (!may_end || (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) {
        return 0;
    }
    struct h2_stream *stream = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (stream != NULL && !stream->request_done) {
        return nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, stream->id, NGHTTP2_NO_ERROR);
    }
    return 0;
}

void h2_answer_callbacks(nghttp2_session_callbacks *callbacks)
{
    nghttp2_session_callbacks_set_send_data_callback(callbacks, on_send_data);
    nghttp2_session_callbacks_set_data_source_read_length_callback(callbacks, on_read_length);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_sent);
}

void h2_pump(struct h2_conn *conn)
{
    weir_assert(!conn->in_session);
    conn->in_session = true;
    while (!conn->out.failed && outgo_waiting(&conn->out) == 0) {
        const uint8_t *bytes;
        ssize_t len = nghttp2_session_mem_send(conn->session, &bytes);
        if (len < 0) {
            conn->out.failed = true;
        }
        if (len <= 0) {
            break;
        }
        outgo_add(&conn->out, slice_of((const char *)bytes, (size_t)len));
    }
    conn->in_session = false;
}

// ---- What the back says -------------------------------------------------------------------------

static size_t list_head(const struct exchange *exchange, const struct answer_head *head,
    char texts[64], nghttp2_nv *nva)
{
    size_t count = 0;
    // An upgrade is a success here (RFC 8441 section 5).
    unsigned status = head->status == 101 ? 200 : head->status;
    int len = snprintf(texts, 8, "%u", status);
    nva[count++] = nv_of(SLICE(":status"), slice_of(texts, (size_t)len));
    if (head->has_length && status >= 200 && status != 204 && !exchange->upgraded) {
        len = snprintf(texts + 8, 24, "%llu", (unsigned long long)head->length);
        nva[count++] = nv_of(SLICE("content-length"), slice_of(texts + 8, (size_t)len));
    }
    for (size_t i = 0; i < head->field_count && count < NV_MAX; i++) {
        if (!exchange->upgraded ||
            !slice_eq_nocase(head->fields[i].name, SLICE("sec-websocket-accept"))) {
            nva[count++] = nv_of(head->fields[i].name, head->fields[i].value);
        }
    }
    return count;
}

// A submission that fails for want of memory ends the stream.
static void check_submitted(struct h2_stream *stream, int result)
{
    if (result != 0 && nghttp2_submit_rst_stream(stream->conn->session, NGHTTP2_FLAG_NONE,
                           stream->id, NGHTTP2_INTERNAL_ERROR) != 0) {
        stream->conn->out.failed = true;
    }
}

static void on_head(struct exchange *exchange, const struct answer_head *head)
{
    struct h2_stream *stream = stream_of(exchange);
    nghttp2_session *session = stream->conn->session;
    nghttp2_nv nva[NV_MAX];
    char texts[64];
    stream->moved_ns = worker_now(stream->conn->stream.worker);
    if (stream->closed) {
        return;
    }
    size_t count = list_head(exchange, head, texts, nva);
    if (head->status < 200 && head->status != 101) {
        check_submitted(stream,
            nghttp2_submit_headers(session, NGHTTP2_FLAG_NONE, stream->id, NULL, nva, count, NULL));
    } else {
        nghttp2_data_provider provider = {.source = {.ptr = stream}, .read_callback = on_read};
        bool has_body = head->has_body || exchange->upgraded;
        check_submitted(stream,
            nghttp2_submit_response(session, stream->id, nva, count, has_body ? &provider : NULL));
    }
    h2_stream_touch(stream);
}

static void resume_session(struct h2_stream *stream)
{
    // It is an error only when nothing was deferred: the session comes by itself then.
    (void)nghttp2_session_resume_data(stream->conn->session, stream->id);
}

static bool on_body(struct exchange *exchange, struct slice bytes)
{
    struct h2_stream *stream = stream_of(exchange);
    struct h2_conn *conn = stream->conn;
    if (stream->closed || conn->out.failed) {
        return true;
    }
    if (bytes.len > OUTGO_SMALL_MAX && stream->out.len == 0 && !conn->in_session) {
        stream->direct = bytes;
        resume_session(stream);
        h2_pump(conn);
        bytes = stream->direct;
        stream->direct = SLICE_EMPTY;
    } else {
        resume_session(stream);
    }
    if (bytes.len > 0 && buf_append_slice(&stream->out, bytes) != WEIR_OK) {
        conn->out.failed = true;
    } else {
        visitor_hold(&conn->visitor, bytes.len);
    }
    stream->front_full = stream->out.len > EXCHANGE_HELD_HIGH;
    h2_settle_later(conn);
    return !stream->front_full;
}

static void on_end(struct exchange *exchange, const struct http1_header *trailers, size_t count)
{
    struct h2_stream *stream = stream_of(exchange);
    if (!stream->closed) {
        stream->cut = count > 0 && h2_trailers_keep(&stream->trailers, trailers, count) != WEIR_OK;
        stream->answer_done = true;
        resume_session(stream);
    }
    h2_stream_touch(stream);
}

static void on_cut(struct exchange *exchange)
{
    struct h2_stream *stream = stream_of(exchange);
    if (!stream->closed) {
        stream->cut = stream->answer_done = true;
        resume_session(stream);
    }
    h2_stream_touch(stream);
}

static void on_resume(struct exchange *exchange)
{
    struct h2_stream *stream = stream_of(exchange);
    stream->back_full = false;
    h2_stream_touch(stream);
}

const struct front_ops h2_front_ops = {
    .head = on_head,
    .body = on_body,
    .end = on_end,
    .cut = on_cut,
    .resume = on_resume,
};
