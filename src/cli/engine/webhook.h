// SPDX-License-Identifier: Apache-2.0
// The signed request of a webhook (spec engine, section 9.1), without I/O.
#ifndef WEIR_CLI_WEBHOOK_H
#define WEIR_CLI_WEBHOOK_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/result.h"
#include "base/slice.h"

#define WEBHOOK_SECRETS_MAX 4 // while they are rotated
#define WEBHOOK_SECRET_SIZE 64
#define WEBHOOK_SIGNATURE_SIZE (32 + WEBHOOK_SECRETS_MAX * 72)

// "whsec_" and 32 random bytes as base64url. False: there are no random bytes.
bool webhook_make_secret(char secret[WEBHOOK_SECRET_SIZE]);
// "t=SECONDS,v1=HEX,...": HMAC-SHA256 of "SECONDS.BODY" with each secret as it is.
enum weir_result webhook_sign(const char *const *secrets, size_t count, uint64_t seconds,
    struct slice body, char signature[WEBHOOK_SIGNATURE_SIZE]) WEIR_MUST_CHECK;
// Events of this type are sent in the signed shape.
bool webhook_delivers(const char *type);
// The members of an event that a signed body has, in their order; NULL without memory.
json_t *webhook_body(const json_t *event) WEIR_MUST_CHECK;

// Where a redirect leads: location is resolved against url, and is the same host, and no less safe
// (https stays https). The new URL goes to ret_url; false: it is not to be followed.
bool webhook_redirect(const char *url, struct slice location, char *ret_url, size_t size);
// "https://host:port" of a URL, for messages: paths and users may be secret.
#define WEBHOOK_PLACE_SIZE 300
void webhook_place(const char *url, char place[WEBHOOK_PLACE_SIZE]);

#endif
