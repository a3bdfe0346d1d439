// SPDX-License-Identifier: Apache-2.0
// Both JSON parts are read by jansson, which refuses NUL characters, so that a claim is always a
// whole C string, and bounds the nesting; the token's length bounds the rest.
#include "auth/jws.h"

#include <math.h>

#include "base/base64.h"

#define PART_LEN_MAX (JWS_TOKEN_LEN_MAX / 4 * 3)
#define TIME_MAX 9007199254740992.0 // 2^53, the end of the exact integers of JSON's peers

static enum weir_result read_object(struct slice part, json_t **ret_object)
{
    char text[PART_LEN_MAX];
    size_t len;
    enum weir_result result = base64url_decode(part, text, sizeof text, &len);
    if (result != WEIR_OK) {
        return result;
    }
    json_error_t error;
    *ret_object = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
    if (*ret_object == NULL && json_error_code(&error) == json_error_out_of_memory) {
        return WEIR_MEMORY;
    }
    return json_is_object(*ret_object) ? WEIR_OK : WEIR_MALFORMED;
}

static struct slice member_text(const json_t *object, const char *name)
{
    json_t *value = json_object_get(object, name);
    return json_is_string(value) ? slice_of(json_string_value(value), json_string_length(value))
                                 : SLICE_EMPTY;
}

static enum weir_result read_header(struct slice part, struct jws *jws)
{
    enum weir_result result = read_object(part, &jws->header);
    if (result != WEIR_OK) {
        return result;
    }
    if (!json_is_string(json_object_get(jws->header, "alg")) ||
        json_object_get(jws->header, "crit") != NULL) {
        return WEIR_MALFORMED;
    }
    jws->alg = auth_alg_from_name(member_text(jws->header, "alg"));
    jws->key_id = member_text(jws->header, "kid");
    return WEIR_OK;
}

enum weir_result jws_parse(struct slice token, struct jws *ret_jws)
{
    *ret_jws = (struct jws){.key_id = SLICE_EMPTY, .signing_input = SLICE_EMPTY};
    if (token.len > JWS_TOKEN_LEN_MAX) {
        return WEIR_TOO_LARGE;
    }
    struct slice rest = token;
    struct slice header, claims;
    if (!slice_split(&rest, '.', &header) || !slice_split(&rest, '.', &claims) || rest.at == NULL ||
        slice_find(rest, '.') >= 0) {
        return WEIR_MALFORMED;
    }
    ret_jws->signing_input = slice_of(token.at, header.len + 1 + claims.len);
    enum weir_result result = read_header(header, ret_jws);
    if (result == WEIR_OK) {
        result = read_object(claims, &ret_jws->claims);
    }
    if (result == WEIR_OK) {
        result = base64url_decode(
            rest, ret_jws->signature, sizeof ret_jws->signature, &ret_jws->signature_len);
    }
    if (result != WEIR_OK) {
        jws_fini(ret_jws);
    }
    return result;
}

void jws_fini(struct jws *jws)
{
    json_decref(jws->header);
    json_decref(jws->claims);
    *jws = (struct jws){.key_id = SLICE_EMPTY, .signing_input = SLICE_EMPTY};
}

enum weir_result jws_verify(const struct jws *jws, const struct auth_key *key)
{
    if (jws->alg == AUTH_ALG_OTHER || jws->alg != key->alg) {
        return WEIR_REFUSED;
    }
    return auth_key_verify(
        key, jws->signing_input, slice_of((const char *)jws->signature, jws->signature_len));
}

struct slice jws_claim_text(const struct jws *jws, const char *name)
{
    return member_text(jws->claims, name);
}

bool jws_claim_time(const struct jws *jws, const char *name, int64_t *ret_seconds)
{
    json_t *value = json_object_get(jws->claims, name);
    if (!json_is_number(value)) {
        return false;
    }
    double seconds = floor(json_number_value(value));
    if (fabs(seconds) > TIME_MAX) {
        return false;
    }
    *ret_seconds = (int64_t)seconds;
    return true;
}

bool jws_has_audience(const struct jws *jws, struct slice audience)
{
    json_t *value = json_object_get(jws->claims, "aud");
    if (json_is_string(value)) {
        return slice_eq(member_text(jws->claims, "aud"), audience);
    }
    for (size_t i = 0; i < json_array_size(value); i++) {
        json_t *item = json_array_get(value, i);
        if (json_is_string(item) &&
            slice_eq(slice_of(json_string_value(item), json_string_length(item)), audience)) {
            return true;
        }
    }
    return false;
}
