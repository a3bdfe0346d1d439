// SPDX-License-Identifier: Apache-2.0
#include "sys/notices.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
// after its needs
#include <cmocka.h>

#include "sys/socket.h"

static const int both[] = {SIGUSR1, SIGUSR2};
static volatile sig_atomic_t old_handler_calls;

static void old_handler(int number)
{
    (void)number;
    old_handler_calls++;
}

static int open_signals(size_t count)
{
    int fd = -1;
    assert_int_equal(sys_signals_open(both, count, &fd), WEIR_OK);
    return fd;
}

static void everybody_who_waits_is_told(void **state)
{
    (void)state;
    int two = open_signals(2);
    int one = open_signals(1);
    raise(SIGUSR1);
    raise(SIGUSR2);
    assert_int_equal(sys_signals_take(two), SIGUSR1);
    assert_int_equal(sys_signals_take(two), SIGUSR2);
    assert_int_equal(sys_signals_take(two), 0);
    assert_int_equal(sys_signals_take(one), SIGUSR1);
    assert_int_equal(sys_signals_take(one), 0);
    sys_signals_close(two);
    raise(SIGUSR1);
    assert_int_equal(sys_signals_take(one), SIGUSR1);
    sys_signals_close(one);
}

static void what_is_renounced_does_nothing_afterwards(void **state)
{
    (void)state;
    old_handler_calls = 0;
    signal(SIGUSR1, old_handler);
    signal(SIGUSR2, old_handler);
    int fd = open_signals(1);
    sys_signals_renounce(both, 2);
    raise(SIGUSR2);
    raise(SIGUSR1);
    assert_int_equal(sys_signals_take(fd), SIGUSR1);
    sys_signals_close(fd);
    raise(SIGUSR1);
    assert_int_equal(old_handler_calls, 0);
}

static void the_last_one_gives_the_signal_back(void **state)
{
    (void)state;
    old_handler_calls = 0;
    signal(SIGUSR1, old_handler);
    int first = open_signals(1);
    int second = open_signals(1);
    sys_signals_close(first);
    raise(SIGUSR1);
    assert_int_equal(old_handler_calls, 0);
    sys_signals_close(second);
    raise(SIGUSR1);
    assert_int_equal(old_handler_calls, 1);
    signal(SIGUSR1, SIG_DFL);
}

static void nothing_is_left_for_the_next_one(void **state)
{
    (void)state;
    int first = open_signals(1);
    raise(SIGUSR1);
    sys_signals_close(first);
    int second = open_signals(2);
    assert_int_equal(sys_signals_take(second), 0);
    sys_signals_close(second);
}

// A loop that opens without closing ends by a result.
static void there_is_an_end_to_them(void **state)
{
    int fds[64];
    size_t count = 0;
    enum weir_result result = WEIR_OK;
    (void)state;
    while (count < sizeof fds / sizeof fds[0] && result == WEIR_OK) {
        result = sys_signals_open(both, 1, &fds[count]);
        count += result == WEIR_OK;
    }
    assert_int_equal(result, WEIR_DESCRIPTORS);
    while (count > 0) {
        sys_signals_close(fds[--count]);
    }
    sys_signals_close(open_signals(1));
}

static void make_file(const char *directory, const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
}

static void remove_file(const char *directory, const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    assert_int_equal(unlink(path), 0);
}

static void changes_of_a_name_are_told(void **state)
{
    char directory[] = "/tmp/weir-notices-XXXXXX";
    int fd = -1;
    (void)state;
    assert_non_null(mkdtemp(directory));
    assert_int_equal(sys_directory_open(directory, &fd), WEIR_OK);
    assert_false(sys_directory_take(fd, "mine"));
    make_file(directory, "other");
    assert_false(sys_directory_take(fd, "mine"));
    make_file(directory, "mine");
    make_file(directory, "more");
    assert_true(sys_directory_take(fd, "mine"));
    assert_false(sys_directory_take(fd, "mine"));
    remove_file(directory, "mine");
    assert_true(sys_directory_take(fd, "mine"));
    remove_file(directory, "other");
    remove_file(directory, "more");
    sys_close(fd);
    assert_int_equal(rmdir(directory), 0);
    assert_int_equal(sys_directory_open(directory, &fd), WEIR_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everybody_who_waits_is_told),
        cmocka_unit_test(what_is_renounced_does_nothing_afterwards),
        cmocka_unit_test(the_last_one_gives_the_signal_back),
        cmocka_unit_test(nothing_is_left_for_the_next_one),
        cmocka_unit_test(there_is_an_end_to_them),
        cmocka_unit_test(changes_of_a_name_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
