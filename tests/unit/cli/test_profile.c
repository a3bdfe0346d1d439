// SPDX-License-Identifier: Apache-2.0
// Who wins, and what is refused (spec engine, section 11.2).
#include "cli/context/profile.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/context/config.h"
#include "cli/context/config_edit.h"
#include "sys/file.h"

#define NOW_MS UINT64_C(1700000000000)
// {"exp": 1600000000}, {"exp": 1900000000}
#define OLD_TOKEN "eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjE2MDAwMDAwMDB9.c2ln"
#define NEW_TOKEN "eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjE5MDAwMDAwMDB9.c2ln"

static const char file_text[] =
    "version: 1\n"
    "defaults: {context: {name: home}}\n"
    "contexts:\n"
    "  - name: home\n"
    "    engine: Home.Test:8443\n"
    "    auth: {token: {storage: {kind: inline, value: stored-token}}}\n"
    "    transport: {tls: {caFile: ~/ca.pem, serverName: real.test, insecureSkipVerify: true}}\n"
    "  - {name: bare, engine: bare.test}\n"
    "  - {name: twice, apiUrl: https://a, engine: a.test}\n"
    "  - {name: twice, apiUrl: https://b, engine: b.test}\n"
    "  - {name: keys, engine: k.test, auth: {token: {storage: {kind: keychain, service: s}}}}\n"
    "  - {name: both, engine: m.test, auth: {token: {storage: {kind: inline, value: t}}, mtls: "
    "{certificateFile: c}}}\n"
    "  - {name: mtls, engine: m.test, auth: {mtls: {certificateFile: c}}}\n"
    "  - {name: proxied, engine: p.test, transport: {proxy: {http: http://p}}}\n"
    "  - {name: quick, engine: q.test, transport: {mode: quic}}\n";

static char directory[] = "/tmp/weir-profile-XXXXXX";
static char path[64];

static int make_file(void **state)
{
    (void)state;
    if (mkdtemp(directory) == NULL) {
        return -1;
    }
    snprintf(path, sizeof path, "%s/config.yaml", directory);
    return sys_file_write_private(path, slice_str(file_text)) == WEIR_OK ? 0 : -1;
}

static int remove_file(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(directory);
}

struct variable {
    const char *name;
    const char *value;
};

static const char *get(void *arg, const char *name)
{
    const struct variable *variables = arg;
    for (size_t i = 0; i < 4 && variables[i].name != NULL; i++) {
        if (strcmp(variables[i].name, name) == 0) {
            return variables[i].value;
        }
    }
    return strcmp(name, "RSTREAM_CONFIG") == 0 ? path : strcmp(name, "HOME") == 0 ? "/h" : NULL;
}

struct row {
    struct profile_ask ask;
    struct variable variables[4];
    const char *engine; // NULL: it is refused
    const char *token;
    const char *said; // of the refusal
};

static void check(const struct row *row)
{
    struct conf_source source = {.get = get, .arg = (void *)(uintptr_t)row->variables};
    struct conf_problems problems;
    struct profile profile;
    conf_problems_init(&problems);
    bool ok = profile_resolve(&row->ask, PROFILE_WANTS_ALL, &source, NOW_MS, &profile, &problems);
    const char *errors = buf_text(&problems.errors);
    assert_non_null(errors);
    if (row->engine != NULL) {
        assert_string_equal(errors, "");
        assert_true(ok);
        assert_string_equal(profile.host, row->engine);
        assert_string_equal(profile.token, row->token);
    } else {
        assert_false(ok);
        assert_non_null(strstr(errors, row->said));
        assert_null(strstr(errors, "stored-token"));
        assert_null(strstr(errors, OLD_TOKEN));
    }
    profile_fini(&profile);
    conf_problems_fini(&problems);
}

#define TOKEN_VARIABLE "RSTREAM_AUTHENTICATION_TOKEN"

static void test_precedence(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {.engine = "home.test", .token = "stored-token"},
        {.variables = {{"RSTREAM_CONTEXT", "bare"}, {TOKEN_VARIABLE, "v"}},
            .engine = "bare.test",
            .token = "v"},
        {.ask = {.context = "home"},
            .variables = {{"RSTREAM_CONTEXT", "bare"}},
            .engine = "home.test",
            .token = "stored-token"},
        {.variables = {{"RSTREAM_ENGINE", "v.test"}, {TOKEN_VARIABLE, "v"}},
            .engine = "v.test",
            .token = "v"},
        {.variables = {{"RSTREAM_ENGINE_ADDRESS", "old.test"}, {TOKEN_VARIABLE, "v"}},
            .engine = "old.test",
            .token = "v"},
        {.ask = {.engine = "f.test", .token = "f"},
            .variables = {{"RSTREAM_ENGINE", "v.test"}, {TOKEN_VARIABLE, "v"}},
            .engine = "f.test",
            .token = "f"},
        // The same engine, said in another way: the stored token is for it.
        {.ask = {.engine = "home.TEST:8443"}, .engine = "home.test", .token = "stored-token"},
        {.variables = {{"RSTREAM_ENGINE", ""}, {TOKEN_VARIABLE, ""}},
            .engine = "home.test",
            .token = "stored-token"},
        {.ask = {.token = NEW_TOKEN}, .engine = "home.test", .token = NEW_TOKEN},
        {.ask = {.engine = "[::1]:7", .token = "f"}, .engine = "::1", .token = "f"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        check(&rows[i]);
    }
}

static void test_refusals(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {.ask = {.engine = "other.test"}, .said = "is not sent to the engine of --engine"},
        {.ask = {.engine = "home.test:443"}, .said = "is not sent to"},
        {.variables = {{"RSTREAM_ENGINE", "v.test"}}, .said = "is not sent to"},
        {.ask = {.token = OLD_TOKEN}, .said = "expired at 2020-09-13T12:26:40"},
        {.ask = {.token = "a b"}, .said = "not usable"},
        {.ask = {.context = "nowhere"}, .said = "context \"nowhere\" not found"},
        {.ask = {.context = "twice"}, .said = "context \"twice\" is ambiguous"},
        {.ask = {.context = "bare"}, .said = "authentication is required but not configured"},
        {.ask = {.context = "keys"}, .said = "in a keychain"},
        {.ask = {.context = "both"}, .said = "exclude one another"},
        {.ask = {.context = "mtls"}, .said = "no client certificates"},
        {.variables = {{"RSTREAM_MTLS_CERT_FILE", "c"}}, .said = "exclude one another"},
        {.ask = {.context = "proxied", .token = "t"}, .said = "contexts[7].transport.proxy"},
        {.ask = {.context = "quick", .token = "t"}, .said = "contexts[8].transport.mode"},
        {.ask = {.transport = "quic"}, .said = "no QUIC"},
        {.variables = {{"RSTREAM_QUIC_TRANSPORT", "1"}}, .said = "no QUIC"},
        {.ask = {.engine = "https://e.test", .token = "t"}, .said = "without a scheme"},
        {.ask = {.engine = "e.test/p", .token = "t"}, .said = "without a path"},
        {.ask = {.engine = "u:p@e.test", .token = "t"}, .said = "without a user"},
        {.ask = {.engine = "e.test:0", .token = "t"}, .said = "its port"},
        {.ask = {.engine = "e.test:65536", .token = "t"}, .said = "its port"},
        {.ask = {.engine = "e..test", .token = "t"}, .said = "its host"},
        {.ask = {.config = "/nowhere/c.yaml"}, .said = "no such file"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        check(&rows[i]);
    }
}

static void resolve(const struct profile_ask *ask, struct profile *profile)
{
    static const struct variable nothing[4];
    struct conf_source source = {.get = get, .arg = (void *)(uintptr_t)nothing};
    struct conf_problems problems;
    conf_problems_init(&problems);
    assert_true(profile_resolve(ask, PROFILE_WANTS_ALL, &source, NOW_MS, profile, &problems));
    conf_problems_fini(&problems);
}

// What a context says of its engine's certificate is not said of another engine.
static void test_trust(void **state)
{
    (void)state;
    struct profile profile;
    resolve(&(struct profile_ask){0}, &profile);
    assert_string_equal(profile.ca_file, "/h/ca.pem");
    assert_string_equal(profile.server_name, "real.test");
    assert_true(profile.insecure_skip_verify);
    assert_int_equal(profile.port, 8443);
    profile_fini(&profile);
    resolve(&(struct profile_ask){.engine = "x.test", .token = "t"}, &profile);
    assert_null(profile.ca_file);
    assert_string_equal(profile.server_name, "x.test");
    assert_false(profile.insecure_skip_verify);
    assert_int_equal(profile.port, 443);
    profile_fini(&profile);
    resolve(&(struct profile_ask){.ca_file = "x.pem", .insecure = "0", .server_name = "Y.test"},
        &profile);
    assert_string_equal(profile.ca_file, "x.pem");
    assert_string_equal(profile.server_name, "y.test");
    assert_false(profile.insecure_skip_verify);
    profile_fini(&profile);
}

static void test_missing(void **state)
{
    (void)state;
    static const struct variable variables[4] = {{"RSTREAM_CONFIG", "/nowhere/c.yaml"}};
    check(&(struct row){.variables = {variables[0]},
        .said = "engine is required but not configured (set --engine or RSTREAM_ENGINE, or select "
                "a context"});
}

// ---- The file

static void test_strict(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *said;
    } rows[] = {
        {"contexts: [{name: a, enigne: b}]", "f:1:22: contexts[0].enigne: there is no such key; "
                                             "did you mean engine?"},
        {"version: 2", "f:1:10: version: version 2 is not known"},
        {"version: one", "allowed: a whole number"},
        {"contexts: {}", "found a map; allowed: a list"},
        {"contexts: [a]", "allowed: a map"},
        {"contexts: [{engine: a}]", "name is missing"},
        {"contexts: [{name: a}, {name: a}]", "there is a context \"a\" already"},
        {"contexts: [{name: a, auth: {token: {}}}]", "storage.kind is missing"},
        {"contexts: [{name: a, auth: {token: {storage: {kind: inline}}}}]", "value is missing"},
        {"contexts: [{name: a, auth: {token: {storage: {kind: vault}}}}]", "inline or keychain"},
        {"contexts: [{name: a, transport: {tls: {insecureSkipVerify: 7}}}]", "true or false"},
        {"environments: [{apiUrl: a, nam: b}]", "did you mean name?"},
        {"[1]", "found a list; allowed: a map"},
        {"a: [", "f:"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct conf_problems problems;
        struct config config;
        conf_problems_init(&problems);
        assert_int_equal(
            config_parse(slice_str(rows[i].text), "f", &config, &problems), WEIR_MALFORMED);
        assert_non_null(strstr(buf_text(&problems.errors), rows[i].said));
        config_fini(&config);
        conf_problems_fini(&problems);
    }
}

// What is written is read back as the same.
static void test_yaml(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "{\"version\":1,\"contexts\":[{\"name\":\"a b\",\"engine\":\"1.2.3.4:5\",\"auth\":{}},"
        "{\"name\":\"true\",\"turnPort\":-5,\"x\":[[1,[2]],[]],\"y\":null}]}",
        "{\"a\":\"\",\"b\":\"#x\",\"c\":\"x: y\",\"d\":\"- "
        "e\",\"f\":\"1\",\"g\":\"~\",\"h\":\"a\\nb"
        "\\u0007\\\"\\\\\",\"i\":true,\"j\":false,\"k\":1.5,\"l m\":{\"n\":[{\"o\":{\"p\":1}}]}}",
        "{}",
        "[]",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct buf yaml = BUF_INIT(65536);
        struct conf_problems problems;
        struct yml_document document;
        json_t *value = json_loads(texts[i], 0, NULL);
        config_write_yaml(value, &yaml);
        conf_problems_init(&problems);
        assert_int_equal(
            yml_parse(buf_slice(&yaml), "f", &yml_limits_default, &document, &problems), WEIR_OK);
        json_t *again = config_to_json(document.root);
        assert_true(json_equal(value, again));
        json_decref(again);
        json_decref(value);
        yml_close(&document);
        conf_problems_fini(&problems);
        buf_reset(&yaml);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_precedence),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_trust),
        cmocka_unit_test(test_missing),
        cmocka_unit_test(test_strict),
        cmocka_unit_test(test_yaml),
    };
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
