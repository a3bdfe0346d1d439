// SPDX-License-Identifier: Apache-2.0
#include "frames.h"

#include <stdio.h>
#include <string.h>

#include "util.h"

// Base64url lengths of: a P-256 point, a sealed P-256 point, sealed metadata, a hash, iv, tag.
enum { POINT = 87, SEALED_POINT = 108, SEALED_META = 86, HASH = 43, IV = 16, TAG = 22 };

// Appends `,"key":"<len random characters>"`.
static size_t put_random(char *out, const char *key, size_t len)
{
    size_t head = (size_t)sprintf(out, ",\"%s\":\"", key);
    util_random_base64(out + head, len);
    out[head + len] = '"';
    return head + len + 1;
}

size_t frames_kex_init(char *out, unsigned pair)
{
    size_t len = (size_t)sprintf(out,
        "{\"type\":\"relay_key_exchange_init\",\"version\":3,\"profile\":\"noise-ik\","
        "\"requestId\":\"kx_%024x\"",
        pair);
    len += put_random(out + len, "clientEphemeralPublicKey", POINT);
    len += put_random(out + len, "encryptedClientStatic", SEALED_POINT);
    out[len++] = '}';
    return len;
}

size_t frames_kex_response(char *out, unsigned pair)
{
    size_t len = (size_t)sprintf(out,
        "{\"type\":\"relay_key_exchange_response\",\"version\":3,\"profile\":\"noise-ik\","
        "\"requestId\":\"kx_%024x\",\"sessionId\":\"rs_%024x\",\"epoch\":1",
        pair, pair);
    len += put_random(out + len, "daemonPublicKey", POINT);
    len += put_random(out + len, "daemonEphemeralPublicKey", POINT);
    len += put_random(out + len, "encryptedMetadata", SEALED_META);
    len += put_random(out + len, "proof", HASH);
    out[len++] = '}';
    return len;
}

void frames_envelope(char *out, size_t size, unsigned pair, unsigned seq)
{
    char head[FRAMES_ENVELOPE_MIN];
    size_t len = (size_t)snprintf(head, sizeof head,
        "{\"type\":\"e2ee\",\"version\":2,\"profile\":\"noise-ik\",\"sessionId\":\"rs_%024x\","
        "\"epoch\":1,\"seq\":%u",
        pair, seq);
    len += put_random(head + len, "iv", IV);
    len += put_random(head + len, "tag", TAG);
    static const char key[] = ",\"ciphertext\":\"";
    memcpy(head + len, key, sizeof key - 1);
    len += sizeof key - 1;
    memcpy(out, head, len);
    util_random_base64(out + len, size - len - 2);
    memcpy(out + size - 2, "\"}", 2);
}
