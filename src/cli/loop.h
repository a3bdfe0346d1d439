// SPDX-License-Identifier: Apache-2.0
// A command that waits: one worker, an HTTP client, and signals that end it.
#ifndef WEIR_CLI_LOOP_H
#define WEIR_CLI_LOOP_H

#include "loop/signal_watch.h"

// The fields up to `arg` are set by the caller; the rest is zero.
struct cli_loop {
    void (*start)(struct cli_loop *loop); // the worker turns
    void (*stop)(struct cli_loop *loop);  // it has ended: close everything; NULL: nothing
    void (*screen)(
        struct cli_loop *loop); // the terminal changed its size, or is ours again; or NULL
    // SIGINT or SIGTERM, each time, instead of the end; NULL: the end.
    void (*interrupt)(struct cli_loop *loop);
    void (*hangup)(struct cli_loop *loop); // SIGHUP; NULL: it ends the process, as ever
    void *arg;
    struct crew crew;
    struct worker *worker;
    struct signal_watch signals;
    int exit_code;
    bool ended;
};

// Runs until cli_loop_end, or SIGINT or SIGTERM, which are a normal end (0). Returns the exit code.
int cli_loop_run(struct cli_loop *loop);
// The first end counts.
void cli_loop_end(struct cli_loop *loop, int exit_code);

#endif
