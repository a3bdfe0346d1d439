// SPDX-License-Identifier: Apache-2.0
// Readiness of many descriptors in one: by state (told as long as it lasts) or by edge (each change
// is told once).
#ifndef WEIR_SYS_EPOLL_H
#define WEIR_SYS_EPOLL_H

#include <stddef.h>
#include <stdint.h>

#include "base/result.h"

// An error or the end of everything shows as all of them.
enum sys_ready_event {
    SYS_READY_READ = 1,   // bytes, or the peer's end
    SYS_READY_WRITE = 2,  // room
    SYS_READY_HANGUP = 4, // the peer has closed its sending side, or all
    SYS_READY_ERROR = 8,  // told without being asked for: a reset, or the network gave up
};

struct sys_ready {
    void *owner;
    unsigned events; // enum sys_ready_event
};

enum weir_result sys_epoll_open(int *ret_fd) WEIR_MUST_CHECK;
// By state. WEIR_PERMISSION: fd is a plain file, which has no readiness.
enum weir_result sys_epoll_add(int epoll_fd, int fd, unsigned events, void *owner) WEIR_MUST_CHECK;
// Replaces what is told of fd. With no events, or errors only, an error or end is told once more,
// and no longer.
void sys_epoll_change(int epoll_fd, int fd, unsigned events, void *owner);
// By edge, errors too. The state the descriptor is in already is told as well.
enum weir_result sys_epoll_add_edges(
    int epoll_fd, int fd, unsigned events, void *owner) WEIR_MUST_CHECK;
// Before fd is closed: a copy of it in a program that starts just now would keep it alive.
void sys_epoll_remove(int epoll_fd, int fd);

// Waits until something is ready, or the time has come (rounded up to whole milliseconds; 0: does
// not wait; TIME_NEVER). Returns how many are ready, at most SYS_READY_MAX at once; the others come
// with the next call. 0 also when a signal came between.
#define SYS_READY_MAX 128
size_t sys_epoll_wait(int epoll_fd, struct sys_ready ready[SYS_READY_MAX], uint64_t timeout_ns);

// A descriptor that any thread can make readable.
enum weir_result sys_bell_open(int *ret_fd) WEIR_MUST_CHECK;
void sys_bell_ring(int fd);
void sys_bell_silence(int fd);

#endif
