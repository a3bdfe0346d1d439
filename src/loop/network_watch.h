// SPDX-License-Identifier: Apache-2.0
// Tells when the machine's links, addresses or routes have changed. Changes come in bursts: one
// call for what happens within half a second.
#ifndef WEIR_LOOP_NETWORK_WATCH_H
#define WEIR_LOOP_NETWORK_WATCH_H

#include "loop/timer.h"
#include "loop/watch.h"

struct network_watch;
typedef void network_watch_fn(struct network_watch *watch);

// Zeroed before it is opened.
struct network_watch {
    struct watch watch;
    struct worker *worker; // NULL: not open
    struct timer settle;
    network_watch_fn *changed;
    int fd;
};

// Where the kernel does not let us listen, it stays closed and silent.
void network_watch_open(
    struct network_watch *watch, struct worker *worker, network_watch_fn *changed);
// In any state; worker_settle or the turn's end finishes it, then the memory may go.
void network_watch_close(struct network_watch *watch);

#endif
