// SPDX-License-Identifier: Apache-2.0
// Where the inspector listens, whom it answers, and what a replay sends.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "cli/forward/dialer.h"
#include "cli/inspect/inspector.h"
#include "cli/inspect/replay.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

static void test_addresses(void **state)
{
    static const struct {
        const char *text;
        bool anywhere;
        const char *expected; // NULL: refused
        unsigned port;
        bool chosen;
    } rows[] = {
        {"", false, "127.0.0.1", 4040, false},
        {"5000", false, "127.0.0.1", 5000, true},
        {":5000", false, "127.0.0.1", 5000, true},
        {"localhost:0", false, "127.0.0.1", 0, true},
        {"127.9.9.9:80", false, "127.9.9.9", 80, true},
        {"[::1]:80", false, "::1", 80, true},
        {"0.0.0.0:80", false, NULL, 0, false},
        {"192.0.2.1:80", false, NULL, 0, false},
        {"192.0.2.1:80", true, "192.0.2.1", 80, true},
        {"[::]:80", false, NULL, 0, false},
        {"70000", false, NULL, 0, false},
        {"x", false, NULL, 0, false},
        {"example.com:80", true, NULL, 0, false},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct sys_address address;
        bool chosen;
        const char *problem = NULL;
        char ip[IP_TEXT_SIZE];
        bool good =
            inspector_parse_address(rows[i].text, rows[i].anywhere, &address, &chosen, &problem);
        assert_int_equal(good, rows[i].expected != NULL);
        assert_non_null(problem);
        if (good) {
            ip_to_text(&address.ip, ip);
            assert_string_equal(ip, rows[i].expected);
            assert_int_equal(address.port, rows[i].port);
            assert_int_equal(chosen, rows[i].chosen);
        }
    }
}

static void test_hosts(void **state)
{
    static const struct {
        const char *host;
        bool known;
    } rows[] = {
        {"127.0.0.1:4040", true},
        {"localhost:4040", true},
        {"LOCALHOST:4040", true},
        {"[::1]:4040", true},
        {"127.0.0.1", false},
        {"127.0.0.1:4041", false},
        {"evil.example:4040", false},
        {"localhost.evil.example:4040", false},
        {"", false},
        {":4040", false},
    };
    struct sys_address address;
    (void)state;
    assert_int_equal(sys_address_parse("127.0.0.1", 4040, &address), WEIR_OK);
    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_int_equal(inspector_knows_host(&address, slice_str(rows[i].host)), rows[i].known);
    }
}

static void check_replay(const char *request, const char *expected)
{
    struct capture capture;
    struct tap tap;
    struct buf out = BUF_INIT(4096);
    const char *problem;
    capture_init(&capture);
    tap_open(&tap, &capture, &(struct capture_origin){.tunnel = "t"});
    tap_feed(&tap, CAPTURE_REQUEST, slice_str(request), 1);
    assert_int_equal(replay_write(capture_find(&capture, 1), &out, &problem), expected != NULL);
    assert_int_equal(problem == NULL, expected != NULL);
    if (expected != NULL) {
        assert_string_equal(buf_text(&out), expected);
    }
    buf_reset(&out);
    tap_close(&tap, 2);
    capture_fini(&capture);
}

static void test_what_a_replay_sends(void **state)
{
    (void)state;
    check_replay("GET /a?token=x HTTP/1.1\r\nHost: h\r\nCookie: c\r\nConnection: keep-alive\r\n\r\n",
        "GET /a?token=x HTTP/1.1\r\nHost: h\r\nCookie: c\r\nConnection: close\r\n\r\n");
    check_replay("PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
                 "2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
        "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc");
    check_replay("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
        "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    check_replay("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nab", NULL);
    check_replay(
        "GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", NULL);
    check_replay("\x16\x03\x01", NULL);
}

static void test_endpoints(void **state)
{
    (void)state;
    assert_string_equal(dialer_endpoint_name("rstrm://db"), "db");
    assert_string_equal(dialer_endpoint_name("rstrm:db"), "db");
    assert_null(dialer_endpoint_name("rstrm://"));
    assert_null(dialer_endpoint_name("db"));
    struct sys_address address;
    assert_true(dialer_parse_listen("80", &address));
    assert_true(ip_is_loopback(&address.ip));
    assert_true(dialer_parse_listen("0.0.0.0:80", &address));
    assert_false(ip_is_loopback(&address.ip));
    assert_false(dialer_parse_listen("x:80", &address));
    assert_false(dialer_parse_listen("", &address));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_what_a_replay_sends),
        cmocka_unit_test(test_endpoints),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
