// SPDX-License-Identifier: Apache-2.0
// Readiness of a descriptor on a worker's loop. The descriptor stays the caller's.
#ifndef WEIR_LOOP_WATCH_H
#define WEIR_LOOP_WATCH_H

#include "base/result.h"
#include "loop/worker.h"
#include "sys/epoll.h"

enum watch_event {
    WATCH_NONE = 0,
    WATCH_READ = SYS_READY_READ,
    WATCH_WRITE = SYS_READY_WRITE,
    WATCH_HANGUP = SYS_READY_HANGUP, // the peer closed its sending side, or all
    WATCH_BROKEN = SYS_READY_ERROR,  // nothing goes either way any more, whatever was left to read
};

struct watch;
// events: what the descriptor is ready for, of what was asked; an error shows as all asked events.
typedef void watch_fn(struct watch *watch, unsigned events);
typedef void watch_closed_fn(struct watch *watch);

struct watch {
    struct worker *worker; // borrowed
    union {
        watch_fn *ready;
        watch_closed_fn *closed; // from watch_close on
    };
    struct list node; // of the worker's changed watches, or of the closing ones
    int fd;           // borrowed
    uint8_t wanted;
    uint8_t told; // what the kernel has been told of that
};

// WEIR_PERMISSION: fd is a plain file, which is always ready and cannot be watched.
enum weir_result watch_open(
    struct worker *worker, struct watch *watch, int fd, watch_fn *ready) WEIR_MUST_CHECK;
// Replaces what is waited for, as long as it lasts (never the edge alone). Costs nothing before the
// end of the turn, and then only when it is more than it was: what is not wanted any more is taken
// back when it comes.
void watch_want(struct watch *watch, unsigned events);
// Stops at once and calls closed at the end of this turn: only then may the watch's memory be freed
// or the watch be opened again, on any worker. The descriptor may be closed right away.
void watch_close(struct watch *watch, watch_closed_fn *closed);

// ---- For the worker.

// Tells the kernel what has changed.
void watch_flush_changes(struct worker *worker);
void watch_dispatch(struct watch *watch, unsigned events);
void watch_finish_closing(struct worker *worker);

#endif
