// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "health/redis_link.h"

static void test_good(void **state)
{
    static const struct {
        const char *url;
        const char *host;
        const char *user;
        const char *password;
        unsigned port;
        unsigned database;
        bool tls;
    } rows[] = {
        {"redis://cache", "cache", "", "", 6379, 0, false},
        {"redis://cache:7000/3", "cache", "", "", 7000, 3, false},
        {"rediss://me:s%40%3A%2F@cache/", "cache", "me", "s@:/", 6379, 0, true},
        {"redis://:secret@127.0.0.1", "127.0.0.1", "", "secret", 6379, 0, false},
        {"REDIS://[::1]:1", "::1", "", "", 1, 0, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct redis_place place;
        assert_int_equal(redis_place_parse(slice_str(rows[i].url), &place), WEIR_OK);
        assert_string_equal(place.host, rows[i].host);
        assert_string_equal(place.user, rows[i].user);
        assert_string_equal(place.password, rows[i].password);
        assert_int_equal(place.port, rows[i].port);
        assert_int_equal(place.database, rows[i].database);
        assert_int_equal(place.tls, rows[i].tls);
    }
}

static void test_bad(void **state)
{
    static const char *const rows[] = {
        "",
        "cache:6379",
        "http://cache",
        "redis://",
        "redis://cache:0",
        "redis://cache:70000",
        "redis://cache/x",
        "redis://cache/9999",
        "redis://a:%0@cache",
        "redis://a:%00@cache",
        "redis://a:%zz@cache",
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct redis_place place;
        assert_int_equal(redis_place_parse(slice_str(rows[i]), &place), WEIR_MALFORMED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_bad),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
