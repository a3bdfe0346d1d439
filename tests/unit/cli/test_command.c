// SPDX-License-Identifier: Apache-2.0
#include "cli/command.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cli/manual.h"

enum { ALPHA, BETA, SWITCH, EITHER, FORM, MANY, COUNT };

static const struct option_row rows[] = {
    [ALPHA] = {"--alpha", "N", "first", .alias = "-a"},
    [BETA] = {"--beta", "[=N]", "second"},
    [SWITCH] = {"--switch", NULL, "third"},
    [EITHER] = {"--either", NULL, "fourth", .flags = OPTION_NEGATABLE},
    [FORM] = {"--form", "F", "fifth", .choices = "table|json"},
    [MANY] = {"--many", "K=V", "sixth", .flags = OPTION_REPEATABLE},
    [COUNT] = {NULL},
};

static const struct command command = {.name = "test", .summary = "s", .options = rows};

struct line {
    const char *words[8]; // ended by NULL
    const char *values[COUNT];
    const char *rest; // positional words, with blanks between
};

static void check(const struct line *line)
{
    const char *values[COUNT] = {NULL};
    char *argv[8];
    int argc = 0;
    int count = -1;
    int exit_code;
    struct option_repeats repeats = {0};
    for (; line->words[argc] != NULL; argc++) {
        argv[argc] = (char *)(uintptr_t)line->words[argc];
    }
    assert_true(command_parse_repeats(&command, argc, argv, values, &repeats, &count, &exit_code));
    for (size_t i = 0; i < COUNT; i++) {
        if (line->values[i] == NULL) {
            assert_null(values[i]);
        } else {
            assert_string_equal(values[i], line->values[i]);
        }
    }
    char rest[64] = "";
    for (int i = 0; i < count; i++) {
        strcat(strcat(rest, i == 0 ? "" : " "), argv[i]);
    }
    assert_string_equal(rest, line->rest);
}

static void test_good(void **state)
{
    (void)state;
    static const struct line lines[] = {
        {{NULL}, {NULL}, ""},
        {{"--alpha", "1", "x"}, {[ALPHA] = "1"}, "x"},
        {{"--alpha=1", "-a", "2"}, {[ALPHA] = "2"}, ""},
        {{"-a=3", "--alpha="}, {[ALPHA] = ""}, ""},
        {{"x", "--beta", "y"}, {[BETA] = ""}, "x y"},
        {{"--beta=", "--switch"}, {[BETA] = "", [SWITCH] = "1"}, ""},
        {{"--beta=7"}, {[BETA] = "7"}, ""},
        {{"--either"}, {[EITHER] = "1"}, ""},
        {{"--no-either"}, {[EITHER] = "0"}, ""},
        {{"--either=false"}, {[EITHER] = "0"}, ""},
        {{"--no-either", "--either=true"}, {[EITHER] = "1"}, ""},
        {{"--form", "json"}, {[FORM] = "json"}, ""},
        {{"--", "--alpha", "-"}, {NULL}, "--alpha -"},
        {{"-", "x", "--", "y"}, {NULL}, "- x y"},
        {{"--alpha", "--switch"}, {[ALPHA] = "--switch"}, ""},
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        check(&lines[i]);
    }
}

static void test_bad(void **state)
{
    (void)state;
    static const char *const lines[][3] = {{"--alpah", "1"}, {"--alpha"}, {"--switch=1"},
        {"--no-switch"}, {"--either=maybe"}, {"--no-either=true"}, {"--form", "xml"}, {"-x"},
        {"--no-"}, {"--form="}};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        const char *values[COUNT] = {NULL};
        char *argv[] = {(char *)(uintptr_t)lines[i][0], (char *)(uintptr_t)lines[i][1]};
        int count;
        int exit_code = -1;
        assert_false(
            command_parse(&command, lines[i][1] == NULL ? 1 : 2, argv, values, &count, &exit_code));
        assert_int_equal(exit_code, EXIT_USAGE);
    }
}

static void test_repeats(void **state)
{
    (void)state;
    const char *values[COUNT] = {NULL};
    struct option_repeats repeats = {0};
    char words[4][16] = {"--many", "a=1", "--many=b=2", "rest"};
    char *argv[] = {words[0], words[1], words[2], words[3]};
    int count;
    int exit_code;
    assert_true(command_parse_repeats(&command, 4, argv, values, &repeats, &count, &exit_code));
    assert_int_equal(repeats.count, 2);
    assert_string_equal(repeats.items[0].value, "a=1");
    assert_string_equal(repeats.items[1].value, "b=2");
    assert_int_equal(repeats.items[1].option, MANY);
    assert_string_equal(values[MANY], "b=2");
    repeats.count = OPTION_REPEATS_MAX;
    assert_false(command_parse_repeats(&command, 4, argv, values, &repeats, &count, &exit_code));
    assert_int_equal(exit_code, EXIT_USAGE);
}

// ---- Trees

static int ran; // which command ran last

static int run(const struct command *self, int argc, char **argv)
{
    (void)argv;
    ran = self->name[strlen(self->name) - 1] * 10 + argc;
    return 7;
}

static const struct command leaf = {
    .name = "group leaf1", .summary = "s", .run = run, .other_names = "l|lf", .usage = ""};
static const struct command *const leaves[] = {&leaf, NULL};
static const struct command group = {
    .name = "group", .summary = "it's a group", .children = leaves, .usage = ""};
static const struct command *const groups[] = {&group, NULL};
static const struct command root = {.name = "", .summary = "all", .children = groups, .usage = ""};

static void test_dispatch(void **state)
{
    (void)state;
    char words[3][16] = {"group", "leaf1", "x"};
    char *argv[] = {words[0], words[1], words[2]};
    assert_int_equal(command_dispatch(&root, 3, argv), 7);
    assert_int_equal(ran, '1' * 10 + 1);
    strcpy(words[1], "lf");
    assert_int_equal(command_dispatch(&root, 2, argv), 7);
    assert_int_equal(ran, '1' * 10);
    strcpy(words[1], "leef1");
    assert_int_equal(command_dispatch(&root, 2, argv), EXIT_USAGE);
    assert_int_equal(command_dispatch(&root, 0, argv), EXIT_USAGE);
    assert_string_equal(command_word(&leaf), "leaf1");
    assert_ptr_equal(command_child(&group, "l"), &leaf);
    assert_null(command_child(&group, "leaf"));
}

static void test_manual(void **state)
{
    (void)state;
    char name[MANUAL_NAME_SIZE];
    struct buf page = BUF_INIT(65536);
    manual_name(&leaf, name);
    assert_string_equal(name, "weir-group-leaf1");
    manual_write(&root, &command, &page);
    const char *text = buf_text(&page);
    assert_non_null(strstr(text, ".TH \"weir-test\" 1"));
    assert_non_null(strstr(text, "\\fB\\-a\\fR, \\fB\\-\\-alpha\\fR N\n"));
    assert_non_null(strstr(text, "\\fB\\-\\-no\\-either\\fR"));
    assert_non_null(strstr(text, "one of table|json"));
    buf_reset(&page);
    assert_false(completion_write(&root, "csh", &page));
    assert_true(completion_write(&root, "fish", &page));
    assert_non_null(strstr(buf_text(&page), "'it'\\''s a group'"));
    buf_reset(&page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_repeats),
        cmocka_unit_test(test_dispatch),
        cmocka_unit_test(test_manual),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
