// SPDX-License-Identifier: Apache-2.0
#include "conf/yaml.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/time.h"

struct fixture {
    struct yml_document document;
    struct conf_problems problems;
    enum weir_result result;
};

static void load(struct fixture *fixture, struct slice text, const struct yml_limits *limits)
{
    conf_problems_init(&fixture->problems);
    fixture->result = yml_parse(text, "f.yml", limits, &fixture->document, &fixture->problems);
}

static void unload(struct fixture *fixture)
{
    yml_close(&fixture->document);
    yml_close(&fixture->document);
    conf_problems_fini(&fixture->problems);
}

// The tree on one line: {k: v}, [a, b], plain and "quoted" scalars, "k<" for merged keys.
static void show(const struct yml_node *node, struct buf *out)
{
    if (node == NULL) {
        buf_append_str(out, "nothing");
        return;
    }
    if (node->kind == YML_SCALAR) {
        buf_printf(out, node->plain ? "%.*s" : "\"%.*s\"", SLICE_ARG(node->text));
        return;
    }
    buf_append_str(out, node->kind == YML_MAPPING ? "{" : "[");
    size_t count = 0;
    yml_for_each (child, node) {
        assert_ptr_equal(child->parent, node);
        assert_int_equal(child->position, count++);
        buf_append_str(out, child->position == 0 ? "" : ", ");
        if (node->kind == YML_MAPPING) {
            buf_printf(out, "%.*s%s: ", SLICE_ARG(child->key), child->merged ? "<" : "");
            assert_ptr_equal(yml_get(node, child->key), child);
        }
        show(child, out);
    }
    assert_int_equal(node->count, count);
    buf_append_str(out, node->kind == YML_MAPPING ? "}" : "]");
}

// A slice for a static table.
#define TEXT(literal)                                                                              \
    {                                                                                              \
        (literal), sizeof(literal) - 1                                                             \
    }

static const struct {
    struct slice yaml;
    const char *tree;
    const char *errors; // NULL: none
} rows[] = {
    {TEXT(""), "nothing", NULL},
    {TEXT("# only a remark\n"), "nothing", NULL},
    {TEXT("---\n"), "", NULL},
    {TEXT("\xef\xbb\xbf"
          "a: 1\n"),
        "{a: 1}", NULL},
    {TEXT("a: 1\r\nb:\r\n  - x\r\n  - 'y'\r\n"), "{a: 1, b: [x, \"y\"]}", NULL},
    {TEXT("%YAML 1.2\n---\na: b\n...\n"), "{a: b}", NULL},
    {TEXT("{a: {b: [1, [2]]}, c: }"), "{a: {b: [1, [2]]}, c: }", NULL},
    {TEXT("a: |\n  x\n  y\nb: >\n  x\n  y\n"), "{a: \"x\ny\n\", b: \"x y\n\"}", NULL},
    {TEXT("\"a b\": gr\xc3\xbc\xc3\x9f\n"), "{a b: gr\xc3\xbc\xc3\x9f}", NULL},
    {TEXT("1: x\ntrue: y\n"), "{1: x, true: y}", NULL},
    {TEXT("a: \"x\\0y\"\n"), "{a: \"x\"}", NULL}, // printf ends at the NUL; see below
    // Tags.
    {TEXT("a: !!str 1\nb: !!int \"2\"\nc: ! x\n"), "{a: \"1\", b: 2, c: \"x\"}", NULL},
    {TEXT("a: !!map {}\nb: !!seq []\n"), "{a: {}, b: []}", NULL},
    {TEXT("a: !!binary aGk=\nb: !mine x\nc: !!map []\n"), "{a: aGk=, b: x, c: []}",
        "f.yml:1:4: the tag \"tag:yaml.org,2002:binary\" is not known, or not for text\n"
        "f.yml:2:4: the tag \"!mine\" is not known, or not for text\n"
        "f.yml:3:4: the tag \"tag:yaml.org,2002:map\" is not known, or not for a list\n"},
    // Aliases.
    {TEXT("a: &x {n: 1}\nb: *x\nc: [*x, *x]\n"), "{a: {n: 1}, b: {n: 1}, c: [{n: 1}, {n: 1}]}",
        NULL},
    {TEXT("a: &x 1\nb: *x\nc: &x 2\nd: *x\n*x : y\n"), "{a: 1, b: 1, c: 2, d: 2, 2: y}", NULL},
    {TEXT("a: *no\nb: &self [*self]\nc: 1\n"), "{a: , b: [], c: 1}",
        "f.yml:1:4: an alias of what has no anchor before it\n"
        "f.yml:2:11: an alias stands inside of what it names\n"},
    // Merge keys.
    {TEXT("d: &d {x: 1, y: 2}\ns: {<<: *d, y: 3, z: 4}\n"),
        "{d: {x: 1, y: 2}, s: {y: 3, z: 4, x<: 1}}", NULL},
    {TEXT("s:\n  x: 1\n  <<: [{x: 2, y: 2}, {y: 3, z: 3}]\n"), "{s: {x: 1, y<: 2, z<: 3}}", NULL},
    {TEXT("a: {<<: &in {x: 1}, y: 2}\nb: *in\n"), "{a: {y: 2, x<: 1}, b: {x: 1}}", NULL},
    {TEXT("a: {\"<<\": 1}\n"), "{a: {<<: 1}}", NULL},
    {TEXT("a: {<<: 1}\nb: {<<: [2, {c: 3}]}\n"), "{a: {}, b: {c<: 3}}",
        "f.yml:1:9: a.\"<<\": a merge key wants a map or a list of maps\n"
        "f.yml:2:10: b.\"<<\"[0]: a merge key wants a map or a list of maps\n"},
    // Keys.
    {TEXT("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\na: 2\n"), "{a: 1, b: {c: 1, d: 2}}",
        "f.yml:5:3: b.c: the key is there twice; the first is in line 3\n"
        "f.yml:6:1: a: the key is there twice; the first is in line 1\n"},
    {TEXT("{<<: {a: 1}, <<: {b: 1}}"), "{a<: 1}", "f.yml:1:18: \"<<\": the key is there twice\n"},
    {TEXT("a: {[x]: 1, y: 2}\n? {k: v}\n: [*no]\n"), "{a: {y: 2}}",
        "f.yml:1:5: a map or a list stands where a key is wanted\n"
        "f.yml:2:3: a map or a list stands where a key is wanted\n"
        "f.yml:3:4: an alias of what has no anchor before it\n"},
    {TEXT("a:\n  ?\n  : 1\n  b: 2\n"), "{a: {b: 2}}", "f.yml:2:4: a value without a key\n"},
    // What ends the reading.
    {TEXT("a: 1\n---\nb: 2\n"), "nothing", "f.yml:2:1: a second document; a file may hold one\n"},
    {TEXT("a: 1\nb: {c: 1\nd: 2\n"), "nothing",
        "f.yml:3:2: did not find expected ',' or '}', while parsing a flow mapping from line 2 "
        "on\n"},
    {TEXT("a:\n\tb: 1\n"), "nothing",
        "f.yml:2:1: a tab stands here; YAML is indented with spaces\n"},
    {TEXT("a: \"x\n"), "nothing",
        "f.yml:2:1: found unexpected end of stream, while scanning a quoted scalar from line 1 "
        "on\n"},
    {TEXT("a: @b\n"), "nothing",
        "f.yml:1:4: found character that cannot start any token, while scanning for the next token "
        "from line 1 on\n"},
    {TEXT("a: 1\nb: \xff\n"), "nothing", "f.yml:2:4: the bytes from here on are not UTF-8\n"},
    {TEXT("\xff\xfe"
          "a\0"),
        "nothing", "f.yml:1:1: the bytes from here on are not UTF-8\n"},
    {TEXT("gr\xc3\xbc\xc3\x9f: \x01\n"), "nothing",
        "f.yml:1:7: control characters are not allowed\n"},
    {TEXT("a: \0\n"), "nothing", "f.yml:1:4: control characters are not allowed\n"},
};

static void trees_and_mistakes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct fixture fixture;
        struct buf tree = BUF_INIT(4096);
        print_message("row %zu: %.*s\n", i, SLICE_ARG(rows[i].yaml));
        load(&fixture, rows[i].yaml, &yml_limits_default);
        show(fixture.document.root, &tree);
        assert_string_equal(buf_text(&tree), rows[i].tree);
        const char *errors = buf_text(&fixture.problems.errors);
        assert_string_equal(errors, rows[i].errors == NULL ? "" : rows[i].errors);
        assert_int_equal(fixture.result, rows[i].errors == NULL ? WEIR_OK : WEIR_MALFORMED);
        buf_reset(&tree);
        unload(&fixture);
    }
}

static void limits_end_the_reading(void **state)
{
    static const struct yml_limits limits = {
        .bytes_max = 200, .nodes_max = 16, .aliases_max = 3, .depth_max = 4};
    static const struct {
        const char *yaml, *errors;
    } cases[] = {
        {"[[[[]]]]", ""},
        {"[[[[[]]]]]",
            "f.yml:1:5: too many maps and lists inside one another; at most 4 are read\n"},
        {"[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]", ""},
        {"[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]",
            "f.yml:1:53: too many values, those behind aliases counted; at most 16 are read\n"},
        {"[&a 1, *a, *a, *a]", ""},
        {"[&a 1, *a, *a, *a, *a]", "f.yml:1:20: too many aliases; at most 3 are read\n"},
        // A bomb: each level doubles.
        {"- &a [1, 1]\n- &b [*a, *a]\n- [*b, *b]\n",
            "f.yml:3:4: too many values, those behind aliases counted; at most 16 are read\n"},
        {"- &a [[1]]\n- [*a]\n", ""},
        {"- &a [[1]]\n- [[*a]]\n", "f.yml:2:5: an alias goes too deep; at most 4 are read\n"},
        {"a: &a {x: {y: {}}}\n<<: *a\n", ""},
        {"a: &a {x: {y: {}}}\nb: {<<: *a}\n",
            "f.yml:2:9: an alias goes too deep; at most 4 are read\n"},
        {"# ten.....# ten.....# ten.....# ten.....# ten.....# ten.....# ten.....# ten.....# "
         "ten....."
         "# ten.....# ten.....# ten.....# ten.....# ten.....# ten.....# ten.....# ten.....# "
         "ten....."
         "# ten.....# ten.....1",
            "f.yml:1:1: the file is larger than 200 bytes\n"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fixture fixture;
        print_message("%s\n", cases[i].yaml);
        load(&fixture, slice_str(cases[i].yaml), &limits);
        assert_string_equal(buf_text(&fixture.problems.errors), cases[i].errors);
        assert_int_equal(fixture.result, cases[i].errors[0] == '\0' ? WEIR_OK : WEIR_MALFORMED);
        assert_int_equal(fixture.document.root == NULL, cases[i].errors[0] != '\0');
        unload(&fixture);
    }
}

static void anchors_are_counted(void **state)
{
    (void)state;
    struct fixture fixture;
    struct buf text = BUF_INIT(1 << 20);
    for (unsigned i = 0; i < 1025; i++) {
        buf_printf(&text, "- &a%u x\n", i);
    }
    load(&fixture, buf_slice(&text), &yml_limits_default);
    assert_string_equal(buf_text(&fixture.problems.errors),
        "f.yml:1025:3: too many anchors; at most 1024 are read\n");
    unload(&fixture);
    buf_reset(&text);
}

static void large_maps_are_searched(void **state)
{
    (void)state;
    struct fixture fixture;
    struct buf text = BUF_INIT(1 << 20);
    char key[32];
    for (unsigned i = 0; i < 5000; i++) {
        buf_printf(&text, "key%u: %u\n", i * 7919 % 5000, i);
    }
    load(&fixture, buf_slice(&text), &yml_limits_default);
    assert_int_equal(fixture.result, WEIR_OK);
    assert_int_equal(fixture.document.root->count, 5000);
    for (unsigned i = 0; i < 5000; i++) {
        snprintf(key, sizeof key, "key%u", i);
        assert_non_null(yml_get(fixture.document.root, slice_str(key)));
    }
    assert_null(yml_get(fixture.document.root, SLICE("key")));
    assert_null(yml_get(fixture.document.root, SLICE("key5000")));
    unload(&fixture);
    buf_reset(&text);
}

// ---- Meaning

static void null_text_and_kind(void **state)
{
    static const struct {
        const char *yaml;
        bool null;
        const char *text; // NULL: none
        const char *kind;
    } cases[] = {
        {"", true, NULL, "null"},
        {"~", true, NULL, "null"},
        {"null", true, NULL, "null"},
        {"NULL", true, NULL, "null"},
        {"''", false, "", "text"},
        {"'~'", false, "~", "text"},
        {"\"null\"", false, "null", "text"},
        {"x", false, "x", "text"},
        {"22", false, "22", "a number"},
        {"-2.5e3", false, "-2.5e3", "a number"},
        {"'22'", false, "22", "text"},
        {"yes", false, "yes", "true or false"},
        {"[]", false, NULL, "a list"},
        {"{}", false, NULL, "a map"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fixture fixture;
        struct slice text;
        print_message("%s\n", cases[i].yaml);
        load(&fixture, slice_str(cases[i].yaml), &yml_limits_default);
        const struct yml_node *node = fixture.document.root;
        assert_int_equal(yml_is_null(node), cases[i].null);
        assert_string_equal(yml_kind_text(node), cases[i].kind);
        if (cases[i].text == NULL) {
            assert_int_equal(yml_text(node, &text), WEIR_MALFORMED);
        } else {
            assert_int_equal(yml_text(node, &text), WEIR_OK);
            assert_string_equal(text.at, cases[i].text);
        }
        unload(&fixture);
    }
}

enum type { BOOL, INT, FLOAT, DURATION };

static enum weir_result read_as(
    enum type type, const struct yml_node *node, char *text, size_t size)
{
    bool flag;
    int64_t whole;
    double number;
    uint64_t ns;
    enum weir_result result = WEIR_MALFORMED;
    switch (type) {
    case BOOL:
        result = yml_bool(node, &flag);
        snprintf(text, size, "%s", result == WEIR_OK ? flag ? "true" : "false" : "");
        break;
    case INT:
        result = yml_int(node, &whole);
        snprintf(text, size, "%lld", result == WEIR_OK ? (long long)whole : 0);
        break;
    case FLOAT:
        result = yml_float(node, &number);
        snprintf(text, size, "%g", result == WEIR_OK ? number : 0);
        break;
    case DURATION:
        result = yml_duration(node, &ns);
        snprintf(text, size, "%llu us", result == WEIR_OK ? (unsigned long long)ns / 1000 : 0ULL);
        break;
    }
    return result;
}

static void typed_scalars(void **state)
{
    static const struct {
        enum type type;
        const char *yaml;
        enum weir_result result;
        const char *value;
    } cases[] = {
        {BOOL, "true", WEIR_OK, "true"},
        {BOOL, "False", WEIR_OK, "false"},
        {BOOL, "on", WEIR_OK, "true"},
        {BOOL, "no", WEIR_OK, "false"},
        {BOOL, "!!bool 'true'", WEIR_OK, "true"},
        {BOOL, "'true'", WEIR_MALFORMED, NULL},
        {BOOL, "!!str true", WEIR_MALFORMED, NULL},
        {BOOL, "1", WEIR_MALFORMED, NULL},
        {BOOL, "y", WEIR_MALFORMED, NULL},
        {BOOL, "[true]", WEIR_MALFORMED, NULL},
        {INT, "0", WEIR_OK, "0"},
        {INT, "-7", WEIR_OK, "-7"},
        {INT, "+7", WEIR_OK, "7"},
        {INT, "0123", WEIR_OK, "123"},
        {INT, "0x1F", WEIR_OK, "31"},
        {INT, "0o17", WEIR_OK, "15"},
        {INT, "9223372036854775807", WEIR_OK, "9223372036854775807"},
        {INT, "-9223372036854775808", WEIR_OK, "-9223372036854775808"},
        {INT, "9223372036854775808", WEIR_TOO_LARGE, NULL},
        {INT, "-9223372036854775809", WEIR_TOO_LARGE, NULL},
        {INT, "99999999999999999999999", WEIR_TOO_LARGE, NULL},
        {INT, "22:22", WEIR_MALFORMED, NULL},
        {INT, "1.0", WEIR_MALFORMED, NULL},
        {INT, "0o8", WEIR_MALFORMED, NULL},
        {INT, "0x", WEIR_MALFORMED, NULL},
        {INT, "-", WEIR_MALFORMED, NULL},
        {INT, "1_000", WEIR_MALFORMED, NULL},
        {INT, "'1'", WEIR_MALFORMED, NULL},
        {INT, "", WEIR_MALFORMED, NULL},
        {FLOAT, "1", WEIR_OK, "1"},
        {FLOAT, "-0.5", WEIR_OK, "-0.5"},
        {FLOAT, "+.5", WEIR_OK, "0.5"},
        {FLOAT, "1e3", WEIR_OK, "1000"},
        {FLOAT, "1E-2", WEIR_OK, "0.01"},
        {FLOAT, ".inf", WEIR_MALFORMED, NULL},
        {FLOAT, ".nan", WEIR_MALFORMED, NULL},
        {FLOAT, "inf", WEIR_MALFORMED, NULL},
        {FLOAT, "1e999", WEIR_MALFORMED, NULL},
        {FLOAT, "0x10", WEIR_MALFORMED, NULL},
        {FLOAT, "--1", WEIR_MALFORMED, NULL},
        {FLOAT, "1.2.3", WEIR_MALFORMED, NULL},
        {DURATION, "5", WEIR_OK, "5000000 us"},
        {DURATION, "0.25", WEIR_OK, "250000 us"},
        {DURATION, "1e1", WEIR_OK, "10000000 us"},
        {DURATION, "0", WEIR_OK, "0 us"},
        {DURATION, "500ms", WEIR_OK, "500000 us"},
        {DURATION, "'5s'", WEIR_OK, "5000000 us"},
        {DURATION, "1.5m", WEIR_OK, "90000000 us"},
        {DURATION, "1h30m", WEIR_OK, "5400000000 us"},
        {DURATION, "720h", WEIR_OK, "2592000000000 us"},
        {DURATION, "7d", WEIR_OK, "604800000000 us"},
        {DURATION, "20us", WEIR_OK, "20 us"},
        {DURATION, "36500d", WEIR_OK, "3153600000000000 us"},
        {DURATION, "36501d", WEIR_TOO_LARGE, NULL},
        {DURATION, "1e300", WEIR_TOO_LARGE, NULL},
        {DURATION, "-5s", WEIR_MALFORMED, NULL},
        {DURATION, "-5", WEIR_MALFORMED, NULL},
        {DURATION, "5 s", WEIR_MALFORMED, NULL},
        {DURATION, "5x", WEIR_MALFORMED, NULL},
        {DURATION, "s", WEIR_MALFORMED, NULL},
        {DURATION, "1h30", WEIR_MALFORMED, NULL},
        {DURATION, "nan", WEIR_MALFORMED, NULL},
        {DURATION, "''", WEIR_MALFORMED, NULL},
        {DURATION, "[5]", WEIR_MALFORMED, NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fixture fixture;
        char value[64];
        print_message("%s\n", cases[i].yaml);
        load(&fixture, slice_str(cases[i].yaml), &yml_limits_default);
        assert_int_equal(fixture.result, WEIR_OK);
        assert_int_equal(
            read_as(cases[i].type, fixture.document.root, value, sizeof value), cases[i].result);
        if (cases[i].value != NULL) {
            assert_string_equal(value, cases[i].value);
        }
        unload(&fixture);
    }
    char value[64];
    for (enum type type = BOOL; type <= DURATION; type++) {
        assert_int_equal(read_as(type, NULL, value, sizeof value), WEIR_MALFORMED);
    }
}

static void text_may_hold_nul(void **state)
{
    (void)state;
    struct fixture fixture;
    struct slice text;
    load(&fixture, SLICE("\"x\\0y\""), &yml_limits_default);
    assert_int_equal(yml_text(fixture.document.root, &text), WEIR_OK);
    assert_true(slice_eq(text, SLICE("x\0y")));
    unload(&fixture);
}

// ---- Places

static void lookups_and_lines(void **state)
{
    (void)state;
    struct fixture fixture;
    load(&fixture, SLICE("services:\n  web:\n    ports: [80,\n      443]\n  \"a.b\":\n    x: 1\n"),
        &yml_limits_default);
    const struct yml_node *root = fixture.document.root;
    const struct yml_node *ports = yml_find(root, SLICE("services.web.ports"));
    assert_int_equal(ports->count, 2);
    assert_null(yml_find(root, SLICE("services.web.ports.x")));
    assert_null(yml_find(root, SLICE("services.api.ports")));
    assert_null(yml_get(NULL, SLICE("x")));
    assert_null(yml_get(ports, SLICE("0")));
    const struct yml_node *x =
        yml_get(yml_get(yml_get(root, SLICE("services")), SLICE("a.b")), SLICE("x"));
    yml_error(&fixture.document, ports->first->next, &fixture.problems, "%d is %s", 443, "taken");
    yml_key_error(&fixture.document, ports, &fixture.problems, "no");
    yml_key_error(&fixture.document, ports->first, &fixture.problems, "no");
    yml_error(&fixture.document, root, &fixture.problems, "no");
    yml_error(&fixture.document, NULL, &fixture.problems, "no");
    yml_warning(&fixture.document, x, &fixture.problems, "why\n");
    assert_string_equal(buf_text(&fixture.problems.errors),
        "f.yml:4:7: services.web.ports[1]: 443 is taken\n"
        "f.yml:3:5: services.web.ports: no\n"
        "f.yml:3:13: services.web.ports[0]: no\n"
        "f.yml:1:1: no\n"
        "f.yml: no\n");
    assert_string_equal(buf_text(&fixture.problems.warnings),
        "f.yml:6:8: services.\"a.b\".x: why?\n");
    unload(&fixture);
}

static void long_paths_lose_their_front(void **state)
{
    (void)state;
    struct fixture fixture;
    struct buf text = BUF_INIT(4096);
    char path[YML_PATH_SIZE];
    for (unsigned i = 0; i < 60; i++) {
        buf_append_str(&text, "{abcdefgh: ");
    }
    buf_append_str(&text, "{last: 1");
    for (unsigned i = 0; i < 61; i++) {
        buf_append_str(&text, "}");
    }
    load(&fixture, buf_slice(&text), &yml_limits_default);
    const struct yml_node *node = fixture.document.root;
    while (node->first != NULL) {
        node = node->first;
    }
    yml_path(node, path);
    assert_int_equal(strlen(path), YML_PATH_SIZE - 1);
    assert_memory_equal(path, "...", 3);
    assert_string_equal(path + YML_PATH_SIZE - 1 - 14, ".abcdefgh.last");
    buf_reset(&text);
    unload(&fixture);
}

// ---- Files and memory

static void files_are_read_whole(void **state)
{
    (void)state;
    static const struct yml_limits small = {
        .bytes_max = 5, .nodes_max = 10, .aliases_max = 1, .depth_max = 2};
    char path[] = "/tmp/weir-test-yaml-XXXXXX";
    char expected[256];
    struct fixture fixture = {0};
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "a: 1\nb", 6), 6);
    close(fd);
    conf_problems_init(&fixture.problems);
    assert_int_equal(yml_load(path, &small, &fixture.document, &fixture.problems), WEIR_MALFORMED);
    snprintf(expected, sizeof expected, "%s: the file is larger than 5 bytes\n", path);
    assert_string_equal(buf_text(&fixture.problems.errors), expected);
    unload(&fixture);
    assert_int_equal(truncate(path, 5), 0);
    conf_problems_init(&fixture.problems);
    assert_int_equal(yml_load(path, &small, &fixture.document, &fixture.problems), WEIR_OK);
    assert_string_equal(fixture.document.file, path);
    assert_int_equal(fixture.document.root->count, 1);
    unload(&fixture);
    unlink(path);
    conf_problems_init(&fixture.problems);
    assert_int_equal(yml_load(path, &small, &fixture.document, &fixture.problems), WEIR_NOT_FOUND);
    snprintf(expected, sizeof expected, "%s: cannot be read: not found\n", path);
    assert_string_equal(buf_text(&fixture.problems.errors), expected);
    unload(&fixture);
}

static void every_failing_allocation_is_named(void **state)
{
    (void)state;
    struct buf text = BUF_INIT(65536);
    buf_append_str(&text, "d: &d {x: 1, y: [1, 2]}\n");
    for (unsigned i = 0; i < 100; i++) {
        buf_printf(&text, "s%u: {<<: *d, z: %u}\n", i, i);
    }
    enum weir_result result = WEIR_MEMORY;
    unsigned nth = 0;
    while (result == WEIR_MEMORY) {
        struct fixture fixture;
        mem_fail_at(++nth);
        load(&fixture, buf_slice(&text), &yml_limits_default);
        mem_fail_at(0);
        result = fixture.result;
        assert_int_equal(fixture.document.root != NULL, result == WEIR_OK);
        unload(&fixture);
    }
    assert_int_equal(result, WEIR_OK);
    assert_true(nth > 10);
    buf_reset(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trees_and_mistakes),
        cmocka_unit_test(limits_end_the_reading),
        cmocka_unit_test(anchors_are_counted),
        cmocka_unit_test(large_maps_are_searched),
        cmocka_unit_test(null_text_and_kind),
        cmocka_unit_test(typed_scalars),
        cmocka_unit_test(text_may_hold_nul),
        cmocka_unit_test(lookups_and_lines),
        cmocka_unit_test(long_paths_lose_their_front),
        cmocka_unit_test(files_are_read_whole),
        cmocka_unit_test(every_failing_allocation_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
