// SPDX-License-Identifier: Apache-2.0
// A sign of life for whoever watches the monitor (spec section 9): a GET every minute. When it
// stays away, somebody else raises the alarm. Lives on the monitor's worker.
#ifndef WEIR_HEALTH_DEAD_MAN_H
#define WEIR_HEALTH_DEAD_MAN_H

#include "http/client.h"

struct dead_man {
    struct worker *worker; // NULL: not started
    const char *url;       // borrowed
    struct timer beat;
    struct http_call *call; // under way; NULL: none
    uint64_t sent;
    bool heard; // the last one was answered with 2xx
    bool told;  // what is in the log is `heard`
};

// The first one goes at once.
void dead_man_start(struct dead_man *dead_man, struct worker *worker, const char *url);
// Fine when it was not started, and twice.
void dead_man_stop(struct dead_man *dead_man);

#endif
