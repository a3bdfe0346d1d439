// SPDX-License-Identifier: Apache-2.0
// Makes the tokens that token.c reads. Every token is read back before it is handed out, so that
// none leaves that the engine would refuse.
#include "auth/mint.h"
#include "engine/control/token_internal.h"
#include "proto/json_write.h"

#define CLAIMS_LEN_MAX 6000 // 8 KiB as a token (spec section 7.1)

static bool write_permissions(struct json_writer *writer, struct slice names)
{
    struct slice name;
    jsonw_array_begin(writer, "permissions");
    while (slice_split(&names, ',', &name)) {
        name = slice_trim(name);
        if (name.len == 0) {
            continue;
        }
        if (!token_permission_known(name)) {
            return false;
        }
        jsonw_string(writer, NULL, name);
    }
    jsonw_array_end(writer);
    return true;
}

static enum weir_result write_claims(
    const struct token_request *request, uint64_t now_ms, struct buf *claims)
{
    struct json_writer writer;
    json_writer_init(&writer, claims);
    jsonw_object_begin(&writer, NULL);
    jsonw_u64(&writer, "iat", now_ms / 1000);
    if (request->ttl_s > 0) {
        jsonw_u64(&writer, "exp", now_ms / 1000 + request->ttl_s);
    }
    if (request->subject.len > 0) {
        jsonw_string(&writer, "sub", request->subject);
    }
    if (request->permissions.at != NULL && !write_permissions(&writer, request->permissions)) {
        return WEIR_INVALID;
    }
    if (request->resources.len > 0) {
        jsonw_raw(&writer, "resources", request->resources);
    }
    jsonw_object_end(&writer);
    return claims->failed ? WEIR_TOO_LARGE : WEIR_OK;
}

static enum weir_result sign(
    struct slice claims, struct slice secret, uint64_t now_ms, struct buf *out)
{
    struct auth_key key;
    struct buf text = BUF_INIT(out->len_max);
    const char *reason;
    enum weir_result result = token_make_key(secret, &key);
    if (result != WEIR_OK) {
        return result;
    }
    result = mint_token(&key, claims, &text);
    if (result == WEIR_OK) {
        struct token *token = token_read(buf_slice(&text), secret, now_ms, &reason);
        result = token == NULL ? WEIR_MALFORMED : buf_append_slice(out, buf_slice(&text));
        token_free(token);
    }
    auth_key_fini(&key);
    buf_reset(&text);
    return result;
}

enum weir_result token_mint(
    const struct token_request *request, struct slice secret, uint64_t now_ms, struct buf *out)
{
    struct buf claims = BUF_INIT(CLAIMS_LEN_MAX);
    enum weir_result result = write_claims(request, now_ms, &claims);
    if (result == WEIR_OK) {
        result = sign(buf_slice(&claims), secret, now_ms, out);
    }
    buf_reset(&claims);
    return result;
}
