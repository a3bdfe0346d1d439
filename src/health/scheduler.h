// SPDX-License-Identifier: Apache-2.0
// When which check starts (spec section 2.4). Knows nothing of checks: it counts them, and calls a
// function. On the caller's wheel and clock, so that a day passes in a moment in a test.
#ifndef WEIR_HEALTH_SCHEDULER_H
#define WEIR_HEALTH_SCHEDULER_H

#include "loop/timer.h"

#define SCHEDULER_LANES 3

struct scheduler;

// Embedded in what is checked.
struct scheduled {
    struct timer timer;
    struct list node; // in its lane's queue
    struct scheduler *scheduler;
    uint64_t due_ns;    // of the next start; TIME_NEVER: only when asked for
    uint64_t jitter_ns; // how much later than due it is to be
    uint64_t interval_ns;
    uint64_t waiting_since_ns;
    unsigned lane;
    bool running;
};

struct scheduler {
    struct wheel *wheel; // borrowed
    uint64_t (*now)(void *arg);
    // Starts the check of an item; its end is told by scheduler_done, never inside this call.
    void (*start)(void *arg, struct scheduled *item);
    // Any number; used with jitter_percent only, and may be NULL without.
    uint64_t (*random)(void *arg);
    void *arg;
    unsigned jitter_percent; // of the interval; every start is up to so much later than its phase
    struct {
        struct list queue; // by the time they became due
        unsigned running;
        unsigned running_max;
    } lanes[SCHEDULER_LANES];
    uint64_t overruns; // starts dropped because the check before still ran or waited
    uint64_t lag_ns;   // of the newest start: how long after it was due
    uint64_t lag_max_ns;
};

// wheel, now, start, random, arg, jitter_percent and each running_max are set by the caller before.
void scheduler_init(struct scheduler *scheduler);
// Starts at first_ns, and every interval_ns from there. TIME_NEVER: only by scheduler_now.
void scheduler_add(struct scheduler *scheduler, struct scheduled *item, unsigned lane,
    uint64_t interval_ns, uint64_t first_ns);
// No start comes any more. A check that runs is the caller's to cancel; scheduler_done must not
// follow.
void scheduler_remove(struct scheduled *item);
// From the next start on. The phase stays that of the last one.
void scheduler_set_interval(struct scheduled *item, uint64_t interval_ns);
// An extra start as soon as there is room; nothing when one runs or waits already (false).
bool scheduler_now(struct scheduled *item);
// The check of the item ended.
void scheduler_done(struct scheduled *item);
// The offset of a first start, so that those that begin together do not stay together: random out
// of [0, the smaller of interval and 10 s).
uint64_t scheduler_spread_ns(uint64_t interval_ns, uint64_t random);

#endif
