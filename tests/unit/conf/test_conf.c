// SPDX-License-Identifier: Apache-2.0
#include "conf/conf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"

struct sample {
    char *text, *url, *link, *path, *secret;
    uint64_t count;
    bool flag;
    unsigned color;
    struct conf_networks networks;
    struct conf_words words;
};

enum { TEXT, URL, LINK, PATH, SECRET, COUNT, FLAG, COLOR, NETWORKS, WORDS, ROWS };

static const struct conf_row rows[ROWS] = {
    {"TEXT", "OLD_TEXT", "def", NULL, "One", "A text.", offsetof(struct sample, text), 0, 0,
        CONF_TEXT, 0},
    {"URL", NULL, NULL, "http|https", "One", "A URL.", offsetof(struct sample, url), 0, 0, CONF_URL,
        0},
    {"LINK", NULL, NULL, "redis", "One", "A URL.", offsetof(struct sample, link), 0, 0,
        CONF_SECRET_URL, 0},
    {"PATH", NULL, "~/certs", NULL, "One", "A path.", offsetof(struct sample, path), 0, 0,
        CONF_PATH, 0},
    {"SECRET", NULL, NULL, NULL, "Two", "A secret.", offsetof(struct sample, secret), 0, 0,
        CONF_SECRET, 0},
    {"COUNT", "OLD_COUNT", "7", NULL, "Two", "A number.", offsetof(struct sample, count), 1, 5000,
        CONF_INT, 0},
    {"FLAG", NULL, "1", NULL, "Two", "A switch.", offsetof(struct sample, flag), 0, 0, CONF_BOOL,
        0},
    {"COLOR", NULL, "red", "red|green|blue", "Two", "A word.", offsetof(struct sample, color), 0, 0,
        CONF_CHOICE, 0},
    {"NETWORKS", NULL, NULL, NULL, "Two", "Networks.", offsetof(struct sample, networks), 0, 0,
        CONF_NETWORKS, 0},
    {"WORDS", NULL, NULL, NULL, "Two", "Words.", offsetof(struct sample, words), 0, 0, CONF_WORDS,
        0},
};

// A source that knows two variables and HOME.
struct pair {
    const char *name, *value;
};
struct world {
    struct pair pairs[2];
    const char *home;
};

static const char *get(void *arg, const char *name)
{
    const struct world *world = arg;
    for (size_t i = 0; i < 2; i++) {
        if (world->pairs[i].name != NULL && strcmp(world->pairs[i].name, name) == 0) {
            return world->pairs[i].value;
        }
    }
    return strcmp(name, "HOME") == 0 ? world->home : NULL;
}

struct fixture {
    struct world world;
    struct sample sample;
    struct conf_problems problems;
    bool set[ROWS];
    enum weir_result result;
};

static void load(struct fixture *fixture, struct pair first, struct pair second)
{
    *fixture = (struct fixture){.world = {{first, second}, "/home/ann"}};
    struct conf_source source = {.get = get, .arg = &fixture->world};
    conf_problems_init(&fixture->problems);
    fixture->result =
        conf_read(rows, ROWS, &source, &fixture->sample, fixture->set, &fixture->problems);
}

static void unload(struct fixture *fixture)
{
    conf_release(rows, ROWS, &fixture->sample);
    conf_problems_fini(&fixture->problems);
}

// What a field holds, as text.
static void show(const struct fixture *fixture, int row, char *text, size_t size)
{
    const struct sample *sample = &fixture->sample;
    const char *const texts[] = {
        sample->text, sample->url, sample->link, sample->path, sample->secret};
    char ip[IP_TEXT_SIZE];
    text[0] = '\0';
    if (row <= SECRET) {
        snprintf(text, size, "%s", texts[row] == NULL ? "(null)" : texts[row]);
    } else if (row == COUNT) {
        snprintf(text, size, "%llu", (unsigned long long)sample->count);
    } else if (row == FLAG) {
        snprintf(text, size, "%d", sample->flag);
    } else if (row == COLOR) {
        snprintf(text, size, "%u", sample->color);
    } else if (row == NETWORKS) {
        for (size_t i = 0; i < sample->networks.count; i++) {
            ip_to_text(&sample->networks.items[i].base, ip);
            snprintf(text + strlen(text), size - strlen(text), "%s/%u ", ip,
                sample->networks.items[i].prefix_len);
        }
    } else {
        for (size_t i = 0; i < sample->words.count; i++) {
            snprintf(text + strlen(text), size - strlen(text), "<%s>", sample->words.items[i]);
        }
    }
}

static void test_accepted(void **state)
{
    static const struct {
        int row;
        const char *name, *value, *field;
    } cases[] = {
        {TEXT, "TEXT", " \t a b \r\n", "a b"},
        {TEXT, "TEXT", "gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"},
        {TEXT, "OLD_TEXT", "old", "old"},
        {URL, "URL", "https://h:1/x?y", "https://h:1/x?y"},
        {URL, "URL", "HTTP://h", "HTTP://h"},
        {LINK, "LINK", "redis://u:p@h/3", "redis://u:p@h/3"},
        {PATH, "PATH", "/a/~/b", "/a/~/b"},
        {PATH, "PATH", "~/x", "/home/ann/x"},
        {PATH, "PATH", "~x", "~x"},
        {SECRET, "SECRET", "s3cret", "s3cret"},
        {COUNT, "COUNT", "1", "1"},
        {COUNT, "COUNT", "5000", "5000"},
        {COUNT, "COUNT", "1e3", "1000"},
        {COUNT, "COUNT", "1.5e1", "15"},
        {COUNT, "COUNT", "12.0", "12"},
        {COUNT, "COUNT", "0x10", "16"},
        {COUNT, "COUNT", "+5", "5"},
        {COUNT, "COUNT", "007", "7"},
        {COUNT, "OLD_COUNT", "9", "9"},
        {FLAG, "FLAG", "0", "0"},
        {FLAG, "FLAG", "FALSE", "0"},
        {FLAG, "FLAG", "No", "0"},
        {FLAG, "FLAG", "off", "0"},
        {FLAG, "FLAG", "1", "1"},
        {FLAG, "FLAG", "True", "1"},
        {FLAG, "FLAG", "YES", "1"},
        {FLAG, "FLAG", "on", "1"},
        {COLOR, "COLOR", "red", "0"},
        {COLOR, "COLOR", "Blue", "2"},
        {NETWORKS, "NETWORKS", "10.0.0.1, ,2001:db8::/32,", "10.0.0.1/128 2001:db8::/32 "},
        {NETWORKS, "NETWORKS", ",", ""},
        {WORDS, "WORDS", " A.b,,c ,", "<a.b><c>"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fixture fixture;
        char text[256];
        print_message("%s=%s\n", cases[i].name, cases[i].value);
        load(&fixture, (struct pair){cases[i].name, cases[i].value}, (struct pair){0});
        show(&fixture, cases[i].row, text, sizeof text);
        assert_int_equal(fixture.result, WEIR_OK);
        assert_string_equal(text, cases[i].field);
        assert_int_equal(fixture.problems.errors.len, 0);
        assert_int_equal(fixture.problems.warnings.len, 0);
        for (int row = 0; row < ROWS; row++) {
            assert_int_equal(fixture.set[row], row == cases[i].row);
        }
        unload(&fixture);
    }
}

static void test_refused(void **state)
{
    static const struct {
        int row;
        const char *name, *value, *line, *field;
    } cases[] = {
        {TEXT, "TEXT", "a\nb",
            "TEXT: \"a?b\" is not usable; allowed: UTF-8 without control characters, at most 4095 "
            "bytes\n",
            "def"},
        {TEXT, "OLD_TEXT", "\xff", "OLD_TEXT: \"\xff\" is not usable; allowed: UTF-8", "def"},
        {URL, "URL", "ftp://h",
            "URL: \"ftp://h\" is not usable; allowed: scheme://host[:port][/path] with a scheme "
            "of: "
            "http, https; no user name or password in it\n",
            "(null)"},
        {URL, "URL", "http://ann:pw@h", "URL: the value (not shown) is not usable", "(null)"},
        {URL, "URL", "h", "URL: \"h\" is not usable", "(null)"},
        {LINK, "LINK", "reddis://u:pw@h",
            "LINK: the value (not shown) is not usable; allowed: scheme://host[:port][/path] with "
            "a "
            "scheme of: redis\n",
            "(null)"},
        {PATH, "PATH", "a\tb", "PATH: \"a?b\" is not usable", "/home/ann/certs"},
        {SECRET, "SECRET", "pw\r\nx: y", "SECRET: the value (not shown) is not usable", "(null)"},
        {COUNT, "COUNT", "0",
            "COUNT: \"0\" is not usable; allowed: a whole number from 1 to 5000\n", "7"},
        {COUNT, "COUNT", "5001", "COUNT: \"5001\" is not usable", "7"},
        {COUNT, "COUNT", "abc", "COUNT: \"abc\" is not usable", "7"},
        {COUNT, "COUNT", "-1", "COUNT: \"-1\" is not usable", "7"},
        {COUNT, "COUNT", "1.5", "COUNT: \"1.5\" is not usable", "7"},
        {COUNT, "COUNT", "1 2", "COUNT: \"1 2\" is not usable", "7"},
        {COUNT, "COUNT", "10s", "COUNT: \"10s\" is not usable", "7"},
        {COUNT, "COUNT", "0x", "COUNT: \"0x\" is not usable", "7"},
        {COUNT, "COUNT", "1e", "COUNT: \"1e\" is not usable", "7"},
        {COUNT, "COUNT", "1e999", "COUNT: \"1e999\" is not usable", "7"},
        {COUNT, "COUNT", ".", "COUNT: \".\" is not usable", "7"},
        {COUNT, "COUNT", "Infinity", "COUNT: \"Infinity\" is not usable", "7"},
        {COUNT, "OLD_COUNT", "x", "OLD_COUNT: \"x\" is not usable", "7"},
        {FLAG, "FLAG", "2",
            "FLAG: \"2\" is not usable; allowed: 0, 1, false, true, no, yes, off or on\n", "1"},
        {FLAG, "FLAG", "y", "FLAG: \"y\" is not usable", "1"},
        {COLOR, "COLOR", "pink", "COLOR: \"pink\" is not usable; allowed: red, green, blue\n", "0"},
        {COLOR, "COLOR", "re", "COLOR: \"re\" is not usable", "0"},
        {COLOR, "COLOR", "red|green", "COLOR: \"red|green\" is not usable", "0"},
        {NETWORKS, "NETWORKS", "10.0.0.1,10.0.0.0/33,host",
            "NETWORKS: \"10.0.0.0/33\" is not usable; allowed: IP addresses and networks like "
            "10.0.0.0/8 or 2001:db8::/32, comma-separated\nNETWORKS: \"host\" is not usable",
            ""},
        {WORDS, "WORDS", "a,\x01", "WORDS: \"a,?\" is not usable", ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fixture fixture;
        char text[256];
        print_message("%s=%s\n", cases[i].name, cases[i].value);
        load(&fixture, (struct pair){cases[i].name, cases[i].value}, (struct pair){0});
        show(&fixture, cases[i].row, text, sizeof text);
        assert_int_equal(fixture.result, WEIR_OK);
        assert_true(
            slice_starts_with(buf_slice(&fixture.problems.errors), slice_str(cases[i].line)));
        assert_false(slice_contains_nocase(buf_slice(&fixture.problems.errors), SLICE("pw")));
        assert_string_equal(text, cases[i].field);
        unload(&fixture);
    }
}

static void test_defaults(void **state)
{
    static const char *const blanks[] = {NULL, "", "  \t\r\n"};
    static const char *const fields[ROWS] = {
        "def", "(null)", "(null)", "/home/ann/certs", "(null)", "7", "1", "0", "", ""};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        for (int row = 0; row < ROWS; row++) {
            struct fixture fixture;
            char text[256];
            load(&fixture, (struct pair){rows[row].name, blanks[i]}, (struct pair){0});
            show(&fixture, row, text, sizeof text);
            assert_string_equal(text, fields[row]);
            assert_false(fixture.set[row]);
            assert_int_equal(fixture.problems.errors.len + fixture.problems.warnings.len, 0);
            unload(&fixture);
        }
    }
}

static void test_two_names(void **state)
{
    static const struct {
        const char *name, *other, *warning, *field;
    } cases[] = {
        {"new", "old", "TEXT and OLD_TEXT are both set and differ; TEXT is used\n", "new"},
        {"same", " same ", "", "same"},
        {"", "old", "", "old"},
        {"new", "", "", "new"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fixture fixture;
        load(&fixture, (struct pair){"TEXT", cases[i].name},
            (struct pair){"OLD_TEXT", cases[i].other});
        assert_string_equal(fixture.sample.text, cases[i].field);
        assert_true(slice_eq(buf_slice(&fixture.problems.warnings), slice_str(cases[i].warning)));
        unload(&fixture);
    }
}

// A default below the home directory must not end the start of who has none.
static void test_no_home(void **state)
{
    static const struct {
        const char *given, *field;
        bool error;
    } cases[] = {{NULL, "~/certs", false}, {"~/x", "~/certs", true}, {"/x", "/x", false}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct world world = {{{"PATH", cases[i].given}}, NULL};
        struct conf_source source = {.get = get, .arg = &world};
        struct sample sample = {0};
        struct conf_problems problems;
        bool set[ROWS];
        conf_problems_init(&problems);
        assert_int_equal(conf_read(rows, ROWS, &source, &sample, set, &problems), WEIR_OK);
        assert_string_equal(sample.path, cases[i].field);
        assert_int_equal(problems.errors.len > 0, cases[i].error);
        conf_release(rows, ROWS, &sample);
        conf_problems_fini(&problems);
    }
}

static void test_long_values(void **state)
{
    char value[CONF_TEXT_LEN_MAX + 2];
    struct fixture fixture;
    (void)state;
    memset(value, 'x', sizeof value);
    value[CONF_TEXT_LEN_MAX] = '\0';
    load(&fixture, (struct pair){"TEXT", value}, (struct pair){"PATH", value});
    assert_string_equal(fixture.sample.text, value);
    assert_string_equal(fixture.sample.path, value);
    unload(&fixture);
    value[CONF_TEXT_LEN_MAX] = 'x';
    value[CONF_TEXT_LEN_MAX + 1] = '\0';
    load(&fixture, (struct pair){"TEXT", value}, (struct pair){"PATH", value});
    assert_string_equal(fixture.sample.text, "def");
    assert_true(slice_contains_nocase(
        buf_slice(&fixture.problems.errors), SLICE("xxx...\" is not usable; allowed: a path")));
    assert_true(fixture.problems.errors.len < 500);
    unload(&fixture);
}

static void test_problem_lines(void **state)
{
    struct conf_problems problems;
    char value[4000];
    (void)state;
    memset(value, 'x', sizeof value);
    value[sizeof value - 1] = '\0';
    conf_problems_init(&problems);
    conf_error(&problems, "a %s", value);
    assert_true(slice_ends_with(buf_slice(&problems.errors), SLICE("xx...\n")));
    // A full list keeps whole lines.
    for (int i = 0; i < 100; i++) {
        conf_error(&problems, "a %s", value);
    }
    assert_true(problems.errors.len <= CONF_PROBLEMS_BYTES_MAX);
    assert_true(slice_ends_with(buf_slice(&problems.errors), SLICE("xx...\n")));
    conf_problems_fini(&problems);
}

static void test_manual(void **state)
{
    struct buf out = BUF_INIT(65536);
    (void)state;
    conf_manual(rows, ROWS, &out);
    struct slice text = buf_slice(&out);
    assert_true(slice_starts_with(
        text, SLICE("\n## One\n\n| variable | other name | type | default | allowed | meaning |\n"
                    "|---|---|---|---|---|---|\n"
                    "| `TEXT` | `OLD_TEXT` | text | `def` | no control characters | A text. |\n"
                    "| `URL` | – | URL | – | `http://…`, `https://…` | A URL. |\n")));
    assert_true(slice_contains_nocase(text, SLICE("| `COUNT` | `OLD_COUNT` | integer | `7` | 1 to "
                                                  "5000 | A number. |\n")));
    assert_true(slice_contains_nocase(text, SLICE("\n\n## Two\n\n")));
    buf_reset(&out);
}

static void test_environment(void **state)
{
    (void)state;
    assert_int_equal(setenv("WEIR_TEST_CONF", "there", 1), 0);
    assert_string_equal(conf_environment.get(conf_environment.arg, "WEIR_TEST_CONF"), "there");
    assert_int_equal(unsetenv("WEIR_TEST_CONF"), 0);
    assert_null(conf_environment.get(conf_environment.arg, "WEIR_TEST_CONF"));
    assert_true(
        conf_environment.file_exists(conf_environment.arg, WEIR_SOURCE_DIR "/CMakeLists.txt"));
    assert_false(conf_environment.file_exists(conf_environment.arg, WEIR_SOURCE_DIR "/no such"));
}

static void test_no_memory(void **state)
{
    (void)state;
    for (int row = 0; row < ROWS; row++) {
        static const char *const values[ROWS] = {
            "a", "http://h", "redis://h", "~/a", "s", "1", "1", "red", "10.0.0.1", "a,b"};
        for (unsigned long n = 1;; n++) {
            struct fixture fixture;
            mem_fail_at(n);
            load(&fixture, (struct pair){rows[row].name, values[row]}, (struct pair){0});
            bool reached = mem_count() >= n;
            mem_fail_at(0);
            assert_int_equal(fixture.result, reached ? WEIR_MEMORY : WEIR_OK);
            unload(&fixture);
            if (!reached) {
                break;
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepted),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_two_names),
        cmocka_unit_test(test_no_home),
        cmocka_unit_test(test_long_values),
        cmocka_unit_test(test_problem_lines),
        cmocka_unit_test(test_manual),
        cmocka_unit_test(test_environment),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
