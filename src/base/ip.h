// SPDX-License-Identifier: Apache-2.0
// IP addresses and networks. An address is 16 bytes; IPv4 is kept in its IPv4-mapped IPv6 form
// (RFC 4291 section 2.5.5.2), so "::ffff:10.0.0.1" and "10.0.0.1" are one address.
#ifndef WEIR_BASE_IP_H
#define WEIR_BASE_IP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/result.h"
#include "base/slice.h"

struct ip {
    uint8_t bytes[16];
};

struct ip_network {
    struct ip base;
    unsigned prefix_len; // 0-128, of the mapped form
};

#define IP_TEXT_SIZE 46

struct ip ip_from_v4(const uint8_t bytes[4]);
struct ip ip_from_v6(const uint8_t bytes[16]);
bool ip_is_v4(const struct ip *ip);
bool ip_is_loopback(const struct ip *ip);
bool ip_eq(const struct ip *a, const struct ip *b);
// "10.0.0.1", "2001:db8::1"; no zone, no port, no brackets.
enum weir_result ip_parse(struct slice text, struct ip *ret_ip) WEIR_MUST_CHECK;
// IPv4 dotted, IPv6 as RFC 5952.
void ip_to_text(const struct ip *ip, char text[IP_TEXT_SIZE]);
// An address or "address/bits". Host bits that are set are ignored.
enum weir_result ip_network_parse(struct slice text, struct ip_network *ret_network) WEIR_MUST_CHECK;
bool ip_network_holds(const struct ip_network *network, const struct ip *ip);
bool ip_in_any(const struct ip_network *networks, size_t count, const struct ip *ip);

#endif
