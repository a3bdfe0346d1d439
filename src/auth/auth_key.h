// SPDX-License-Identifier: Apache-2.0
// A key that signs or verifies JWS: a shared secret, RSA or ECDSA P-256. An OpenSSL key belongs to
// the library context it was made in; give each worker keys of its own context (NULL: the default
// one). A finished key is never changed, so threads that share its context may share it.
//
// Signatures are libcrypto's and not cjose's: cjose 0.6 knows only the default library context,
// whose locks all workers would share, and takes the algorithm from the token it is checking.
#ifndef WEIR_AUTH_AUTH_KEY_H
#define WEIR_AUTH_AUTH_KEY_H

#include <stddef.h>
#include <stdint.h>
#include <openssl/types.h>

#include "base/buf.h"
#include "base/result.h"
#include "base/slice.h"

struct json_writer; // proto/json_write.h

#define AUTH_KEY_ID_SIZE 129   // storage for a key id, with its NUL
#define AUTH_SECRET_LEN_MIN 32 // RFC 7518 section 3.2
#define AUTH_SECRET_LEN_MAX 256
#define AUTH_RSA_BITS_MIN 2048 // RFC 7518 section 3.3
#define AUTH_RSA_BITS_MAX 8192
#define AUTH_SIGNATURE_LEN_MAX (AUTH_RSA_BITS_MAX / 8)

// The only algorithms weir signs or accepts (RFC 7518 section 3.1); "none" is not among them.
enum auth_alg { AUTH_ALG_OTHER, AUTH_HS256, AUTH_RS256, AUTH_ES256 };
// "HS256" and so on; "" for AUTH_ALG_OTHER.
const char *auth_alg_name(enum auth_alg alg);
enum auth_alg auth_alg_from_name(struct slice name);

struct auth_key {
    enum auth_alg alg; // the one algorithm this key is for
    char id[AUTH_KEY_ID_SIZE];
    OSSL_LIB_CTX *libctx; // borrowed; outlives the key
    EVP_PKEY *pkey;       // owned; NULL for AUTH_HS256
    uint8_t secret[AUTH_SECRET_LEN_MAX];
    size_t secret_len;
};

// Each fills *ret_key; auth_key_fini ends it. On failure *ret_key is empty. id is "" at first,
// except that the generated and loaded pairs are named by their thumbprint (RFC 7638).
// WEIR_INVALID when the secret is too short or too long.
enum weir_result auth_key_from_secret(
    struct slice secret, struct auth_key *ret_key) WEIR_MUST_CHECK;
// RS256 (2048 bits; takes a good part of a second) or ES256. WEIR_CRYPTO.
enum weir_result auth_key_generate(
    enum auth_alg alg, OSSL_LIB_CTX *libctx, struct auth_key *ret_key) WEIR_MUST_CHECK;
// A private key in PEM (PKCS #8 or traditional), or a public one. WEIR_MALFORMED when it is not
// that, or neither RSA of the right size nor P-256.
enum weir_result auth_key_from_pem(
    struct slice pem, OSSL_LIB_CTX *libctx, struct auth_key *ret_key) WEIR_MUST_CHECK;
// Big-endian numbers of a public key, as a JWK has them. WEIR_MALFORMED: sizes out of bounds, an
// even exponent, a point off the curve.
enum weir_result auth_key_from_rsa_numbers(struct slice modulus, struct slice exponent,
    OSSL_LIB_CTX *libctx, struct auth_key *ret_key) WEIR_MUST_CHECK;
enum weir_result auth_key_from_p256_point(
    struct slice x, struct slice y, OSSL_LIB_CTX *libctx, struct auth_key *ret_key) WEIR_MUST_CHECK;
// Wipes and frees what the key owns; fine on an empty key and twice.
void auth_key_fini(struct auth_key *key);

// False, with the id unchanged, when id is empty or too long.
bool auth_key_set_id(struct auth_key *key, struct slice id);
// Appends the private key, PKCS #8 PEM. WEIR_INVALID for a secret.
enum weir_result auth_key_write_pem(const struct auth_key *key, struct buf *out) WEIR_MUST_CHECK;
// Writes the public key as one JWK object (RFC 7517) with use, alg and kid, an array element.
// WEIR_INVALID for a secret, which is never shown.
enum weir_result auth_key_write_jwk(
    const struct auth_key *key, struct json_writer *writer) WEIR_MUST_CHECK;

// The signature of text as JWS has it: HMAC, PKCS #1 v1.5, or r||s of 64 bytes. WEIR_CRYPTO.
enum weir_result auth_key_sign(const struct auth_key *key, struct slice text,
    uint8_t ret_signature[AUTH_SIGNATURE_LEN_MAX], size_t *ret_len) WEIR_MUST_CHECK;
// WEIR_REFUSED when the signature is not this key's; WEIR_CRYPTO or WEIR_MEMORY when it could not
// be checked.
enum weir_result auth_key_verify(
    const struct auth_key *key, struct slice text, struct slice signature) WEIR_MUST_CHECK;

#endif
