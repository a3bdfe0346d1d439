// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "redis/place.h"

#define PROBLEM_SIZE 200

static void test_good(void **state)
{
    static const struct {
        const char *url;
        enum redis_kind kind;
        const char *hosts; // "host:port " each
        const char *user;
        const char *password;
        const char *name;
        unsigned database;
        bool tls;
    } rows[] = {
        {"redis://cache", REDIS_SINGLE, "cache:6379 ", "", "", "", 0, false},
        {"redis://cache:7000/3", REDIS_SINGLE, "cache:7000 ", "", "", "", 3, false},
        {"rediss://me:s%40%3A%2F@cache/", REDIS_SINGLE, "cache:6379 ", "me", "s@:/", "", 0, true},
        {"redis://me:a@b@cache", REDIS_SINGLE, "cache:6379 ", "me", "a@b", "", 0, false},
        {"redis://:secret@127.0.0.1", REDIS_SINGLE, "127.0.0.1:6379 ", "", "secret", "", 0, false},
        {"REDIS://[::1]:1", REDIS_SINGLE, "::1:1 ", "", "", "", 0, false},
        {"redis://[::1]", REDIS_SINGLE, "::1:6379 ", "", "", "", 0, false},
        {"redis+sentinel://a,b:7,[::1]:8/main", REDIS_SENTINEL, "a:26379 b:7 ::1:8 ", "", "",
            "main", 0, false},
        {"rediss+sentinel://u:p@a/my%20main/4", REDIS_SENTINEL, "a:26379 ", "u", "p", "my main", 4,
            true},
        {"redis+cluster://u:p@a:1,b:2", REDIS_CLUSTER, "a:1 b:2 ", "u", "p", "", 0, false},
        {"rediss+cluster://a/", REDIS_CLUSTER, "a:6379 ", "", "", "", 0, true},
        {"redis+cluster://a/0", REDIS_CLUSTER, "a:6379 ", "", "", "", 0, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct redis_place place;
        char problem[PROBLEM_SIZE];
        char hosts[512] = "";
        assert_int_equal(
            redis_place_parse(slice_str(rows[i].url), &place, problem, sizeof problem), WEIR_OK);
        for (unsigned h = 0, len = 0; h < place.seed_count; h++) {
            len += (unsigned)snprintf(hosts + len, sizeof hosts - len, "%s:%u ",
                place.seeds[h].host, place.seeds[h].port);
        }
        assert_int_equal(place.kind, rows[i].kind);
        assert_string_equal(hosts, rows[i].hosts);
        assert_string_equal(place.user, rows[i].user);
        assert_string_equal(place.password, rows[i].password);
        assert_string_equal(place.name, rows[i].name);
        assert_int_equal(place.database, rows[i].database);
        assert_int_equal(place.tls, rows[i].tls);
    }
}

static void test_bad(void **state)
{
    static const struct {
        const char *url;
        const char *problem; // a part of it
    } rows[] = {
        {"", "must begin with redis://"},
        {"cache:6379", "must begin with redis://"},
        {"http://cache", "must begin with redis://"},
        {"redis:/cache", "must begin with redis://"},
        {"redis://", "a host must be"},
        {"redis:///3", "a host must be"},
        {"redis://a b", "a host must be"},
        {"redis://[::1", "a host must be"},
        {"redis://[cache]", "a host must be"},
        {"redis://::1:7000", "a host must be"},
        {"redis://cache?db=1", "a host must be"},
        {"redis://cache:", "a port must be"},
        {"redis://cache:0", "a port must be"},
        {"redis://cache:70000", "a port must be"},
        {"redis://cache/x", "the database must be"},
        {"redis://cache/9999", "the database must be"},
        {"redis://a:%0@cache", "255 bytes each"},
        {"redis://a:%00@cache", "255 bytes each"},
        {"redis://a:%zz@cache", "255 bytes each"},
        {"redis://me@cache", "a user needs a password"},
        {"redis://a,b", "takes one host"},
        {"redis+sentinel://a,b", "need the name"},
        {"redis+sentinel://a,b/", "need the name"},
        {"redis+sentinel://a,,b/main", "a host must be"},
        {"redis+sentinel://a/main/x", "the database must be"},
        {"redis+cluster://a/1", "no databases"},
        {"redis+cluster://1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17", "more than 16"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct redis_place place;
        char problem[PROBLEM_SIZE] = "";
        assert_int_equal(redis_place_parse(slice_str(rows[i].url), &place, problem, sizeof problem),
            WEIR_MALFORMED);
        assert_non_null(strstr(problem, rows[i].problem));
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
