// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/ip.h"

// A slice for a static table.
#define TEXT(literal)                                                                              \
    {                                                                                              \
        (literal), sizeof(literal) - 1                                                             \
    }

static const struct {
    struct slice text;
    const char *shown; // NULL: refused
} addresses[] = {
    {TEXT("10.0.0.1"), "10.0.0.1"},
    {TEXT("0.0.0.0"), "0.0.0.0"},
    {TEXT("255.255.255.255"), "255.255.255.255"},
    {TEXT("::ffff:10.0.0.1"), "10.0.0.1"},
    {TEXT("::FFFF:a00:1"), "10.0.0.1"},
    {TEXT("::"), "::"},
    {TEXT("::1"), "::1"},
    {TEXT("2001:DB8:0:0:0:0:0:1"), "2001:db8::1"},
    {TEXT("2001:db8:0:1:1:1:1:1"), "2001:db8:0:1:1:1:1:1"}, // RFC 5952 section 4.2.2
    {TEXT("2001:0:0:1:0:0:0:1"), "2001:0:0:1::1"},          // section 4.2.3
    {TEXT("2001:db8:0:0:1:0:0:1"), "2001:db8::1:0:0:1"},
    {TEXT(""), NULL},
    {TEXT("10.0.0"), NULL},
    {TEXT("10.0.0.256"), NULL},
    {TEXT("10.0.0.1.2"), NULL},
    {TEXT("10.0.0.1:80"), NULL},
    {TEXT("0x0a.0.0.1"), NULL},
    {TEXT("10.1"), NULL},
    {TEXT(" 10.0.0.1"), NULL},
    {TEXT("10.0.0.1 "), NULL},
    {TEXT("10.0.0.1\0"), NULL},
    {TEXT("::1\0.example"), NULL},
    {TEXT("[::1]"), NULL},
    {TEXT("fe80::1%eth0"), NULL},
    {TEXT("1::2::3"), NULL},
    {TEXT("12345::"), NULL},
    {TEXT("localhost"), NULL},
    {TEXT("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.2555"), NULL},
};

static void parses_and_shows_addresses(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++) {
        print_message("row %zu: \"%.*s\"\n", i, SLICE_ARG(addresses[i].text));
        struct ip ip;
        enum weir_result expected = addresses[i].shown == NULL ? WEIR_MALFORMED : WEIR_OK;
        assert_int_equal(ip_parse(addresses[i].text, &ip), expected);
        if (expected == WEIR_OK) {
            char shown[IP_TEXT_SIZE];
            ip_to_text(&ip, shown);
            assert_string_equal(shown, addresses[i].shown);
        }
    }
}

static struct ip ip_of(struct slice text)
{
    struct ip ip;
    assert_int_equal(ip_parse(text, &ip), WEIR_OK);
    return ip;
}

static void knows_kinds(void **state)
{
    (void)state;
    struct ip v4 = ip_of(SLICE("127.8.9.10"));
    struct ip v6 = ip_of(SLICE("::1"));
    struct ip mapped = ip_from_v4((const uint8_t[4]){127, 8, 9, 10});
    assert_true(ip_eq(&v4, &mapped));
    assert_false(ip_eq(&v4, &v6));
    assert_true(ip_is_v4(&v4));
    assert_false(ip_is_v4(&v6));
    assert_true(ip_is_loopback(&v4));
    assert_true(ip_is_loopback(&v6));
    struct ip other = ip_of(SLICE("128.0.0.1"));
    assert_false(ip_is_loopback(&other));
    other = ip_of(SLICE("::2"));
    assert_false(ip_is_loopback(&other));
    other = ip_from_v6(v6.bytes);
    assert_true(ip_eq(&other, &v6));
}

static const struct {
    struct slice network;
    struct slice ip;
    bool holds;
} memberships[] = {
    {TEXT("10.0.0.0/8"), TEXT("10.255.1.2"), true},
    {TEXT("10.0.0.0/8"), TEXT("11.0.0.0"), false},
    {TEXT("10.0.0.0/8"), TEXT("::ffff:10.1.1.1"), true},
    {TEXT("10.9.9.9/8"), TEXT("10.0.0.1"), true}, // host bits are ignored
    {TEXT("10.0.0.1"), TEXT("10.0.0.1"), true},
    {TEXT("10.0.0.1"), TEXT("10.0.0.2"), false},
    {TEXT("10.0.0.1/32"), TEXT("10.0.0.0"), false},
    {TEXT("192.168.1.128/25"), TEXT("192.168.1.128"), true},
    {TEXT("192.168.1.128/25"), TEXT("192.168.1.127"), false},
    {TEXT("172.16.0.0/12"), TEXT("172.31.255.255"), true},
    {TEXT("172.16.0.0/12"), TEXT("172.32.0.0"), false},
    {TEXT("0.0.0.0/0"), TEXT("203.0.113.9"), true},
    {TEXT("0.0.0.0/0"), TEXT("2001:db8::1"), false},
    {TEXT("::/0"), TEXT("203.0.113.9"), true},
    {TEXT("::/0"), TEXT("2001:db8::1"), true},
    {TEXT("2001:db8::/33"), TEXT("2001:db8:7fff::1"), true},
    {TEXT("2001:db8::/33"), TEXT("2001:db8:8000::1"), false},
    {TEXT("fd00::/8"), TEXT("fdff::1"), true},
    {TEXT("fd00::/8"), TEXT("fe00::1"), false},
    {TEXT("::1/128"), TEXT("::1"), true},
    {TEXT("::1/127"), TEXT("::"), true},
    {TEXT("::ffff:10.0.0.0/104"), TEXT("10.200.0.1"), true},
    {TEXT("::ffff:10.0.0.0/104"), TEXT("11.0.0.1"), false},
};

static void knows_members_of_networks(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof memberships / sizeof memberships[0]; i++) {
        print_message("row %zu: %.*s\n", i, SLICE_ARG(memberships[i].network));
        struct ip_network network;
        assert_int_equal(ip_network_parse(memberships[i].network, &network), WEIR_OK);
        struct ip ip = ip_of(memberships[i].ip);
        assert_int_equal(ip_network_holds(&network, &ip), memberships[i].holds);
        assert_int_equal(ip_in_any(&network, 1, &ip), memberships[i].holds);
    }
}

// One bit apart from the base, at every place and for every length.
static void compares_exactly_the_prefix(void **state)
{
    (void)state;
    struct ip_network network;
    assert_int_equal(ip_network_parse(SLICE("2001:db8:1234:5678::9abc"), &network), WEIR_OK);
    for (network.prefix_len = 0; network.prefix_len <= 128; network.prefix_len++) {
        for (unsigned bit = 0; bit < 128; bit++) {
            struct ip ip = network.base;
            ip.bytes[bit / 8] ^= (uint8_t)(0x80 >> (bit % 8));
            assert_int_equal(ip_network_holds(&network, &ip), bit >= network.prefix_len);
        }
    }
}

static void refuses_broken_networks(void **state)
{
    (void)state;
    static const struct slice texts[] = {
        TEXT(""),
        TEXT("/8"),
        TEXT("10.0.0.0/"),
        TEXT("10.0.0.0/33"),
        TEXT("10.0.0.0/-1"),
        TEXT("10.0.0.0/08"),
        TEXT("10.0.0.0/8/8"),
        TEXT("10.0.0.0/255.0.0.0"),
        TEXT("10.0.0/8"),
        TEXT("::/129"),
        TEXT("fd00::/8 "),
        TEXT("example.org"),
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        print_message("row %zu: \"%.*s\"\n", i, SLICE_ARG(texts[i]));
        struct ip_network network;
        assert_int_equal(ip_network_parse(texts[i], &network), WEIR_MALFORMED);
    }
}

static void looks_in_all_networks(void **state)
{
    (void)state;
    struct ip_network networks[2];
    assert_int_equal(ip_network_parse(SLICE("10.0.0.0/8"), &networks[0]), WEIR_OK);
    assert_int_equal(ip_network_parse(SLICE("fd00::/8"), &networks[1]), WEIR_OK);
    struct ip ip = ip_of(SLICE("fd00::1"));
    assert_true(ip_in_any(networks, 2, &ip));
    assert_false(ip_in_any(networks, 1, &ip));
    assert_false(ip_in_any(NULL, 0, &ip));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parses_and_shows_addresses),
        cmocka_unit_test(knows_kinds),
        cmocka_unit_test(knows_members_of_networks),
        cmocka_unit_test(compares_exactly_the_prefix),
        cmocka_unit_test(refuses_broken_networks),
        cmocka_unit_test(looks_in_all_networks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
