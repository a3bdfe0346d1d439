// SPDX-License-Identifier: Apache-2.0
// Rows of a YAML file below variables: where a value comes from, what is said about it, what no row
// names; and what is done with two readings.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "conf/conf.h"
#include "conf/yaml.h"

struct sample {
    char *text, *secret, *path;
    uint64_t count;
    bool flag;
    unsigned color;
    struct conf_networks networks;
    struct conf_words words;
    struct conf_listen listen;
    struct conf_ports ports;
};

#define ROW(path, old, fallback_, min_, max_, choices_, type_, flags_, field)                      \
    {                                                                                              \
        .name = path, .other = old, .fallback = fallback_, .choices = choices_, .group = "Group",  \
        .meaning = "Meaning.", .offset = offsetof(struct sample, field), .min = min_, .max = max_, \
        .type = type_, .flags = flags_                                                             \
    }

static const struct conf_row rows[] = {
    ROW("top", "OLD_TOP", "def", 0, 0, NULL, CONF_TEXT, CONF_LIVE, text),
    ROW("a.secret", NULL, NULL, 0, 0, NULL, CONF_SECRET, CONF_REQUIRED, secret),
    ROW("a.path", NULL, NULL, 0, 0, NULL, CONF_PATH, 0, path),
    ROW("a.deep.count", NULL, "7", 1, 50, NULL, CONF_INT, CONF_LIVE, count),
    ROW("a.deep.flag", NULL, "false", 0, 0, NULL, CONF_BOOL, 0, flag),
    ROW("b.color", NULL, "red", 0, 0, "red|green", CONF_CHOICE, CONF_LIVE, color),
    ROW("b.networks", NULL, NULL, 0, 0, NULL, CONF_NETWORKS, 0, networks),
    ROW("b.words", NULL, NULL, 0, 0, NULL, CONF_WORDS, 0, words),
    ROW("b.listen", NULL, NULL, 1, 65535, NULL, CONF_LISTEN, 0, listen),
    ROW("b.ports", NULL, NULL, 1, 65535, NULL, CONF_PORTS, 0, ports),
};
#define ROWS (sizeof rows / sizeof rows[0])

static const char *const extra[] = {"b.list", NULL};

struct fixture {
    char *environment[8];
    struct yml_document document;
    struct sample sample;
    struct conf_problems problems;
    bool set[ROWS];
};

static const char *get(void *arg, const char *name)
{
    struct fixture *fixture = arg;
    size_t len = strlen(name);
    for (char **pair = fixture->environment; *pair != NULL; pair++) {
        if (strncmp(*pair, name, len) == 0 && (*pair)[len] == '=') {
            return *pair + len + 1;
        }
    }
    return NULL;
}

// The secret is given where a test is not about it.
static void load(struct fixture *fixture, const char *yaml, const char *variable)
{
    *fixture = (struct fixture){.environment = {(char *)"W_A__SECRET=s", (char *)variable}};
    conf_problems_init(&fixture->problems);
    assert_int_not_equal(yml_parse(slice_str(yaml), "f.yml", &yml_limits_default,
                             &fixture->document, &fixture->problems),
        WEIR_MEMORY);
    struct conf_source source = {.get = get, .arg = fixture};
    struct conf_file file = {.document = &fixture->document,
        .root = fixture->document.root,
        .prefix = "W_",
        .variables = &source,
        .environment = fixture->environment};
    assert_int_equal(
        conf_read_file(rows, ROWS, &file, &fixture->sample, fixture->set, &fixture->problems),
        WEIR_OK);
    conf_refuse_unknown(rows, ROWS, extra, &file, &fixture->problems);
}

static void unload(struct fixture *fixture)
{
    conf_release(rows, ROWS, &fixture->sample);
    yml_close(&fixture->document);
    conf_problems_fini(&fixture->problems);
}

// What conf_print makes of the sample, without the rows at their defaults and without sections.
static const char *show(const struct fixture *fixture, struct buf *out)
{
    struct buf all = BUF_INIT(65536);
    conf_print(rows, ROWS, &fixture->sample, fixture->set, &all);
    struct slice rest = buf_slice(&all);
    struct slice line;
    while (slice_split(&rest, '\n', &line)) {
        line = slice_trim(line);
        if (line.len > 0 && !slice_ends_with(line, SLICE("# default")) &&
            !slice_ends_with(line, SLICE(":"))) {
            buf_printf(out, "%s%.*s", out->len > 0 ? "; " : "", SLICE_ARG(line));
        }
    }
    buf_reset(&all);
    return buf_text(out);
}

#define S "secret: \"(hidden)\""

static void where_values_come_from(void **state)
{
    static const struct {
        const char *yaml, *variable, *shown, *errors;
    } cases[] = {
        {"", NULL, S, ""},
        {"top: x", NULL, "top: \"x\"; " S, ""},
        {"top: ' x '", NULL, "top: \"x\"; " S, ""},
        {"top: x", "W_TOP=y", "top: \"y\"; " S, ""},
        {"top: x", "OLD_TOP=y", "top: \"y\"; " S, ""},
        {"top: ~", NULL, S, ""},
        {"top: x", "W_TOP=", "top: null; " S, ""},
        {"top: ''", NULL, "top: null; " S, ""},
        {"top: 12", NULL, "top: \"12\"; " S, ""},
        {"top: 'q\"\\'", NULL, "top: \"q\\\"\\\\\"; " S, ""},
        {"a: {deep: {count: 9}}", NULL, S "; count: 9", ""},
        {"a: {deep: {count: 9}}", "W_A__DEEP__COUNT=10", S "; count: 10", ""},
        {"a: {deep: {count: 9}}", "W_A__DEEP__COUNT=", S "; count: 9", ""},
        {"a: {deep: {count: 0x9, flag: yes}}", NULL, S "; count: 9; flag: true", ""},
        {"a: {deep: {count: 51}}", NULL, S "; count: 7",
            "f.yml:1:19: a.deep.count: \"51\" is not usable; allowed: a whole number from 1 to "
            "50\n"},
        {"a: {deep: {count: 9}}", "W_A__DEEP__COUNT=x", S "; count: 7",
            "W_A__DEEP__COUNT: \"x\" is not usable; allowed: a whole number from 1 to 50\n"},
        {"a: {deep: {flag: maybe}}", NULL, S "; flag: false",
            "f.yml:1:18: a.deep.flag: \"maybe\" is not usable; allowed: 0, 1, false, true, no, "
            "yes, "
            "off or on\n"},
        {"a: {deep: {flag: [x]}}", NULL, S "; flag: false",
            "f.yml:1:18: a.deep.flag: a list is not usable; allowed: one value\n"},
        {"b: {color: Green}", NULL, S "; color: green", ""},
        {"b: {networks: [10.0.0.0/8, '::1']}", NULL, S "; networks: [\"10.0.0.0/8\", \"::1/128\"]",
            ""},
        {"b: {networks: '10.0.0.1, ::/0'}", NULL, S "; networks: [\"10.0.0.1/32\", \"::/0\"]", ""},
        {"b: {networks: []}", "W_B__NETWORKS=10.0.0.1", S "; networks: [\"10.0.0.1/32\"]", ""},
        {"b: {networks: []}", NULL, S "; networks: []", ""},
        {"b: {networks: [{}, 1]}", NULL, S "; networks: []",
            "f.yml:1:16: b.networks[0]: a map is not usable; allowed: one value\n"},
        {"b: {words: [B, c]}", NULL, S "; words: [\"b\", \"c\"]", ""},
        {"b: {words: ['a,b']}", NULL, S "; words: []",
            "f.yml:1:13: b.words[0]: text is not usable; allowed: one value\n"},
        {"b: {listen: '[::]:443'}", NULL, S "; listen: \"[::]:443\"", ""},
        {"b: {listen: ':80', ports: 2-3}", NULL, S "; listen: \":80\"; ports: \"2-3\"", ""},
        {"b: {listen: 'localhost:80', ports: 7}", NULL,
            S "; listen: \"localhost:80\"; ports: \"7-7\"", ""},
        {"b: {ports: 3-2}", NULL, S "; ports: null",
            "f.yml:1:12: b.ports: \"3-2\" is not usable; allowed: FIRST-LAST, ports from 1 to "
            "65535\n"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fixture fixture;
        struct buf out = BUF_INIT(4096);
        print_message("%s %s\n", cases[i].yaml, cases[i].variable);
        load(&fixture, cases[i].yaml, cases[i].variable);
        assert_string_equal(show(&fixture, &out), cases[i].shown);
        assert_string_equal(buf_text(&fixture.problems.errors), cases[i].errors);
        buf_reset(&out);
        unload(&fixture);
    }
}

static void addresses(void **state)
{
    static const struct {
        const char *text, *host;
        uint64_t port;
        bool loopback;
    } cases[] = {
        {"[::]:443", "::", 443, false},
        {"[::1]:443", "::1", 443, true},
        {"0.0.0.0:1", "0.0.0.0", 1, false},
        {"127.4.5.6:65535", "127.4.5.6", 65535, true},
        {"[::ffff:127.0.0.1]:80", "::ffff:127.0.0.1", 80, true},
        {"localhost:80", "localhost", 80, true},
        {"LocalHost:80", "LocalHost", 80, true},
        {":80", "", 80, false},
        {"10.0.0.1:80", "10.0.0.1", 80, false},
        {"80", NULL, 0, false},
        {"", NULL, 0, false},
        {":", NULL, 0, false},
        {":0", NULL, 0, false},
        {":65536", NULL, 0, false},
        {":080", NULL, 0, false},
        {"::1:80", NULL, 0, false},
        {"[::1]", NULL, 0, false},
        {"[::1]80", NULL, 0, false},
        {"[127.0.0.1]:80", NULL, 0, false},
        {"[::1:80", NULL, 0, false},
        {"example.com:80", NULL, 0, false},
        {"http://localhost:80", NULL, 0, false},
        {"localhost:80 ", NULL, 0, false},
        {"localhost:", NULL, 0, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct conf_listen listen;
        enum weir_result result = conf_listen_parse(slice_str(cases[i].text), 1, &listen);
        print_message("%s\n", cases[i].text);
        assert_int_equal(result, cases[i].host == NULL ? WEIR_MALFORMED : WEIR_OK);
        if (result == WEIR_OK) {
            assert_string_equal(listen.host, cases[i].host);
            assert_int_equal(listen.port, cases[i].port);
            assert_int_equal(conf_listen_is_loopback(&listen), cases[i].loopback);
            mem_free(listen.host);
        }
    }
    struct conf_listen listen;
    assert_int_equal(conf_listen_parse(SLICE(":0"), 0, &listen), WEIR_OK);
    assert_int_equal(listen.port, 0);
    mem_free(listen.host);
}

static void required_keys(void **state)
{
    static const struct {
        const char *yaml, *variable, *errors;
    } cases[] = {
        {"", NULL, "f.yml: a.secret: is required; set it there, or by W_A__SECRET\n"},
        {"a: {secret: ~}", NULL, "f.yml: a.secret: is required; set it there, or by W_A__SECRET\n"},
        {"a: {secret: ''}", NULL, "f.yml:1:13: a.secret: is empty, but it is required\n"},
        {"a: {secret: x}", "W_A__SECRET=", "W_A__SECRET: is empty, but it is required\n"},
        {"a: {secret: x}", NULL, ""},
        // As written: blanks count.
        {"a: {secret: ' '}", NULL, ""},
        {"a: {secret: [x]}", NULL,
            "f.yml:1:13: a.secret: a list is not usable; allowed: one value\n"},
        {"a: {secret: \"x\\ty\"}", NULL,
            "f.yml:1:13: a.secret: the value (not shown) is not usable; allowed: UTF-8 without "
            "control characters, at most 4095 bytes\n"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fixture fixture = {.environment = {(char *)cases[i].variable}};
        struct conf_source source = {.get = get, .arg = &fixture};
        struct conf_file file = {
            .document = &fixture.document, .prefix = "W_", .variables = &source};
        print_message("%s\n", cases[i].yaml);
        conf_problems_init(&fixture.problems);
        assert_int_equal(yml_parse(slice_str(cases[i].yaml), "f.yml", &yml_limits_default,
                             &fixture.document, &fixture.problems),
            WEIR_OK);
        file.root = fixture.document.root;
        assert_int_equal(
            conf_read_file(rows, ROWS, &file, &fixture.sample, fixture.set, &fixture.problems),
            WEIR_OK);
        assert_string_equal(buf_text(&fixture.problems.errors), cases[i].errors);
        unload(&fixture);
    }
}

static void what_no_row_names(void **state)
{
    static const struct {
        const char *yaml, *variable, *errors;
    } cases[] = {
        {"b: {list: [{anything: 1}]}", NULL, ""},
        {"tpo: 1", NULL, "f.yml:1:1: tpo: there is no such key; is \"top\" meant?\n"},
        {"a: {sercet: 1}\nz: 1", NULL,
            "f.yml:1:5: a.sercet: there is no such key; is \"secret\" meant?\n"
            "f.yml:2:1: z: there is no such key; is \"a\" meant?\n"},
        {"a: {deep: {flags: 1}}", NULL,
            "f.yml:1:12: a.deep.flags: there is no such key; is \"flag\" meant?\n"},
        // A section's key is not meant elsewhere, and a path is no key.
        {"color: red", NULL, "f.yml:1:1: color: there is no such key\n"},
        {"b.color: red", NULL, "f.yml:1:1: \"b.color\": there is no such key\n"},
        {"a: 1", NULL, "f.yml:1:4: a: a number is not usable; allowed: a map of keys\n"},
        {"a: ~", NULL, ""},
        {"[1]", NULL, "f.yml:1:1: a list is not usable; allowed: a map of keys\n"},
        {"", "W_A__SERCET=1", "W_A__SERCET: there is no such variable; is W_A__SECRET meant?\n"},
        {"", "W_Q__X=1", "W_Q__X: there is no such variable\n"},
        {"", "W_Q=1", ""},
        {"", "OTHER_Q__X=1", ""},
        {"", "W_A__DEEP__COUNT=9", ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fixture fixture;
        print_message("%s %s\n", cases[i].yaml, cases[i].variable);
        load(&fixture, cases[i].yaml, cases[i].variable);
        assert_string_equal(buf_text(&fixture.problems.errors), cases[i].errors);
        unload(&fixture);
    }
}

static const char *const full = "top: t\n"
                                "a: {secret: s, path: /p, deep: {count: 3, flag: true}}\n"
                                "b:\n  color: green\n  networks: [10.0.0.0/8]\n  words: [x, y]\n"
                                "  listen: '[::1]:80'\n  ports: 5-6\n";

// What is printed reads back to the same, but for secrets.
static void printed_values_read_back(void **state)
{
    (void)state;
    struct fixture first;
    struct fixture second;
    struct buf printed = BUF_INIT(65536);
    load(&first, full, NULL);
    conf_print(rows, ROWS, &first.sample, first.set, &printed);
    assert_string_equal(buf_text(&printed),
        "top: \"t\"\n"
        "a:\n  secret: \"(hidden)\"\n  path: \"/p\"\n  deep:\n    count: 3\n    flag: true\n"
        "b:\n  color: green\n  networks: [\"10.0.0.0/8\"]\n  words: [\"x\", \"y\"]\n"
        "  listen: \"[::1]:80\"\n  ports: \"5-6\"\n");
    load(&second, buf_text(&printed), NULL);
    assert_int_equal(second.problems.errors.len, 0);
    for (size_t i = 0; i < ROWS; i++) {
        assert_true(conf_same(&rows[i], &first.sample, &second.sample));
    }
    buf_reset(&printed);
    unload(&first);
    unload(&second);
}

static void every_difference_counts_and_some_are_kept(void **state)
{
    static const char *const changed[ROWS] = {"top: u", "a: {secret: s}", "a: {path: /q}",
        "a: {deep: {count: 4}}", "a: {deep: {flag: true}}", "b: {color: green}",
        "b: {networks: [10.0.0.0/9]}", "b: {words: [z]}", "b: {listen: ':80'}", "b: {ports: 9}"};
    (void)state;
    for (size_t i = 0; i < ROWS; i++) {
        struct fixture old;
        struct fixture next;
        load(&old, "", i == 1 ? "W_X=1" : NULL);
        load(&next, changed[i], NULL);
        if (i == 1) {
            // Variables give both the same secret; make it another one.
            mem_free(next.sample.secret);
            next.sample.secret = mem_copy("other", 5);
        }
        for (size_t row = 0; row < ROWS; row++) {
            assert_int_equal(conf_same(&rows[row], &old.sample, &next.sample), row != i);
        }
        assert_true(conf_keep(rows, ROWS, &old.sample, &next.sample));
        for (size_t row = 0; row < ROWS; row++) {
            bool live = (rows[row].flags & CONF_LIVE) != 0;
            assert_int_equal(conf_same(&rows[row], &old.sample, &next.sample), row != i || !live);
        }
        unload(&old);
        unload(&next);
    }
}

static void no_memory_is_a_result(void **state)
{
    (void)state;
    struct fixture fixture;
    load(&fixture, full, NULL);
    struct conf_source source = {.get = get, .arg = &fixture};
    struct conf_file file = {.document = &fixture.document,
        .root = fixture.document.root,
        .prefix = "W_",
        .variables = &source};
    enum weir_result result = WEIR_MEMORY;
    unsigned nth = 0;
    while (result == WEIR_MEMORY) {
        conf_release(rows, ROWS, &fixture.sample);
        mem_fail_at(++nth);
        result = conf_read_file(rows, ROWS, &file, &fixture.sample, fixture.set, &fixture.problems);
        mem_fail_at(0);
    }
    assert_int_equal(result, WEIR_OK);
    assert_true(nth > 8);
    struct sample copy = {0};
    bool kept = false;
    for (nth = 1; !kept; nth++) {
        conf_release(rows, ROWS, &copy);
        mem_fail_at(nth);
        kept = conf_keep(rows, ROWS, &fixture.sample, &copy);
        mem_fail_at(0);
    }
    assert_true(nth > 5);
    conf_release(rows, ROWS, &copy);
    unload(&fixture);
}

static void manual_of_a_file(void **state)
{
    (void)state;
    struct buf out = BUF_INIT(65536);
    conf_manual_file(rows, 2, "W_", &out);
    assert_string_equal(buf_text(&out),
        "\n## Group\n\n"
        "| key | variable | type | default | allowed | takes effect | meaning |\n"
        "|---|---|---|---|---|---|---|\n"
        "| `top` | `W_TOP`, `OLD_TOP` | text | `def` | no control characters | reload | Meaning. "
        "|\n"
        "| `a.secret` | `W_A__SECRET` | secret | required | no control characters | restart | "
        "Meaning. |\n");
    buf_reset(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(where_values_come_from),
        cmocka_unit_test(addresses),
        cmocka_unit_test(required_keys),
        cmocka_unit_test(what_no_row_names),
        cmocka_unit_test(printed_values_read_back),
        cmocka_unit_test(every_difference_counts_and_some_are_kept),
        cmocka_unit_test(no_memory_is_a_result),
        cmocka_unit_test(manual_of_a_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
