// SPDX-License-Identifier: Apache-2.0
// Which URLs of other relays are named to clients (section 10 of the specification).
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "base/mem.h"
#include "relay/redirect.h"

#define OWN "wss://own.example:8443/ws"
#define TLS_HOST "tls.example"

static const struct {
    const char *url;
    bool dev;     // any host
    bool prod;    // wss, and the own host or RELAY_TLS_HOST
    bool allowed; // prod, with RELAY_REDIRECT_ALLOWED_HOSTS=a.example,b.example
} cases[] = {
    {"wss://own.example/ws", true, true, false},
    {"wss://OWN.example/ws", true, true, false},
    {"wss://tls.example:1/ws", true, true, false},
    {"wss://a.example/ws", true, false, true},
    {"wss://A.EXAMPLE:9/other", true, false, true},
    {"WSS://b.example", true, false, true},
    {"ws://a.example/ws", true, false, false},
    {"ws://own.example/ws", true, false, false},
    {"wss://xa.example/ws", true, false, false},
    {"wss://a.example.evil/ws", true, false, false},
    {OWN, false, false, false}, // that is us
    {"https://a.example/ws", false, false, false},
    {"http://a.example/ws", false, false, false},
    {"wss://u@a.example/ws", false, false, false},
    {"wss://u:p@a.example/ws", false, false, false},
    {"wss://a.example/ws?x=1", false, false, false},
    {"wss://a.example/ws#x", false, false, false},
    {"wss://a.example\\@own.example/ws", false, false, false},
    {"wss://a.example/w s", false, false, false},
    {"wss://a.example/ws\r\nSet-Cookie: x", false, false, false},
    {"wss://a.ex\xc3\xa4mple/ws", false, false, false},
    {"wss://a.example:99999/ws", false, false, false},
    {"wss:///ws", false, false, false},
    {"a.example", false, false, false},
    {"", false, false, false},
};

static bool is_usable(const char *url, enum security_mode mode, struct conf_words allowed)
{
    struct relay_config config = {
        .security_mode = mode,
        .public_ws_base_url = (char *)OWN,
        .tls_host = (char *)TLS_HOST,
        .redirect_allowed_hosts = allowed,
    };
    struct relay relay = {.config = &config};
    struct shard shard = {.relay = &relay};
    return redirect_is_usable(&shard, slice_str(url));
}

static void test_urls(void **state)
{
    char *hosts[] = {(char *)"a.example", (char *)"b.example"};
    struct conf_words none = {NULL, 0};
    struct conf_words two = {hosts, 2};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (is_usable(cases[i].url, SECURITY_MODE_DEV, none) != cases[i].dev ||
            is_usable(cases[i].url, SECURITY_MODE_STAGING, none) != cases[i].dev ||
            is_usable(cases[i].url, SECURITY_MODE_PROD, none) != cases[i].prod ||
            is_usable(cases[i].url, SECURITY_MODE_PROD, two) != cases[i].allowed) {
            fail_msg("%s", cases[i].url);
        }
    }
}

// It goes into a header of bounded size.
static void test_longest(void **state)
{
    char url[2050] = "wss://a.example/";
    (void)state;
    memset(url + 16, 'x', 2049 - 16);
    assert_false(is_usable(url, SECURITY_MODE_DEV, (struct conf_words){NULL, 0}));
    url[2048] = '\0';
    assert_true(is_usable(url, SECURITY_MODE_DEV, (struct conf_words){NULL, 0}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_urls),
        cmocka_unit_test(test_longest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
