// SPDX-License-Identifier: Apache-2.0
// Programs in a process group of their own, with nothing of ours but what they are given: standard
// input is /dev/null, standard output and error are one pipe, every other descriptor is closed,
// signals are as at login.
#ifndef WEIR_SYS_SPAWN_H
#define WEIR_SYS_SPAWN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/result.h"

struct sys_spawn_options {
    const char *const *argv; // ended by NULL; argv[0] is looked up in PATH
    const char *const *env;  // "NAME=value" lines added to our environment; NULL: none
    const char *cwd;         // NULL: ours
    const int *stdio;        // its standard input and output, its errors are ours; NULL: as above
    // NULL: us; otherwise its ids and groups, which only root may take: as learned (sys/users.h).
    const char *user;
    // Nothing it starts outlives it, whatever sessions and parents they give themselves; nor us.
    bool contained;
};

struct sys_child {
    int pid;
    int handle; // a pidfd: readable once the program has ended
    int output; // the read end of the pipe, non-blocking
    int report; // the read end of what is told of the start and the end: readable, or hung up, once
                // it is known whether the program runs (not with a contained one)
    bool contained;
};

// Returns when there is a process; what comes of the program is told by sys_child_reap, so that a
// directory on a server that does not answer keeps nobody waiting. WEIR_NOT_FOUND: the user was not
// learned; else what there was not enough of.
enum weir_result sys_spawn(
    const struct sys_spawn_options *options, struct sys_child *ret_child) WEIR_MUST_CHECK;
// Once the report is readable: whether the program runs, or ran. False: it was not started, and
// sys_child_reap says why.
bool sys_child_runs(const struct sys_child *child);
// Asks the program's group to end (SIGTERM).
void sys_child_terminate(const struct sys_child *child);
// Kills the group, and with a contained program everything that came of it.
void sys_child_kill(const struct sys_child *child);
// Kills, and lets go: for who has waited long for what the kernel does not let die.
void sys_child_abandon(const struct sys_child *child);

struct sys_exit {
    // WEIR_OK: it ran. WEIR_NOT_FOUND: no such program or directory; WEIR_PERMISSION: it may not be
    // run, or the user not taken.
    enum weir_result started;
    int code;   // exit status; meaningful without a signal
    int signal; // 0: it ended by itself
};
// When the program has ended: kills what is left of its group and takes its exit status. WEIR_AGAIN
// while it runs. The descriptors stay the caller's.
enum weir_result sys_child_reap(
    const struct sys_child *child, struct sys_exit *ret_exit) WEIR_MUST_CHECK;
// Closes handle and report. Any time; the output is the caller's.
void sys_child_close(struct sys_child *child);

// ---- Looking at processes that are not ours.

#define SYS_PROCESS_NAME_SIZE 64
struct sys_process {
    char name[SYS_PROCESS_NAME_SIZE]; // as in /proc/PID/comm
    char state;                       // R, S, D, Z, X … as in /proc/PID/stat
};
// WEIR_NOT_FOUND: there is none with this id.
enum weir_result sys_process_look(int pid, struct sys_process *ret_process) WEIR_MUST_CHECK;
// The largest process id the kernel gives.
int sys_pid_max(void);

#endif
