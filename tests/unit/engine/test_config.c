// SPDX-License-Identifier: Apache-2.0
// What the end-to-end tests cannot see: memory that runs out, what a reload finds and keeps.
#include "engine/config/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"

#define ROWS_ROOM 128

static const char *none(void *arg, const char *name)
{
    (void)arg;
    (void)name;
    return NULL;
}

static const struct conf_source nothing = {.get = none};

// A file whose certificates are not there: its only errors are about them.
static const char *const usual =
    "engine: {host: Edge.Example.com., log_level: warn}\n"
    "tls: {enabled: true, listen_addr: '127.0.0.1:8443', proxy_protocol: true, "
    "proxy_networks: [10.0.0.0/8]}\n"
    "certs: {static: {enabled: true, cert_file: /none.crt, key_file: /none.key}}\n"
    "auth: {jwt: {enabled: true, token_jwt_secret: 0123456789abcdef0123456789abcdef}}\n"
    "metrics: {prometheus: {enabled: true, listen_addr: '[::1]:9090', path: m}}\n"
    "extensions: {enabled: true, token_auth: true, tcp_ports: 20000-20100, "
    "certs: [{cert_file: /a.crt, key_file: /a.key}, {cert_file: /b.crt, key_file: /b.key}]}\n";

struct loaded {
    struct engine_config config;
    struct conf_problems problems;
    bool set[ROWS_ROOM];
    enum weir_result result;
};

static void load(struct loaded *loaded, const char *yaml, const char *section)
{
    char path[] = "/tmp/weir-test-engine-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, yaml, strlen(yaml)), strlen(yaml));
    close(fd);
    size_t rows;
    engine_config_rows(&rows);
    assert_true(rows <= ROWS_ROOM);
    conf_problems_init(&loaded->problems);
    loaded->result = engine_config_load(
        &(struct engine_config_source){.path = path, .section = section, .variables = &nothing},
        &loaded->config, loaded->set, &loaded->problems);
    unlink(path);
}

static void unload(struct loaded *loaded)
{
    engine_config_free(&loaded->config);
    engine_config_free(&loaded->config);
    conf_problems_fini(&loaded->problems);
}

static size_t count_lines(const struct buf *lines)
{
    size_t count = 0;
    struct slice rest = buf_slice(lines);
    struct slice line;
    while (slice_split(&rest, '\n', &line)) {
        count += line.len > 0;
    }
    return count;
}

static void what_follows_from_the_rows(void **state)
{
    (void)state;
    struct loaded loaded;
    load(&loaded, usual, NULL);
    const struct engine_config *config = &loaded.config;
    assert_int_equal(loaded.result, WEIR_OK);
    assert_string_equal(config->host, "edge.example.com");
    assert_int_equal(config->log_level, ENGINE_LOG_WARN);
    assert_string_equal(config->metrics_path, "/m");
    assert_int_equal(config->takeover, ENGINE_TAKEOVER_SAME_IDENTITY);
    assert_true(config->extension_token_auth);
    assert_int_equal(config->extension_tcp_ports.first, 20000);
    assert_int_equal(config->cert_count, 2);
    assert_string_equal(config->certs[1].key_file, "/b.key");
    // Three pairs of files that are not there.
    assert_int_equal(count_lines(&loaded.problems.errors), 6);
    unload(&loaded);
}

static void extensions_are_off_as_a_whole(void **state)
{
    (void)state;
    struct loaded loaded;
    load(&loaded,
        "extensions: {trusted_ips: true, token_auth: true, tcp_ports: 1-2, certs: [{cert_file: a, "
        "key_file: b}]}\n",
        NULL);
    assert_false(loaded.config.extension_trusted_ips || loaded.config.extension_token_auth);
    assert_int_equal(loaded.config.extension_tcp_ports.first, 0);
    assert_int_equal(loaded.config.cert_count, 0);
    assert_int_equal(count_lines(&loaded.problems.warnings), 4);
    unload(&loaded);
}

static void a_section_of_a_larger_file(void **state)
{
    (void)state;
    struct loaded loaded;
    load(&loaded, "relay: {anything: 1}\nengine: {engine: {host: a.b, lgo_level: x}}\n", "engine");
    assert_string_equal(loaded.config.host, "a.b");
    const char *errors = buf_text(&loaded.problems.errors);
    assert_non_null(strstr(
        errors, ":2:30: engine.engine.lgo_level: there is no such key; is \"log_level\" meant?"));
    assert_non_null(strstr(errors, ": engine.tls.enabled: is required"));
    assert_null(strstr(errors, "anything"));
    unload(&loaded);
}

static void a_reload_finds_and_keeps(void **state)
{
    static const struct {
        const char *yaml;
        const char *live, *restart;
    } cases[] = {
        {"", "", ""},
        {"takeover: never\n", "takeover", ""},
        {"workers: 3\n", "", "workers"},
        {"workers: 3\nlimits: {tunnels: 9, labels_per_tunnel: 1}\n",
            "limits.tunnels, limits.labels_per_tunnel", "workers"},
        {"extensions: {enabled: true, certs: [{cert_file: /a, key_file: /b}]}\n",
            "extensions.enabled, extensions.certs", ""},
        {"tls: {listen_addr: '[::]:8443', public_port: 9}\n", "tls.public_port", "tls.listen_addr"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct loaded old;
        struct loaded next;
        struct buf live = BUF_INIT(1024);
        struct buf restart = BUF_INIT(1024);
        load(&old, "", NULL);
        load(&next, cases[i].yaml, NULL);
        print_message("%s", cases[i].yaml);
        assert_int_equal(engine_config_diff(&old.config, &next.config, &live, &restart), i > 0);
        assert_string_equal(buf_text(&live), cases[i].live);
        assert_string_equal(buf_text(&restart), cases[i].restart);
        assert_true(engine_config_keep(&old.config, &next.config));
        buf_reset(&live);
        buf_reset(&restart);
        assert_int_equal(engine_config_diff(&old.config, &next.config, &live, &restart),
            cases[i].live[0] != '\0');
        assert_string_equal(buf_text(&live), cases[i].live);
        assert_int_equal(restart.len, 0);
        buf_reset(&live);
        buf_reset(&restart);
        unload(&old);
        unload(&next);
    }
}

static void every_failing_allocation_is_a_result(void **state)
{
    (void)state;
    unsigned long nth = 0;
    bool reached = true;
    while (reached) {
        struct loaded loaded;
        mem_fail_at(++nth);
        load(&loaded, usual, NULL);
        reached = mem_count() >= nth;
        mem_fail_at(0);
        // Never fine without a word: what cannot be said is a result.
        assert_true(loaded.result == WEIR_MEMORY || loaded.problems.errors.len > 0);
        unload(&loaded);
    }
    assert_true(nth > 20);
}

static void rows_have_what_the_manual_needs(void **state)
{
    (void)state;
    size_t count;
    const struct conf_row *rows = engine_config_rows(&count);
    for (size_t i = 0; i < count; i++) {
        print_message("%s\n", rows[i].name);
        assert_true(strlen(rows[i].meaning) > 10);
        assert_null(strchr(rows[i].meaning, '|'));
        for (size_t other = i + 1; other < count; other++) {
            assert_string_not_equal(rows[i].name, rows[other].name);
            // Sections are in one piece.
            const char *dot = strchr(rows[i].name, '.');
            size_t section = dot == NULL ? 0 : (size_t)(dot - rows[i].name) + 1;
            bool same = section > 0 && strncmp(rows[i].name, rows[other].name, section) == 0;
            assert_true(!same || other == i + 1 ||
                        strncmp(rows[i].name, rows[other - 1].name, section) == 0);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_follows_from_the_rows),
        cmocka_unit_test(extensions_are_off_as_a_whole),
        cmocka_unit_test(a_section_of_a_larger_file),
        cmocka_unit_test(a_reload_finds_and_keeps),
        cmocka_unit_test(every_failing_allocation_is_a_result),
        cmocka_unit_test(rows_have_what_the_manual_needs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
