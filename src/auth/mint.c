// SPDX-License-Identifier: Apache-2.0
#include "auth/mint.h"

#include <stdint.h>

#include "base/base64.h"
#include "proto/json_write.h"

#define HEADER_LEN_MAX 1024 // an id of 128 may need six characters for each of its own

static enum weir_result append_base64url(struct buf *out, const void *bytes, size_t len)
{
    char *text = buf_reserve(out, BASE64_SIZE(len));
    if (text == NULL) {
        return out->len + BASE64_SIZE(len) > out->len_max ? WEIR_FULL : WEIR_MEMORY;
    }
    buf_commit(out, base64url_encode(bytes, len, text));
    return WEIR_OK;
}

static enum weir_result append_header(const struct auth_key *key, struct buf *out)
{
    struct buf header = BUF_INIT(HEADER_LEN_MAX);
    struct json_writer writer;
    json_writer_init(&writer, &header);
    jsonw_object_begin(&writer, NULL);
    jsonw_text(&writer, "alg", auth_alg_name(key->alg));
    jsonw_text(&writer, "typ", "JWT");
    if (key->id[0] != '\0') {
        jsonw_text(&writer, "kid", key->id);
    }
    jsonw_object_end(&writer);
    enum weir_result result =
        header.failed ? WEIR_MEMORY : append_base64url(out, header.at, header.len);
    buf_reset(&header);
    return result;
}

static enum weir_result append_signature(const struct auth_key *key, struct buf *out, size_t from)
{
    uint8_t signature[AUTH_SIGNATURE_LEN_MAX];
    size_t len = 0;
    struct slice input = slice_skip(buf_slice(out), from);
    enum weir_result result = auth_key_sign(key, input, signature, &len);
    if (result == WEIR_OK) {
        result = buf_append_byte(out, '.');
    }
    return result == WEIR_OK ? append_base64url(out, signature, len) : result;
}

enum weir_result mint_token(const struct auth_key *key, struct slice claims, struct buf *out)
{
    size_t from = out->len;
    bool failed = out->failed;
    enum weir_result result = append_header(key, out);
    if (result == WEIR_OK) {
        result = buf_append_byte(out, '.');
    }
    if (result == WEIR_OK) {
        result = append_base64url(out, claims.at, claims.len);
    }
    if (result == WEIR_OK) {
        result = append_signature(key, out, from);
    }
    if (result != WEIR_OK) {
        out->len = from;
        out->failed = failed;
    }
    return result;
}
