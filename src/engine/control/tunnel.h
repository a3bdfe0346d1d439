// SPDX-License-Identifier: Apache-2.0
// A tunnel as everybody sees it: made when it opens, never changed afterwards, shared by all
// workers. Whoever keeps one across turns holds a reference; that is once a connection or a stream,
// never on the data path.
#ifndef WEIR_ENGINE_TUNNEL_H
#define WEIR_ENGINE_TUNNEL_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/result.h"
#include "base/slice.h"
#include "conf/conf.h"
#include "proto/rstrm.h"

#define TUNNEL_ID_SIZE 37 // a UUID in text, with its NUL
#define TUNNEL_HOST_SIZE 254
#define TUNNEL_NAME_SIZE 129
#define TUNNEL_IDENTITY_SIZE 65 // see token.h

enum tunnel_protocol { TUNNEL_PRIVATE, TUNNEL_HTTP, TUNNEL_TLS, TUNNEL_TCP };
enum tunnel_upstream { TUNNEL_UPSTREAM_HTTP1, TUNNEL_UPSTREAM_H2C, TUNNEL_UPSTREAM_NEGOTIATED };

// One allocation: texts and lists lie behind the struct.
struct tunnel {
    atomic_uint refs;
    atomic_bool open; // from directory_add until it closes: no new streams afterwards
    char id[TUNNEL_ID_SIZE];
    char client_id[TUNNEL_ID_SIZE];
    char identity[TUNNEL_IDENTITY_SIZE]; // whose it is
    char name[TUNNEL_NAME_SIZE];         // "" when it has none
    char hostname[TUNNEL_HOST_SIZE];     // lower case; "" when it is private
    uint16_t port;                       // that visitors use; 0 when it is private
    uint64_t created_ms;                 // wall clock
    enum tunnel_protocol protocol;
    bool published;
    bool host_generated;           // nobody asked for this hostname
    enum tunnel_upstream upstream; // of an HTTP tunnel
    bool upstream_tls;
    bool passthrough;                 // of a TLS tunnel
    uint16_t tls_version_min;         // TLS1_2_VERSION or TLS1_3_VERSION
    const char *tls_ciphers;          // OpenSSL's list for TLS 1.2; NULL: ours
    struct slice alpns;               // RFC 7301 wire form (length, bytes), empty: none
    struct conf_networks trusted_ips; // none: everybody
    bool token_auth;
    struct slice user_id; // of the token; "" without
    // Effective and complete, as OpenTunnelRsp returns them (spec section 4.8).
    struct rstrm_tunnel_properties properties;
    struct rstrm_timestamp created; // what properties.creation_date points to
    struct slice json;              // owned; the object of spec section 8.5, online

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
// Appends the object of spec section 8.5.
void tunnel_write_json(const struct tunnel *tunnel, bool online, struct buf *out);

// Writes a random UUID (RFC 4122 version 4) as text.
enum weir_result tunnel_random_id(char id[TUNNEL_ID_SIZE]) WEIR_MUST_CHECK;

#endif
