// SPDX-License-Identifier: Apache-2.0
#include "conf/url.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_parts(void **state)
{
    static const struct {
        const char *url, *scheme, *userinfo, *host, *port, *rest;
    } rows[] = {
        {"https://api.example.org", "https", "", "api.example.org", "", ""},
        {"HTTP://h:080/a?b=c#d", "HTTP", "", "h", "080", "/a?b=c#d"},
        {"http://h?q", "http", "", "h", "", "?q"},
        {"http://h#f", "http", "", "h", "", "#f"},
        {"ws://h:", "ws", "", "h", "", ""},
        {"wss://[2001:db8::1]:65535/ws", "wss", "", "[2001:db8::1]", "65535", "/ws"},
        {"http://[::1]", "http", "", "[::1]", "", ""},
        {"redis://user:p%40ss@h:6379/0", "redis", "user:p%40ss", "h", "6379", "/0"},
        {"redis://:a@b@h", "redis", ":a@b", "h", "", ""},
        {"redis://@h", "redis", "", "h", "", ""},
        {"http://h/a@b", "http", "", "h", "", "/a@b"},
        {"a+b.c-1://h", "a+b.c-1", "", "h", "", ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct conf_url url;
        print_message("%s\n", rows[i].url);
        assert_int_equal(conf_url_parse(slice_str(rows[i].url), &url), WEIR_OK);
        assert_true(slice_eq(url.scheme, slice_str(rows[i].scheme)));
        assert_true(slice_eq(url.userinfo, slice_str(rows[i].userinfo)));
        assert_true(slice_eq(url.host, slice_str(rows[i].host)));
        assert_true(slice_eq(url.port, slice_str(rows[i].port)));
        assert_true(slice_eq(url.rest, slice_str(rows[i].rest)));
        assert_int_equal(url.has_userinfo, strstr(rows[i].url, "redis") != NULL);
    }
}

static void test_refused(void **state)
{
    static const char *const rows[] = {"", "h", "://h", "http:", "http:/h", "http://", "http:///a",
        "http://?q", "http://:80", "http://u@", "http://h:65536", "http://h:8x", "http://h:-1",
        "http://h:80:80", "http://[::1", "http://[]", "http://[h]", "http://[127.0.0.1]",
        "http://[::1]x", "http://a b", "http://a\tb", "http://h/\n", "http://h/\x7f", "1http://h",
        "ht/tp://h", "http://h\\e", "http://h/<", "//h"};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct conf_url url;
        print_message("%s\n", rows[i]);
        assert_int_equal(conf_url_parse(slice_str(rows[i]), &url), WEIR_MALFORMED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
