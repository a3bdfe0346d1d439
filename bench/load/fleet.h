// SPDX-License-Identifier: Apache-2.0
// Many connections: cells, each with a daemon (or none) and clients, opened a bounded number at a
// time. Connection i belongs to cell i / per_cell; the first of a cell is its daemon, if it has
// one.
#ifndef BENCH_FLEET_H
#define BENCH_FLEET_H

#include <stdbool.h>
#include <sys/epoll.h>

#include "conn.h"
#include "hist.h"

struct fleet_options {
    struct sockaddr_in address;
    struct sockaddr_in client_address; // port 0: clients go where daemons do
    bool tls;
    bool masked_ok; // accept masked frames from the server (the floor rewrites nothing)
    unsigned cells;
    unsigned clients;  // a cell
    unsigned daemons;  // a cell: 0 or 1
    unsigned parallel; // upgrades in progress at once
    unsigned sources;  // source addresses 127.0.0.1 ... to spread over
};

enum { FLEET_EVENTS = 256 };

struct fleet {
    struct fleet_options options;
    int epoll;
    SSL_CTX *tls;
    unsigned count;
    struct conn *conns;
    struct hist upgrade_ns; // connect() to 101
    struct epoll_event events[FLEET_EVENTS];
};

// Opens every connection and returns when all are; `options` is copied.
void fleet_open(struct fleet *f, const struct fleet_options *options);

// Waits for events; returns how many stand in f->events, 0 after `timeout_ms` or a signal.
int fleet_wait(struct fleet *f, int timeout_ms);

bool fleet_is_daemon(const struct fleet *f, const struct conn *c);

// Reads what came in on a connection at rest: answers pings, dies on any message.
void fleet_read_idle(struct fleet *f, struct conn *c);

// Dies unless the server keeps the masking rule of RFC 6455 section 5.1.
void fleet_check_mask(const struct fleet *f, const struct conn *c);

#endif
