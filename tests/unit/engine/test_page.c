// SPDX-License-Identifier: Apache-2.0
#include "engine/edge/page.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void accept_decides(void **state)
{
    static const struct {
        const char *accept;
        bool html;
    } rows[] = {
        {"", false},
        {"*/*", false},
        {"text/plain", false},
        {"application/json", false},
        {"text/html", true},
        {"TEXT/HTML;level=1", true},
        {"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", true},
        {"text/html;q=0", false},
        {"text/html;q=0.3, text/plain;q=0.7", false},
        {"text/html;q=0.7, text/plain;q=0.3", true},
        {"text/html;q=0.001", true},
        {"text/html; q=x", true},
        {",;,text/html", true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (page_prefers_html(slice_str(rows[i].accept)) != rows[i].html) {
            fail_msg("Accept: %s", rows[i].accept);
        }
    }
}

static void every_error_says_who_speaks(void **state)
{
    (void)state;
    for (unsigned error = 0; error < EDGE_ERROR_COUNT; error++) {
        const struct page_error *row = page_error((enum edge_error)error);
        assert_in_range(row->status, 400, 599);
        assert_true(row->label[0] != '\0' && row->text[0] != '\0');
        for (unsigned other = 0; other < error; other++) {
            assert_string_not_equal(row->label, page_error((enum edge_error)other)->label);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accept_decides),
        cmocka_unit_test(every_error_says_who_speaks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
