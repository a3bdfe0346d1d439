// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/time.h"
#include "health/api/api_stats.h"

#define MINUTE_NS (60 * NS_PER_S)

static uint64_t sum(const struct api_row_stats *row, bool head)
{
    uint64_t all = 0;
    for (size_t i = 0; i < API_STATUS_COUNT; i++) {
        all += row->statuses[head][i];
    }
    return all;
}

static void test_counts(void **state)
{
    static struct api_stats stats;
    (void)state;
    stats = (struct api_stats){0};
    api_stats_add(&stats, 0, false, 200, 200000, 0);
    api_stats_add(&stats, 0, true, 200, NS_PER_S, 0);
    api_stats_add(&stats, API_ROW_COUNT, false, 799, 20 * NS_PER_S, 0);
    assert_int_equal(sum(&stats.rows[0], false), 1);
    assert_int_equal(sum(&stats.rows[0], true), 1);
    assert_int_equal(stats.rows[0].durations[0], 1);
    assert_int_equal(stats.rows[0].durations[6], 1); // a bound belongs to its bucket
    assert_int_equal(stats.rows[API_ROW_COUNT].statuses[false][API_STATUS_COUNT - 1], 1);
    assert_int_equal(stats.rows[API_ROW_COUNT].durations[API_BUCKET_COUNT], 1);
}

static void test_error_rate_is_of_the_last_minutes(void **state)
{
    static struct api_stats stats;
    (void)state;
    stats = (struct api_stats){0};
    assert_true(api_stats_error_rate(&stats, 7 * MINUTE_NS) == 0);
    api_stats_add(&stats, 0, false, 500, 0, 10 * MINUTE_NS);
    api_stats_add(&stats, 0, false, 404, 0, 10 * MINUTE_NS);
    assert_true(api_stats_error_rate(&stats, 10 * MINUTE_NS) == 0.5);
    api_stats_add(&stats, 0, false, 200, 0, 12 * MINUTE_NS);
    api_stats_add(&stats, 0, false, 200, 0, 12 * MINUTE_NS);
    assert_true(api_stats_error_rate(&stats, 14 * MINUTE_NS) == 0.25);
    assert_true(api_stats_error_rate(&stats, 15 * MINUTE_NS) == 0); // the error is too old
    assert_true(api_stats_error_rate(&stats, 90 * MINUTE_NS) == 0);
    api_stats_add(&stats, 0, false, 503, 0, 15 * MINUTE_NS); // its slot is used again
    assert_true(api_stats_error_rate(&stats, 15 * MINUTE_NS) > 0.3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_error_rate_is_of_the_last_minutes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
