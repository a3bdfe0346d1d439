// SPDX-License-Identifier: Apache-2.0
// Carries requests over HTTP to the embedded platform and its answers back.
#ifndef WEIR_APP_PLATFORM_SERVER_H
#define WEIR_APP_PLATFORM_SERVER_H

#include "http/server.h"
#include "platform/platform.h"

struct platform_server {
    struct http_server server;
    struct http_options options;
    const struct platform *platform; // borrowed
};

// On one worker; fd is a listening socket, owned from here on.
enum weir_result platform_server_open(struct platform_server *server, struct worker *worker,
    const struct platform *platform, int fd) WEIR_MUST_CHECK;
// Safe on a server that never opened (all zero).
void platform_server_close(struct platform_server *server);

#endif
