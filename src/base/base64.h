// SPDX-License-Identifier: Apache-2.0
// Base64 and base64url (RFC 4648 sections 4 and 5).
#ifndef WEIR_BASE_BASE64_H
#define WEIR_BASE_BASE64_H

#include <stddef.h>
#include <stdint.h>

#include "base/result.h"
#include "base/slice.h"

// Storage for an encoding of len bytes, with padding and a NUL.
#define BASE64_SIZE(len) (((len) + 2) / 3 * 4 + 1)

// Standard alphabet, padded. text has BASE64_SIZE(len) bytes. Returns the length written.
size_t base64_encode(const void *bytes, size_t len, char *text);
// URL alphabet, no padding.
size_t base64url_encode(const void *bytes, size_t len, char *text);
// Strict: the right alphabet, no blanks, no padding, canonical trailing bits. bytes has size bytes;
// WEIR_MALFORMED, WEIR_TOO_LARGE.
enum weir_result base64url_decode(
    struct slice text, void *bytes, size_t size, size_t *ret_len) WEIR_MUST_CHECK;

#endif
