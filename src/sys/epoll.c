// SPDX-License-Identifier: Apache-2.0
#include "sys/epoll.h"

#include <errno.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "sys/errors.h"
#include "sys/fault.h"

enum weir_result sys_epoll_open(int *ret_fd)
{
    if (sys_fault_now()) {
        return WEIR_DESCRIPTORS;
    }
    int fd = epoll_create1(EPOLL_CLOEXEC);
    if (fd < 0) {
        return sys_result_of_errno(errno);
    }
    *ret_fd = fd;
    return WEIR_OK;
}

enum weir_result sys_epoll_add(int epoll_fd, int fd, unsigned events, void *owner)
{
    struct epoll_event event = {.events = (uint32_t)EPOLLET, .data = {.ptr = owner}};
    event.events |= (events & SYS_READY_READ) != 0 ? (uint32_t)EPOLLIN | EPOLLRDHUP : 0u;
    event.events |= (events & SYS_READY_WRITE) != 0 ? (uint32_t)EPOLLOUT : 0u;
    if (sys_fault_now()) {
        return WEIR_MEMORY;
    }
    return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0 ? WEIR_OK
                                                               : sys_result_of_errno(errno);
}

void sys_epoll_remove(int epoll_fd, int fd)
{
    // It is in there, and nothing else can fail.
    (void)epoll_ctl(epoll_fd, EPOLL_CTL_DEL, fd, NULL);
}

static unsigned events_of(uint32_t events)
{
    unsigned ready = 0;
    ready |= (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0 ? SYS_READY_READ : 0u;
    ready |= (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0 ? SYS_READY_WRITE : 0u;
    ready |= (events & EPOLLERR) != 0 ? SYS_READY_ERROR : 0u;
    return ready;
}

size_t sys_epoll_take(int epoll_fd, struct sys_ready *ready, size_t max)
{
    struct epoll_event events[SYS_READY_MAX];
    int count = epoll_wait(epoll_fd, events, max < SYS_READY_MAX ? (int)max : SYS_READY_MAX, 0);
    // Interrupted: the loop asks again.
    for (int i = 0; i < count; i++) {
        ready[i].owner = events[i].data.ptr;
        ready[i].events = events_of(events[i].events);
    }
    return count < 0 ? 0 : (size_t)count;
}
