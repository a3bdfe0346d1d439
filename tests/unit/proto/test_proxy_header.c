// SPDX-License-Identifier: Apache-2.0
// Every row is fed at every split point, in a block of exactly its size, so that a sanitizer sees a
// read past the end.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/proxy_header.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define BYTES(literal) literal, sizeof(literal) - 1

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define V4_PAIR "\xc0\0\2\1\xc0\0\2\2\xdc\x04\x01\xbb"
#define V6_ONE "\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1"
#define V6_TWO "\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\2"
#define TEN_XS "xxxxxxxxxx"

static enum weir_result parse_exact(const char *bytes, size_t len, struct proxy_header *ret_header)
{
    char *copy = malloc(len > 0 ? len : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, len);
    enum weir_result result = proxy_header_parse(slice_of(copy, len), ret_header);
    free(copy);
    return result;
}

static const struct good_row {
    const char *name;
    const char *bytes;
    size_t len;
    const char *source; // NULL: the socket's own address stays
    uint16_t port;
} good_rows[] = {
    // Section 2.1
    {"v1 TCP4", BYTES("PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n"), "192.0.2.1", 56324},
    {"v1 TCP4, longest", BYTES("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"),
        "255.255.255.255", 65535},
    {"v1 TCP4, port 0", BYTES("PROXY TCP4 192.0.2.1 192.0.2.2 0 0\r\n"), "192.0.2.1", 0},
    {"v1 TCP6", BYTES("PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n"), "2001:db8::1", 1},
    {"v1 TCP6, mapped", BYTES("PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n"), "192.0.2.1", 1},
    {"v1 UNKNOWN", BYTES("PROXY UNKNOWN\r\n"), NULL, 0},
    {"v1 UNKNOWN and more", BYTES("PROXY UNKNOWN a b  c d e f\r\n"), NULL, 0},
    {"v1 UNKNOWN, longest line there is",
        BYTES("PROXY UNKNOWN " TEN_XS TEN_XS TEN_XS TEN_XS TEN_XS TEN_XS TEN_XS TEN_XS TEN_XS
              "x\r\n"),
        NULL, 0},
    // Section 2.2
    {"v2 TCP4", BYTES(SIGNATURE "\x21\x11\0\x0c" V4_PAIR), "192.0.2.1", 56324},
    {"v2 TCP4 with TLVs", BYTES(SIGNATURE "\x21\x11\0\x11" V4_PAIR "\x04\0\2ab"), "192.0.2.1",
        56324},
    {"v2 TCP6", BYTES(SIGNATURE "\x21\x21\0\x24" V6_ONE V6_TWO "\xdc\x04\x01\xbb"), "2001:db8::1",
        56324},
    {"v2 LOCAL", BYTES(SIGNATURE "\x20\0\0\0"), NULL, 0},
    {"v2 LOCAL with addresses", BYTES(SIGNATURE "\x20\x11\0\x0c" V4_PAIR), NULL, 0},
    {"v2 LOCAL of a family nobody knows", BYTES(SIGNATURE "\x20\xff\0\1x"), NULL, 0},
    {"v2 UNSPEC", BYTES(SIGNATURE "\x21\0\0\0"), NULL, 0},
    {"v2 UNSPEC with a block", BYTES(SIGNATURE "\x21\0\0\3abc"), NULL, 0},
    {"v2 UDP4", BYTES(SIGNATURE "\x21\x12\0\x0c" V4_PAIR), NULL, 0},
    {"v2 INET of no transport", BYTES(SIGNATURE "\x21\x10\0\x0c" V4_PAIR), NULL, 0},
};

static void check_good(const struct good_row *row)
{
    print_message("%s\n", row->name);
    struct proxy_header header;
    for (size_t cut = 0; cut < row->len; cut++) {
        assert_int_equal(parse_exact(row->bytes, cut, &header), WEIR_AGAIN);
    }
    // What follows, be it TLS or another header, belongs to somebody else.
    static const char *const followers[] = {"", "\x16\x03\x01", "PROXY TCP4 ", "\r\n"};
    for (size_t i = 0; i < COUNT(followers); i++) {
        char bytes[256];
        memcpy(bytes, row->bytes, row->len);
        memcpy(bytes + row->len, followers[i], strlen(followers[i]));
        size_t len = row->len + strlen(followers[i]);
        assert_int_equal(parse_exact(bytes, len, &header), WEIR_OK);
        assert_int_equal(header.len, row->len);
        assert_int_equal(header.has_source, row->source != NULL);
        if (row->source != NULL) {
            char shown[IP_TEXT_SIZE];
            ip_to_text(&header.source, shown);
            assert_string_equal(shown, row->source);
            assert_int_equal(header.source_port, row->port);
        }
    }
}

static void takes_good_headers(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(good_rows); i++) {
        check_good(&good_rows[i]);
    }
}

// refused_at: how many bytes it takes to see that the header is bad.
static const struct bad_row {
    const char *name;
    const char *bytes;
    size_t len;
    size_t refused_at;
    enum weir_result result;
} bad_rows[] = {
    {"HTTP", BYTES("GET / HTTP/1.1\r\n"), 1, WEIR_MALFORMED},
    {"TLS", BYTES("\x16\x03\x01"), 1, WEIR_MALFORMED},
    {"another P", BYTES("POST / HTTP/1.1\r\n"), 2, WEIR_MALFORMED},
    {"another CR", BYTES("\r\n\r\r"), 4, WEIR_MALFORMED},
    {"v1 in lower case", BYTES("proxy TCP4"), 1, WEIR_MALFORMED},
    {"v1 without a space", BYTES("PROXY\r\n"), 6, WEIR_MALFORMED},
    {"v1 without a protocol", BYTES("PROXY \r\n"), 8, WEIR_MALFORMED},
    {"v1 UDP4", BYTES("PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n"), 36, WEIR_MALFORMED},
    {"v1 UNKNOWNS", BYTES("PROXY UNKNOWNS\r\n"), 16, WEIR_MALFORMED},
    {"v1 TCP4 alone", BYTES("PROXY TCP4\r\n"), 12, WEIR_MALFORMED},
    {"v1 a port short", BYTES("PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n"), 34, WEIR_MALFORMED},
    {"v1 a word long", BYTES("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n"), 38, WEIR_MALFORMED},
    {"v1 a space long", BYTES("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n"), 37, WEIR_MALFORMED},
    {"v1 two spaces", BYTES("PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n"), 37, WEIR_MALFORMED},
    {"v1 tab", BYTES("PROXY TCP4\t192.0.2.1 192.0.2.2 1 2\r\n"), 36, WEIR_MALFORMED},
    {"v1 port too high", BYTES("PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n"), 40, WEIR_MALFORMED},
    {"v1 port with zeros", BYTES("PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n"), 37, WEIR_MALFORMED},
    {"v1 port negative", BYTES("PROXY TCP4 192.0.2.1 192.0.2.2 -1 2\r\n"), 37, WEIR_MALFORMED},
    {"v1 second port", BYTES("PROXY TCP4 192.0.2.1 192.0.2.2 1 x\r\n"), 36, WEIR_MALFORMED},
    {"v1 v6 in TCP4", BYTES("PROXY TCP4 ::1 ::2 1 2\r\n"), 24, WEIR_MALFORMED},
    {"v1 v4 in TCP6", BYTES("PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n"), 36, WEIR_MALFORMED},
    {"v1 families mixed", BYTES("PROXY TCP6 ::1 192.0.2.2 1 2\r\n"), 30, WEIR_MALFORMED},
    {"v1 no address", BYTES("PROXY TCP4 localhost 192.0.2.2 1 2\r\n"), 36, WEIR_MALFORMED},
    {"v1 NUL", BYTES("PROXY TCP4 192.0.2.1\0 192.0.2.2 1 2\r\n"), 37, WEIR_MALFORMED},
    {"v1 CR in the line", BYTES("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\r\n"), 37, WEIR_MALFORMED},
    {"v1 longer than 107",
        BYTES("PROXY UNKNOWN " TEN_XS TEN_XS TEN_XS TEN_XS TEN_XS TEN_XS TEN_XS TEN_XS TEN_XS
              "xx\r\n"),
        107, WEIR_TOO_LARGE},
    {"v2 of version 1", BYTES(SIGNATURE "\x11\x11\0\x0c" V4_PAIR), 16, WEIR_MALFORMED},
    {"v2 of version 3", BYTES(SIGNATURE "\x31\x11\0\x0c" V4_PAIR), 16, WEIR_MALFORMED},
    {"v2 command 2", BYTES(SIGNATURE "\x22\x11\0\x0c" V4_PAIR), 16, WEIR_MALFORMED},
    {"v2 family 4", BYTES(SIGNATURE "\x21\x41\0\x0c" V4_PAIR), 28, WEIR_MALFORMED},
    {"v2 transport 3", BYTES(SIGNATURE "\x21\x13\0\x0c" V4_PAIR), 28, WEIR_MALFORMED},
    {"v2 INET too short", BYTES(SIGNATURE "\x21\x11\0\x0b" V4_PAIR), 27, WEIR_MALFORMED},
    {"v2 INET6 too short", BYTES(SIGNATURE "\x21\x21\0\x23" V6_ONE V6_TWO "\0\0\0"), 51,
        WEIR_MALFORMED},
    {"v2 UNIX too short", BYTES(SIGNATURE "\x21\x31\0\3abc"), 19, WEIR_MALFORMED},
    {"v2 longer than we take", BYTES(SIGNATURE "\x21\x11\x0f\xf1"), 16, WEIR_TOO_LARGE},
    {"v2 longest of all", BYTES(SIGNATURE "\x20\0\xff\xff"), 16, WEIR_TOO_LARGE},
};

static void refuses_bad_headers(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(bad_rows); i++) {
        const struct bad_row *row = &bad_rows[i];
        print_message("%s\n", row->name);
        for (size_t cut = 0; cut <= row->len; cut++) {
            struct proxy_header header = {.len = 4711};
            enum weir_result expected = cut < row->refused_at ? WEIR_AGAIN : row->result;
            assert_int_equal(parse_exact(row->bytes, cut, &header), expected);
            assert_int_equal(header.len, 4711);
        }
    }
}

static void takes_blocks_up_to_the_limit(void **state)
{
    (void)state;
    char bytes[PROXY_HEADER_BYTES_MAX] = SIGNATURE "\x21\x31";
    size_t block_len = sizeof bytes - 16;
    bytes[14] = (char)(block_len >> 8);
    bytes[15] = (char)(block_len & 0xff);
    struct proxy_header header;
    assert_int_equal(parse_exact(bytes, sizeof bytes - 1, &header), WEIR_AGAIN);
    assert_int_equal(parse_exact(bytes, sizeof bytes, &header), WEIR_OK);
    assert_int_equal(header.len, PROXY_HEADER_BYTES_MAX);
    assert_false(header.has_source);
}

// Trusted below: 10.0.0.0/8 and fd00::/8.
static const struct forwarded_row {
    const char *peer;
    const char *list;
    const char *client;
} forwarded_rows[] = {
    {"192.0.2.1", "", "192.0.2.1"},
    {"192.0.2.1", "203.0.113.9", "192.0.2.1"}, // who is not trusted is not believed
    {"10.0.0.1", "", "10.0.0.1"},
    {"10.0.0.1", "203.0.113.9", "203.0.113.9"},
    {"fd00::1", "203.0.113.9", "203.0.113.9"},
    {"::ffff:10.0.0.1", "203.0.113.9", "203.0.113.9"},
    {"10.0.0.1", " \t203.0.113.9 ", "203.0.113.9"},
    {"10.0.0.1", "198.51.100.7, 203.0.113.9", "203.0.113.9"}, // the left one is forged
    {"10.0.0.1", "198.51.100.7,203.0.113.9,10.0.0.2", "203.0.113.9"},
    {"10.0.0.1", "203.0.113.9, ::ffff:10.0.0.2, fd00::9", "203.0.113.9"},
    {"10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"}, // all of them are ours
    {"10.0.0.1", "::ffff:203.0.113.9", "203.0.113.9"},
    {"10.0.0.1", "2001:db8::9", "2001:db8::9"},
    {"10.0.0.1", "203.0.113.9:8080", "203.0.113.9"},
    {"10.0.0.1", "[2001:db8::9]", "2001:db8::9"},
    {"10.0.0.1", "[2001:db8::9]:8080", "2001:db8::9"},
    {"10.0.0.1", "203.0.113.9, 10.0.0.2:80, [fd00::1]:80", "203.0.113.9"},
    // What is no address ends the walk where it is.
    {"10.0.0.1", "unknown", "10.0.0.1"},
    {"10.0.0.1", "203.0.113.9, unknown", "10.0.0.1"},
    {"10.0.0.1", "203.0.113.9, unknown, 10.0.0.2", "10.0.0.2"},
    {"10.0.0.1", "203.0.113.9,", "10.0.0.1"},
    {"10.0.0.1", "203.0.113.9,,10.0.0.2", "10.0.0.2"},
    {"10.0.0.1", " ", "10.0.0.1"},
    {"10.0.0.1", ",", "10.0.0.1"},
    {"10.0.0.1", "203.0.113.9:", "10.0.0.1"},
    {"10.0.0.1", "203.0.113.9:x", "10.0.0.1"},
    {"10.0.0.1", "203.0.113.9:65536", "10.0.0.1"},
    {"10.0.0.1", "203.0.113.9:80:80", "10.0.0.1"},
    {"10.0.0.1", "[203.0.113.9]", "10.0.0.1"},
    {"10.0.0.1", "[203.0.113.9]:80", "10.0.0.1"},
    {"10.0.0.1", "[2001:db8::9", "10.0.0.1"},
    {"10.0.0.1", "2001:db8::9]", "10.0.0.1"},
    {"10.0.0.1", "[2001:db8::9]80", "10.0.0.1"},
    {"10.0.0.1", "[2001:db8::9]:", "10.0.0.1"},
    {"10.0.0.1", "[]", "10.0.0.1"},
    {"10.0.0.1", "\"203.0.113.9\"", "10.0.0.1"},
    {"10.0.0.1", "203.0.113.9 10.0.0.2", "10.0.0.1"},
    {"10.0.0.1", "203.0.113.009", "10.0.0.1"},
};

static void walks_from_the_right(void **state)
{
    (void)state;
    struct ip_network trusted[2];
    assert_int_equal(ip_network_parse(SLICE("10.0.0.0/8"), &trusted[0]), WEIR_OK);
    assert_int_equal(ip_network_parse(SLICE("fd00::/8"), &trusted[1]), WEIR_OK);
    for (size_t i = 0; i < COUNT(forwarded_rows); i++) {
        const struct forwarded_row *row = &forwarded_rows[i];
        print_message("row %zu: \"%s\"\n", i, row->list);
        struct ip peer;
        assert_int_equal(ip_parse(slice_str(row->peer), &peer), WEIR_OK);
        struct ip client = proxy_client_ip(&peer, slice_str(row->list), trusted, COUNT(trusted));
        char shown[IP_TEXT_SIZE];
        ip_to_text(&client, shown);
        assert_string_equal(shown, row->client);
        // Nobody is trusted: the list says nothing.
        client = proxy_client_ip(&peer, slice_str(row->list), NULL, 0);
        assert_true(ip_eq(&client, &peer));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_good_headers),
        cmocka_unit_test(refuses_bad_headers),
        cmocka_unit_test(takes_blocks_up_to_the_limit),
        cmocka_unit_test(walks_from_the_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
