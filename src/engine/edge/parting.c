// SPDX-License-Identifier: Apache-2.0
// Writes, sends its end, and reads until the peer's end, so that the kernel does not answer unread
// bytes with a reset that overtakes the words. All of it within PARTING_MAX_NS.
#include "engine/edge/parting.h"

#include "base/mem.h"
#include "base/time.h"

#define PARTING_MAX_NS (2 * NS_PER_S)

struct parting {
    struct stream stream;
    struct engine_shard *shard;
    struct list node; // in shard->partings
    struct timer deadline;
    struct buf words;
    bool finished; // our end is sent
    bool closing;
};

static void on_closed(struct stream *stream)
{
    struct parting *parting = container_of(stream, struct parting, stream);
    struct engine_shard *shard = parting->shard;
    list_remove(&parting->node);
    mem_free(parting);
    engine_note_departure(shard);
}

static void close_parting(struct parting *parting, bool hard)
{
    if (parting->closing) {
        return;
    }
    parting->closing = true;
    timer_cancel(&parting->deadline);
    buf_reset(&parting->words);
    stream_close(&parting->stream, hard, on_closed);
}

static void say(struct parting *parting)
{
    struct slice waiting = buf_slice(&parting->words);
    struct iovec part = {(char *)(uintptr_t)waiting.at, waiting.len};
    size_t written = 0;
    enum weir_result result =
        waiting.len == 0 ? WEIR_OK : stream_write(&parting->stream, &part, 1, &written);
    if (result != WEIR_OK && result != WEIR_AGAIN) {
        close_parting(parting, true);
        return;
    }
    buf_consume(&parting->words, written);
    if (parting->words.len > 0) {
        stream_want(&parting->stream, WATCH_WRITE);
        return;
    }
    stream_finish(&parting->stream);
    parting->finished = true;
    stream_want(&parting->stream, WATCH_READ);
}

static void discard(struct parting *parting)
{
    struct iovec part = {parting->stream.worker->read_area, WORKER_READ_AREA_SIZE};
    size_t len;
    enum weir_result result = stream_read(&parting->stream, &part, 1, &len);
    if (result != WEIR_OK && result != WEIR_AGAIN) {
        close_parting(parting, false);
    }
}

static void on_ready(struct stream *stream, unsigned events)
{
    struct parting *parting = container_of(stream, struct parting, stream);
    (void)events;
    if (parting->finished) {
        discard(parting);
    } else {
        say(parting);
    }
}

static void on_deadline(struct timer *timer)
{
    close_parting(container_of(timer, struct parting, deadline), true);
}

void parting_start(struct engine_shard *shard, struct stream_state *state, struct buf *words)
{
    struct parting *parting = mem_zalloc(sizeof *parting);
    if (parting == NULL) {
        stream_state_drop(state);
        buf_reset(words);
        return;
    }
    if (stream_open(&parting->stream, shard->worker, state->fd, state->ssl, on_ready) != WEIR_OK) {
        buf_reset(words);
        mem_free(parting);
        return;
    }
    parting->shard = shard;
    parting->words = *words;
    *words = BUF_INIT(0);
    list_push_back(&shard->partings, &parting->node);
    timer_init(&parting->deadline, on_deadline);
    worker_arm_in(shard->worker, &parting->deadline, PARTING_MAX_NS);
    say(parting);
}

void partings_cut(struct engine_shard *shard)
{
    list_for_each_safe (node, &shard->partings) {
        close_parting(container_of(node, struct parting, node), true);
    }
}
