// SPDX-License-Identifier: Apache-2.0
// Files of tunnels: what they mean, every mistake with its place, variables, and what counts as a
// change.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/mem.h"
#include "cli/run/run_file.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define HEAD "version: 1\ntunnels:\n"
#define ONE HEAD "  - name: a\n    forward: 80\n"

static const char *get(void *arg, const char *name)
{
    (void)arg;
    return strcmp(name, "PORT") == 0    ? "8080"
           : strcmp(name, "EMPTY") == 0 ? ""
           : strcmp(name, "YES") == 0   ? "true"
                                        : NULL;
}

static const struct conf_source variables = {.get = get};

static bool parse(const char *text, struct run_file *file, struct conf_problems *problems)
{
    conf_problems_init(problems);
    const struct run_text whole = {slice_str(text), "f.yml", RUN_SOURCE_APPLY};
    return run_file_parse(&whole, &variables, file, problems);
}

static void test_a_whole_file(void **state)
{
    (void)state;
    struct run_file file;
    struct conf_problems problems;
    bool good =
        parse("version: 1\n"
              "contexts:\n"
              "  home: {engine: edge.test:8443, token: t, transport: {tls: {caFile: /ca}}}\n"
              "  work: {external: true, name: office}\n"
              "tunnels:\n"
              "  - name: web\n"
              "    forward: 127.0.0.1:${PORT}\n"
              "    context: home\n"
              "    tunnel:\n"
              "      publish: ${YES}\n"
              "      labels: {team: x, n: 1}\n"
              "      http: {version: h2c, auth: {token: false}}\n"
              "  - {name: db, forward: 'unix:/run/db', context: other, tunnel: {publish: no}}\n",
            &file, &problems);
    assert_false(good);
    assert_non_null(strstr(buf_text(&problems.errors), "f.yml:13:"));
    assert_non_null(strstr(buf_text(&problems.errors), "tunnels[1].tunnel.publish: found"));
    conf_problems_fini(&problems);
    run_file_close(&file);

    good =
        parse("version: 1\n"
              "contexts:\n"
              "  home: {engine: edge.test:8443, token: t, transport: {tls: {caFile: /ca}}}\n"
              "  work: {external: true, name: office}\n"
              "tunnels:\n"
              "  - name: web\n"
              "    forward: 127.0.0.1:${PORT}\n"
              "    context: home\n"
              "    tunnel:\n"
              "      publish: ${YES}\n"
              "      labels: {team: x, n: 1}\n"
              "      http: {version: h2c, auth: {token: false}}\n"
              "  - {name: db, forward: 'unix:/run/db', context: other, tunnel: {publish: false}}\n"
              "  - {name: c, forward: 1, context: {engine: e}, tunnel: {protocol: tls, tls:\n"
              "      {mode: terminated, alpns: [x, y]}}}\n",
            &file, &problems);
    assert_string_equal(good ? "" : buf_text(&problems.errors), "");
    assert_int_equal(file.tunnel_count, 3);
    const struct run_tunnel *web = run_file_find(&file, "web");
    assert_string_equal(web->forward, "127.0.0.1:8080");
    assert_string_equal(web->context->engine, "edge.test:8443");
    assert_string_equal(web->context->ca_file, "/ca");
    assert_int_equal(web->options.publish, WEIR_TUNNEL_YES);
    assert_int_equal(web->options.token_auth, WEIR_TUNNEL_NO);
    assert_int_equal(web->options.rstream_auth, WEIR_TUNNEL_UNSET);
    assert_string_equal(web->options.http_version, "h2c");
    assert_int_equal(web->options.label_count, 4);
    assert_string_equal(web->options.labels[1].value, "apply");
    assert_string_equal(web->options.labels[3].key, "n");
    const struct run_tunnel *db = run_file_find(&file, "db");
    assert_string_equal(db->context->external, "other");
    assert_int_equal(db->options.publish, WEIR_TUNNEL_NO);
    const struct run_tunnel *c = run_file_find(&file, "c");
    assert_string_equal(c->context->engine, "e");
    assert_int_equal(c->options.tls_alpn_count, 2);
    conf_problems_fini(&problems);
    run_file_close(&file);
    run_file_close(&file);
}

static void test_mistakes(void **state)
{
    static const struct {
        const char *text;
        const char *error; // a part of it
    } rows[] = {
        {"", "f.yml: the file is empty"},
        {"[1]", "f.yml:1:1: found a list; allowed: a map"},
        {"tunnels: [{name: a, forward: 80}]\n", "f.yml: version is missing"},
        {"version: 2\ntunnels: [{name: a, forward: 80}]\n", "f.yml:1:10: version: version \"2\""},
        {"version: 1\n", "there is no tunnel"},
        {"version: 1\ntunnels: []\n", "f.yml:2:10: tunnels: there is no tunnel"},
        {HEAD "  - forward: 80\n", "f.yml:3:5: tunnels[0]: name is missing"},
        {HEAD "  - name: a\n", "tunnels[0]: forward is missing"},
        {HEAD "  - {name: a b, forward: 80}\n", "\"a b\" is not usable"},
        {ONE "  - {name: a, forward: 81}\n", "f.yml:5:12: tunnels[1].name: \"a\" is the name of"},
        {HEAD "  - {name: a, forward: 0}\n", "\"0\" is no place"},
        {HEAD "  - {name: a, forward: x}\n", "\"x\" is no place"},
        {HEAD "  - {name: a, forward: 'x:70000'}\n", "is no place"},
        {HEAD "  - {name: a, forward: 'unix:x'}\n", "is no place"},
        {HEAD "  - {name: a, foward: 80, forward: 80}\n", "did you mean forward?"},
        {ONE "    tunnel: {upstreamTls: true}\n", "did you mean upstreamTLS?"},
        {ONE "    tunnel: {publish: 'true'}\n", "allowed: true or false"},
        {ONE "    tunnel: {publish: [1]}\n", "found a list"},
        {ONE "    tunnel: {protocol: htp}\n", "\"htp\" is none of http|tls|tcp"},
        {ONE "    tunnel: {type: datagram}\n", "none of bytestream"},
        {ONE "    tunnel: {protocol: tls, http: {version: h2c}}\n", "of protocol http"},
        {ONE "    tunnel: {tls: {mode: terminated}}\n", "of protocol tls"},
        {ONE "    tunnel: {publish: false, host: x}\n", "has no host name"},
        {ONE "    tunnel: {upstreamTLS: true, http: {upstreamTLS: false}}\n", "leave one out"},
        {ONE "    tunnel: {labels: [x]}\n", "a map of texts"},
        {ONE "    tunnel: {labels: {rstream.source: x}}\n", "is set by run itself"},
        {ONE "    context: {token: x}\n", "engine is missing"},
        {ONE "    context: {engine: x, name: y}\n", "wants external: true"},
        {ONE "    context: {engine: x, transport: {proxy: {}}}\n", "is none of weir's"},
        {ONE "    context: {engine: x, transport: {mode: quic}}\n", "none of auto|tls"},
        {ONE "    context: {external: true, name: y, engine: z}\n", "leave them out"},
        {HEAD "  - {name: a, forward: '${NONE}'}\n", "the variable NONE is not set"},
        {HEAD "  - {name: a, forward: '${PORT'}\n", "a variable is ${NAME}"},
        {HEAD "  - {name: a, forward: '${}'}\n", "a variable is ${NAME}"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct run_file file;
        struct conf_problems problems;
        bool good = parse(rows[i].text, &file, &problems);
        const char *errors = buf_text(&problems.errors);
        if (good || strstr(errors, rows[i].error) == NULL) {
            fail_msg("%s: %s, not %s", rows[i].text, errors, rows[i].error);
        }
        conf_problems_fini(&problems);
        run_file_close(&file);
    }
}

static void test_all_at_once(void **state)
{
    (void)state;
    struct run_file file;
    struct conf_problems problems;
    assert_false(parse("version: 3\nx: 1\ntunnels: [{nam: a, forward: q, tunnel: {publish: 3}}]\n",
        &file, &problems));
    size_t lines = 0;
    for (const char *at = buf_text(&problems.errors); *at != '\0'; at++) {
        lines += *at == '\n';
    }
    assert_int_equal(lines, 6);
    conf_problems_fini(&problems);
    run_file_close(&file);
}

static void test_variables(void **state)
{
    static const struct {
        const char *text;
        enum weir_result result;
        const char *expected;
    } rows[] = {
        {"a${PORT}b${PORT}", WEIR_OK, "a8080b8080"},
        {"${NONE:-d}${EMPTY:-e}${EMPTY}", WEIR_OK, "de"},
        {"$${PORT} $PORT $", WEIR_OK, "${PORT} $PORT $"},
        {"${NONE}", WEIR_NOT_FOUND, "NONE"},
        {"${:-x}", WEIR_MALFORMED, NULL},
        {"${", WEIR_MALFORMED, NULL},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct arena arena;
        const char *text;
        char name[RUN_VARIABLE_SIZE];
        arena_init(&arena, 4096);
        assert_int_equal(
            run_expand(slice_str(rows[i].text), &variables, &arena, &text, name), rows[i].result);
        if (rows[i].expected != NULL) {
            assert_string_equal(rows[i].result == WEIR_OK ? text : name, rows[i].expected);
        }
        arena_reset(&arena);
    }
}

// What differs has another signature, and what does not has the same.
static void test_signatures(void **state)
{
    static const char *const others[] = {
        HEAD "  - name: a\n    forward: 81\n",
        ONE "    context: {engine: e}\n",
        ONE "    context: {engine: e, token: t}\n",
        ONE "    context: c\n",
        ONE "    tunnel: {publish: true}\n",
        ONE "    tunnel: {publish: false}\n",
        ONE "    tunnel: {host: x}\n",
        ONE "    tunnel: {labels: {x: y}}\n",
        ONE "    tunnel: {trustedIPs: [x, y]}\n",
        ONE "    tunnel: {trustedIPs: [xy]}\n",
        ONE "    tunnel: {geoip: [xy]}\n",
        ONE "    tunnel: {http: {auth: {rstream: true}}}\n",
        ONE "    tunnel: {protocol: tls, tls: {mtls: true}}\n",
    };
    struct run_file files[COUNT(others) + 2];
    (void)state;
    for (size_t i = 0; i < COUNT(files); i++) {
        struct conf_problems problems;
        bool good = parse(i < COUNT(others)    ? others[i]
                          : i == COUNT(others) ? ONE
                                               : HEAD "  - {forward: '${PORT:-80}', name: a} # x\n",
            &files[i], &problems);
        assert_string_equal(good ? "" : buf_text(&problems.errors), "");
        conf_problems_fini(&problems);
    }
    for (size_t i = 0; i < COUNT(files); i++) {
        for (size_t j = 0; j < i; j++) {
            assert_false(slice_eq(files[i].tunnels[0].signature, files[j].tunnels[0].signature));
        }
    }
    for (size_t i = 0; i < COUNT(files); i++) {
        run_file_close(&files[i]);
    }
    struct run_file plain;
    struct run_file same;
    struct conf_problems problems;
    assert_true(parse(ONE, &plain, &problems));
    assert_true(parse(HEAD "  - {forward: '80', tunnel: {}, name: a} # x\n", &same, &problems));
    assert_true(slice_eq(plain.tunnels[0].signature, same.tunnels[0].signature));
    run_file_close(&plain);
    run_file_close(&same);
}

static void test_without_memory(void **state)
{
    (void)state;
    mem_fail_at(0);
    struct run_file file;
    struct conf_problems problems;
    assert_true(parse(ONE "    tunnel: {labels: {a: b}}\n", &file, &problems));
    unsigned long count = mem_count();
    conf_problems_fini(&problems);
    run_file_close(&file);
    for (unsigned long nth = 1; nth <= count; nth++) {
        mem_fail_at(nth);
        (void)parse(ONE "    tunnel: {labels: {a: b}}\n", &file, &problems); // no crash, no leak
        conf_problems_fini(&problems);
        run_file_close(&file);
    }
    mem_fail_at(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_whole_file),
        cmocka_unit_test(test_mistakes),
        cmocka_unit_test(test_all_at_once),
        cmocka_unit_test(test_variables),
        cmocka_unit_test(test_signatures),
        cmocka_unit_test(test_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
