// SPDX-License-Identifier: Apache-2.0
// Invariants
//
// 1. A slot holds its entry once, from the request's head to the end of both directions, or a
// reset.
// 2. HPACK is one state for a direction: each head goes through the inflater, followed or not.
#include "cli/inspect/tap_h2.h"

#include "base/mem.h"
#include "proto/http1.h"

#define PREFACE_LEN 24
#define FRAME_MAX (64u * 1024) // of those that are gathered
#define TABLE_MAX (64u * 1024)

enum { DATA = 0, HEADERS = 1, RESET = 3, SETTINGS = 4, CONTINUATION = 9 };
enum { END_STREAM = 0x1, ACKNOWLEDGED = 0x1, END_HEADERS = 0x4, PADDED = 0x8, PRIORITY = 0x20 };
#define SETTING_TABLE_SIZE 1
#define SETTING_LEN 6
#define PRIORITY_LEN 5

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

void tap_h2_init(struct tap_h2 *h2, struct capture *capture, const struct capture_origin *origin)
{
    // An inflater keeps the pointer.
    static nghttp2_mem memory = {NULL, take_memory, give_memory, take_zeroed, resize_memory};
    *h2 = (struct tap_h2){.capture = capture, .origin = origin, .preface_left = PREFACE_LEN};
    for (size_t i = 0; i < CAPTURE_SIDE_COUNT; i++) {
        buf_init(&h2->halves[i].frame, FRAME_MAX);
        buf_init(&h2->halves[i].fields, FRAME_MAX);
        h2->broken |= nghttp2_hd_inflate_new2(&h2->halves[i].inflater, &memory) != 0;
    }
}

// ---- Streams

static struct tap_h2_stream *find_stream(struct tap_h2 *h2, uint32_t id)
{
    for (size_t i = 0; i < TAP_H2_STREAMS_MAX; i++) {
        if (h2->streams[i].entry != NULL && h2->streams[i].id == id) {
            return &h2->streams[i];
        }
    }
    return NULL;
}

static void leave(struct tap_h2 *h2, struct tap_h2_stream *stream, enum capture_state state)
{
    struct capture_entry *entry = stream->entry;
    *stream = (struct tap_h2_stream){0};
    entry->state = state;
    capture_touch(h2->capture, entry);
    capture_release(entry);
}

static void end_side(
    struct tap_h2 *h2, struct tap_h2_stream *stream, enum capture_side side, uint64_t now_ns)
{
    struct capture_entry *entry = stream->entry;
    stream->ended[side] = true;
    entry->messages[side].ended_ns = now_ns;
    if (stream->ended[CAPTURE_REQUEST] && stream->ended[CAPTURE_ANSWER]) {
        leave(h2, stream, CAPTURE_DONE);
    } else if (entry->state == CAPTURE_ASKING) {
        entry->state = CAPTURE_WAITING;
        capture_touch(h2->capture, entry);
    }
}

static struct tap_h2_stream *open_stream(struct tap_h2 *h2, uint32_t id, uint64_t now_ns)
{
    for (size_t i = 0; i < TAP_H2_STREAMS_MAX; i++) {
        struct tap_h2_stream *stream = &h2->streams[i];
        if (stream->entry == NULL) {
            stream->entry = capture_open(h2->capture, h2->origin, CAPTURE_KIND_H2, 1, now_ns);
            stream->id = id;
            if (stream->entry != NULL) {
                stream->entry->state = CAPTURE_ASKING;
            }
            return stream->entry == NULL ? NULL : stream;
        }
    }
    return NULL;
}

// ---- Heads

struct head {
    struct slice method;
    struct slice path;
    struct slice authority;
    struct slice status;
    struct buf lines;
    struct buf texts; // what the slices point into
};

static bool is_writable(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.at[i] == '\r' || text.at[i] == '\n' || text.at[i] == '\0') {
            return false;
        }
    }
    return true;
}

static struct slice keep(struct head *head, struct slice text)
{
    // texts never moves: it was given its whole size before.
    size_t at = head->texts.len;
    return buf_append_slice(&head->texts, text) == WEIR_OK
               ? slice_of(head->texts.at + head->texts.start + at, text.len)
               : SLICE_EMPTY;
}

static void take_field(struct head *head, struct slice name, struct slice value)
{
    const struct {
        struct slice name;
        struct slice *value;
    } pseudo[] = {
        {SLICE(":method"), &head->method},
        {SLICE(":path"), &head->path},
        {SLICE(":authority"), &head->authority},
        {SLICE(":status"), &head->status},
    };
    if (!is_writable(name) || !is_writable(value)) {
        return;
    }
    for (size_t i = 0; i < sizeof pseudo / sizeof *pseudo; i++) {
        if (slice_eq(name, pseudo[i].name)) {
            *pseudo[i].value = keep(head, value);
            return;
        }
    }
    if (name.len > 0 && name.at[0] != ':' && !slice_eq_nocase(name, SLICE("host"))) {
        buf_printf(&head->lines, "%.*s: %.*s\r\n", SLICE_ARG(name), SLICE_ARG(value));
    }
}

// False: HPACK's state is lost.
static bool inflate(struct tap_h2_half *half, struct head *head)
{
    struct slice left = buf_slice(&half->fields);
    for (;;) {
        nghttp2_nv field;
        int flags = 0;
        ssize_t used = nghttp2_hd_inflate_hd2(
            half->inflater, &field, &flags, (const uint8_t *)left.at, left.len, 1);
        if (used < 0) {
            return false;
        }
        left = slice_skip(left, (size_t)used);
        if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0) {
            take_field(head, slice_of((const char *)field.name, field.namelen),
                slice_of((const char *)field.value, field.valuelen));
        }
        if ((flags & NGHTTP2_HD_INFLATE_FINAL) != 0) {
            nghttp2_hd_inflate_end_headers(half->inflater);
            return true;
        }
        if ((flags & NGHTTP2_HD_INFLATE_EMIT) == 0 && left.len == 0) {
            return true;
        }
    }
}

static void write_head(
    struct tap_h2 *h2, struct capture_entry *entry, enum capture_side side, const struct head *head)
{
    struct buf out = BUF_INIT(HTTP1_HEAD_BYTES_MAX);
    if (side == CAPTURE_REQUEST) {
        buf_printf(&out, "%.*s %.*s HTTP/1.1\r\nhost: %.*s\r\n", SLICE_ARG(head->method),
            SLICE_ARG(head->path), SLICE_ARG(head->authority));
    } else {
        buf_printf(&out, "HTTP/1.1 %.*s \r\n", SLICE_ARG(head->status));
    }
    struct slice lines =
        slice_of(head->lines.at + head->lines.start, head->lines.failed ? 0 : head->lines.len);
    buf_append_slice(&out, lines);
    buf_append_str(&out, "\r\n");
    if (!out.failed) {
        capture_head(h2->capture, entry, side, buf_slice(&out), SLICE_EMPTY);
        capture_touch(h2->capture, entry);
    }
    buf_reset(&out);
}

static void take_request(struct tap_h2 *h2, const struct head *head, uint32_t id, uint64_t now_ns)
{
    struct tap_h2_stream *stream = find_stream(h2, id);
    if (stream != NULL || head->method.len == 0) {
        return; // trailers
    }
    stream = open_stream(h2, id, now_ns);
    if (stream != NULL) {
        (void)slice_to_text(head->method, stream->entry->method, sizeof stream->entry->method);
        write_head(h2, stream->entry, CAPTURE_REQUEST, head);
    }
}

static void take_answer(struct tap_h2 *h2, const struct head *head, uint32_t id, uint64_t now_ns)
{
    struct tap_h2_stream *stream = find_stream(h2, id);
    bool interim = head->status.len > 0 && head->status.at[0] == '1';
    if (stream == NULL || interim || stream->entry->messages[CAPTURE_ANSWER].begun_ns != 0) {
        return;
    }
    stream->entry->messages[CAPTURE_ANSWER].begun_ns = now_ns;
    stream->entry->state = CAPTURE_ANSWERING;
    write_head(h2, stream->entry, CAPTURE_ANSWER, head);
}

static void end_head(struct tap_h2 *h2, enum capture_side side, uint64_t now_ns)
{
    struct tap_h2_half *half = &h2->halves[side];
    struct head head = {
        .lines = BUF_INIT(HTTP1_HEAD_BYTES_MAX), .texts = BUF_INIT(HTTP1_HEAD_BYTES_MAX)};
    half->gathers = false;
    h2->broken |= buf_reserve(&head.texts, HTTP1_HEAD_BYTES_MAX) == NULL || !inflate(half, &head);
    buf_clear(&half->fields);
    if (!h2->broken && side == CAPTURE_REQUEST) {
        take_request(h2, &head, half->id, now_ns);
    } else if (!h2->broken) {
        take_answer(h2, &head, half->id, now_ns);
    }
    buf_reset(&head.lines);
    buf_reset(&head.texts);
    struct tap_h2_stream *stream = find_stream(h2, half->id);
    if (half->ends && stream != NULL && !stream->ended[side]) {
        end_side(h2, stream, side, now_ns);
    }
}

// ---- Frames

// Padding and priority, which stand around what counts. False: they do not fit.
static bool strip(const struct tap_h2_half *half, struct slice *payload)
{
    size_t front = 0;
    size_t back = 0;
    if ((half->flags & PADDED) != 0) {
        if (payload->len < 1) {
            return false;
        }
        front = 1;
        back = (uint8_t)payload->at[0];
    }
    front += half->type == HEADERS && (half->flags & PRIORITY) != 0 ? PRIORITY_LEN : 0;
    if (front + back > payload->len) {
        return false;
    }
    *payload = slice_of(payload->at + front, payload->len - front - back);
    return true;
}

static void take_settings(struct tap_h2 *h2, enum capture_side side, struct slice payload)
{
    nghttp2_hd_inflater *other =
        h2->halves[side == CAPTURE_REQUEST ? CAPTURE_ANSWER : CAPTURE_REQUEST].inflater;
    for (; payload.len >= SETTING_LEN; payload = slice_skip(payload, SETTING_LEN)) {
        const uint8_t *at = (const uint8_t *)payload.at;
        uint32_t value =
            (uint32_t)at[2] << 24 | (uint32_t)at[3] << 16 | (uint32_t)at[4] << 8 | at[5];
        if (at[0] == 0 && at[1] == SETTING_TABLE_SIZE) {
            h2->broken |= nghttp2_hd_inflate_change_table_size(
                              other, value < TABLE_MAX ? value : TABLE_MAX) != 0;
        }
    }
}

static void end_frame(struct tap_h2 *h2, enum capture_side side, uint64_t now_ns)
{
    struct tap_h2_half *half = &h2->halves[side];
    struct slice payload = buf_slice(&half->frame);
    struct tap_h2_stream *stream = find_stream(h2, half->id);
    half->inside = false;
    half->header_len = 0;
    if (half->type == HEADERS || half->type == CONTINUATION) {
        bool fits = half->type == CONTINUATION || strip(half, &payload);
        h2->broken |= !fits || buf_append_slice(&half->fields, payload) != WEIR_OK;
        half->ends = half->type == HEADERS ? (half->flags & END_STREAM) != 0 : half->ends;
        half->gathers = true;
        if (!h2->broken && (half->flags & END_HEADERS) != 0) {
            end_head(h2, side, now_ns);
        }
    } else if (half->type == SETTINGS && (half->flags & ACKNOWLEDGED) == 0) {
        take_settings(h2, side, payload);
    } else if (half->type == RESET && stream != NULL) {
        leave(h2, stream, CAPTURE_CUT);
    } else if (half->type == DATA && (half->flags & END_STREAM) != 0 && stream != NULL &&
               !stream->ended[side]) {
        end_side(h2, stream, side, now_ns);
    }
    buf_reset(&half->frame);
}

static bool is_gathered(uint8_t type)
{
    return type == HEADERS || type == CONTINUATION || type == SETTINGS;
}

static void begin_frame(struct tap_h2 *h2, struct tap_h2_half *half)
{
    const uint8_t *at = half->header;
    uint32_t id = ((uint32_t)at[5] << 24 | (uint32_t)at[6] << 16 | (uint32_t)at[7] << 8 | at[8]) &
                  0x7fffffffu;
    half->left = (size_t)at[0] << 16 | (size_t)at[1] << 8 | at[2];
    half->type = at[3];
    half->flags = at[4];
    // Nothing comes between the frames of one head (RFC 9113 section 6.10).
    h2->broken |=
        half->gathers != (half->type == CONTINUATION) || (half->gathers && id != half->id);
    h2->broken |= is_gathered(half->type) && half->left > FRAME_MAX;
    half->id = id;
    half->padding = 0;
    half->inside = true;
    half->starts = half->type == DATA && (half->flags & PADDED) != 0 && half->left > 0;
}

static struct slice feed_header(struct tap_h2 *h2, struct tap_h2_half *half, struct slice bytes)
{
    size_t missing = TAP_H2_HEADER_SIZE - half->header_len;
    size_t len = bytes.len < missing ? bytes.len : missing;
    memcpy(half->header + half->header_len, bytes.at, len);
    half->header_len += len;
    if (half->header_len == TAP_H2_HEADER_SIZE) {
        begin_frame(h2, half);
    }
    return slice_skip(bytes, len);
}

static void take_data(struct tap_h2 *h2, enum capture_side side, struct slice piece)
{
    struct tap_h2_half *half = &h2->halves[side];
    struct tap_h2_stream *stream = find_stream(h2, half->id);
    size_t behind = half->left - piece.len; // of this piece, in the frame
    size_t padding = half->padding > behind ? half->padding - behind : 0;
    piece.len = padding < piece.len ? piece.len - padding : 0;
    if (stream != NULL && piece.len > 0) {
        capture_payload(h2->capture, stream->entry, side, piece);
        capture_touch(h2->capture, stream->entry);
    }
}

static struct slice feed_payload(struct tap_h2 *h2, enum capture_side side, struct slice bytes)
{
    struct tap_h2_half *half = &h2->halves[side];
    size_t len = half->left < bytes.len ? half->left : bytes.len;
    if (half->starts) {
        half->starts = false;
        half->padding = (uint8_t)bytes.at[0];
        half->left--;
        h2->broken |= half->padding > half->left;
        return slice_skip(bytes, 1);
    }
    if (is_gathered(half->type)) {
        h2->broken |= buf_append(&half->frame, bytes.at, len) != WEIR_OK;
    } else if (half->type == DATA) {
        take_data(h2, side, slice_of(bytes.at, len));
    }
    half->left -= len;
    return slice_skip(bytes, len);
}

void tap_h2_feed(struct tap_h2 *h2, enum capture_side side, struct slice bytes, uint64_t now_ns)
{
    struct tap_h2_half *half = &h2->halves[side];
    if (side == CAPTURE_REQUEST && h2->preface_left > 0) {
        size_t len = bytes.len < h2->preface_left ? bytes.len : h2->preface_left;
        h2->preface_left -= len;
        bytes = slice_skip(bytes, len);
    }
    while (bytes.len > 0 && !h2->broken) {
        bytes = half->inside ? feed_payload(h2, side, bytes) : feed_header(h2, half, bytes);
        if (half->inside && half->left == 0 && !h2->broken) {
            end_frame(h2, side, now_ns);
        }
    }
    if (h2->broken) {
        tap_h2_close(h2);
    }
}

void tap_h2_close(struct tap_h2 *h2)
{
    h2->broken = true;
    for (size_t i = 0; i < TAP_H2_STREAMS_MAX; i++) {
        if (h2->streams[i].entry != NULL) {
            leave(h2, &h2->streams[i], CAPTURE_CUT);
        }
    }
    for (size_t i = 0; i < CAPTURE_SIDE_COUNT; i++) {
        struct tap_h2_half *half = &h2->halves[i];
        buf_reset(&half->frame);
        buf_reset(&half->fields);
        if (half->inflater != NULL) {
            nghttp2_hd_inflate_del(half->inflater);
            half->inflater = NULL;
        }
    }
}
