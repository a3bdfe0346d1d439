// SPDX-License-Identifier: Apache-2.0
// Requests on an HTTP/2 connection: what nghttp2 has read becomes heads, bodies and ends. nghttp2
// checks names, values, pseudo fields and content-length (RFC 9113 section 8); what it passes over
// and the next hop might read otherwise is checked here.
//
// 1. A window is opened again for what the back has taken, never for what waits here:
// H2_STREAM_WINDOW
//    bounds stream->held, H2_CONNECTION_WINDOW their sum.
// 2. A stream that the session closes is only marked: settle() cancels its exchange, when no back
// is
//    on the stack.
#include "engine/edge/edge_h2.h"

#include "base/mem.h"
#include "base/number.h"
#include "engine/config/config.h"
#include "engine/shard.h"

#define TARGET_LEN_MAX 8192u
#define FIELD_OVERHEAD 32u // RFC 9113 section 6.5.2
// Of H2_HEAD_LIST_MAX. A list above that is answered (431); one that is so much above it is no
// mistake: a byte of it names a field of 4 KiB that was sent before, and each is looked through.
#define BOMB_FACTOR 4u
#define NUISANCE_WINDOW_NS (10 * NS_PER_S)

// How many of each a visitor may send in NUISANCE_WINDOW_NS: far more than any honest one does.
static const unsigned nuisance_max[H2_NUISANCES] = {
    [H2_RESETS] = 200,
    [H2_PINGS] = 100,
    [H2_SETTINGS] = 50,
    [H2_PRIORITIES] = 1000,
    [H2_EMPTY] = 100,
};

static struct h2_stream *stream_of(struct h2_conn *conn, int32_t id)
{
    return nghttp2_session_get_stream_user_data(conn->session, id);
}

static struct slice slice_of_bytes(const uint8_t *bytes, size_t len)
{
    return slice_of((const char *)bytes, len);
}

// ---- Limits -------------------------------------------------------------------------------------

void h2_calm_down(struct h2_conn *conn)
{
    engine_count(conn->visitor.shard, ENGINE_H2_FLOODS);
    if (nghttp2_session_terminate_session(conn->session, NGHTTP2_ENHANCE_YOUR_CALM) != 0) {
        conn->out.failed = true;
    }
}

static void note_nuisance(struct h2_conn *conn, enum h2_nuisance kind)
{
    uint64_t now = worker_now(conn->stream.worker);
    if (now - conn->window_ns > NUISANCE_WINDOW_NS) {
        conn->window_ns = now;
        memset(conn->nuisances, 0, sizeof conn->nuisances);
    }
    if (conn->nuisances[kind]++ == nuisance_max[kind]) {
        h2_calm_down(conn);
    }
}

void h2_note_forced_reset(struct h2_conn *conn)
{
    note_nuisance(conn, H2_RESETS);
}

// ---- Heads --------------------------------------------------------------------------------------

void h2_head_drop(struct h2_conn *conn)
{
    blocks_give(&conn->visitor.shard->blocks, (char *)conn->head);
    conn->head = NULL;
}

size_t h2_head_list_max(const struct h2_conn *conn)
{
    size_t configured = conn->visitor.shard->engine->config->limit_header_bytes;
    return configured < H2_HEAD_LIST_MAX ? configured : H2_HEAD_LIST_MAX;
}

static bool open_stream(struct h2_conn *conn, int32_t id)
{
    struct h2_stream *stream = mem_zalloc(sizeof *stream);
    if (stream == NULL || nghttp2_session_set_stream_user_data(conn->session, id, stream) != 0) {
        mem_free(stream);
        return false;
    }
    stream->conn = conn;
    stream->id = id;
    buf_init(&stream->held, H2_STREAM_WINDOW);
    buf_init(&stream->out, EXCHANGE_HELD_HIGH + WORKER_READ_AREA_SIZE);
    list_init(&stream->work_node);
    list_push_back(&conn->streams, &stream->node);
    conn->stream_count++;
    return true;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct h2_conn *conn = arg;
    (void)session;
    h2_head_drop(conn);
    conn->head = (struct h2_head *)(void *)blocks_take(&conn->visitor.shard->blocks);
    bool begun = conn->head != NULL && (frame->headers.cat != NGHTTP2_HCAT_REQUEST ||
                                           open_stream(conn, frame->hd.stream_id));
    if (!begun) {
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    *conn->head = (struct h2_head){.method = SLICE_EMPTY,
        .scheme = SLICE_EMPTY,
        .authority = SLICE_EMPTY,
        .path = SLICE_EMPTY,
        .protocol = SLICE_EMPTY};
    conn->head_since_ns = worker_now(conn->stream.worker);
    return 0;
}

// A copy in the head's block; what does not fit makes the head too large.
static struct slice keep(struct h2_head *head, struct slice text)
{
    size_t room = BLOCK_SIZE - sizeof *head - head->len;
    if (text.len > room) {
        head->too_large = true;
        return SLICE_EMPTY;
    }
    char *at = head->bytes + head->len;
    memcpy(at, text.at, text.len);
    head->len += text.len;
    return slice_of(at, text.len);
}

static struct slice *pseudo_of(struct h2_head *head, struct slice name)
{
    struct {
        struct slice name;
        struct slice *value;
    } all[] = {
        {SLICE(":method"), &head->method},
        {SLICE(":scheme"), &head->scheme},
        {SLICE(":authority"), &head->authority},
        {SLICE(":path"), &head->path},
        {SLICE(":protocol"), &head->protocol},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (slice_eq(all[i].name, name)) {
            return all[i].value;
        }
    }
    return NULL;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name_at,
    size_t name_len, const uint8_t *value_at, size_t value_len, uint8_t flags, void *arg)
{
    struct h2_conn *conn = arg;
    struct h2_head *head = conn->head;
    struct slice name = slice_of_bytes(name_at, name_len);
    struct slice value = slice_of_bytes(value_at, value_len);
    (void)session;
    (void)frame;
    (void)flags;
    head->list_len += name_len + value_len + FIELD_OVERHEAD;
    head->too_large = head->too_large || head->list_len > h2_head_list_max(conn);
    if (head->list_len > BOMB_FACTOR * H2_HEAD_LIST_MAX) {
        h2_calm_down(conn);
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; // no more of this head
    }
    if (head->too_large) {
        return 0;
    }
    struct slice *pseudo = pseudo_of(head, name);
    if (pseudo != NULL) {
        *pseudo = keep(head, value);
    } else if (head->count == HTTP1_HEADERS_MAX) {
        head->too_large = true;
    } else {
        head->fields[head->count++] = (struct http1_header){keep(head, name), keep(head, value)};
    }
    return 0;
}

// What nghttp2 answers by a reset comes to no on_frame: its header block ends here.
static int on_invalid_frame(
    nghttp2_session *session, const nghttp2_frame *frame, int error, void *arg)
{
    (void)session;
    (void)error;
    if (frame->hd.type == NGHTTP2_HEADERS) {
        h2_head_drop(arg);
    }
    return 0;
}

// A field that RFC 9113 section 8.2.1 forbids makes the request malformed.
static int on_invalid_header(nghttp2_session *session, const nghttp2_frame *frame,
    const uint8_t *name, size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
    void *arg)
{
    (void)name;
    (void)name_len;
    (void)value;
    (void)value_len;
    (void)flags;
    (void)arg;
    int result = nghttp2_submit_rst_stream(
        session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_PROTOCOL_ERROR);
    return result == 0 ? NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE : NGHTTP2_ERR_CALLBACK_FAILURE;
}

static bool is_cookie(const struct http1_header *field)
{
    return slice_eq(field->name, SLICE("cookie"));
}

// RFC 9113 section 8.2.3: crumbs become one field again. Each is copied once: browsers send dozens.
static void join_cookies(struct h2_head *head)
{
    struct http1_header *first = NULL;
    size_t kept = 0;
    size_t crumbs = 0;
    size_t start = head->len;
    for (size_t i = 0; i < head->count; i++) {
        crumbs += is_cookie(&head->fields[i]);
    }
    for (size_t i = 0; crumbs > 1 && i < head->count; i++) {
        struct http1_header field = head->fields[i];
        if (is_cookie(&field)) {
            (void)keep(head, first == NULL ? SLICE_EMPTY : SLICE("; "));
            (void)keep(head, field.value);
        }
        if (first == NULL || !is_cookie(&field)) {
            head->fields[kept++] = field;
            first = is_cookie(&field) ? &head->fields[kept - 1] : first;
        }
    }
    if (crumbs > 1) {
        first->value = slice_of(head->bytes + start, head->len - start);
        head->count = kept;
    }
}

// Host beside :authority is allowed when it says the same (RFC 9113 section 8.3.1).
static bool settle_authority(struct h2_head *head)
{
    size_t kept = 0;
    bool same = true;
    for (size_t i = 0; i < head->count; i++) {
        if (!slice_eq(head->fields[i].name, SLICE("host"))) {
            head->fields[kept++] = head->fields[i];
        } else if (head->authority.len == 0) {
            head->authority = head->fields[i].value;
        } else {
            same = same && slice_eq_nocase(head->authority, head->fields[i].value);
        }
    }
    head->count = kept;
    return same;
}

static bool target_valid(const struct h2_head *head)
{
    struct slice path;
    struct slice query;
    if (slice_eq(head->path, SLICE("*"))) {
        return slice_eq(head->method, SLICE("OPTIONS"));
    }
    return head->path.len > 0 && head->path.at[0] == '/' &&
           http1_split_target(head->path, &path, &query) == WEIR_OK;
}

// EDGE_ERROR_COUNT: the head is good, and *ret_request says what it says.
static enum edge_error read_head(struct h2_head *head, bool ends, struct request_head *ret_request)
{
    bool connect = slice_eq(head->method, SLICE("CONNECT"));
    bool good = settle_authority(head);
    join_cookies(head);
    *ret_request = (struct request_head){
        .method = head->method,
        .authority = head->authority,
        .target = head->path,
        .fields = head->fields,
        .field_count = head->count,
        .upgrade = head->protocol,
        .has_body = !ends && !connect,
        .version = 2,
    };
    if (head->too_large) {
        return EDGE_HEADERS_TOO_LARGE;
    }
    if (head->path.len > TARGET_LEN_MAX) {
        return EDGE_URI_TOO_LONG;
    }
    bool plain_connect = connect && head->protocol.len == 0;
    if (connect && !plain_connect && !slice_eq_nocase(head->protocol, SLICE("websocket"))) {
        return EDGE_METHOD;
    }
    if (!good || (!plain_connect && !target_valid(head))) {
        return EDGE_BAD_REQUEST;
    }
    for (size_t i = 0; i < head->count; i++) {
        if (slice_eq(head->fields[i].name, SLICE("content-length"))) {
            ret_request->has_length = true;
            if (connect || number_parse_u64(
                               head->fields[i].value, INT64_MAX, &ret_request->length) != WEIR_OK) {
                return EDGE_BAD_REQUEST;
            }
        }
    }
    return EDGE_ERROR_COUNT;
}

static void on_silence(struct timer *timer)
{
    struct h2_stream *stream = container_of(timer, struct h2_stream, timer);
    struct worker *worker = stream->conn->stream.worker;
    uint64_t deadline =
        stream->moved_ns + visitor_silence_ns(&stream->exchange, stream->request_done);
    if (stream->exchange.upgraded) {
        return;
    }
    if (worker_now(worker) < deadline) {
        worker_arm(worker, &stream->timer, deadline);
    } else if (!stream->exchange.ended) {
        bool his_turn = !stream->request_done && stream->held.len == 0;
        exchange_abort(
            &stream->exchange, his_turn ? EDGE_REQUEST_TIMEOUT : EDGE_UPSTREAM_TIMEOUT);
        worker_arm_in(worker, &stream->timer, VISITOR_LINGER_NS);
    } else if (nghttp2_submit_rst_stream(
                   stream->conn->session, NGHTTP2_FLAG_NONE, stream->id, NGHTTP2_CANCEL) != 0) {
        stream->conn->out.failed = true; // the answer is complete, and the visitor does not take it
    }
    h2_settle_later(stream->conn);
}

static void start_request(struct h2_conn *conn, struct h2_stream *stream, bool ends)
{
    struct request_head request;
    enum edge_error error = read_head(conn->head, ends, &request);
    stream->exchange = (struct exchange){.visitor = &conn->visitor, .front = &h2_front_ops};
    stream->started = true;
    stream->request_done = ends;
    stream->end_told = !request.has_body && !slice_eq(request.method, SLICE("CONNECT"));
    stream->moved_ns = worker_now(conn->stream.worker);
    timer_init(&stream->timer, on_silence);
    worker_arm_in(conn->stream.worker, &stream->timer, visitor_silence_ns(&stream->exchange, false));
    if (error == EDGE_ERROR_COUNT) {
        exchange_start(&stream->exchange, &request);
    } else {
        exchange_refuse(&stream->exchange, &request, error);
    }
}

// ---- Bodies -------------------------------------------------------------------------------------

static void give_window(struct h2_stream *stream, size_t len)
{
    nghttp2_session *session = stream->conn->session;
    if (nghttp2_session_consume_connection(session, len) != 0 ||
        (!stream->closed && nghttp2_session_consume_stream(session, stream->id, len) != 0)) {
        stream->conn->out.failed = true;
    }
}

// Raw bytes have to wait for the answer that makes them so.
static bool back_takes(const struct h2_stream *stream)
{
    const struct exchange *exchange = &stream->exchange;
    return !stream->back_full && (!exchange->connect || exchange->upgraded);
}

static void push(struct h2_stream *stream, struct slice bytes)
{
    if (!stream->exchange.ended) {
        stream->back_full = !exchange_request_body(&stream->exchange, bytes);
    }
    give_window(stream, bytes.len);
}

void h2_stream_feed(struct h2_stream *stream)
{
    struct exchange *exchange = &stream->exchange;
    if (stream->held.len > 0 && (exchange->ended || back_takes(stream))) {
        struct buf held = stream->held;
        visitor_release(&stream->conn->visitor, held.len);
        buf_init(&stream->held, H2_STREAM_WINDOW);
        push(stream, buf_slice(&held));
        buf_reset(&held);
    }
    bool tell = stream->request_done && !stream->end_told && stream->held.len == 0 &&
                !exchange->ended && (!exchange->connect || exchange->upgraded);
    if (tell) {
        struct http1_header fields[HTTP1_HEADERS_MAX];
        size_t count = h2_trailers_list(&stream->request_trailers, fields);
        stream->end_told = true;
        exchange_request_end(exchange, fields, count);
    }
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *bytes,
    size_t len, void *arg)
{
    struct h2_conn *conn = arg;
    struct h2_stream *stream = stream_of(conn, id);
    (void)session;
    (void)flags;
    if (stream == NULL || !stream->started) {
        return nghttp2_session_consume(conn->session, id, len) == 0 ? 0
                                                                    : NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    stream->moved_ns = worker_now(conn->stream.worker);
    struct slice piece = slice_of_bytes(bytes, len);
    if (stream->exchange.ended || (stream->held.len == 0 && back_takes(stream))) {
        push(stream, piece);
    } else if (buf_append_slice(&stream->held, piece) != WEIR_OK) {
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    } else {
        visitor_hold(&conn->visitor, piece.len);
    }
    return 0;
}

// ---- Frames -------------------------------------------------------------------------------------

static int on_headers_done(struct h2_conn *conn, const nghttp2_frame *frame)
{
    struct h2_stream *stream = stream_of(conn, frame->hd.stream_id);
    bool ends = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    int result = 0;
    if (stream != NULL && conn->head != NULL && !stream->started) {
        start_request(conn, stream, ends);
    } else if (stream != NULL && conn->head != NULL) {
        if (conn->head->too_large || h2_trailers_keep(&stream->request_trailers, conn->head->fields,
                                         conn->head->count) != WEIR_OK) {
            result = nghttp2_submit_rst_stream(
                conn->session, NGHTTP2_FLAG_NONE, stream->id, NGHTTP2_ENHANCE_YOUR_CALM);
        }
        stream->request_done = stream->request_done || ends;
        h2_stream_feed(stream);
    }
    h2_head_drop(conn);
    return result == 0 ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
}

static void on_data_frame(struct h2_conn *conn, const nghttp2_frame *frame)
{
    struct h2_stream *stream = stream_of(conn, frame->hd.stream_id);
    bool ends = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    if (frame->hd.length == 0 && !ends) {
        note_nuisance(conn, H2_EMPTY);
    }
    if (stream != NULL && stream->started && ends) {
        stream->request_done = true;
        h2_stream_feed(stream);
    }
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct h2_conn *conn = arg;
    bool ack = (frame->hd.flags & NGHTTP2_FLAG_ACK) != 0;
    (void)session;
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
        return on_headers_done(conn, frame);
    case NGHTTP2_DATA:
        on_data_frame(conn, frame);
        break;
    case NGHTTP2_RST_STREAM:
        note_nuisance(conn, H2_RESETS);
        break;
    case NGHTTP2_PRIORITY:
        note_nuisance(conn, H2_PRIORITIES);
        break;
    case NGHTTP2_SETTINGS:
        conn->greeted = true;
        if (!ack) {
            note_nuisance(conn, H2_SETTINGS);
        }
        break;
    case NGHTTP2_PING:
        if (ack) {
            conn->pinged = false;
        } else {
            note_nuisance(conn, H2_PINGS);
        }
        break;
    default:
        break;
    }
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *arg)
{
    struct h2_conn *conn = arg;
    struct h2_stream *stream = stream_of(conn, id);
    (void)session;
    (void)code;
    if (stream != NULL) {
        stream->closed = true;
        h2_stream_touch(stream);
    }
    return 0;
}

void h2_request_callbacks(nghttp2_session_callbacks *callbacks)
{
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_invalid_header_callback(callbacks, on_invalid_header);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, on_invalid_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
}
