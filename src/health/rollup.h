// SPDX-License-Identifier: Apache-2.0
// From services to machines to the cluster (spec section 3). Pure.
#ifndef WEIR_HEALTH_ROLLUP_H
#define WEIR_HEALTH_ROLLUP_H

#include <stddef.h>

#include "health/state.h"

// What a machine or the cluster is made of.
struct rollup {
    unsigned counts[HEALTH_STATUS_COUNT]; // by enum health_status
    unsigned score_sum;
};

void rollup_add(struct rollup *rollup, enum health_status status, unsigned score);
unsigned rollup_total(const struct rollup *rollup);
// The worst that is there: unhealthy > degraded > unknown > healthy; nothing is unknown. The same
// rule serves services of a machine and machines of the cluster.
enum health_status rollup_status(const struct rollup *rollup);
// The reference's rule (--compat-rollup): unhealthy as soon as one is unhealthy or unknown.
enum health_status rollup_status_strict(const struct rollup *rollup);
// Mean score, rounded down; 100 of nothing.
unsigned rollup_score(const struct rollup *rollup);

// ---- The other roll-up: GET /api/cluster/health (spec section 3.3).

enum place_status {
    PLACE_SKIPPED,
    PLACE_HEALTHY,
    PLACE_UNKNOWN,
    PLACE_OFFLINE,
    PLACE_DEGRADED,
    PLACE_DOWN,
};
#define PLACE_STATUS_COUNT 6

// "skipped", "healthy", "unknown", "offline", "degraded", "unhealthy".
const char *place_status_name(enum place_status status);
// Of a host with these services: the worst.
enum place_status rollup_place(const unsigned counts[PLACE_STATUS_COUNT]);
// Of the cluster, over all services.
enum place_status rollup_places(const unsigned counts[PLACE_STATUS_COUNT]);

#endif
