// SPDX-License-Identifier: Apache-2.0
// The table of spec section 1.4, row by row:
//
//   ALPN offered          server name              decision
//   exactly rstrm/1       of no TLS tunnel that    AGENT: it may be the engine's, a name of an http
//                         lists rstrm/1            tunnel, unknown, or none at all
//   anything              of a passthrough tunnel  PASSTHROUGH
//   anything              of a TLS tunnel          TLS_TUNNEL
//   h2, http/1.1 or none  anything else            HTTP: requests are routed by authority
//   only others           none                     NO_NAME
//   only others           anything else            HTTP, whose choice of a protocol refuses it
#include "engine/edge/decision.h"

#include "proto/rstrm.h"

static const char h2_and_http1[] = "\x02h2\x08http/1.1";
static const char rstrm[] = "\x07" RSTRM_ALPN;

// Steps through a ProtocolNameList. False at its end, or when a length points behind it.
static bool next_name(struct slice *rest, struct slice *ret_name)
{
    if (rest->len == 0) {
        return false;
    }
    size_t len = (unsigned char)rest->at[0];
    if (len + 1 > rest->len) {
        return false;
    }
    *ret_name = slice_of(rest->at + 1, len);
    *rest = slice_skip(*rest, len + 1);
    return true;
}

static bool find_name(struct slice list, struct slice wanted, struct slice *ret_name)
{
    while (next_name(&list, ret_name)) {
        if (slice_eq(*ret_name, wanted)) {
            return true;
        }
    }
    return false;
}

// The first of ours that is offered; the slice points into offered.
static enum alpn_choice choose(struct slice ours, struct slice offered, struct slice *ret_protocol)
{
    struct slice name;
    while (next_name(&ours, &name)) {
        if (find_name(offered, name, ret_protocol)) {
            return ALPN_SELECTED;
        }
    }
    return ALPN_REFUSED;
}

enum decision decide(const struct clienthello *hello, const struct tunnel *tunnel)
{
    struct slice name;
    bool tls = tunnel != NULL && tunnel->protocol == TUNNEL_TLS;
    bool agent_only = clienthello_offers_only(hello, SLICE(RSTRM_ALPN));
    if (agent_only && !(tls && find_name(tunnel->alpns, SLICE(RSTRM_ALPN), &name))) {
        return DECIDED_AGENT;
    }
    if (tls) {
        return tunnel->passthrough ? DECIDED_PASSTHROUGH : DECIDED_TLS_TUNNEL;
    }
    bool http = !hello->has_alpn || clienthello_offers(hello, SLICE("h2")) ||
                clienthello_offers(hello, SLICE("http/1.1"));
    return http || hello->server_name_len > 0 ? DECIDED_HTTP : DECIDED_NO_NAME;
}

enum alpn_choice decide_alpn(enum decision decision, const struct tunnel *tunnel, struct slice in,
    struct slice *ret_protocol)
{
    switch (decision) {
    case DECIDED_AGENT:
        return choose(slice_of(rstrm, sizeof rstrm - 1), in, ret_protocol);
    case DECIDED_HTTP:
        return choose(slice_of(h2_and_http1, sizeof h2_and_http1 - 1), in, ret_protocol);
    case DECIDED_TLS_TUNNEL:
        return tunnel->alpns.len == 0 ? ALPN_NONE : choose(tunnel->alpns, in, ret_protocol);
    case DECIDED_PASSTHROUGH:
    case DECIDED_NO_NAME:
        break;
    }
    return ALPN_REFUSED;
}
