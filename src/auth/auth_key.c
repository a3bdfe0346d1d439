// SPDX-License-Identifier: Apache-2.0
// Keys are libcrypto's EVP_PKEY, made in the caller's library context. Every way to make one ends
// in adopt(), which is the one place that says what weir accepts: RSA of the right size with a
// sane exponent, and P-256. What the key may be used for follows from its type, never from a token.
//
// 1. A key is either empty (alg AUTH_ALG_OTHER, owns nothing) or whole.
// 2. A failed call leaves nothing in libcrypto's error queue of this thread: TLS reads that queue.
#include "auth/auth_key.h"

#include <string.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>

#include "base/base64.h"
#include "proto/json_write.h"

#define GENERATED_RSA_BITS 2048
#define RSA_EXPONENT_LEN_MAX 8 // libcrypto refuses longer ones for long moduli
#define P256_NUMBER_LEN 32
#define SHA256_LEN 32
#define PEM_LEN_MAX 65536
#define NUMBER_SIZE BASE64_SIZE(AUTH_RSA_BITS_MAX / 8)

static const char *const alg_names[] = {
    [AUTH_ALG_OTHER] = "",
    [AUTH_HS256] = "HS256",
    [AUTH_RS256] = "RS256",
    [AUTH_ES256] = "ES256",
};

const char *auth_alg_name(enum auth_alg alg)
{
    return alg_names[alg];
}

enum auth_alg auth_alg_from_name(struct slice name)
{
    for (enum auth_alg alg = AUTH_HS256; alg <= AUTH_ES256; alg++) {
        if (slice_eq(name, slice_str(alg_names[alg]))) {
            return alg;
        }
    }
    return AUTH_ALG_OTHER;
}

void auth_key_fini(struct auth_key *key)
{
    EVP_PKEY_free(key->pkey);
    OPENSSL_cleanse(key, sizeof *key);
}

bool auth_key_set_id(struct auth_key *key, struct slice id)
{
    if (id.len == 0 || id.len >= sizeof key->id) {
        return false;
    }
    return slice_to_text(id, key->id, sizeof key->id);
}

// ---- Making keys --------------------------------------------------------------------------------

enum weir_result auth_key_from_secret(struct slice secret, struct auth_key *ret_key)
{
    *ret_key = (struct auth_key){0};
    if (secret.len < AUTH_SECRET_LEN_MIN || secret.len > AUTH_SECRET_LEN_MAX) {
        return WEIR_INVALID;
    }
    ret_key->alg = AUTH_HS256;
    memcpy(ret_key->secret, secret.at, secret.len);
    ret_key->secret_len = secret.len;
    return WEIR_OK;
}

static bool rsa_acceptable(const EVP_PKEY *pkey)
{
    BIGNUM *exponent = NULL;
    BIGNUM *modulus = NULL;
    bool ok = EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_RSA_E, &exponent) == 1 &&
              EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_RSA_N, &modulus) == 1 &&
              BN_num_bits(modulus) >= AUTH_RSA_BITS_MIN &&
              BN_num_bits(modulus) <= AUTH_RSA_BITS_MAX && BN_is_odd(modulus) &&
              BN_is_odd(exponent) && !BN_is_one(exponent) &&
              BN_num_bytes(exponent) <= RSA_EXPONENT_LEN_MAX;
    BN_free(exponent);
    BN_free(modulus);
    return ok;
}

static bool is_p256(const EVP_PKEY *pkey)
{
    char group[32];
    size_t len = 0;
    return EVP_PKEY_is_a(pkey, "EC") == 1 &&
           EVP_PKEY_get_group_name(pkey, group, sizeof group, &len) == 1 &&
           strcmp(group, SN_X9_62_prime256v1) == 0;
}

// Takes the key over, whatever comes of it. NULL is a key that could not be made.
static enum weir_result adopt(EVP_PKEY *pkey, OSSL_LIB_CTX *libctx, struct auth_key *ret_key)
{
    enum auth_alg alg = AUTH_ALG_OTHER;
    if (pkey != NULL && EVP_PKEY_is_a(pkey, "RSA") == 1 && rsa_acceptable(pkey)) {
        alg = AUTH_RS256;
    } else if (pkey != NULL && is_p256(pkey)) {
        alg = AUTH_ES256;
    }
    ERR_clear_error();
    if (alg == AUTH_ALG_OTHER) {
        EVP_PKEY_free(pkey);
        return WEIR_MALFORMED;
    }
    *ret_key = (struct auth_key){.alg = alg, .libctx = libctx, .pkey = pkey};
    return WEIR_OK;
}

// A public key of numbers; takes the builder's parameters.
static EVP_PKEY *key_of_params(OSSL_LIB_CTX *libctx, const char *type, OSSL_PARAM_BLD *builder)
{
    EVP_PKEY *pkey = NULL;
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(builder);
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(libctx, type, NULL);
    if (params == NULL || context == NULL || EVP_PKEY_fromdata_init(context) != 1 ||
        EVP_PKEY_fromdata(context, &pkey, EVP_PKEY_PUBLIC_KEY, params) != 1) {
        pkey = NULL;
    }
    EVP_PKEY_CTX_free(context);
    OSSL_PARAM_free(params);
    return pkey;
}

enum weir_result auth_key_from_rsa_numbers(
    struct slice modulus, struct slice exponent, OSSL_LIB_CTX *libctx, struct auth_key *ret_key)
{
    *ret_key = (struct auth_key){0};
    // A leading zero byte is tolerated, as some write it; adopt() counts the bits.
    if (modulus.len > AUTH_RSA_BITS_MAX / 8 + 1 || exponent.len > RSA_EXPONENT_LEN_MAX + 1) {
        return WEIR_MALFORMED;
    }
    EVP_PKEY *pkey = NULL;
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    BIGNUM *n = BN_bin2bn((const uint8_t *)modulus.at, (int)modulus.len, NULL);
    BIGNUM *e = BN_bin2bn((const uint8_t *)exponent.at, (int)exponent.len, NULL);
    bool made = builder != NULL && n != NULL && e != NULL;
    if (made && OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, n) == 1 &&
        OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_E, e) == 1) {
        pkey = key_of_params(libctx, "RSA", builder);
    }
    BN_free(e);
    BN_free(n);
    OSSL_PARAM_BLD_free(builder);
    if (!made) {
        ERR_clear_error();
        return WEIR_MEMORY;
    }
    return adopt(pkey, libctx, ret_key);
}

enum weir_result auth_key_from_p256_point(
    struct slice x, struct slice y, OSSL_LIB_CTX *libctx, struct auth_key *ret_key)
{
    *ret_key = (struct auth_key){0};
    if (x.len != P256_NUMBER_LEN || y.len != P256_NUMBER_LEN) {
        return WEIR_MALFORMED; // RFC 7518 section 6.2.1.2: always the full length
    }
    uint8_t point[1 + 2 * P256_NUMBER_LEN] = {POINT_CONVERSION_UNCOMPRESSED};
    memcpy(point + 1, x.at, x.len);
    memcpy(point + 1 + P256_NUMBER_LEN, y.at, y.len);
    EVP_PKEY *pkey = NULL;
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    bool made = builder != NULL;
    if (made &&
        OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_GROUP_NAME, "P-256", 0) == 1 &&
        OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point) ==
            1) {
        pkey = key_of_params(libctx, "EC", builder);
    }
    OSSL_PARAM_BLD_free(builder);
    if (!made) {
        ERR_clear_error();
        return WEIR_MEMORY;
    }
    return adopt(pkey, libctx, ret_key);
}

// ---- Public numbers -----------------------------------------------------------------------------

// The two numbers of a public key in base64url: modulus and exponent, or x and y.
struct numbers {
    char first[NUMBER_SIZE];
    char second[NUMBER_SIZE];
};

// len 0: as many bytes as the number has.
static bool number_text(const EVP_PKEY *pkey, const char *name, int len, char text[NUMBER_SIZE])
{
    uint8_t bytes[AUTH_RSA_BITS_MAX / 8];
    BIGNUM *number = NULL;
    bool ok = EVP_PKEY_get_bn_param(pkey, name, &number) == 1;
    if (ok) {
        len = len == 0 ? BN_num_bytes(number) : len;
        ok = len <= (int)sizeof bytes && BN_bn2binpad(number, bytes, len) == len;
    }
    if (ok) {
        base64url_encode(bytes, (size_t)len, text);
    }
    BN_free(number);
    return ok;
}

static enum weir_result numbers_of(const struct auth_key *key, struct numbers *ret_numbers)
{
    bool ok = key->alg == AUTH_RS256
                  ? number_text(key->pkey, OSSL_PKEY_PARAM_RSA_N, 0, ret_numbers->first) &&
                        number_text(key->pkey, OSSL_PKEY_PARAM_RSA_E, 0, ret_numbers->second)
                  : number_text(
                        key->pkey, OSSL_PKEY_PARAM_EC_PUB_X, P256_NUMBER_LEN, ret_numbers->first) &&
                        number_text(key->pkey, OSSL_PKEY_PARAM_EC_PUB_Y, P256_NUMBER_LEN,
                            ret_numbers->second);
    ERR_clear_error();
    return ok ? WEIR_OK : WEIR_CRYPTO;
}

// RFC 7638 section 3: the required members only, in the order of their names.
static enum weir_result name_by_thumbprint(struct auth_key *key)
{
    struct numbers numbers;
    struct buf text = BUF_INIT(4 * NUMBER_SIZE);
    uint8_t digest[SHA256_LEN];
    char id[BASE64_SIZE(SHA256_LEN)];
    enum weir_result result = numbers_of(key, &numbers);
    if (result != WEIR_OK) {
        return result;
    }
    result = key->alg == AUTH_RS256
                 ? buf_printf(&text, "{\"e\":\"%s\",\"kty\":\"RSA\",\"n\":\"%s\"}", numbers.second,
                       numbers.first)
                 : buf_printf(&text, "{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\"%s\",\"y\":\"%s\"}",
                       numbers.first, numbers.second);
    if (result != WEIR_OK) {
        result = WEIR_MEMORY; // the bound is never met
    } else if (EVP_Q_digest(key->libctx, "SHA256", NULL, text.at, text.len, digest, NULL) != 1) {
        ERR_clear_error();
        result = WEIR_CRYPTO;
    } else {
        size_t len = base64url_encode(digest, sizeof digest, id);
        weir_assert(auth_key_set_id(key, slice_of(id, len)));
    }
    buf_reset(&text);
    return result;
}

// ---- Pairs --------------------------------------------------------------------------------------

static enum weir_result named(enum weir_result made, struct auth_key *key)
{
    enum weir_result result = made == WEIR_OK ? name_by_thumbprint(key) : made;
    if (result != WEIR_OK) {
        auth_key_fini(key);
    }
    return result;
}

enum weir_result auth_key_generate(
    enum auth_alg alg, OSSL_LIB_CTX *libctx, struct auth_key *ret_key)
{
    weir_assert(alg == AUTH_RS256 || alg == AUTH_ES256);
    *ret_key = (struct auth_key){0};
    EVP_PKEY *pkey = alg == AUTH_RS256
                         ? EVP_PKEY_Q_keygen(libctx, NULL, "RSA", (size_t)GENERATED_RSA_BITS)
                         : EVP_PKEY_Q_keygen(libctx, NULL, "EC", "P-256");
    if (pkey == NULL) {
        ERR_clear_error();
        return WEIR_CRYPTO;
    }
    return named(adopt(pkey, libctx, ret_key), ret_key);
}

// Without it libcrypto would ask at the terminal.
static int no_passphrase(char *text, int size, int writing, void *arg)
{
    (void)text;
    (void)size;
    (void)writing;
    (void)arg;
    return -1;
}

enum weir_result auth_key_from_pem(struct slice pem, OSSL_LIB_CTX *libctx, struct auth_key *ret_key)
{
    *ret_key = (struct auth_key){0};
    if (pem.len == 0 || pem.len > PEM_LEN_MAX) {
        return WEIR_MALFORMED;
    }
    BIO *text = BIO_new_mem_buf(pem.at, (int)pem.len);
    if (text == NULL) {
        ERR_clear_error();
        return WEIR_MEMORY;
    }
    EVP_PKEY *pkey = PEM_read_bio_PrivateKey_ex(text, NULL, no_passphrase, NULL, libctx, NULL);
    if (pkey == NULL && BIO_reset(text) == 1) {
        pkey = PEM_read_bio_PUBKEY_ex(text, NULL, no_passphrase, NULL, libctx, NULL);
    }
    BIO_free(text);
    return named(adopt(pkey, libctx, ret_key), ret_key);
}

// ---- Writing ------------------------------------------------------------------------------------

enum weir_result auth_key_write_pem(const struct auth_key *key, struct buf *out)
{
    if (key->pkey == NULL) {
        return WEIR_INVALID;
    }
    BIO *text = BIO_new(BIO_s_secmem()); // wiped when freed
    if (text == NULL) {
        ERR_clear_error();
        return WEIR_MEMORY;
    }
    enum weir_result result = WEIR_CRYPTO;
    if (PEM_write_bio_PKCS8PrivateKey(text, key->pkey, NULL, NULL, 0, NULL, NULL) == 1) {
        char *at = NULL;
        long len = BIO_get_mem_data(text, &at);
        result = buf_append(out, at, (size_t)len);
    }
    ERR_clear_error();
    BIO_free(text);
    return result;
}

enum weir_result auth_key_write_jwk(const struct auth_key *key, struct json_writer *writer)
{
    if (key->pkey == NULL) {
        return WEIR_INVALID;
    }
    struct numbers numbers;
    enum weir_result result = numbers_of(key, &numbers);
    if (result != WEIR_OK) {
        return result;
    }
    jsonw_object_begin(writer, NULL);
    jsonw_text(writer, "kty", key->alg == AUTH_RS256 ? "RSA" : "EC");
    jsonw_text(writer, "use", "sig");
    jsonw_text(writer, "alg", auth_alg_name(key->alg));
    if (key->id[0] != '\0') {
        jsonw_text(writer, "kid", key->id);
    }
    if (key->alg == AUTH_ES256) {
        jsonw_text(writer, "crv", "P-256");
    }
    jsonw_text(writer, key->alg == AUTH_RS256 ? "n" : "x", numbers.first);
    jsonw_text(writer, key->alg == AUTH_RS256 ? "e" : "y", numbers.second);
    jsonw_object_end(writer);
    return WEIR_OK;
}
