// SPDX-License-Identifier: Apache-2.0
// Both sides against the published vectors: version 3 byte for byte. Of version 2, an older
// handshake that weir does not speak, the key pairs, the session key and the daemon's proof are
// recomputed here; how its client's proof is made is not published, and not known to us.
#include "proto/noise.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <jansson.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "base/base64.h"

#define VECTOR_COUNT 2
#define SEALED_SIZE 128

struct vector {
    enum noise_profile profile;
    struct slice session_id;
    uint64_t epoch;
    uint8_t psk[NOISE_PSK_LEN];
    const uint8_t *psk_or_null;
    uint8_t client_point[NOISE_POINT_LEN];
    uint8_t sealed_static[NOISE_SEALED_STATIC_LEN];
    uint8_t daemon_point[NOISE_POINT_LEN];
    uint8_t sealed_metadata[SEALED_SIZE];
    size_t sealed_metadata_len;
    uint8_t proof[32];
    uint8_t session_key[32];
};

struct fixture {
    json_t *root;
    struct noise_keypair daemon, daemon_ephemeral, client, client_ephemeral;
    struct vector vectors[VECTOR_COUNT];
};

static size_t bytes_of(json_t *object, const char *name, uint8_t *bytes, size_t size)
{
    size_t len = 0;
    const char *text = json_string_value(json_object_get(object, name));
    assert_non_null(text);
    assert_int_equal(base64url_decode(slice_str(text), bytes, size, &len), WEIR_OK);
    return len;
}

static struct noise_keypair pair_of(json_t *object, const char *name)
{
    uint8_t scalar[NOISE_SCALAR_LEN];
    struct noise_keypair pair;
    assert_int_equal(bytes_of(object, name, scalar, sizeof scalar), NOISE_SCALAR_LEN);
    assert_int_equal(noise_keypair_from_scalar(scalar, &pair), WEIR_OK);
    return pair;
}

static struct vector vector_of(json_t *json)
{
    json_t *init = json_object_get(json, "init");
    json_t *response = json_object_get(json, "response");
    const char *profile = json_string_value(json_object_get(json, "profile"));
    struct vector vector = {
        .session_id = slice_str(json_string_value(json_object_get(json, "sessionId"))),
        .epoch = (uint64_t)json_integer_value(json_object_get(json, "epoch")),
    };
    vector.profile =
        strcmp(profile, noise_profile_name(NOISE_IKPSK2)) == 0 ? NOISE_IKPSK2 : NOISE_IK;
    assert_string_equal(profile, noise_profile_name(vector.profile));
    bytes_of(init, "clientEphemeralPublicKey", vector.client_point, sizeof vector.client_point);
    bytes_of(init, "encryptedClientStatic", vector.sealed_static, sizeof vector.sealed_static);
    bytes_of(response, "daemonEphemeralPublicKey", vector.daemon_point, sizeof vector.daemon_point);
    vector.sealed_metadata_len = bytes_of(
        response, "encryptedMetadata", vector.sealed_metadata, sizeof vector.sealed_metadata);
    assert_int_equal(bytes_of(response, "proof", vector.proof, sizeof vector.proof), 32);
    assert_int_equal(bytes_of(json, "sessionKey", vector.session_key, 32), 32);
    if (vector.profile == NOISE_IKPSK2) {
        assert_int_equal(bytes_of(json, "pairingSecret", vector.psk, NOISE_PSK_LEN), NOISE_PSK_LEN);
    }
    return vector;
}

static json_t *load(const char *path)
{
    json_error_t error;
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    assert_non_null(root);
    return root;
}

static int setup(void **state)
{
    static struct fixture fixture;
    fixture.root = load(WEIR_SOURCE_DIR "/tests/data/relay-noise-v3.json");
    json_t *client = json_object_get(fixture.root, "clientDeterministicKeys");
    json_t *vectors = json_object_get(fixture.root, "vectors");
    fixture.daemon = pair_of(json_object_get(fixture.root, "daemonIdentity"), "privateKey");
    fixture.client = pair_of(client, "staticPrivateKey");
    fixture.client_ephemeral = pair_of(client, "ephemeralPrivateKey");
    fixture.daemon_ephemeral = pair_of(fixture.root, "daemonDeterministicEphemeralPrivateKey");
    assert_int_equal(json_array_size(vectors), VECTOR_COUNT);
    for (size_t i = 0; i < VECTOR_COUNT; i++) {
        struct vector *vector = &fixture.vectors[i];
        *vector = vector_of(json_array_get(vectors, i));
        vector->psk_or_null = vector->profile == NOISE_IKPSK2 ? vector->psk : NULL;
    }
    assert_int_not_equal(fixture.vectors[0].profile, fixture.vectors[1].profile);
    *state = &fixture;
    return 0;
}

static int teardown(void **state)
{
    json_decref(((struct fixture *)*state)->root);
    return 0;
}

static struct slice sealed_of(const uint8_t *bytes, size_t len)
{
    return slice_of((const char *)bytes, len);
}

// A client that has written message 1.
static void client_begin(const struct fixture *fixture, const struct vector *vector,
    struct noise_state *client, uint8_t sealed[NOISE_SEALED_STATIC_LEN])
{
    assert_int_equal(noise_client_init(client, vector->profile, &fixture->client,
                         &fixture->client_ephemeral, fixture->daemon.public_point, sealed),
        WEIR_OK);
}

static enum weir_result client_finish(
    const struct fixture *fixture, const struct vector *vector, uint8_t key[32])
{
    struct noise_state client;
    uint8_t sealed[NOISE_SEALED_STATIC_LEN];
    client_begin(fixture, vector, &client, sealed);
    return noise_client_finish(&client, vector->daemon_point, vector->psk_or_null,
        vector->session_id, vector->epoch,
        sealed_of(vector->sealed_metadata, vector->sealed_metadata_len),
        sealed_of(vector->proof, sizeof vector->proof), key);
}

static enum weir_result daemon_read(
    const struct fixture *fixture, const struct vector *vector, struct noise_state *daemon)
{
    return noise_daemon_read_init(daemon, vector->profile, &fixture->daemon, vector->client_point,
        sealed_of(vector->sealed_static, sizeof vector->sealed_static));
}

static void test_client_agrees_with_vectors(void **state)
{
    struct fixture *fixture = *state;
    for (size_t i = 0; i < VECTOR_COUNT; i++) {
        struct vector *vector = &fixture->vectors[i];
        struct noise_state client;
        uint8_t sealed[NOISE_SEALED_STATIC_LEN];
        uint8_t key[32];
        assert_memory_equal(
            fixture->client_ephemeral.public_point, vector->client_point, NOISE_POINT_LEN);
        client_begin(fixture, vector, &client, sealed);
        assert_memory_equal(sealed, vector->sealed_static, sizeof sealed);
        assert_int_equal(client_finish(fixture, vector, key), WEIR_OK);
        assert_memory_equal(key, vector->session_key, sizeof key);
    }
}

static void test_daemon_agrees_with_vectors(void **state)
{
    struct fixture *fixture = *state;
    for (size_t i = 0; i < VECTOR_COUNT; i++) {
        struct vector *vector = &fixture->vectors[i];
        struct noise_state daemon;
        uint8_t sealed[SEALED_SIZE];
        uint8_t proof[32];
        uint8_t key[32];
        size_t len = 0;
        assert_memory_equal(
            fixture->daemon_ephemeral.public_point, vector->daemon_point, NOISE_POINT_LEN);
        assert_int_equal(daemon_read(fixture, vector, &daemon), WEIR_OK);
        assert_memory_equal(daemon.remote_static, fixture->client.public_point, NOISE_POINT_LEN);
        assert_int_equal(
            noise_daemon_respond(&daemon, &fixture->daemon_ephemeral, vector->psk_or_null,
                vector->session_id, vector->epoch, sealed, sizeof sealed, &len, proof, key),
            WEIR_OK);
        assert_int_equal(len, vector->sealed_metadata_len);
        assert_memory_equal(sealed, vector->sealed_metadata, len);
        assert_memory_equal(proof, vector->proof, sizeof proof);
        assert_memory_equal(key, vector->session_key, sizeof key);
    }
}

static void test_identity_of_the_daemon(void **state)
{
    struct fixture *fixture = *state;
    uint8_t point[NOISE_POINT_LEN];
    bytes_of(json_object_get(fixture->root, "daemonIdentity"), "publicKey", point, sizeof point);
    assert_memory_equal(fixture->daemon.public_point, point, sizeof point);
}

// Every byte of every part that a peer sends, with one bit flipped.
static void test_daemon_refuses_flipped_bytes(void **state)
{
    struct fixture *fixture = *state;
    for (size_t i = 0; i < VECTOR_COUNT; i++) {
        struct vector vector = fixture->vectors[i];
        struct {
            uint8_t *at;
            size_t len;
        } parts[] = {{vector.client_point, sizeof vector.client_point},
            {vector.sealed_static, sizeof vector.sealed_static}};
        for (size_t part = 0; part < 2; part++) {
            for (size_t at = 0; at < parts[part].len; at++) {
                struct noise_state daemon;
                parts[part].at[at] ^= 1;
                assert_int_equal(daemon_read(fixture, &vector, &daemon), WEIR_CRYPTO);
                parts[part].at[at] ^= 1;
            }
        }
    }
}

static void test_client_refuses_flipped_bytes(void **state)
{
    struct fixture *fixture = *state;
    for (size_t i = 0; i < VECTOR_COUNT; i++) {
        struct vector vector = fixture->vectors[i];
        struct {
            uint8_t *at;
            size_t len;
        } parts[] = {{vector.daemon_point, sizeof vector.daemon_point},
            {vector.sealed_metadata, vector.sealed_metadata_len},
            {vector.proof, sizeof vector.proof}};
        for (size_t part = 0; part < 3; part++) {
            for (size_t at = 0; at < parts[part].len; at++) {
                uint8_t key[32] = {0};
                static const uint8_t none[32];
                parts[part].at[at] ^= 1;
                assert_int_equal(client_finish(fixture, &vector, key), WEIR_CRYPTO);
                assert_memory_equal(key, none, sizeof key);
                parts[part].at[at] ^= 1;
            }
        }
    }
}

static void test_client_refuses_another_meaning(void **state)
{
    struct fixture *fixture = *state;
    uint8_t key[32];
    for (size_t i = 0; i < VECTOR_COUNT; i++) {
        struct vector vector = fixture->vectors[i];
        vector.epoch++;
        assert_int_equal(client_finish(fixture, &vector, key), WEIR_CRYPTO);
        vector.epoch = UINT64_MAX;
        assert_int_equal(client_finish(fixture, &vector, key), WEIR_CRYPTO);
        vector = fixture->vectors[i];
        vector.session_id.len--;
        assert_int_equal(client_finish(fixture, &vector, key), WEIR_CRYPTO);
        vector = fixture->vectors[i];
        vector.sealed_metadata_len--;
        assert_int_equal(client_finish(fixture, &vector, key), WEIR_CRYPTO);
        vector.sealed_metadata_len = 0;
        assert_int_equal(client_finish(fixture, &vector, key), WEIR_CRYPTO);
        // A profile with a secret has one, the other none.
        vector = fixture->vectors[i];
        vector.psk_or_null = vector.psk_or_null == NULL ? vector.psk : NULL;
        assert_int_equal(client_finish(fixture, &vector, key), WEIR_CRYPTO);
    }
    struct vector vector = fixture->vectors[0];
    if (vector.profile != NOISE_IKPSK2) {
        vector = fixture->vectors[1];
    }
    vector.psk[31] ^= 1;
    vector.psk_or_null = vector.psk;
    assert_int_equal(client_finish(fixture, &vector, key), WEIR_CRYPTO);
}

static void test_bad_points_and_scalars(void **state)
{
    struct fixture *fixture = *state;
    struct vector vector = fixture->vectors[0];
    struct noise_state daemon;
    uint8_t scalar[NOISE_SCALAR_LEN] = {0};
    struct noise_keypair pair;
    // A good point in the hybrid form: 6 or 7 by the parity of y.
    uint8_t hybrid[NOISE_POINT_LEN], sealed[NOISE_SEALED_STATIC_LEN];
    struct noise_state client;
    memcpy(hybrid, fixture->daemon.public_point, sizeof hybrid);
    hybrid[0] = 6 + (hybrid[NOISE_POINT_LEN - 1] & 1);
    assert_int_equal(noise_client_init(&client, NOISE_IK, &fixture->client,
                         &fixture->client_ephemeral, hybrid, sealed),
        WEIR_CRYPTO);
    memset(vector.client_point, 0, sizeof vector.client_point);
    assert_int_equal(daemon_read(fixture, &vector, &daemon), WEIR_CRYPTO);
    vector.client_point[0] = 4;
    assert_int_equal(daemon_read(fixture, &vector, &daemon), WEIR_CRYPTO);

    assert_int_equal(noise_keypair_from_scalar(scalar, &pair), WEIR_CRYPTO);
    memset(scalar, 0xff, sizeof scalar);
    assert_int_equal(noise_keypair_from_scalar(scalar, &pair), WEIR_CRYPTO);
}

static void test_sealed_static_of_another_length(void **state)
{
    struct fixture *fixture = *state;
    struct vector *vector = &fixture->vectors[0];
    struct noise_state daemon;
    for (size_t len = 0; len < NOISE_SEALED_STATIC_LEN; len++) {
        assert_int_equal(noise_daemon_read_init(&daemon, vector->profile, &fixture->daemon,
                             vector->client_point, sealed_of(vector->sealed_static, len)),
            WEIR_CRYPTO);
    }
}

static void test_session_ids(void **state)
{
    struct fixture *fixture = *state;
    struct vector *vector = &fixture->vectors[0];
    char longest[129];
    memset(longest, 'x', sizeof longest);
    const struct {
        struct slice id;
        size_t room;
        enum weir_result result;
    } rows[] = {
        {slice_of(longest, 128), 512, WEIR_OK},
        {slice_of(longest, 129), 512, WEIR_INVALID},
        {SLICE(""), 512, WEIR_INVALID},
        {SLICE("a\"b"), 512, WEIR_INVALID},
        {SLICE("a\\b"), 512, WEIR_INVALID},
        {SLICE("a\nb"), 512, WEIR_INVALID},
        {SLICE("a\x7f"), 512, WEIR_INVALID},
        {SLICE("\xc3\xa4"), 512, WEIR_INVALID},
        // {"sessionId":"a","epoch":1} and the tag
        {SLICE("a"), 27 + NOISE_TAG_LEN, WEIR_OK},
        {SLICE("a"), 26 + NOISE_TAG_LEN, WEIR_TOO_LARGE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct noise_state daemon;
        uint8_t sealed[512], proof[32], key[32];
        size_t len = 0;
        assert_int_equal(daemon_read(fixture, vector, &daemon), WEIR_OK);
        assert_int_equal(noise_daemon_respond(&daemon, &fixture->daemon_ephemeral, NULL, rows[i].id,
                             1, sealed, rows[i].room, &len, proof, key),
            rows[i].result);
    }
}

// Fresh keys on both sides, both profiles, then an envelope each way.
static void test_handshake_with_fresh_keys(void **state)
{
    const struct slice id = SLICE("rs_0123456789abcdef01234567");
    static const uint8_t psk[NOISE_PSK_LEN] = {7};
    (void)state;
    for (int i = 0; i < 2; i++) {
        enum noise_profile profile = i == 0 ? NOISE_IK : NOISE_IKPSK2;
        const uint8_t *secret = profile == NOISE_IKPSK2 ? psk : NULL;
        struct noise_keypair pairs[4];
        struct noise_state client, daemon;
        uint8_t first[NOISE_SEALED_STATIC_LEN], second[SEALED_SIZE], proof[32], keys[2][32];
        size_t len = 0;
        for (size_t pair = 0; pair < 4; pair++) {
            assert_int_equal(noise_keypair_generate(&pairs[pair]), WEIR_OK);
        }
        assert_memory_not_equal(pairs[0].public_point, pairs[1].public_point, NOISE_POINT_LEN);
        assert_int_equal(
            noise_client_init(&client, profile, &pairs[0], &pairs[1], pairs[2].public_point, first),
            WEIR_OK);
        assert_int_equal(noise_daemon_read_init(&daemon, profile, &pairs[2], pairs[1].public_point,
                             sealed_of(first, sizeof first)),
            WEIR_OK);
        assert_int_equal(noise_daemon_respond(&daemon, &pairs[3], secret, id, 3, second,
                             sizeof second, &len, proof, keys[0]),
            WEIR_OK);
        assert_int_equal(noise_client_finish(&client, pairs[3].public_point, secret, id, 3,
                             sealed_of(second, len), sealed_of(proof, sizeof proof), keys[1]),
            WEIR_OK);
        assert_memory_equal(keys[0], keys[1], 32);
        noise_wipe(&client);
        noise_wipe(&daemon);
        static const struct noise_state wiped;
        assert_memory_equal(client.ck, wiped.ck, sizeof wiped.ck);
        assert_memory_equal(&client.static_pair, &wiped.static_pair, sizeof wiped.static_pair);
    }
}

static void test_envelope(void **state)
{
    static const char plain[] = "{\"type\":\"hello\"}";
    const uint8_t key[32] = {1, 2, 3};
    const uint8_t other_key[32] = {1, 2, 4};
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct noise_envelope sealed = {.epoch = 1,
            .seq = UINT64_MAX,
            .session_id = SLICE("rs_1"),
            .profile = i == 0 ? NOISE_IK : NOISE_IKPSK2};
        char cipher[sizeof plain], out[sizeof plain];
        assert_int_equal(noise_envelope_seal(&sealed, key, plain, sizeof plain, cipher), WEIR_OK);
        assert_memory_not_equal(cipher, plain, sizeof plain);
        assert_int_equal(noise_envelope_open(&sealed, key, cipher, sizeof cipher, out), WEIR_OK);
        assert_memory_equal(out, plain, sizeof plain);

        struct noise_envelope wrong[6];
        for (size_t row = 0; row < 6; row++) {
            wrong[row] = sealed;
        }
        wrong[0].epoch++;
        wrong[1].seq--;
        wrong[2].session_id = SLICE("rs_2");
        wrong[3].profile = i == 0 ? NOISE_IKPSK2 : NOISE_IK;
        wrong[4].iv[NOISE_IV_LEN - 1] ^= 1;
        wrong[5].tag[0] ^= 1;
        for (size_t row = 0; row < 6; row++) {
            assert_int_equal(
                noise_envelope_open(&wrong[row], key, cipher, sizeof cipher, out), WEIR_CRYPTO);
        }
        assert_int_equal(
            noise_envelope_open(&sealed, other_key, cipher, sizeof cipher, out), WEIR_CRYPTO);
        for (size_t at = 0; at < sizeof cipher; at++) {
            cipher[at] ^= 1;
            assert_int_equal(
                noise_envelope_open(&sealed, key, cipher, sizeof cipher, out), WEIR_CRYPTO);
            cipher[at] ^= 1;
        }
    }
}

static void test_envelope_of_nothing_and_of_too_long_an_id(void **state)
{
    char id[129];
    const uint8_t key[32] = {9};
    (void)state;
    memset(id, 'x', sizeof id);
    struct noise_envelope envelope = {.session_id = slice_of(id, 128),
        .profile = NOISE_IKPSK2,
        .epoch = UINT64_MAX,
        .seq = UINT64_MAX};
    assert_int_equal(noise_envelope_seal(&envelope, key, "", 0, NULL), WEIR_OK);
    assert_int_equal(noise_envelope_open(&envelope, key, "", 0, NULL), WEIR_OK);
    id[64] = '\0';
    assert_int_equal(noise_envelope_open(&envelope, key, "", 0, NULL), WEIR_CRYPTO);
    assert_int_equal(noise_envelope_seal(&envelope, key, "", 0, NULL), WEIR_INVALID);
    id[64] = 'x';
    envelope.session_id.len = 129;
    assert_int_equal(noise_envelope_open(&envelope, key, "", 0, NULL), WEIR_CRYPTO);
    assert_int_equal(noise_envelope_seal(&envelope, key, "", 0, NULL), WEIR_INVALID);
}

static void test_version_2_pairs(void **state)
{
    (void)state;
    json_t *root = load(WEIR_SOURCE_DIR "/tests/data/relay-noise-v2.json");
    json_t *vectors = json_object_get(root, "vectors");
    static const char *const names[][2] = {
        {"clientPrivateKey", "clientPublicKey"}, {"daemonPrivateKey", "daemonPublicKey"}};
    assert_int_equal(json_array_size(vectors), 2);
    for (size_t i = 0; i < 4; i++) {
        uint8_t point[NOISE_POINT_LEN];
        json_t *vector = json_array_get(vectors, i / 2);
        struct noise_keypair pair = pair_of(vector, names[i % 2][0]);
        assert_int_equal(bytes_of(vector, names[i % 2][1], point, sizeof point), NOISE_POINT_LEN);
        assert_memory_equal(pair.public_point, point, sizeof point);
    }
    json_decref(root);
}

static void v2_hmac(const uint8_t *key, size_t key_len, struct slice text, uint8_t ret_mac[32])
{
    assert_non_null(
        HMAC(EVP_sha256(), key, (int)key_len, (const uint8_t *)text.at, text.len, ret_mac, NULL));
}

// The x coordinate of the daemon's point times the client's number.
static void v2_shared_secret(json_t *vector, uint8_t ret_secret[32])
{
    struct noise_keypair client = pair_of(vector, "clientPrivateKey");
    uint8_t bytes[NOISE_POINT_LEN];
    bytes_of(vector, "daemonPublicKey", bytes, sizeof bytes);
    EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
    EC_POINT *point = EC_POINT_new(group);
    BIGNUM *number = BN_bin2bn(client.private_scalar, NOISE_SCALAR_LEN, NULL);
    assert_int_equal(EC_POINT_oct2point(group, point, bytes, sizeof bytes, NULL), 1);
    assert_int_equal(EC_POINT_mul(group, point, NULL, point, number, NULL), 1);
    assert_int_equal(
        EC_POINT_point2oct(group, point, POINT_CONVERSION_UNCOMPRESSED, bytes, sizeof bytes, NULL),
        sizeof bytes);
    memcpy(ret_secret, bytes + 1, 32);
    BN_free(number);
    EC_POINT_free(point);
    EC_GROUP_free(group);
}

static const char *v2_text(json_t *vector, const char *name)
{
    return json_string_value(json_object_get(vector, name));
}

// HKDF-SHA256 (RFC 5869) of the shared secret and the pairing secret, salted with both nonces.
static void v2_session_key(json_t *vector, uint8_t ret_key[32])
{
    uint8_t salt[32], ikm[64], secret[32];
    char info[256];
    size_t ikm_len = 32;
    assert_int_equal(bytes_of(vector, "clientNonce", salt, 16), 16);
    assert_int_equal(bytes_of(vector, "daemonNonce", salt + 16, 16), 16);
    v2_shared_secret(vector, ikm);
    if (json_object_get(vector, "pairingSecret") != NULL) {
        ikm_len += bytes_of(vector, "pairingSecret", ikm + 32, 32);
    }
    v2_hmac(salt, sizeof salt, slice_of((const char *)ikm, ikm_len), secret);
    int len = snprintf(info, sizeof info,
        "viewport-relay-session-v2|%s|%s|%" JSON_INTEGER_FORMAT "\x01", v2_text(vector, "profile"),
        v2_text(vector, "sessionId"), json_integer_value(json_object_get(vector, "epoch")));
    v2_hmac(secret, sizeof secret, slice_of(info, (size_t)len), ret_key);
}

static void test_version_2_keys_and_proofs(void **state)
{
    (void)state;
    json_t *root = load(WEIR_SOURCE_DIR "/tests/data/relay-noise-v2.json");
    size_t i;
    json_t *vector;
    json_array_foreach(json_object_get(root, "vectors"), i, vector)
    {
        uint8_t key[32], proof[32], expected[32];
        char transcript[1024];
        v2_session_key(vector, key);
        assert_int_equal(bytes_of(vector, "expectedSessionKey", expected, 32), 32);
        assert_memory_equal(key, expected, 32);
        int len = snprintf(transcript, sizeof transcript,
            "viewport-relay-transcript-v2|%s|%s|%s|%s|%s|%s|%s|%" JSON_INTEGER_FORMAT,
            v2_text(vector, "requestId"), v2_text(vector, "profile"),
            v2_text(vector, "clientPublicKey"), v2_text(vector, "daemonPublicKey"),
            v2_text(vector, "clientNonce"), v2_text(vector, "daemonNonce"),
            v2_text(vector, "sessionId"), json_integer_value(json_object_get(vector, "epoch")));
        v2_hmac(key, sizeof key, slice_of(transcript, (size_t)len), proof);
        assert_int_equal(bytes_of(vector, "expectedDaemonProof", expected, 16), 16);
        assert_memory_equal(proof, expected, 16);
    }
    assert_int_equal(i, 2);
    json_decref(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_client_agrees_with_vectors),
        cmocka_unit_test(test_daemon_agrees_with_vectors),
        cmocka_unit_test(test_identity_of_the_daemon),
        cmocka_unit_test(test_daemon_refuses_flipped_bytes),
        cmocka_unit_test(test_client_refuses_flipped_bytes),
        cmocka_unit_test(test_client_refuses_another_meaning),
        cmocka_unit_test(test_bad_points_and_scalars),
        cmocka_unit_test(test_sealed_static_of_another_length),
        cmocka_unit_test(test_session_ids),
        cmocka_unit_test(test_handshake_with_fresh_keys),
        cmocka_unit_test(test_envelope),
        cmocka_unit_test(test_envelope_of_nothing_and_of_too_long_an_id),
        cmocka_unit_test(test_version_2_pairs),
        cmocka_unit_test(test_version_2_keys_and_proofs),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
