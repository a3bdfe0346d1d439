// SPDX-License-Identifier: Apache-2.0
#include "agent/backoff.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

// The longest wait a random number can give, for each failure in a row.
static void bounds_double_up_to_the_last(void **state)
{
    static const uint32_t bounds[] = {0, 500, 1000, 2000, 4000, 8000, 16000, 30000, 30000};
    struct backoff backoff = {.min_ms = 500, .max_ms = 30000};
    (void)state;
    for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++) {
        struct backoff low = backoff;
        struct backoff over = backoff;
        assert_int_equal(backoff_next(&low, 0), 0);
        assert_int_equal(backoff_next(&over, bounds[i] + 1), 0); // full jitter: from 0 to the bound
        assert_int_equal(backoff_next(&backoff, bounds[i]), bounds[i]);
    }
}

static void a_part_is_random(void **state)
{
    struct backoff backoff = {.min_ms = 1000, .max_ms = 30000, .attempts = 1, .jitter = 20};
    struct backoff high = backoff;
    (void)state;
    assert_int_equal(backoff_next(&backoff, 0), 800);
    assert_int_equal(backoff_next(&backoff, 400), 2000);
    assert_int_equal(backoff_next(&backoff, 801), 3200); // from the start again
    high.attempts = 40;
    assert_int_equal(backoff_next(&high, 6000), 30000);
    assert_int_equal(backoff_next(&high, 0), 24000);
}

static void it_never_overflows(void **state)
{
    struct backoff backoff = {.min_ms = UINT32_MAX, .max_ms = UINT32_MAX, .attempts = 1};
    (void)state;
    for (int i = 0; i < 100; i++) {
        assert_int_equal(backoff_next(&backoff, UINT32_MAX), UINT32_MAX);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bounds_double_up_to_the_last),
        cmocka_unit_test(a_part_is_random),
        cmocka_unit_test(it_never_overflows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
