// SPDX-License-Identifier: Apache-2.0
// Only async-signal-safe calls happen inside the handler; backtrace is called once before, because
// its first call loads a library.
#include "obs/crash.h"

#include <execinfo.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
void crash_install(void)
{
}
#else
#define DEPTH_MAX 64

static void say(const char *text)
{
    // Nothing can be done about an error here.
    (void)!write(STDERR_FILENO, text, strlen(text));
}

static void on_fatal(int signal_number)
{
    void *frames[DEPTH_MAX];
    char digits[] = {(char)('0' + signal_number / 10), (char)('0' + signal_number % 10), '\0'};
    say("weir " WEIR_VERSION " crashed: signal ");
    say(digits);
    say("; please report these lines\n");
    backtrace_symbols_fd(frames, backtrace(frames, DEPTH_MAX), STDERR_FILENO);
    raise(signal_number); // SA_RESETHAND: the default action follows
}

void crash_install(void)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    void *frames[1];
    (void)!backtrace(frames, 1);
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_fatal;
    action.sa_flags = (int)(SA_RESETHAND | SA_NODEFER);
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        sigaction(signals[i], &action, NULL);
    }
}
#endif
