// SPDX-License-Identifier: Apache-2.0
// Half-close, in every combination. An end is close_notify with TLS (a FIN without one counts too:
// the bytes in between say themselves where they end) and FIN without.
//
//   front -> back   back -> front   what happens
//   flows           flows           bytes go both ways; idle_ns
//   ENDING          flows           the front has ended, bytes for the back are still held: they go
//                                   first, then our end; the front is not read any more
//   ENDED           flows           the back was told; its answer still goes to the front;
//                                   half_idle_ns
//   flows           ENDING, ENDED   the same, mirrored
//   ENDING, ENDED   ENDING          what is held goes out, nothing is read any more; half_idle_ns
//   ENDED           ENDED           both sockets are closed at once: nothing can be unread (reading
//                                   ended with an end), so the kernel sends no reset
//   FAILED          any             both sides are reset: a peer that has lost bytes must not take
//                                   what it has for everything
//   any             FAILED          the same
//   ENDED           flows, and the back resets    met by the read: FAILED, as above
//   any             any, and the front resets     met by the read or write that waits for it; when
//                                   none does it is told: FAILED, as above. The back's is not asked
//                                   for: what it said before may still be wanted
//   paused          ENDED           impossible because only `down` is ever paused
//   ENDED           paused          impossible because the front's end ends the hold
//
// Invariants:
// 1. Each stream waits exactly for what its two pumps want; nothing is polled.
// 2. close_pair is the only exit: idempotent; `ended` follows when both streams have gone.
#include "stream/pair.h"

#include "base/time.h"

static const char *const end_texts[PAIR_END_COUNT] = {
#define PAIR_END(symbol, text) [PAIR_##symbol] = (text),
#include "stream/pair_ends.def"
#undef PAIR_END
};

const char *pair_end_text(enum pair_end end)
{
    return end_texts[end];
}

static void tell(struct worker *worker, struct job *job)
{
    struct pair *pair = container_of(job, struct pair, gone);
    (void)worker;
    pair->ended(pair, pair->end);
}

static void stream_gone(struct pair *pair)
{
    if (--pair->open_count == 0) {
        pair->ended(pair, pair->end);
    }
}

static void on_front_closed(struct stream *stream)
{
    stream_gone(container_of(stream, struct pair, front));
}

static void on_back_closed(struct stream *stream)
{
    stream_gone(container_of(stream, struct pair, back));
}

static void account(struct pair *pair, size_t now)
{
    size_t before = pair->held_bytes;
    pair->held_bytes = now;
    if (pair->held != NULL && now != before) {
        pair->held(pair, before, now);
    }
}

static void close_pair(struct pair *pair, enum pair_end end)
{
    if (pair->closing) {
        return;
    }
    bool hard = end != PAIR_DONE;
    pair->closing = true;
    pair->end = end;
    timer_cancel(&pair->timer);
    pump_fini(&pair->up);
    pump_fini(&pair->down);
    account(pair, 0);
    if (pair->open_count == 0) {
        worker_defer(pair->worker, &pair->gone, tell);
        return;
    }
    if (pair->front.fd >= 0) {
        stream_close(&pair->front, hard, on_front_closed);
    }
    if (pair->back.fd >= 0) {
        stream_close(&pair->back, hard, on_back_closed);
    }
}

void pair_cut(struct pair *pair)
{
    close_pair(pair, PAIR_CUT);
}

static enum pair_end failure_of(const struct pump *pump, bool up)
{
    if (pump->result == WEIR_MEMORY || pump->result == WEIR_FULL) {
        return PAIR_NO_RESOURCES;
    }
    if (pump->failed_act == PUMP_READ) {
        return up ? PAIR_FRONT_READ : PAIR_BACK_READ;
    }
    return up ? PAIR_BACK_WRITE : PAIR_FRONT_WRITE;
}

static unsigned wanted(const struct pump *from, const struct pump *to)
{
    return (pump_wants_read(from) ? (unsigned)WATCH_READ : 0) |
           (pump_wants_write(to) ? (unsigned)WATCH_WRITE : 0);
}

static uint64_t idle_limit(const struct pair *pair)
{
    bool half = pair->up.state != PUMP_FLOWS || pair->down.state != PUMP_FLOWS;
    return half ? pair->half_idle_ns : pair->idle_ns;
}

static void settle(struct pair *pair)
{
    if (pair->up.state == PUMP_FAILED || pair->down.state == PUMP_FAILED) {
        bool up = pair->up.state == PUMP_FAILED;
        close_pair(pair, failure_of(up ? &pair->up : &pair->down, up));
        return;
    }
    if (pair->up.state == PUMP_ENDED && pair->down.state == PUMP_ENDED) {
        close_pair(pair, PAIR_DONE);
        return;
    }
    account(pair, pump_held(&pair->up) + pump_held(&pair->down));
    unsigned of_front = wanted(&pair->up, &pair->down);
    stream_want(&pair->front, of_front != 0 ? of_front : (unsigned)WATCH_BROKEN);
    stream_want(&pair->back, wanted(&pair->down, &pair->up));
}

static void release(struct pair *pair)
{
    pair->down.paused = false;
    worker_arm_in(pair->worker, &pair->timer, idle_limit(pair));
}

static void turn(struct pair *pair, bool up, bool down)
{
    uint64_t up_before = pair->up.bytes;
    uint64_t down_before = pair->down.bytes;
    bool half_before = pair->up.state != PUMP_FLOWS || pair->down.state != PUMP_FLOWS;
    bool moved = up && pump_turn(&pair->up);
    if (moved && pair->down.paused) {
        release(pair);
        down = true;
    }
    moved = (down && pump_turn(&pair->down)) || moved;
    if (moved) {
        pair->active_ns = worker_now(pair->worker);
    }
    bool half = pair->up.state != PUMP_FLOWS || pair->down.state != PUMP_FLOWS;
    if (half && !half_before) {
        worker_arm_in(pair->worker, &pair->timer, pair->half_idle_ns);
    }
    if (pair->up.bytes != up_before || pair->down.bytes != down_before) {
        pair->moved(pair, pair->up.bytes - up_before, pair->down.bytes - down_before);
    }
    settle(pair);
}

static void on_up_tap(struct pump *pump, const void *bytes, size_t len)
{
    struct pair *pair = container_of(pump, struct pair, up);
    pair->tapped(pair, true, bytes, len);
}

static void on_down_tap(struct pump *pump, const void *bytes, size_t len)
{
    struct pair *pair = container_of(pump, struct pair, down);
    pair->tapped(pair, false, bytes, len);
}

static void on_front(struct stream *stream, unsigned events)
{
    struct pair *pair = container_of(stream, struct pair, front);
    if (events == WATCH_BROKEN) {
        close_pair(pair, PAIR_FRONT_READ);
        return;
    }
    turn(pair, (events & WATCH_READ) != 0, (events & WATCH_WRITE) != 0);
}

static void on_back(struct stream *stream, unsigned events)
{
    turn(container_of(stream, struct pair, back), (events & WATCH_WRITE) != 0,
        (events & WATCH_READ) != 0);
}

static void on_timer(struct timer *timer)
{
    struct pair *pair = container_of(timer, struct pair, timer);
    if (pair->down.paused) {
        release(pair);
        turn(pair, false, true);
        return;
    }
    uint64_t deadline = pair->active_ns + idle_limit(pair);
    if (worker_now(pair->worker) >= deadline) {
        close_pair(pair, PAIR_IDLE);
    } else {
        worker_arm(pair->worker, timer, deadline);
    }
}

static bool open_stream(
    struct pair *pair, struct stream *stream, struct stream_state *state, stream_fn *ready)
{
    if (stream_open(stream, pair->worker, state->fd, state->ssl, ready) != WEIR_OK) {
        return false;
    }
    stream_accept_bare_end(stream);
    pair->open_count++;
    return true;
}

void pair_open(struct pair *pair, struct worker *worker, struct pair_options *options)
{
    *pair = (struct pair){
        .worker = worker,
        .active_ns = worker_now(worker),
        .idle_ns = options->idle_ns,
        .half_idle_ns = options->half_idle_ns,
        .moved = options->moved,
        .tapped = options->tapped,
        .held = options->held,
        .ended = options->ended,
        .front.fd = -1,
        .back.fd = -1,
    };
    timer_init(&pair->timer, on_timer);
    list_init(&pair->gone.node);
    pump_init(&pair->up, &pair->front, &pair->back, options->front_unread);
    pump_init(&pair->down, &pair->back, &pair->front, options->back_unread);
    if (options->tapped != NULL) {
        pair->up.tap = on_up_tap;
        pair->down.tap = on_down_tap;
    }
    if (options->whole_batches) {
        pair->up.piece_max = options->back.ssl != NULL ? PUMP_BATCH_MAX : PUMP_HELD_MAX;
        pair->down.piece_max = options->front.ssl != NULL ? PUMP_BATCH_MAX : PUMP_HELD_MAX;
    }
    bool front = open_stream(pair, &pair->front, &options->front, on_front);
    bool back = open_stream(pair, &pair->back, &options->back, on_back);
    if (!front || !back) {
        close_pair(pair, PAIR_NO_RESOURCES);
        return;
    }
    pair->down.paused = options->hold_ns > 0 && pair->up.held.len == 0;
    worker_arm_in(worker, &pair->timer, pair->down.paused ? options->hold_ns : pair->idle_ns);
    turn(pair, true, true);
}
