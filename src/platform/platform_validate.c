// SPDX-License-Identifier: Apache-2.0
// Admission: is this token one of ours, still good, and for what the peer asks? The checks stand in
// one order - form, signature, life, audience, purpose - and the first that fails names the reason,
// so nothing is said about the content of a token that is not ours.
#include "platform/platform.h"

#include <jansson.h>

#include "auth/jws.h"
#include "platform/platform_internal.h"
#include "proto/json_write.h"
#include "sys/clock.h"

struct question {
    struct slice token;
    struct slice role;
    struct slice workspace_id;
    struct slice runtime_target_id; // empty when not asked for
};

struct verdict {
    unsigned status;
    const char *reason; // NULL: admitted
};

static const struct verdict admitted = {200, NULL};

// ---- The question -------------------------------------------------------------------------------

static bool read_text(const json_t *root, const char *name, struct slice *ret_text)
{
    const json_t *value = json_object_get(root, name);
    if (!json_is_string(value)) {
        return false;
    }
    *ret_text = slice_of(json_string_value(value), json_string_length(value));
    return true;
}

// Borrows root.
static bool read_question(const json_t *root, struct question *ret_question)
{
    *ret_question = (struct question){.runtime_target_id = SLICE_EMPTY};
    if (!read_text(root, "relayToken", &ret_question->token) ||
        !read_text(root, "role", &ret_question->role) ||
        !read_text(root, "workspaceId", &ret_question->workspace_id) ||
        !platform_role_valid(ret_question->role) ||
        !platform_id_valid(ret_question->workspace_id)) {
        return false;
    }
    return json_object_get(root, "runtimeTargetId") == NULL ||
           (read_text(root, "runtimeTargetId", &ret_question->runtime_target_id) &&
               platform_id_valid(ret_question->runtime_target_id));
}

// ---- The checks ---------------------------------------------------------------------------------

static struct verdict check_life(const struct jws *jws)
{
    int64_t now_s = (int64_t)(sys_wall_ms() / 1000);
    int64_t expires_s;
    int64_t begins_s;
    if (!jws_claim_time(jws, "exp", &expires_s)) {
        return (struct verdict){401, "INVALID_TOKEN"};
    }
    if (now_s >= expires_s) {
        return (struct verdict){401, "TOKEN_EXPIRED"};
    }
    if (jws_claim_time(jws, "nbf", &begins_s) && now_s < begins_s) {
        return (struct verdict){401, "TOKEN_NOT_YET_VALID"};
    }
    return admitted;
}

static struct verdict check_purpose(const struct jws *jws, const struct question *question)
{
    struct slice target = jws_claim_text(jws, "runtimeTargetId");
    if (!slice_eq(jws_claim_text(jws, "iss"), SLICE(PLATFORM_ISSUER))) {
        return (struct verdict){401, "ISSUER_MISMATCH"};
    }
    if (!jws_has_audience(jws, SLICE(PLATFORM_AUDIENCE))) {
        return (struct verdict){401, "AUDIENCE_MISMATCH"};
    }
    if (!slice_eq(jws_claim_text(jws, "role"), question->role)) {
        return (struct verdict){403, "ROLE_MISMATCH"};
    }
    if (!slice_eq(jws_claim_text(jws, "workspaceId"), question->workspace_id)) {
        return (struct verdict){403, "WORKSPACE_MISMATCH"};
    }
    // Who asks for no target gets the token's (spec section 5.1).
    if (question->runtime_target_id.len > 0 && !slice_eq(target, question->runtime_target_id)) {
        return (struct verdict){403, "RUNTIME_TARGET_MISMATCH"};
    }
    return admitted;
}

// jws_verify came to result.
static struct verdict check_token(const struct platform *platform, const struct jws *jws,
    enum weir_result result, const struct question *question)
{
    if (!slice_eq(jws->key_id, slice_str(platform->key.id))) {
        return (struct verdict){401, "UNKNOWN_KEY"};
    }
    if (result != WEIR_OK) {
        return (struct verdict){401, "INVALID_SIGNATURE"};
    }
    struct verdict verdict = check_life(jws);
    return verdict.reason == NULL ? check_purpose(jws, question) : verdict;
}

// ---- The answer ---------------------------------------------------------------------------------

// The claims as they stand in the token. jansson keeps the order of the members.
static enum weir_result admit(const struct jws *jws, struct buf *out)
{
    const size_t flags = JSON_COMPACT;
    size_t len = json_dumpb(jws->claims, NULL, 0, flags);
    struct json_writer writer;
    struct buf claims = BUF_INIT(JWS_TOKEN_LEN_MAX);
    char *text = len == 0 ? NULL : buf_reserve(&claims, len);
    if (text == NULL || json_dumpb(jws->claims, text, len, flags) != len) {
        buf_reset(&claims);
        return WEIR_MEMORY;
    }
    buf_commit(&claims, len);
    json_writer_init(&writer, out);
    jsonw_object_begin(&writer, NULL);
    jsonw_bool(&writer, "ok", true);
    jsonw_raw(&writer, "claims", buf_slice(&claims));
    jsonw_object_end(&writer);
    buf_reset(&claims);
    return out->failed ? WEIR_FULL : WEIR_OK;
}

static enum weir_result answer_question(const struct platform *platform,
    const struct question *question, struct buf *out, unsigned *ret_status)
{
    struct jws jws;
    struct verdict verdict = {401, "INVALID_TOKEN"};
    enum weir_result result = jws_parse(question->token, &jws);
    if (result == WEIR_MEMORY) {
        return result;
    }
    if (result == WEIR_OK) {
        result = jws_verify(&jws, &platform->key);
        if (result != WEIR_OK && result != WEIR_REFUSED) {
            jws_fini(&jws);
            return result;
        }
        verdict = check_token(platform, &jws, result, question);
    }
    *ret_status = verdict.status;
    result =
        verdict.reason == NULL ? admit(&jws, out) : platform_refuse("reason", verdict.reason, out);
    jws_fini(&jws);
    return result;
}

enum weir_result platform_validate(const struct platform *platform, struct slice request_body,
    struct buf *out, unsigned *ret_status)
{
    struct question question;
    json_error_t error;
    json_t *root = json_loadb(request_body.at, request_body.len, JSON_REJECT_DUPLICATES, &error);
    if (root == NULL && json_error_code(&error) == json_error_out_of_memory) {
        return WEIR_MEMORY;
    }
    enum weir_result result;
    if (read_question(root, &question)) {
        result = answer_question(platform, &question, out, ret_status);
    } else {
        *ret_status = 400;
        result = platform_refuse("reason", "BAD_REQUEST", out);
    }
    json_decref(root);
    return result;
}
