// SPDX-License-Identifier: Apache-2.0
// Tells when maintenance begins and ends, whoever set it: somebody, the registry, or the clock.
// `maintenance_told` of a target is what was told last. The clock is looked at when the first
// maintenance is due to end, and every minute before: it may be set.
#include <stdio.h>

#include "base/time.h"
#include "health/health.h"
#include "sys/clock.h"

#define LOOK_NS (60 * NS_PER_S)
#define MS_PER_LOOK (LOOK_NS / NS_PER_MS)

static const struct maintenance *maintenance_of(const struct target *target)
{
    return target->maintenance_set ? &target->maintenance : &target->service->maintenance;
}

static void tell(struct health *health, struct target *target, uint64_t now_ms)
{
    const struct maintenance *maintenance = maintenance_of(target);
    bool on = target->maintenance_told;
    bool by_clock = !on && maintenance->on && maintenance->until_wall_ms != 0;
    health_emit(health,
        &(struct health_event){
            .wall_ms = now_ms,
            .type = on ? EVENT_MAINTENANCE_STARTED : EVENT_MAINTENANCE_ENDED,
            .previous = EVENT_NO_STATUS,
            .status = EVENT_NO_STATUS,
            .service = slice_str(target->service->name),
            .machine = slice_str(target->service->machine->name),
            .message = by_clock ? SLICE("its time is over") : slice_str(maintenance->reason),
        });
    change_hook_look(&health->change_hook, target); // what happened meanwhile was not told
}

// When to look again because of this target; 0: not because of it.
static uint64_t due_ms(const struct target *target, uint64_t now_ms)
{
    const struct maintenance *maintenance = maintenance_of(target);
    bool will_end = maintenance->on && maintenance->until_wall_ms > now_ms;
    return will_end ? maintenance->until_wall_ms - now_ms : 0;
}

static void look(struct health *health, bool silent)
{
    struct monitor *monitor = &health->monitor;
    uint64_t now_ms = sys_wall_ms();
    uint64_t next_ms = 0;
    for (size_t i = 0; i < monitor->target_count; i++) {
        struct target *target = monitor->targets[i];
        bool on = target_in_maintenance(target, now_ms);
        bool news = on != target->maintenance_told;
        uint64_t in_ms = due_ms(target, now_ms);
        target->maintenance_told = on;
        if (news && !silent) {
            tell(health, target, now_ms);
        }
        if (in_ms != 0 && (next_ms == 0 || in_ms < next_ms)) {
            next_ms = in_ms;
        }
    }
    timer_cancel(&health->maintenance_look);
    if (next_ms != 0) {
        next_ms = next_ms > MS_PER_LOOK ? MS_PER_LOOK : next_ms;
        worker_arm_in(health->worker, &health->maintenance_look, (next_ms + 1) * NS_PER_MS);
    }
}

static void on_look(struct timer *timer)
{
    look(container_of(timer, struct health, maintenance_look), false);
}

void health_begin_maintenance(struct health *health)
{
    timer_init(&health->maintenance_look, on_look);
    look(health, true);
}

void health_look_at_maintenance(struct health *health)
{
    look(health, false);
}
