// SPDX-License-Identifier: Apache-2.0
// The predicates of spec section 6.1. Each row is a value as it stands in a text.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "proto/json_scan.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

struct scanned {
    char *text; // owned
    struct json_value value;
};

static struct scanned scan(const char *value)
{
    static const char *const names[] = {"v"};
    struct json_keys *keys = json_keys_new(names, 1);
    assert_non_null(keys);
    struct scanned scanned;
    size_t len = strlen(value) + 6;
    // The NUL that sprintf adds is cut off again: the block is exactly the text.
    char *text = malloc(len + 1);
    assert_non_null(text);
    assert_int_equal(sprintf(text, "{\"v\":%s}", value), len);
    scanned.text = realloc(text, len);
    assert_non_null(scanned.text);
    if (json_scan(slice_of(scanned.text, len), keys, &scanned.value) != WEIR_OK) {
        fail_msg("not scanned: %s", value);
    }
    json_keys_free(keys);
    return scanned;
}

static const struct json_value absent;

static const char *const no_strings[] = {
    "null", "true", "false", "0", "1", "[]", "[\"x\"]", "{}", "{\"x\":\"x\"}"};

// ---- Strings

static const struct {
    const char *value;
    bool filled;
} filled_rows[] = {
    {"\"x\"", true}, {"\"\"", false}, {"\" \"", false}, {"\"  x  \"", true}, {"\"\\\"\"", true},
    {"\"\\\\\"", true}, {"\"\\/\"", true}, {"\"\\t\\n\\r\\f\\u000b \"", false}, {"\"\\b\"", true},
    {"\"\\u0000\"", true}, {"\"\\u001f\"", true}, {"\"\\u0020\\u0020\"", false},
    {"\"\\u0009\\u000A\\u000d\"", false}, {"\"\\u0020\\u0041\"", true},
    {"\"\\u00a0\\u1680\\u2000\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000\\ufeff\"", false},
    {"\"\xc2\xa0\xe1\x9a\x80\xe2\x80\x80\xe2\x80\x81\xe2\x80\x82\xe2\x80\x83\xe2\x80\x84\"", false},
    {"\"\xe2\x80\x85\xe2\x80\x86\xe2\x80\x87\xe2\x80\x88\xe2\x80\x89\xe2\x80\x8a\"", false},
    {"\"\xe2\x80\xa8\xe2\x80\xa9\xe2\x80\xaf\xe2\x81\x9f\xe3\x80\x80\xef\xbb\xbf\"", false},
    {"\" \xc2\xa0\\u3000 x\"", true}, {"\"\\u200b\"", true}, // zero width space is not in the set
    {"\"\xe2\x80\x8b\"", true}, {"\"\\u0085\"", true},       // nor next line
    {"\"\xc2\x85\"", true}, {"\"\\u180e\"", true}, {"\"\xe2\x81\xa0\"", true}, // U+2060
    {"\"\\ud800\"", true}, {"\"\\ud83d\\ude00\"", true}, {"\"\xf0\x9f\x98\x80\"", true},
    {"\"\x7f\"", true}, {"\"\xe2\x80\"", true}, // a sequence cut short
};

static void test_filled(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(filled_rows); i++) {
        struct scanned scanned = scan(filled_rows[i].value);
        if (json_value_is_filled(&scanned.value) != filled_rows[i].filled) {
            fail_msg("filled: %s", filled_rows[i].value);
        }
        assert_true(json_value_is_string(&scanned.value));
        free(scanned.text);
    }
}

static void test_no_strings(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(no_strings); i++) {
        struct scanned scanned = scan(no_strings[i]);
        assert_false(json_value_is_string(&scanned.value));
        assert_false(json_value_is_filled(&scanned.value));
        assert_false(json_value_is_text(&scanned.value, scanned.value.text));
        assert_false(json_value_starts_with(&scanned.value, SLICE_EMPTY));
        assert_int_equal(json_value_utf16_len(&scanned.value), 0);
        free(scanned.text);
    }
    assert_false(json_value_is_string(&absent));
    assert_false(json_value_is_filled(&absent));
    assert_false(json_value_is_text(&absent, SLICE_EMPTY));
    assert_false(json_value_starts_with(&absent, SLICE_EMPTY));
    assert_int_equal(json_value_utf16_len(&absent), 0);
}

#define TEXT(literal)                                                                              \
    {                                                                                              \
        (literal), sizeof(literal) - 1                                                             \
    }

static const struct {
    const char *value;
    struct slice meaning;
    size_t utf16_len;
} text_rows[] = {
    {"\"\"", TEXT(""), 0},
    {"\"abc\"", TEXT("abc"), 3},
    {"\"\\u0061\\u0062c\"", TEXT("abc"), 3},
    {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", TEXT("\"\\/\b\f\n\r\t"), 8},
    {"\"a\\u0000b\"", TEXT("a\0b"), 3},
    {"\"\\u00e9\\u20AC\"", TEXT("\xc3\xa9\xe2\x82\xac"), 2},
    {"\"\xc3\xa9\xe2\x82\xac\"", TEXT("\xc3\xa9\xe2\x82\xac"), 2},
    {"\"\\ud83d\\uDE00\"", TEXT("\xf0\x9f\x98\x80"), 2},
    {"\"\xf0\x9f\x98\x80\"", TEXT("\xf0\x9f\x98\x80"), 2},
    {"\"\\ud800\\udc00\\udbff\\udfff\"", TEXT("\xf0\x90\x80\x80\xf4\x8f\xbf\xbf"), 4},
    {"\"\\ud83d\"", TEXT("\xef\xbf\xbd"), 1},
    {"\"\\ude00\"", TEXT("\xef\xbf\xbd"), 1},
    {"\"\\ud83dx\"", TEXT("\xef\xbf\xbdx"), 2},
    {"\"\\ud83d\\n\"", TEXT("\xef\xbf\xbd\n"), 2},
    {"\"\\ud83d\\u0041\"",
        TEXT("\xef\xbf\xbd"
             "A"),
        2},
    {"\"\\ud83d\\ud83d\\ude00\"", TEXT("\xef\xbf\xbd\xf0\x9f\x98\x80"), 3},
    {"\"\\ude00\\ud83d\"", TEXT("\xef\xbf\xbd\xef\xbf\xbd"), 2},
    {"\"\\ude00\\ude00\"", TEXT("\xef\xbf\xbd\xef\xbf\xbd"), 2},
    {"\"\\ud7ff\\ue000\\uffff\"", TEXT("\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf"), 3},
    {"\"\\u005cu0041\"", TEXT("\\u0041"), 6}, // unescaped once
    {"\"\\\\u0041\"", TEXT("\\u0041"), 6},
};

static void test_texts(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(text_rows); i++) {
        struct scanned scanned = scan(text_rows[i].value);
        struct slice meaning = text_rows[i].meaning;
        char *out = malloc(scanned.value.text.len + 1);
        assert_non_null(out);
        size_t len = json_value_unescape(&scanned.value, out);
        if (!slice_eq(slice_of(out, len), meaning)) {
            fail_msg("unescaped: %s", text_rows[i].value);
        }
        free(out);
        assert_int_equal(json_value_utf16_len(&scanned.value), text_rows[i].utf16_len);
        assert_true(json_value_is_text(&scanned.value, meaning));
        for (size_t cut = 0; cut <= meaning.len; cut++) {
            struct slice part = slice_of(meaning.at, cut);
            assert_true(json_value_starts_with(&scanned.value, part));
            assert_int_equal(json_value_is_text(&scanned.value, part), cut == meaning.len);
        }
        free(scanned.text);
    }
}

static void test_other_texts(void **state)
{
    (void)state;
    static const char *const values[] = {"\"abc\"", "\"a\\u0062c\""};
    for (size_t i = 0; i < COUNT(values); i++) {
        struct scanned scanned = scan(values[i]);
        assert_false(json_value_is_text(&scanned.value, SLICE("abd")));
        assert_false(json_value_is_text(&scanned.value, SLICE("abcd")));
        assert_false(json_value_is_text(&scanned.value, SLICE("ABC")));
        assert_false(json_value_is_text(&scanned.value, SLICE_EMPTY));
        assert_false(json_value_starts_with(&scanned.value, SLICE("abcd")));
        assert_false(json_value_starts_with(&scanned.value, SLICE("b")));
        assert_false(json_value_starts_with(&scanned.value, SLICE("ac")));
        free(scanned.text);
    }
}

// ---- Trimming

static const struct {
    struct slice text;
    struct slice trimmed;
} trim_rows[] = {
    {TEXT(""), TEXT("")},
    {TEXT("x"), TEXT("x")},
    {TEXT(" \t\n\v\f\r"), TEXT("")},
    {TEXT("  x y  "), TEXT("x y")},
    {TEXT("\xc2\xa0x\xc2\xa0"), TEXT("x")},
    {TEXT("\xe1\x9a\x80x\xe1\x9a\x80"), TEXT("x")},
    {TEXT("\xe2\x80\x80x\xe2\x80\x8a"), TEXT("x")},
    {TEXT("\xe2\x80\xa8\xe2\x80\xa9x\xe2\x80\xaf\xe2\x81\x9f"), TEXT("x")},
    {TEXT("\xef\xbb\xbf\xe3\x80\x80x\xef\xbb\xbf \xe3\x80\x80"), TEXT("x")},
    {TEXT("\xe2\x80\x8bx\xe2\x80\x8b"), TEXT("\xe2\x80\x8bx\xe2\x80\x8b")},
    {TEXT("\xc2\x85x\xc2\x85"), TEXT("\xc2\x85x\xc2\x85")},
    {TEXT("\xe2\x80\x7fx\xe2\x80\xaa"), TEXT("\xe2\x80\x7fx\xe2\x80\xaa")},
    {TEXT("\x1fx\x0e"), TEXT("\x1fx\x0e")},
    {TEXT("\x08x\x21"), TEXT("\x08x\x21")},
    {TEXT("\0 x \0"), TEXT("\0 x \0")},
    {TEXT("\xc2"), TEXT("\xc2")},
    {TEXT("\xe2\x80"), TEXT("\xe2\x80")},
    {TEXT("\xa0x\xa0"), TEXT("\xa0x\xa0")},
};

static void test_trim(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(trim_rows); i++) {
        if (!slice_eq(json_js_trim(trim_rows[i].text), trim_rows[i].trimmed)) {
            fail_msg("trim row %zu", i);
        }
    }
}

// ---- Numbers

static const struct {
    const char *value;
    bool is_int;
    double number;
} int_rows[] = {
    {"0", true, 0},
    {"-0", true, 0},
    {"1", true, 1},
    {"-1", true, -1},
    {"1.0", true, 1},
    {"1.000000000000000000000000000000", true, 1},
    {"1e3", true, 1000},
    {"1E+3", true, 1000},
    {"1.5e1", true, 15},
    {"1500e-2", true, 15},
    {"0e99999", true, 0},
    {"123456789012345", true, 123456789012345},
    {"-999999999999999", true, -999999999999999},
    {"9007199254740993", true, 9007199254740992},
    {"99999999999999999999", true, 1e20},
    {"1e308", true, 1e308},
    {"1.5", false, 0},
    {"-0.5", false, 0},
    {"1e-3", false, 0},
    {"15e-1", false, 0},
    {"1e400", false, 0},
    {"-1e400", false, 0},
    // What the double says counts, not what was written.
    {"1.00000000000000000000000001", true, 1},
    {"9007199254740992.5", true, 9007199254740992},
    {"1e-400", true, 0},
    {"\"1\"", false, 0},
    {"null", false, 0},
    {"true", false, 0},
    {"[1]", false, 0},
    {"{}", false, 0},
};

static void test_ints(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(int_rows); i++) {
        struct scanned scanned = scan(int_rows[i].value);
        double number = 0.5;
        bool is_int = json_value_is_int(&scanned.value, &number);
        double expected = int_rows[i].is_int ? int_rows[i].number : 0.5;
        if (is_int != int_rows[i].is_int || number < expected || number > expected) {
            fail_msg("int: %s", int_rows[i].value);
        }
        free(scanned.text);
    }
    double number;
    assert_false(json_value_is_int(&absent, &number));
}

static void test_number_is(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        bool two;
    } rows[] = {{"2", true}, {"2.0", true}, {"2e0", true}, {"20e-1", true}, {"0.2E1", true},
        {"2.00000000000000000000000001", true}, {"3", false}, {"-2", false}, {"2.5", false},
        {"22", false}, {"1e400", false}, {"\"2\"", false}, {"[2]", false}, {"null", false}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct scanned scanned = scan(rows[i].value);
        if (json_value_is_number(&scanned.value, 2) != rows[i].two) {
            fail_msg("is 2: %s", rows[i].value);
        }
        free(scanned.text);
    }
    assert_false(json_value_is_number(&absent, 0));
}

// An array's elements, raw, joined with '|'.
static void test_array(void **state)
{
    static const struct {
        const char *text;
        const char *elements;
    } cases[] = {
        {"[]", ""},
        {"[ \n]", ""},
        {"[1]", "1|"},
        {"[ true , false,null ]", "true|false|null|"},
        {"[\"a,]\\\"b\",\"\\\\\",\"\"]", "\"a,]\\\"b\"|\"\\\\\"|\"\"|"},
        {"[{\"a\":[1,2],\"]\":\"}\"},[[],[3]]]", "{\"a\":[1,2],\"]\":\"}\"}|[[],[3]]|"},
        {"{\"a\":1}", ""}, // no array
        {"7", ""},
        {"", ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char joined[128] = "";
        struct slice rest = slice_str(cases[i].text);
        struct slice element;
        while (json_array_next(&rest, &element)) {
            strncat(joined, element.at, element.len);
            strcat(joined, "|");
        }
        assert_string_equal(joined, cases[i].elements);
        assert_false(json_array_next(&rest, &element)); // and stays at the end
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_filled),
        cmocka_unit_test(test_no_strings),
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_other_texts),
        cmocka_unit_test(test_trim),
        cmocka_unit_test(test_ints),
        cmocka_unit_test(test_number_is),
        cmocka_unit_test(test_array),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
