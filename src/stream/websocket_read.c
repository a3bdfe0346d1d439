// SPDX-License-Identifier: Apache-2.0
// Receiving. All connections of a worker read into one area. Frames are unmasked in place, each
// moved to the front just far enough that the frames forwarded out of one read lie behind one
// another with their new (shorter) headers: a run of them to one receiver is a single piece.
//
// A frame that is not complete yet moves into the connection's own `partial`, once, and the rest of
// it is read straight to there; so a peer that sends byte by byte costs no copying. When reading is
// paused in the middle of an area, the rest waits in `partial` as well.
#include "base/mem.h"
#include "base/utf8.h"
#include "stream/websocket_internal.h"

#define PARTIAL_SIZE_MIN 1024

static void deliver(struct ws *ws, struct ws_message *message, bool ascii)
{
    if (message->opcode == WS_TEXT && !ascii &&
        !utf8_valid(slice_of(message->bytes, message->len))) {
        ws_fail(ws, &close_BAD_UTF8);
        return;
    }
    ws->policy->events->message(ws, message);
}

// ---- Fragmented messages

static enum weir_result gather_grow(struct ws *ws, size_t len)
{
    size_t needed = WS_UNMASKED_HEADER_MAX + (ws->gather == NULL ? 0 : ws->gather->len) + len;
    size_t size = ws->gather == NULL ? 0 : ws->gather->size;
    if (needed <= size) {
        return WEIR_OK;
    }
    size = needed < 2 * size ? 2 * size : needed;
    struct ws_gather *gather = mem_realloc(ws->gather, sizeof *gather + size);
    if (gather == NULL) {
        return WEIR_MEMORY;
    }
    if (ws->gather == NULL) {
        gather->len = 0;
    }
    gather->size = size;
    ws->gather = gather;
    return WEIR_OK;
}

static void gather_fragment(struct ws *ws, const struct ws_header *header, const char *payload)
{
    size_t len = (size_t)header->payload_len;
    if (gather_grow(ws, len) != WEIR_OK) {
        ws_fail(ws, &close_NO_MEMORY);
        return;
    }
    char *message = ws->gather->bytes + WS_UNMASKED_HEADER_MAX;
    ws_unmask(message + ws->gather->len, payload, len, header->mask, 0);
    ws->gather->len += len;
    if (header->opcode != WS_CONTINUATION) {
        ws->gather_opcode = header->opcode;
    }
    if (!header->fin) {
        return;
    }
    struct ws_gather *done = ws->gather;
    ws->gather = NULL;
    struct ws_message whole = {message, done->len, (enum ws_opcode)ws->gather_opcode, false};
    deliver(ws, &whole, false);
    if (whole.forwarded) {
        outbox_flush(ws->stream.worker);
    }
    mem_free(done);
}

// ---- Frames

static void handle_control(struct ws *ws, const struct ws_header *header, char *payload)
{
    size_t len = (size_t)header->payload_len;
    ws_unmask(payload, payload, len, header->mask, 0);
    if (header->opcode == WS_PONG) {
        ws->ping_sent_ns = 0;
    } else if (header->opcode == WS_PING) {
        ws_send(ws, WS_PONG, slice_of(payload, len));
    } else {
        ws_peer_closed(ws, slice_of(payload, len));
    }
}

static void handle_frame(struct ws *ws, const struct ws_header *header, char *frame, char **out)
{
    char *payload = frame + header->header_len;
    if (ws->state == WS_OPEN) {
        ws->last_activity_ns = worker_now(ws->stream.worker);
    }
    if (header->opcode >= WS_CLOSE) {
        if (ws->state == WS_OPEN || header->opcode == WS_CLOSE) {
            handle_control(ws, header, payload);
        }
        return;
    }
    if (ws->state != WS_OPEN) {
        return; // we have said goodbye; data that crosses it is not ours any more
    }
    if (!header->fin || header->opcode == WS_CONTINUATION) {
        gather_fragment(ws, header, payload);
        return;
    }
    size_t len = (size_t)header->payload_len;
    char *moved = *out + ws_header_len(len);
    bool ascii = ws_unmask(moved, payload, len, header->mask, 0);
    struct ws_message message = {moved, len, (enum ws_opcode)header->opcode, false};
    deliver(ws, &message, ascii);
    if (message.forwarded) {
        *out = moved + len;
    }
}

// NULL when the header is fine, else what it breaks.
static const struct close_reason *judge_header(const struct ws *ws, const struct ws_header *header)
{
    size_t gathered = ws->gather == NULL ? 0 : ws->gather->len;
    if (!ws_header_fits(header, ws->gather != NULL)) {
        return &close_PROTOCOL;
    }
    bool data = header->opcode < WS_CLOSE;
    if (data && header->payload_len > ws->policy->message_max - gathered) {
        return &close_TOO_LARGE;
    }
    return NULL;
}

static bool may_read_on(const struct ws *ws)
{
    return ws->state == WS_CLOSING || (ws->state == WS_OPEN && !ws->paused);
}

// Uses complete frames; returns how many bytes. The rest is for ws_stash.
static size_t use_frames(struct ws *ws, char *bytes, size_t len)
{
    char *in = bytes;
    char *out = bytes;
    while (may_read_on(ws)) {
        struct slice rest = slice_of(in, len - (size_t)(in - bytes));
        struct ws_header header;
        enum weir_result result = ws_header_parse(rest, !ws->policy->client, &header);
        if (result == WEIR_AGAIN) {
            break;
        }
        const struct close_reason *bad =
            result == WEIR_OK ? judge_header(ws, &header) : &close_PROTOCOL;
        if (bad != NULL) {
            ws_fail(ws, bad);
            return len;
        }
        if (rest.len - header.header_len < header.payload_len) {
            break;
        }
        handle_frame(ws, &header, in, &out);
        in += header.header_len + header.payload_len;
    }
    return (size_t)(in - bytes);
}

static void consume(struct ws *ws, char *bytes, size_t len)
{
    size_t used = use_frames(ws, bytes, len);
    if (used < len && (ws->state == WS_OPEN || ws->state == WS_CLOSING) &&
        ws_stash(ws, bytes + used, len - used) != WEIR_OK) {
        ws_fail(ws, &close_NO_MEMORY);
    }
}

// ---- Input that waits

static size_t frame_need(const struct ws *ws, const char *bytes, size_t len)
{
    struct ws_header header;
    if (ws_header_parse(slice_of(bytes, len), !ws->policy->client, &header) != WEIR_OK) {
        return 0;
    }
    return header.header_len + (size_t)header.payload_len;
}

enum weir_result ws_stash(struct ws *ws, const char *bytes, size_t len)
{
    weir_assert(ws->partial == NULL);
    struct ws_partial *partial = mem_alloc(sizeof *partial + len);
    if (partial == NULL) {
        return WEIR_MEMORY;
    }
    memcpy(partial->bytes, bytes, len);
    partial->len = partial->size = len;
    partial->need = frame_need(ws, bytes, len);
    ws->partial = partial;
    if (ws->gather == NULL) {
        ws->partial_since_ns = 0; // another message has begun
    }
    return WEIR_OK;
}

void ws_drop_input(struct ws *ws)
{
    mem_free(ws->partial);
    mem_free(ws->gather);
    ws->partial = NULL;
    ws->gather = NULL;
}

static enum weir_result partial_grow(struct ws *ws)
{
    struct ws_partial *partial = ws->partial;
    if (partial->len < partial->size) {
        return WEIR_OK;
    }
    size_t size = 2 * partial->size;
    size = size < PARTIAL_SIZE_MIN ? PARTIAL_SIZE_MIN : size;
    size = size > partial->need ? partial->need : size;
    partial = mem_realloc(partial, sizeof *partial + size);
    if (partial == NULL) {
        return WEIR_MEMORY;
    }
    partial->size = size;
    ws->partial = partial;
    return WEIR_OK;
}

// The frame (or the paused input) at hand becomes the current buffer and then goes.
static void use_partial(struct ws *ws)
{
    struct ws_partial *taken = ws->partial;
    ws->partial = NULL;
    consume(ws, taken->bytes, taken->len);
    outbox_flush(ws->stream.worker);
    mem_free(taken);
}

// A begun frame or message holds the clock; a connection between messages does not.
static void note_progress(struct ws *ws)
{
    if (ws->partial == NULL && ws->gather == NULL) {
        ws->partial_since_ns = 0;
    } else if (ws->partial_since_ns == 0) {
        ws->partial_since_ns = worker_now(ws->stream.worker);
        ws_arm_timer(ws);
    }
}

// ---- Reading

// parts[0]: the rest of the frame in `partial`, empty when there is none. parts[1]: the area, behind
// a header that was cut short. Returns false when memory ran out.
static bool prepare_read(struct ws *ws, struct iovec parts[2], size_t *ret_kept)
{
    char *area = ws->stream.worker->read_area;
    struct ws_partial *partial = ws->partial;
    parts[0] = (struct iovec){area, 0};
    *ret_kept = 0;
    if (partial != NULL && partial->need > 0) {
        if (partial_grow(ws) != WEIR_OK) {
            return false;
        }
        partial = ws->partial;
        parts[0] = (struct iovec){partial->bytes + partial->len, partial->size - partial->len};
    } else if (partial != NULL) {
        memcpy(area, partial->bytes, partial->len);
        *ret_kept = partial->len;
        mem_free(partial);
        ws->partial = NULL;
    }
    parts[1] = (struct iovec){area + *ret_kept, WORKER_READ_AREA_SIZE - *ret_kept};
    return true;
}

static void use_read(struct ws *ws, size_t into_partial, size_t kept, size_t len)
{
    size_t first = len < into_partial ? len : into_partial;
    if (first > 0) {
        ws->partial->len += first;
        if (ws->partial->len == ws->partial->need) {
            use_partial(ws);
        }
    }
    len = len - first + kept;
    if (len > 0) {
        consume(ws, ws->stream.worker->read_area, len);
    }
}

static bool read_once(struct ws *ws)
{
    struct iovec parts[2];
    size_t kept;
    if (!prepare_read(ws, parts, &kept)) {
        ws_fail(ws, &close_NO_MEMORY);
        return false;
    }
    // A frame that has still to grow is filled alone, so that nothing lands behind its hole.
    bool alone = ws->partial != NULL && ws->partial->size < ws->partial->need;
    size_t into_partial = parts[0].iov_len;
    size_t len = 0;
    enum weir_result result = into_partial == 0 ? stream_read(&ws->stream, parts + 1, 1, &len)
                              : stream_read(&ws->stream, parts, alone ? 1 : 2, &len);
    if (result == WEIR_AGAIN) {
        len = 0;
    } else if (result != WEIR_OK) {
        ws_fail(ws, result == WEIR_CLOSED ? &close_PEER_GONE : &close_PEER_RESET);
        return false;
    }
    use_read(ws, into_partial, kept, len);
    return alone && len == into_partial && may_read_on(ws);
}

static void discard_input(struct ws *ws)
{
    struct iovec part = {ws->stream.worker->read_area, WORKER_READ_AREA_SIZE};
    size_t len;
    enum weir_result result = stream_read(&ws->stream, &part, 1, &len);
    if (result != WEIR_OK && result != WEIR_AGAIN) {
        ws_fail(ws, &close_PEER_GONE);
    }
}

void ws_on_readable(struct ws *ws)
{
    if (ws->state == WS_LINGER) {
        discard_input(ws);
        return;
    }
    while (read_once(ws)) {
        // a large frame doubles its room and takes what the socket still holds
    }
    outbox_flush(ws->stream.worker);
    if (ws->state != WS_DEAD) {
        note_progress(ws);
    }
}

void ws_on_resume(struct worker *worker, struct job *job)
{
    struct ws *ws = container_of(job, struct ws, resume);
    (void)worker;
    if (!may_read_on(ws)) {
        return;
    }
    if (ws->partial != NULL) {
        use_partial(ws);
    }
    if (ws->state != WS_DEAD) {
        note_progress(ws);
        ws_update_interest(ws);
    }
}
