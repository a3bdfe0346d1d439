// SPDX-License-Identifier: Apache-2.0
// The embedded platform as a part of a process: carries requests over HTTP to it and its answers
// back, on worker 0. It serves until the other parts have drained.
#ifndef WEIR_APP_PLATFORM_SERVER_H
#define WEIR_APP_PLATFORM_SERVER_H

#include "app/process.h"
#include "http/server.h"
#include "platform/platform.h"

struct platform_server {
    struct part part;
    struct http_server server;
    struct http_options options;
    const struct platform *platform; // borrowed
    int fd;                          // owned until it is served, then -1
};

// fd is a listening socket; the process owns it from process_run on.
void platform_server_init(struct platform_server *server, const struct platform *platform, int fd);

#endif
