// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/hostname.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define L63 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define L61 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static const struct name_row {
    const char *name;
    const char *normal; // NULL: refused
} name_rows[] = {
    {"a", "a"},
    {"Edge.Example.COM", "edge.example.com"},
    {"edge.example.com.", "edge.example.com"},
    {"r3---sn-x.y_z._a", "r3---sn-x.y_z._a"},
    {"1.2.3.4a", "1.2.3.4a"},
    {"0x7f.1e", "0x7f.1e"},
    {"xn--bcher-kva.example", "xn--bcher-kva.example"},
    {L63 ".b", L63 ".b"},
    {L63 "." L63 "." L63 "." L61, L63 "." L63 "." L63 "." L61},
    {L63 "." L63 "." L63 "." L61 ".", L63 "." L63 "." L63 "." L61},
    {L63 "." L63 "." L63 "." L61 "a", NULL},
    {L63 "a.b", NULL},
    {"", NULL},
    {".", NULL},
    {"..", NULL},
    {".a", NULL},
    {"a..", NULL},
    {"a..b", NULL},
    {"-a", NULL},
    {"a-.b", NULL},
    {"a b", NULL},
    {"a/b", NULL},
    {"a:80", NULL},
    {"*.a", NULL},
    {"a@b", NULL},
    {"b\xc3\xbc", NULL},
    {"a\x7f", NULL},
    {"[::1]", NULL},
    {"::1", NULL},
    {"127.0.0.1", NULL},
    {"127.0.0.1.", NULL},
    {"example.127", NULL},
    {"1", NULL},
};

static void names(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(name_rows); i++) {
        print_message("\"%s\"\n", name_rows[i].name);
        char text[HOSTNAME_SIZE];
        size_t len;
        enum weir_result result = hostname_normalize(slice_str(name_rows[i].name), text, &len);
        assert_int_equal(result, name_rows[i].normal == NULL ? WEIR_MALFORMED : WEIR_OK);
        if (result == WEIR_OK) {
            assert_string_equal(text, name_rows[i].normal);
            assert_int_equal(len, strlen(text));
        }
    }
    char text[HOSTNAME_SIZE];
    size_t len;
    assert_int_equal(hostname_normalize(SLICE("a\0b"), text, &len), WEIR_MALFORMED);
}

static const struct port_row {
    const char *authority;
    const char *host; // NULL: refused
    unsigned port;
} port_rows[] = {
    {"a.b", "a.b", 0},
    {"a.b:80", "a.b", 80},
    {"a.b:65535", "a.b", 65535},
    {"[::1]", "[::1]", 0},
    {"[::1]:443", "[::1]", 443},
    {"", "", 0},
    {":80", "", 80},
    {"a:", NULL, 0},
    {"a:0", NULL, 0},
    {"a:080", NULL, 0},
    {"a:65536", NULL, 0},
    {"a:-1", NULL, 0},
    {"a:+1", NULL, 0},
    {"a: 80", NULL, 0},
    {"a:80:80", NULL, 0},
    {"a:http", NULL, 0},
    {"::1", NULL, 0},
    {"[::1", NULL, 0},
    {"[::1]443", NULL, 0},
    {"[::1]:", NULL, 0},
};

static void ports(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(port_rows); i++) {
        print_message("\"%s\"\n", port_rows[i].authority);
        struct slice host;
        unsigned port;
        enum weir_result result =
            hostname_split_port(slice_str(port_rows[i].authority), &host, &port);
        assert_int_equal(result, port_rows[i].host == NULL ? WEIR_MALFORMED : WEIR_OK);
        if (result == WEIR_OK) {
            assert_true(slice_eq(host, slice_str(port_rows[i].host)));
            assert_int_equal(port, port_rows[i].port);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
        cmocka_unit_test(ports),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
