// SPDX-License-Identifier: Apache-2.0
#include "config_world.h"

// ---- Rules: what they report

struct problem_case {
    const char *variables, *files, *errors, *warnings;
};

static void check_problems(const struct problem_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct fixture fixture;
        print_message("%s\n", cases[i].variables);
        load(&fixture, cases[i].variables, cases[i].files);
        assert_int_equal(fixture.result, WEIR_OK);
        assert_lines(&fixture.problems.errors, cases[i].errors);
        assert_lines(&fixture.problems.warnings, cases[i].warnings);
        unload(&fixture);
    }
}
#define CHECK_PROBLEMS(cases) check_problems(cases, sizeof(cases) / sizeof(cases)[0])

#define CERTS "RELAY_TLS_CERT_PATH=/c;RELAY_TLS_KEY_PATH=/k"
#define NO_CERT "RELAY_TLS_CERT_PATH: \"/c\" does not exist; allowed: a PEM certificate chain"
#define NO_KEY "RELAY_TLS_KEY_PATH: \"/k\" does not exist; allowed: a PEM private key"

static void test_rule_files(void **state)
{
    static const struct problem_case cases[] = {
        {"RELAY_TLS=1;" CERTS, "", NO_CERT "|" NO_KEY, NULL},
        {"RELAY_TLS=1;" CERTS, "/c", NO_KEY, NULL},
        {"RELAY_TLS=1;" CERTS, "/k", NO_CERT, NULL},
        {"RELAY_TLS=1;" CERTS, "/c;/k", NULL, NULL},
        {"RELAY_TLS=0;" CERTS, "/c", NULL, NULL},
        {"RELAY_TLS=AUTO;" CERTS, "", NULL, NULL},
        {CERTS, "/c;/k", NULL, NULL},
        {CERTS, "/c", NULL, "RELAY_TLS: auto, and \"/c\" exists but \"/k\" does not"},
        {CERTS, "/k", NULL, "RELAY_TLS: auto, and \"/k\" exists but \"/c\" does not"},
        {"RELAY_SERVER_MTLS=1", "",
            "RELAY_SERVER_CLIENT_CERT_PATH: not set"
            "|RELAY_SERVER_CLIENT_KEY_PATH: not set",
            NULL},
        {"RELAY_SERVER_CLIENT_CERT_PATH=/c;RELAY_SERVER_CLIENT_KEY_PATH=/k", "/c",
            "RELAY_SERVER_CLIENT_KEY_PATH: \"/k\" does not exist", NULL},
        {"RELAY_SERVER_CLIENT_CERT_PATH=/c;RELAY_SERVER_CLIENT_KEY_PATH=/k", "/c;/k", NULL, NULL},
        {"RELAY_SERVER_CLIENT_CERT_PATH=/c;RELAY_SERVER_CLIENT_KEY_PATH=/k;RELAY_SERVER_MTLS=0", "",
            NULL, NULL},
        {"RELAY_SERVER_CLIENT_CERT_PATH=/c", "/c", NULL,
            "RELAY_SERVER_CLIENT_CERT_PATH: set without RELAY_SERVER_CLIENT_KEY_PATH"},
        {"RELAY_SERVER_CLIENT_KEY_PATH=/k", "/k", NULL,
            "RELAY_SERVER_CLIENT_KEY_PATH: set without RELAY_SERVER_CLIENT_CERT_PATH"},
        {"RELAY_SERVER_CA_CERT_PATH=/ca", "", "RELAY_SERVER_CA_CERT_PATH: \"/ca\" does not exist",
            NULL},
        {"RELAY_SERVER_CA_CERT_PATH=/ca", "/ca", NULL, NULL},
    };
    (void)state;
    CHECK_PROBLEMS(cases);
}

static void test_rule_hosts(void **state)
{
    static const struct problem_case cases[] = {
        {"HOST=localhost", NULL, NULL, NULL},
        {"HOST=::1", NULL, NULL, NULL},
        {"HOST=workstation", NULL,
            "RELAY_LISTEN_HOST (or HOST): \"workstation\" is not usable; allowed: an IP address",
            NULL},
        {"RELAY_LISTEN_HOST=[::1]", NULL, "RELAY_LISTEN_HOST (or HOST): \"[::1]\"", NULL},
        {"HOST=0.0.0.0", NULL, NULL, NULL},
        {"HOST=0.0.0.0;SERVER_URL=http://localhost:8080", NULL,
            "SERVER_URL: \"http://localhost:8080\" is local while RELAY_LISTEN_HOST \"0.0.0.0\" is "
            "not",
            NULL},
        {"HOST=0.0.0.0;SERVER_URL=https://api.test", NULL, "SERVER_URL: \"https://api.test\"",
            NULL},
        {"HOST=::;RELAY_VALIDATE_URL=http://127.0.0.1/v", NULL,
            "RELAY_VALIDATE_URL: \"http://127.0.0.1/v\"", NULL},
        {"HOST=10.0.0.1;RELAY_PUBLIC_WS_BASE_URL=ws://[::1]:7781/ws", NULL,
            "RELAY_PUBLIC_WS_BASE_URL: \"ws://[::1]:7781/ws\"", NULL},
        {"HOST=10.0.0.1;RELAY_TLS_HOST=relay.TEST", NULL,
            "RELAY_TLS_HOST: \"ws://relay.TEST:7781/ws\"", NULL},
        {"HOST=127.0.0.1;SERVER_URL=http://localhost;RELAY_TLS_HOST=relay.test", NULL, NULL, NULL},
        {"HOST=0.0.0.0;SERVER_URL=http://protest", NULL, NULL, NULL},
    };
    (void)state;
    CHECK_PROBLEMS(cases);
}

static void test_rule_backplane(void **state)
{
    static const struct problem_case cases[] = {
        {"RELAY_BACKPLANE_MODE=single;RELAY_INTERNAL_KEY=k;RELAY_BUS_ENABLED=1", NULL, NULL, NULL},
        // A key alone means server, as the reference has it.
        {"RELAY_INTERNAL_KEY=k", NULL, NULL,
            "RELAY_BUS_HMAC_KEY: not set, so nothing is forwarded"},
        {"RELAY_BUS_ENABLED=0;RELAY_PRESENCE_SYNC_ENABLED=0", NULL, NULL, NULL},
        {"RELAY_INTERNAL_KEY=k;RELAY_PRESENCE_SYNC_ENABLED=1;RELAY_BUS_HMAC_KEY=h", NULL, NULL,
            NULL},
        {"RELAY_INTERNAL_KEY=k;RELAY_BUS_ENABLED=1", NULL,
            "RELAY_BUS_HMAC_KEY: not set; allowed: a secret while", NULL},
        {"RELAY_BACKPLANE_MODE=server", NULL, "RELAY_INTERNAL_KEY: not set",
            "RELAY_BUS_HMAC_KEY: not set, so nothing is forwarded"},
        {"RELAY_BACKPLANE_MODE=server;RELAY_INTERNAL_KEY=k;RELAY_BUS_ENABLED=0", NULL, NULL, NULL},
        {"RELAY_BACKPLANE_MODE=server;RELAY_INTERNAL_KEY=k;RELAY_COMPAT=reference", NULL, NULL,
            NULL},
        {"RELAY_BACKPLANE_MODE=redis", NULL,
            "RELAY_INTERNAL_KEY: not set|RELAY_BACKPLANE_URL: not set",
            "RELAY_BUS_HMAC_KEY: not set, so frames between relays are NOT SIGNED"},
        {"RELAY_BACKPLANE_MODE=redis;RELAY_INTERNAL_KEY=k;RELAY_REDIS_URL=redis://u:p@h/1;"
         "RELAY_BUS_HMAC_KEY=h",
            NULL, NULL, NULL},
        {"RELAY_BACKPLANE_MODE=redis;RELAY_INTERNAL_KEY=k;RELAY_BACKPLANE_URL=rediss://h;"
         "RELAY_BUS_ENABLED=1",
            NULL, "RELAY_BUS_HMAC_KEY: not set; allowed", NULL},
        {"RELAY_BACKPLANE_MODE=redis;RELAY_INTERNAL_KEY=k;RELAY_BACKPLANE_URL=https://h;"
         "RELAY_BUS_ENABLED=0",
            NULL, "RELAY_BACKPLANE_URL: the scheme does not fit", NULL},
        {"RELAY_BACKPLANE_MODE=server;RELAY_INTERNAL_KEY=k;RELAY_BACKPLANE_URL=redis://h;"
         "RELAY_BUS_ENABLED=0",
            NULL, "RELAY_BACKPLANE_URL: the scheme does not fit", NULL},
        {"RELAY_BACKPLANE_MODE=redis;RELAY_INTERNAL_KEY=k;RELAY_BACKPLANE_URL=redis://a;"
         "RELAY_REDIS_URL=redis://b;RELAY_BUS_ENABLED=0",
            NULL, NULL,
            "RELAY_BACKPLANE_URL and RELAY_REDIS_URL are both set and differ; RELAY_BACKPLANE_URL"},
        {"RELAY_BACKPLANE_MODE=redis;RELAY_INTERNAL_KEY=k;RELAY_BUS_ENABLED=0;"
         "RELAY_BACKPLANE_URL=redis+sentinel://a:1,b:2/main",
            NULL, NULL, NULL},
        {"RELAY_BACKPLANE_MODE=redis;RELAY_INTERNAL_KEY=k;RELAY_BUS_ENABLED=0;"
         "RELAY_BACKPLANE_URL=redis+sentinel://a:1,b:2",
            NULL, "RELAY_BACKPLANE_URL: sentinels need the name", NULL},
        {"RELAY_BACKPLANE_MODE=redis;RELAY_INTERNAL_KEY=k;RELAY_BUS_ENABLED=0;"
         "RELAY_REDIS_URL=redis://a,b",
            NULL, "RELAY_REDIS_URL: redis:// takes one host", NULL},
        {"RELAY_BACKPLANE_MODE=server;RELAY_INTERNAL_KEY=k;RELAY_BUS_ENABLED=0;"
         "RELAY_BACKPLANE_URL=ftp://h",
            NULL, "RELAY_BACKPLANE_URL: what is set cannot be used", NULL},
        {"RELAY_BACKPLANE_URL=redis://h", NULL, NULL,
            "RELAY_BACKPLANE_URL: not used while RELAY_BACKPLANE_MODE is single"},
    };
    (void)state;
    CHECK_PROBLEMS(cases);
}

#define PROD "RELAY_BACKPLANE_MODE=single;RELAY_MODE=prod;HOST=0.0.0.0;SERVER_URL=https://p.example"
#define GOOD_KEY "RELAY_INTERNAL_KEY=0123456789abcdef01234567"
#define SHARED "RELAY_SERVER_AUTH_MODE=private_network_shared_secret"
#define PROD_TLS "RELAY_TLS: off in mode prod"
#define PROD_KEY "RELAY_INTERNAL_KEY: missing, short or a placeholder in mode prod"
#define PROD_MTLS "RELAY_SERVER_MTLS: off in mode prod"
#define PROD_VERIFY "RELAY_SERVER_TLS_VERIFY: not 1 in mode prod"
#define CLIENT_FILES "RELAY_SERVER_CLIENT_CERT_PATH=/c;RELAY_SERVER_CLIENT_KEY_PATH=/k"

static void test_rule_prod(void **state)
{
    static const struct problem_case cases[] = {
        {PROD, NULL, PROD_TLS "|" PROD_KEY "|" PROD_MTLS "|" PROD_VERIFY, NULL},
        {PROD ";RELAY_TLS_TERMINATION=platform;" GOOD_KEY ";" SHARED, NULL, NULL, NULL},
        {PROD ";RELAY_TLS=1;" CERTS ";" GOOD_KEY ";" SHARED, "/c;/k", NULL, NULL},
        {PROD ";RELAY_TLS_TERMINATION=platform;" SHARED
              ";RELAY_INTERNAL_KEY=0123456789abcdef0123456",
            NULL, PROD_KEY, NULL},
        {PROD ";RELAY_TLS_TERMINATION=platform;" SHARED
              ";RELAY_INTERNAL_KEY=please-Change-Me-0123456789",
            NULL, PROD_KEY, NULL},
        {PROD ";RELAY_TLS_TERMINATION=platform;" SHARED
              ";RELAY_INTERNAL_KEY=placeholder-0123456789abcdef",
            NULL, PROD_KEY, NULL},
        {PROD ";RELAY_TLS_TERMINATION=platform;" SHARED
              ";RELAY_INTERNAL_KEY=an-example-0123456789abcdef",
            NULL, PROD_KEY, NULL},
        {PROD ";RELAY_TLS_TERMINATION=platform;" GOOD_KEY ";" CLIENT_FILES
              ";RELAY_SERVER_TLS_VERIFY=1",
            "/c;/k", NULL, NULL},
        {PROD ";RELAY_TLS_TERMINATION=platform;" GOOD_KEY ";" CLIENT_FILES, "/c;/k", PROD_VERIFY,
            NULL},
        {PROD ";RELAY_TLS_TERMINATION=platform;" GOOD_KEY ";RELAY_SERVER_TLS_VERIFY=1", NULL,
            PROD_MTLS, NULL},
        {"RELAY_BACKPLANE_MODE=single;RELAY_MODE=prod;RELAY_TLS_TERMINATION=platform;" GOOD_KEY
         ";" SHARED ";SERVER_URL=https://p.test",
            NULL, "SERVER_URL: \"https://p.test\" is local in mode prod", NULL},
        {"RELAY_MODE=staging;HOST=0.0.0.0;SERVER_URL=https://p.example", NULL, NULL, NULL},
        // A prod that nobody asked for refuses nothing, unless the reference is to be followed.
        {"HOST=0.0.0.0;SERVER_URL=https://p.example", NULL, NULL, NULL},
        {"HOST=0.0.0.0;SERVER_URL=https://p.example;RELAY_COMPAT=reference", NULL,
            PROD_TLS "|" PROD_KEY "|" PROD_MTLS "|" PROD_VERIFY, NULL},
    };
    (void)state;
    CHECK_PROBLEMS(cases);
}

// ---- Rules: what they decide

static void test_security_mode(void **state)
{
    static const struct {
        const char *variables;
        enum security_mode mode;
    } cases[] = {
        {"HOST=0.0.0.0", SECURITY_MODE_DEV},
        {"HOST=127.0.0.1;SERVER_URL=https://p.example", SECURITY_MODE_DEV},
        {"HOST=0.0.0.0;SERVER_URL=https://p.example", SECURITY_MODE_PROD},
        {"HOST=0.0.0.0;RELAY_VALIDATE_URL=https://p.example/v", SECURITY_MODE_PROD},
        {"HOST=0.0.0.0;RELAY_PUBLIC_WS_BASE_URL=wss://r.example/ws", SECURITY_MODE_PROD},
        {"HOST=0.0.0.0;SERVER_URL=https://p.test", SECURITY_MODE_DEV},
        {"HOST=0.0.0.0;RELAY_VALIDATE_URL=https://[::1]/v", SECURITY_MODE_DEV},
        {"HOST=0.0.0.0;RELAY_PUBLIC_WS_BASE_URL=wss://r.test/ws;SERVER_URL=https://p.example",
            SECURITY_MODE_DEV},
        {"RELAY_MODE=PROD", SECURITY_MODE_PROD},
        {"RELAY_MODE=staging", SECURITY_MODE_STAGING},
        {"RELAY_MODE=dev;HOST=0.0.0.0;SERVER_URL=https://p.example", SECURITY_MODE_DEV},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fixture fixture;
        print_message("%s\n", cases[i].variables);
        load(&fixture, cases[i].variables, NULL);
        assert_int_equal(fixture.config.security_mode, cases[i].mode);
        assert_int_equal(
            fixture.config.state_include_client_ids, cases[i].mode == SECURITY_MODE_DEV);
        unload(&fixture);
    }
    assert_string_equal(security_mode_name(SECURITY_MODE_DEV), "dev");
    assert_string_equal(security_mode_name(SECURITY_MODE_STAGING), "staging");
    assert_string_equal(security_mode_name(SECURITY_MODE_PROD), "prod");
}

static void test_platform(void **state)
{
#define DEFAULT_PATH "/api/runtime/internal/relay/validate"
#define DIFFER                                                                                     \
    "RELAY_VALIDATE_URL and SERVER_URL are both set and name different addresses; "                \
    "admission asks the one of "
    static const struct {
        const char *variables, *origin, *admission;
        bool verify;
        const char *warnings;
    } cases[] = {
        {"SERVER_URL=https://p.example:8443/some/path?x", "https://p.example:8443",
            "https://p.example:8443" DEFAULT_PATH, true, NULL},
        {"RELAY_VALIDATE_URL=http://p.example/v?x=1", "http://p.example", "http://p.example/v?x=1",
            true, NULL},
        {"RELAY_VALIDATE_URL=https://a.example/v;SERVER_URL=https://b.example", "https://b.example",
            "https://a.example/v", true, DIFFER "RELAY_VALIDATE_URL"},
        {"RELAY_VALIDATE_URL=https://a.example/v;SERVER_URL=https://b.example;"
         "RELAY_COMPAT=reference",
            "https://b.example", "https://b.example" DEFAULT_PATH, true, DIFFER "SERVER_URL"},
        {"RELAY_VALIDATE_URL=https://a.example/v;RELAY_COMPAT=reference", "https://a.example",
            "https://a.example/v", true, NULL},
        {"RELAY_VALIDATE_URL=https://a.example" DEFAULT_PATH ";SERVER_URL=https://a.example/",
            "https://a.example", "https://a.example" DEFAULT_PATH, true, NULL},
        // Certificates go unchecked only when nothing but hosts for trying things out are asked.
        {"SERVER_URL=https://localhost:1", "https://localhost:1",
            "https://localhost:1" DEFAULT_PATH, false, NULL},
        {"SERVER_URL=https://p.test", "https://p.test", "https://p.test" DEFAULT_PATH, false, NULL},
        {"SERVER_URL=http://p.test", "http://p.test", "http://p.test" DEFAULT_PATH, true, NULL},
        {"SERVER_URL=https://127.0.0.1", "https://127.0.0.1", "https://127.0.0.1" DEFAULT_PATH,
            true, NULL},
        {"SERVER_URL=https://p.test;RELAY_SERVER_TLS_VERIFY=1", "https://p.test",
            "https://p.test" DEFAULT_PATH, true, NULL},
        {"SERVER_URL=https://p.example;RELAY_SERVER_TLS_VERIFY=0", "https://p.example",
            "https://p.example" DEFAULT_PATH, false, NULL},
        {"SERVER_URL=https://p.test;RELAY_VALIDATE_URL=https://p.example/v", "https://p.test",
            "https://p.example/v", true, DIFFER "RELAY_VALIDATE_URL"},
        {"SERVER_URL=https://p.test;RELAY_JWKS_URL=https://p.example/keys", "https://p.test",
            "https://p.test" DEFAULT_PATH, true, NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fixture fixture;
        print_message("%s\n", cases[i].variables);
        load(&fixture, cases[i].variables, NULL);
        assert_lines(&fixture.problems.errors, NULL);
        assert_lines(&fixture.problems.warnings, cases[i].warnings);
        assert_string_equal(fixture.config.platform_origin, cases[i].origin);
        assert_string_equal(fixture.config.admission_url, cases[i].admission);
        assert_int_equal(fixture.config.server_tls_verify, cases[i].verify);
        unload(&fixture);
    }
}

static void test_public_url_and_id(void **state)
{
    static const struct {
        const char *variables, *url, *id;
    } cases[] = {
        {"", "wss://relay.getviewport.com/ws", "127.0.0.1:7781:0123456789ab"},
        {"PORT=9000;HOST=::1", "ws://relay.getviewport.com:9000/ws", "::1:9000:0123456789ab"},
        {"RELAY_TLS_HOST=r.example;RELAY_TLS=1;" CERTS, "wss://r.example:7781/ws",
            "127.0.0.1:7781:0123456789ab"},
        {"RELAY_TLS_HOST=r.example", "ws://r.example:7781/ws", "127.0.0.1:7781:0123456789ab"},
        {"RELAY_PUBLIC_WS_BASE_URL=wss://x.example/y;RELAY_ID=relay-1", "wss://x.example/y",
            "relay-1"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fixture fixture;
        load(&fixture, cases[i].variables, "/c;/k");
        assert_string_equal(fixture.config.public_ws_base_url, cases[i].url);
        assert_string_equal(fixture.config.relay_id, cases[i].id);
        assert_lines(&fixture.problems.errors, NULL);
        unload(&fixture);
    }
}

// Port 0: the kernel's choice is what others must know.
static void test_chosen_port(void **state)
{
    struct fixture fixture;
    (void)state;
    load(&fixture, "HOST=127.0.0.1;RELAY_TLS_HOST=edge.test;PORT=0", NULL);
    char random[13];
    snprintf(random, sizeof random, "%s", strrchr(fixture.config.relay_id, ':') + 1);
    assert_int_equal(relay_config_use_port(&fixture.config, 40123), WEIR_OK);
    char id[64];
    snprintf(id, sizeof id, "127.0.0.1:40123:%s", random);
    assert_string_equal(fixture.config.relay_id, id);
    assert_string_equal(fixture.config.public_ws_base_url, "ws://edge.test:40123/ws");
    unload(&fixture);
    load(&fixture, "PORT=0;RELAY_ID=own;RELAY_PUBLIC_WS_BASE_URL=wss://own.test:1/ws", NULL);
    assert_int_equal(relay_config_use_port(&fixture.config, 40123), WEIR_OK);
    assert_string_equal(fixture.config.relay_id, "own");
    assert_string_equal(fixture.config.public_ws_base_url, "wss://own.test:1/ws");
    unload(&fixture);
}

static void test_other_relays(void **state)
{
    static const struct {
        const char *variables;
        bool presence, bus, redirect;
    } cases[] = {
        {"RELAY_PRESENCE_SYNC_ENABLED=1;RELAY_BUS_ENABLED=1;RELAY_CLIENT_REDIRECT_ENABLED=1;"
         "RELAY_BACKPLANE_MODE=single",
            false, false, false},
        {"RELAY_BACKPLANE_MODE=redis", true, true, false},
        {"RELAY_BACKPLANE_MODE=redis;RELAY_COMPAT=reference", true, false, true},
        {"RELAY_BACKPLANE_MODE=server", true, false, false}, // no key to sign with
        {"RELAY_BACKPLANE_MODE=server;RELAY_BUS_HMAC_KEY=h", true, true, false},
        {"RELAY_BACKPLANE_MODE=redis;RELAY_PRESENCE_SYNC_ENABLED=0;RELAY_BUS_ENABLED=0;"
         "RELAY_CLIENT_REDIRECT_ENABLED=1",
            false, false, true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fixture fixture;
        load(&fixture, cases[i].variables, NULL);
        assert_int_equal(fixture.config.presence_sync_enabled, cases[i].presence);
        assert_int_equal(fixture.config.bus_enabled, cases[i].bus);
        assert_int_equal(fixture.config.client_redirect_enabled, cases[i].redirect);
        unload(&fixture);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rule_files),
        cmocka_unit_test(test_rule_hosts),
        cmocka_unit_test(test_rule_backplane),
        cmocka_unit_test(test_rule_prod),
        cmocka_unit_test(test_security_mode),
        cmocka_unit_test(test_platform),
        cmocka_unit_test(test_public_url_and_id),
        cmocka_unit_test(test_chosen_port),
        cmocka_unit_test(test_other_relays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
