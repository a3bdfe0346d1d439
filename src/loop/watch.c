// SPDX-License-Identifier: Apache-2.0
#include "loop/watch.h"

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct watch *watch = container_of(poll, struct watch, poll);
    if (status < 0) {
        // EPOLLERR: libuv has stopped the handle. Reading or writing tells what it is, but bytes
        // that came before a reset are read first, so the watch goes on until somebody closes it.
        (void)uv_poll_start(poll, (int)watch->events, on_poll);
        watch->ready(watch, watch->events);
        return;
    }
    watch->ready(watch, (unsigned)events);
}

enum weir_result watch_open(struct worker *worker, struct watch *watch, int fd, watch_fn *ready)
{
    watch->ready = ready;
    watch->events = WATCH_NONE;
    return uv_poll_init(&worker->loop, &watch->poll, fd) == 0 ? WEIR_OK : WEIR_DESCRIPTORS;
}

void watch_want(struct watch *watch, unsigned events)
{
    if (watch->events == events) {
        return;
    }
    watch->events = events;
    // Both only fail on a closing handle, which watch_close has taken out of our hands.
    if (events == WATCH_NONE) {
        (void)uv_poll_stop(&watch->poll);
    } else {
        (void)uv_poll_start(&watch->poll, (int)events, on_poll);
    }
}

static void on_closed(uv_handle_t *handle)
{
    struct watch *watch = container_of((uv_poll_t *)handle, struct watch, poll);
    watch->closed(watch);
}

void watch_close(struct watch *watch, watch_closed_fn *closed)
{
    watch->closed = closed;
    watch->events = WATCH_NONE;
    uv_close((uv_handle_t *)&watch->poll, on_closed);
}
