// SPDX-License-Identifier: Apache-2.0
// RFC 8259 as the scanner keeps it. Every text lies in a block of exactly its size, so that a
// sanitizer sees a read past the end.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/mem.h"
#include "proto/json_scan.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

static const char *const names[] = {"v", "type", "sessionId", "", "caf\xc3\xa9", "a\"b"};
enum { V, TYPE, SESSION_ID, EMPTY, CAFE, QUOTE, NAME_COUNT };

static enum weir_result scan_exact(struct slice text, char **ret_copy, struct json_value *values)
{
    char *copy = malloc(text.len > 0 ? text.len : 1);
    assert_non_null(copy);
    memcpy(copy, text.at, text.len);
    struct json_keys *keys = json_keys_new(names, NAME_COUNT);
    assert_non_null(keys);
    enum weir_result result = json_scan(slice_of(copy, text.len), keys, values);
    json_keys_free(keys);
    *ret_copy = copy;
    return result;
}

static enum weir_result judge(struct slice text)
{
    struct json_value values[NAME_COUNT];
    char *copy;
    enum weir_result result = scan_exact(text, &copy, values);
    free(copy);
    return result;
}

static void expect(struct slice text, enum weir_result result)
{
    if (judge(text) != result) {
        fail_msg("judged wrongly: %.*s", SLICE_ARG(text));
    }
}

// ---- Whole texts

static const char *const good_texts[] = {
    "{}",
    " \t\r\n{ \t\r\n} \t\r\n",
    "{\"a\":1}",
    " { \"a\" : 1 , \"b\" : [ ] , \"c\" : { } } ",
    "{\"a\":[1,2,[3,{\"b\":[]}],{}],\"c\":{\"d\":{\"e\":null}}}",
    "{\"a\":[ 1 , [ ] , { } , { \"b\" : 2 , \"c\" : 3 } ]\n}",
    "{\"a\":true,\"b\":false,\"c\":null}",
    "{\"a\":[true,false,null,\"x\",0]}",
    "{\"a\":0,\"b\":-0,\"c\":-1,\"d\":10,\"e\":123456789012345678901234567890}",
    "{\"a\":0.5,\"b\":-0.0,\"c\":1e0,\"d\":1E+2,\"e\":1e-2,\"f\":1.25e400,\"g\":0e0,\"h\":0.0e-0}",
    "{\"a\":\"\",\"\":\"\"}",
    "{\"a\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0000\\uabcd\\uABCD\\uD83D\\uDE00\"}",
    "{\"a\":\"\\ud800\",\"b\":\"\\udc00\\ud800x\"}",
    "{\"a\":\"\x7f\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"}",
    "{\"a\":\"\xff\xc0\x80\"}", // UTF-8 is judged elsewhere
    "{\"a\":1,\"a\":2,\"a\":{\"a\":3,\"a\":4}}",
    "{\"a\":\"}{][,:\",\"b\":\"//\"}",
    "{\"\\u0061\\n\":[{\"\\\"\":\"\\\\\"}]}",
    "{\"a\":\"0123456789abcdef0123456789abcdef0123456789abcdef\\n0123456789abcdef\"}",
};

static const char *const bad_texts[] = {
    "",
    " ",
    "1",
    "\"a\"",
    "null",
    "[]",
    "[{}]",
    "\xef\xbb\xbf{}",
    "{}{}",
    "{} x",
    "{},",
    "{}]",
    "{]",
    "}",
    "{,}",
    "{\"a\":1,}",
    "{,\"a\":1}",
    "{\"a\":1,,\"b\":2}",
    "{\"a\":1 \"b\":2}",
    "{\"a\"}",
    "{\"a\":}",
    "{\"a\" 1}",
    "{\"a\"::1}",
    "{\"a\":1:2}",
    "{\"a\",1}",
    "{a:1}",
    "{'a':1}",
    "{\"a\":'b'}",
    "{1:1}",
    "{null:1}",
    "{\"a\":1;\"b\":2}",
    "{\"a\":[1,]}",
    "{\"a\":[,1]}",
    "{\"a\":[,]}",
    "{\"a\":[1,,2]}",
    "{\"a\":[1 2]}",
    "{\"a\":[1:2]}",
    "{\"a\":[\"b\":1]}",
    "{\"a\":[}",
    "{\"a\":[1}",
    "{\"a\":[1}]}",
    "{\"a\":{]}",
    "{\"a\":{\"b\":1]}",
    "{\"a\":{\"b\":1]}}",
    "{\"a\":{\"b\"}}",
    "{\"a\":{\"b\":}}",
    "{\"a\":{\"b\":1,}}",
    "{\"a\":{,}}",
    "{\"a\":{1}}",
    "{\"a\":[]]}",
    "{\"a\":{}}}",
    "{\"a\":/**/1}",
    "{\"a\":1}//",
    "{\"a\":1}#",
    // Literals
    "{\"a\":True}",
    "{\"a\":tru}",
    "{\"a\":truee}",
    "{\"a\":nul}",
    "{\"a\":nulll}",
    "{\"a\":fals}",
    "{\"a\":falsey}",
    "{\"a\":undefined}",
    "{\"a\":NaN}",
    "{\"a\":Infinity}",
    "{\"a\":-Infinity}",
    "{\"a\":[tru]}",
    // Numbers
    "{\"a\":-}",
    "{\"a\":--1}",
    "{\"a\":+1}",
    "{\"a\":01}",
    "{\"a\":-01}",
    "{\"a\":00}",
    "{\"a\":0x10}",
    "{\"a\":1.}",
    "{\"a\":.5}",
    "{\"a\":-.5}",
    "{\"a\":1.e5}",
    "{\"a\":1.5.5}",
    "{\"a\":1e}",
    "{\"a\":1e+}",
    "{\"a\":1e-}",
    "{\"a\":1e++1}",
    "{\"a\":1e1.5}",
    "{\"a\":1e1e1}",
    "{\"a\":1a}",
    "{\"a\":1_000}",
    "{\"a\":\xd9\xa1}", // U+0661, a digit of another script
    "{\"a\":[01]}",
    // Strings
    "{\"a\":\"}",
    "{\"a\":\"\\\"}",
    "{\"a\":\"\\x41\"}",
    "{\"a\":\"\\'\"}",
    "{\"a\":\"\\0\"}",
    "{\"a\":\"\\U0041\"}",
    "{\"a\":\"\\N\"}",
    "{\"a\":\"\\u\"}",
    "{\"a\":\"\\u1\"}",
    "{\"a\":\"\\u12\"}",
    "{\"a\":\"\\u123\"}",
    "{\"a\":\"\\u123g\"}",
    "{\"a\":\"\\ug123\"}",
    "{\"a\":\"\\u 123\"}",
    "{\"a\":\"\\u-123\"}",
    "{\"a\":\"\\u12`4\"}",
    "{\"a\":\"\\u12:4\"}",
    "{\"a\":\"\\u12@4\"}",
    "{\"a\":\"\\u12G4\"}",
    "{\"a\":\"\\\n\"}",
    "{\"a\":\"tab\there\"}",
    "{\"a\":\"line\nhere\"}",
    "{\"a\nb\":1}",
    "{\"\\q\":1}",
    "{\"a\":{\"\\q\":1}}",
    // White space of others
    "\v{}",
    "\f{}",
    "{\xc2\xa0}",
    "{}\xe2\x80\xa8",
};

static void test_good_texts(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(good_texts); i++) {
        expect(slice_str(good_texts[i]), WEIR_OK);
    }
}

static void test_bad_texts(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(bad_texts); i++) {
        expect(slice_str(bad_texts[i]), WEIR_MALFORMED);
    }
}

// No part of a text may be taken for the whole, but for white space behind it.
static void test_prefixes(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(good_texts); i++) {
        struct slice text = slice_trim(slice_str(good_texts[i]));
        for (size_t len = 0; len < text.len; len++) {
            expect(slice_of(text.at, len), WEIR_MALFORMED);
        }
    }
}

static void test_nul_is_no_end(void **state)
{
    (void)state;
    expect(SLICE("{}\0"), WEIR_MALFORMED);
    expect(SLICE("\0{}"), WEIR_MALFORMED);
    expect(SLICE("{\0}"), WEIR_MALFORMED);
    expect(SLICE("{\"a\":\"\0\"}"), WEIR_MALFORMED);
    expect(SLICE("{\"a\":1\0}"), WEIR_MALFORMED);
}

// ---- Strings, at every place of the blocks of 16 bytes, and of 64 behind the first four of those

#define STRING_MAX 280

// {"v":"xxxx...xxxx"} with one byte replaced.
static struct slice string_text(char *out, size_t len, size_t at, const char *piece)
{
    char string[STRING_MAX + 8];
    memset(string, 'x', len);
    memcpy(string + at, piece, strlen(piece));
    int total = snprintf(out, STRING_MAX + 32, "{\"v\":\"%.*s\"}", (int)len, string);
    return slice_of(out, (size_t)total);
}

static void test_special_byte_anywhere(void **state)
{
    (void)state;
    char out[STRING_MAX + 32];
    for (size_t len = 1; len < STRING_MAX; len++) {
        for (size_t at = 0; at < len; at++) {
            expect(string_text(out, len, at, "\x1f"), WEIR_MALFORMED);
            expect(string_text(out, len, at, "\x01"), WEIR_MALFORMED);
            expect(string_text(out, len, at, "\""), WEIR_MALFORMED);
            expect(string_text(out, len, at, "\\"), WEIR_MALFORMED);
            expect(string_text(out, len, at, " "), WEIR_OK);
            if (at + 2 <= len) {
                expect(string_text(out, len, at, "\\n"), WEIR_OK);
                expect(string_text(out, len, at, "\\\""), WEIR_OK);
            }
            if (at + 6 <= len) {
                expect(string_text(out, len, at, "\\u0000"), WEIR_OK);
            }
        }
    }
}

static void test_every_byte_in_a_string(void **state)
{
    (void)state;
    for (unsigned byte = 0; byte < 256; byte++) {
        char text[] = "{\"v\":\"0123456789abcdef?\"}";
        *strchr(text, '?') = (char)byte;
        bool plain = byte >= 0x20 && byte != '"' && byte != '\\';
        expect(slice_of(text, sizeof text - 1), plain ? WEIR_OK : WEIR_MALFORMED);
        char out[STRING_MAX + 32];
        char piece[2] = {(char)byte, '\0'};
        expect(string_text(out, 200, 100, piece), plain || byte == 0 ? WEIR_OK : WEIR_MALFORMED);
        char key[] = "{\"?\":\"0123456789abcdef\"}";
        key[2] = (char)byte;
        expect(slice_of(key, sizeof key - 1), plain ? WEIR_OK : WEIR_MALFORMED);
    }
}

// ---- Values

struct value_row {
    const char *text;
    int name;
    enum json_kind kind;
    const char *raw;
    bool escaped;
};

static const struct value_row value_rows[] = {
    {"{}", V, JSON_KIND_ABSENT, "", false},
    {"{\"V\":1,\"vv\":1,\" v\":1}", V, JSON_KIND_ABSENT, "", false},
    {"{\"x\":{\"v\":1},\"y\":[{\"v\":1}]}", V, JSON_KIND_ABSENT, "", false},
    {"{\"v\":\"a b\"}", V, JSON_KIND_STRING, "a b", false},
    {"{\"v\":\"\"}", V, JSON_KIND_STRING, "", false},
    {"{\"v\":\"a\\nb\"}", V, JSON_KIND_STRING, "a\\nb", true},
    {"{\"v\":\"\\\\\"}", V, JSON_KIND_STRING, "\\\\", true},
    {"{\"v\": -1.5e3 }", V, JSON_KIND_NUMBER, "-1.5e3", false},
    {"{\"v\":0}", V, JSON_KIND_NUMBER, "0", false},
    {"{\"v\":true}", V, JSON_KIND_TRUE, "true", false},
    {"{\"v\":false}", V, JSON_KIND_FALSE, "false", false},
    {"{\"v\": null }", V, JSON_KIND_NULL, "null", false},
    {"{\"v\": [ 1, {} ] }", V, JSON_KIND_ARRAY, "[ 1, {} ]", false},
    {"{\"v\":[]}", V, JSON_KIND_ARRAY, "[]", false},
    {"{\"v\":{\"v\":2},\"z\":0}", V, JSON_KIND_OBJECT, "{\"v\":2}", false},
    {"{\"v\":{}}", V, JSON_KIND_OBJECT, "{}", false},
    // The last of several wins, whatever it is.
    {"{\"v\":1,\"v\":\"x\"}", V, JSON_KIND_STRING, "x", false},
    {"{\"v\":\"\\n\",\"v\":1}", V, JSON_KIND_NUMBER, "1", false},
    {"{\"v\":\"\\n\",\"v\":[]}", V, JSON_KIND_ARRAY, "[]", false},
    {"{\"v\":\"\\n\",\"v\":\"x\"}", V, JSON_KIND_STRING, "x", false},
    {"{\"v\":\"x\",\"v\":null}", V, JSON_KIND_NULL, "null", false},
    {"{\"v\":\"x\",\"\\u0076\":2}", V, JSON_KIND_NUMBER, "2", false},
    {"{\"\\u0076\":2,\"v\":\"x\"}", V, JSON_KIND_STRING, "x", false},
    // Keys are what they mean.
    {"{\"t\\u0079pe\":1}", TYPE, JSON_KIND_NUMBER, "1", false},
    {"{\"\\u0074\\u0079\\u0070\\u0065\":1}", TYPE, JSON_KIND_NUMBER, "1", false},
    {"{\"t\\u0059pe\":1}", TYPE, JSON_KIND_ABSENT, "", false},
    {"{\"type\\u0000\":1}", TYPE, JSON_KIND_ABSENT, "", false},
    {"{\"type\\n\":1}", TYPE, JSON_KIND_ABSENT, "", false},
    {"{\"\":7}", EMPTY, JSON_KIND_NUMBER, "7", false},
    {"{\"a\\\"b\":7}", QUOTE, JSON_KIND_NUMBER, "7", false},
    {"{\"a\\u0022b\":7}", QUOTE, JSON_KIND_NUMBER, "7", false},
    {"{\"caf\xc3\xa9\":7}", CAFE, JSON_KIND_NUMBER, "7", false},
    {"{\"caf\\u00e9\":7}", CAFE, JSON_KIND_NUMBER, "7", false},
    {"{\"caf\\u00E9\":7}", CAFE, JSON_KIND_NUMBER, "7", false},
    {"{\"sessionIe\":1,\"sessionId\":2,\"sessionIf\":3}", SESSION_ID, JSON_KIND_NUMBER, "2", false},
};

static void test_values(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(value_rows); i++) {
        const struct value_row *row = &value_rows[i];
        struct json_value values[NAME_COUNT];
        char *copy;
        assert_int_equal(scan_exact(slice_str(row->text), &copy, values), WEIR_OK);
        const struct json_value *value = &values[row->name];
        if (value->kind != row->kind || value->escaped != row->escaped ||
            !slice_eq(value->text, slice_str(row->raw))) {
            fail_msg("%s: kind %d, raw %.*s", row->text, (int)value->kind, SLICE_ARG(value->text));
        }
        free(copy);
    }
}

// ---- Keys

static void test_long_keys(void **state)
{
    (void)state;
    // Longer than any name, plain and escaped, and the shortest that is too long to unescape.
    for (size_t len = 60; len < 420; len++) {
        char text[512];
        char key[448];
        memset(key, 'k', len);
        key[len] = '\0';
        snprintf(text, sizeof text, "{\"%s\":1}", key);
        expect(slice_str(text), WEIR_OK);
        snprintf(text, sizeof text, "{\"%s\\n\":1}", key);
        expect(slice_str(text), WEIR_OK);
    }
}

// The longest name there may be, written in the longest way there is.
static void test_longest_name(void **state)
{
    (void)state;
    char name[65];
    char text[512] = "{\"";
    for (size_t i = 0; i < 64; i++) {
        name[i] = 'n';
        strcat(text, "\\u006e");
    }
    name[64] = '\0';
    strcat(text, "\":5}");
    const char *const one[] = {name};
    struct json_keys *keys = json_keys_new(one, 1);
    assert_non_null(keys);
    struct json_value value;
    assert_int_equal(json_scan(slice_str(text), keys, &value), WEIR_OK);
    assert_int_equal(value.kind, JSON_KIND_NUMBER);
    json_keys_free(keys);
}

// As many names as there may be, all of which fall into one slot of the table.
static void test_colliding_names(void **state)
{
    (void)state;
    char store[JSON_KEYS_MAX][8];
    const char *all[JSON_KEYS_MAX];
    char text[2048] = "{";
    for (size_t i = 0; i < JSON_KEYS_MAX; i++) {
        // First, middle and last byte and the length are the same.
        snprintf(store[i], sizeof store[i], "a%c%cm%c%cz", (char)('a' + i / 8), 'a',
            (char)('a' + i % 8), 'a');
        all[i] = store[i];
        size_t len = strlen(text);
        snprintf(text + len, sizeof text - len, "%s\"%s\":%zu", i > 0 ? "," : "", store[i], i);
    }
    strcat(text, "}");
    struct json_keys *keys = json_keys_new(all, JSON_KEYS_MAX);
    assert_non_null(keys);
    struct json_value values[JSON_KEYS_MAX];
    assert_int_equal(json_scan(slice_str(text), keys, values), WEIR_OK);
    for (size_t i = 0; i < JSON_KEYS_MAX; i++) {
        char number[8];
        snprintf(number, sizeof number, "%zu", i);
        assert_true(slice_eq(values[i].text, slice_str(number)));
    }
    json_keys_free(keys);
}

static void test_keys_without_memory(void **state)
{
    (void)state;
    mem_fail_at(1);
    assert_null(json_keys_new(names, NAME_COUNT));
    mem_fail_at(0);
    json_keys_free(NULL);
}

// ---- Depth

// {"v":[[{"k":[...]}]]}: an object where bit i of pattern is set. Level `wrong` (none: SIZE_MAX)
// is closed with the other bracket.
static struct slice nest(char *out, size_t levels, unsigned pattern, size_t wrong)
{
    char *at = out + sprintf(out, "{\"v\":");
    for (size_t i = 0; i < levels; i++) {
        bool object = (pattern >> i % 7 & 1) != 0;
        at += sprintf(at, "%s", !object ? "[" : i + 1 < levels ? "{\"k\":" : "{");
    }
    for (size_t i = levels; i > 0; i--) {
        bool object = (pattern >> (i - 1) % 7 & 1) != 0;
        *at++ = object != (i - 1 == wrong) ? '}' : ']';
    }
    *at++ = '}';
    return slice_of(out, (size_t)(at - out));
}

static void test_nesting_is_remembered(void **state)
{
    (void)state;
    static const size_t level_counts[] = {1, 2, 63, 64, 65, 127, 128, 129, 200};
    static const unsigned patterns[] = {0x00, 0x7f, 0x55, 0x13};
    char out[4096];
    for (size_t i = 0; i < COUNT(level_counts); i++) {
        for (size_t j = 0; j < COUNT(patterns); j++) {
            expect(nest(out, level_counts[i], patterns[j], SIZE_MAX), WEIR_OK);
            for (size_t wrong = 0; wrong < level_counts[i]; wrong++) {
                expect(nest(out, level_counts[i], patterns[j], wrong), WEIR_MALFORMED);
            }
        }
    }
}

// Down and up again across the edge of a word, between siblings.
static void test_nesting_comes_back(void **state)
{
    (void)state;
    char text[1024] = "{\"v\":";
    for (int i = 0; i < 64; i++) {
        strcat(text, i % 2 == 0 ? "[" : "{\"k\":");
    }
    strcat(text, "[{},[1]],\"m\":{\"n\":[]},\"o\":0");
    for (int i = 64; i > 0; i--) {
        strcat(text, (i - 1) % 2 == 0 ? "]" : "}");
    }
    strcat(text, ",\"w\":1}");
    expect(slice_str(text), WEIR_OK);
}

static void test_depth_limit(void **state)
{
    (void)state;
    char *out = malloc(8 * JSON_DEPTH_MAX);
    assert_non_null(out);
    static const unsigned patterns[] = {0x00, 0x7f, 0x2a};
    for (size_t i = 0; i < COUNT(patterns); i++) {
        expect(nest(out, 5000, patterns[i], SIZE_MAX), WEIR_OK);
        expect(nest(out, 5000, patterns[i], 4000), WEIR_MALFORMED);
        expect(nest(out, JSON_DEPTH_MAX - 1, patterns[i], SIZE_MAX), WEIR_OK);
        expect(nest(out, JSON_DEPTH_MAX - 1, patterns[i], 64), WEIR_MALFORMED);
        assert_int_equal(judge(nest(out, JSON_DEPTH_MAX, patterns[i], SIZE_MAX)), WEIR_MALFORMED);
    }
    free(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_texts),
        cmocka_unit_test(test_bad_texts),
        cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_nul_is_no_end),
        cmocka_unit_test(test_special_byte_anywhere),
        cmocka_unit_test(test_every_byte_in_a_string),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_long_keys),
        cmocka_unit_test(test_longest_name),
        cmocka_unit_test(test_colliding_names),
        cmocka_unit_test(test_keys_without_memory),
        cmocka_unit_test(test_nesting_is_remembered),
        cmocka_unit_test(test_nesting_comes_back),
        cmocka_unit_test(test_depth_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
