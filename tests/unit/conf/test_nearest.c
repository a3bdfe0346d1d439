// SPDX-License-Identifier: Apache-2.0
#include "conf/nearest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static const char *const known[] = {"port", "host", "timeout", "interval", "failure_threshold"};

static void what_is_meant(void **state)
{
    static const struct {
        const char *word, *nearest;
    } rows[] = {
        {"prot", "port"},  // two neighbours swapped
        {"pot", "port"},   // one dropped
        {"poort", "port"}, // one added
        {"pert", "port"},  // one changed
        {"PORT", "port"},  // case
        {"timeuot", "timeout"},
        {"interal", "interval"},
        {"failure_treshhold", "failure_threshold"},
        {"failures_threshold", "failure_threshold"},
        {"path", NULL}, // two letters of four
        {"p", NULL},
        {"", NULL},
        {"something_else_entirely", NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *nearest = conf_nearest(slice_str(rows[i].word), known, 5);
        print_message("%s\n", rows[i].word);
        if (rows[i].nearest == NULL) {
            assert_null(nearest);
        } else {
            assert_string_equal(nearest, rows[i].nearest);
        }
    }
}

static void long_words_are_nobody(void **state)
{
    (void)state;
    char word[500];
    memset(word, 'a', sizeof word);
    static const char *const longer[] = {
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
    assert_null(conf_nearest(slice_of(word, sizeof word), known, 5));
    assert_null(conf_nearest(slice_of(word, 64), longer, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_meant),
        cmocka_unit_test(long_words_are_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
