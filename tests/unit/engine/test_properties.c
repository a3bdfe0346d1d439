// SPDX-License-Identifier: Apache-2.0
// Spec sections 1.5, 5.1, 5.3 and 5.5, row by row.
#include "engine/control/properties.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <openssl/ssl.h>
#include <stdio.h>

#include "base/mem.h"

#define TEXT(literal)                                                                              \
    {                                                                                              \
        (literal), sizeof(literal) - 1                                                             \
    }
#define LIST(name, ...) static const struct slice name[] = {__VA_ARGS__}
#define OF(name)                                                                                   \
    {                                                                                              \
        name, sizeof(name) / sizeof(name)[0]                                                       \
    }

static const struct tunnel_rules plain = {
    .host = "edge.example.com", .public_port = 18443, .labels_max = 64};
static const struct tunnel_rules extended = {.host = "edge.example.com",
    .public_port = 443,
    .labels_max = 64,
    .trusted_ips = true,
    .token_auth = true,
    .tcp_port_min = 20000,
    .tcp_port_max = 20009,
    .tcp_port_free = 20004};
static const struct tunnel_owner owner = {
    .client_id = "c1", .identity = "i1", .user_id = TEXT("u1"), .worker = 1, .channel = 7};

LIST(networks, TEXT("10.0.0.0/8"), TEXT("2001:db8::1"));
LIST(bad_networks, TEXT("10.0.0.0/8"), TEXT("nowhere"));
LIST(places, TEXT("CH"));
LIST(alpns, TEXT("h2"), TEXT("my-protocol"));
LIST(agent_alpn, TEXT("h2"), TEXT("rstrm/1"));
LIST(empty_alpn, TEXT(""));
LIST(suites, TEXT("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"), TEXT("TLS_AES_128_GCM_SHA256"),
    TEXT("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"));
LIST(suites_13, TEXT("TLS_AES_128_GCM_SHA256"));
LIST(null_suite, TEXT("TLS_RSA_WITH_NULL_SHA256"));
LIST(openssl_suite, TEXT("ECDHE-RSA-AES128-GCM-SHA256"));
static const struct rstrm_label managed[] = {
    {TEXT("rstream.managed-by"), TEXT("run")}, {TEXT("rstream.source"), TEXT("apply")}};
static const struct rstrm_label terminal[] = {{TEXT("rstream.webtty"), TEXT("1")}};
static const struct rstrm_label control[] = {{TEXT("a"), TEXT("b\n")}};
static const struct rstrm_label nameless[] = {{TEXT(""), TEXT("b")}};

static struct tunnel *accept_asked(const struct rstrm_tunnel_properties *asked,
    const struct tunnel_rules *rules, struct tunnel_refusal *refusal)
{
    struct tunnel *tunnel = properties_accept(asked, rules, &owner, refusal);
    assert_int_equal(tunnel == NULL, refusal->code != RSTRM_CODE_UNSPECIFIED);
    assert_int_equal(tunnel == NULL, refusal->message[0] != '\0');
    return tunnel;
}

struct refused_row {
    struct rstrm_tunnel_properties asked;
    int code; // 0: fine
    const char *names;
};

static void expect_rows(
    const struct refused_row *rows, size_t count, const struct tunnel_rules *rules)
{
    for (size_t i = 0; i < count; i++) {
        struct tunnel_refusal refusal;
        struct tunnel *tunnel = accept_asked(&rows[i].asked, rules, &refusal);
        print_message("row %zu: %d %s\n", i, refusal.code, refusal.message);
        assert_int_equal(refusal.code, rows[i].code);
        if (rows[i].names != NULL) {
            assert_non_null(strstr(refusal.message, rows[i].names));
        }
        tunnel_unref(tunnel);
    }
}

#define EXPECT(rows, rules) expect_rows(rows, sizeof rows / sizeof rows[0], rules)

// Spec section 1.5: every row, and an explicit false of it.
static void test_scope_of_the_community_edition(void **state)
{
    static const struct refused_row rows[] = {
        {{.type = TEXT("datagram")}, 5000, "type=datagram"},
        {{.protocol = TEXT("dtls")}, 5000, "protocol=dtls"},
        {{.protocol = TEXT("quic")}, 5000, "protocol=quic"},
        {{.http_version = TEXT("h3")}, 5000, "http_version=h3"},
        {{.datagram_guaranteed_delivery = RSTRM_TRUE}, 5000, "datagram_guaranteed_delivery"},
        {{.protocol = TEXT("tcp")}, 5000, "protocol=tcp"},
        {{.rstream_auth = RSTRM_TRUE}, 5000, "rstream_auth"},
        {{.token_auth = RSTRM_TRUE}, 5000, "token_auth"},
        {{.challenge_mode = RSTRM_TRUE}, 5000, "challenge_mode"},
        {{.geoip = OF(places)}, 5000, "geoip"},
        {{.trusted_ips = OF(networks)}, 5000, "trusted_ips"},
        {{.trusted_ips = OF(bad_networks)}, 5000, "trusted_ips"},
        {{.mtls_auth = RSTRM_TRUE}, 5000, "mtls_auth"},
        {{.mtls_cacert_pem = TEXT("-----BEGIN")}, 5000, "mtls_cacert_pem"},
        {{.protocol = TEXT("webtty")}, 5000, "protocol=webtty"},
        {{.labels = OF(terminal)}, 5000, "webtty"},
        {{.allow_cross_region_routing = RSTRM_TRUE}, 5000, "allow_cross_region_routing"},
        {{.datagram_guaranteed_delivery = RSTRM_FALSE,
             .rstream_auth = RSTRM_FALSE,
             .token_auth = RSTRM_FALSE,
             .challenge_mode = RSTRM_FALSE,
             .mtls_auth = RSTRM_FALSE,
             .http_use_tls = RSTRM_FALSE,
             .upstream_tls = RSTRM_FALSE,
             .allow_cross_region_routing = RSTRM_FALSE},
            0, NULL},
        {{.mtls_cacert_pem = TEXT(""), .labels = OF(managed)}, 0, NULL},
        // Syntax comes first, combinations come later.
        {{.type = TEXT("datagram"), .http_version = TEXT("h4")}, 2000, "http_version"},
        {{.protocol = TEXT("tcp"), .hostname = TEXT("a"), .token_auth = RSTRM_TRUE}, 5000, "tcp"},
        {{.publish = RSTRM_FALSE, .hostname = TEXT("a"), .token_auth = RSTRM_TRUE}, 5000, "token"},
    };
    (void)state;
    EXPECT(rows, &plain);
}

static void test_syntax(void **state)
{
    static const struct refused_row rows[] = {
        {{.type = TEXT("stream")}, 2000, "type"},
        {{.type = TEXT("Bytestream")}, 2000, "type"},
        {{.protocol = TEXT("udp")}, 2000, "protocol"},
        {{.http_version = TEXT("1.1")}, 2000, "http_version"},
        {{.tls_mode = TEXT("none")}, 2000, "tls_mode"},
        {{.tls_min_version = TEXT("tls1.1")}, 2000, "tls_min_version"},
        {{.has_port = true, .port = 65536}, 2000, "port"},
        {{.name = TEXT("a b")}, 2000, "name"},
        {{.name = TEXT("a/b")}, 2000, "name"},
        {{.name = TEXT("b\xc3\xa9")}, 2000, "name"},
        {{.name = TEXT("1a2b3c4d-0000-4000-8000-0123456789ab")}, 2000, "name"},
        {{.name = TEXT("1A2B3C4D-0000-4000-8000-0123456789AB")}, 2000, "name"},
        {{.name = TEXT("python-e2e-3f0000-4000-8000-0123456789")}, 0, NULL},
        {{.name = TEXT("A.b_c-9")}, 0, NULL},
        {{.labels = OF(control)}, 2000, "labels"},
        {{.labels = OF(nameless)}, 2000, "labels"},
        {{.protocol = TEXT("tls"), .tls_alpns = OF(agent_alpn)}, 2000, "rstrm/1"},
        {{.protocol = TEXT("tls"), .tls_alpns = OF(empty_alpn)}, 2000, "tls_alpns"},
        {{.tls_ciphers = OF(null_suite)}, 2000, "tls_ciphers"},
        {{.tls_ciphers = OF(openssl_suite)}, 2000, "tls_ciphers"},
        // An empty text asks for nothing.
        {{.type = TEXT(""),
             .protocol = TEXT(""),
             .http_version = TEXT(""),
             .tls_mode = TEXT(""),
             .tls_min_version = TEXT(""),
             .name = TEXT(""),
             .hostname = TEXT("")},
            0, NULL},
        {{.id = TEXT("x y"), .host = TEXT("not.ours")}, 0, NULL},
        {{.has_port = true, .port = 0}, 0, NULL},
    };
    (void)state;
    EXPECT(rows, &plain);
}

// Spec section 5.3: what each shape may carry, and each thing it may not.
static void test_combinations(void **state)
{
#define PRIVATE .publish = RSTRM_FALSE
#define HTTP .protocol = TEXT("http")
#define TLS .protocol = TEXT("tls")
#define PASS TLS, .tls_mode = TEXT("passthrough")
    static const struct refused_row rows[] = {
        {{PRIVATE, .name = TEXT("db"), .type = TEXT("bytestream"), .labels = OF(managed), HTTP}, 0,
            NULL},
        {{PRIVATE, .protocol = TEXT("tcp")}, 0, NULL}, // ignored
        {{PRIVATE, .hostname = TEXT("a")}, 2000, "hostname"},
        {{PRIVATE, .has_port = true, .port = 18443}, 2000, "port"},
        {{PRIVATE, .tls_mode = TEXT("terminated")}, 2000, "tls_mode"},
        {{PRIVATE, .tls_mode = TEXT("passthrough")}, 2000, "tls_mode"},
        {{PRIVATE, .tls_alpns = OF(alpns)}, 2000, "tls_alpns"},
        {{PRIVATE, .tls_min_version = TEXT("tls1.2")}, 2000, "tls_min_version"},
        {{PRIVATE, .tls_ciphers = OF(suites)}, 2000, "tls_ciphers"},
        {{PRIVATE, .http_version = TEXT("http/1.1")}, 2000, "http_version"},
        {{PRIVATE, .upstream_tls = RSTRM_TRUE}, 2000, "upstream_tls"},
        {{PRIVATE, .http_use_tls = RSTRM_TRUE}, 2000, "http_use_tls"},
        {{PRIVATE, .upstream_tls = RSTRM_FALSE, .http_use_tls = RSTRM_FALSE}, 0, NULL},

        {{HTTP, .name = TEXT("web"), .labels = OF(managed), .hostname = TEXT("a"),
             .http_version = TEXT("h2c"), .tls_min_version = TEXT("tls1.3"),
             .tls_ciphers = OF(suites), .tls_mode = TEXT("terminated")},
            0, NULL},
        {{HTTP, .upstream_tls = RSTRM_TRUE, .http_use_tls = RSTRM_TRUE}, 0, NULL},
        {{HTTP, .has_port = true, .port = 18443}, 0, NULL},
        {{HTTP, .has_port = true, .port = 443}, 2000, "18443"},
        {{HTTP, .tls_mode = TEXT("passthrough")}, 2000, "passthrough"},
        {{HTTP, .tls_alpns = OF(alpns)}, 2000, "tls_alpns"},
        {{HTTP, .http_use_tls = RSTRM_TRUE, .upstream_tls = RSTRM_FALSE}, 2000, "contradict"},
        {{HTTP, .http_use_tls = RSTRM_FALSE, .upstream_tls = RSTRM_TRUE}, 2000, "contradict"},
        {{HTTP, .upstream_tls = RSTRM_TRUE, .http_version = TEXT("h2c")}, 2000, "h2c"},
        {{HTTP, .http_use_tls = RSTRM_TRUE, .http_version = TEXT("h2c")}, 2000, "h2c"},
        {{HTTP, .upstream_tls = RSTRM_TRUE, .http_version = TEXT("http/1.1")}, 0, NULL},
        {{HTTP, .upstream_tls = RSTRM_FALSE, .http_version = TEXT("h2c")}, 0, NULL},

        {{TLS, .name = TEXT("x"), .labels = OF(managed), .hostname = TEXT("a"),
             .tls_alpns = OF(alpns), .tls_min_version = TEXT("tls1.2"), .tls_ciphers = OF(suites),
             .upstream_tls = RSTRM_TRUE},
            0, NULL},
        {{TLS, .http_version = TEXT("http/1.1")}, 2000, "http_version"},
        {{TLS, .has_port = true, .port = 18443}, 2000, "port"},
        {{TLS, .http_use_tls = RSTRM_TRUE}, 2000, "http_use_tls"},

        {{PASS, .name = TEXT("x"), .labels = OF(managed), .hostname = TEXT("a")}, 0, NULL},
        {{PASS, .tls_min_version = TEXT("tls1.2")}, 2000, "tls_min_version"},
        {{PASS, .tls_alpns = OF(alpns)}, 2000, "tls_alpns"},
        {{PASS, .tls_ciphers = OF(suites)}, 2000, "tls_ciphers"},
        {{PASS, .mtls_auth = RSTRM_TRUE}, 5000, "mtls_auth"},
        {{PASS, .upstream_tls = RSTRM_TRUE}, 2000, "upstream_tls"},
        {{PASS, .http_version = TEXT("h2c")}, 2000, "http_version"},
        {{PASS, .has_port = true, .port = 18443}, 2000, "port"},

        {{.hostname = TEXT("a.b")}, 2000, "<label>.t.edge.example.com"},
    };
    (void)state;
    EXPECT(rows, &plain);
}

static void test_extensions(void **state)
{
    static const struct refused_row rows[] = {
        {{.trusted_ips = OF(networks), .token_auth = RSTRM_TRUE}, 0, NULL},
        {{.trusted_ips = OF(bad_networks)}, 2000, "trusted_ips: number 2"},
        {{TLS, .trusted_ips = OF(networks)}, 0, NULL},
        {{PASS, .trusted_ips = OF(networks)}, 0, NULL},
        {{TLS, .token_auth = RSTRM_TRUE}, 2000, "token_auth"},
        {{PRIVATE, .trusted_ips = OF(networks)}, 2000, "trusted_ips"},
        {{PRIVATE, .token_auth = RSTRM_TRUE}, 2000, "token_auth"},
        {{.protocol = TEXT("tcp")}, 0, NULL},
        {{.protocol = TEXT("tcp"), .has_port = true, .port = 20009}, 0, NULL},
        {{.protocol = TEXT("tcp"), .has_port = true, .port = 20010}, 2000, "20000 to 20009"},
        {{.protocol = TEXT("tcp"), .has_port = true, .port = 443}, 2000, "20000 to 20009"},
        {{.protocol = TEXT("tcp"), .hostname = TEXT("a")}, 2000, "hostname"},
        {{.protocol = TEXT("tcp"), .tls_mode = TEXT("terminated")}, 2000, "tls_mode"},
        {{.protocol = TEXT("tcp"), .upstream_tls = RSTRM_TRUE}, 2000, "upstream_tls"},
        {{.protocol = TEXT("tcp"), .token_auth = RSTRM_TRUE}, 2000, "token_auth"},
        {{.mtls_auth = RSTRM_TRUE}, 5000, "mtls_auth"},
        {{.geoip = OF(places)}, 5000, "geoip"},
    };
    (void)state;
    EXPECT(rows, &extended);
    struct tunnel_rules full = extended;
    full.tcp_port_free = 0;
    static const struct refused_row none_left[] = {{{.protocol = TEXT("tcp")}, 7000, "port"}};
    EXPECT(none_left, &full);
}

static void test_sizes(void **state)
{
    (void)state;
    static char long_text[300];
    static char keys[65][8];
    struct rstrm_label labels[65];
    struct slice items[65];
    struct tunnel_refusal refusal;
    memset(long_text, 'a', sizeof long_text);
    for (size_t i = 0; i < 65; i++) {
        snprintf(keys[i], sizeof keys[i], "k%zu", i);
        labels[i] = (struct rstrm_label){slice_str(keys[i]), SLICE("v")};
        items[i] = slice_str(keys[i]);
    }
    const struct {
        struct rstrm_tunnel_properties asked;
        int code;
    } rows[] = {
        {{.labels = {labels, 64}}, 0},
        {{.labels = {labels, 65}}, 7000},
        {{.labels = {&(struct rstrm_label){slice_of(long_text, 128), slice_of(long_text, 256)}, 1}},
            0},
        {{.labels = {&(struct rstrm_label){slice_of(long_text, 129), SLICE("")}, 1}}, 7000},
        {{.labels = {&(struct rstrm_label){SLICE("a"), slice_of(long_text, 257)}, 1}}, 7000},
        {{TLS, .tls_alpns = {items, 16}}, 0},
        {{TLS, .tls_alpns = {items, 17}}, 7000},
        {{TLS, .tls_alpns = {&(struct slice){long_text, 255}, 1}}, 0},
        {{TLS, .tls_alpns = {&(struct slice){long_text, 256}, 1}}, 2000},
        {{.name = {long_text, 128}}, 0},
        {{.name = {long_text, 129}}, 2000},
        // Sizes are looked at last.
        {{PRIVATE, .hostname = TEXT("a"), .labels = {labels, 65}}, 2000},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tunnel *tunnel = accept_asked(&rows[i].asked, &plain, &refusal);
        print_message("row %zu: %s\n", i, refusal.message);
        assert_int_equal(refusal.code, rows[i].code);
        tunnel_unref(tunnel);
    }
}

// ---- What comes back.

static void expect_text(struct slice text, const char *wanted)
{
    if (wanted == NULL) {
        assert_null(text.at); // absent, not empty
        return;
    }
    assert_non_null(text.at);
    assert_int_equal(text.len, strlen(wanted));
    assert_memory_equal(text.at, wanted, text.len);
}

static bool json_has(const struct tunnel *tunnel, const char *text)
{
    char *json = mem_copy(tunnel->json.at, tunnel->json.len);
    bool has = strstr(json, text) != NULL;
    if (!has) {
        print_message("%s\n", json);
    }
    mem_free(json);
    return has;
}

static void test_defaults(void **state)
{
    (void)state;
    struct tunnel_refusal refusal;
    struct tunnel *tunnel = accept_asked(&(struct rstrm_tunnel_properties){0}, &plain, &refusal);
    const struct rstrm_tunnel_properties *answer = &tunnel->properties;
    assert_int_equal(answer->id.len, 36);
    assert_int_equal(answer->id.at[14], '4');
    assert_non_null(answer->creation_date);
    expect_text(answer->name, NULL);
    expect_text(answer->type, "bytestream");
    expect_text(answer->protocol, "http");
    expect_text(answer->http_version, "http/1.1");
    expect_text(answer->tls_mode, NULL);
    expect_text(answer->tls_min_version, NULL);
    assert_int_equal(answer->publish, RSTRM_TRUE);
    assert_int_equal(answer->upstream_tls, RSTRM_FALSE);
    assert_int_equal(answer->http_use_tls, RSTRM_FALSE);
    assert_int_equal(answer->token_auth, RSTRM_ABSENT);
    assert_true(answer->has_port && answer->port == 18443);
    assert_int_equal(answer->hostname.len, strlen("r12345678.t.edge.example.com"));
    assert_true(slice_eq(answer->hostname, answer->host));
    assert_true(tunnel->host_generated);
    assert_int_equal(tunnel->tls_version_min, TLS1_2_VERSION);
    assert_int_equal(tunnel->worker, 1);
    assert_int_equal(tunnel->channel, 7);
    assert_true(
        json_has(tunnel, "\"client_id\":\"c1\",\"status\":\"online\",\"creation_date\":\"2"));
    assert_true(json_has(tunnel, "\"port\":18443"));
    assert_true(json_has(tunnel, "\"user_id\":\"u1\""));
    tunnel_unref(tunnel);
}

static void test_private(void **state)
{
    (void)state;
    struct tunnel_refusal refusal;
    struct tunnel *tunnel = accept_asked(
        &(struct rstrm_tunnel_properties){PRIVATE, HTTP, .name = TEXT("db"), .labels = OF(managed)},
        &plain, &refusal);
    const struct rstrm_tunnel_properties *answer = &tunnel->properties;
    expect_text(answer->name, "db");
    expect_text(answer->type, "bytestream");
    expect_text(answer->protocol, NULL);
    expect_text(answer->hostname, NULL);
    expect_text(answer->host, NULL);
    expect_text(answer->http_version, NULL);
    assert_false(answer->has_port);
    assert_int_equal(answer->publish, RSTRM_FALSE);
    assert_int_equal(answer->upstream_tls, RSTRM_ABSENT);
    assert_int_equal(tunnel->protocol, TUNNEL_PRIVATE);
    assert_true(json_has(
        tunnel, "\"labels\":{\"rstream.managed-by\":\"run\",\"rstream.source\":\"apply\"}"));
    assert_true(json_has(tunnel, "\"publish\":false"));
    tunnel_unref(tunnel);
}

static void test_tls(void **state)
{
    (void)state;
    struct tunnel_refusal refusal;
    struct tunnel *tunnel = accept_asked(
        &(struct rstrm_tunnel_properties){TLS, .hostname = TEXT("demo.t.edge.example.com."),
            .tls_alpns = OF(alpns), .tls_ciphers = OF(suites), .tls_min_version = TEXT("tls1.2"),
            .upstream_tls = RSTRM_TRUE},
        &plain, &refusal);
    const struct rstrm_tunnel_properties *answer = &tunnel->properties;
    expect_text(answer->tls_mode, "terminated");
    expect_text(answer->tls_min_version, "tls1.2");
    expect_text(answer->hostname, "demo.t.edge.example.com");
    expect_text(answer->http_version, NULL);
    assert_int_equal(answer->upstream_tls, RSTRM_TRUE);
    assert_int_equal(answer->http_use_tls, RSTRM_ABSENT);
    assert_int_equal(answer->tls_alpns.count, 2);
    assert_int_equal(answer->tls_ciphers.count, 3);
    assert_true(slice_eq(tunnel->alpns, SLICE("\x02h2\x0bmy-protocol")));
    assert_string_equal(
        tunnel->tls_ciphers, "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305");
    assert_true(tunnel->upstream_tls && !tunnel->passthrough && !tunnel->host_generated);
    assert_true(json_has(tunnel, "\"tls_alpns\":[\"h2\",\"my-protocol\"]"));
    tunnel_unref(tunnel);

    tunnel = accept_asked(
        &(struct rstrm_tunnel_properties){TLS, .tls_ciphers = OF(suites_13)}, &plain, &refusal);
    assert_null(tunnel->tls_ciphers);
    assert_int_equal(tunnel->tls_version_min, TLS1_3_VERSION);
    tunnel_unref(tunnel);

    tunnel = accept_asked(&(struct rstrm_tunnel_properties){PASS}, &plain, &refusal);
    expect_text(tunnel->properties.tls_mode, "passthrough");
    assert_int_equal(tunnel->properties.upstream_tls, RSTRM_ABSENT);
    assert_true(tunnel->passthrough);
    tunnel_unref(tunnel);
}

static void test_upstream_version(void **state)
{
    static const struct {
        struct rstrm_tunnel_properties asked;
        enum tunnel_upstream upstream;
        const char *answer;
        bool tls;
    } rows[] = {
        {{.type = TEXT("bytestream")}, TUNNEL_UPSTREAM_HTTP1, "http/1.1", false},
        {{.http_version = TEXT("http/1.1")}, TUNNEL_UPSTREAM_HTTP1, "http/1.1", false},
        {{.http_version = TEXT("h2c")}, TUNNEL_UPSTREAM_H2C, "h2c", false},
        {{.upstream_tls = RSTRM_TRUE}, TUNNEL_UPSTREAM_NEGOTIATED, NULL, true},
        {{.http_use_tls = RSTRM_TRUE}, TUNNEL_UPSTREAM_NEGOTIATED, NULL, true},
        {{.http_use_tls = RSTRM_TRUE, .http_version = TEXT("http/1.1")}, TUNNEL_UPSTREAM_HTTP1,
            "http/1.1", true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tunnel_refusal refusal;
        struct tunnel *tunnel = accept_asked(&rows[i].asked, &plain, &refusal);
        assert_int_equal(tunnel->upstream, rows[i].upstream);
        assert_int_equal(tunnel->upstream_tls, rows[i].tls);
        expect_text(tunnel->properties.http_version, rows[i].answer);
        enum rstrm_switch wanted = rows[i].tls ? RSTRM_TRUE : RSTRM_FALSE;
        assert_int_equal(tunnel->properties.upstream_tls, wanted);
        assert_int_equal(tunnel->properties.http_use_tls, wanted);
        tunnel_unref(tunnel);
    }
}

static void test_what_extensions_give(void **state)
{
    (void)state;
    struct tunnel_refusal refusal;
    struct tunnel *tunnel = accept_asked(
        &(struct rstrm_tunnel_properties){.trusted_ips = OF(networks), .token_auth = RSTRM_TRUE},
        &extended, &refusal);
    assert_int_equal(tunnel->trusted_ips.count, 2);
    assert_int_equal(tunnel->trusted_ips.items[0].prefix_len, 104);
    assert_true(tunnel->token_auth);
    assert_int_equal(tunnel->properties.token_auth, RSTRM_TRUE);
    assert_true(json_has(tunnel, "\"trusted_ips\":[\"10.0.0.0/8\",\"2001:db8::1\"]"));
    tunnel_unref(tunnel);

    tunnel = accept_asked(
        &(struct rstrm_tunnel_properties){.protocol = TEXT("tcp")}, &extended, &refusal);
    assert_string_equal(tunnel->hostname, "edge.example.com");
    assert_int_equal(tunnel->properties.port, 20004);
    expect_text(tunnel->properties.protocol, "tcp");
    assert_int_equal(tunnel->protocol, TUNNEL_TCP);
    tunnel_unref(tunnel);
}

// The tunnel owes nothing to what it was made from.
static void test_nothing_is_borrowed(void **state)
{
    (void)state;
    struct tunnel_refusal refusal;
    char name[] = "db";
    char key[] = "k";
    char value[] = "v";
    struct rstrm_label label = {slice_str(key), slice_str(value)};
    struct rstrm_tunnel_properties asked = {.name = slice_str(name), .labels = {&label, 1}};
    struct tunnel *tunnel = accept_asked(&asked, &plain, &refusal);
    name[0] = key[0] = value[0] = 'X';
    memset(&asked, 0, sizeof asked);
    memset(&label, 0, sizeof label);
    expect_text(tunnel->properties.name, "db");
    expect_text(tunnel->properties.labels.at[0].key, "k");
    expect_text(tunnel->properties.labels.at[0].value, "v");
    tunnel_unref(tunnel);
}

static void test_what_it_says_can_be_sent(void **state)
{
    (void)state;
    struct tunnel_refusal refusal;
    struct tunnel *tunnel = accept_asked(
        &(struct rstrm_tunnel_properties){TLS, .tls_alpns = OF(alpns), .labels = OF(managed)},
        &plain, &refusal);
    struct buf frame = BUF_INIT(RSTRM_FRAME_MAX);
    struct rstrm_message message = {.kind = RSTRM_OPEN_TUNNEL_RSP,
        .open_tunnel_rsp = {.request_id = SLICE("r"), .tunnel_properties = &tunnel->properties}};
    assert_int_equal(rstrm_encode(&frame, &message), WEIR_OK);
    struct arena arena;
    arena_init(&arena, RSTRM_ARENA_BYTES_MAX);
    struct rstrm_message back;
    struct slice payload;
    assert_int_equal(rstrm_next_frame(buf_slice(&frame), &payload), WEIR_OK);
    assert_int_equal(rstrm_decode(payload, &arena, &back), WEIR_OK);
    const struct rstrm_tunnel_properties *read = back.open_tunnel_rsp.tunnel_properties;
    assert_true(slice_eq(read->id, slice_str(tunnel->id)));
    assert_int_equal(read->creation_date->seconds, (int64_t)(tunnel->created_ms / 1000));
    assert_int_equal(read->labels.count, 2);
    assert_null(read->http_version.at);
    arena_reset(&arena);
    buf_reset(&frame);
    tunnel_unref(tunnel);
}

static void test_every_allocation_fails_once(void **state)
{
    (void)state;
    const struct rstrm_tunnel_properties asked = {
        TLS, .tls_alpns = OF(alpns), .labels = OF(managed)};
    for (unsigned long nth = 1; nth < 100; nth++) {
        struct tunnel_refusal refusal;
        mem_fail_at(nth);
        struct tunnel *tunnel = accept_asked(&asked, &plain, &refusal);
        mem_fail_at(0);
        tunnel_unref(tunnel);
        if (tunnel != NULL) {
            assert_true(nth > 1);
            return;
        }
        assert_int_equal(refusal.code, 9000);
    }
    fail();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scope_of_the_community_edition),
        cmocka_unit_test(test_syntax),
        cmocka_unit_test(test_combinations),
        cmocka_unit_test(test_extensions),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_private),
        cmocka_unit_test(test_tls),
        cmocka_unit_test(test_upstream_version),
        cmocka_unit_test(test_what_extensions_give),
        cmocka_unit_test(test_nothing_is_borrowed),
        cmocka_unit_test(test_what_it_says_can_be_sent),
        cmocka_unit_test(test_every_allocation_fails_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
