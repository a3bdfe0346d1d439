// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "health/view/markup.h"

static void test_escapes(void **state)
{
    static const struct {
        const char *text;
        const char *shown;
        size_t width;
    } rows[] = {
        {"plain", "plain", 5},
        {"<a href=\"x\">'&'", "&lt;a href=&quot;x&quot;&gt;&#39;&amp;&#39;", 15},
        {"\xc3\xa9\xe2\x9c\x93", "\xc3\xa9\xe2\x9c\x93", 2},
        {"a\x1b[2J\x7f", "a\xef\xbf\xbd[2J\xef\xbf\xbd", 6},
        {"\xff\xc3", "\xef\xbf\xbd\xef\xbf\xbd", 2},
        {"", "", 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf out = BUF_INIT(1000);
        markup_put(&out, rows[i].text);
        assert_string_equal(buf_text(&out), rows[i].shown);
        assert_int_equal(markup_width(rows[i].text), rows[i].width);
        buf_reset(&out);
    }
}

static void test_nothing_is_nothing(void **state)
{
    struct buf out = BUF_INIT(10);
    (void)state;
    markup_put(&out, NULL);
    assert_int_equal(out.len, 0);
    markup_put(&out, "<<<");
    assert_true(out.failed); // all of it or a failure
    buf_reset(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_escapes),
        cmocka_unit_test(test_nothing_is_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
