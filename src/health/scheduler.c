// SPDX-License-Identifier: Apache-2.0
//   resting ──due──► waiting ──room in the lane──► running ──done──► resting
//      ▲                │ due again: overrun          │ due again: overrun
//      └────────────────┴─────────────────────────────┘
//
// 1. due_ns only ever grows by whole intervals: phases are stable however late a start was.
// 2. What was missed is skipped, not caught up: after a pause there is one start, not a burst.
// 3. A lane's queue is in the order of becoming due; who waits longest starts first.
// 4. An item is at most once in flight: it runs, or waits, or rests.
#include "health/scheduler.h"

#include "base/time.h"

#define SPREAD_MAX_NS (10 * NS_PER_S)

static uint64_t now_of(const struct scheduler *scheduler)
{
    return scheduler->now(scheduler->arg);
}

static void start_waiting(struct scheduler *scheduler, unsigned lane)
{
    while (scheduler->lanes[lane].running < scheduler->lanes[lane].running_max) {
        struct list *node = list_pop_front(&scheduler->lanes[lane].queue);
        if (node == NULL) {
            return;
        }
        struct scheduled *item = container_of(node, struct scheduled, node);
        uint64_t lag_ns = now_of(scheduler) - item->waiting_since_ns;
        scheduler->lag_ns = lag_ns;
        if (lag_ns > scheduler->lag_max_ns) {
            scheduler->lag_max_ns = lag_ns;
        }
        item->running = true;
        scheduler->lanes[lane].running++;
        scheduler->start(scheduler->arg, item);
    }
}

static bool enqueue(struct scheduled *item, uint64_t since_ns)
{
    struct scheduler *scheduler = item->scheduler;
    if (item->running || list_linked(&item->node)) {
        return false;
    }
    item->waiting_since_ns = since_ns;
    list_push_back(&scheduler->lanes[item->lane].queue, &item->node);
    start_waiting(scheduler, item->lane);
    return true;
}

// The next start is at its phase, or with jitter a little later; the phase stays.
static void arm(struct scheduled *item)
{
    struct scheduler *scheduler = item->scheduler;
    uint64_t most_ns = item->interval_ns / 100 * scheduler->jitter_percent;
    item->jitter_ns = most_ns == 0 ? 0 : scheduler->random(scheduler->arg) % most_ns;
    wheel_arm(scheduler->wheel, &item->timer,
        item->due_ns == TIME_NEVER ? TIME_NEVER : item->due_ns + item->jitter_ns);
}

static void on_due(struct timer *timer)
{
    struct scheduled *item = container_of(timer, struct scheduled, timer);
    struct scheduler *scheduler = item->scheduler;
    uint64_t now_ns = now_of(scheduler);
    uint64_t meant_ns = item->due_ns + item->jitter_ns;
    uint64_t missed = now_ns <= meant_ns ? 0 : (now_ns - meant_ns) / item->interval_ns;
    item->due_ns += (missed + 1) * item->interval_ns;
    arm(item);
    if (!enqueue(item, meant_ns + missed * item->interval_ns)) {
        scheduler->overruns++;
    }
}

void scheduler_init(struct scheduler *scheduler)
{
    for (unsigned lane = 0; lane < SCHEDULER_LANES; lane++) {
        list_init(&scheduler->lanes[lane].queue);
        scheduler->lanes[lane].running = 0;
    }
    scheduler->overruns = scheduler->lag_ns = scheduler->lag_max_ns = 0;
}

void scheduler_add(struct scheduler *scheduler, struct scheduled *item, unsigned lane,
    uint64_t interval_ns, uint64_t first_ns)
{
    *item = (struct scheduled){
        .scheduler = scheduler, .lane = lane, .interval_ns = interval_ns, .due_ns = first_ns};
    list_init(&item->node);
    timer_init(&item->timer, on_due);
    arm(item);
}

void scheduler_remove(struct scheduled *item)
{
    struct scheduler *scheduler = item->scheduler;
    timer_cancel(&item->timer);
    list_remove(&item->node);
    if (item->running) {
        item->running = false;
        scheduler->lanes[item->lane].running--;
        start_waiting(scheduler, item->lane);
    }
}

void scheduler_set_interval(struct scheduled *item, uint64_t interval_ns)
{
    if (interval_ns == item->interval_ns) {
        return;
    }
    // Soon after the machine started, the last would have been before the clock's zero.
    uint64_t last_ns = item->due_ns < item->interval_ns ? 0 : item->due_ns - item->interval_ns;
    item->interval_ns = interval_ns;
    if (item->due_ns != TIME_NEVER) {
        item->due_ns = last_ns + interval_ns;
        arm(item);
    }
}

bool scheduler_now(struct scheduled *item)
{
    return enqueue(item, now_of(item->scheduler));
}

void scheduler_done(struct scheduled *item)
{
    struct scheduler *scheduler = item->scheduler;
    item->running = false;
    scheduler->lanes[item->lane].running--;
    start_waiting(scheduler, item->lane);
}

uint64_t scheduler_spread_ns(uint64_t interval_ns, uint64_t random)
{
    uint64_t most_ns = interval_ns < SPREAD_MAX_NS ? interval_ns : SPREAD_MAX_NS;
    return random % most_ns;
}
