// SPDX-License-Identifier: Apache-2.0
// The API on a Unix socket, for the command line on this machine (spec section 6.2): who may open
// it is the monitor's user, and needs no token. Of several monitors with the same path the first
// one has it; another takes over within seconds when that one ends, however it ends.
#ifndef WEIR_HEALTH_LOCAL_SOCKET_H
#define WEIR_HEALTH_LOCAL_SOCKET_H

#include "http/server.h"

struct local_socket {
    struct worker *worker; // NULL: not started
    const char *path;      // borrowed
    const struct http_options *options;
    struct http_server server;
    struct timer look; // when to try again to get it
    int lock_fd;       // whoever holds the lock has the path; -1: somebody else does
    bool complained;
};

// options outlive it; unix_socket is set. What cannot be had now is tried again.
void local_socket_start(struct local_socket *local, struct worker *worker, const char *path,
    const struct http_options *options);
// Requests under way are answered. Fine when it was not started, as is the next one.
void local_socket_drain(struct local_socket *local);
void local_socket_stop(struct local_socket *local);

#endif
