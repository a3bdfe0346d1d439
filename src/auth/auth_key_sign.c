// SPDX-License-Identifier: Apache-2.0
// Signing and checking with an auth_key. ECDSA is DER in libcrypto and r||s in JWS (RFC 7518
// section 3.4); RSA and HMAC are the same in both.
//
// A signature of the wrong length is refused before libcrypto sees it, so what libcrypto then
// calls a failure is either "does not fit" or trouble of our own.
#include "auth/auth_key.h"

#include <string.h>
#include <openssl/bn.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>

#define HMAC_LEN 32
#define NUMBER_LEN 32 // of r and of s
#define DER_SIZE 80   // two numbers of 33 bytes, with their heads

static enum weir_result trouble(void)
{
    int reason = ERR_GET_REASON(ERR_peek_last_error());
    ERR_clear_error();
    return reason == ERR_R_MALLOC_FAILURE ? WEIR_MEMORY : WEIR_CRYPTO;
}

static enum weir_result hmac(
    const struct auth_key *key, struct slice text, uint8_t ret_mac[HMAC_LEN])
{
    size_t len = 0;
    if (EVP_Q_mac(key->libctx, "HMAC", NULL, "SHA256", NULL, key->secret, key->secret_len,
            (const uint8_t *)text.at, text.len, ret_mac, HMAC_LEN, &len) == NULL) {
        return trouble();
    }
    return len == HMAC_LEN ? WEIR_OK : WEIR_CRYPTO;
}

// ---- r||s and DER -------------------------------------------------------------------------------

static bool der_to_pair(const uint8_t *der, size_t len, uint8_t ret_pair[2 * NUMBER_LEN])
{
    const uint8_t *at = der;
    ECDSA_SIG *signature = d2i_ECDSA_SIG(NULL, &at, (long)len);
    bool ok =
        signature != NULL &&
        BN_bn2binpad(ECDSA_SIG_get0_r(signature), ret_pair, NUMBER_LEN) == NUMBER_LEN &&
        BN_bn2binpad(ECDSA_SIG_get0_s(signature), ret_pair + NUMBER_LEN, NUMBER_LEN) == NUMBER_LEN;
    ECDSA_SIG_free(signature);
    return ok;
}

// The length of the DER form, or 0 without memory.
static size_t pair_to_der(struct slice pair, uint8_t ret_der[DER_SIZE])
{
    const uint8_t *bytes = (const uint8_t *)pair.at;
    ECDSA_SIG *signature = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(bytes, NUMBER_LEN, NULL);
    BIGNUM *s = BN_bin2bn(bytes + NUMBER_LEN, NUMBER_LEN, NULL);
    if (signature == NULL || r == NULL || s == NULL || ECDSA_SIG_set0(signature, r, s) != 1) {
        BN_free(r);
        BN_free(s);
        ECDSA_SIG_free(signature);
        return 0;
    }
    uint8_t *at = ret_der;
    int len = i2d_ECDSA_SIG(signature, NULL) <= DER_SIZE ? i2d_ECDSA_SIG(signature, &at) : 0;
    ECDSA_SIG_free(signature);
    return len > 0 ? (size_t)len : 0;
}

// ---- Signing ------------------------------------------------------------------------------------

static enum weir_result sign_with_pair(const struct auth_key *key, struct slice text,
    uint8_t ret_signature[AUTH_SIGNATURE_LEN_MAX], size_t *ret_len)
{
    size_t len = AUTH_SIGNATURE_LEN_MAX;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool ok =
        context != NULL &&
        EVP_DigestSignInit_ex(context, NULL, "SHA256", key->libctx, NULL, key->pkey, NULL) == 1 &&
        EVP_DigestSign(context, ret_signature, &len, (const uint8_t *)text.at, text.len) == 1;
    EVP_MD_CTX_free(context);
    if (ok && key->alg == AUTH_ES256) {
        uint8_t der[DER_SIZE];
        ok = len <= sizeof der;
        if (ok) {
            memcpy(der, ret_signature, len);
            ok = der_to_pair(der, len, ret_signature);
            len = 2 * NUMBER_LEN;
        }
    }
    if (!ok) {
        ERR_clear_error();
        return WEIR_CRYPTO;
    }
    *ret_len = len;
    return WEIR_OK;
}

enum weir_result auth_key_sign(const struct auth_key *key, struct slice text,
    uint8_t ret_signature[AUTH_SIGNATURE_LEN_MAX], size_t *ret_len)
{
    weir_assert(key->alg != AUTH_ALG_OTHER);
    if (key->alg != AUTH_HS256) {
        return sign_with_pair(key, text, ret_signature, ret_len);
    }
    if (hmac(key, text, ret_signature) != WEIR_OK) {
        return WEIR_CRYPTO;
    }
    *ret_len = HMAC_LEN;
    return WEIR_OK;
}

// ---- Checking -----------------------------------------------------------------------------------

static enum weir_result verify_with_pair(
    const struct auth_key *key, struct slice text, struct slice signature)
{
    uint8_t der[DER_SIZE];
    size_t expected =
        key->alg == AUTH_ES256 ? 2 * NUMBER_LEN : (size_t)EVP_PKEY_get_size(key->pkey);
    if (signature.len != expected) {
        return WEIR_REFUSED;
    }
    if (key->alg == AUTH_ES256) {
        size_t len = pair_to_der(signature, der);
        if (len == 0) {
            return trouble();
        }
        signature = slice_of((const char *)der, len);
    }
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    if (context == NULL ||
        EVP_DigestVerifyInit_ex(context, NULL, "SHA256", key->libctx, NULL, key->pkey, NULL) != 1) {
        EVP_MD_CTX_free(context);
        return trouble();
    }
    ERR_clear_error();
    int fits = EVP_DigestVerify(
        context, (const uint8_t *)signature.at, signature.len, (const uint8_t *)text.at, text.len);
    EVP_MD_CTX_free(context);
    if (fits == 1) {
        return WEIR_OK;
    }
    // libcrypto has one value for both; only its error queue tells want of memory apart.
    return trouble() == WEIR_MEMORY ? WEIR_MEMORY : WEIR_REFUSED;
}

enum weir_result auth_key_verify(
    const struct auth_key *key, struct slice text, struct slice signature)
{
    uint8_t mac[HMAC_LEN];
    if (key->alg == AUTH_RS256 || key->alg == AUTH_ES256) {
        return verify_with_pair(key, text, signature);
    }
    if (key->alg != AUTH_HS256) {
        return WEIR_REFUSED;
    }
    enum weir_result result = hmac(key, text, mac);
    if (result != WEIR_OK) {
        return result;
    }
    return slice_eq_secret(signature, slice_of((const char *)mac, sizeof mac)) ? WEIR_OK
                                                                               : WEIR_REFUSED;
}
