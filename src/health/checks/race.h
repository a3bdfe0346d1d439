// SPDX-License-Identifier: Apache-2.0
// The connection of a check: a name becomes addresses, and those are raced (RFC 8305 section 5):
// each gets a head start of 250 ms over the next, a failed one gives way at once, the first that
// connects wins. What fails ends the check.
#ifndef WEIR_HEALTH_CHECKS_RACE_H
#define WEIR_HEALTH_CHECKS_RACE_H

#include "health/checks/check_internal.h"
#include "loop/resolver.h"
#include "loop/swarm.h"
#include "sys/resolve.h"
#include "sys/socket.h"

struct race;
// events: see swarm_fn; those that came with the end of connecting are not told again.
typedef void race_fn(struct race *race, unsigned events);
// Returns what it waits for: enum sys_ready_event.
typedef unsigned race_connected_fn(struct race *race, unsigned events);

struct race_attempt {
    struct swarm_socket socket;
    struct race *race;
};

struct race {
    struct check *check;
    race_connected_fn *connected;
    race_fn *ready;
    struct resolve *resolve; // NULL: none under way
    struct timer head_start;
    uint16_t port;
    bool speaks_first; // set by the caller: who connects sends, or closes, at once
    size_t ip_count;
    size_t ip_next;
    size_t under_way;         // attempts
    struct race_attempt *won; // NULL: not connected
    enum weir_result last;    // why the last attempt failed
    struct ip ips[SYS_RESOLVE_MAX];
    struct race_attempt attempts[SYS_RESOLVE_MAX];
};

// host: a name, or an address, with or without brackets. Zeroed before, but for speaks_first.
// connected is called once, ready from then on; both may end the check. May call the first, and end
// the check, before it returns.
void race_start(struct race *race, struct check *check, struct slice host, uint16_t port,
    race_connected_fn *connected, race_fn *ready);
// At once; in any state, also a zeroed one.
void race_close(struct race *race);
// What it is doing, for a message; NULL: it is connected.
const char *race_doing(const struct race *race);
static inline int race_fd(const struct race *race)
{
    return race->won->socket.fd;
}

#endif
