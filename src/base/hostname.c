// SPDX-License-Identifier: Apache-2.0
#include "base/hostname.h"

#include "base/number.h"

static bool is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

// The byte as names have it in the compared form; '\0' for one that no name has.
static char normal_byte(char byte)
{
    if (byte >= 'A' && byte <= 'Z') {
        return (char)(byte | 0x20);
    }
    bool fine = (byte >= 'a' && byte <= 'z') || is_digit(byte) || byte == '-' || byte == '_';
    return fine ? byte : '\0';
}

static bool all_digits(struct slice label)
{
    for (size_t i = 0; i < label.len; i++) {
        if (!is_digit(label.at[i])) {
            return false;
        }
    }
    return true;
}

static bool label_valid(struct slice label)
{
    return label.len > 0 && label.len <= HOSTNAME_LABEL_LEN_MAX && label.at[0] != '-' &&
           label.at[label.len - 1] != '-';
}

enum weir_result hostname_normalize(struct slice name, char text[HOSTNAME_SIZE], size_t *ret_len)
{
    if (name.len > 0 && name.at[name.len - 1] == '.') {
        name.len--;
    }
    if (name.len == 0 || name.len > HOSTNAME_LEN_MAX) {
        return WEIR_MALFORMED;
    }
    struct slice rest = name;
    struct slice label = SLICE_EMPTY;
    while (slice_split(&rest, '.', &label)) {
        if (!label_valid(label)) {
            return WEIR_MALFORMED;
        }
    }
    if (all_digits(label)) {
        return WEIR_MALFORMED;
    }
    for (size_t i = 0; i < name.len; i++) {
        text[i] = name.at[i] == '.' ? '.' : normal_byte(name.at[i]);
        if (text[i] == '\0') {
            return WEIR_MALFORMED;
        }
    }
    text[name.len] = '\0';
    *ret_len = name.len;
    return WEIR_OK;
}

enum weir_result hostname_split_port(
    struct slice authority, struct slice *ret_host, unsigned *ret_port)
{
    size_t host_len = 0;
    if (authority.len > 0 && authority.at[0] == '[') {
        ptrdiff_t bracket = slice_find(authority, ']');
        if (bracket < 0) {
            return WEIR_MALFORMED;
        }
        host_len = (size_t)bracket + 1;
    } else {
        ptrdiff_t colon = slice_find(authority, ':');
        host_len = colon < 0 ? authority.len : (size_t)colon;
    }
    struct slice rest = slice_skip(authority, host_len);
    uint64_t port = 0;
    if (rest.len > 0 &&
        (rest.at[0] != ':' || number_parse_u64(slice_skip(rest, 1), 65535, &port) != WEIR_OK ||
            port == 0)) {
        return WEIR_MALFORMED;
    }
    *ret_host = slice_of(authority.at, host_len);
    *ret_port = (unsigned)port;
    return WEIR_OK;
}
