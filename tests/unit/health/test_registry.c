// SPDX-License-Identifier: Apache-2.0
// Every form of a health check against its canonical form (tests/data/registry), and every mistake
// with the line that names it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/time.h"
#include "health/registry/registry.h"
#include "sys/file.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define TEXT_MAX (1024 * 1024)

static const char *get(void *arg, const char *name)
{
    static const char *const variables[][2] = {
        {"VALUE", "41"}, {"HOME", "/home/me"}, {"WEB_APP_URL", "http://127.0.0.1:99/over"}};
    (void)arg;
    for (size_t i = 0; i < COUNT(variables); i++) {
        if (strcmp(variables[i][0], name) == 0) {
            return variables[i][1];
        }
    }
    return NULL;
}

static const struct conf_source environment = {.get = get};
static const struct registry_options plain = {.environment = &environment};

static struct registry *parse(const char *text, const struct registry_options *options)
{
    struct registry *registry;
    assert_int_equal(
        registry_parse(slice_str(text), "/lab/registry.yml", options, &registry), WEIR_OK);
    return registry;
}

// Without comments: they say where a check came from.
static char *show(const struct registry *registry)
{
    struct buf out = BUF_INIT(TEXT_MAX);
    struct buf kept = BUF_INIT(TEXT_MAX);
    registry_show(registry, &out);
    assert_false(out.failed);
    struct slice rest = buf_slice(&out);
    struct slice line;
    while (slice_split(&rest, '\n', &line)) {
        if (line.len > 0 && !slice_starts_with(slice_trim(line), SLICE("#"))) {
            buf_append_slice(&kept, line);
            buf_append_byte(&kept, '\n');
        }
    }
    char *text = mem_copy(buf_slice(&kept).at, kept.len);
    buf_reset(&out);
    buf_reset(&kept);
    assert_non_null(text);
    return text;
}

static char *notes_of(const struct registry *registry)
{
    struct buf out = BUF_INIT(TEXT_MAX);
    registry_print_notes(registry, NOTE_INFO, &out);
    char *text = mem_copy(buf_slice(&out).at, out.len);
    buf_reset(&out);
    assert_non_null(text);
    return text;
}

static void read_file(const char *path, struct buf *out)
{
    buf_init(out, TEXT_MAX);
    assert_int_equal(sys_file_read(path, TEXT_MAX, out), WEIR_OK);
    assert_non_null(buf_text(out));
}

// ---- Forms

static const struct {
    const char *name;
    const char *path; // where it says it is
    struct registry_options options;
} forms[] = {
    {"form-a", "/lab/registry.yml", {.environment = &environment}},
    {"form-b", "/lab/registry.yml", {.environment = &environment}},
    {"form-c", "/lab/registry.yml", {.environment = &environment}},
    {"form-d", "/lab/registry.yml", {.environment = &environment}},
    {"form-e", "form-e.yml", {.environment = &environment, .legacy_compose_health = true}},
    {"form-f", "/lab/registry.yml", {.environment = &environment, .implicit_checks = true}},
};

static void brings_every_form_into_one(void **state)
{
    (void)state;
    assert_int_equal(chdir(WEIR_SOURCE_DIR "/tests/data/registry"), 0);
    for (size_t i = 0; i < COUNT(forms); i++) {
        char path[64];
        struct registry *registry;
        struct buf expected;
        struct buf text;
        snprintf(path, sizeof path, "%s.yml", forms[i].name);
        read_file(path, &text);
        assert_int_equal(
            registry_parse(buf_slice(&text), forms[i].path, &forms[i].options, &registry), WEIR_OK);
        buf_reset(&text);
        assert_int_equal(registry->note_counts[NOTE_ERROR], 0);
        char *seen = show(registry);
        snprintf(path, sizeof path, "%s.canonical.yml", forms[i].name);
        read_file(path, &expected);
        assert_string_equal(seen, buf_text(&expected));
        // The canonical form says the same when it is read.
        struct registry *again = parse(seen, &plain);
        assert_int_equal(again->note_counts[NOTE_ERROR], 0);
        char *second = show(again);
        assert_string_equal(second, seen);
        for (size_t s = 0; s < registry->service_count; s++) {
            assert_true(registry->services[s].identity == again->services[s].identity);
        }
        mem_free(seen);
        mem_free(second);
        buf_reset(&expected);
        registry_unref(registry);
        registry_unref(again);
    }
}

static void takes_the_first_form(void **state)
{
    (void)state;
    struct registry *registry = parse("hosts: {m: {ip: 127.0.0.1}}\n"
                                      "services:\n"
                                      "  s:\n"
                                      "    current_host: m\n"
                                      "    healthcheck_url: http://h/d\n"
                                      "    health: {url: http://h/c}\n"
                                      "    health_check: {type: http, url: http://h/a}\n",
        &plain);
    char *notes = notes_of(registry);
    assert_string_equal(registry->services[0].check.url, "http://h/a");
    assert_string_equal(notes,
        "/lab/registry.yml:5: notice: services.s.healthcheck_url: is ignored: health_check stands "
        "above it\n"
        "/lab/registry.yml:6: notice: services.s.health: is ignored: health_check stands above "
        "it\n");
    mem_free(notes);
    registry_unref(registry);
}

static void lets_a_variable_replace_a_url(void **state)
{
    (void)state;
    const char *text = "hosts: {m: {ip: 127.0.0.1}}\n"
                       "services:\n"
                       "  web-app: {current_host: m, healthcheck_url: 'http://h/'}\n";
    struct registry_options options = plain;
    struct registry *registry = parse(text, &options);
    assert_string_equal(registry->services[0].check.url, "http://h/");
    registry_unref(registry);
    options.url_overrides = true;
    registry = parse(text, &options);
    assert_string_equal(registry->services[0].check.url, "http://127.0.0.1:99/over");
    registry_unref(registry);
}

static void knows_who_is_here(void **state)
{
    (void)state;
    static const struct {
        const char *address;
        bool local;
    } rows[] = {
        {"127.0.0.1", true},
        {"127.9.9.9", true},
        {"'::1'", true},
        {"localhost", true},
        {"198.51.100.7", false},
        {"example.org", false},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char text[128];
        snprintf(text, sizeof text, "hosts: {m: {ip: %s}}\nservices: {}\n", rows[i].address);
        struct registry *registry = parse(text, &plain);
        assert_int_equal(registry->machines[0].local, rows[i].local);
        registry_unref(registry);
    }
}

// ---- Mistakes

// What stands behind "health_check: " of a service on line 4, and what is said about it.
static const struct {
    const char *check;
    const char *note;
} mistakes[] = {
    {"{type: smtp}", "4: services.s.health_check.type: \"smtp\" is no type; allowed: http, tcp, "
                     "process, exec, none"},
    {"{type: http}", "4: services.s.health_check: needs a url"},
    {"{type: http, url: ftp://h/}",
        "4: services.s.health_check.url: \"ftp://h/\" is neither http nor https"},
    {"{type: http, url: /health}",
        "4: services.s.health_check.url: \"/health\" is no absolute URL with a host"},
    {"{type: tcp}", "4: services.s.health_check: needs a port: the service has none"},
    {"{type: tcp, port: 70000}",
        "4: services.s.health_check.port: must be a whole number, 1-65535"},
    {"{type: process}", "4: services.s.health_check: needs a pid_file"},
    {"{type: exec}", "4: services.s.health_check: needs a command"},
    {"{type: exec, command: ''}", "4: services.s.health_check.command: must not be empty"},
    {"{type: exec, command: []}",
        "4: services.s.health_check.command: must not be empty, nor longer than 1024 arguments"},
    {"{type: tcp, port: 1, interval: 0}", "4: services.s.health_check.interval: must be seconds or "
                                          "a duration such as 500ms, 5s or 1m, 100ms-30d"},
    {"{type: tcp, port: 1, timeout: soon}", "4: services.s.health_check.timeout: must be seconds "
                                            "or a duration such as 500ms, 5s or 1m, 1ms-30d"},
    {"{type: tcp, port: 1, timeout: -1}", "4: services.s.health_check.timeout: must be seconds or "
                                          "a duration such as 500ms, 5s or 1m, 1ms-30d"},
    {"{type: tcp, port: 1, failure_threshold: 0}",
        "4: services.s.health_check.failure_threshold: must be a whole number, 1-1000000"},
    {"{type: tcp, port: 1, failure_threshold: 1.5}",
        "4: services.s.health_check.failure_threshold: must be a whole number, 1-1000000"},
    {"{type: http, url: http://h, expected_status: 99}",
        "4: services.s.health_check.expected_status: must be a status 100-599, a range such as "
        "\"200-299\" or a class such as \"2xx\""},
    {"{type: exec, command: x, expected_exit: 256}",
        "4: services.s.health_check.expected_exit: must be a whole number, 0-255"},
    {"{type: http, url: http://h, body_regex: '('}",
        "4: services.s.health_check.body_regex: \"(\" is no extended regular expression: Unmatched "
        "( or \\("},
    {"{type: exec, command: '${NOPE}'}", "4: services.s.health_check.command: the variable NOPE is "
                                         "not set, and ${NOPE} has no default"},
    {"{type: exec, command: '${NOPE'}",
        "4: services.s.health_check.command: a ${ has no }; $$ stands for a dollar sign"},
    {"{type: http, url: http://h, headers: {'a:b': c}}",
        "4: services.s.health_check.headers.\"a:b\": is not the name of a header with a value on "
        "one line"},
    {"[{type: tcp}]", "4: services.s.health_check: is a list; a service has exactly one check, a "
                      "map"},
    {"up", "4: services.s.health_check: must be a map, or false, but there is text"},
    {"{timeout: 3}", "4: services.s.health_check: has no type; allowed: http, tcp, process, exec"},
};

static void names_every_mistake(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(mistakes); i++) {
        char text[512];
        char expected[512];
        snprintf(text, sizeof text,
            "hosts: {m: {ip: 127.0.0.1}}\nservices:\n  s: {current_host: m,\n    health_check: "
            "%s}\n"
            "  other: {current_host: m, health_check: {type: tcp, port: 1}}\n",
            mistakes[i].check);
        snprintf(expected, sizeof expected, "/lab/registry.yml:%s\n", mistakes[i].note);
        struct registry *registry = parse(text, &plain);
        char *notes = notes_of(registry);
        assert_string_equal(notes, expected);
        assert_non_null(registry->services[0].problem);
        assert_false(service_monitored(&registry->services[0]));
        assert_null(registry->services[1].problem);
        assert_true(service_monitored(&registry->services[1]));
        mem_free(notes);
        registry_unref(registry);
    }
}

static const struct {
    const char *check;
    const char *note;
} warnings[] = {
    {"{url: http://h}",
        "4: warning: services.s.health_check: has no type; taken for http because of \"url\""},
    {"{type: tcp, port: 1, intervall: 3}",
        "4: warning: services.s.health_check.intervall: is not a known key; did you mean "
        "\"interval\"?"},
    {"{type: tcp, port: 1, zzz: 3}", "4: warning: services.s.health_check.zzz: is not a known key"},
    {"{type: tcp, port: 1, url: http://h}",
        "4: warning: services.s.health_check.url: does not apply to a check of type tcp"},
    {"{type: tcp, port: 1, interval: 2, timeout: 3}",
        "4: warning: services.s.health_check: timeout is longer than the interval: shortened to "
        "it"},
    {"{type: tcp, port: 1, interval: 200ms, timeout: 100ms}",
        "4: warning: services.s.health_check: an interval below 1 s is a burden for the service"},
};

static void warns_of_what_is_odd(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(warnings); i++) {
        char text[512];
        char expected[512];
        snprintf(text, sizeof text,
            "hosts: {m: {ip: 127.0.0.1}}\nservices:\n  s: {current_host: m,\n    health_check: "
            "%s}\n",
            warnings[i].check);
        snprintf(expected, sizeof expected, "/lab/registry.yml:%s\n", warnings[i].note);
        struct registry *registry = parse(text, &plain);
        char *notes = notes_of(registry);
        assert_string_equal(notes, expected);
        assert_true(service_monitored(&registry->services[0]));
        mem_free(notes);
        registry_unref(registry);
    }
}

static void keeps_a_notice_of_one_paragraph(void **state)
{
    char text[REGISTRY_NOTICE_MAX + 64];
    char long_one[REGISTRY_NOTICE_MAX + 2];
    (void)state;
    for (size_t len = REGISTRY_NOTICE_MAX; len <= REGISTRY_NOTICE_MAX + 1; len++) {
        memset(long_one, 'x', len);
        long_one[len] = '\0';
        snprintf(text, sizeof text, "notice: %s\nservices: {}\n", long_one);
        struct registry *registry = parse(text, &plain);
        char *seen = show(registry);
        bool shown = len == REGISTRY_NOTICE_MAX;
        assert_int_equal(registry->notice != NULL, shown);
        assert_int_equal(strstr(seen, "notice: ") != NULL, shown);
        assert_int_equal(registry->note_counts[NOTE_WARNING], !shown);
        mem_free(seen);
        registry_unref(registry);
    }
}

// Whole files, and all that is said about them.
static const struct {
    const char *text;
    const char *notes;
    bool broken;
} files[] = {
    {"hosts: {}\nservices: {}\n", "", false},
    {"", "/lab/registry.yml: must be a map with services and hosts (or machines)\n", true},
    {"[a]\n", "/lab/registry.yml:1: must be a map with services and hosts (or machines)\n", true},
    {"hosts:\n  m: {}\n  n: 7\nservices:\n  s: x\n  t: {}\n",
        "/lab/registry.yml:2: hosts.m: needs ip or host\n"
        "/lab/registry.yml:3: hosts.n: must be a map with ip or host, but there is a number\n"
        "/lab/registry.yml:5: services.s: must be a map, but there is text\n"
        "/lab/registry.yml:5: warning: services.s: names no machine (current_host)\n"
        "/lab/registry.yml:6: warning: services.t: names no machine (current_host)\n",
        false},
    {"hosts: {m: {ip: 127.0.0.1}}\nmachines: {m: {ip: 10.0.0.9}, n: {ip: 10.0.0.8}}\nservices: "
     "{}\n",
        "/lab/registry.yml:2: warning: machines: stands beside hosts; where both name a machine, "
        "hosts counts\n",
        false},
    {"hosts: {m: {ip: 127.0.0.1}}\n"
     "services:\n"
     "  a: {current_host: m, port: 80, depends_on: [b, nobody]}\n"
     "  b: {current_host: m, port: 80, dependencies: c}\n"
     "  c: {current_host: x, depends_on: [a]}\n"
     "  d: {current_host: m, depends_on: [a]}\n",
        "/lab/registry.yml:3: warning: services.a: depends on itself, by way of b\n"
        "/lab/registry.yml:3: warning: services.a: depends on nobody, which is no service\n"
        "/lab/registry.yml:4: warning: services.b: depends on itself, by way of c\n"
        "/lab/registry.yml:4: warning: services.b: has the port of a on the same machine m\n"
        "/lab/registry.yml:5: warning: services.c: depends on itself, by way of a\n"
        "/lab/registry.yml:5: warning: services.c.current_host: names machine x, which does not "
        "stand under hosts\n",
        false},
    {"defaults: {interval: never}\nhosts: {m: {ip: 127.0.0.1}}\n"
     "services:\n  a: {current_host: m, health_check: {type: tcp, port: 1}}\n",
        "/lab/registry.yml:1: defaults.interval: must be seconds or a duration such as 500ms, 5s "
        "or 1m, 100ms-30d\n",
        false},
    {"hosts: {m: {ip: 127.0.0.1}}\nservices:\n"
     "  a: {current_host: m, maintenance: {until: tomorrow}}\n",
        "/lab/registry.yml:3: services.a.maintenance.until: must be a time such as "
        "2026-01-31T22:00:00Z\n",
        false},
    {"hosts: {m: {ip: 198.51.100.7, user: -oProxyCommand=x}}\nservices: {}\n",
        "/lab/registry.yml:1: hosts.m: a user must not begin with '-'\n", false},
    {"hosts: {m: {ip: 1.2.3.4/x}, n: {host: -p, ssh_hostname: 'a b'}}\nservices: {}\n",
        "/lab/registry.yml:1: hosts.m.ip: \"1.2.3.4/x\" is neither an IP address nor a name\n"
        "/lab/registry.yml:1: hosts.n.host: \"-p\" is neither an IP address nor a name\n"
        "/lab/registry.yml:1: hosts.n.ssh_hostname: \"a b\" is neither an IP address nor a name\n",
        false},
};

static void reads_whole_files(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(files); i++) {
        struct registry *registry = parse(files[i].text, &plain);
        char *notes = notes_of(registry);
        assert_string_equal(notes, files[i].notes);
        assert_int_equal(registry->broken, files[i].broken);
        mem_free(notes);
        registry_unref(registry);
    }
}

static void blames_the_service_that_stands_twice(void **state)
{
    (void)state;
    struct registry *registry =
        parse("hosts: {m: {ip: 127.0.0.1}}\n"
              "services:\n"
              "  a: {current_host: m, health_check: {type: tcp, port: 1}}\n"
              "  b: {current_host: m, health_check: {type: tcp, port: 2}}\n"
              "  a: {current_host: m, health_check: {type: tcp, port: 3}}\n",
            &plain);
    assert_false(registry->broken);
    assert_int_equal(registry->note_counts[NOTE_ERROR], 1);
    for (size_t i = 0; i < registry->service_count; i++) {
        const struct service *service = &registry->services[i];
        assert_int_equal(service_monitored(service), strcmp(service->name, "b") == 0);
    }
    registry_unref(registry);
}

static void tells_what_changed(void **state)
{
    (void)state;
    static const struct {
        const char *check;
        bool same;
    } rows[] = {
        {"{type: tcp, port: 1}", true},
        {"{type: tcp, port: 1, interval: 33, timeout: 2, failure_threshold: 9}", true},
        {"{type: tcp, port: 2}", false},
        {"{type: tcp, port: 1, expect: x}", false},
        {"{type: tcp, port: 1, enabled: false}", false},
        {"false", false},
    };
    uint64_t first = 0;
    for (size_t i = 0; i < COUNT(rows); i++) {
        char text[256];
        snprintf(text, sizeof text,
            "hosts: {m: {ip: 127.0.0.1}}\nservices: {s: {current_host: m, health_check: %s}}\n",
            rows[i].check);
        struct registry *registry = parse(text, &plain);
        first = i == 0 ? registry->services[0].identity : first;
        assert_int_equal(registry->services[0].identity == first, rows[i].same);
        registry_unref(registry);
    }
}

static void survives_every_lack_of_memory(void **state)
{
    (void)state;
    struct buf text;
    read_file(WEIR_SOURCE_DIR "/tests/data/registry/form-a.yml", &text);
    for (unsigned long nth = 1;; nth++) {
        struct registry *registry;
        mem_fail_at(nth);
        enum weir_result result =
            registry_parse(buf_slice(&text), "registry.yml", &plain, &registry);
        bool failed = mem_count() >= nth;
        mem_fail_at(0);
        registry_unref(registry);
        if (!failed) {
            assert_int_equal(result, WEIR_OK);
            break;
        }
        assert_true(result == WEIR_MEMORY || result == WEIR_OK);
    }
    buf_reset(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(brings_every_form_into_one),
        cmocka_unit_test(takes_the_first_form),
        cmocka_unit_test(lets_a_variable_replace_a_url),
        cmocka_unit_test(knows_who_is_here),
        cmocka_unit_test(names_every_mistake),
        cmocka_unit_test(warns_of_what_is_odd),
        cmocka_unit_test(keeps_a_notice_of_one_paragraph),
        cmocka_unit_test(reads_whole_files),
        cmocka_unit_test(blames_the_service_that_stands_twice),
        cmocka_unit_test(tells_what_changed),
        cmocka_unit_test(survives_every_lack_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
