// SPDX-License-Identifier: Apache-2.0
#include "sys/users.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void what_was_learned_is_recalled(void **state)
{
    struct sys_identity identity;
    (void)state;
    assert_false(sys_user_recall("root", &identity));
    assert_int_equal(sys_user_learn("root"), WEIR_OK);
    assert_true(sys_user_recall("root", &identity));
    assert_int_equal(identity.uid, 0);
    assert_true(identity.group_count >= 1);
    assert_int_equal(sys_user_learn("root"), WEIR_OK); // again: the same place
    assert_true(sys_user_recall("root", &identity));
}

static void who_is_nobody_is_not(void **state)
{
    char longest[400];
    struct sys_identity identity;
    (void)state;
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    const char *const names[] = {"nobody-knows-this-one", "", longest};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        assert_int_equal(sys_user_learn(names[i]), WEIR_NOT_FOUND);
        assert_false(sys_user_recall(names[i], &identity));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_learned_is_recalled),
        cmocka_unit_test(who_is_nobody_is_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
