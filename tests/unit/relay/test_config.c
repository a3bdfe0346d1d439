// SPDX-License-Identifier: Apache-2.0
// Rows, names and documents; the rules over several variables are in test_config_rules.c.
#include "config_world.h"

#include "base/mem.h"

// ---- Rows

struct row {
    const char *name, *other, *fallback, *choices;
    uint64_t min, max;
    enum conf_type type;
};
static const struct row rows[] = {
#define KEY(field, type, name, other, fallback, min, max, choices, group, meaning)                 \
    {name, other, fallback, choices, min, max, CONF_##type},
#include "relay/config.def"
#undef KEY
};
#define ROW_COUNT (sizeof rows / sizeof rows[0])

// The table of section 2.2 and the names of 2.4, with the defaults that hold for every start.
static const char *const documented[] = {"HOST=127.0.0.1", "PORT=7781", "SERVER_URL",
    "MAX_LOGS=1000", "RELAY_MODE=auto", "RELAY_ID", "RELAY_PUBLIC_WS_BASE_URL", "RELAY_TLS=auto",
    "RELAY_TLS_TERMINATION=self", "RELAY_TLS_HOST=relay.getviewport.com",
    "RELAY_TLS_CERT_DIR=~/.viewport/relay-certs", "RELAY_TLS_CERT_PATH", "RELAY_TLS_KEY_PATH",
    "RELAY_ADMIN_TOKEN", "RELAY_ENABLE_ADMIN_HTTP=0", "RELAY_HEALTH_VERBOSE=1",
    "RELAY_STATE_INCLUDE_CLIENT_IDS", "RELAY_INTERNAL_KEY", "RELAY_ADMISSION_TIMEOUT_MS=2000",
    "RELAY_ADMISSION_MAX_RESPONSE_BYTES=262144", "RELAY_INTERNAL_API_TIMEOUT_MS=2000",
    "RELAY_INTERNAL_API_MAX_RESPONSE_BYTES=262144", "RELAY_SERVER_TLS_VERIFY=auto",
    "RELAY_SERVER_AUTH_MODE=mtls", "RELAY_SERVER_CA_CERT_PATH", "RELAY_SERVER_MTLS",
    "RELAY_SERVER_CLIENT_CERT_PATH", "RELAY_SERVER_CLIENT_KEY_PATH",
    "RELAY_SERVER_CLIENT_KEY_PASSPHRASE", "RELAY_MAX_TOTAL_CONNECTIONS=2000",
    "RELAY_MAX_CONNECTIONS_PER_IP=50", "RELAY_MAX_CLIENTS_PER_WORKSPACE=100",
    "RELAY_MAX_FRAME_BYTES=1048576", "RELAY_MAX_PENDING_BYTES=4194304",
    "RELAY_UPGRADE_RATE_PER_MINUTE=120", "RELAY_UPGRADE_BUCKET_MAX=50000",
    "RELAY_KEX_INIT_RATE_PER_MINUTE=60", "RELAY_KEX_RATE_LIMITER_MAX_KEYS=20000",
    "RELAY_PAIRING_RATE_PER_MINUTE=30", "RELAY_PAIRING_RATE_LIMITER_MAX_KEYS=20000",
    "RELAY_RUNTIME_RATE_PER_MINUTE=240", "RELAY_RUNTIME_RATE_LIMITER_MAX_KEYS=20000",
    "RELAY_RUNTIME_RATE_PER_MINUTE_WORKSPACE=1200",
    "RELAY_RUNTIME_WORKSPACE_RATE_LIMITER_MAX_KEYS=10000",
    "RELAY_DAEMON_RUNTIME_RATE_PER_MINUTE=2400", "RELAY_DAEMON_RATE_LIMITER_MAX_KEYS=10000",
    "RELAY_PAIRING_REQUEST_TRACK_MAX=2048", "RELAY_SESSION_OWNER_TRACK_MAX=4096",
    "RELAY_PING_INTERVAL_MS=30000", "RELAY_PONG_TIMEOUT_MS=10000", "RELAY_IDLE_TIMEOUT_MS=300000",
    "RELAY_EMPTY_WORKSPACE_TTL_MS=120000", "RELAY_CLEANUP_INTERVAL_MS=30000",
    "RELAY_BACKPLANE_MODE=auto", "RELAY_PRESENCE_SYNC_ENABLED",
    "RELAY_PRESENCE_SYNC_INTERVAL_MS=20000", "RELAY_PRESENCE_RESOLVE_CACHE_MAX=10000",
    "RELAY_BUS_ENABLED", "RELAY_BUS_HMAC_KEY", "RELAY_BUS_POLL_INTERVAL_MS=250",
    "RELAY_BUS_PULL_LIMIT=200", "RELAY_BUS_PULL_WAIT_MS=1000",
    "RELAY_BUS_SIGNATURE_MAX_SKEW_MS=15000", "RELAY_BUS_FRESHNESS_TRACK_MAX=20000",
    "RELAY_REDIS_URL", "RELAY_REDIS_KEY_PREFIX=viewport:relay",
    "RELAY_REDIS_CONNECT_TIMEOUT_MS=5000", "RELAY_REDIS_PRESENCE_TTL_MS=45000",
    "RELAY_REDIS_QUEUE_MAX=10000", "RELAY_CLIENT_REDIRECT_ENABLED", "RELAY_REDIRECT_ALLOWED_HOSTS",
    "RELAY_TRUSTED_PROXIES", "RELAY_LISTEN_PORT=7781", "RELAY_VALIDATE_URL", "RELAY_JWKS_URL",
    "RELAY_BACKPLANE_URL", "RELAY_MAX_LOGS=1000", "RELAY_LISTEN_HOST=127.0.0.1",
    "RELAY_COMPAT=docs", "RELAY_PROXY_PROTOCOL=0", "RELAY_RATE_LIMIT_ACTION=close"};

static const struct row *find_row(struct slice name)
{
    const struct row *found = NULL;
    for (size_t i = 0; i < ROW_COUNT; i++) {
        if (slice_eq(slice_str(rows[i].name), name) ||
            (rows[i].other != NULL && slice_eq(slice_str(rows[i].other), name))) {
            assert_null(found);
            found = &rows[i];
        }
    }
    return found;
}

static void test_documented_variables(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof documented / sizeof documented[0]; i++) {
        struct slice fallback = slice_str(documented[i]);
        struct slice name;
        print_message("%s\n", documented[i]);
        assert_true(slice_split(&fallback, '=', &name));
        const struct row *row = find_row(name);
        assert_non_null(row);
        assert_true(
            slice_eq(slice_str(row->fallback), fallback.at == NULL ? SLICE_EMPTY : fallback));
    }
}

// The lines in which a row's own reader refuses a value.
static bool is_refused(const char *name, const char *value, char *line, size_t size)
{
    struct fixture fixture;
    char variables[256];
    char begin[128];
    snprintf(variables, sizeof variables, "%s=%s", name, value);
    load(&fixture, variables, NULL);
    assert_int_equal(fixture.result, WEIR_OK);
    struct slice rest = buf_slice(&fixture.problems.errors);
    struct slice found;
    bool refused = false;
    snprintf(begin, sizeof begin, "%s: ", name);
    while (slice_split(&rest, '\n', &found)) {
        if (slice_starts_with(found, slice_str(begin)) &&
            slice_contains_nocase(found, SLICE("is not usable; allowed: "))) {
            refused = true;
            assert_true(slice_to_text(found, line, size));
        }
    }
    unload(&fixture);
    return refused;
}

static void check_row(const char *name, const struct row *row)
{
    static const struct {
        const char *good[3], *bad[3];
    } samples[] = {
        [CONF_TEXT] = {{"127.0.0.1"}, {"a\x01z", "\xff"}},
        [CONF_URL] = {{NULL}, {"host", "gopher://h", "x://"}},
        [CONF_SECRET_URL] = {{NULL}, {"host", "gopher://h"}},
        [CONF_PATH] = {{"/x.pem", "x.pem"}, {"/x\x02y"}},
        [CONF_SECRET] = {{"0123456789abcdef01234567"}, {"pass\x02word"}},
        [CONF_INT] = {{NULL}, {"garbage", "-1", "1.5"}},
        [CONF_BOOL] = {{"0", "YES", "off"}, {"2", "enabled"}},
        [CONF_CHOICE] = {{NULL}, {"garbage"}},
        [CONF_NETWORKS] = {{"10.0.0.0/8,::1"}, {"localhost", "10.0.0.0/99"}},
        [CONF_WORDS] = {{"a.example,b.example"}, {"a\x02"}},
    };
    char line[512];
    for (size_t i = 0; i < 3 && samples[row->type].good[i] != NULL; i++) {
        assert_false(is_refused(name, samples[row->type].good[i], line, sizeof line));
    }
    for (size_t i = 0; i < 3 && samples[row->type].bad[i] != NULL; i++) {
        assert_true(is_refused(name, samples[row->type].bad[i], line, sizeof line));
        bool secret = row->type == CONF_SECRET || row->type == CONF_SECRET_URL;
        assert_int_equal(strstr(line, "(not shown)") != NULL, secret);
    }
}

static void check_choices(const char *name, const struct row *row)
{
    struct slice rest = slice_str(row->choices);
    struct slice word;
    char value[64];
    char line[512];
    bool url = row->type != CONF_CHOICE;
    while (row->choices != NULL && slice_split(&rest, '|', &word)) {
        snprintf(value, sizeof value, "%.*s%s", SLICE_ARG(word), url ? "://h.example:1/x" : "");
        assert_false(is_refused(name, value, line, sizeof line));
    }
}

static void check_range(const char *name, const struct row *row)
{
    char value[32];
    char line[512];
    const struct {
        uint64_t number;
        bool refused;
    } numbers[] = {
        {row->min, false}, {row->max, false}, {row->max + 1, true}, {row->min - 1, true}};
    for (size_t i = 0; i < 4; i++) {
        if (numbers[i].number == UINT64_MAX) {
            continue; // one below 0
        }
        snprintf(value, sizeof value, "%llu", (unsigned long long)numbers[i].number);
        assert_int_equal(is_refused(name, value, line, sizeof line), numbers[i].refused);
    }
}

static void test_every_row(void **state)
{
    (void)state;
    for (size_t i = 0; i < ROW_COUNT; i++) {
        const char *names[] = {rows[i].name, rows[i].other};
        for (size_t j = 0; j < 2 && names[j] != NULL; j++) {
            print_message("%s\n", names[j]);
            check_row(names[j], &rows[i]);
            check_choices(names[j], &rows[i]);
            if (rows[i].type == CONF_INT) {
                check_range(names[j], &rows[i]);
            }
        }
    }
}

static void test_bare_start(void **state)
{
    struct fixture fixture;
    const struct relay_config *config = &fixture.config;
    (void)state;
    load(&fixture, "HOME=/home/ann", NULL);
    assert_int_equal(fixture.result, WEIR_OK);
    assert_lines(&fixture.problems.errors, NULL);
    assert_lines(&fixture.problems.warnings, NULL);
    assert_string_equal(config->listen_host, "127.0.0.1");
    assert_int_equal(config->listen_port, 7781);
    assert_int_equal(config->security_mode, SECURITY_MODE_DEV);
    assert_int_equal(config->backplane_mode, BACKPLANE_SINGLE);
    assert_string_equal(
        config->tls_cert_path, "/home/ann/.viewport/relay-certs/relay.getviewport.com.crt");
    assert_string_equal(
        config->tls_key_path, "/home/ann/.viewport/relay-certs/relay.getviewport.com.key");
    assert_string_equal(config->relay_id, "127.0.0.1:7781:0123456789ab");
    assert_string_equal(config->public_ws_base_url, "wss://relay.getviewport.com/ws");
    assert_string_equal(config->platform_origin, "https://api.getviewport.com");
    assert_string_equal(
        config->admission_url, "https://api.getviewport.com/api/runtime/internal/relay/validate");
    assert_true(config->server_tls_verify);
    assert_true(config->health_verbose && config->state_include_client_ids);
    assert_false(config->tls_enabled || config->has_admin_token || config->enable_admin_http);
    unload(&fixture);
}

// ---- Names, secrets, mistakes

static void test_names_and_compat(void **state)
{
    static const struct {
        const char *variables;
        uint64_t port, logs;
        bool verbose;
        const char *warnings;
    } cases[] = {
        {"", 7781, 1000, true, NULL},
        {"PORT=1;MAX_LOGS=2", 1, 2, true, NULL},
        {"PORT=1;RELAY_LISTEN_PORT=3", 3, 1000, true,
            "RELAY_LISTEN_PORT and PORT are both set and differ; RELAY_LISTEN_PORT is used"},
        {"PORT=3;RELAY_LISTEN_PORT=3", 3, 1000, true, NULL},
        {"RELAY_COMPAT=reference;RELAY_MODE=staging", 7781, 400, false, NULL},
        {"RELAY_COMPAT=REFERENCE;RELAY_MODE=dev", 7781, 400, true, NULL},
        {"RELAY_COMPAT=reference;RELAY_HEALTH_VERBOSE=1;RELAY_MODE=staging;MAX_LOGS=5", 7781, 5,
            true, NULL},
        {"RELAY_COMPAT=reference;PORT=1;RELAY_LISTEN_PORT=3", 1, 400, true,
            "PORT and RELAY_LISTEN_PORT are both set and differ; PORT is used"},
        {"RELAY_COMPAT=reference;RELAY_LISTEN_PORT=3", 3, 400, true, NULL},
        {"RELAY_HEALTH_VERBOSE=0", 7781, 1000, false, NULL},
        {"RELAY_MODE=staging", 7781, 1000, true, NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fixture fixture;
        print_message("%s\n", cases[i].variables);
        load(&fixture, cases[i].variables, NULL);
        assert_lines(&fixture.problems.errors, NULL);
        assert_lines(&fixture.problems.warnings, cases[i].warnings);
        assert_int_equal(fixture.config.listen_port, cases[i].port);
        assert_int_equal(fixture.config.max_logs, cases[i].logs);
        assert_int_equal(fixture.config.health_verbose, cases[i].verbose);
        unload(&fixture);
    }
}

static void test_admin_token(void **state)
{
    // SHA-256 of "abc" (FIPS 180-4).
    static const unsigned char digest[32] = {0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41,
        0x41, 0x40, 0xde, 0x5d, 0xae, 0x22, 0x23, 0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17, 0x7a, 0x9c,
        0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad};
    struct fixture fixture;
    (void)state;
    load(&fixture, "RELAY_ADMIN_TOKEN= abc ", NULL);
    assert_true(fixture.config.has_admin_token);
    assert_memory_equal(fixture.config.admin_token_sha256, digest, sizeof digest);
    assert_null(fixture.config.admin_token);
    unload(&fixture);
}

static void test_all_mistakes_at_once(void **state)
{
    struct fixture fixture;
    (void)state;
    load(&fixture,
        "PORT=x;RELAY_TLS=maybe;RELAY_MAX_LOGS=0;RELAY_INTERNAL_KEY=a\x01hidden;SERVER_URL=ftp://h;"
        "RELAY_TRUSTED_PROXIES=a,b;RELAY_BACKPLANE_MODE=redis;RELAY_SERVER_MTLS=1",
        NULL);
    assert_lines(&fixture.problems.errors,
        "PORT: \"x\" is not usable; allowed: a whole number from 0 to 65535|"
        "RELAY_TLS: \"maybe\" is not usable; allowed: auto, 0, 1|"
        "RELAY_MAX_LOGS: \"0\" is not usable|RELAY_INTERNAL_KEY: the value (not shown)|"
        "SERVER_URL: \"ftp://h\"|RELAY_TRUSTED_PROXIES: \"a\"|RELAY_TRUSTED_PROXIES: \"b\"|"
        "RELAY_SERVER_CLIENT_CERT_PATH: not set|RELAY_SERVER_CLIENT_KEY_PATH: not set|"
        "RELAY_INTERNAL_KEY: not set|RELAY_BACKPLANE_URL: not set");
    assert_false(holds(&fixture.problems.errors, "hidden"));
    unload(&fixture);
}

static void test_no_memory(void **state)
{
    static const char variables[] =
        "RELAY_ADMIN_TOKEN=t;SERVER_URL=https://p.example;RELAY_VALIDATE_URL=https://q.example/v;"
        "RELAY_TRUSTED_PROXIES=10.0.0.0/8;RELAY_REDIRECT_ALLOWED_HOSTS=a,b;RELAY_INTERNAL_KEY=k";
    (void)state;
    for (unsigned long n = 1;; n++) {
        struct fixture fixture;
        mem_fail_at(n);
        load(&fixture, variables, NULL);
        bool reached = mem_count() >= n;
        mem_fail_at(0);
        // A warning that finds no room is left out; everything else is told.
        bool whole = fixture.result == WEIR_OK && count_lines(&fixture.problems.warnings) == 2;
        bool warned_less = fixture.result == WEIR_OK && fixture.problems.warnings.failed;
        assert_true(reached ? fixture.result == WEIR_MEMORY || warned_less : whole);
        unload(&fixture);
        if (!reached) {
            break;
        }
    }
}

// An error that found no room ends the start all the same.
static void test_no_memory_for_errors(void **state)
{
    bool reached = true;
    (void)state;
    for (unsigned long n = 1; reached; n++) {
        struct fixture fixture;
        mem_fail_at(n);
        load(&fixture, "RELAY_TLS=maybe", NULL);
        reached = mem_count() >= n;
        mem_fail_at(0);
        assert_true(fixture.result == WEIR_MEMORY || fixture.problems.errors.len > 0);
        unload(&fixture);
    }
}

// ---- Documents

static void read_document(const char *path, struct buf *out)
{
    char text[4096];
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    for (size_t len = fread(text, 1, sizeof text, file); len > 0;
         len = fread(text, 1, sizeof text, file)) {
        buf_append(out, text, len);
    }
    assert_false(out->failed);
    fclose(file);
}

static void test_manual_is_up_to_date(void **state)
{
    struct buf document = BUF_INIT(262144);
    struct buf manual = BUF_INIT(262144);
    (void)state;
    read_document(WEIR_SOURCE_DIR "/docs/reference/relay-configuration.md", &document);
    relay_config_manual(&manual);
    if (!slice_eq(buf_slice(&manual), buf_slice(&document))) {
        fail_msg("docs/reference/relay-configuration.md is not the output of "
                 "weir config reference relay");
    }
    buf_reset(&document);
    buf_reset(&manual);
}

// Every number that can be set is a limit, a time or a size, and docs/limits.md says why it is what
// it is, in a line that begins with "| `NAME` | default |".
static void test_limits_are_explained(void **state)
{
    struct buf document = BUF_INIT(262144);
    char begin[160];
    (void)state;
    read_document(WEIR_SOURCE_DIR "/docs/limits.md", &document);
    for (size_t i = 0; i < ROW_COUNT; i++) {
        if (rows[i].type == CONF_INT && strcmp(rows[i].name, "RELAY_LISTEN_PORT") != 0) {
            snprintf(begin, sizeof begin, "\n| `%s` | %s |", rows[i].name, rows[i].fallback);
            if (!holds(&document, begin)) {
                fail_msg(
                    "docs/limits.md has no line \"| `%s` | %s |\"", rows[i].name, rows[i].fallback);
            }
        }
    }
    buf_reset(&document);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_documented_variables),
        cmocka_unit_test(test_every_row),
        cmocka_unit_test(test_bare_start),
        cmocka_unit_test(test_names_and_compat),
        cmocka_unit_test(test_admin_token),
        cmocka_unit_test(test_all_mistakes_at_once),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_no_memory_for_errors),
        cmocka_unit_test(test_manual_is_up_to_date),
        cmocka_unit_test(test_limits_are_explained),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
