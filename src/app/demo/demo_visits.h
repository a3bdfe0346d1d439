// SPDX-License-Identifier: Apache-2.0
// Visitors of what `weir up --demo` publishes: requests through the engine, over TLS that is
// verified, one at a time at a rate that rises and falls. Most use a connection that is kept, some
// make one of their own.
#ifndef WEIR_APP_DEMO_VISITS_H
#define WEIR_APP_DEMO_VISITS_H

#include "http/client.h"

struct demo_visits_options {
    struct worker *worker;
    const char *host;       // that is published, and named by the certificate
    const char *ca_path;    // borrowed
    const char *connect_to; // "ADDR:PORT" of the engine
    unsigned port;          // the same, for the URL
};

struct demo_visits {
    struct worker *worker; // NULL: not started
    struct http_tls_profile tls;
    char base[320]; // of the URLs
    char connect_to[64];
    struct http_call *call; // under way, or NULL
    struct timer beat;
    uint64_t asked;
    bool failing; // the last one did, and the log says so
};

// visits is zeroed before. The first request comes soon.
void demo_visits_start(struct demo_visits *visits, const struct demo_visits_options *options);
// Safe to repeat, and when it was not started.
void demo_visits_stop(struct demo_visits *visits);

#endif
