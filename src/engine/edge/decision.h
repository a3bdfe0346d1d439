// SPDX-License-Identifier: Apache-2.0
// What a connection on the TLS port is, by its ClientHello alone (spec section 1.4): before
// anything is answered, because the TLS of a passthrough tunnel must not be ended here.
#ifndef WEIR_ENGINE_DECISION_H
#define WEIR_ENGINE_DECISION_H

#include "engine/control/tunnel.h"
#include "proto/clienthello.h"

enum decision {
    DECIDED_AGENT,       // rstrm/1
    DECIDED_HTTP,        // h2 or http/1.1, for a tunnel, the API or a name nobody has
    DECIDED_TLS_TUNNEL,  // TLS ends here, the bytes go to the tunnel
    DECIDED_PASSTHROUGH, // nothing ends here
    DECIDED_NO_NAME,     // for some TLS tunnel, but it does not say which: alert 112
};

// tunnel is the one that is published at the hello's server name, or NULL.
enum decision decide(const struct clienthello *hello, const struct tunnel *tunnel);

// The protocol that is selected out of in (a ProtocolNameList of RFC 7301 section 3.1); it points
// into that. ALPN_NONE: go on without one; ALPN_REFUSED: the alert no_application_protocol.
enum alpn_choice { ALPN_SELECTED, ALPN_NONE, ALPN_REFUSED };
enum alpn_choice decide_alpn(enum decision decision, const struct tunnel *tunnel, struct slice in,
    struct slice *ret_protocol);

#endif
