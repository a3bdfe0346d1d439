// SPDX-License-Identifier: Apache-2.0
// The table of spec section 1.4, and the choice of a protocol behind each of its rows.
#include "engine/edge/decision.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "base/mem.h"

// Literals of RFC 7301 wire form: the length in octal, so that letters may follow.
#define H2 "\002h2"
#define HTTP1 "\010http/1.1"
#define RSTRM "\007rstrm/1"
#define FOO "\003foo"
#define BAR "\003bar"

static const struct tunnel http = {.protocol = TUNNEL_HTTP};
static const struct tunnel tls = {.protocol = TUNNEL_TLS};
static const struct tunnel foo_bar = {.protocol = TUNNEL_TLS, .alpns = {FOO BAR, 8}};
static const struct tunnel lists_rstrm = {.protocol = TUNNEL_TLS, .alpns = {RSTRM, 8}};
static const struct tunnel passthrough = {.protocol = TUNNEL_TLS, .passthrough = true};

static struct clienthello *hello_of(struct slice alpn, const char *name)
{
    struct clienthello *hello = mem_zalloc(sizeof *hello);
    assert_non_null(hello);
    hello->has_alpn = alpn.len > 0;
    hello->alpn_len = (uint16_t)alpn.len;
    memcpy(hello->alpn, alpn.at, alpn.len);
    hello->server_name_len = (uint8_t)strlen(name);
    memcpy(hello->server_name, name, strlen(name) + 1);
    return hello;
}

static void test_decisions(void **state)
{
    static const struct {
        struct slice alpn;
        const char *name;
        const struct tunnel *tunnel;
        enum decision decision;
    } rows[] = {
        {{RSTRM, 8}, "edge", NULL, DECIDED_AGENT},
        {{RSTRM, 8}, "", NULL, DECIDED_AGENT},
        {{RSTRM, 8}, "unknown", NULL, DECIDED_AGENT},
        {{RSTRM, 8}, "a", &http, DECIDED_AGENT},
        {{RSTRM, 8}, "a", &foo_bar, DECIDED_AGENT},
        {{RSTRM, 8}, "a", &passthrough, DECIDED_AGENT},
        {{RSTRM, 8}, "a", &lists_rstrm, DECIDED_TLS_TUNNEL},
        {{RSTRM H2, 11}, "edge", NULL, DECIDED_HTTP},
        {{H2 HTTP1, 12}, "edge", NULL, DECIDED_HTTP},
        {{HTTP1, 9}, "a", &http, DECIDED_HTTP},
        {{"", 0}, "a", &http, DECIDED_HTTP},
        {{"", 0}, "", NULL, DECIDED_HTTP},
        {{H2, 3}, "", NULL, DECIDED_HTTP},
        {{FOO, 4}, "unknown", NULL, DECIDED_HTTP},
        {{FOO, 4}, "", NULL, DECIDED_NO_NAME},
        {{RSTRM FOO, 12}, "", NULL, DECIDED_NO_NAME},
        {{FOO, 4}, "a", &tls, DECIDED_TLS_TUNNEL},
        {{H2, 3}, "a", &foo_bar, DECIDED_TLS_TUNNEL},
        {{"", 0}, "a", &foo_bar, DECIDED_TLS_TUNNEL},
        {{H2, 3}, "a", &passthrough, DECIDED_PASSTHROUGH},
        {{"", 0}, "a", &passthrough, DECIDED_PASSTHROUGH},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct clienthello *hello = hello_of(rows[i].alpn, rows[i].name);
        assert_int_equal(decide(hello, rows[i].tunnel), rows[i].decision);
        mem_free(hello);
    }
}

static void test_protocols(void **state)
{
    static const struct {
        enum decision decision;
        const struct tunnel *tunnel;
        struct slice offered;
        enum alpn_choice choice;
        const char *protocol;
    } rows[] = {
        {DECIDED_AGENT, NULL, {RSTRM, 8}, ALPN_SELECTED, "rstrm/1"},
        {DECIDED_HTTP, NULL, {HTTP1 H2, 12}, ALPN_SELECTED, "h2"},
        {DECIDED_HTTP, &http, {FOO HTTP1, 13}, ALPN_SELECTED, "http/1.1"},
        {DECIDED_HTTP, NULL, {FOO, 4}, ALPN_REFUSED, NULL},
        {DECIDED_TLS_TUNNEL, &tls, {H2, 3}, ALPN_NONE, NULL},
        {DECIDED_TLS_TUNNEL, &foo_bar, {BAR FOO, 8}, ALPN_SELECTED, "foo"},
        {DECIDED_TLS_TUNNEL, &foo_bar, {H2 BAR, 7}, ALPN_SELECTED, "bar"},
        {DECIDED_TLS_TUNNEL, &foo_bar, {H2, 3}, ALPN_REFUSED, NULL},
        // A list that lies about its lengths offers what is before the lie.
        {DECIDED_TLS_TUNNEL, &foo_bar, {BAR "\077fo", 7}, ALPN_SELECTED, "bar"},
        {DECIDED_TLS_TUNNEL, &foo_bar, {"\077foo", 4}, ALPN_REFUSED, NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct slice protocol = SLICE_EMPTY;
        assert_int_equal(
            decide_alpn(rows[i].decision, rows[i].tunnel, rows[i].offered, &protocol),
            rows[i].choice);
        if (rows[i].protocol != NULL) {
            assert_true(slice_eq(protocol, slice_str(rows[i].protocol)));
            assert_true(protocol.at > rows[i].offered.at &&
                        protocol.at < rows[i].offered.at + rows[i].offered.len);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decisions),
        cmocka_unit_test(test_protocols),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
