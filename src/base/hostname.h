// SPDX-License-Identifier: Apache-2.0
// Host names as DNS and TLS have them (RFC 1123 section 2.1, RFC 6066 section 3).
#ifndef WEIR_BASE_HOSTNAME_H
#define WEIR_BASE_HOSTNAME_H

#include <stddef.h>

#include "base/result.h"
#include "base/slice.h"

#define HOSTNAME_LEN_MAX 253
#define HOSTNAME_SIZE (HOSTNAME_LEN_MAX + 1)
#define HOSTNAME_LABEL_LEN_MAX 63

// Writes name in the one form that is compared and looked up: lower case, without one trailing dot,
// NUL-terminated. WEIR_MALFORMED: no labels of letters, digits, '-' and '_' (1-63 bytes each, no
// '-' at either end), longer than HOSTNAME_LEN_MAX, or an address: the last label is a number.
enum weir_result hostname_normalize(
    struct slice name, char text[HOSTNAME_SIZE], size_t *ret_len) WEIR_MUST_CHECK;

// Takes ":port" off a host as a Host header has it ("name", "name:80", "[::1]:80"). WEIR_MALFORMED:
// a port that is none. *ret_port is 0 when there is none.
enum weir_result hostname_split_port(
    struct slice authority, struct slice *ret_host, unsigned *ret_port) WEIR_MUST_CHECK;

#endif
