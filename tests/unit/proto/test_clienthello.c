// SPDX-License-Identifier: Apache-2.0
// ClientHellos: two that OpenSSL made, and built ones that break one rule each. Every row is fed at
// every prefix, in one record and cut into records of every small size.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "proto/clienthello.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define BYTES(literal) literal, sizeof(literal) - 1

static const char real_tls13[] =
    "1603010200010001fc0303f0fdcf02ba39438587fa20167fe26cd0c279e0863c06aff4225a621155"
    "e8df7a200535ad978156afbfe1abf20d390d7374ab3e21399d19f98a58152abb7477c66a003e1302"
    "13031301c02cc030009fcca9cca8ccaac02bc02f009ec024c028006bc023c0270067c00ac0140039"
    "c009c0130033009d009c003d003c0035002f00ff010001750000001c001a00001744656d6f2e542e"
    "456467652e4578616d706c652e434f4d000b000403000102000a00160014001d0017001e00190018"
    "01000101010201030104002300000010000e000c02683208687474702f312e310016000000170000"
    "000d002a0028040305030603080708080809080a080b080408050806040105010601030303010302"
    "040205020602002b0009080304030303020301002d00020101003300260024001d00200faf7c526c"
    "8e6dbe81ded32184cd37f435a252551e287f0ac30dffcb5a46220f001500a6000000000000000000"
    "00000000000000000000000000000000000000000000000000000000000000000000000000000000"
    "00000000000000000000000000000000000000000000000000000000000000000000000000000000"
    "00000000000000000000000000000000000000000000000000000000000000000000000000000000"
    "00000000000000000000000000000000000000000000000000000000000000000000000000";
static const char real_tls12[] =
    "16030100d0010000cc0303617b8c422b0b6486ed408a1dc7a6dc493627d1b08058341b9b7b6fed09"
    "162d62000038c02cc030009fcca9cca8ccaac02bc02f009ec024c028006bc023c0270067c00ac014"
    "0039c009c0130033009d009c003d003c0035002f00ff0100006b000000150013000010656467652e"
    "6578616d706c652e636f6d000b000403000102000a000c000a001d0017001e001900180023000000"
    "16000000170000000d002a0028040305030603080708080809080a080b0804080508060401050106"
    "01030303010302040205020602";

static enum weir_result parse_exact(struct slice bytes, struct clienthello *hello)
{
    char *copy = malloc(bytes.len > 0 ? bytes.len : 1);
    assert_non_null(copy);
    memcpy(copy, bytes.at, bytes.len);
    enum weir_result result = clienthello_parse(slice_of(copy, bytes.len), hello);
    free(copy);
    return result;
}

static size_t unhex(const char *hex, char *bytes, size_t size)
{
    size_t len = strlen(hex) / 2;
    assert_true(len <= size);
    for (size_t i = 0; i < len; i++) {
        unsigned byte;
        assert_int_equal(sscanf(hex + 2 * i, "%2x", &byte), 1);
        bytes[i] = (char)byte;
    }
    return len;
}

// Cuts a message into records of at most step bytes. Returns the length of all of them.
static size_t to_records(struct slice message, size_t step, char *out)
{
    size_t len = 0;
    for (size_t at = 0; at < message.len; at += step) {
        size_t size = message.len - at < step ? message.len - at : step;
        const char head[] = {0x16, 3, 1, (char)(size >> 8), (char)size};
        memcpy(out + len, head, sizeof head);
        memcpy(out + len + sizeof head, message.at + at, size);
        len += sizeof head + size;
    }
    return len;
}

static const size_t steps[] = {1, 2, 3, 5, 7, 64, 16384};

static void assert_hello(const struct clienthello *hello, const char *name, const char *protocols,
    unsigned version, bool ech)
{
    struct slice found = clienthello_server_name(hello);
    assert_int_equal(found.len, strlen(name));
    assert_memory_equal(found.at, name, found.len);
    assert_int_equal(hello->version_max, version);
    assert_int_equal(hello->has_ech, ech);
    assert_int_equal(hello->has_alpn, protocols != NULL);
    struct slice rest = slice_str(protocols);
    struct slice expected;
    size_t at = 0;
    struct slice protocol;
    while (clienthello_alpn_next(hello, &at, &protocol)) {
        assert_true(slice_split(&rest, ' ', &expected));
        assert_true(slice_eq(protocol, expected));
    }
    assert_true(protocols == NULL || !slice_split(&rest, ' ', &expected));
}

static void takes_what_openssl_sends(void **state)
{
    (void)state;
    static const struct {
        const char *hex;
        const char *name;
        const char *protocols;
        unsigned version;
    } rows[] = {
        {real_tls13, "demo.t.edge.example.com", "h2 http/1.1", TLS_VERSION_1_3},
        {real_tls12, "edge.example.com", NULL, TLS_VERSION_1_2},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char bytes[2048];
        size_t len = unhex(rows[i].hex, bytes, sizeof bytes);
        for (size_t j = 0; j < COUNT(steps); j++) {
            static char records[16384];
            size_t whole = to_records(slice_of(bytes + 5, len - 5), steps[j], records);
            struct clienthello hello;
            for (size_t cut = 0; cut < whole; cut++) {
                assert_int_equal(parse_exact(slice_of(records, cut), &hello), WEIR_AGAIN);
            }
            // What follows is somebody else's: early data, say.
            memcpy(records + whole, "\x17\x03\x03", 3);
            assert_int_equal(parse_exact(slice_of(records, whole + 3), &hello), WEIR_OK);
            assert_int_equal(hello.len, whole);
            assert_hello(&hello, rows[i].name, rows[i].protocols, rows[i].version, false);
        }
    }
}

// ---- Built hellos -------------------------------------------------------------------------------

#define BODY                                                                                       \
    "\3\3"                                                                                         \
    "0123456789abcdef0123456789abcdef"                                                             \
    "\0"                                                                                           \
    "\0\2\x13\1"                                                                                   \
    "\1\0"
#define SNI_AB "\0\0\0\10\0\6\0\0\3a.b"
#define ALPN_H2 "\0\20\0\5\0\3\2h2"

// A message with these extensions.
static struct slice build(const char *extensions, size_t len, char *out)
{
    size_t body_len = sizeof BODY - 1 + 2 + len;
    const char head[] = {1, 0, (char)(body_len >> 8), (char)body_len};
    memcpy(out, head, sizeof head);
    memcpy(out + 4, BODY, sizeof BODY - 1);
    out[4 + sizeof BODY - 1] = (char)(len >> 8);
    out[4 + sizeof BODY] = (char)len;
    memcpy(out + 4 + sizeof BODY + 1, extensions, len);
    return slice_of(out, 4 + body_len);
}

static const struct good_row {
    const char *rule;
    const char *extensions;
    size_t len;
    const char *name;
    const char *protocols;
    unsigned version;
    bool ech;
} good_rows[] = {
    {"no extensions", BYTES(""), "", NULL, TLS_VERSION_1_2, false},
    {"a name", BYTES(SNI_AB), "a.b", NULL, TLS_VERSION_1_2, false},
    {"a name with a dot", BYTES("\0\0\0\11\0\7\0\0\4A.b."), "a.b", NULL, TLS_VERSION_1_2, false},
    {"a name with an underscore", BYTES("\0\0\0\12\0\10\0\0\5_a-9x"), "_a-9x", NULL,
        TLS_VERSION_1_2, false},
    {"protocols", BYTES("\0\20\0\10\0\6\2h2\2xy" SNI_AB), "a.b", "h2 xy", TLS_VERSION_1_2, false},
    {"versions with one to ignore", BYTES("\0\x2b\0\7\6\x7a\x7a\3\4\3\3"), "", NULL,
        TLS_VERSION_1_3, false},
    {"versions, none known", BYTES("\0\x2b\0\3\2\x7a\x7a"), "", NULL, 0, false},
    {"versions, 1.2 alone", BYTES("\0\x2b\0\3\2\3\3"), "", NULL, TLS_VERSION_1_2, false},
    {"ECH", BYTES("\xfe\x0d\0\2zz" SNI_AB), "a.b", NULL, TLS_VERSION_1_2, true},
    {"ECH, empty", BYTES("\xfe\x0d\0\0"), "", NULL, TLS_VERSION_1_2, true},
    {"an unknown extension", BYTES("\x12\x34\0\3abc" SNI_AB), "a.b", NULL, TLS_VERSION_1_2, false},
    {"an unknown one twice", BYTES("\x12\x34\0\0\x12\x34\0\0"), "", NULL, TLS_VERSION_1_2, false},
};

static const struct bad_row {
    const char *rule;
    const char *extensions;
    size_t len;
} bad_rows[] = {
    {"a name twice", BYTES(SNI_AB SNI_AB)},
    {"protocols twice", BYTES(ALPN_H2 ALPN_H2)},
    {"versions twice", BYTES("\0\x2b\0\3\2\3\3"
                             "\0\x2b\0\3\2\3\3")},
    {"ECH twice", BYTES("\xfe\x0d\0\0\xfe\x0d\0\0")},
    {"an empty name extension", BYTES("\0\0\0\0")},
    {"an empty list of names", BYTES("\0\0\0\2\0\0")},
    {"an empty name", BYTES("\0\0\0\5\0\3\0\0\0")},
    {"two names in one list", BYTES("\0\0\0\14\0\12\0\0\2ab\0\0\2cd")},
    {"a name of another type", BYTES("\0\0\0\10\0\6\1\0\3a.b")},
    {"a name past its list", BYTES("\0\0\0\10\0\6\0\0\4a.bc")},
    {"a list shorter than its extension", BYTES("\0\0\0\11\0\6\0\0\3a.bx")},
    {"a list longer than its extension", BYTES("\0\0\0\10\0\7\0\0\3a.b")},
    {"an IPv4 address", BYTES("\0\0\0\16\0\14\0\0\11192.0.2.1")},
    {"an IPv6 address", BYTES("\0\0\0\10\0\6\0\0\3::1")},
    {"a name with a space", BYTES("\0\0\0\10\0\6\0\0\3a b")},
    {"a name with a NUL", BYTES("\0\0\0\10\0\6\0\0\3a\0b")},
    {"a name in UTF-8", BYTES("\0\0\0\7\0\5\0\0\2\xc3\xa4")},
    {"a name with a port", BYTES("\0\0\0\10\0\6\0\0\3a:1")},
    {"a wildcard", BYTES("\0\0\0\10\0\6\0\0\3*.b")},
    {"an empty label", BYTES("\0\0\0\11\0\7\0\0\4a..b")},
    {"a dot alone", BYTES("\0\0\0\6\0\4\0\0\1.")},
    {"a label that begins with a hyphen", BYTES("\0\0\0\10\0\6\0\0\3-ab")},
    {"no protocols", BYTES("\0\20\0\2\0\0")},
    {"an empty protocol", BYTES("\0\20\0\3\0\1\0")},
    {"a protocol past its list", BYTES("\0\20\0\5\0\3\3h2")},
    {"protocols past their extension", BYTES("\0\20\0\5\0\4\2h2")},
    {"protocols short of their extension", BYTES("\0\20\0\6\0\3\2h2x")},
    {"no versions", BYTES("\0\x2b\0\1\0")},
    {"half a version", BYTES("\0\x2b\0\4\3\3\4\3")},
    {"versions short of their extension", BYTES("\0\x2b\0\4\2\3\4x")},
    {"an extension past the end", BYTES("\x12\x34\0\1")},
    {"half an extension", BYTES("\x12\x34\0")},
};

static void takes_good_hellos(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(good_rows); i++) {
        const struct good_row *row = &good_rows[i];
        print_message("%s\n", row->rule);
        char message[512];
        struct slice whole = build(row->extensions, row->len, message);
        for (size_t j = 0; j < COUNT(steps); j++) {
            char records[4096];
            size_t len = to_records(whole, steps[j], records);
            struct clienthello hello;
            for (size_t cut = 0; cut < len; cut++) {
                assert_int_equal(parse_exact(slice_of(records, cut), &hello), WEIR_AGAIN);
            }
            assert_int_equal(parse_exact(slice_of(records, len), &hello), WEIR_OK);
            assert_int_equal(hello.len, len);
            assert_hello(&hello, row->name, row->protocols, row->version, row->ech);
        }
    }
}

// However they are cut, and never called malformed and fine in turns.
static void refuses_bad_hellos(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(bad_rows); i++) {
        print_message("%s\n", bad_rows[i].rule);
        char message[512];
        struct slice whole = build(bad_rows[i].extensions, bad_rows[i].len, message);
        for (size_t j = 0; j < COUNT(steps); j++) {
            char records[4096];
            size_t len = to_records(whole, steps[j], records);
            struct clienthello hello;
            enum weir_result result = WEIR_AGAIN;
            for (size_t cut = 0; cut <= len; cut++) {
                enum weir_result now = parse_exact(slice_of(records, cut), &hello);
                assert_true(now == WEIR_AGAIN || now == WEIR_MALFORMED);
                assert_false(now == WEIR_AGAIN && result == WEIR_MALFORMED);
                result = now;
            }
            assert_int_equal(result, WEIR_MALFORMED);
        }
    }
}

static void protocols_are_compared_whole(void **state)
{
    (void)state;
    char message[512];
    char records[4096];
    struct clienthello hello;
    struct slice whole = build(BYTES("\0\20\0\12\0\10\7rstrm/1"), message);
    size_t len = to_records(whole, 3, records);
    assert_int_equal(parse_exact(slice_of(records, len), &hello), WEIR_OK);
    assert_true(clienthello_offers(&hello, SLICE("rstrm/1")));
    assert_true(clienthello_offers_only(&hello, SLICE("rstrm/1")));
    assert_false(clienthello_offers(&hello, SLICE("rstrm/")));
    assert_false(clienthello_offers(&hello, SLICE("rstrm/10")));

    whole = build(BYTES("\0\20\0\15\0\13\7rstrm/1\2h2"), message);
    len = to_records(whole, 3, records);
    assert_int_equal(parse_exact(slice_of(records, len), &hello), WEIR_OK);
    assert_true(clienthello_offers(&hello, SLICE("rstrm/1")));
    assert_true(clienthello_offers(&hello, SLICE("h2")));
    assert_false(clienthello_offers_only(&hello, SLICE("rstrm/1")));

    whole = build(BYTES("\0\20\0\10\0\6\2h2\2\0x"), message);
    len = to_records(whole, 3, records);
    assert_int_equal(parse_exact(slice_of(records, len), &hello), WEIR_OK);
    assert_true(clienthello_offers(&hello, SLICE("\0x")));

    whole = build(BYTES(""), message);
    len = to_records(whole, 3, records);
    assert_int_equal(parse_exact(slice_of(records, len), &hello), WEIR_OK);
    assert_false(clienthello_offers(&hello, SLICE("h2")));
    assert_false(clienthello_offers_only(&hello, SLICE("h2")));
}

// ---- Messages and records -----------------------------------------------------------------------

static void refuses_what_is_no_hello(void **state)
{
    (void)state;
    static const struct bad_row rows[] = {
        {"HTTP", BYTES("G")},
        {"SSLv2", BYTES("\x80")},
        {"an alert", BYTES("\x15")},
        {"application data", BYTES("\x17")},
        {"SSLv2 in disguise", BYTES("\x16\2")},
        {"a minor version of 5", BYTES("\x16\3\5")},
        {"an empty record", BYTES("\x16\3\1\0\0")},
        {"a record of 2^14 + 1", BYTES("\x16\3\1\x40\1")},
        {"a ServerHello", BYTES("\x16\3\1\0\5\2")},
        {"an alert between the records", BYTES("\x16\3\1\0\1\1\x15")},
        {"an empty record between", BYTES("\x16\3\1\0\1\1\x16\3\1\0\0")},
        {"an empty hello", BYTES("\x16\3\1\0\4\1\0\0\0")},
        {"version 2", BYTES("\x16\3\1\0\x40\1\0\0\x3c\2\0")},
        {"version 4", BYTES("\x16\3\1\0\x40\1\0\0\x3c\4\0")},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        print_message("%s\n", rows[i].rule);
        struct clienthello hello;
        struct slice bytes = slice_of(rows[i].extensions, rows[i].len);
        assert_int_equal(parse_exact(bytes, &hello), WEIR_MALFORMED);
        bytes.len--;
        assert_int_equal(parse_exact(bytes, &hello), WEIR_AGAIN);
    }
}

static void refuses_bad_bodies(void **state)
{
    (void)state;
    static const struct bad_row rows[] = {
        {"a session id of 33", BYTES("\3\3"
                                     "0123456789abcdef0123456789abcdef"
                                     "\41"
                                     "0123456789abcdef0123456789abcdefx"
                                     "\0\2\x13\1\1\0")},
        {"no ciphers", BYTES("\3\3"
                             "0123456789abcdef0123456789abcdef"
                             "\0"
                             "\0\0"
                             "\1\0")},
        {"half a cipher", BYTES("\3\3"
                                "0123456789abcdef0123456789abcdef"
                                "\0"
                                "\0\1x"
                                "\1\0")},
        {"no compression", BYTES("\3\3"
                                 "0123456789abcdef0123456789abcdef"
                                 "\0"
                                 "\0\2\x13\1"
                                 "\0")},
        {"one byte of extensions", BYTES(BODY "\0")},
        {"bytes behind the extensions", BYTES(BODY "\0\0x")},
        {"extensions past the end", BYTES(BODY "\0\1")},
        {"it ends in the random", BYTES("\3\3"
                                        "0123456789")},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        print_message("%s\n", rows[i].rule);
        char message[256] = {1, 0, 0, (char)rows[i].len};
        memcpy(message + 4, rows[i].extensions, rows[i].len);
        for (size_t j = 0; j < COUNT(steps); j++) {
            char records[4096];
            size_t len = to_records(slice_of(message, 4 + rows[i].len), steps[j], records);
            struct clienthello hello;
            assert_int_equal(parse_exact(slice_of(records, len), &hello), WEIR_MALFORMED);
        }
    }
}

// RFC 5246 section 7.4.1.2: a hello may end before the extensions.
static void extensions_may_be_missing(void **state)
{
    (void)state;
    char message[256] = {1, 0, 0, sizeof BODY - 1};
    memcpy(message + 4, BODY, sizeof BODY - 1);
    char records[512];
    size_t len = to_records(slice_of(message, 4 + sizeof BODY - 1), 16384, records);
    struct clienthello hello;
    assert_int_equal(parse_exact(slice_of(records, len), &hello), WEIR_OK);
    assert_hello(&hello, "", NULL, TLS_VERSION_1_2, false);
    // Another message in the hello's record.
    records[4]++;
    records[len] = 1;
    assert_int_equal(parse_exact(slice_of(records, len + 1), &hello), WEIR_MALFORMED);
}

static void is_bounded(void **state)
{
    (void)state;
    static char message[CLIENTHELLO_BYTES_MAX + 64];
    static char records[CLIENTHELLO_BYTES_MAX * 2];
    static char padding[CLIENTHELLO_BYTES_MAX];
    struct clienthello hello;
    // Two records, headers of five each; a message header, a body, two lengths.
    size_t most = CLIENTHELLO_BYTES_MAX - 10 - 4 - (sizeof BODY - 1) - 2 - 4;
    padding[0] = 0x12;
    padding[2] = (char)(most >> 8);
    padding[3] = (char)most;
    struct slice whole = build(padding, 4 + most, message);
    size_t len = to_records(whole, 16384, records);
    assert_int_equal(len, CLIENTHELLO_BYTES_MAX);
    assert_int_equal(parse_exact(slice_of(records, len), &hello), WEIR_OK);
    // The same in smaller records takes more bytes than there may be.
    len = to_records(whole, 1000, records);
    assert_true(len > CLIENTHELLO_BYTES_MAX);
    assert_int_equal(parse_exact(slice_of(records, CLIENTHELLO_BYTES_MAX - 1), &hello), WEIR_AGAIN);
    assert_int_equal(parse_exact(slice_of(records, CLIENTHELLO_BYTES_MAX), &hello), WEIR_TOO_LARGE);
    assert_int_equal(parse_exact(slice_of(records, len), &hello), WEIR_TOO_LARGE);
    // A length that cannot be met is known at once.
    assert_int_equal(parse_exact(slice_of("\x16\3\1\x40\0\1\0\x80\0", 9), &hello), WEIR_TOO_LARGE);
    // The list of protocols has its own bound.
    size_t list = CLIENTHELLO_ALPN_BYTES_MAX + 1;
    memset(padding, 'x', sizeof padding);
    const char head[] = {
        0, 16, (char)((list + 2) >> 8), (char)(list + 2), (char)(list >> 8), (char)list};
    memcpy(padding, head, sizeof head);
    len = to_records(build(padding, sizeof head + list, message), 16384, records);
    assert_int_equal(parse_exact(slice_of(records, len), &hello), WEIR_TOO_LARGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_what_openssl_sends),
        cmocka_unit_test(takes_good_hellos),
        cmocka_unit_test(refuses_bad_hellos),
        cmocka_unit_test(protocols_are_compared_whole),
        cmocka_unit_test(refuses_what_is_no_hello),
        cmocka_unit_test(refuses_bad_bodies),
        cmocka_unit_test(extensions_may_be_missing),
        cmocka_unit_test(is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
