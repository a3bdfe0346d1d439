// SPDX-License-Identifier: Apache-2.0
#include "engine/edge/route.h"

#include "base/ip.h"

// An address is a host, though none of ours.
static bool is_address(struct slice host)
{
    struct ip ip;
    if (host.len > 2 && host.at[0] == '[' && host.at[host.len - 1] == ']') {
        host = slice_of(host.at + 1, host.len - 2);
    }
    return ip_parse(host, &ip) == WEIR_OK;
}

// name is "<one label>.t.<engine_host>".
static bool is_published_name(struct slice name, struct slice engine_host)
{
    struct slice zone = SLICE(".t.");
    ptrdiff_t label_len = slice_find(name, '.');
    if (label_len <= 0) {
        return false;
    }
    struct slice rest = slice_skip(name, (size_t)label_len);
    return slice_starts_with(rest, zone) && slice_eq(slice_skip(rest, zone.len), engine_host);
}

enum route route_of(
    struct slice authority, struct slice engine_host, char host[HOSTNAME_SIZE], size_t *ret_len)
{
    struct slice name;
    unsigned port;
    if (hostname_split_port(authority, &name, &port) != WEIR_OK || name.len == 0) {
        return ROUTE_BAD;
    }
    if (hostname_normalize(name, host, ret_len) != WEIR_OK) {
        return is_address(name) ? ROUTE_OUTSIDE : ROUTE_BAD;
    }
    struct slice asked = slice_of(host, *ret_len);
    if (slice_eq(asked, engine_host)) {
        return ROUTE_API;
    }
    return is_published_name(asked, engine_host) ? ROUTE_TUNNEL : ROUTE_OUTSIDE;
}
