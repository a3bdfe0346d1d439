// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "redis/slot.h"

// As CLUSTER KEYSLOT of Redis 7.0.15 answers.
static void test_slots(void **state)
{
    static const struct {
        const char *key;
        unsigned slot;
    } rows[] = {
        {"", 0},
        {"123456789", 12739},
        {"foo", 12182},
        {"user", 5474},
        {"{user}.a", 5474},
        {"a{user}b", 5474},
        {"a{}b", 13694},
        {"{{x}}", 11068},
        {"foo{{bar}}zap", 4015},
        {"viewport:relay:presence:ws:rt", 5732},
        {"viewport:relay:bus:{ws}:relay-b", 7994},
        {"\xc3\xa9"
         "t\xc3\xa9"
         "",
            10087},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(redis_slot(slice_str(rows[i].key)), rows[i].slot);
    }
}

static void test_tags(void **state)
{
    (void)state;
    assert_int_equal(redis_slot(SLICE("a{user}b")), redis_slot(SLICE("user")));
    assert_int_equal(redis_slot(SLICE("{user}{other}")), redis_slot(SLICE("user")));
    assert_int_not_equal(redis_slot(SLICE("a{}user")), redis_slot(SLICE("user")));
    assert_int_not_equal(redis_slot(SLICE("a{user")), redis_slot(SLICE("user")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slots),
        cmocka_unit_test(test_tags),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
