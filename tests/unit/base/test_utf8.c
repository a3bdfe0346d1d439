// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/utf8.h"

// A slice for a static table.
#define TEXT(literal)                                                                              \
    {                                                                                              \
        (literal), sizeof(literal) - 1                                                             \
    }

// broken: the maximal subpart of the first sequence that is not valid (Unicode 15 section 3.9).
static const struct {
    const char *name;
    struct slice text;
    bool valid;
    size_t broken;
} rows[] = {
    {"empty", TEXT(""), true, 0},
    {"ASCII", TEXT("abc"), true, 0},
    {"NUL", TEXT("a\0b"), true, 0},
    {"first of two bytes", TEXT("\xc2\x80"), true, 0},
    {"last of two bytes", TEXT("\xdf\xbf"), true, 0},
    {"first of three bytes", TEXT("\xe0\xa0\x80"), true, 0},
    {"last before the surrogates", TEXT("\xed\x9f\xbf"), true, 0},
    {"first after the surrogates", TEXT("\xee\x80\x80"), true, 0},
    {"last of three bytes", TEXT("\xef\xbf\xbf"), true, 0},
    {"first of four bytes", TEXT("\xf0\x90\x80\x80"), true, 0},
    {"last code point", TEXT("\xf4\x8f\xbf\xbf"), true, 0},
    {"byte order mark", TEXT("\xef\xbb\xbf"), true, 0},
    {"continuation alone", TEXT("\x80"), false, 1},
    {"last continuation alone", TEXT("\xbf"), false, 1},
    {"overlong NUL", TEXT("\xc0\x80"), false, 1},
    {"overlong slash", TEXT("\xc1\xaf"), false, 1},
    {"overlong of three bytes", TEXT("\xe0\x9f\xbf"), false, 1},
    {"overlong of four bytes", TEXT("\xf0\x8f\xbf\xbf"), false, 1},
    {"first surrogate", TEXT("\xed\xa0\x80"), false, 1},
    {"last surrogate", TEXT("\xed\xbf\xbf"), false, 1},
    {"surrogate pair", TEXT("\xed\xa0\xbd\xed\xb8\x80"), false, 1},
    {"above the last code point", TEXT("\xf4\x90\x80\x80"), false, 1},
    {"f5", TEXT("\xf5\x80\x80\x80"), false, 1},
    {"fe", TEXT("\xfe"), false, 1},
    {"ff", TEXT("\xff"), false, 1},
    {"two bytes cut", TEXT("\xc3"), false, 1},
    {"three bytes cut after one", TEXT("\xe2"), false, 1},
    {"three bytes cut after two", TEXT("\xe2\x82"), false, 2},
    {"four bytes cut after three", TEXT("\xf0\x9f\x98"), false, 3},
    {"two bytes broken", TEXT("\xc3("), false, 1},
    {"three bytes broken", TEXT("\xe2\x82("), false, 2},
    {"four bytes broken", TEXT("\xf0\x9f\x98\xf0"), false, 3},
};

static void judges_sequences(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        print_message("row %zu: %s\n", i, rows[i].name);
        assert_int_equal(utf8_valid(rows[i].text), rows[i].valid);
        if (rows[i].valid) {
            continue;
        }
        assert_int_equal(utf8_sequence_len(rows[i].text), 0);
        assert_int_equal(utf8_broken_len(rows[i].text), rows[i].broken);
    }
}

// 64 and eight bytes are looked at together: a sequence must be seen wherever it lies among them.
static void judges_at_every_offset(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (size_t before = 0; before < 140; before++) {
            for (size_t after = 0; after < 80; after++) {
                char text[140 + 8 + 80];
                memset(text, 'a', sizeof text);
                memcpy(text + before, rows[i].text.at, rows[i].text.len);
                size_t len = before + rows[i].text.len + after;
                assert_int_equal(utf8_valid(slice_of(text, len)), rows[i].valid);
            }
        }
    }
}

static void encodes_every_code_point(void **state)
{
    (void)state;
    for (unsigned long code_point = 0; code_point <= 0x10ffff; code_point++) {
        if (code_point >= 0xd800 && code_point <= 0xdfff) {
            continue;
        }
        char bytes[4];
        size_t len = utf8_encode(code_point, bytes);
        size_t expected = code_point < 0x80      ? 1
                          : code_point < 0x800   ? 2
                          : code_point < 0x10000 ? 3
                                                 : 4;
        if (len != expected || utf8_sequence_len(slice_of(bytes, len)) != len) {
            fail_msg("U+%04lX takes %zu bytes", code_point, len);
        }
        // No proper prefix is a sequence.
        for (size_t cut = 0; cut < len; cut++) {
            if (utf8_sequence_len(slice_of(bytes, cut)) != 0) {
                fail_msg("U+%04lX cut at %zu", code_point, cut);
            }
        }
    }
}

static void encodes_known_code_points(void **state)
{
    (void)state;
    char bytes[4];
    assert_int_equal(utf8_encode(0xfffd, bytes), 3);
    assert_memory_equal(bytes, "\xef\xbf\xbd", 3);
    assert_int_equal(utf8_encode(0x1f600, bytes), 4);
    assert_memory_equal(bytes, "\xf0\x9f\x98\x80", 4);
    assert_int_equal(utf8_encode(0xe4, bytes), 2);
    assert_memory_equal(bytes, "\xc3\xa4", 2);
}

static void makes_bytes_plain(void **state)
{
    (void)state;
    char text[] = "a\x1b[31m\tb\r\n\x7f \xc2\x9b \xc3\xa4 \xff\xc3";
    utf8_make_plain(text);
    assert_string_equal(text, "a [31m b       \xc3\xa4 ??");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(judges_sequences),
        cmocka_unit_test(judges_at_every_offset),
        cmocka_unit_test(encodes_every_code_point),
        cmocka_unit_test(encodes_known_code_points),
        cmocka_unit_test(makes_bytes_plain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
