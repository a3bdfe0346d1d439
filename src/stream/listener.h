// SPDX-License-Identifier: Apache-2.0
// A worker's own listening socket (SO_REUSEPORT). When descriptors run out it stops accepting for a
// while instead of spinning.
#ifndef WEIR_STREAM_LISTENER_H
#define WEIR_STREAM_LISTENER_H

#include "loop/watch.h"
#include "sys/socket.h"

struct listener;
// Owns fd from here on.
typedef void listener_fn(struct listener *listener, int fd, const struct sys_address *peer);
typedef void listener_closed_fn(struct listener *listener);

struct listener {
    struct watch watch;
    struct worker *worker; // borrowed
    listener_fn *accepted;
    listener_closed_fn *closed; // NULL, or told at the end of the turn: the memory may go
    void *owner;
    struct timer resume;
    bool paused;
    int fd; // owned; -1 when not open
};

// fd is a listening socket (sys_listen), owned from here on, also on failure.
enum weir_result listener_open(struct listener *listener, struct worker *worker, int fd,
    listener_fn *accepted, void *owner) WEIR_MUST_CHECK;
// Stops listening at once. Safe to repeat, and on a listener that never opened (all zero, fd -1).
void listener_close(struct listener *listener);
// Leaves newcomers to the kernel's queue until listener_resume. Both are safe to repeat.
void listener_pause(struct listener *listener);
void listener_resume(struct listener *listener);

#endif
