// SPDX-License-Identifier: Apache-2.0
// A watch is in its worker's epoll set from watch_open to watch_close, by state and not by edge, so
// that nobody has to read until nothing is left. That costs two system calls for a watch that waits
// to read all its life; wishes that change cost one each at most.
//
// Invariants:
// 1. While a watch is open, told holds every bit of wanted, or the watch is on the list of changes.
// 2. What is ready and not wanted is taken back from the kernel at the end of that turn: it does
// not
//    come again and again.
// 3. From watch_close on wanted is WATCH_NONE, so that what the kernel has already reported in this
//    turn finds nobody. The memory stays until then.
#include "loop/watch.h"

enum weir_result watch_open(struct worker *worker, struct watch *watch, int fd, watch_fn *ready)
{
    *watch = (struct watch){.worker = worker, .ready = ready, .fd = fd, .told = WATCH_READ};
    list_init(&watch->node);
    return sys_epoll_add(worker->epoll_fd, fd, watch->told, watch);
}

static void note_change(struct watch *watch)
{
    if (!list_linked(&watch->node)) {
        list_push_back(&watch->worker->changed, &watch->node);
    }
}

void watch_want(struct watch *watch, unsigned events)
{
    watch->wanted = (uint8_t)events;
    if ((events & ~(unsigned)watch->told) != 0) {
        note_change(watch);
    }
}

void watch_flush_changes(struct worker *worker)
{
    for (struct list *node = list_pop_front(&worker->changed); node != NULL;
         node = list_pop_front(&worker->changed)) {
        struct watch *watch = container_of(node, struct watch, node);
        if (watch->told != watch->wanted) {
            watch->told = watch->wanted;
            sys_epoll_change(worker->epoll_fd, watch->fd, watch->told, watch);
        }
    }
}

void watch_dispatch(struct watch *watch, unsigned events)
{
    unsigned wanted = events & watch->wanted;
    if ((events & watch->told & ~wanted) != 0) {
        note_change(watch);
    }
    if (wanted != 0) {
        watch->ready(watch, wanted);
    }
}

void watch_close(struct watch *watch, watch_closed_fn *closed)
{
    watch->closed = closed;
    watch->wanted = watch->told = WATCH_NONE;
    sys_epoll_remove(watch->worker->epoll_fd, watch->fd);
    list_remove(&watch->node);
    list_push_back(&watch->worker->closing, &watch->node);
}

void watch_finish_closing(struct worker *worker)
{
    struct list closing;
    list_take_all(&worker->closing, &closing);
    for (struct list *node = list_pop_front(&closing); node != NULL;
         node = list_pop_front(&closing)) {
        struct watch *watch = container_of(node, struct watch, node);
        watch->closed(watch);
    }
}
