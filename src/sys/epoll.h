// SPDX-License-Identifier: Apache-2.0
// Readiness of many descriptors in one, edge by edge: each change is told once.
#ifndef WEIR_SYS_EPOLL_H
#define WEIR_SYS_EPOLL_H

#include <stddef.h>

#include "base/result.h"

enum sys_ready_event {
    SYS_READY_READ = 1,  // bytes, the peer's end, or an error
    SYS_READY_WRITE = 2, // room, or an error
    SYS_READY_ERROR = 4,
};

struct sys_ready {
    void *owner;
    unsigned events; // enum sys_ready_event
};

enum weir_result sys_epoll_open(int *ret_fd) WEIR_MUST_CHECK;
// Waits for errors, and those events. The state the descriptor is in already is told as well.
enum weir_result sys_epoll_add(int epoll_fd, int fd, unsigned events, void *owner) WEIR_MUST_CHECK;
// Before fd is closed: a copy of it in a program that starts just now would keep it alive.
void sys_epoll_remove(int epoll_fd, int fd);
// What happened since; never waits. At most SYS_READY_MAX at once.
#define SYS_READY_MAX 128
size_t sys_epoll_take(int epoll_fd, struct sys_ready *ready, size_t max);

#endif
