// SPDX-License-Identifier: Apache-2.0
// A program of the operator's that runs beside the monitor (a deploy script, a hook) from its start
// to its end, on the monitor's worker: contained, with a deadline, its output told line by line.
#ifndef WEIR_HEALTH_PROGRAM_H
#define WEIR_HEALTH_PROGRAM_H

#include "base/slice.h"
#include "loop/worker.h"
#include "sys/spawn.h"

#define PROGRAM_LINE_SIZE 1024   // longer lines are cut
#define PROGRAM_PROBLEM_SIZE 256 // why it was no success

struct program;

struct program_options {
    const char *command;     // for `sh -c`; its arguments are put behind it
    const char *const *args; // ended by NULL; NULL: none
    const char *const *env;  // as in struct sys_spawn_options
    uint64_t timeout_ns;     // then SIGTERM, and SIGKILL a second later
    // A line of its output, plain text without its end; NULL: not interested.
    void (*line)(void *arg, struct slice text);
    // The program is no more. problem: NULL when it ended with 0, else why that was no success. The
    // program's memory goes by itself. Never called from inside program_start.
    void (*ended)(void *arg, const char *problem);
    void *arg;
};

// What is needed of the options is copied, but for arg. NULL: it cannot be started (problem says
// why), and no call comes.
struct program *program_start(struct worker *worker, const struct program_options *options,
    char problem[PROGRAM_PROBLEM_SIZE]) WEIR_MUST_CHECK;
// Kills it, and what it started; no call comes. Waits for its end, which takes no time but in the
// kernel's worst moments. NULL is fine; not to be used after `ended`.
void program_kill(struct program *program);

#endif
