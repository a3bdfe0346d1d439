// SPDX-License-Identifier: Apache-2.0
// What is known of the services, written through to a Redis for others to read (spec section 8):
// SETEX portoser:health:{service}:{machine} 300 with every result, PUBLISH portoser:health with
// every change of state.
#ifndef WEIR_HEALTH_MIRROR_H
#define WEIR_HEALTH_MIRROR_H

#include "health/event_ring.h"
#include "health/monitor.h"
#include "health/redis_link.h"

struct mirror {
    const struct monitor *monitor; // borrowed; NULL: not started
    struct redis_link link;
};

// mirror is zeroed before.
enum weir_result mirror_start(struct mirror *mirror, struct worker *worker,
    const struct monitor *monitor, const struct redis_place *place) WEIR_MUST_CHECK;
void mirror_stop(struct mirror *mirror);
// Both do nothing when it was not started.
void mirror_result(struct mirror *mirror, const struct target *target);
void mirror_event(struct mirror *mirror, const struct health_event *event);

#endif
