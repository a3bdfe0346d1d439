// SPDX-License-Identifier: Apache-2.0
// PROXY protocol versions 1 and 2 (haproxy.org, doc/proxy-protocol.txt), receiving side, and the
// X-Forwarded-For walk.
#ifndef WEIR_PROTO_PROXY_HEADER_H
#define WEIR_PROTO_PROXY_HEADER_H

#include "base/ip.h"
#include "base/result.h"
#include "base/slice.h"

#define PROXY_HEADER_BYTES_MAX 4096 // v1 is 107 at most; a v2 header with more TLVs is refused

struct proxy_header {
    size_t len;         // bytes of the header, to be skipped
    bool has_source;    // false for LOCAL, UNKNOWN and UNSPEC: keep the socket's own address
    struct ip source;
    uint16_t source_port;
};

// Parses the header at the front of bytes. WEIR_AGAIN: more is needed. WEIR_MALFORMED: neither
// version. WEIR_TOO_LARGE. TLVs of version 2 are skipped; its CRC32c TLV is not checked.
enum weir_result proxy_header_parse(
    struct slice bytes, struct proxy_header *ret_header) WEIR_MUST_CHECK;

// Who is the client, when `peer` connected and sent this X-Forwarded-For value (several headers are
// joined with ',' by the caller)? Walks from the right: as long as the address at hand is in the
// trusted networks, the next element to the left is taken; an element that is no address (a port
// after it is allowed, as are brackets) ends the walk. Spec section 14, 14. Never fails.
struct ip proxy_client_ip(const struct ip *peer, struct slice forwarded_for,
    const struct ip_network *trusted, size_t trusted_count);

#endif
