// SPDX-License-Identifier: Apache-2.0
// weir health --watch: the same answer again and again. On a terminal it is painted in place, with
// keys; into a pipe it goes as one JSON document a change, or one table an interval.
#ifndef WEIR_APP_HEALTH_WATCH_H
#define WEIR_APP_HEALTH_WATCH_H

#include "app/health/health_answer.h"
#include "app/health/health_fetch.h"

struct health_watch_options {
    const struct health_ask *ask;
    uint64_t interval_ns;
    const struct health_server *server; // who is asked; NULL: this process checks itself
    struct registry *registry;          // taken over; for a check by this process
    const char *ssh_dir;
};

// Until 'q', a signal, or nobody reads any more. Returns the exit code.
int health_watch(const struct health_watch_options *options);

#endif
