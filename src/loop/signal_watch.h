// SPDX-License-Identifier: Apache-2.0
// Signals as events of a worker's loop.
#ifndef WEIR_LOOP_SIGNAL_WATCH_H
#define WEIR_LOOP_SIGNAL_WATCH_H

#include "loop/watch.h"

struct signal_watch;
typedef void signal_watch_fn(struct signal_watch *watch, int number);

struct signal_watch {
    struct watch watch;
    signal_watch_fn *came;
    int fd; // ours while open
    bool open;
};

// numbers: of signals that can be caught. Several watches may wait for one.
enum weir_result signal_watch_open(struct signal_watch *watch, struct worker *worker,
    const int *numbers, size_t count, signal_watch_fn *came) WEIR_MUST_CHECK;
// The memory may go at the end of the turn. Fine for a zeroed watch, and twice.
void signal_watch_close(struct signal_watch *watch);

#endif
