// SPDX-License-Identifier: Apache-2.0
// Readiness of many short-lived sockets on a worker. The worker's loop watches one descriptor for
// all of them, and each costs two system calls for its whole life, where a struct watch costs five
// and more. The price: edges. What is ready is told once, so that its owner reads until WEIR_AGAIN.
#ifndef WEIR_LOOP_SWARM_H
#define WEIR_LOOP_SWARM_H

#include "loop/worker.h"
#include "sys/epoll.h"

struct swarm;
struct swarm_socket;
// events: enum sys_ready_event. May close this socket or any other, and free their memory.
typedef void swarm_fn(struct swarm_socket *socket, unsigned events);

// Zeroed when not open.
struct swarm_socket {
    struct swarm *swarm; // NULL: not open
    swarm_fn *ready;
    int fd; // owned while open
    bool watched;
};

enum weir_result swarm_new(struct worker *worker, struct swarm **ret_swarm) WEIR_MUST_CHECK;
// No socket may be open. Its memory goes at the end of the turn. NULL is fine.
void swarm_free(struct swarm *swarm);

// Takes fd over.
void swarm_open(struct swarm *swarm, struct swarm_socket *socket, int fd, swarm_fn *ready);
// Calls come from now on, of events (enum sys_ready_event) and errors; never synchronously. Only
// once. Who is through with a socket before costs no call at all.
enum weir_result swarm_watch(struct swarm_socket *socket, unsigned events) WEIR_MUST_CHECK;
// At once: no call comes any more, the memory may go. Fine when it is not open.
void swarm_close(struct swarm_socket *socket);

#endif
