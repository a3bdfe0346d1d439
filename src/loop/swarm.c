// SPDX-License-Identifier: Apache-2.0
// An epoll descriptor of its own that the worker's loop watches.
//
// 1. A batch that was taken from the kernel names sockets by pointer; one that is closed while the
//    batch is told is struck out of it.
// 2. One batch a turn: what is left keeps the descriptor readable, and comes in the next.
#include "loop/swarm.h"

#include "base/mem.h"
#include "loop/watch.h"
#include "sys/socket.h"

struct swarm {
    struct watch watch;
    int fd;
    struct sys_ready batch[SYS_READY_MAX];
    size_t batch_count;
    size_t batch_next; // the first that was not told yet
    size_t open_count;
};

static void on_ready(struct watch *watch, unsigned events)
{
    struct swarm *swarm = container_of(watch, struct swarm, watch);
    (void)events;
    swarm->batch_count = sys_epoll_wait(swarm->fd, swarm->batch, 0);
    swarm->batch_next = 0;
    while (swarm->batch_next < swarm->batch_count) {
        const struct sys_ready *ready = &swarm->batch[swarm->batch_next++];
        struct swarm_socket *socket = ready->owner;
        if (socket != NULL) {
            socket->ready(socket, ready->events);
        }
    }
    swarm->batch_count = 0;
}

static void on_closed(struct watch *watch)
{
    mem_free(container_of(watch, struct swarm, watch));
}

enum weir_result swarm_new(struct worker *worker, struct swarm **ret_swarm)
{
    struct swarm *swarm = mem_zalloc(sizeof *swarm);
    if (swarm == NULL) {
        return WEIR_MEMORY;
    }
    enum weir_result result = sys_epoll_open(&swarm->fd);
    if (result != WEIR_OK) {
        mem_free(swarm);
        return result;
    }
    result = watch_open(worker, &swarm->watch, swarm->fd, on_ready);
    if (result != WEIR_OK) {
        sys_close(swarm->fd);
        mem_free(swarm);
        return result;
    }
    watch_want(&swarm->watch, WATCH_READ);
    *ret_swarm = swarm;
    return WEIR_OK;
}

void swarm_free(struct swarm *swarm)
{
    if (swarm != NULL) {
        weir_assert(swarm->open_count == 0);
        watch_close(&swarm->watch, on_closed);
        sys_close(swarm->fd);
    }
}

void swarm_open(struct swarm *swarm, struct swarm_socket *socket, int fd, swarm_fn *ready)
{
    *socket = (struct swarm_socket){.swarm = swarm, .ready = ready, .fd = fd};
    swarm->open_count++;
}

enum weir_result swarm_watch(struct swarm_socket *socket, unsigned events)
{
    enum weir_result result = sys_epoll_add_edges(socket->swarm->fd, socket->fd, events, socket);
    socket->watched = result == WEIR_OK;
    return result;
}

void swarm_close(struct swarm_socket *socket)
{
    struct swarm *swarm = socket->swarm;
    if (swarm == NULL) {
        return;
    }
    if (socket->watched) {
        sys_epoll_remove(swarm->fd, socket->fd);
    }
    sys_close(socket->fd);
    socket->swarm = NULL;
    swarm->open_count--;
    for (size_t i = swarm->batch_next; i < swarm->batch_count; i++) {
        if (swarm->batch[i].owner == socket) {
            swarm->batch[i].owner = NULL;
        }
    }
}
