// SPDX-License-Identifier: Apache-2.0
// A running process: the workers, a relay on them and, for `weir up`, the embedded platform. Signals:
// SIGTERM and SIGINT drain, a second one ends at once, SIGHUP reloads.
#ifndef WEIR_APP_SERVICE_H
#define WEIR_APP_SERVICE_H

#include "conf/conf.h"
#include "platform/platform.h"
#include "relay/relay.h"

struct service_options {
    const struct conf_source *source; // the relay's configuration
    const char *listen;               // "ADDR:PORT" or NULL; wins over the source
    const char *workers;              // or NULL
    const struct platform *platform;  // served on platform_address; NULL: none
    struct sys_address platform_address;
    int platform_fd; // listening; owned by the service from service_run on
    void (*ready)(const struct relay *relay, void *arg); // may be NULL
    void *arg;
};

// Runs until the end; returns the exit code. Problems go to standard error, one a line.
int service_run(const struct service_options *options);

#endif
