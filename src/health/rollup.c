// SPDX-License-Identifier: Apache-2.0
#include "health/rollup.h"

void rollup_add(struct rollup *rollup, enum health_status status, unsigned score)
{
    rollup->counts[status]++;
    rollup->score_sum += score;
}

unsigned rollup_total(const struct rollup *rollup)
{
    unsigned total = 0;
    for (size_t i = 0; i < HEALTH_STATUS_COUNT; i++) {
        total += rollup->counts[i];
    }
    return total;
}

enum health_status rollup_status(const struct rollup *rollup)
{
    static const enum health_status worst_first[] = {
        HEALTH_UNHEALTHY, HEALTH_DEGRADED, HEALTH_UNKNOWN, HEALTH_HEALTHY};
    for (size_t i = 0; i < HEALTH_STATUS_COUNT; i++) {
        if (rollup->counts[worst_first[i]] > 0) {
            return worst_first[i];
        }
    }
    return HEALTH_UNKNOWN;
}

enum health_status rollup_status_strict(const struct rollup *rollup)
{
    if (rollup->counts[HEALTH_UNHEALTHY] + rollup->counts[HEALTH_UNKNOWN] > 0) {
        return HEALTH_UNHEALTHY;
    }
    return rollup_status(rollup);
}

unsigned rollup_score(const struct rollup *rollup)
{
    unsigned total = rollup_total(rollup);
    return total == 0 ? 100 : rollup->score_sum / total;
}

const char *place_status_name(enum place_status status)
{
    static const char *const names[PLACE_STATUS_COUNT] = {
        [PLACE_SKIPPED] = "skipped",
        [PLACE_HEALTHY] = "healthy",
        [PLACE_UNKNOWN] = "unknown",
        [PLACE_OFFLINE] = "offline",
        [PLACE_DEGRADED] = "degraded",
        [PLACE_DOWN] = "unhealthy",
    };
    return names[status];
}

enum place_status rollup_place(const unsigned counts[PLACE_STATUS_COUNT])
{
    for (enum place_status status = PLACE_DOWN; status > PLACE_SKIPPED; status--) {
        if (counts[status] > 0) {
            return status;
        }
    }
    return counts[PLACE_SKIPPED] > 0 ? PLACE_SKIPPED : PLACE_UNKNOWN;
}

enum place_status rollup_places(const unsigned counts[PLACE_STATUS_COUNT])
{
    unsigned total = 0;
    for (size_t i = 0; i < PLACE_STATUS_COUNT; i++) {
        total += counts[i];
    }
    if (total == 0) {
        return PLACE_UNKNOWN;
    }
    if (counts[PLACE_DOWN] > 0 || counts[PLACE_DEGRADED] > 0) {
        return counts[PLACE_DOWN] > 0 ? PLACE_DOWN : PLACE_DEGRADED;
    }
    bool offline = counts[PLACE_OFFLINE] > 0 && counts[PLACE_HEALTHY] == 0;
    return offline ? PLACE_OFFLINE : PLACE_HEALTHY;
}
