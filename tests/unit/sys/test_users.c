// SPDX-License-Identifier: Apache-2.0
#include "sys/users.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "sys/file.h"

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

// A directory of its own with one below it, and a file in that.
static void who_gets_to_a_path(void **state)
{
    char place[] = "/tmp/weir-users-XXXXXX";
    char inner[64];
    char file[80];
    (void)state;
    assert_non_null(mkdtemp(place));
    snprintf(inner, sizeof inner, "%s/inner", place);
    snprintf(file, sizeof file, "%s/file", inner);
    assert_int_equal(mkdir(inner, 0700), 0);
    assert_int_equal(close(creat(file, 0600)), 0);
    const uid_t us = geteuid();
    const gid_t ours = getegid();
    const struct {
        mode_t outside;
        mode_t inside;
        mode_t file;
        uid_t uid;
        gid_t gid;
        bool gets;
        bool reads;
    } rows[] = {
        {0711, 0711, 0644, 4242, 4242, true, true},
        {0711, 0711, 0640, 4242, 4242, true, false},
        {0711, 0711, 0640, 4242, ours, true, true},
        {0700, 0711, 0644, 4242, 4242, false, false},
        {0711, 0700, 0644, 4242, 4242, false, false},
        {0711, 0750, 0644, 4242, ours, true, true},
        {0711, 0701, 0644, 4242, ours, false, false}, // its group may less than others
        {0700, 0700, 0600, us, ours, true, true},
        {0000, 0000, 0000, 0, 0, true, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct sys_identity who = {.uid = rows[i].uid, .gid = rows[i].gid};
        assert_int_equal(chmod(file, rows[i].file), 0);
        assert_int_equal(chmod(inner, rows[i].inside), 0);
        assert_int_equal(chmod(place, rows[i].outside), 0);
        // Who is not root does not see through 0000 to tell.
        bool seen = us == 0 || rows[i].outside != 0;
        assert_int_equal(sys_user_gets_to(&who, file), rows[i].gets && seen);
        assert_int_equal(sys_user_reads(&who, file), rows[i].reads && seen);
    }
    assert_int_equal(chmod(place, 0700), 0);
    assert_int_equal(chmod(inner, 0700), 0);
    assert_true(sys_file_remove(file) && sys_file_remove(inner) && sys_file_remove(place));
    assert_false(sys_file_remove(place));
}

static void we_have_a_name(void **state)
{
    char name[64];
    char small[1];
    struct sys_identity identity;
    (void)state;
    assert_int_equal(sys_user_own_name(name, sizeof name), WEIR_OK);
    assert_int_equal(sys_user_learn(name), WEIR_OK);
    assert_true(sys_user_recall(name, &identity));
    assert_int_equal(identity.uid, geteuid());
    assert_int_equal(sys_user_is_root(), geteuid() == 0);
    assert_int_equal(sys_user_own_name(small, sizeof small), WEIR_TOO_LARGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_learned_is_recalled),
        cmocka_unit_test(who_is_nobody_is_not),
        cmocka_unit_test(who_gets_to_a_path),
        cmocka_unit_test(we_have_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
