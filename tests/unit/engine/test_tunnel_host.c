// SPDX-License-Identifier: Apache-2.0
// Spec section 5.4, row by row.
#include "engine/control/tunnel_host.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdio.h>

#define L63 "a23456789b123456789c123456789d123456789e123456789f123456789g123"

static void test_assign(void **state)
{
    static const struct {
        const char *host;
        const char *asked;
        const char *name; // NULL: refused
    } rows[] = {
        {"edge.example.com", "demo", "demo.t.edge.example.com"},
        {"edge.example.com", "DEMO", "demo.t.edge.example.com"},
        {"edge.example.com", "demo.t.edge.example.com", "demo.t.edge.example.com"},
        {"edge.example.com", "Demo.T.Edge.Example.COM.", "demo.t.edge.example.com"},
        {"edge.example.com", L63, L63 ".t.edge.example.com"},
        {"edge.example.com", "0", "0.t.edge.example.com"},
        // What the reference command line makes up.
        {"edge.example.com", "r1a2b3c4d-edge.t.example.com", "r1a2b3c4d-edge.t.edge.example.com"},
        {"edge.example.com", "x-y-EDGE.t.example.com", "x-y-edge.t.edge.example.com"},
        {"edge.com", "r1-edge.t.com", "r1-edge.t.edge.com"},
        {"edge.example.com", "r1a2b3c4d-other.t.example.com", NULL},
        {"edge.example.com", "-edge.t.example.com", NULL},
        {"edge.example.com", "edge.t.example.com", NULL},
        {"edge.example.com", "aedge.t.example.com", NULL},
        {"edge.example.com", "a.b-edge.t.example.com", NULL},
        {"edge.example.com", "r1-edge.t.example.org", NULL},
        {"edge", "r1-edge.t.", NULL},
        // Anything else.
        {"edge.example.com", "", NULL},
        {"edge.example.com", ".", NULL},
        {"edge.example.com", "demo.edge.example.com", NULL},
        {"edge.example.com", "a.demo.t.edge.example.com", NULL},
        {"edge.example.com", ".t.edge.example.com", NULL},
        {"edge.example.com", "t.edge.example.com", NULL},
        {"edge.example.com", "edge.example.com", NULL},
        {"edge.example.com", "demo.t.edge.example.com.evil.org", NULL},
        {"edge.example.com", "demo.t.xedge.example.com", NULL},
        {"edge.example.com", "demo.example.com", NULL},
        {"edge.example.com", "-demo", NULL},
        {"edge.example.com", "demo-", NULL},
        {"edge.example.com", "de_mo", NULL},
        {"edge.example.com", "de mo", NULL},
        {"edge.example.com", "d\xc3\xa9mo", NULL},
        {"edge.example.com", L63 "4", NULL},
        {"edge.example.com", "*", NULL},
        {"edge.example.com", "https://demo", NULL},
        {"edge.example.com", "demo:443", NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char name[TUNNEL_HOST_SIZE];
        enum weir_result result =
            tunnel_host_assign(slice_str(rows[i].asked), slice_str(rows[i].host), name);
        print_message("%s\n", rows[i].asked);
        assert_int_equal(result, rows[i].name == NULL ? WEIR_INVALID : WEIR_OK);
        assert_string_equal(name, rows[i].name == NULL ? "" : rows[i].name);
    }
}

static void test_no_room(void **state)
{
    (void)state;
    char host[248];
    char name[TUNNEL_HOST_SIZE];
    memset(host, 'h', sizeof host);
    assert_int_equal(tunnel_host_assign(SLICE("a"), slice_of(host, 248), name), WEIR_OK);
    assert_int_equal(tunnel_host_assign(SLICE("abc"), slice_of(host, 248), name), WEIR_TOO_LARGE);
    assert_string_equal(name, "");
    assert_int_equal(tunnel_host_generate(1, slice_of(host, 248), name), WEIR_TOO_LARGE);
}

static void test_generate(void **state)
{
    (void)state;
    char name[TUNNEL_HOST_SIZE];
    assert_int_equal(tunnel_host_generate(0x1a2b3c, SLICE("edge.example.com"), name), WEIR_OK);
    assert_string_equal(name, "r001a2b3c.t.edge.example.com");
}

// The good ones: RFC 3492 section 7.1 and names of the DNS.
static void test_punycode(void **state)
{
    static const struct {
        const char *label;
        bool valid;
    } rows[] = {
        {"xn--mnchen-3ya", true},
        {"XN--MNCHEN-3YA", true},
        {"xn--p1ai", true},
        {"xn--ihqwcrb4cv8a8dqg056pqjye", true},
        {"xn--3b-ww4c5e180e575a65lsy2b", true},
        {"xn--fiqs8s", true},
        {"xn--", false},
        {"xn--a", false}, // U+0080
        {"xn--mnchen-", false},
        {"xn--99999999", false},
        {"xn---", false},
        {"xn--a-b-", false},
        {"xn--0000h", false}, // above U+10FFFF
        {"xn--u-ccb", true},
        {"xn--zzzzzzzz9", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        print_message("%s\n", rows[i].label);
        assert_int_equal(tunnel_host_label_valid(slice_str(rows[i].label)), rows[i].valid);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_assign),
        cmocka_unit_test(test_no_room),
        cmocka_unit_test(test_generate),
        cmocka_unit_test(test_punycode),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
