// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "health/checks/body_regex.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

static void refuses_what_would_grow(void **state)
{
    (void)state;
    static const struct {
        const char *expression;
        const char *problem; // NULL: usable
    } rows[] = {
        {"ok", NULL},
        {"", NULL},
        {"^\\{\"status\": ?\"(up|ok)\"", NULL},
        {"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}", NULL},
        {"a{100}{100}", NULL},
        {"a{0,}b{,3}", NULL},
        {"[](){+]{2}[^]]+[[:alpha:][.{.]]+", NULL},
        {"a{101}{100}", "too long when repetitions are written out"},
        {"((((a{1,255}){1,255}){1,255}){1,255})", "too long when repetitions are written out"},
        {"a{255}{255}{255}{255}{255}{255}{255}{255}{255}{255}",
            "too long when repetitions are written out"},
        {"a++++++++++++++", "too long when repetitions are written out"},
        {"(a)\\1", "back references are not allowed"},
        {"a)b", "unmatched )"},
        {"((((((((((((((((((((((((((((((((()))))))))))))))))))))))))))))))))",
            "too many parentheses inside one another"},
        {"(a", "Unmatched ( or \\("},
        {"a{2,1}", "Invalid content of \\{\\}"},
        {"a\\", "Trailing backslash"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char text[128] = "";
        bool usable = body_regex_usable(rows[i].expression, text, sizeof text);
        if (usable != (rows[i].problem == NULL) ||
            (!usable && strcmp(text, rows[i].problem) != 0)) {
            fail_msg("%s: %d \"%s\"", rows[i].expression, usable, text);
        }
    }
}

static void matches_anywhere(void **state)
{
    (void)state;
    static const struct {
        const char *expression;
        const char *body;
        bool matches;
    } rows[] = {
        {"ok", "all\nok\n", true},
        {"^ok", "ok", true},
        {"^ok", "\nok", false},
        {"ok$", "not ok", true},
        {"a|^b", "cb", false},
        {"a|^b", "ca", true},
        {"a.*b", "xa\n\xff b", true},
        {"", "", true},
        {"x", "", false},
        {"(a|b){2}c", "zabc", true},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        if (body_regex_matches(rows[i].expression, slice_str(rows[i].body)) != rows[i].matches) {
            fail_msg("%s in %s", rows[i].expression, rows[i].body);
        }
    }
}

// A body that begins a match at every byte, and never ends one.
static void looks_once(void **state)
{
    (void)state;
    static char body[65536];
    memset(body, 'a', sizeof body);
    clock_t begun = clock();
    assert_false(body_regex_matches("a.*b", slice_of(body, sizeof body)));
    // From every byte to the end it would be a second and more.
    assert_true(clock() - begun < CLOCKS_PER_SEC / 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_what_would_grow),
        cmocka_unit_test(matches_anywhere),
        cmocka_unit_test(looks_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
