// SPDX-License-Identifier: Apache-2.0
// Sending. While one connection's bytes are processed, frames forwarded to others are only noted
// here, as pointers into the buffer they were read into; at the end of the read each receiver gets
// one writev. What the kernel does not take is copied into the receiver's queue.
//
// Invariants:
// 1. Bytes of one receiver leave in the order they were accepted: queue first, then noted parts. A
//    receiver with a queue gets no noted parts; they are copied behind the queue at once.
// 2. Noted parts never outlive the read that made them: every reader ends with outbox_flush.
// 3. queued_bytes is the sum of all queues of the worker.
#include "base/mem.h"
#include "obs/log.h"
#include "stream/websocket_internal.h"

#define OUTBOX_RECEIVERS 64
#define OUTBOX_PARTS 64

struct entry {
    struct ws *to; // NULL: free
    size_t count;
    size_t len;
    struct iovec parts[OUTBOX_PARTS];
};

struct outbox {
    unsigned used; // entries below this may be in use
    size_t queued_bytes;
    size_t queued_max;
    struct entry entries[OUTBOX_RECEIVERS];
};

static struct outbox *outbox_of(const struct worker *worker)
{
    return worker->rooms[ROOM_OUTBOX];
}

enum weir_result ws_worker_init(struct worker *worker, size_t queued_max)
{
    struct outbox *outbox = outbox_of(worker);
    if (outbox == NULL) {
        outbox = mem_zalloc(sizeof *outbox);
        worker->rooms[ROOM_OUTBOX] = outbox;
    }
    if (outbox == NULL) {
        return WEIR_MEMORY;
    }
    outbox->queued_max += queued_max;
    return WEIR_OK;
}

void ws_worker_fini(struct worker *worker)
{
    mem_free(outbox_of(worker));
    worker->rooms[ROOM_OUTBOX] = NULL;
}

static struct entry *entry_of(const struct ws *ws)
{
    struct outbox *outbox = outbox_of(ws->stream.worker);
    return ws->outbox_slot == 0 ? NULL : &outbox->entries[ws->outbox_slot - 1];
}

static void account(struct ws *ws, size_t before)
{
    struct worker *worker = ws->stream.worker;
    struct outbox *outbox = outbox_of(worker);
    outbox->queued_bytes = outbox->queued_bytes - before + ws_queued(ws);
    metrics_add(worker->metrics, METRIC_OUTBOUND_QUEUE_BYTES,
        (int64_t)ws_queued(ws) - (int64_t)before);
}

static enum weir_result make_queue(struct ws *ws)
{
    const struct ws_policy *policy = ws->policy;
    if (ws->queue == NULL) {
        ws->queue = mem_alloc(sizeof *ws->queue);
        if (ws->queue == NULL) {
            return WEIR_MEMORY;
        }
        // One frame may overshoot the bound that is looked at before each send, and a close frame
        // too.
        buf_init(ws->queue, policy->queue_max + policy->message_max + 2 * WS_HEADER_MAX + 256);
    }
    return WEIR_OK;
}

static void drop_queue(struct ws *ws)
{
    if (ws->queue != NULL) {
        buf_reset(ws->queue);
        mem_free(ws->queue);
        ws->queue = NULL;
    }
}

static void enqueue(struct ws *ws, const struct iovec *parts, size_t count)
{
    size_t before = ws_queued(ws);
    enum weir_result result = make_queue(ws);
    for (size_t i = 0; i < count && result == WEIR_OK; i++) {
        result = buf_append(ws->queue, parts[i].iov_base, parts[i].iov_len);
    }
    account(ws, before);
    ws->was_high = ws->was_high || ws_queued(ws) > ws->policy->queue_high;
    if (result != WEIR_OK) {
        ws_fail(ws, result == WEIR_FULL ? &close_OVERFLOW : &close_NO_MEMORY);
    }
}

static size_t skip_written(struct iovec *parts, size_t count, size_t len)
{
    size_t done = 0;
    while (done < count && len >= parts[done].iov_len) {
        len -= parts[done++].iov_len;
    }
    if (done < count && len > 0) {
        parts[done].iov_base = (char *)parts[done].iov_base + len;
        parts[done].iov_len -= len;
    }
    return done;
}

static size_t total_len(const struct iovec *parts, size_t count)
{
    size_t len = 0;
    for (size_t i = 0; i < count; i++) {
        len += parts[i].iov_len;
    }
    return len;
}

// stream_write may change the parts it has written; what is left is told by length alone.
static void write_now(struct ws *ws, struct iovec *parts, size_t count)
{
    struct iovec copy[OUTBOX_PARTS];
    memcpy(copy, parts, count * sizeof *parts);
    size_t len = total_len(parts, count);
    size_t written = 0;
    enum weir_result result = stream_write(&ws->stream, copy, count, &written);
    if (result != WEIR_OK && result != WEIR_AGAIN) {
        ws_fail(ws, &close_PEER_RESET);
        return;
    }
    if (written == len) {
        return;
    }
    size_t done = skip_written(parts, count, written);
    enqueue(ws, parts + done, count - done);
    ws_update_interest(ws);
}

void outbox_send(struct ws *ws, struct iovec *parts, size_t count)
{
    outbox_flush_one(ws);
    if (ws->state == WS_DEAD) {
        return;
    }
    if (ws_queued(ws) > 0) {
        enqueue(ws, parts, count);
    } else {
        write_now(ws, parts, count);
    }
}

static void flush_entry(struct entry *entry)
{
    struct ws *ws = entry->to;
    if (ws == NULL) {
        return;
    }
    size_t count = entry->count;
    entry->to = NULL;
    entry->count = entry->len = 0;
    ws->outbox_slot = 0;
    write_now(ws, entry->parts, count);
}

void outbox_flush_one(struct ws *ws)
{
    if (ws->outbox_slot != 0) {
        flush_entry(entry_of(ws));
    }
}

void outbox_flush(struct worker *worker)
{
    struct outbox *outbox = outbox_of(worker);
    for (unsigned i = 0; i < outbox->used; i++) {
        flush_entry(&outbox->entries[i]);
    }
    outbox->used = 0;
}

void ws_settle(struct worker *worker)
{
    outbox_flush(worker);
}

void outbox_forget(struct ws *ws)
{
    struct entry *entry = entry_of(ws);
    if (entry != NULL) {
        entry->to = NULL;
        entry->count = entry->len = 0;
        ws->outbox_slot = 0;
    }
}

void outbox_release_queue(struct ws *ws)
{
    size_t before = ws_queued(ws);
    drop_queue(ws);
    account(ws, before);
}

static struct entry *claim_entry(struct ws *ws)
{
    struct outbox *outbox = outbox_of(ws->stream.worker);
    if (outbox->used == OUTBOX_RECEIVERS) {
        outbox_flush(ws->stream.worker);
    }
    struct entry *entry = &outbox->entries[outbox->used++];
    entry->to = ws;
    ws->outbox_slot = (uint16_t)outbox->used;
    return entry;
}

static void note_part(struct ws *ws, char *at, size_t len)
{
    struct entry *entry = entry_of(ws);
    if (entry != NULL && entry->count == OUTBOX_PARTS) {
        outbox_flush_one(ws);
        if (ws->state != WS_OPEN) {
            return;
        }
        if (ws_queued(ws) > 0) {
            enqueue(ws, &(struct iovec){at, len}, 1);
            return;
        }
        entry = NULL;
    }
    if (entry == NULL) {
        entry = claim_entry(ws);
    }
    struct iovec *last = entry->count == 0 ? NULL : &entry->parts[entry->count - 1];
    if (last != NULL && (char *)last->iov_base + last->iov_len == at) {
        last->iov_len += len;
    } else {
        entry->parts[entry->count++] = (struct iovec){at, len};
    }
    entry->len += len;
}

// Spec section 13: the bound is looked at before each send, so it is overshot by one frame at most.
static bool has_room(struct ws *ws, size_t len)
{
    struct outbox *outbox = outbox_of(ws->stream.worker);
    if (ws_queued(ws) > ws->policy->queue_max) {
        ws_close(ws, &close_OVERFLOW);
        return false;
    }
    if (ws_queued(ws) > 0 && outbox->queued_bytes + len > outbox->queued_max) {
        struct log_line line;
        metrics_count(ws->stream.worker->metrics, METRIC_BUDGET_EXCEEDED);
        log_begin(&line, LOG_BUDGET_EXCEEDED);
        log_u64(&line, "queuedBytes", outbox->queued_bytes);
        log_u64(&line, "queuedBytesMax", outbox->queued_max);
        log_end(&line);
        ws_close(ws, &close_OVERFLOW);
        return false;
    }
    return true;
}

bool ws_forward(struct ws *to, struct ws_message *message)
{
    if (to->state != WS_OPEN || !has_room(to, message->len + WS_UNMASKED_HEADER_MAX)) {
        return false;
    }
    char *at = ws_header_write_before(message->bytes, message->len, WS_TEXT);
    size_t len = (size_t)(message->bytes - at) + message->len;
    if (ws_queued(to) > 0) {
        enqueue(to, &(struct iovec){at, len}, 1);
    } else {
        note_part(to, at, len);
        message->forwarded = true;
    }
    to->frames_sent++;
    return to->state == WS_OPEN;
}

void outbox_on_writable(struct ws *ws)
{
    while (ws_queued(ws) > 0) {
        struct slice waiting = buf_slice(ws->queue);
        struct iovec part = {(char *)(uintptr_t)waiting.at, waiting.len};
        size_t written = 0;
        enum weir_result result = stream_write(&ws->stream, &part, 1, &written);
        if (result == WEIR_AGAIN) {
            break;
        }
        if (result != WEIR_OK) {
            ws_fail(ws, &close_PEER_RESET);
            return;
        }
        buf_consume(ws->queue, written);
        account(ws, waiting.len);
        if (written < waiting.len) {
            break;
        }
    }
    if (ws_queued(ws) == 0) {
        drop_queue(ws);
    }
    ws_update_interest(ws);
    if (ws->was_high && ws_queued(ws) <= ws->policy->queue_low) {
        ws->was_high = false;
        if (ws->state == WS_OPEN) {
            ws->policy->events->drained(ws);
        }
    }
    ws_finish_when_done(ws);
}

bool ws_is_backlogged(const struct ws *ws)
{
    return ws_queued(ws) > ws->policy->queue_high;
}
