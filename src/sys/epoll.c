// SPDX-License-Identifier: Apache-2.0
#include "sys/epoll.h"

#include <errno.h>
#include <limits.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/time.h"
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

// Without the edge, an error or the end of both directions of a descriptor that nobody waits for
// would be told without end; nor would who waits for errors only want the end of them.
static uint32_t wishes_of(unsigned events)
{
    bool idle = (events & ~(unsigned)SYS_READY_ERROR) == 0;
    uint32_t wishes = idle ? (uint32_t)EPOLLET : 0u;
    wishes |= (events & SYS_READY_READ) != 0 ? (uint32_t)EPOLLIN : 0u;
    wishes |= (events & SYS_READY_WRITE) != 0 ? (uint32_t)EPOLLOUT : 0u;
    wishes |= (events & SYS_READY_HANGUP) != 0 ? (uint32_t)EPOLLRDHUP : 0u;
    return wishes;
}

static enum weir_result add(int epoll_fd, int fd, uint32_t wishes, void *owner)
{
    struct epoll_event event = {.events = wishes, .data = {.ptr = owner}};
    if (sys_fault_now()) {
        return WEIR_MEMORY;
    }
    return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0 ? WEIR_OK
                                                               : sys_result_of_errno(errno);
}

enum weir_result sys_epoll_add(int epoll_fd, int fd, unsigned events, void *owner)
{
    return add(epoll_fd, fd, wishes_of(events), owner);
}

enum weir_result sys_epoll_add_edges(int epoll_fd, int fd, unsigned events, void *owner)
{
    uint32_t hangup = (events & SYS_READY_READ) != 0 ? (uint32_t)EPOLLRDHUP : 0u;
    return add(epoll_fd, fd, wishes_of(events) | hangup | (uint32_t)EPOLLET, owner);
}

void sys_epoll_change(int epoll_fd, int fd, unsigned events, void *owner)
{
    struct epoll_event event = {.events = wishes_of(events), .data = {.ptr = owner}};
    // It is in there, and the kernel allocates nothing for this.
    (void)epoll_ctl(epoll_fd, EPOLL_CTL_MOD, fd, &event);
}

void sys_epoll_remove(int epoll_fd, int fd)
{
    // It is in there, and nothing else can fail.
    (void)epoll_ctl(epoll_fd, EPOLL_CTL_DEL, fd, NULL);
}

static unsigned events_of(uint32_t events)
{
    const uint32_t broken = (uint32_t)EPOLLHUP | EPOLLERR;
    unsigned ready = 0;
    ready |= (events & (EPOLLIN | EPOLLRDHUP | broken)) != 0 ? SYS_READY_READ : 0u;
    ready |= (events & (EPOLLOUT | broken)) != 0 ? SYS_READY_WRITE : 0u;
    ready |= (events & (EPOLLRDHUP | broken)) != 0 ? SYS_READY_HANGUP : 0u;
    ready |= (events & EPOLLERR) != 0 ? SYS_READY_ERROR : 0u;
    return ready;
}

static int milliseconds(uint64_t ns)
{
    if (ns == TIME_NEVER) {
        return -1;
    }
    uint64_t ms = ns / NS_PER_MS + (ns % NS_PER_MS != 0);
    return ms > INT_MAX ? INT_MAX : (int)ms;
}

size_t sys_epoll_wait(int epoll_fd, struct sys_ready ready[SYS_READY_MAX], uint64_t timeout_ns)
{
    struct epoll_event events[SYS_READY_MAX];
    int count = epoll_wait(epoll_fd, events, SYS_READY_MAX, milliseconds(timeout_ns));
    for (int i = 0; i < count; i++) {
        ready[i].owner = events[i].data.ptr;
        ready[i].events = events_of(events[i].events);
    }
    return count < 0 ? 0 : (size_t)count;
}

enum weir_result sys_bell_open(int *ret_fd)
{
    if (sys_fault_now()) {
        return WEIR_DESCRIPTORS;
    }
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0) {
        return sys_result_of_errno(errno);
    }
    *ret_fd = fd;
    return WEIR_OK;
}

void sys_bell_ring(int fd)
{
    uint64_t one = 1;
    // It only fails when it rings already.
    ssize_t written = write(fd, &one, sizeof one);
    (void)written;
}

void sys_bell_silence(int fd)
{
    uint64_t rung;
    ssize_t got = read(fd, &rung, sizeof rung);
    (void)got; // it did not ring
}
