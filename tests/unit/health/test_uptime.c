// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "health/history/uptime.h"

#define NONE EVENT_NO_STATUS

struct step {
    uint64_t at_ms;
    enum event_type type;
    unsigned from;
    unsigned to;
};

static void test_walks(void **state)
{
    // Events newest first, over [1000, 2000].
    static const struct {
        unsigned now;
        struct step steps[4];
        uint64_t up;
        uint64_t down;
        uint64_t unknown;
        unsigned failures;
        unsigned recoveries;
        uint64_t changed;
    } rows[] = {
        // Nothing is known: nothing counts.
        {HEALTH_HEALTHY, {{0}}, 0, 0, 0, 0, 0, 0},
        // First seen in the middle; before that nobody knows.
        {HEALTH_HEALTHY, {{1400, EVENT_STATUS_CHANGE, NONE, HEALTH_HEALTHY}}, 600, 0, 0, 0, 0,
            1400},
        {HEALTH_HEALTHY,
            {{1700, EVENT_STATUS_CHANGE, HEALTH_UNHEALTHY, HEALTH_HEALTHY},
                {1600, EVENT_STATUS_CHANGE, HEALTH_DEGRADED, HEALTH_UNHEALTHY},
                {1500, EVENT_STATUS_CHANGE, HEALTH_HEALTHY, HEALTH_DEGRADED},
                {900, EVENT_STATUS_CHANGE, NONE, HEALTH_HEALTHY}},
            900, 100, 0, 1, 1, 1700},
        // Unknown in between counts for neither.
        {HEALTH_UNHEALTHY,
            {{1800, EVENT_STATUS_CHANGE, HEALTH_UNKNOWN, HEALTH_UNHEALTHY},
                {1300, EVENT_STATUS_CHANGE, HEALTH_HEALTHY, HEALTH_UNKNOWN},
                {500, EVENT_STATUS_CHANGE, NONE, HEALTH_HEALTHY}},
            300, 200, 500, 1, 0, 1800},
        // What others tell counts where weir knows nothing...
        {HEALTH_HEALTHY,
            {{1900, EVENT_STATUS_CHANGE, NONE, HEALTH_HEALTHY},
                {1500, EVENT_PROBLEM_RESOLVED, NONE, NONE},
                {1200, EVENT_PROBLEM_DETECTED, NONE, NONE},
                {800, EVENT_SERVICE_STARTED, NONE, NONE}},
            700, 300, 0, 1, 1, 1900},
        // ... and nowhere else.
        {HEALTH_HEALTHY,
            {{1500, EVENT_PROBLEM_DETECTED, NONE, NONE},
                {900, EVENT_STATUS_CHANGE, NONE, HEALTH_HEALTHY}},
            1000, 0, 0, 0, 0, 0},
        // A deployment is no change.
        {HEALTH_UNKNOWN, {{1500, EVENT_SERVICE_DEPLOYED, NONE, NONE}}, 0, 0, 0, 0, 0, 0},
        // A clock that was set back.
        {HEALTH_HEALTHY,
            {{5000, EVENT_STATUS_CHANGE, HEALTH_UNHEALTHY, HEALTH_HEALTHY},
                {900, EVENT_STATUS_CHANGE, NONE, HEALTH_UNHEALTHY}},
            0, 1000, 0, 0, 1, 2000},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct uptime uptime = {0};
        uptime_begin(&uptime, rows[i].now, 1000, 2000);
        for (size_t n = 0; n < 4 && rows[i].steps[n].at_ms != 0; n++) {
            const struct step *step = &rows[i].steps[n];
            uptime_take(&uptime, &(struct health_event){.wall_ms = step->at_ms,
                                     .type = step->type,
                                     .previous = step->from,
                                     .status = step->to});
        }
        assert_int_equal(uptime.spent_ms[PRESENCE_UP], rows[i].up);
        assert_int_equal(uptime.spent_ms[PRESENCE_DOWN], rows[i].down);
        assert_int_equal(uptime.spent_ms[PRESENCE_UNKNOWN], rows[i].unknown);
        assert_int_equal(uptime.failures, rows[i].failures);
        assert_int_equal(uptime.recoveries, rows[i].recoveries);
        assert_int_equal(uptime.changed_ms, rows[i].changed);
    }
}

static void note(void *arg, enum presence presence, uint64_t from_ms, uint64_t to_ms)
{
    uint64_t *last_ms = arg;
    assert_true(from_ms < to_ms);
    assert_int_equal(to_ms, *last_ms); // without gaps
    assert_true(presence < PRESENCE_COUNT);
    *last_ms = from_ms;
}

static void test_stretches_have_no_gaps(void **state)
{
    uint64_t last_ms = 2000;
    struct uptime uptime = {.stretch = note, .arg = &last_ms};
    (void)state;
    uptime_begin(&uptime, HEALTH_HEALTHY, 1000, 2000);
    for (uint64_t at_ms = 1900; at_ms > 800; at_ms -= 100) {
        bool even = at_ms / 100 % 2 == 0;
        uptime_take(&uptime, &(struct health_event){.wall_ms = at_ms,
                                 .type = EVENT_STATUS_CHANGE,
                                 .previous = even ? HEALTH_HEALTHY : HEALTH_UNHEALTHY,
                                 .status = even ? HEALTH_UNHEALTHY : HEALTH_HEALTHY});
    }
    assert_int_equal(last_ms, 1000);
    assert_true(uptime.over);
}

static void test_words(void **state)
{
    static const char *const words[] = {
        "failure", "recovery", "start", "stop", "restart", "deployment"};
    enum event_type type;
    (void)state;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        assert_true(uptime_type_of_word(words[i], &type));
        assert_string_equal(uptime_word(&(struct health_event){.type = type}), words[i]);
    }
    assert_false(uptime_type_of_word("explosion", &type));
    assert_null(uptime_word(&(struct health_event){.type = EVENT_CHECK_CHANGED}));
    assert_null(uptime_word(&(struct health_event){
        .type = EVENT_STATUS_CHANGE, .previous = HEALTH_HEALTHY, .status = HEALTH_DEGRADED}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_walks),
        cmocka_unit_test(test_stretches_have_no_gaps),
        cmocka_unit_test(test_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
