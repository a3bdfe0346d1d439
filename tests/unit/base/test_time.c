// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "base/time.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

static const struct {
    const char *text;
    uint64_t wall_ms;
} times[] = {
    {"1970-01-01T00:00:00Z", 0},
    {"1970-01-01", 0},
    {"2026-11-21T01:28:06.456Z", UINT64_C(1795224486456)},
    {"2026-11-21 01:28:06.456", UINT64_C(1795224486456)},
    {"2026-11-21t01:28:06.4569999z", UINT64_C(1795224486456)},
    {"2026-11-21T02:28:06.456+01:00", UINT64_C(1795224486456)},
    {"2026-11-20T19:58:06.456-0530", UINT64_C(1795224486456)},
    {"2026-11-21T01:28", UINT64_C(1795224480000)},
    {"2026-11-21T01:28+00", UINT64_C(1795224480000)},
    {"2028-02-29T00:00:00Z", UINT64_C(1835395200000)},
};

static void reads_times(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(times); i++) {
        uint64_t wall_ms = 1;
        assert_int_equal(time_from_iso(slice_str(times[i].text), &wall_ms), WEIR_OK);
        assert_int_equal(wall_ms, times[i].wall_ms);
    }
}

static void reads_what_it_writes(void **state)
{
    (void)state;
    for (uint64_t wall_ms = 999; wall_ms < UINT64_C(4000000000000); wall_ms += 98765432109) {
        char text[TIME_ISO_SIZE];
        uint64_t again = 0;
        time_to_iso(wall_ms, text);
        assert_int_equal(time_from_iso(slice_str(text), &again), WEIR_OK);
        assert_int_equal(again, wall_ms);
    }
}

// Days to the end of four-digit years, all kinds of them, against the C library's calendar.
static void writes_the_calendar(void **state)
{
    (void)state;
    for (uint64_t day = 0; day < 2932897; day += day > 60000 ? 7 : 1) {
        char text[TIME_ISO_SIZE];
        char expected[TIME_ISO_SIZE];
        uint64_t second = day * 86400 + day % 86400;
        time_t seconds = (time_t)second;
        struct tm tm;
        strftime(expected, sizeof expected, "%Y-%m-%dT%H:%M:%S.007Z", gmtime_r(&seconds, &tm));
        time_to_iso(second * 1000 + 7, text);
        assert_string_equal(text, expected);
    }
    char text[TIME_ISO_SIZE] = "old";
    time_to_iso(UINT64_C(2932897) * 86400000, text);
    assert_string_equal(text, "");
    time_to_iso(UINT64_MAX, text);
    assert_string_equal(text, "");
}

static void refuses_what_is_no_time(void **state)
{
    static const char *const bad[] = {
        "",
        "now",
        "2026",
        "2026-11",
        "2026-11-21T",
        "2026-11-21T25:00",
        "2026-11-21T10:60",
        "2026-11-21T10",
        "2026-02-30",
        "2026-13-01",
        "2026-00-10",
        "2026-11-21T10:00:00.Z",
        "2026-11-21T10:00:00+25:00",
        "2026-11-21T10:00:00ZZ",
        "2026-11-21T10:00:00 Z",
        "1969-12-31T23:59:59Z",
        "1970-01-01T00:00:00+01:00",
        " 2026-11-21",
        "2026-11-21 ",
        "-026-11-21",
        "2026-1-21",
        "20261121T100000Z",
        "2026-11-21Z",
    };
    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++) {
        uint64_t wall_ms = 7;
        assert_int_equal(time_from_iso(slice_str(bad[i]), &wall_ms), WEIR_MALFORMED);
        assert_int_equal(wall_ms, 7);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_times),
        cmocka_unit_test(reads_what_it_writes),
        cmocka_unit_test(writes_the_calendar),
        cmocka_unit_test(refuses_what_is_no_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
