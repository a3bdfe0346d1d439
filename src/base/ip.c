// SPDX-License-Identifier: Apache-2.0
#include "base/ip.h"

#include <arpa/inet.h>

#include "base/number.h"

static const uint8_t mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

struct ip ip_from_v4(const uint8_t bytes[4])
{
    struct ip ip;
    memcpy(ip.bytes, mapped_prefix, sizeof mapped_prefix);
    memcpy(ip.bytes + 12, bytes, 4);
    return ip;
}

struct ip ip_from_v6(const uint8_t bytes[16])
{
    struct ip ip;
    memcpy(ip.bytes, bytes, 16);
    return ip;
}

bool ip_is_v4(const struct ip *ip)
{
    return memcmp(ip->bytes, mapped_prefix, sizeof mapped_prefix) == 0;
}

bool ip_is_loopback(const struct ip *ip)
{
    static const uint8_t v6_loopback[16] = {[15] = 1};
    return ip_is_v4(ip) ? ip->bytes[12] == 127 : memcmp(ip->bytes, v6_loopback, 16) == 0;
}

bool ip_eq(const struct ip *a, const struct ip *b)
{
    return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

enum weir_result ip_parse(struct slice text, struct ip *ret_ip)
{
    char copy[IP_TEXT_SIZE];
    uint8_t bytes[16];
    // inet_pton would stop at a NUL.
    if (slice_find(text, '\0') >= 0 || !slice_to_text(text, copy, sizeof copy)) {
        return WEIR_MALFORMED;
    }
    if (inet_pton(AF_INET, copy, bytes) == 1) {
        *ret_ip = ip_from_v4(bytes);
        return WEIR_OK;
    }
    if (inet_pton(AF_INET6, copy, bytes) == 1) {
        *ret_ip = ip_from_v6(bytes);
        return WEIR_OK;
    }
    return WEIR_MALFORMED;
}

void ip_to_text(const struct ip *ip, char text[IP_TEXT_SIZE])
{
    const void *bytes = ip_is_v4(ip) ? ip->bytes + 12 : ip->bytes;
    if (inet_ntop(ip_is_v4(ip) ? AF_INET : AF_INET6, bytes, text, IP_TEXT_SIZE) == NULL) {
        text[0] = '\0';
    }
}

enum weir_result ip_network_parse(struct slice text, struct ip_network *ret_network)
{
    ptrdiff_t slash = slice_find(text, '/');
    struct slice address = slash < 0 ? text : slice_of(text.at, (size_t)slash);
    struct ip_network network;
    if (ip_parse(address, &network.base) != WEIR_OK) {
        return WEIR_MALFORMED;
    }
    // The written form decides: "::ffff:10.0.0.0/104" counts bits of the IPv6 form.
    bool dotted = slice_find(address, ':') < 0;
    uint64_t bits = dotted ? 32 : 128;
    if (slash >= 0 &&
        number_parse_u64(slice_skip(text, (size_t)slash + 1), bits, &bits) != WEIR_OK) {
        return WEIR_MALFORMED;
    }
    network.prefix_len = (unsigned)bits + (dotted ? 96 : 0);
    *ret_network = network;
    return WEIR_OK;
}

bool ip_network_holds(const struct ip_network *network, const struct ip *ip)
{
    unsigned whole = network->prefix_len / 8;
    unsigned rest = network->prefix_len % 8;
    if (memcmp(network->base.bytes, ip->bytes, whole) != 0) {
        return false;
    }
    if (rest == 0) {
        return true;
    }
    unsigned difference = network->base.bytes[whole] ^ ip->bytes[whole];
    return (difference & (0xffu << (8 - rest)) & 0xff) == 0;
}

bool ip_in_any(const struct ip_network *networks, size_t count, const struct ip *ip)
{
    for (size_t i = 0; i < count; i++) {
        if (ip_network_holds(&networks[i], ip)) {
            return true;
        }
    }
    return false;
}
