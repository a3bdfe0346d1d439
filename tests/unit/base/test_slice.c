// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/slice.h"

// A slice for a static table.
#define TEXT(literal)                                                                              \
    {                                                                                              \
        (literal), sizeof(literal) - 1                                                             \
    }

static const struct {
    struct slice a;
    struct slice b;
    bool equal;
    bool equal_nocase;
} pairs[] = {
    {TEXT(""), TEXT(""), true, true},
    {TEXT("a"), TEXT("a"), true, true},
    {TEXT("a"), TEXT("A"), false, true},
    {TEXT("a"), TEXT("b"), false, false},
    {TEXT("a"), TEXT("ab"), false, false},
    {TEXT("Host"), TEXT("hOST"), false, true},
    // The six characters between the alphabets, and the pairs 32 apart outside of them.
    {TEXT("@"), TEXT("`"), false, false},
    {TEXT("["), TEXT("{"), false, false},
    {TEXT("\xc4"), TEXT("\xe4"), false, false},
    // A NUL ends nothing.
    {TEXT("a\0b"), TEXT("a\0b"), true, true},
    {TEXT("a\0b"), TEXT("a\0B"), false, true},
    {TEXT("a\0b"), TEXT("a\0c"), false, false},
};

static void compares(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        print_message("row %zu\n", i);
        assert_int_equal(slice_eq(pairs[i].a, pairs[i].b), pairs[i].equal);
        assert_int_equal(slice_eq(pairs[i].b, pairs[i].a), pairs[i].equal);
        assert_int_equal(slice_eq_secret(pairs[i].a, pairs[i].b), pairs[i].equal);
        assert_int_equal(slice_eq_secret(pairs[i].b, pairs[i].a), pairs[i].equal);
        assert_int_equal(slice_eq_nocase(pairs[i].a, pairs[i].b), pairs[i].equal_nocase);
        assert_int_equal(slice_eq_nocase(pairs[i].b, pairs[i].a), pairs[i].equal_nocase);
    }
}

static void secret_differs_at_every_place(void **state)
{
    (void)state;
    char secret[] = "0123456789abcdef";
    char guess[] = "0123456789abcdef";
    for (size_t i = 0; i < sizeof guess - 1; i++) {
        guess[i] ^= 0x40;
        assert_false(slice_eq_secret(slice_str(secret), slice_str(guess)));
        guess[i] ^= 0x40;
    }
    assert_true(slice_eq_secret(slice_str(secret), slice_str(guess)));
    assert_false(slice_eq_secret(SLICE("ab"), SLICE("abab")));
    assert_false(slice_eq_secret(SLICE("abab"), SLICE("ab")));
    assert_false(slice_eq_secret(SLICE("\0"), SLICE("")));
}

static void finds_ends_and_middles(void **state)
{
    (void)state;
    assert_true(slice_starts_with(SLICE("Bearer x"), SLICE("Bearer ")));
    assert_true(slice_starts_with(SLICE("x"), SLICE("")));
    assert_false(slice_starts_with(SLICE("bearer x"), SLICE("Bearer ")));
    assert_false(slice_starts_with(SLICE("Bear"), SLICE("Bearer")));
    assert_true(slice_starts_with_nocase(SLICE("bEARER x"), SLICE("Bearer ")));
    assert_false(slice_starts_with_nocase(SLICE("bEAR"), SLICE("Bearer ")));
    assert_true(slice_ends_with(SLICE("a.json"), SLICE(".json")));
    assert_false(slice_ends_with(SLICE("a.JSON"), SLICE(".json")));
    assert_false(slice_ends_with(SLICE("json"), SLICE(".json")));
    assert_true(slice_contains_nocase(SLICE("keep-alive, UPGRADE"), SLICE("upgrade")));
    assert_true(slice_contains_nocase(SLICE("x"), SLICE("")));
    assert_false(slice_contains_nocase(SLICE("upgrad"), SLICE("upgrade")));
    assert_int_equal(slice_find(SLICE("a,b,c"), ','), 1);
    assert_int_equal(slice_find(SLICE("abc"), ','), -1);
    assert_int_equal(slice_find(SLICE_EMPTY, ','), -1);
    assert_int_equal(slice_find(SLICE("a\0b"), 'b'), 2);
}

static void trims_blanks_only(void **state)
{
    (void)state;
    assert_true(slice_eq(slice_trim(SLICE(" \t\r\na b\n\r\t ")), SLICE("a b")));
    assert_true(slice_eq(slice_trim(SLICE("\v\fa")), SLICE("\v\fa")));
    assert_int_equal(slice_trim(SLICE(" \t ")).len, 0);
    assert_int_equal(slice_trim(SLICE_EMPTY).len, 0);
}

static void skips_no_further_than_the_end(void **state)
{
    (void)state;
    assert_true(slice_eq(slice_skip(SLICE("abc"), 0), SLICE("abc")));
    assert_true(slice_eq(slice_skip(SLICE("abc"), 2), SLICE("c")));
    assert_int_equal(slice_skip(SLICE("abc"), 3).len, 0);
    assert_int_equal(slice_skip(SLICE("abc"), SIZE_MAX).len, 0);
}

static const struct {
    const char *text;
    const char *parts[4];
} splits[] = {
    {"", {""}},
    {"a", {"a"}},
    {",", {"", ""}},
    {"a,", {"a", ""}},
    {",a", {"", "a"}},
    {"a,b,c", {"a", "b", "c"}},
    {"a,,b", {"a", "", "b"}},
};

static void splits_into_all_parts(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof splits / sizeof splits[0]; i++) {
        struct slice rest = slice_str(splits[i].text);
        struct slice part;
        for (size_t k = 0; splits[i].parts[k] != NULL; k++) {
            print_message("row %zu part %zu\n", i, k);
            assert_true(slice_split(&rest, ',', &part));
            assert_true(slice_eq(part, slice_str(splits[i].parts[k])));
        }
        assert_false(slice_split(&rest, ',', &part));
        assert_null(rest.at);
    }
}

static void copies_what_fits(void **state)
{
    (void)state;
    char text[4] = "xyz";
    assert_true(slice_to_text(SLICE("abc"), text, sizeof text));
    assert_string_equal(text, "abc");
    assert_false(slice_to_text(SLICE("abcd"), text, sizeof text));
    assert_string_equal(text, "");
    assert_true(slice_to_text(SLICE_EMPTY, text, sizeof text));
    assert_string_equal(text, "");
}

static void makes_slices_of_strings(void **state)
{
    (void)state;
    assert_int_equal(slice_str(NULL).len, 0);
    assert_non_null(slice_str(NULL).at);
    assert_true(slice_eq(slice_str("ab"), SLICE("ab")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compares),
        cmocka_unit_test(secret_differs_at_every_place),
        cmocka_unit_test(finds_ends_and_middles),
        cmocka_unit_test(trims_blanks_only),
        cmocka_unit_test(skips_no_further_than_the_end),
        cmocka_unit_test(splits_into_all_parts),
        cmocka_unit_test(copies_what_fits),
        cmocka_unit_test(makes_slices_of_strings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
