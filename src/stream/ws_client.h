// SPDX-License-Identifier: Apache-2.0
// Dials a WebSocket: TCP, TLS, the opening handshake of RFC 6455 section 4.1; then the connection
// is an ordinary struct ws with a client's policy.
#ifndef WEIR_STREAM_WS_CLIENT_H
#define WEIR_STREAM_WS_CLIENT_H

#include "stream/websocket.h"

struct ws_dial;

struct ws_dial_options {
    const char *peer; // what it is called in reasons: "the relay"
    const char *host; // of the URL, for SNI, certificate and Host; an IPv6 address has no brackets
    uint16_t port;
    const char *target; // path and query
    const char *token;  // sent as Authorization: Bearer; NULL: none
    SSL_CTX *tls;       // borrowed; NULL: plain
    bool verify_host;
    struct sys_address address; // resolved
    const char *unix_path;      // a Unix socket to go to instead; NULL: none
    uint64_t timeout_ns;
    const struct ws_policy *policy;
};

// connected: ws is open (the memory the caller gave). failed: nothing is open; reason is English
// and valid during the call; status is that of the answer, 0 when there was none. Exactly one of
// the two is called, never synchronously.
struct ws_dial_events {
    void (*connected)(void *arg);
    void (*failed)(void *arg, const char *reason, unsigned status);
};

// NULL when memory or descriptors ran out.
struct ws_dial *ws_dial_start(struct worker *worker, struct ws *ws,
    const struct ws_dial_options *options, const struct ws_dial_events *events,
    void *arg) WEIR_MUST_CHECK;
// Ends it soon: failed is called, unless connected or failed is on its way already.
void ws_dial_give_up(struct ws_dial *dial);

#endif
