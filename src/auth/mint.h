// SPDX-License-Identifier: Apache-2.0
// Makes signed tokens (RFC 7515 compact form).
#ifndef WEIR_AUTH_MINT_H
#define WEIR_AUTH_MINT_H

#include "auth/auth_key.h"
#include "base/buf.h"
#include "base/result.h"
#include "base/slice.h"

// Appends the token to out: claims is a serialised JSON object, taken as it is; the header is
// {"alg":…,"typ":"JWT","kid":…}, without kid when the key has none.
// WEIR_FULL, WEIR_MEMORY: out is as it was. WEIR_CRYPTO: signing failed.
enum weir_result mint_token(
    const struct auth_key *key, struct slice claims, struct buf *out) WEIR_MUST_CHECK;

#endif
