// SPDX-License-Identifier: Apache-2.0
// The platform as it is served: a listener, the answers of platform/platform.h, and a store behind
// the bus and presence. One worker carries all of it; more processes share a PostgreSQL.
#ifndef WEIR_PLATFORM_SERVICE_H
#define WEIR_PLATFORM_SERVICE_H

#include "http/server.h"
#include "platform/config.h"
#include "platform/platform.h"
#include "platform/platform_metrics.h"
#include "platform/store.h"
#include "stream/tls_context.h"

struct platform_service_options {
    struct platform *platform;            // borrowed
    const struct platform_config *config; // borrowed
    const char *store_path;               // of the SQLite file; borrowed
    int fd;                               // a listening socket, owned from here on
};

struct platform_service {
    struct platform_service_options options;
    struct worker *worker; // NULL: not started
    struct http_server server;
    struct http_options http;
    struct tls_settings tls_settings;
    struct tls_tickets tickets;
    struct tls_server tls;
    struct platform_store *store; // owned
    struct platform_metrics metrics;
    struct timer second; // certificates, and what counts in seconds
    uint64_t keys_due_ns;
    uint64_t purge_due_ns;
    uint64_t keys_seen;            // changes with what log lines say of the keys
    struct store_call *keys_call;  // under way; NULL: none
    struct keys_maker *keys_maker; // owned; NULL: no key is being made
    // The bus: errands, see errand.h.
    struct list errands;    // all
    struct list pulls;      // those that wait, or ask the store
    struct list publishing; // in the transaction under way
    struct list pending;    // for the next one
    struct store_call *publish_call;
    bool draining;
    bool store_was_ok;
    bool store_told; // in the log, once
    uint64_t store_reconnects;
};

// service is zeroed before. problem (size bytes) says in English what WEIR_CRYPTO or another
// failure was about; platform_service_stop is to be called then as well.
enum weir_result platform_service_start(struct platform_service *service, struct worker *worker,
    const struct platform_service_options *options, char *problem, size_t size) WEIR_MUST_CHECK;
// Certificates and signing keys are looked at now.
void platform_service_reload(struct platform_service *service);
// No new connections; pulls that wait are answered at once.
void platform_service_drain(struct platform_service *service);
// Nobody is connected any more.
bool platform_service_is_idle(const struct platform_service *service);
// Fine when it was not started, and twice.
void platform_service_stop(struct platform_service *service);

#endif
