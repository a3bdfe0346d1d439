// SPDX-License-Identifier: Apache-2.0
// A JWT in JWS compact form (RFC 7515 section 7.1, RFC 7519): taken apart, and its signature
// checked. Reading says nothing about truth: nothing in a struct jws is to be believed before
// jws_verify said WEIR_OK.
#ifndef WEIR_AUTH_JWS_H
#define WEIR_AUTH_JWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <jansson.h>

#include "auth/auth_key.h"
#include "base/result.h"
#include "base/slice.h"

#define JWS_TOKEN_LEN_MAX 8192

struct jws {
    enum auth_alg alg;
    struct slice key_id;        // borrows header; empty when there is none
    struct slice signing_input; // borrows the token's text
    json_t *header;             // owned
    json_t *claims;             // owned, an object
    uint8_t signature[AUTH_SIGNATURE_LEN_MAX];
    size_t signature_len;
};

// WEIR_MALFORMED: not three parts of strict base64url, header or claims no JSON object (or with a
// key twice), no "alg", or a "crit" header, which nobody here understands (RFC 7515 section
// 4.1.11). WEIR_TOO_LARGE: longer than JWS_TOKEN_LEN_MAX, or the signature than
// AUTH_SIGNATURE_LEN_MAX. An algorithm that is not ours is no error here: alg says so.
enum weir_result jws_parse(struct slice token, struct jws *ret_jws) WEIR_MUST_CHECK;
// Frees what jws_parse made; fine on a zeroed struct and twice.
void jws_fini(struct jws *jws);

// WEIR_OK only when header, key and allow-list name the same algorithm and the signature fits.
// WEIR_REFUSED otherwise; WEIR_CRYPTO or WEIR_MEMORY when it could not be checked.
enum weir_result jws_verify(const struct jws *jws, const struct auth_key *key) WEIR_MUST_CHECK;

// A claim that is a string, or the empty slice. Borrows the jws.
struct slice jws_claim_text(const struct jws *jws, const char *name);
// A NumericDate claim (RFC 7519 section 2) in whole seconds, rounded down. False when it is not
// there, not a number, or beyond +-2^53.
bool jws_claim_time(const struct jws *jws, const char *name, int64_t *ret_seconds);
// "aud" is audience, or an array that holds it (RFC 7519 section 4.1.3).
bool jws_has_audience(const struct jws *jws, struct slice audience);

#endif
