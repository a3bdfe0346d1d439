// SPDX-License-Identifier: Apache-2.0
// News of a running monitor, for --watch: its WebSocket /ws, which says when there is something new
// to ask for. One that is lost is opened again, after a second and longer; who watches goes on
// asking at intervals meanwhile.
#ifndef WEIR_APP_HEALTH_FEED_H
#define WEIR_APP_HEALTH_FEED_H

#include "app/health/health_fetch.h"
#include "loop/resolver.h"
#include "stream/ws_client.h"

#define FEED_HOST_SIZE 256
#define FEED_TARGET_SIZE 1024

struct health_feed {
    struct worker *worker; // NULL: not open
    const struct health_server *server;
    void (*news)(void *arg);
    void *arg;
    char host[FEED_HOST_SIZE];
    char target[FEED_TARGET_SIZE]; // path and query
    uint16_t port;
    SSL_CTX *tls; // owned; NULL: plain
    struct timer again;
    unsigned failures; // in a row
    struct resolve *resolve;
    struct ip ips[4];
    size_t ip_count;
    struct ws_dial *dial;
    struct ws ws;
    bool ws_used; // from connected until the transport gives its memory back
};

// news: something has changed, or may have; never called synchronously. A server whose address
// cannot be used is never heard. server outlives the feed.
enum weir_result health_feed_open(struct health_feed *feed, struct worker *worker,
    const struct health_server *server, void (*news)(void *arg), void *arg) WEIR_MUST_CHECK;
// No news any more. Fine for a zeroed one, as is the next.
void health_feed_close(struct health_feed *feed);
// Settles the worker until nothing of it is left.
void health_feed_fini(struct health_feed *feed, struct worker *worker);

#endif
