// SPDX-License-Identifier: Apache-2.0
// Each case crashes in a child and reads what it said.
#include "obs/crash.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "obs/log.h"

#define REPORT_SIZE 65536

static void log_something(enum log_event event)
{
    struct log_line line;
    log_begin(&line, event);
    log_end(&line);
}

static void raise_it(int number)
{
    raise(number);
}

static void crash_as_told(void (*crash)(int), int number)
{
    static const int fatal[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    struct rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    for (size_t i = 0; i < sizeof fatal / sizeof fatal[0]; i++) {
        signal(fatal[i], SIG_DFL); // a sanitizer's handler would stay
    }
    crash_install();
    crash(number);
    _exit(0);
}

// Returns how the child ended; report gets its standard error.
static int run(void (*crash)(int), int number, char report[REPORT_SIZE])
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        crash_as_told(crash, number);
    }
    close(ends[1]);
    size_t len = 0;
    ssize_t got;
    while ((got = read(ends[0], report + len, REPORT_SIZE - 1 - len)) > 0) {
        len += (size_t)got;
    }
    report[len] = '\0';
    close(ends[0]);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void test_every_signal(void **state)
{
    (void)state;
    static const struct {
        int number;
        const char *line;
    } rows[] = {
        {SIGSEGV, "weir " WEIR_VERSION " crashed: SIGSEGV; please report these lines\n"},
        {SIGBUS, "weir " WEIR_VERSION " crashed: SIGBUS; please report these lines\n"},
        {SIGFPE, "weir " WEIR_VERSION " crashed: SIGFPE; please report these lines\n"},
        {SIGILL, "weir " WEIR_VERSION " crashed: SIGILL; please report these lines\n"},
        {SIGABRT, "weir " WEIR_VERSION " crashed: SIGABRT; please report these lines\n"},
    };
    static char report[REPORT_SIZE];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int status = run(raise_it, rows[i].number, report);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), rows[i].number);
        assert_memory_equal(report, rows[i].line, strlen(rows[i].line));
        assert_non_null(strstr(report, "test_crash")); // a frame of this program
    }
}

static void log_and_abort(int number)
{
    (void)number;
    for (int i = 0; i < 8; i++) {
        log_something(LOG_RELAY_STARTED);
    }
    log_something(LOG_WORKSPACE_EVICTED);
    log_something(LOG_UPGRADE_ERROR);
    abort();
}

static void test_newest_events(void **state)
{
    (void)state;
    static char report[REPORT_SIZE];
    int status = run(log_and_abort, 0, report);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_non_null(strstr(report,
        "\nnewest log events of this thread: relay_started relay_started relay_started "
        "relay_started relay_started relay_started workspace_evicted upgrade_error\n"));
}

static void test_no_events(void **state)
{
    (void)state;
    static char report[REPORT_SIZE];
    run(raise_it, SIGABRT, report);
    assert_null(strstr(report, "newest log events"));
}

static void exit_at_once(int number)
{
    (void)number;
    _exit(7);
}

static void keep_own_handler(int number)
{
    signal(number, exit_at_once);
    crash_install();
    raise(number);
}

static void test_a_handler_stays(void **state)
{
    (void)state;
    static char report[REPORT_SIZE];
    int status = run(keep_own_handler, SIGBUS, report);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 7);
    assert_string_equal(report, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_signal),
        cmocka_unit_test(test_newest_events),
        cmocka_unit_test(test_no_events),
        cmocka_unit_test(test_a_handler_stays),
    };
    return cmocka_run_group_tests_name("crash", tests, NULL, NULL);
}
