// SPDX-License-Identifier: Apache-2.0
// The listening sockets of one address, one for each worker: made by us (SO_REUSEPORT), or passed
// by a service manager that keeps them open from one process to the next (sys/supervisor.h).
#ifndef WEIR_STREAM_LISTEN_SET_H
#define WEIR_STREAM_LISTEN_SET_H

#include "stream/listener.h"

struct listen_wish {
    const char *name; // of sockets that are passed
    const char *host; // as sys_address_parse takes it
    uint16_t port;    // 0: any
    unsigned count;   // workers
};

// All zero: nothing listens.
struct listen_set {
    struct sys_address address; // what is listened on
    int *fds;                   // owned; each a worker's until it takes it, then -1
    unsigned count;
    bool inherited;
};

// Passed sockets have to be where the wish says, so that nobody listens where the configuration
// does not; with fewer of them than workers, workers share them. When somebody else listens there
// already, the log says so (listen_shared). problem (size bytes) says in English what is wrong. On
// the main thread. The set is to be closed also after a failure.
enum weir_result listen_set_open(struct listen_set *set, const struct listen_wish *wish,
    char *problem, size_t size) WEIR_MUST_CHECK;
// A worker's socket, once each; it goes to a listener, which then learns whether it was passed.
int listen_set_take(struct listen_set *set, unsigned worker);
// Closes what nobody has taken. Safe to repeat.
void listen_set_close(struct listen_set *set);

#endif
