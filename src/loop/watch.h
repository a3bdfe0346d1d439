// SPDX-License-Identifier: Apache-2.0
// Readiness of a descriptor on a worker's loop. The descriptor stays the caller's.
#ifndef WEIR_LOOP_WATCH_H
#define WEIR_LOOP_WATCH_H

#include <uv.h>

#include "base/result.h"
#include "loop/worker.h"

enum watch_event {
    WATCH_NONE = 0,
    WATCH_READ = UV_READABLE,
    WATCH_WRITE = UV_WRITABLE,
    WATCH_HANGUP = UV_DISCONNECT, // the peer closed its sending side, or all
};

struct watch;
// events: what the descriptor is ready for, of what was asked; an error shows as all asked events.
typedef void watch_fn(struct watch *watch, unsigned events);
typedef void watch_closed_fn(struct watch *watch);

struct watch {
    uv_poll_t poll;
    union {
        watch_fn *ready;
        watch_closed_fn *closed; // from watch_close on
    };
    unsigned events;
};

enum weir_result watch_open(
    struct worker *worker, struct watch *watch, int fd, watch_fn *ready) WEIR_MUST_CHECK;
// Replaces what is waited for. Cheap when nothing changes.
void watch_want(struct watch *watch, unsigned events);
// Stops at once and calls closed at the end of this turn: only then may the watch's memory be freed
// or the watch be opened again, on any worker. The descriptor may be closed right away.
void watch_close(struct watch *watch, watch_closed_fn *closed);

#endif
