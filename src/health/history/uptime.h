// SPDX-License-Identifier: Apache-2.0
// How long a service was up and down, out of the events of the timeline (spec section 4.4). It is
// down while it is unhealthy, up while it is healthy or degraded, and neither while its state is
// unknown, so that what nobody knows counts for nothing. What others told (a failure, a start)
// counts only for times of which weir knows nothing itself. Pure.
#ifndef WEIR_HEALTH_UPTIME_H
#define WEIR_HEALTH_UPTIME_H

#include <stdbool.h>
#include <stdint.h>

#include "health/event_ring.h"

enum presence { PRESENCE_UNKNOWN, PRESENCE_DOWN, PRESENCE_UP };
#define PRESENCE_COUNT 3

// "unknown", "down", "up".
const char *presence_name(enum presence presence);
enum presence presence_of(unsigned status);

// A walk from now into the past.
struct uptime {
    uint64_t spent_ms[PRESENCE_COUNT];
    unsigned failures;
    unsigned recoveries;
    enum presence now;
    uint64_t changed_ms; // the newest change; 0: none is known
    // A stretch of time that is sorted out, newest first; NULL: not interested.
    void (*stretch)(void *arg, enum presence presence, uint64_t from_ms, uint64_t to_ms);
    void *arg;
    // of the walk
    uint64_t since_ms;
    uint64_t at_ms;     // everything after it is sorted out
    enum presence held; // just before it, as far as is known
    bool reported;      // by somebody else
    bool over;
};

void uptime_begin(struct uptime *uptime, unsigned status_now, uint64_t since_ms, uint64_t now_ms);
// An event of the service, newest first. Those that change nothing are passed over.
void uptime_take(struct uptime *uptime, const struct health_event *event);

// The uptime log's words: failure, recovery, start, stop, restart, deployment. NULL: the event is
// none of these.
const char *uptime_word(const struct health_event *event);
// False: there is no such word.
bool uptime_type_of_word(const char *word, enum event_type *ret_type);

#endif
