// SPDX-License-Identifier: Apache-2.0
// The report of a process that is about to die.
//
// 1. Inside the handler only async-signal-safe calls happen. backtrace is called once before,
//    because its first call loads a library.
// 2. One thread reports. Another that crashes meanwhile waits for the end that is coming; a crash
//    inside the report ends the process at once.
// 3. The main thread has a stack of its own for this, so that it can report having none left.
//    Others die of an overflow without a report: the kernel says so in its log.
//
// This file makes its system calls itself: those of sys/ are made to be counted and to fail.
#include "obs/crash.h"

#include <execinfo.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "obs/log_internal.h"
#include "sys/terminal.h"

#define DEPTH_MAX 64
#define STACK_SIZE ((size_t)64 * 1024)

static const struct {
    int number;
    const char *name;
} fatal_signals[] = {
    {SIGSEGV, "SIGSEGV"},
    {SIGBUS, "SIGBUS"},
    {SIGFPE, "SIGFPE"},
    {SIGILL, "SIGILL"},
    {SIGABRT, "SIGABRT"},
};
#define FATAL_SIGNAL_COUNT (sizeof fatal_signals / sizeof fatal_signals[0])

static atomic_flag reporting = ATOMIC_FLAG_INIT;
static _Thread_local volatile sig_atomic_t reporting_here;

static void say(const char *text)
{
    // Nothing can be done about an error here.
    (void)!write(STDERR_FILENO, text, strlen(text));
}

static const char *name_of(int number)
{
    for (size_t i = 0; i < FATAL_SIGNAL_COUNT; i++) {
        if (fatal_signals[i].number == number) {
            return fatal_signals[i].name;
        }
    }
    return "a signal";
}

static void say_trail(void)
{
    const struct log_trail *trail = log_trail();
    size_t first = trail->count < LOG_TRAIL_LEN ? 0 : trail->count - LOG_TRAIL_LEN;
    if (trail->count > 0) {
        say("newest log events of this thread:");
        for (size_t i = first; i < trail->count; i++) {
            say(" ");
            say(log_event_rows[trail->events[i % LOG_TRAIL_LEN]].name);
        }
        say("\n");
    }
}

static void on_fatal(int number)
{
    if (!reporting_here && atomic_flag_test_and_set(&reporting)) {
        for (;;) {
            pause();
        }
    }
    if (!reporting_here) {
        reporting_here = 1;
        void *frames[DEPTH_MAX];
        sys_terminal_rescue(); // so that the report can be read, and the shell used
        say("weir " WEIR_VERSION " crashed: ");
        say(name_of(number));
        say("; please report these lines\n");
        say_trail();
        backtrace_symbols_fd(frames, backtrace(frames, DEPTH_MAX), STDERR_FILENO);
    }
    signal(number, SIG_DFL);
    raise(number);
}

static void use_own_stack(void)
{
    static char stack[STACK_SIZE];
    stack_t previous;
    if (sigaltstack(NULL, &previous) == 0 && (previous.ss_flags & SS_DISABLE) != 0) {
        stack_t own = {.ss_sp = stack, .ss_size = sizeof stack};
        sigaltstack(&own, NULL);
    }
}

void crash_install(void)
{
    void *frames[1];
    (void)!backtrace(frames, 1);
    use_own_stack();
    struct sigaction action = {.sa_handler = on_fatal, .sa_flags = (int)(SA_ONSTACK | SA_NODEFER)};
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < FATAL_SIGNAL_COUNT; i++) {
        struct sigaction previous;
        if (sigaction(fatal_signals[i].number, NULL, &previous) == 0 &&
            previous.sa_handler == SIG_DFL) {
            sigaction(fatal_signals[i].number, &action, NULL);
        }
    }
}
