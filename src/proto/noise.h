// SPDX-License-Identifier: Apache-2.0
// The Noise handshake between a client and a daemon (spec section 12), version 3, both profiles,
// and the envelope that follows. The relay itself never uses this: `weir relay demo` and the tests
// do. Crypto is libcrypto's: P-256 ECDH, SHA-256, HMAC, AES-256-GCM. No I/O.
#ifndef WEIR_PROTO_NOISE_H
#define WEIR_PROTO_NOISE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/result.h"
#include "base/slice.h"

#define NOISE_POINT_LEN 65  // uncompressed P-256 point
#define NOISE_SCALAR_LEN 32 // big-endian
#define NOISE_SEALED_STATIC_LEN (NOISE_POINT_LEN + 16)
#define NOISE_PSK_LEN 32
#define NOISE_IV_LEN 12
#define NOISE_TAG_LEN 16

struct noise_keypair {
    uint8_t public_point[NOISE_POINT_LEN];
    uint8_t private_scalar[NOISE_SCALAR_LEN];
};

// A fresh pair, or the pair of a known scalar.
enum weir_result noise_keypair_generate(struct noise_keypair *ret_pair) WEIR_MUST_CHECK;
enum weir_result noise_keypair_from_scalar(
    const uint8_t scalar[NOISE_SCALAR_LEN], struct noise_keypair *ret_pair) WEIR_MUST_CHECK;

enum noise_profile { NOISE_IK, NOISE_IKPSK2 };
// "noise-ik" or "noise-ikpsk2".
const char *noise_profile_name(enum noise_profile profile);

// One side's handshake. Plain memory: copy nothing, wipe with noise_wipe when done.
struct noise_state {
    uint8_t h[32];
    uint8_t ck[32];
    uint8_t k[32];
    uint64_t nonce;
    enum noise_profile profile;
    struct noise_keypair static_pair;
    struct noise_keypair ephemeral;
    uint8_t remote_static[NOISE_POINT_LEN];
    uint8_t remote_ephemeral[NOISE_POINT_LEN];
};

// Client: begins, with its own static and ephemeral pairs and the daemon's static point; writes
// message 1's sealed static (the ephemeral point is in the pair).
enum weir_result noise_client_init(struct noise_state *state, enum noise_profile profile,
    const struct noise_keypair *static_pair, const struct noise_keypair *ephemeral,
    const uint8_t daemon_static[NOISE_POINT_LEN],
    uint8_t ret_sealed_static[NOISE_SEALED_STATIC_LEN]) WEIR_MUST_CHECK;
// Daemon: reads message 1. WEIR_CRYPTO when it does not open.
enum weir_result noise_daemon_read_init(struct noise_state *state, enum noise_profile profile,
    const struct noise_keypair *static_pair, const uint8_t client_ephemeral[NOISE_POINT_LEN],
    struct slice sealed_static) WEIR_MUST_CHECK;
// Daemon: writes message 2: the sealed metadata `{"sessionId":"…","epoch":N}` and the proof, and the
// session key. sealed has room for metadata_max bytes. psk is NULL for NOISE_IK.
enum weir_result noise_daemon_respond(struct noise_state *state,
    const struct noise_keypair *ephemeral, const uint8_t *psk, struct slice session_id,
    uint64_t epoch, uint8_t *sealed, size_t sealed_max, size_t *ret_sealed_len,
    uint8_t ret_proof[32], uint8_t ret_session_key[32]) WEIR_MUST_CHECK;
// Client: reads message 2 and checks the proof in constant time and that the sealed metadata says
// session_id and epoch. WEIR_CRYPTO on any mismatch.
enum weir_result noise_client_finish(struct noise_state *state,
    const uint8_t daemon_ephemeral[NOISE_POINT_LEN], const uint8_t *psk, struct slice session_id,
    uint64_t epoch, struct slice sealed_metadata, struct slice proof,
    uint8_t ret_session_key[32]) WEIR_MUST_CHECK;
void noise_wipe(struct noise_state *state);

struct noise_envelope {
    uint64_t epoch;
    uint64_t seq;
    struct slice session_id;
    enum noise_profile profile;
    uint8_t iv[NOISE_IV_LEN];
    uint8_t tag[NOISE_TAG_LEN];
};
// Seals len bytes of plain into cipher (same length); iv is drawn at random and stored.
enum weir_result noise_envelope_seal(struct noise_envelope *envelope, const uint8_t key[32],
    const void *plain, size_t len, void *cipher) WEIR_MUST_CHECK;
// WEIR_CRYPTO when tag, key or the header fields do not fit.
enum weir_result noise_envelope_open(const struct noise_envelope *envelope, const uint8_t key[32],
    const void *cipher, size_t len, void *plain) WEIR_MUST_CHECK;

#endif
