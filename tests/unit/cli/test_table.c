// SPDX-License-Identifier: Apache-2.0
#include "cli/table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/plain.h"

static void test_plain(void **state)
{
    (void)state;
    static const struct {
        const char *from;
        const char *to;
    } rows[] = {
        {"plain text", "plain text"},
        {"\x1b[31mred\x1b[0m", "red"},
        {"\x1b[38;5;1mx\x1b[?1049hy", "xy"},
        {"\x1b]0;title\x07x", "x"},
        {"\x1b]8;;http://a\x1b\\link\x1b]8;;\x1b\\", "link"},
        {"\x1b]0;cut \x1b[31mx", "x"},
        {"\x1b]0;no end", ""},
        {"\x1bP1;2q\x1b\\x\x1b(By\0337z", "xyz"},
        {"x\x1b", "x"},
        {"x\x1b[", "x"},
        {"x\x1b[31", "x"},
        {"a\tb\nc\rd", "a b c d"},
        {"a\x01\x7f\bz", "az"},
        {"a\xc2\x9b"
         "31mz",
            "a31mz"},
        {"a\xe2\x80\xae\xe2\x80\x8bz", "az"},
        {"a\xef\xbb\xbf\xf3\xa0\x81\x81z", "az"},
        {"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"},
        {"a\xff\xc3!", "a?"
                       "?!"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf out = BUF_INIT(256);
        assert_int_equal(plain_append(&out, slice_str(rows[i].from)), WEIR_OK);
        assert_string_equal(buf_text(&out), rows[i].to);
        buf_reset(&out);
    }
    assert_int_equal(plain_width(SLICE("\xc3\xa9\xe2\x82\xac z")), 4);
}

// Nothing that steers comes through, wherever a text is cut.
static void test_every_prefix(void **state)
{
    (void)state;
    static const char text[] = "a\x1b[31mb\x1b]0;t\x07"
                               "c\x1b]8;;u\x1b\\d\xc2\x9b"
                               "e\xe2\x80\xae";
    for (size_t len = 0; len < sizeof text; len++) {
        struct buf out = BUF_INIT(256);
        assert_int_equal(plain_append(&out, slice_of(text, len)), WEIR_OK);
        struct slice plain = buf_slice(&out);
        for (size_t i = 0; i < plain.len; i++) {
            assert_true((uint8_t)plain.at[i] >= ' ' && (uint8_t)plain.at[i] < 0x7f);
        }
        buf_reset(&out);
    }
}

static void test_columns(void **state)
{
    (void)state;
    static const char *const titles[] = {"ID", "NAME", "X"};
    struct table table;
    struct buf out = BUF_INIT(4096);
    table_init(&table, titles, 3);
    static const char *const cells[] = {"1", "\xc3\xa9t\xc3\xa9", "y", "long id", "", NULL};
    for (size_t i = 0; i < sizeof cells / sizeof cells[0]; i++) {
        table_add_str(&table, cells[i]);
    }
    assert_int_equal(table_write(&table, &out), WEIR_OK);
    assert_string_equal(buf_text(&out), "ID       NAME  X\n"
                                        "1        \xc3\xa9t\xc3\xa9   y\n"
                                        "long id  -     -\n");
    table_fini(&table);
    buf_reset(&out);
    table_init(&table, NULL, 2);
    table_add_str(&table, "key");
    table_add_str(&table, "a\nb");
    assert_int_equal(table_write(&table, &out), WEIR_OK);
    assert_string_equal(buf_text(&out), "key  a b\n");
    table_fini(&table);
    buf_reset(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_every_prefix),
        cmocka_unit_test(test_columns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
