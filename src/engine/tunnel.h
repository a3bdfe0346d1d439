// SPDX-License-Identifier: Apache-2.0
// A tunnel as everybody sees it: made when it opens, never changed afterwards, shared by all
// workers. Whoever keeps one across turns holds a reference; that is once a connection or a stream,
// never on the data path.
#ifndef WEIR_ENGINE_TUNNEL_H
#define WEIR_ENGINE_TUNNEL_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/result.h"
#include "base/slice.h"
#include "conf/conf.h"

#define TUNNEL_ID_SIZE 37 // a UUID in text, with its NUL
#define TUNNEL_HOST_SIZE 254
#define TUNNEL_NAME_SIZE 129

enum tunnel_protocol { TUNNEL_PRIVATE, TUNNEL_HTTP, TUNNEL_TLS, TUNNEL_TCP };
enum tunnel_upstream { TUNNEL_UPSTREAM_HTTP1, TUNNEL_UPSTREAM_H2C, TUNNEL_UPSTREAM_NEGOTIATED };

struct tunnel_label {
    char *key;
    char *value;
};

struct tunnel {
    atomic_uint refs;
    atomic_bool open; // cleared when it closes: no new streams from then on
    char id[TUNNEL_ID_SIZE];
    char client_id[TUNNEL_ID_SIZE];
    char name[TUNNEL_NAME_SIZE];     // "" when it has none
    char hostname[TUNNEL_HOST_SIZE]; // "" when it is private
    uint16_t port;                   // 0 when it is private
    uint64_t created_ms;             // wall clock
    enum tunnel_protocol protocol;
    bool published;
    enum tunnel_upstream upstream; // of an HTTP tunnel
    bool upstream_tls;
    bool passthrough;        // of a TLS tunnel
    uint16_t tls_version_min; // TLS1_2_VERSION or TLS1_3_VERSION
    char *tls_ciphers;       // owned; OpenSSL's list, NULL: ours
    struct slice alpns;      // owned; RFC 7301 wire form (length, bytes), empty: none
    struct tunnel_label *labels; // owned
    size_t label_count;
    struct conf_networks trusted_ips; // empty: everybody
    bool token_auth;
    struct slice json; // owned; the object of spec section 8.5, online

    unsigned worker;  // that holds its control channel
    uint64_t channel; // number of that control channel, never used twice

    _Atomic uint64_t streams_active; // for limits and the per-tunnel series
    _Atomic uint64_t streams_total;
    _Atomic uint64_t bytes_in;  // from visitors, written a chunk at a time
    _Atomic uint64_t bytes_out; // to visitors
};

struct tunnel *tunnel_ref(struct tunnel *tunnel);
// NULL is fine. Any thread.
void tunnel_unref(struct tunnel *tunnel);

#endif
