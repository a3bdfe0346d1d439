// SPDX-License-Identifier: Apache-2.0
// The small HTTP service that `weir up --demo` publishes, on one worker and on loopback. Its page
// shows the time, how often it was asked, and the request as it came through the tunnel: as HTML
// where that is wanted, else as text.
//
//   /          the page
//   /data      some bytes, never the same number, so that there is traffic
//   /session   200 while the demo's relay session lives, else 503: for a check
#ifndef WEIR_APP_DEMO_SERVICE_H
#define WEIR_APP_DEMO_SERVICE_H

#include "http/server.h"

struct demo_service {
    struct http_server server;
    struct http_options http;
    uint64_t asked;
    bool open;
    // Says in English how the session fares.
    bool (*session_lives)(void *arg, char *text, size_t size);
    void *arg;
};

// service has session_lives and arg set, the rest zeroed. fd is a listening socket, owned from here
// on, also on failure.
enum weir_result demo_service_open(
    struct demo_service *service, struct worker *worker, int fd) WEIR_MUST_CHECK;
// Safe to repeat, and on one that never opened.
void demo_service_close(struct demo_service *service);

#endif
