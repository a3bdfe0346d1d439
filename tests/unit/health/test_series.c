// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "health/history/series.h"

#define START 1700000100 // 5 min after a multiple of an hour, near enough

static struct series_result result_at(uint32_t wall_s, uint32_t latency_us, unsigned status)
{
    return (struct series_result){
        .wall_s = wall_s, .latency_us = latency_us, .status = (uint8_t)status};
}

static void test_a_day_and_more(void **state)
{
    struct series series = {0};
    uint32_t end = START + 40 * 86400;
    (void)state;
    for (uint32_t at = START; at < end; at += 60) {
        struct series_result result = result_at(at, 1000, HEALTH_HEALTHY);
        series_add(&series, &result, true);
    }
    assert_int_equal(series.results.count, SERIES_RESULTS_MAX);
    assert_int_equal(series_newest(&series, 0)->wall_s, end - 60);
    assert_int_equal(series_newest(&series, 1023)->wall_s, end - 60 - 1023 * 60);
    assert_null(series_newest(&series, 1024));
    for (unsigned step = 0; step < SERIES_STEP_COUNT; step++) {
        size_t max = step == STEP_HOUR ? 720 : 288;
        uint32_t newest_s = series_bucket(&series, step, 0)->start_s;
        assert_int_equal(newest_s % series_step_s(step), 0);
        for (size_t i = 0; i < max; i++) {
            const struct series_bucket *bucket = series_bucket(&series, step, i);
            assert_int_equal(bucket->start_s, newest_s - i * series_step_s(step));
            assert_true(i == 0 || bucket->checks == series_step_s(step) / 60);
        }
        assert_null(series_bucket(&series, step, max));
    }
    series_fini(&series);
    assert_null(series_newest(&series, 0));
}

static void test_sums(void **state)
{
    static const struct {
        uint32_t at;
        uint32_t latency_us;
        bool passed;
        unsigned status;
    } rows[] = {
        {0, 2000, true, HEALTH_HEALTHY}, {10, 4000, true, HEALTH_DEGRADED},
        {20, 90000, false, HEALTH_UNHEALTHY}, {30, 3000, true, HEALTH_UNKNOWN},
        {5, 1000, true, HEALTH_HEALTHY}, // the clock was set back
    };
    struct series series = {0};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct series_result result =
            result_at(1699999200 + rows[i].at, rows[i].latency_us, rows[i].status);
        series_add(&series, &result, rows[i].passed);
    }
    const struct series_bucket *bucket = series_bucket(&series, STEP_FIVE_MINUTES, 0);
    assert_int_equal(bucket->start_s, 1699999200);
    assert_int_equal(bucket->checks, 5);
    assert_int_equal(bucket->failures, 1);
    assert_float_equal(bucket->sum_ms, 10, 0.001);
    assert_float_equal(bucket->max_ms, 4, 0.001);
    assert_int_equal(bucket->worst, HEALTH_UNHEALTHY);
    assert_null(series_bucket(&series, STEP_FIVE_MINUTES, 1));
    series_fini(&series);
}

static void test_restored(void **state)
{
    struct series series = {0};
    struct series_bucket stored = {.start_s = 1699999200, .checks = 7, .worst = HEALTH_DEGRADED};
    struct series_bucket older = {.start_s = 1699995600, .checks = 9};
    (void)state;
    series_restore(&series, STEP_HOUR, &stored);
    series_restore(&series, STEP_HOUR, &older); // out of order: not taken
    assert_null(series_bucket(&series, STEP_HOUR, 1));
    struct series_result result = result_at(1699999260, 1000, HEALTH_HEALTHY);
    series_add(&series, &result, true);
    assert_int_equal(series_bucket(&series, STEP_HOUR, 0)->checks, 8);
    assert_int_equal(series_bucket(&series, STEP_HOUR, 0)->worst, HEALTH_DEGRADED);
    series_fini(&series);
}

static void test_without_memory(void **state)
{
    (void)state;
    for (unsigned long nth = 1; nth <= 3; nth++) {
        struct series series = {0};
        struct series_result result = result_at(START, 1000, HEALTH_HEALTHY);
        mem_fail_at(nth);
        series_add(&series, &result, true);
        mem_fail_at(0);
        series_add(&series, &result, true);
        assert_int_equal(series_newest(&series, 0)->wall_s, START);
        assert_true(series_bucket(&series, STEP_HOUR, 0)->checks >= 1);
        series_fini(&series);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_day_and_more),
        cmocka_unit_test(test_sums),
        cmocka_unit_test(test_restored),
        cmocka_unit_test(test_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
