// SPDX-License-Identifier: Apache-2.0
// A set of public keys (RFC 7517). Made once and never changed; several threads may read it as
// long as they share its library context. Fetching and caching are the caller's.
#ifndef WEIR_AUTH_JWKS_H
#define WEIR_AUTH_JWKS_H

#include <stddef.h>

#include "auth/auth_key.h"
#include "base/result.h"
#include "base/slice.h"

#define JWKS_KEYS_MAX 64 // spec section 4.6
#define JWKS_TEXT_LEN_MAX 262144

struct jwks;

// Takes RSA keys of 2048-8192 bits (RS256) and P-256 keys (ES256) that have a kid. Other keys, and
// keys whose "use" or "alg" says they are for something else, are left out (RFC 7517 section 5); a
// set in which none is left is valid and empty. Private parts are not looked at.
// WEIR_MALFORMED: not a JSON object with an array "keys". WEIR_TOO_LARGE: text or number of
// entries above the limits. WEIR_MEMORY. The caller owns *ret_jwks.
enum weir_result jwks_parse(
    struct slice text, OSSL_LIB_CTX *libctx, struct jwks **ret_jwks) WEIR_MUST_CHECK;
void jwks_free(struct jwks *jwks);
size_t jwks_count(const struct jwks *jwks);
// The first key of that id and algorithm behind `after` (NULL: from the start), or NULL. Ids should
// be unique, but a set is free to repeat one.
const struct auth_key *jwks_find(
    const struct jwks *jwks, struct slice key_id, enum auth_alg alg, const struct auth_key *after);

#endif
