// SPDX-License-Identifier: Apache-2.0
// What an agent asks of a tunnel, and what it gets (spec section 5). Pure but for the random id and
// hostname.
//
// Order of checks: enums and syntax (2000), what this engine does not offer (5000, the message
// names the option), combinations (2000), sizes (7000). Conflicts are the directory's.
#ifndef WEIR_ENGINE_PROPERTIES_H
#define WEIR_ENGINE_PROPERTIES_H

#include "engine/control/token.h"
#include "engine/control/tunnel.h"
#include "proto/rstrm.h"

struct tunnel_rules {
    const char *host;     // engine.host, lower case
    uint16_t public_port; // of the TLS port, as visitors see it (spec section 5.5)
    size_t labels_max;
    bool trusted_ips; // extensions (5.8)
    bool token_auth;
    uint16_t tcp_port_min; // range of published TCP ports (5.9); 0: none are offered
    uint16_t tcp_port_max;
    uint16_t tcp_port_free; // given to who asks for TCP without a port; 0: none is left
};

// Who asks.
struct tunnel_owner {
    const char *client_id;
    const char *identity;
    struct slice user_id;
    unsigned worker;
    uint64_t channel;
};

struct tunnel_refusal {
    enum rstrm_code code;
    char message[256];
    const char *reason; // for the log, where it says more than the agent is told; or NULL
};

// A tunnel with one reference, not open yet; or NULL, and the refusal is filled. Properties that
// only the engine sets (id, creation_date, host) are ignored, and so are empty texts.
struct tunnel *properties_accept(const struct rstrm_tunnel_properties *asked,
    const struct tunnel_rules *rules, const struct tunnel_owner *owner,
    struct tunnel_refusal *ret_refusal) WEIR_MUST_CHECK;

#endif
