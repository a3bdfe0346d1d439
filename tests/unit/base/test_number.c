// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/number.h"

// A slice for a static table.
#define TEXT(literal)                                                                              \
    {                                                                                              \
        (literal), sizeof(literal) - 1                                                             \
    }

static const struct {
    struct slice text;
    uint64_t max;
    enum weir_result result;
    uint64_t value;
} rows[] = {
    {TEXT("0"), UINT64_MAX, WEIR_OK, 0},
    {TEXT("7"), 9, WEIR_OK, 7},
    {TEXT("65535"), 65535, WEIR_OK, 65535},
    {TEXT("65536"), 65535, WEIR_TOO_LARGE, 0},
    {TEXT("0"), 0, WEIR_OK, 0},
    {TEXT("1"), 0, WEIR_TOO_LARGE, 0},
    {TEXT("18446744073709551615"), UINT64_MAX, WEIR_OK, UINT64_MAX},
    {TEXT("18446744073709551616"), UINT64_MAX, WEIR_TOO_LARGE, 0},
    {TEXT("99999999999999999999"), UINT64_MAX, WEIR_TOO_LARGE, 0},
    {TEXT("184467440737095516150"), UINT64_MAX, WEIR_TOO_LARGE, 0},
    {TEXT(""), UINT64_MAX, WEIR_MALFORMED, 0},
    {TEXT("00"), UINT64_MAX, WEIR_MALFORMED, 0},
    {TEXT("01"), UINT64_MAX, WEIR_MALFORMED, 0},
    {TEXT("-1"), UINT64_MAX, WEIR_MALFORMED, 0},
    {TEXT("+1"), UINT64_MAX, WEIR_MALFORMED, 0},
    {TEXT(" 1"), UINT64_MAX, WEIR_MALFORMED, 0},
    {TEXT("1 "), UINT64_MAX, WEIR_MALFORMED, 0},
    {TEXT("1\0"), UINT64_MAX, WEIR_MALFORMED, 0},
    {TEXT("0x1"), UINT64_MAX, WEIR_MALFORMED, 0},
    {TEXT("1e3"), UINT64_MAX, WEIR_MALFORMED, 0},
    {TEXT("1.0"), UINT64_MAX, WEIR_MALFORMED, 0},
    {TEXT("1:"), UINT64_MAX, WEIR_MALFORMED, 0},
    {TEXT("1/"), UINT64_MAX, WEIR_MALFORMED, 0},
};

static void parses_decimal_only(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        print_message("row %zu: \"%.*s\"\n", i, SLICE_ARG(rows[i].text));
        uint64_t value = 4711;
        assert_int_equal(number_parse_u64(rows[i].text, rows[i].max, &value), rows[i].result);
        assert_int_equal(value, rows[i].result == WEIR_OK ? rows[i].value : 4711);
    }
}

static void writes_what_printf_writes(void **state)
{
    static const uint64_t values[] = {0, 9, 10, 4711, UINT32_MAX, UINT64_MAX - 1, UINT64_MAX};
    (void)state;
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        char digits[NUMBER_DIGITS_MAX];
        char expected[NUMBER_DIGITS_MAX + 1];
        int len = snprintf(expected, sizeof expected, "%llu", (unsigned long long)values[i]);
        assert_int_equal(number_put_u64(values[i], digits), len);
        assert_memory_equal(digits, expected, (size_t)len);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parses_decimal_only),
        cmocka_unit_test(writes_what_printf_writes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
