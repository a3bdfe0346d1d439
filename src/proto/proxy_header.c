// SPDX-License-Identifier: Apache-2.0
// The PROXY protocol as a receiver reads it, and the walk through X-Forwarded-For.
//
// Both versions begin with fixed bytes that no client of ours would send, and either is refused at
// the first byte that differs. Only TCP over IPv4 or IPv6 names a source: a family or transport we
// do not serve is skipped like UNSPEC, as section 2.2 of the protocol allows.
#include "proto/proxy_header.h"

#include <string.h>

#include "base/number.h"

#define V1_BYTES_MAX 107 // section 2.1, with CRLF
#define V1_PREFIX SLICE("PROXY ")

#define V2_PREFIX SLICE("\r\n\r\n\0\r\nQUIT\n")
#define V2_FIXED_LEN 16
#define V2_VERSION 2
#define V2_ADDRESSES_IN 12
#define V2_ADDRESSES_IN6 36
#define V2_ADDRESSES_UNIX 216

enum v2_command { V2_LOCAL, V2_PROXY };
enum v2_family { V2_UNSPEC, V2_INET, V2_INET6, V2_UNIX };
enum v2_transport { V2_ANY, V2_STREAM, V2_DATAGRAM };

static enum weir_result parse_v1(struct slice bytes, struct proxy_header *ret_header);
static enum weir_result parse_v1_line(struct slice line, struct proxy_header *header);
static enum weir_result parse_v2(struct slice bytes, struct proxy_header *ret_header);
static enum weir_result parse_v2_addresses(
    struct slice block, uint8_t kind, struct proxy_header *header);

// The prefix is there, or as much of it as there are bytes.
static bool begins(struct slice bytes, struct slice prefix)
{
    size_t len = bytes.len < prefix.len ? bytes.len : prefix.len;
    return slice_eq(slice_of(bytes.at, len), slice_of(prefix.at, len));
}

enum weir_result proxy_header_parse(struct slice bytes, struct proxy_header *ret_header)
{
    if (bytes.len == 0) {
        return WEIR_AGAIN;
    }
    if (begins(bytes, V1_PREFIX)) {
        return parse_v1(bytes, ret_header);
    }
    if (begins(bytes, V2_PREFIX)) {
        return parse_v2(bytes, ret_header);
    }
    return WEIR_MALFORMED;
}

// ---- Version 1: "PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n"

static enum weir_result parse_v1(struct slice bytes, struct proxy_header *ret_header)
{
    size_t window = bytes.len < V1_BYTES_MAX ? bytes.len : V1_BYTES_MAX;
    const char *end = memmem(bytes.at, window, "\r\n", 2);
    if (end == NULL) {
        return window < V1_BYTES_MAX ? WEIR_AGAIN : WEIR_TOO_LARGE;
    }
    struct slice line = slice_of(bytes.at, (size_t)(end - bytes.at));
    struct proxy_header header = {.len = line.len + 2};
    enum weir_result result = parse_v1_line(slice_skip(line, V1_PREFIX.len), &header);
    if (result == WEIR_OK) {
        *ret_header = header;
    }
    return result;
}

// An address of the family the line names, in that family's own spelling.
static bool parse_v1_ip(struct slice text, bool v6, struct ip *ret_ip)
{
    return (slice_find(text, ':') >= 0) == v6 && ip_parse(text, ret_ip) == WEIR_OK;
}

static enum weir_result parse_v1_line(struct slice line, struct proxy_header *header)
{
    struct slice part[5];
    size_t count = 0;
    struct slice rest = line;
    while (count < 5 && slice_split(&rest, ' ', &part[count])) {
        count++;
    }
    // Whatever follows UNKNOWN is ignored (section 2.1).
    if (slice_eq(part[0], SLICE("UNKNOWN"))) {
        return WEIR_OK;
    }
    bool v6 = slice_eq(part[0], SLICE("TCP6"));
    if (count != 5 || rest.at != NULL || (!v6 && !slice_eq(part[0], SLICE("TCP4")))) {
        return WEIR_MALFORMED;
    }
    struct ip destination;
    uint64_t source_port;
    uint64_t destination_port;
    if (!parse_v1_ip(part[1], v6, &header->source) || !parse_v1_ip(part[2], v6, &destination) ||
        number_parse_u64(part[3], UINT16_MAX, &source_port) != WEIR_OK ||
        number_parse_u64(part[4], UINT16_MAX, &destination_port) != WEIR_OK) {
        return WEIR_MALFORMED;
    }
    header->has_source = true;
    header->source_port = (uint16_t)source_port;
    return WEIR_OK;
}

// ---- Version 2: signature, version and command, family and transport, length, addresses, TLVs

static uint16_t load_be16(const char *bytes)
{
    const uint8_t *at = (const uint8_t *)bytes;
    return (uint16_t)(at[0] << 8 | at[1]);
}

static enum weir_result parse_v2(struct slice bytes, struct proxy_header *ret_header)
{
    if (bytes.len < V2_FIXED_LEN) {
        return WEIR_AGAIN;
    }
    uint8_t version_command = (uint8_t)bytes.at[12];
    uint8_t kind = (uint8_t)bytes.at[13];
    size_t block_len = load_be16(bytes.at + 14);
    if (version_command >> 4 != V2_VERSION || (version_command & 0xf) > V2_PROXY) {
        return WEIR_MALFORMED;
    }
    struct proxy_header header = {.len = V2_FIXED_LEN + block_len};
    if (header.len > PROXY_HEADER_BYTES_MAX) {
        return WEIR_TOO_LARGE;
    }
    if (bytes.len < header.len) {
        return WEIR_AGAIN;
    }
    // The family of LOCAL is ignored (section 2.2).
    if ((version_command & 0xf) == V2_PROXY) {
        struct slice block = slice_of(bytes.at + V2_FIXED_LEN, block_len);
        enum weir_result result = parse_v2_addresses(block, kind, &header);
        if (result != WEIR_OK) {
            return result;
        }
    }
    *ret_header = header;
    return WEIR_OK;
}

static enum weir_result parse_v2_addresses(
    struct slice block, uint8_t kind, struct proxy_header *header)
{
    static const size_t address_len[] = {
        [V2_UNSPEC] = 0,
        [V2_INET] = V2_ADDRESSES_IN,
        [V2_INET6] = V2_ADDRESSES_IN6,
        [V2_UNIX] = V2_ADDRESSES_UNIX,
    };
    unsigned family = kind >> 4;
    unsigned transport = kind & 0xf;
    if (family > V2_UNIX || transport > V2_DATAGRAM || block.len < address_len[family]) {
        return WEIR_MALFORMED;
    }
    if (transport != V2_STREAM || (family != V2_INET && family != V2_INET6)) {
        return WEIR_OK;
    }
    const uint8_t *at = (const uint8_t *)block.at;
    header->has_source = true;
    if (family == V2_INET) {
        header->source = ip_from_v4(at);
        header->source_port = load_be16(block.at + 8);
    } else {
        header->source = ip_from_v6(at);
        header->source_port = load_be16(block.at + 32);
    }
    return WEIR_OK;
}

// ---- X-Forwarded-For

// "192.0.2.1", "192.0.2.1:80", "2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:80".
static bool parse_element(struct slice text, struct ip *ret_ip)
{
    struct slice address = text;
    struct slice port = SLICE("0");
    if (slice_starts_with(text, SLICE("["))) {
        ptrdiff_t end = slice_find(text, ']');
        if (end < 0) {
            return false;
        }
        address = slice_of(text.at + 1, (size_t)end - 1);
        struct slice behind = slice_skip(text, (size_t)end + 1);
        if (slice_find(address, ':') < 0 ||
            (behind.len > 0 && !slice_starts_with(behind, SLICE(":")))) {
            return false;
        }
        port = behind.len > 0 ? slice_skip(behind, 1) : port;
    } else {
        ptrdiff_t colon = slice_find(text, ':');
        if (colon >= 0 && slice_find(slice_skip(text, (size_t)colon + 1), ':') < 0) {
            address = slice_of(text.at, (size_t)colon);
            port = slice_skip(text, (size_t)colon + 1);
        }
    }
    uint64_t number;
    return number_parse_u64(port, UINT16_MAX, &number) == WEIR_OK &&
           ip_parse(address, ret_ip) == WEIR_OK;
}

// Takes the last element off a non-empty list.
static struct slice take_last(struct slice *list)
{
    size_t start = list->len;
    while (start > 0 && list->at[start - 1] != ',') {
        start--;
    }
    struct slice last = slice_trim(slice_skip(*list, start));
    *list = slice_of(list->at, start > 0 ? start - 1 : 0);
    return last;
}

struct ip proxy_client_ip(const struct ip *peer, struct slice forwarded_for,
    const struct ip_network *trusted, size_t trusted_count)
{
    struct ip client = *peer;
    struct slice list = forwarded_for;
    while (list.len > 0 && ip_in_any(trusted, trusted_count, &client)) {
        struct ip next;
        if (!parse_element(take_last(&list), &next)) {
            break;
        }
        client = next;
    }
    return client;
}
