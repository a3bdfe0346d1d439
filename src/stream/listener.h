// SPDX-License-Identifier: Apache-2.0
// A worker's listening socket: its own (SO_REUSEPORT), or one that a service manager holds as well.
// When descriptors run out it stops accepting for a
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
    listener_closed_fn *closed;    // NULL, or told at the end of the turn: the memory may go
    listener_short_fn *runs_short; // NULL: there are none
    void *owner;
    struct timer resume;
    struct timer last_call; // while it drains
    uint64_t drain_deadline_ns;
    bool draining;
    bool paused;
    bool inherited; // somebody else holds the socket, too; to be set after listener_open
    int fd;         // owned; -1 when not open
};

// fd is a listening socket (sys_listen), owned from here on, also on failure.
enum weir_result listener_open(struct listener *listener, struct worker *worker, int fd,
    listener_fn *accepted, void *owner) WEIR_MUST_CHECK;
// Stops listening at once. Safe to repeat, and on a listener that never opened (all zero, fd -1).
void listener_close(struct listener *listener);
// Ends listening so that nobody who has come is lost: no new handshake begins, those under way come
// to their end and are accepted as ever, then the listener closes by itself: within a second, and
// mostly within 20 ms. An inherited socket is closed at once: what waits in it is for the next who
// holds it. Safe to repeat, and on a listener that never opened or is closed.
void listener_drain(struct listener *listener);
static inline bool listener_is_open(const struct listener *listener)
{
    return listener->worker != NULL && listener->fd >= 0;
}
// Takes the process's descriptor in reserve: to be called once before the first listener opens.
void listener_fill_reserve(void);
// Leaves newcomers to the kernel's queue until listener_resume. Both are safe to repeat.
void listener_pause(struct listener *listener);
void listener_resume(struct listener *listener);

#endif
