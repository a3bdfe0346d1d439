// SPDX-License-Identifier: Apache-2.0
#include "stream/listener.h"

#include <stdatomic.h>

#include "base/time.h"
#include "obs/log.h"
#include "sys/last_call.h"

// Accepts a turn, so that a flood of newcomers does not starve those who are in.
#define ACCEPTS_PER_TURN 64
#define RESUME_DELAY_NS (100 * NS_PER_MS)
#define FIRST_LOOK_NS NS_PER_MS // for handshakes under way; who was just let through is in sight
#define LAST_CALL_NS (20 * NS_PER_MS) // the next looks; each walks the kernel's table of sockets
#define LAST_CALL_MAX_NS NS_PER_S     // a handshake of a distant client, by far

// Descriptors are the process's, and so is the one in reserve: -1 while somebody uses it.
static _Atomic int reserve = -1;

void listener_fill_reserve(void)
{
    int fd;
    int none = -1;
    if (atomic_load(&reserve) >= 0 || sys_spare_descriptor(&fd) != WEIR_OK) {
        return; // the next break tries again
    }
    if (!atomic_compare_exchange_strong(&reserve, &none, fd)) {
        sys_close(fd);
    }
}

// Whether there was a descriptor for that.
static bool turn_one_away(struct listener *listener)
{
    int fd;
    struct sys_address peer;
    int spare = atomic_exchange(&reserve, -1);
    if (spare >= 0) {
        sys_close(spare);
    }
    bool met = sys_accept(listener->fd, &fd, &peer) == WEIR_OK;
    if (met) {
        sys_close_hard(fd);
    }
    listener_fill_reserve();
    return met;
}

// A newcomer of another worker may get what was in reserve while somebody is turned away: it is
// taken back from the next one who comes.
static bool keep_reserve(void)
{
    if (atomic_load(&reserve) < 0) {
        listener_fill_reserve();
    }
    return atomic_load(&reserve) >= 0;
}

// The others wait in the kernel meanwhile. Nobody sees that from outside but by their silence.
static void take_a_break(struct listener *listener, enum weir_result reason, bool turned_away)
{
    struct log_line line;
    log_begin(&line, LOG_ACCEPT_FAILED);
    log_text(&line, "reason", weir_result_text(reason));
    log_u64(&line, "turnedAway", turned_away ? 1 : 0);
    log_u64(&line, "retryMs", RESUME_DELAY_NS / NS_PER_MS);
    log_end(&line);
    if (reason == WEIR_DESCRIPTORS && listener->runs_short != NULL) {
        listener->runs_short(listener);
    }
    watch_want(&listener->watch, WATCH_NONE);
    worker_arm_in(listener->worker, &listener->resume, RESUME_DELAY_NS);
}

// Whether nobody waits any more.
static bool take_newcomers(struct listener *listener)
{
    for (int i = 0; i < ACCEPTS_PER_TURN && listener->fd >= 0 && !listener->paused; i++) {
        int fd;
        struct sys_address peer;
        enum weir_result result = sys_accept(listener->fd, &fd, &peer);
        if (result == WEIR_RESET || result == WEIR_TIMEOUT) {
            continue; // that one left while it waited
        }
        if (result == WEIR_AGAIN) {
            return true;
        }
        if (result != WEIR_OK) {
            take_a_break(listener, result, result == WEIR_DESCRIPTORS && turn_one_away(listener));
            return false;
        }
        if (!keep_reserve()) {
            sys_close_hard(fd);
            listener_fill_reserve();
            take_a_break(listener, WEIR_DESCRIPTORS, true);
            return false;
        }
        listener->accepted(listener, fd, &peer);
    }
    return false;
}

static void on_ready(struct watch *watch, unsigned events)
{
    (void)events;
    take_newcomers(container_of(watch, struct listener, watch));
}

static void on_resume(struct timer *timer)
{
    struct listener *listener = container_of(timer, struct listener, resume);
    watch_want(&listener->watch, listener->paused ? WATCH_NONE : WATCH_READ);
}

void listener_pause(struct listener *listener)
{
    if (listener->fd >= 0) {
        listener->paused = true;
        watch_want(&listener->watch, WATCH_NONE);
    }
}

void listener_resume(struct listener *listener)
{
    if (listener->fd < 0 || !listener->paused) {
        return;
    }
    listener->paused = false;
    if (!timer_armed(&listener->resume)) {
        watch_want(&listener->watch, WATCH_READ);
    }
}

// The look comes before the last accepts: a handshake is in sight until it is in the queue.
static void on_last_call(struct timer *timer)
{
    struct listener *listener = container_of(timer, struct listener, last_call);
    bool late = worker_now(listener->worker) >= listener->drain_deadline_ns;
    bool last = late || !sys_has_handshakes(listener->fd);
    bool empty = take_newcomers(listener);
    if (listener->fd >= 0 && (late || (last && empty))) {
        listener_close(listener);
    } else if (listener->fd >= 0) {
        worker_arm_in(listener->worker, timer, LAST_CALL_NS);
    }
}

void listener_drain(struct listener *listener)
{
    if (!listener_is_open(listener) || listener->draining) {
        return;
    }
    if (listener->inherited || sys_end_handshakes(listener->fd) != WEIR_OK) {
        listener_close(listener);
        return;
    }
    listener->draining = true;
    listener->drain_deadline_ns = worker_now(listener->worker) + LAST_CALL_MAX_NS;
    worker_arm_in(listener->worker, &listener->last_call, FIRST_LOOK_NS);
}

enum weir_result listener_open(
    struct listener *listener, struct worker *worker, int fd, listener_fn *accepted, void *owner)
{
    *listener = (struct listener){.worker = worker, .accepted = accepted, .owner = owner, .fd = -1};
    timer_init(&listener->resume, on_resume);
    timer_init(&listener->last_call, on_last_call);
    enum weir_result result = watch_open(worker, &listener->watch, fd, on_ready);
    if (result != WEIR_OK) {
        sys_close(fd);
        return result;
    }
    listener->fd = fd;
    watch_want(&listener->watch, WATCH_READ);
    return WEIR_OK;
}

static void on_closed(struct watch *watch)
{
    struct listener *listener = container_of(watch, struct listener, watch);
    if (listener->closed != NULL) {
        listener->closed(listener);
    }
}

void listener_close(struct listener *listener)
{
    if (listener->worker == NULL || listener->fd < 0) {
        return;
    }
    timer_cancel(&listener->resume);
    timer_cancel(&listener->last_call);
    watch_close(&listener->watch, on_closed);
    sys_close(listener->fd);
    listener->fd = -1;
}
