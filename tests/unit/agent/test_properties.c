// SPDX-License-Identifier: Apache-2.0
#include "agent/internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

// Spec section 5.7.
static void addresses_for_people(void **state)
{
    static const struct {
        enum rstrm_switch publish;
        const char *protocol, *hostname, *host, *name;
        uint32_t port;
        const char *address;
    } rows[] = {
        {RSTRM_TRUE, "http", "a.t.e", "", "", 443, "https://a.t.e"},
        {RSTRM_TRUE, "http", "a.t.e", "", "", 0, "https://a.t.e"},
        {RSTRM_TRUE, "http", "a.t.e", "", "", 18443, "https://a.t.e:18443"},
        {RSTRM_ABSENT, "http", "a.t.e", "", "", 0, "https://a.t.e"},
        {RSTRM_TRUE, "http", "", "old.e", "", 0, "https://old.e"},
        {RSTRM_TRUE, "tls", "a.t.e", "", "", 443, "a.t.e:443 (tls)"},
        {RSTRM_TRUE, "tcp", "e", "", "", 5432, "e:5432 (tcp)"},
        {RSTRM_TRUE, "quic", "a.t.e", "", "", 443, "a.t.e"},
        {RSTRM_TRUE, "quic", "a.t.e", "", "", 444, "a.t.e:444"},
        {RSTRM_FALSE, "", "", "", "db", 0, "rstrm://db (unpublished)"},
        {RSTRM_FALSE, "", "", "", "", 0, "rstrm://the-id (unpublished)"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct tunnel_texts texts = {0};
        struct rstrm_tunnel_properties properties = {
            .id = SLICE("the-id"),
            .publish = rows[i].publish,
            .protocol = slice_str(rows[i].protocol),
            .hostname = slice_str(rows[i].hostname),
            .host = slice_str(rows[i].host),
            .name = slice_str(rows[i].name),
            .has_port = rows[i].port > 0,
            .port = rows[i].port,
        };
        assert_int_equal(tunnel_texts_of(&texts, &properties), WEIR_OK);
        assert_string_equal(texts.info.address, rows[i].address);
        arena_reset(&texts.arena);
    }
}

static void only_what_was_wished_is_sent(void **state)
{
    static const char *const alpns[] = {"h2", "other"};
    static const struct weir_tunnel_label labels[] = {{"k", "v"}};
    struct weir_tunnel_options options = {.name = "n",
        .publish = WEIR_TUNNEL_NO,
        .tls_alpns = alpns,
        .tls_alpn_count = 2,
        .labels = labels,
        .label_count = 1};
    struct tunnel_lists lists;
    struct rstrm_tunnel_properties sent;
    (void)state;
    tunnel_request(&options, &lists, &sent);
    assert_true(slice_eq(sent.name, SLICE("n")));
    assert_int_equal(sent.publish, RSTRM_FALSE);
    assert_null(sent.protocol.at);
    assert_int_equal(sent.upstream_tls, RSTRM_ABSENT);
    assert_false(sent.has_port);
    assert_int_equal(sent.tls_alpns.count, 2);
    assert_true(slice_eq(sent.tls_alpns.at[1], SLICE("other")));
    assert_true(slice_eq(sent.labels.at[0].value, SLICE("v")));
}

static void mistakes_are_named(void **state)
{
    static char long_text[2000];
    static const char *const holes[] = {"a", NULL};
    static const struct {
        struct weir_tunnel_options options;
        const char *word; // NULL: fine
    } rows[] = {
        {{.name = "fine"}, NULL},
        {{.name = long_text}, "name"},
        {{.hostname = "\xff"}, "hostname"},
        {{.port = 65536}, "port"},
        {{.geoip = holes, .geoip_count = 2}, "geoip"},
        {{.tls_alpn_count = 1}, "tls_alpns"},
        {{.label_count = 100000}, "labels"},
    };
    (void)state;
    memset(long_text, 'x', sizeof long_text - 1);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *mistake = tunnel_options_mistake(&rows[i].options);
        assert_int_equal(mistake == NULL, rows[i].word == NULL);
        if (mistake != NULL) {
            assert_non_null(strstr(mistake, rows[i].word));
        }
    }
}

static void what_cannot_be_a_token(void **state)
{
    (void)state;
    assert_true(text_is_sendable("a.b-c_d", 7));
    assert_false(text_is_sendable("a.b-c_d", 6));
    assert_false(text_is_sendable("", 10));
    assert_false(text_is_sendable("a b", 10));
    assert_false(text_is_sendable("a\n", 10));
    assert_false(text_is_sendable("\xc3", 10));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_for_people),
        cmocka_unit_test(only_what_was_wished_is_sent),
        cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(what_cannot_be_a_token),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
