// SPDX-License-Identifier: Apache-2.0
#include "app/demo/demo_peer.h"

#include <openssl/crypto.h>
#include <stdio.h>

#include "base/base64.h"
#include "proto/json_write.h"
#include "relay/frame.h"
#include "sys/entropy.h"

#define ENVELOPE_VERSION 2
#define EPOCH 1
#define REQUEST_ID "demo-kex-1"
#define PLAIN_MAX 4096
#define SEALED_METADATA_MAX 256

static void write_bytes(struct json_writer *json, const char *key, const void *bytes, size_t len)
{
    char text[BASE64_SIZE(PLAIN_MAX)];
    weir_assert(len <= PLAIN_MAX);
    size_t text_len = base64url_encode(bytes, len, text);
    jsonw_string(json, key, slice_of(text, text_len));
}

static bool read_bytes(const struct json_value *value, void *bytes, size_t size, size_t *ret_len)
{
    return !value->escaped && base64url_decode(value->text, bytes, size, ret_len) == WEIR_OK;
}

static bool read_exactly(const struct json_value *value, void *bytes, size_t size)
{
    size_t len;
    return read_bytes(value, bytes, size, &len) && len == size;
}

// ---- Daemon

static void write_response(const struct demo_session *daemon, const uint8_t *sealed,
    size_t sealed_len, const uint8_t proof[32], struct buf *out)
{
    struct json_writer json;
    json_writer_init(&json, out);
    jsonw_object_begin(&json, NULL);
    jsonw_text(&json, "type", "relay_key_exchange_response");
    jsonw_u64(&json, "version", 3);
    jsonw_text(&json, "profile", noise_profile_name(NOISE_IK));
    jsonw_text(&json, "requestId", REQUEST_ID);
    write_bytes(&json, "daemonPublicKey", daemon->static_pair.public_point, NOISE_POINT_LEN);
    write_bytes(&json, "daemonEphemeralPublicKey", daemon->ephemeral.public_point, NOISE_POINT_LEN);
    write_bytes(&json, "encryptedMetadata", sealed, sealed_len);
    jsonw_text(&json, "sessionId", daemon->session_id);
    write_bytes(&json, "proof", proof, 32);
    jsonw_u64(&json, "epoch", EPOCH);
    jsonw_object_end(&json);
}

static bool name_session(struct demo_session *daemon)
{
    unsigned char random[12];
    if (sys_entropy(random, sizeof random) != WEIR_OK) {
        return false;
    }
    size_t len = (size_t)snprintf(daemon->session_id, sizeof daemon->session_id, "rs_");
    for (size_t i = 0; i < sizeof random; i++) {
        len += (size_t)snprintf(
            daemon->session_id + len, sizeof daemon->session_id - len, "%02x", random[i]);
    }
    return true;
}

bool demo_answer_init(struct demo_session *daemon, struct slice text, struct buf *out)
{
    struct frame frame;
    uint8_t ephemeral[NOISE_POINT_LEN];
    uint8_t sealed_static[NOISE_SEALED_STATIC_LEN];
    uint8_t sealed[SEALED_METADATA_MAX];
    uint8_t proof[32];
    size_t sealed_len;
    if (!frame_parse(text, FRAME_FROM_CLIENT, &frame) || frame.type != FRAME_KEX_INIT_V3 ||
        !read_exactly(&frame.client_ephemeral_public_key, ephemeral, sizeof ephemeral) ||
        !read_exactly(&frame.encrypted_client_static, sealed_static, sizeof sealed_static)) {
        return false;
    }
    struct slice sealed_slice = slice_of((const char *)sealed_static, sizeof sealed_static);
    if (!name_session(daemon) || noise_keypair_generate(&daemon->ephemeral) != WEIR_OK ||
        noise_daemon_read_init(&daemon->noise, NOISE_IK, &daemon->static_pair, ephemeral,
            sealed_slice) != WEIR_OK ||
        noise_daemon_respond(&daemon->noise, &daemon->ephemeral, NULL,
            slice_str(daemon->session_id), EPOCH, sealed, sizeof sealed, &sealed_len, proof,
            daemon->key) != WEIR_OK) {
        daemon->session_id[0] = '\0';
        return false;
    }
    daemon->seq = 0;
    write_response(daemon, sealed, sealed_len, proof, out);
    return !out->failed;
}

// ---- Client

bool demo_begin(
    struct demo_session *client, const uint8_t daemon_static[NOISE_POINT_LEN], struct buf *out)
{
    uint8_t sealed_static[NOISE_SEALED_STATIC_LEN];
    if (noise_keypair_generate(&client->static_pair) != WEIR_OK ||
        noise_keypair_generate(&client->ephemeral) != WEIR_OK ||
        noise_client_init(&client->noise, NOISE_IK, &client->static_pair, &client->ephemeral,
            daemon_static, sealed_static) != WEIR_OK) {
        return false;
    }
    struct json_writer json;
    json_writer_init(&json, out);
    jsonw_object_begin(&json, NULL);
    jsonw_text(&json, "type", "relay_key_exchange_init");
    jsonw_u64(&json, "version", 3);
    jsonw_text(&json, "profile", noise_profile_name(NOISE_IK));
    jsonw_text(&json, "requestId", REQUEST_ID);
    write_bytes(
        &json, "clientEphemeralPublicKey", client->ephemeral.public_point, NOISE_POINT_LEN);
    write_bytes(&json, "encryptedClientStatic", sealed_static, sizeof sealed_static);
    jsonw_object_end(&json);
    return !out->failed;
}

bool demo_finish(struct demo_session *client, struct slice text)
{
    struct frame frame;
    uint8_t ephemeral[NOISE_POINT_LEN];
    uint8_t sealed[SEALED_METADATA_MAX];
    uint8_t proof[32];
    size_t sealed_len;
    if (!frame_parse(text, FRAME_FROM_DAEMON, &frame) || frame.type != FRAME_KEX_RESPONSE_V3 ||
        !read_exactly(&frame.daemon_ephemeral_public_key, ephemeral, sizeof ephemeral) ||
        !read_bytes(&frame.encrypted_metadata, sealed, sizeof sealed, &sealed_len) ||
        !read_exactly(&frame.proof, proof, sizeof proof) ||
        !slice_to_text(frame.session_id.text, client->session_id, sizeof client->session_id)) {
        return false;
    }
    client->seq = 0;
    bool ok = noise_client_finish(&client->noise, ephemeral, NULL, slice_str(client->session_id),
                  EPOCH, slice_of((const char *)sealed, sealed_len),
                  slice_of((const char *)proof, sizeof proof), client->key) == WEIR_OK;
    if (!ok) {
        client->session_id[0] = '\0';
    }
    return ok;
}

// ---- Both

bool demo_seal(struct demo_session *session, struct slice plain, struct buf *out)
{
    char cipher[PLAIN_MAX];
    struct noise_envelope envelope = {
        .epoch = EPOCH,
        .seq = ++session->seq,
        .session_id = slice_str(session->session_id),
        .profile = NOISE_IK,
    };
    if (plain.len == 0 || plain.len > sizeof cipher ||
        noise_envelope_seal(&envelope, session->key, plain.at, plain.len, cipher) != WEIR_OK) {
        return false;
    }
    struct json_writer json;
    json_writer_init(&json, out);
    jsonw_object_begin(&json, NULL);
    jsonw_text(&json, "type", "e2ee");
    jsonw_u64(&json, "version", ENVELOPE_VERSION);
    jsonw_text(&json, "profile", noise_profile_name(NOISE_IK));
    jsonw_string(&json, "sessionId", envelope.session_id);
    jsonw_u64(&json, "epoch", envelope.epoch);
    jsonw_u64(&json, "seq", envelope.seq);
    write_bytes(&json, "iv", envelope.iv, sizeof envelope.iv);
    write_bytes(&json, "tag", envelope.tag, sizeof envelope.tag);
    write_bytes(&json, "ciphertext", cipher, plain.len);
    jsonw_object_end(&json);
    return !out->failed;
}

bool demo_open(struct demo_session *session, struct slice text, struct buf *plain)
{
    struct frame frame;
    char cipher[PLAIN_MAX];
    char opened[PLAIN_MAX];
    size_t len;
    double epoch;
    double seq;
    if (session->session_id[0] == '\0' || !frame_parse(text, FRAME_FROM_CLIENT, &frame) ||
        frame.type != FRAME_E2EE || !json_value_is_int(&frame.epoch, &epoch) ||
        !json_value_is_int(&frame.seq, &seq) || seq > 9007199254740991.0) {
        return false;
    }
    struct noise_envelope envelope = {
        .epoch = (uint64_t)epoch,
        .seq = (uint64_t)seq,
        .session_id = slice_str(session->session_id),
        .profile = NOISE_IK,
    };
    return epoch == EPOCH && read_exactly(&frame.iv, envelope.iv, sizeof envelope.iv) &&
           read_exactly(&frame.tag, envelope.tag, sizeof envelope.tag) &&
           read_bytes(&frame.ciphertext, cipher, sizeof cipher, &len) &&
           noise_envelope_open(&envelope, session->key, cipher, len, opened) == WEIR_OK &&
           buf_append(plain, opened, len) == WEIR_OK;
}

void demo_wipe(struct demo_session *session)
{
    noise_wipe(&session->noise);
    OPENSSL_cleanse(session, sizeof *session);
}
