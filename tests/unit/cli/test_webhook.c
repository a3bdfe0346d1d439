// SPDX-License-Identifier: Apache-2.0
#include "cli/engine/webhook.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

// HMAC-SHA256 of "1700000000.{}" by another implementation (Python's hmac).
static void test_signature(void **state)
{
    (void)state;
    const char *secrets[] = {"whsec_one", "whsec_two"};
    char text[WEBHOOK_SIGNATURE_SIZE];
    assert_int_equal(webhook_sign(secrets, 1, 1700000000, SLICE("{}"), text), WEIR_OK);
    assert_string_equal(
        text, "t=1700000000,v1=e6f424c1ebf2679ddb75df801d64b07e5063e2d7d6834ab73f5c55d787278d9d");
    assert_int_equal(webhook_sign(secrets, 2, 1700000000, SLICE("{}"), text), WEIR_OK);
    assert_string_equal(text,
        "t=1700000000,v1=e6f424c1ebf2679ddb75df801d64b07e5063e2d7d6834ab73f5c55d787278d9d,v1="
        "7188126e292daca991f04e6d27bcc33705bef535a4a6c4687864d1c7315003b0");
}

static void test_secret(void **state)
{
    (void)state;
    char one[WEBHOOK_SECRET_SIZE];
    char two[WEBHOOK_SECRET_SIZE];
    assert_true(webhook_make_secret(one) && webhook_make_secret(two));
    assert_int_equal(strlen(one), strlen("whsec_") + 43);
    assert_string_not_equal(one, two);
}

static void test_body(void **state)
{
    (void)state;
    json_t *event = json_pack("{s:{s:s}, s:s, s:s, s:s, s:b, s:s}", "object", "id", "t1",
        "created_at", "now", "type", "tunnel.created", "id", "e1", "catch_up", 1, "user_id", "u");
    json_t *body = webhook_body(event);
    char *text = json_dumps(body, JSON_COMPACT);
    assert_string_equal(text, "{\"id\":\"e1\",\"type\":\"tunnel.created\",\"created_at\":\"now\","
                              "\"user_id\":\"u\",\"object\":{\"id\":\"t1\"}}");
    free(text);
    json_decref(body);
    json_decref(event);
    assert_true(webhook_delivers("client.deleted"));
    assert_false(webhook_delivers("tunnel.updated"));
    assert_false(webhook_delivers("state.initial"));
}

static void test_redirects(void **state)
{
    (void)state;
    static const struct {
        const char *from;
        const char *location;
        const char *to; // NULL: not followed
    } rows[] = {
        {"https://a.test/x?y", "/z", "https://a.test/z"},
        {"https://a.test", "/z", "https://a.test/z"},
        {"https://a.test:8443/x", "/", "https://a.test:8443/"},
        {"https://a.test/x", "https://A.test/z", "https://A.test/z"},
        {"https://a.test/x", "https://a.test:443/z", "https://a.test:443/z"},
        {"http://a.test/x", "https://a.test/z", "https://a.test/z"},
        {"http://a.test:80/x", "http://a.test/z", "http://a.test/z"},
        {"https://a.test/x", "http://a.test/z", NULL},
        {"https://a.test/x", "https://b.test/z", NULL},
        {"https://a.test/x", "https://a.test:8443/z", NULL},
        {"https://a.test/x", "//a.test/z", NULL},
        {"https://a.test/x", "z", NULL},
        {"https://a.test/x", "", NULL},
        {"https://a.test/x", "https://u:p@a.test/z", NULL},
        {"https://a.test/x", "ftp://a.test/z", NULL},
        {"https://a.test/x", "/with blank", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char url[256];
        bool followed =
            webhook_redirect(rows[i].from, slice_str(rows[i].location), url, sizeof url);
        assert_int_equal(followed, rows[i].to != NULL);
        if (followed) {
            assert_string_equal(url, rows[i].to);
        }
    }
    char small[16];
    assert_false(webhook_redirect("https://a.test/x", SLICE("/zzzzzzzzzz"), small, sizeof small));
}

static void test_place(void **state)
{
    (void)state;
    char place[WEBHOOK_PLACE_SIZE];
    webhook_place("https://user:password@a.test:8443/secret?key=1", place);
    assert_string_equal(place, "https://a.test:8443");
    webhook_place("nonsense", place);
    assert_string_equal(place, "the URL");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_signature),
        cmocka_unit_test(test_secret),
        cmocka_unit_test(test_body),
        cmocka_unit_test(test_redirects),
        cmocka_unit_test(test_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
