// SPDX-License-Identifier: Apache-2.0
//   first ──fork──► child: the program
//     │ SIGCHLD: takes every exit status; of the child's, ends likewise
//     └ SIGTERM, SIGHUP, …: hands them on
//
// A signal of the terminal goes to the child by itself, which is in the same group.
#include "sys/first.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define SIGNALED 128 // exit status of who was ended by a signal, as shells have it

static void take_exits(pid_t child)
{
    int status;
    for (pid_t pid = waitpid(-1, &status, WNOHANG); pid > 0; pid = waitpid(-1, &status, WNOHANG)) {
        if (pid == child) {
            _exit(WIFEXITED(status) ? WEXITSTATUS(status) : SIGNALED + WTERMSIG(status));
        }
    }
}

static _Noreturn void stay_behind(pid_t child, const sigset_t *all)
{
    for (;;) {
        siginfo_t info;
        int number = sigwaitinfo(all, &info);
        if (number == SIGCHLD) {
            take_exits(child);
        } else if (number > 0 && info.si_code != SI_KERNEL) {
            kill(child, number);
        }
    }
}

// What a service manager passed to the first process is the child's.
static void take_over_sockets(void)
{
    char pid[16];
    const char *meant = getenv("LISTEN_PID");
    if (meant != NULL && atoi(meant) == 1) {
        snprintf(pid, sizeof pid, "%d", (int)getpid());
        setenv("LISTEN_PID", pid, 1);
    }
}

void sys_step_back_if_first(void)
{
    sigset_t all;
    sigset_t before;
    if (getpid() != 1) {
        return;
    }
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    pid_t child = fork();
    if (child > 0) {
        stay_behind(child, &all);
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
    if (child == 0) {
        take_over_sockets();
    } // else it goes on as the first; zombies are the least of its troubles
}
