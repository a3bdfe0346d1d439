// SPDX-License-Identifier: Apache-2.0
// The admission call. The checks stand in one order, from what the token is to what it is good for;
// the first that fails is the answer. Nothing of a token is looked at before its signature, but its
// key id, which says whether it is one of ours at all.
#include "platform/platform.h"

#include <jansson.h>

#include "auth/jws.h"
#include "base/mem.h"
#include "platform/platform_internal.h"
#include "proto/json_write.h"
#include "sys/clock.h"

#define CLOCK_SKEW_S 30 // as the daemons allow (spec section 4.6)

// What the relay asks; the texts borrow root.
struct question {
    json_t *root; // owned
    struct slice token;
    struct slice role;
    struct slice workspace_id;
    struct slice runtime_target_id; // empty when it asks for none
};

struct verdict {
    unsigned status;
    const char *reason; // NULL: admitted
};

static struct slice text_of(const json_t *object, const char *name)
{
    json_t *value = json_object_get(object, name);
    return json_is_string(value) ? slice_of(json_string_value(value), json_string_length(value))
                                 : SLICE_EMPTY;
}

static enum weir_result read_question(struct slice body, struct question *question)
{
    *question = (struct question){0};
    if (body.len > PLATFORM_BODY_LEN_MAX) {
        return WEIR_MALFORMED;
    }
    json_error_t error;
    question->root = json_loadb(body.at, body.len, JSON_REJECT_DUPLICATES, &error);
    if (question->root == NULL && json_error_code(&error) == json_error_out_of_memory) {
        return WEIR_MEMORY;
    }
    question->token = text_of(question->root, "relayToken");
    question->role = text_of(question->root, "role");
    question->workspace_id = text_of(question->root, "workspaceId");
    question->runtime_target_id = text_of(question->root, "runtimeTargetId");
    bool target_valid = json_object_get(question->root, "runtimeTargetId") == NULL ||
                        platform_is_id(question->runtime_target_id);
    return question->token.len > 0 && platform_is_role(question->role) &&
                   platform_is_id(question->workspace_id) && target_valid
               ? WEIR_OK
               : WEIR_MALFORMED;
}

// "exp" must be there; "nbf" counts when it is.
static const char *check_times(const struct jws *jws)
{
    int64_t now_s = (int64_t)(sys_wall_ms() / 1000);
    int64_t expiry, not_before;
    if (!jws_claim_time(jws, "exp", &expiry)) {
        return "INVALID_TOKEN";
    }
    if (expiry + CLOCK_SKEW_S <= now_s) {
        return "TOKEN_EXPIRED";
    }
    if (json_object_get(jws->claims, "nbf") == NULL) {
        return NULL;
    }
    if (!jws_claim_time(jws, "nbf", &not_before)) {
        return "INVALID_TOKEN";
    }
    return not_before - CLOCK_SKEW_S > now_s ? "TOKEN_NOT_YET_VALID" : NULL;
}

static struct verdict check_claims(const struct question *question, const struct jws *jws)
{
    const char *reason = check_times(jws);
    if (reason != NULL) {
        return (struct verdict){401, reason};
    }
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
    // A token for a target is good for that one, and for a question that names none: the claim is
    // the effective target then (section 5.1). One without a target is good for no target.
    if (question->runtime_target_id.len > 0 &&
        !slice_eq(jws_claim_text(jws, "runtimeTargetId"), question->runtime_target_id)) {
        return (struct verdict){403, "RUNTIME_TARGET_MISMATCH"};
    }
    return (struct verdict){200, NULL};
}

static enum weir_result judge(const struct platform *platform, const struct question *question,
    const struct jws *jws, struct verdict *ret_verdict)
{
    const struct auth_key *key = platform_find_key(platform, jws->key_id, sys_wall_ms());
    if (key == NULL) {
        *ret_verdict = platform_has_keys(platform) ? (struct verdict){401, "UNKNOWN_KEY"}
                                                   : (struct verdict){503, "KEYS_NOT_LOADED"};
        return WEIR_OK;
    }
    enum weir_result result = jws_verify(jws, key);
    if (result == WEIR_REFUSED) {
        *ret_verdict = (struct verdict){401, "INVALID_SIGNATURE"};
        return WEIR_OK;
    }
    if (result == WEIR_OK) {
        *ret_verdict = check_claims(question, jws);
    }
    return result;
}

enum weir_result platform_write_json(
    struct json_writer *writer, const char *key, const json_t *tree)
{
    size_t len = json_dumpb(tree, NULL, 0, JSON_COMPACT);
    char *text = len == 0 ? NULL : mem_alloc(len);
    if (text == NULL) {
        return WEIR_MEMORY;
    }
    size_t again = json_dumpb(tree, text, len, JSON_COMPACT);
    jsonw_raw(writer, key, slice_of(text, len));
    mem_free(text);
    return again == len ? WEIR_OK : WEIR_MEMORY;
}

static enum weir_result write_admission(const json_t *claims, struct buf *out)
{
    struct json_writer writer;
    json_writer_init(&writer, out);
    jsonw_object_begin(&writer, NULL);
    jsonw_bool(&writer, "ok", true);
    enum weir_result result = platform_write_json(&writer, "claims", claims);
    jsonw_object_end(&writer);
    return result == WEIR_OK && out->failed ? WEIR_MEMORY : result;
}

static enum weir_result answer(const struct platform *platform, const struct question *question,
    struct buf *out, unsigned *ret_status)
{
    struct jws jws;
    struct verdict verdict = {401, "INVALID_TOKEN"};
    enum weir_result result = jws_parse(question->token, &jws);
    if (result == WEIR_OK) {
        result = judge(platform, question, &jws, &verdict);
    } else if (result != WEIR_MEMORY) {
        result = WEIR_OK;
    }
    if (result == WEIR_OK) {
        *ret_status = verdict.status;
        result = verdict.reason == NULL ? write_admission(jws.claims, out)
                                        : platform_write_refusal(out, verdict.reason);
    }
    jws_fini(&jws);
    return result;
}

enum weir_result platform_validate(const struct platform *platform, struct slice request_body,
    struct buf *out, unsigned *ret_status)
{
    struct question question;
    enum weir_result result = read_question(request_body, &question);
    if (result == WEIR_MALFORMED) {
        *ret_status = 400;
        result = platform_write_refusal(out, "BAD_REQUEST");
    } else if (result == WEIR_OK) {
        result = answer(platform, &question, out, ret_status);
    }
    json_decref(question.root);
    return result;
}
