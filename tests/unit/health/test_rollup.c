// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "health/rollup.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

// Letters: H healthy, D degraded, U unhealthy, ? unknown.
static const struct {
    const char *services;
    enum health_status status;
    enum health_status strict;
} rows[] = {
    {"", HEALTH_UNKNOWN, HEALTH_UNKNOWN},
    {"H", HEALTH_HEALTHY, HEALTH_HEALTHY},
    {"HHH", HEALTH_HEALTHY, HEALTH_HEALTHY},
    {"HD", HEALTH_DEGRADED, HEALTH_DEGRADED},
    {"D", HEALTH_DEGRADED, HEALTH_DEGRADED},
    {"H?", HEALTH_UNKNOWN, HEALTH_UNHEALTHY},
    {"?", HEALTH_UNKNOWN, HEALTH_UNHEALTHY},
    {"D?", HEALTH_DEGRADED, HEALTH_UNHEALTHY},
    {"HHU", HEALTH_UNHEALTHY, HEALTH_UNHEALTHY},
    {"DU?H", HEALTH_UNHEALTHY, HEALTH_UNHEALTHY},
};

static void takes_the_worst(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct rollup rollup = {0};
        for (const char *at = rows[i].services; *at != '\0'; at++) {
            rollup_add(&rollup, (enum health_status)(strchr("?UDH", *at) - "?UDH"), 0);
        }
        assert_int_equal(rollup_status(&rollup), rows[i].status);
        assert_int_equal(rollup_status_strict(&rollup), rows[i].strict);
        assert_int_equal(rollup_total(&rollup), strlen(rows[i].services));
    }
}

static void rounds_scores_down(void **state)
{
    (void)state;
    struct rollup rollup = {0};
    assert_int_equal(rollup_score(&rollup), 100);
    rollup_add(&rollup, HEALTH_HEALTHY, 100);
    rollup_add(&rollup, HEALTH_HEALTHY, 100);
    rollup_add(&rollup, HEALTH_UNKNOWN, 0);
    assert_int_equal(rollup_score(&rollup), 66);
}

// Letters: s skipped, h healthy, ? unknown, o offline, d degraded, x down.
static const struct {
    const char *services;
    const char *host;
    const char *cluster;
} places[] = {
    {"", "unknown", "unknown"},
    {"s", "skipped", "healthy"},
    {"h", "healthy", "healthy"},
    {"hs", "healthy", "healthy"},
    {"h?", "unknown", "healthy"},
    {"ho", "offline", "healthy"},
    {"o", "offline", "offline"},
    {"o?", "offline", "offline"},
    {"hod", "degraded", "degraded"},
    {"hodx", "unhealthy", "unhealthy"},
    {"?", "unknown", "healthy"},
};

static void rolls_places_up(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(places); i++) {
        unsigned counts[PLACE_STATUS_COUNT] = {0};
        for (const char *at = places[i].services; *at != '\0'; at++) {
            counts[strchr("sh?odx", *at) - "sh?odx"]++;
        }
        assert_string_equal(place_status_name(rollup_place(counts)), places[i].host);
        assert_string_equal(place_status_name(rollup_places(counts)), places[i].cluster);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_the_worst),
        cmocka_unit_test(rounds_scores_down),
        cmocka_unit_test(rolls_places_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
