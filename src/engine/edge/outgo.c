// SPDX-License-Identifier: Apache-2.0
// Bytes leave in the order they came: first what waits, then the block, then the pieces at hand.
// While something waits nothing gathers: everything goes behind it.
#include "engine/edge/outgo.h"

#include "engine/shard.h"

#define PARTS_MAX (OUTGO_PARTS_MAX + 1)

void outgo_init(struct outgo *out, struct stream *stream, struct visitor *visitor, size_t held_max)
{
    *out = (struct outgo){.stream = stream, .visitor = visitor, .held = BUF_INIT(held_max)};
}

static void drop_block(struct outgo *out)
{
    if (out->block != NULL) {
        blocks_give(&out->visitor->shard->blocks, out->block);
    }
    out->block = NULL;
    out->len = 0;
}

static void count_records(struct outgo *out, size_t now)
{
    if (now > out->records) {
        visitor_hold(out->visitor, now - out->records);
    } else if (now < out->records) {
        visitor_release(out->visitor, out->records - now);
    }
    out->records = now;
}

static void drop_held(struct outgo *out)
{
    if (out->held.len > 0) {
        visitor_release(out->visitor, out->held.len);
        count_records(out, 0);
    }
    buf_reset(&out->held);
}

void outgo_fini(struct outgo *out)
{
    drop_block(out);
    drop_held(out);
}

static void fail(struct outgo *out)
{
    out->failed = true;
    drop_block(out);
    drop_held(out);
}

static void hold(struct outgo *out, struct slice piece)
{
    if (piece.len == 0) {
        return;
    }
    if (buf_append_slice(&out->held, piece) != WEIR_OK) {
        fail(out);
    } else {
        visitor_hold(out->visitor, piece.len);
    }
}

// What is left of pieces after their first written bytes.
static void hold_rest(struct outgo *out, const struct slice *pieces, size_t count, size_t written)
{
    for (size_t i = 0; i < count && !out->failed; i++) {
        size_t gone = written < pieces[i].len ? written : pieces[i].len;
        written -= gone;
        hold(out, slice_skip(pieces[i], gone));
    }
}

// Nothing waits: the pieces are next.
static void write_pieces(struct outgo *out, const struct slice *pieces, size_t count)
{
    struct iovec parts[PARTS_MAX];
    for (size_t i = 0; i < count; i++) {
        parts[i] = (struct iovec){(char *)(uintptr_t)pieces[i].at, pieces[i].len};
    }
    size_t written = 0;
    enum weir_result result = stream_write(out->stream, parts, count, &written);
    if (result != WEIR_OK && result != WEIR_AGAIN) {
        fail(out);
        return;
    }
    hold_rest(out, pieces, count, result == WEIR_OK ? written : 0);
    if (out->held.len > 0) {
        count_records(out, stream_backlog(out->stream));
    }
}

static void write_block_and(struct outgo *out, const struct slice *pieces, size_t count)
{
    struct slice all[PARTS_MAX];
    size_t all_count = 0;
    if (out->len > 0) {
        all[all_count++] = slice_of(out->block, out->len);
    }
    for (size_t i = 0; i < count; i++) {
        if (pieces[i].len > 0) {
            all[all_count++] = pieces[i];
        }
    }
    if (all_count > 0) {
        write_pieces(out, all, all_count);
    }
    drop_block(out);
}

static void gather(struct outgo *out, struct slice piece)
{
    if (out->block == NULL) {
        out->block = blocks_take(&out->visitor->shard->blocks);
        if (out->block == NULL) {
            fail(out);
            return;
        }
    }
    memcpy(out->block + out->len, piece.at, piece.len);
    out->len += piece.len;
}

void outgo_send(struct outgo *out, const struct slice *pieces, size_t count)
{
    if (out->failed) {
        return;
    }
    if (out->held.len > 0) {
        hold_rest(out, pieces, count, 0);
        return;
    }
    size_t len = 0;
    for (size_t i = 0; i < count; i++) {
        len += pieces[i].len;
    }
    if (len > OUTGO_SMALL_MAX || out->len + len > BLOCK_SIZE) {
        write_block_and(out, pieces, count);
        return;
    }
    for (size_t i = 0; i < count && !out->failed; i++) {
        gather(out, pieces[i]);
    }
}

void outgo_add(struct outgo *out, struct slice piece)
{
    if (out->failed || piece.len == 0) {
        return;
    }
    if (out->held.len == 0 && out->len + piece.len <= BLOCK_SIZE) {
        gather(out, piece);
    } else {
        outgo_send(out, &piece, 1);
    }
}

bool outgo_flush(struct outgo *out)
{
    while (!out->failed && out->held.len > 0) {
        struct slice waiting = buf_slice(&out->held);
        struct iovec part = {(char *)(uintptr_t)waiting.at, waiting.len};
        size_t written = 0;
        enum weir_result result = stream_write(out->stream, &part, 1, &written);
        if (result == WEIR_AGAIN) {
            count_records(out, stream_backlog(out->stream));
            return false;
        }
        if (result != WEIR_OK) {
            fail(out);
            return false;
        }
        buf_consume(&out->held, written);
        visitor_release(out->visitor, written);
        count_records(out, out->held.len > 0 ? stream_backlog(out->stream) : 0);
    }
    if (!out->failed && out->len > 0) {
        write_block_and(out, NULL, 0);
    }
    return out->held.len == 0;
}
