// SPDX-License-Identifier: Apache-2.0
// One function serves both directions of a pair: it writes what is held, reads a piece into the
// worker's read area, writes it, and holds what the kernel does not take. What a TLS sink has
// encrypted and could not send is kept there and only owed here, or it would be in memory twice.
//
// Invariants:
// 1. Bytes leave in the order they came: nothing is read while anything is owed or held, and what
//    is held is not written while anything is owed.
// 2. Hence held never grows past what one turn reads. A sink that does not read stops the source.
// 3. Our end goes to the sink once, behind the last byte.
// 4. PUMP_FAILED and PUMP_ENDED are final.
#include "stream/pump.h"

#include "stream/tls_carrier.h"

_Static_assert(PUMP_BATCH_MAX <= WORKER_READ_AREA_SIZE, "a piece has room");
_Static_assert(PUMP_BATCH_MAX == TLS_BATCH_RECORDS_MAX * TLS_RECORD_MAX, "it is one batch");

void pump_init(struct pump *pump, struct stream *from, struct stream *to, struct buf *first)
{
    *pump = (struct pump){.from = from, .to = to, .piece_max = PUMP_HELD_MAX, .held = *first};
    *first = BUF_INIT(0);
    if (pump->held.len_max < PUMP_BATCH_MAX) {
        pump->held.len_max = PUMP_BATCH_MAX;
    }
}

void pump_fini(struct pump *pump)
{
    buf_reset(&pump->held);
}

static void fail(struct pump *pump, enum pump_act act, enum weir_result result)
{
    pump->state = PUMP_FAILED;
    pump->failed_act = act;
    pump->result = result;
}

// Writes as much as the kernel takes and returns how much that was.
static size_t write_some(struct pump *pump, const char *bytes, size_t len)
{
    struct iovec part = {(char *)(uintptr_t)bytes, len};
    size_t written = 0;
    enum weir_result result = stream_write(pump->to, &part, 1, &written);
    if (result != WEIR_OK && result != WEIR_AGAIN) {
        fail(pump, PUMP_WRITE, result);
        return 0;
    }
    pump->bytes += written;
    return written;
}

// The same, and how much of what it does not take the sink keeps for later.
static size_t write_or_leave(struct pump *pump, const char *bytes, size_t len)
{
    size_t written = write_some(pump, bytes, len);
    pump->owed = written < len && pump->state != PUMP_FAILED ? stream_kept(pump->to) : 0;
    weir_assert(pump->owed <= len - written);
    return written + pump->owed;
}

static bool send_owed(struct pump *pump)
{
    size_t gone = 0;
    enum weir_result result = stream_flush(pump->to, &gone);
    if (result != WEIR_OK && result != WEIR_AGAIN) {
        fail(pump, PUMP_WRITE, result);
        return false;
    }
    weir_assert(gone <= pump->owed);
    pump->owed -= gone;
    pump->bytes += gone;
    return gone > 0;
}

static bool write_held(struct pump *pump)
{
    struct slice waiting = buf_slice(&pump->held);
    size_t taken = write_or_leave(pump, waiting.at, waiting.len);
    buf_consume(&pump->held, taken);
    return taken > 0;
}

static bool move_piece(struct pump *pump)
{
    struct iovec part = {pump->from->worker->read_area, pump->piece_max};
    const char *bytes = part.iov_base;
    size_t len = 0;
    enum weir_result result = stream_read(pump->from, &part, 1, &len);
    if (result == WEIR_AGAIN) {
        return false;
    }
    if (result == WEIR_CLOSED) {
        pump->state = PUMP_ENDING;
        if (pump->tap != NULL) {
            pump->tap(pump, "", 0);
        }
        return true;
    }
    if (result != WEIR_OK) {
        fail(pump, PUMP_READ, result);
        return false;
    }
    if (pump->tap != NULL) {
        pump->tap(pump, bytes, len);
    }
    size_t taken = write_or_leave(pump, bytes, len);
    if (pump->state == PUMP_FLOWS && taken < len &&
        buf_append(&pump->held, bytes + taken, len - taken) != WEIR_OK) {
        fail(pump, PUMP_READ, WEIR_MEMORY);
    }
    return true;
}

static void send_end(struct pump *pump)
{
    enum weir_result result = stream_end(pump->to);
    if (result == WEIR_OK) {
        pump->state = PUMP_ENDED;
    } else if (result != WEIR_AGAIN) {
        fail(pump, PUMP_WRITE, result);
    }
}

bool pump_turn(struct pump *pump)
{
    bool moved = false;
    if (pump->paused) {
        return false;
    }
    if (pump->owed > 0) {
        moved = send_owed(pump);
    }
    if (pump->held.len > 0 && pump->owed == 0 && pump->state != PUMP_FAILED) {
        moved = write_held(pump) || moved;
    }
    if (pump->state == PUMP_FLOWS && pump_is_empty(pump)) {
        moved = move_piece(pump) || moved;
    }
    if (pump->state == PUMP_ENDING && pump_is_empty(pump)) {
        send_end(pump);
    }
    return moved;
}
