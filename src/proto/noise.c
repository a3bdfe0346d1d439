// SPDX-License-Identifier: Apache-2.0
// Noise IK and IKpsk2 over P-256, AES-256-GCM and SHA-256 as the daemons speak it.
//
//   client                                             daemon
//   h = ck = name, h <- prologue, h <- S               the same
//   e  ------------------------------------------>     h <- e, mix DH(e,S)
//   seal(s) ------------------------------------->     h <- it, mix DH(s,S)
//   <--------------------------------------- e_d       h <- e_d, mix DH(e_d,e), DH(e_d,s), psk
//   <------------------- seal(metadata), proof = h     h <- it
//   session key = HKDF(split(ck), h, profile|session id|epoch)
//
// 1. A step that fails on what the peer sent leaves h and ck where the peer's never are, or as they
//    were; it hands out no key and no plain text.
// 2. A nonce never repeats under a key: each mix sets it to 0 and each seal raises it.
// 3. The order of arguments of DH tells whose private key is used, so client and daemon share
//    every line but that one.
#include "proto/noise.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/params.h>
#include <openssl/rand.h>

#define HASH_LEN 32
#define PROLOGUE "viewport-relay-noise-v3"
// Room for `{"sessionId":"…","epoch":N}` and for the key's info: an id of 128 (section 6.2), which
// JSON may need to escape, and a number of 20 digits.
#define SESSION_ID_LEN_MAX 128
#define METADATA_SIZE 512
#define CONTEXT_SIZE 256

static const char *const profile_names[] = {
    [NOISE_IK] = "noise-ik",
    [NOISE_IKPSK2] = "noise-ikpsk2",
};
static const char *const protocol_names[] = {
    [NOISE_IK] = "Noise_IK_P256_AESGCM_SHA256",
    [NOISE_IKPSK2] = "Noise_IKpsk2_P256_AESGCM_SHA256",
};

const char *noise_profile_name(enum noise_profile profile)
{
    return profile_names[profile];
}

void noise_wipe(struct noise_state *state)
{
    OPENSSL_cleanse(state, sizeof *state);
}

// ---- Keys ---------------------------------------------------------------------------------------

enum weir_result noise_keypair_from_scalar(
    const uint8_t scalar[NOISE_SCALAR_LEN], struct noise_keypair *ret_pair)
{
    EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
    EC_POINT *point = group == NULL ? NULL : EC_POINT_new(group);
    BIGNUM *number = BN_secure_new();
    struct noise_keypair pair;
    memcpy(pair.private_scalar, scalar, NOISE_SCALAR_LEN);
    bool ok = point != NULL && number != NULL &&
              BN_bin2bn(scalar, NOISE_SCALAR_LEN, number) != NULL && !BN_is_zero(number) &&
              BN_cmp(number, EC_GROUP_get0_order(group)) < 0 &&
              EC_POINT_mul(group, point, number, NULL, NULL, NULL) == 1 &&
              EC_POINT_point2oct(group, point, POINT_CONVERSION_UNCOMPRESSED, pair.public_point,
                  NOISE_POINT_LEN, NULL) == NOISE_POINT_LEN;
    if (ok) {
        *ret_pair = pair;
    }
    OPENSSL_cleanse(&pair, sizeof pair);
    BN_clear_free(number);
    EC_POINT_free(point);
    EC_GROUP_free(group);
    return ok ? WEIR_OK : WEIR_CRYPTO;
}

enum weir_result noise_keypair_generate(struct noise_keypair *ret_pair)
{
    uint8_t scalar[NOISE_SCALAR_LEN];
    enum weir_result result = WEIR_CRYPTO;
    // A random scalar misses the range once in 2^32 keys; the second try is for that.
    for (int i = 0; i < 2 && result != WEIR_OK; i++) {
        if (RAND_priv_bytes(scalar, sizeof scalar) != 1) {
            break;
        }
        result = noise_keypair_from_scalar(scalar, ret_pair);
    }
    OPENSSL_cleanse(scalar, sizeof scalar);
    return result;
}

// OSSL_PARAM has integers in the order of the machine.
static bool to_host_order(const uint8_t scalar[NOISE_SCALAR_LEN], uint8_t number[NOISE_SCALAR_LEN])
{
    BIGNUM *big = BN_secure_new();
    bool ok = big != NULL && BN_bin2bn(scalar, NOISE_SCALAR_LEN, big) != NULL &&
              BN_bn2nativepad(big, number, NOISE_SCALAR_LEN) == NOISE_SCALAR_LEN;
    BN_clear_free(big);
    return ok;
}

// A key of the point, with the private number when scalar is not NULL. NULL for a point that is
// not on the curve.
static EVP_PKEY *key_from(const uint8_t point[NOISE_POINT_LEN], const uint8_t *scalar)
{
    if (point[0] != POINT_CONVERSION_UNCOMPRESSED) {
        return NULL; // libcrypto takes the hybrid form too, which is as long
    }
    uint8_t number[NOISE_SCALAR_LEN] = {0};
    if (scalar != NULL && !to_host_order(scalar, number)) {
        return NULL;
    }
    OSSL_PARAM params[4] = {
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, (char *)"P-256", 0),
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, (void *)point, NOISE_POINT_LEN),
        OSSL_PARAM_END,
        OSSL_PARAM_END,
    };
    if (scalar != NULL) {
        params[2] = OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_PRIV_KEY, number, sizeof number);
    }
    EVP_PKEY *key = NULL;
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    int selection = scalar != NULL ? EVP_PKEY_KEYPAIR : EVP_PKEY_PUBLIC_KEY;
    if (context == NULL || EVP_PKEY_fromdata_init(context) != 1 ||
        EVP_PKEY_fromdata(context, &key, selection, params) != 1) {
        key = NULL;
    }
    EVP_PKEY_CTX_free(context);
    OPENSSL_cleanse(number, sizeof number);
    return key;
}

// The x coordinate of our private number times their point.
static bool shared_secret(const struct noise_keypair *ours, const uint8_t theirs[NOISE_POINT_LEN],
    uint8_t ret_secret[HASH_LEN])
{
    EVP_PKEY *key = key_from(ours->public_point, ours->private_scalar);
    EVP_PKEY *peer = key_from(theirs, NULL);
    EVP_PKEY_CTX *context =
        key == NULL || peer == NULL ? NULL : EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
    size_t len = HASH_LEN;
    bool ok = context != NULL && EVP_PKEY_derive_init(context) == 1 &&
              EVP_PKEY_derive_set_peer(context, peer) == 1 &&
              EVP_PKEY_derive(context, ret_secret, &len) == 1 && len == HASH_LEN;
    EVP_PKEY_CTX_free(context);
    EVP_PKEY_free(peer);
    EVP_PKEY_free(key);
    return ok;
}

// ---- Symmetric state ----------------------------------------------------------------------------

static bool hmac(const uint8_t key[HASH_LEN], const void *bytes, size_t len, uint8_t out[HASH_LEN])
{
    return HMAC(EVP_sha256(), key, HASH_LEN, bytes, len, out, NULL) != NULL;
}

// The Noise HKDF: count outputs of 32 bytes, each chained on the one before.
static bool noise_hkdf(const uint8_t ck[HASH_LEN], const uint8_t *ikm, size_t len,
    uint8_t out[][HASH_LEN], uint8_t count)
{
    uint8_t secret[HASH_LEN];
    uint8_t block[HASH_LEN + 1];
    bool ok = hmac(ck, ikm, len, secret);
    for (uint8_t i = 0; ok && i < count; i++) {
        size_t chained = i == 0 ? 0 : HASH_LEN;
        if (i > 0) {
            memcpy(block, out[i - 1], HASH_LEN);
        }
        block[chained] = (uint8_t)(i + 1);
        ok = hmac(secret, block, chained + 1, out[i]);
    }
    OPENSSL_cleanse(secret, sizeof secret);
    OPENSSL_cleanse(block, sizeof block);
    return ok;
}

static bool mix_hash(struct noise_state *state, const void *bytes, size_t len)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool ok = context != NULL && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1 &&
              EVP_DigestUpdate(context, state->h, HASH_LEN) == 1 &&
              EVP_DigestUpdate(context, bytes, len) == 1 &&
              EVP_DigestFinal_ex(context, state->h, NULL) == 1;
    EVP_MD_CTX_free(context);
    return ok;
}

static bool mix_secret(struct noise_state *state, const struct noise_keypair *ours,
    const uint8_t theirs[NOISE_POINT_LEN])
{
    uint8_t secret[HASH_LEN];
    uint8_t out[2][HASH_LEN];
    bool ok =
        shared_secret(ours, theirs, secret) && noise_hkdf(state->ck, secret, sizeof secret, out, 2);
    if (ok) {
        memcpy(state->ck, out[0], HASH_LEN);
        memcpy(state->k, out[1], HASH_LEN);
        state->nonce = 0;
    }
    OPENSSL_cleanse(secret, sizeof secret);
    OPENSSL_cleanse(out, sizeof out);
    return ok;
}

static bool mix_psk(struct noise_state *state, const uint8_t psk[NOISE_PSK_LEN])
{
    uint8_t out[3][HASH_LEN];
    bool ok =
        noise_hkdf(state->ck, psk, NOISE_PSK_LEN, out, 3) && mix_hash(state, out[1], HASH_LEN);
    if (ok) {
        memcpy(state->ck, out[0], HASH_LEN);
        memcpy(state->k, out[2], HASH_LEN);
        state->nonce = 0;
    }
    OPENSSL_cleanse(out, sizeof out);
    return ok;
}

// AES-256-GCM over at most INT_MAX bytes; decrypting checks the tag.
struct gcm {
    const uint8_t *key;
    const uint8_t *iv;
    const void *ad;
    size_t ad_len;
};

static bool gcm_run(
    const struct gcm *gcm, bool seal, const uint8_t *in, size_t len, uint8_t *out, uint8_t *tag)
{
    int written = 0;
    uint8_t spare[NOISE_TAG_LEN]; // for the final call, which writes nothing in this mode
    EVP_CIPHER_CTX *context = len > INT32_MAX ? NULL : EVP_CIPHER_CTX_new();
    bool ok =
        context != NULL &&
        EVP_CipherInit_ex(context, EVP_aes_256_gcm(), NULL, gcm->key, gcm->iv, seal) == 1 &&
        EVP_CipherUpdate(context, NULL, &written, gcm->ad, (int)gcm->ad_len) == 1 &&
        (len == 0 || EVP_CipherUpdate(context, out, &written, in, (int)len) == 1) &&
        (seal || EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, NOISE_TAG_LEN, tag) == 1) &&
        EVP_CipherFinal_ex(context, spare, &written) == 1 &&
        (!seal || EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, NOISE_TAG_LEN, tag) == 1);
    EVP_CIPHER_CTX_free(context);
    if (!ok && !seal) {
        OPENSSL_cleanse(out, len);
    }
    return ok;
}

static void nonce_bytes(uint64_t nonce, uint8_t iv[NOISE_IV_LEN])
{
    memset(iv, 0, NOISE_IV_LEN);
    for (int i = 0; i < 8; i++) {
        iv[4 + i] = (uint8_t)(nonce >> (8 * i));
    }
}

// sealed gets len + 16 bytes.
static bool seal_and_hash(struct noise_state *state, const void *plain, size_t len, uint8_t *sealed)
{
    uint8_t iv[NOISE_IV_LEN];
    nonce_bytes(state->nonce++, iv);
    struct gcm gcm = {state->k, iv, state->h, HASH_LEN};
    return gcm_run(&gcm, true, plain, len, sealed, sealed + len) &&
           mix_hash(state, sealed, len + NOISE_TAG_LEN);
}

// plain gets sealed.len - 16 bytes; sealed is no shorter than that.
static bool open_and_hash(struct noise_state *state, struct slice sealed, uint8_t *plain)
{
    size_t len = sealed.len - NOISE_TAG_LEN;
    uint8_t iv[NOISE_IV_LEN];
    uint8_t tag[NOISE_TAG_LEN];
    memcpy(tag, sealed.at + len, sizeof tag);
    nonce_bytes(state->nonce++, iv);
    struct gcm gcm = {state->k, iv, state->h, HASH_LEN};
    return gcm_run(&gcm, false, (const uint8_t *)sealed.at, len, plain, tag) &&
           mix_hash(state, sealed.at, sealed.len);
}

// ---- Message 1 ----------------------------------------------------------------------------------

static bool begin(struct noise_state *state, enum noise_profile profile,
    const struct noise_keypair *static_pair, const uint8_t daemon_static[NOISE_POINT_LEN])
{
    memset(state, 0, sizeof *state);
    state->profile = profile;
    state->static_pair = *static_pair;
    memcpy(state->h, protocol_names[profile], strlen(protocol_names[profile]));
    memcpy(state->ck, state->h, HASH_LEN);
    return mix_hash(state, PROLOGUE, sizeof PROLOGUE - 1) &&
           mix_hash(state, daemon_static, NOISE_POINT_LEN);
}

enum weir_result noise_client_init(struct noise_state *state, enum noise_profile profile,
    const struct noise_keypair *static_pair, const struct noise_keypair *ephemeral,
    const uint8_t daemon_static[NOISE_POINT_LEN],
    uint8_t ret_sealed_static[NOISE_SEALED_STATIC_LEN])
{
    if (!begin(state, profile, static_pair, daemon_static)) {
        return WEIR_CRYPTO;
    }
    state->ephemeral = *ephemeral;
    memcpy(state->remote_static, daemon_static, NOISE_POINT_LEN);
    bool ok = mix_hash(state, ephemeral->public_point, NOISE_POINT_LEN) &&
              mix_secret(state, ephemeral, daemon_static) &&
              seal_and_hash(state, static_pair->public_point, NOISE_POINT_LEN, ret_sealed_static) &&
              mix_secret(state, static_pair, daemon_static);
    return ok ? WEIR_OK : WEIR_CRYPTO;
}

enum weir_result noise_daemon_read_init(struct noise_state *state, enum noise_profile profile,
    const struct noise_keypair *static_pair, const uint8_t client_ephemeral[NOISE_POINT_LEN],
    struct slice sealed_static)
{
    if (sealed_static.len != NOISE_SEALED_STATIC_LEN ||
        !begin(state, profile, static_pair, static_pair->public_point)) {
        return WEIR_CRYPTO;
    }
    memcpy(state->remote_ephemeral, client_ephemeral, NOISE_POINT_LEN);
    bool ok = mix_hash(state, client_ephemeral, NOISE_POINT_LEN) &&
              mix_secret(state, static_pair, client_ephemeral) &&
              open_and_hash(state, sealed_static, state->remote_static) &&
              mix_secret(state, static_pair, state->remote_static);
    return ok ? WEIR_OK : WEIR_CRYPTO;
}

// ---- Message 2 ----------------------------------------------------------------------------------

// The metadata exactly as JSON.stringify writes it. An id needs no escaping unless it holds what no
// daemon puts there; such an id is refused instead. Returns 0 then.
static size_t metadata_text(struct slice session_id, uint64_t epoch, char text[METADATA_SIZE])
{
    if (session_id.len == 0 || session_id.len > SESSION_ID_LEN_MAX) {
        return 0;
    }
    for (size_t i = 0; i < session_id.len; i++) {
        char c = session_id.at[i];
        if (c < ' ' || c > '~' || c == '"' || c == '\\') {
            return 0;
        }
    }
    int len = snprintf(text, METADATA_SIZE, "{\"sessionId\":\"%.*s\",\"epoch\":%" PRIu64 "}",
        SLICE_ARG(session_id), epoch);
    return len > 0 && len < METADATA_SIZE ? (size_t)len : 0;
}

// RFC 5869 over the two halves of the split, bound to the transcript. One block is all there is.
static bool session_key(const struct noise_state *state, struct slice session_id, uint64_t epoch,
    uint8_t ret_key[HASH_LEN])
{
    uint8_t halves[2][HASH_LEN];
    uint8_t secret[HASH_LEN];
    char info[CONTEXT_SIZE];
    int len = snprintf(info, sizeof info - 1, "viewport-relay-session-v3|%s|%.*s|%" PRIu64,
        profile_names[state->profile], SLICE_ARG(session_id), epoch);
    bool ok = len > 0 && len < (int)sizeof info - 1;
    if (ok) {
        info[len] = 1; // the block's number
        ok = noise_hkdf(state->ck, NULL, 0, halves, 2) &&
             hmac(state->h, halves, sizeof halves, secret) &&
             hmac(secret, info, (size_t)len + 1, ret_key);
    }
    OPENSSL_cleanse(halves, sizeof halves);
    OPENSSL_cleanse(secret, sizeof secret);
    return ok;
}

// The part of message 2 before the sealed metadata. A profile with a secret has one, the other
// none.
static bool mix_response(struct noise_state *state, const uint8_t ephemeral[NOISE_POINT_LEN],
    bool daemon, const uint8_t *psk)
{
    if ((psk != NULL) != (state->profile == NOISE_IKPSK2)) {
        return false;
    }
    const struct noise_keypair *second = daemon ? &state->ephemeral : &state->static_pair;
    const uint8_t *first_peer = daemon ? state->remote_ephemeral : ephemeral;
    const uint8_t *second_peer = daemon ? state->remote_static : ephemeral;
    return mix_hash(state, ephemeral, NOISE_POINT_LEN) &&
           mix_secret(state, &state->ephemeral, first_peer) &&
           mix_secret(state, second, second_peer) && (psk == NULL || mix_psk(state, psk));
}

enum weir_result noise_daemon_respond(struct noise_state *state,
    const struct noise_keypair *ephemeral, const uint8_t *psk, struct slice session_id,
    uint64_t epoch, uint8_t *sealed, size_t sealed_max, size_t *ret_sealed_len,
    uint8_t ret_proof[32], uint8_t ret_session_key[32])
{
    char metadata[METADATA_SIZE];
    size_t len = metadata_text(session_id, epoch, metadata);
    if (len == 0) {
        return WEIR_INVALID;
    }
    if (len + NOISE_TAG_LEN > sealed_max) {
        return WEIR_TOO_LARGE;
    }
    state->ephemeral = *ephemeral;
    if (!mix_response(state, ephemeral->public_point, true, psk) ||
        !seal_and_hash(state, metadata, len, sealed) ||
        !session_key(state, session_id, epoch, ret_session_key)) {
        return WEIR_CRYPTO;
    }
    *ret_sealed_len = len + NOISE_TAG_LEN;
    memcpy(ret_proof, state->h, HASH_LEN);
    return WEIR_OK;
}

enum weir_result noise_client_finish(struct noise_state *state,
    const uint8_t daemon_ephemeral[NOISE_POINT_LEN], const uint8_t *psk, struct slice session_id,
    uint64_t epoch, struct slice sealed_metadata, struct slice proof, uint8_t ret_session_key[32])
{
    char expected[METADATA_SIZE];
    uint8_t metadata[METADATA_SIZE];
    size_t len = metadata_text(session_id, epoch, expected);
    // The daemon writes one form only, so the length already tells.
    if (len == 0 || sealed_metadata.len != len + NOISE_TAG_LEN || proof.len != HASH_LEN) {
        return WEIR_CRYPTO;
    }
    memcpy(state->remote_ephemeral, daemon_ephemeral, NOISE_POINT_LEN);
    bool ok = mix_response(state, daemon_ephemeral, false, psk) &&
              open_and_hash(state, sealed_metadata, metadata) &&
              CRYPTO_memcmp(metadata, expected, len) == 0 &&
              CRYPTO_memcmp(proof.at, state->h, HASH_LEN) == 0 &&
              session_key(state, session_id, epoch, ret_session_key);
    return ok ? WEIR_OK : WEIR_CRYPTO;
}

// ---- Envelope -----------------------------------------------------------------------------------

static bool envelope_context(
    const struct noise_envelope *envelope, char text[CONTEXT_SIZE], size_t *ret_len)
{
    if (envelope->session_id.len > SESSION_ID_LEN_MAX ||
        slice_find(envelope->session_id, '\0') >= 0) {
        return false;
    }
    int len = snprintf(text, CONTEXT_SIZE,
        "viewport-relay-envelope-v2|%s|%.*s|%" PRIu64 "|%" PRIu64, profile_names[envelope->profile],
        SLICE_ARG(envelope->session_id), envelope->epoch, envelope->seq);
    *ret_len = (size_t)len;
    return len > 0 && len < CONTEXT_SIZE;
}

enum weir_result noise_envelope_seal(struct noise_envelope *envelope, const uint8_t key[32],
    const void *plain, size_t len, void *cipher)
{
    char context[CONTEXT_SIZE];
    struct gcm gcm = {.key = key, .iv = envelope->iv, .ad = context};
    if (!envelope_context(envelope, context, &gcm.ad_len)) {
        return WEIR_INVALID;
    }
    bool ok = RAND_bytes(envelope->iv, NOISE_IV_LEN) == 1 &&
              gcm_run(&gcm, true, plain, len, cipher, envelope->tag);
    return ok ? WEIR_OK : WEIR_CRYPTO;
}

enum weir_result noise_envelope_open(const struct noise_envelope *envelope, const uint8_t key[32],
    const void *cipher, size_t len, void *plain)
{
    char context[CONTEXT_SIZE];
    uint8_t tag[NOISE_TAG_LEN];
    struct gcm gcm = {.key = key, .iv = envelope->iv, .ad = context};
    memcpy(tag, envelope->tag, sizeof tag);
    if (!envelope_context(envelope, context, &gcm.ad_len) ||
        !gcm_run(&gcm, false, cipher, len, plain, tag)) {
        return WEIR_CRYPTO;
    }
    return WEIR_OK;
}
