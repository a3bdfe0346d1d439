// SPDX-License-Identifier: Apache-2.0
// A hierarchical timer wheel: arming and cancelling are O(1), an idle wheel costs no wakeups. Ticks
// are 2^23 ns (8.4 ms); a timer fires at the first tick at or after its deadline. Pure data: the
// worker drives it.
#ifndef WEIR_LOOP_TIMER_H
#define WEIR_LOOP_TIMER_H

#include <stdint.h>

#include "base/list.h"

#define WHEEL_LEVELS 5
#define WHEEL_SLOTS 64

struct timer;
typedef void timer_fn(struct timer *timer);

// Embedded in what it belongs to; find that with container_of.
struct timer {
    struct list node;
    uint64_t tick;
    timer_fn *fire;
};

struct wheel {
    uint64_t tick;                   // everything at or before it has fired
    uint64_t occupied[WHEEL_LEVELS]; // a set bit may be stale, a clear one never is
    struct list slots[WHEEL_LEVELS][WHEEL_SLOTS];
};

void wheel_init(struct wheel *wheel, uint64_t now_ns);
void timer_init(struct timer *timer, timer_fn *fire);
// (Re-)arms; a deadline in the past fires at the next advance. TIME_NEVER cancels.
void wheel_arm(struct wheel *wheel, struct timer *timer, uint64_t deadline_ns);
// Safe in any state, also from inside a timer_fn.
void timer_cancel(struct timer *timer);
static inline bool timer_armed(const struct timer *timer)
{
    return list_linked(&timer->node);
}
// Fires what is due. Callbacks may arm and cancel any timer.
void wheel_advance(struct wheel *wheel, uint64_t now_ns);
// When to advance next, at the latest; TIME_NEVER when nothing is armed.
uint64_t wheel_next_ns(const struct wheel *wheel);

#endif
