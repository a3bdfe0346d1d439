// SPDX-License-Identifier: Apache-2.0
// A worker's own listening socket (SO_REUSEPORT). When descriptors run out it stops accepting for a
// while instead of spinning; the process keeps a descriptor in reserve for that moment, which lets
// it turn the first of those who wait away, who would hear nothing otherwise.
#ifndef WEIR_STREAM_LISTENER_H
#define WEIR_STREAM_LISTENER_H

#include "loop/watch.h"
#include "sys/socket.h"

struct listener;
// Owns fd from here on.
typedef void listener_fn(struct listener *listener, int fd, const struct sys_address *peer);
typedef void listener_closed_fn(struct listener *listener);
// Descriptors have run out: those that can be done without are to be closed. Not from inside of it,
// but soon, the listener tries again.
typedef void listener_short_fn(struct listener *listener);

struct listener {
    struct watch watch;
    struct worker *worker; // borrowed
    listener_fn *accepted;
    listener_closed_fn *closed; // NULL, or told at the end of the turn: the memory may go
    listener_short_fn *runs_short; // NULL: there are none
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
// Takes the process's descriptor in reserve: to be called once before the first listener opens.
void listener_fill_reserve(void);
// Leaves newcomers to the kernel's queue until listener_resume. Both are safe to repeat.
void listener_pause(struct listener *listener);
void listener_resume(struct listener *listener);

#endif
