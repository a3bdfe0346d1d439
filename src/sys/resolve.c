// SPDX-License-Identifier: Apache-2.0
#include "sys/resolve.h"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "base/slice.h"
#include "sys/fault.h"

static enum weir_result result_of(int code)
{
    switch (code) {
    case 0:
        return WEIR_OK;
    case EAI_NONAME:
    case EAI_NODATA:
        return WEIR_NOT_FOUND;
    case EAI_MEMORY:
        return WEIR_MEMORY;
    default:
        return WEIR_UNREACHABLE;
    }
}

// RFC 6761 section 6.3; the C library's resolver asks name servers for the names below localhost.
static bool is_below_localhost(const char *name)
{
    const struct slice top = SLICE(".localhost");
    struct slice text = slice_str(name);
    if (slice_ends_with(text, SLICE("."))) {
        text.len--;
    }
    return text.len > top.len && slice_eq_nocase(slice_skip(text, text.len - top.len), top);
}

enum weir_result sys_resolve(
    const char *name, struct ip ret_ips[SYS_RESOLVE_MAX], size_t *ret_count)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    struct addrinfo *list = NULL;
    *ret_count = 0;
    if (sys_fault_now()) {
        return WEIR_UNREACHABLE;
    }
    enum weir_result result = result_of(
        getaddrinfo(is_below_localhost(name) ? "localhost" : name, NULL, &hints, &list));
    for (const struct addrinfo *at = list; at != NULL && *ret_count < SYS_RESOLVE_MAX;
         at = at->ai_next) {
        if (at->ai_family == AF_INET) {
            struct sockaddr_in v4;
            memcpy(&v4, at->ai_addr, sizeof v4);
            ret_ips[(*ret_count)++] = ip_from_v4((const uint8_t *)&v4.sin_addr);
        } else if (at->ai_family == AF_INET6) {
            struct sockaddr_in6 v6;
            memcpy(&v6, at->ai_addr, sizeof v6);
            ret_ips[(*ret_count)++] = ip_from_v6(v6.sin6_addr.s6_addr);
        }
    }
    if (list != NULL) {
        freeaddrinfo(list);
    }
    return result == WEIR_OK && *ret_count == 0 ? WEIR_NOT_FOUND : result;
}
