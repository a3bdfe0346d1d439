// SPDX-License-Identifier: Apache-2.0
// HMAC pads a key shorter than its hash's block with zeros and hashes a longer one (RFC 2104
// section 2). Both is done here before the key is made, so that a configured secret may have any
// length though auth_key wants 32 to 256 bytes; the MAC is the same.
//
// Nothing is looked at before the signature is right, except the header that names the algorithm.
#include "engine/control/token_internal.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <stdio.h>

#include "auth/jws.h"
#include "base/mem.h"
#include "base/time.h"

#define HMAC_BLOCK 64

struct token {
    struct slice secret; // borrowed
    uint64_t expires_ms;
    unsigned permissions; // enum token_permission bits
    char identity[TOKEN_IDENTITY_SIZE];
    char *user_id;       // owned; NULL without
    struct scope *scope; // owned; NULL: not restricted
};

static const struct {
    const char *name;
    enum token_permission permission;
} permission_names[] = {
    {"tunnels.resources.read-only", TOKEN_READ},
    {"tunnels.tunnels.create-delete", TOKEN_CREATE},
    {"tunnels.streams.create-delete", TOKEN_DIAL},
};
#define PERMISSION_COUNT (sizeof permission_names / sizeof permission_names[0])
#define PERMISSIONS_ALL (TOKEN_READ | TOKEN_CREATE | TOKEN_DIAL)

// ---- The signature.

enum weir_result token_make_key(struct slice secret, struct auth_key *ret_key)
{
    uint8_t block[HMAC_BLOCK] = {0};
    if (secret.len > HMAC_BLOCK) {
        SHA256((const uint8_t *)secret.at, secret.len, block);
    } else {
        memcpy(block, secret.at, secret.len);
    }
    enum weir_result result =
        auth_key_from_secret(slice_of((const char *)block, sizeof block), ret_key);
    OPENSSL_cleanse(block, sizeof block);
    return result;
}

// NULL, or what is wrong.
static const char *check_signature(const struct jws *jws, struct slice secret)
{
    struct auth_key key;
    if (jws->alg != AUTH_HS256) {
        return "the algorithm is not HS256";
    }
    if (secret.len == 0 || token_make_key(secret, &key) != WEIR_OK) {
        return "no key to check it with";
    }
    enum weir_result result = jws_verify(jws, &key);
    auth_key_fini(&key);
    return result == WEIR_OK        ? NULL
           : result == WEIR_REFUSED ? "the signature is wrong"
                                    : "the signature could not be checked";
}

// ---- Claims.

static const char *read_times(struct token *token, const struct jws *jws, uint64_t now_ms)
{
    int64_t now_s = (int64_t)(now_ms / 1000);
    int64_t at;
    token->expires_ms = TIME_NEVER;
    if (json_object_get(jws->claims, "exp") != NULL) {
        if (!jws_claim_time(jws, "exp", &at)) {
            return "exp is not a time";
        }
        if (at + TOKEN_LEEWAY_S <= now_s) {
            return "it has expired";
        }
        token->expires_ms = (uint64_t)(at + TOKEN_LEEWAY_S) * 1000;
    }
    if (json_object_get(jws->claims, "nbf") != NULL) {
        if (!jws_claim_time(jws, "nbf", &at)) {
            return "nbf is not a time";
        }
        if (at - TOKEN_LEEWAY_S > now_s) {
            return "it is not valid yet";
        }
    }
    return NULL;
}

static unsigned permission_of(const char *name)
{
    for (size_t i = 0; i < PERMISSION_COUNT; i++) {
        if (strcmp(permission_names[i].name, name) == 0) {
            return permission_names[i].permission;
        }
    }
    return 0; // of another product
}

bool token_permission_known(struct slice name)
{
    for (size_t i = 0; i < PERMISSION_COUNT; i++) {
        if (slice_eq(name, slice_str(permission_names[i].name))) {
            return true;
        }
    }
    return false;
}

static const char *read_permissions(struct token *token, const json_t *claims)
{
    const json_t *permissions = json_object_get(claims, "permissions");
    token->permissions = PERMISSIONS_ALL;
    if (permissions == NULL || json_is_null(permissions)) {
        return NULL;
    }
    if (!json_is_array(permissions)) {
        return "permissions is not an array";
    }
    token->permissions = 0;
    for (size_t i = 0; i < json_array_size(permissions); i++) {
        const char *name = json_string_value(json_array_get(permissions, i));
        if (name == NULL) {
            return "permissions has something that is not a string";
        }
        token->permissions |= permission_of(name);
    }
    return NULL;
}

static const char *read_user(struct token *token, const json_t *claims)
{
    const json_t *user = json_object_get(claims, "userId");
    if (user == NULL || json_is_null(user)) {
        return NULL;
    }
    if (!json_is_string(user)) {
        return "userId is not a string";
    }
    token->user_id = mem_copy(json_string_value(user), json_string_length(user));
    return token->user_id == NULL ? "no memory" : NULL;
}

static void make_identity(struct token *token, const json_t *claims, struct slice text)
{
    const json_t *subject = json_object_get(claims, "sub");
    uint8_t digest[SHA256_DIGEST_LENGTH];
    if (json_string_length(subject) > 0) {
        SHA256((const uint8_t *)json_string_value(subject), json_string_length(subject), digest);
    } else {
        SHA256((const uint8_t *)text.at, text.len, digest);
    }
    for (size_t i = 0; i < sizeof digest; i++) {
        snprintf(token->identity + 2 * i, 3, "%02x", digest[i]);
    }
}

static const char *read_claims(
    struct token *token, const struct jws *jws, uint64_t now_ms, struct slice text)
{
    const char *reason = read_times(token, jws, now_ms);
    if (reason == NULL) {
        reason = read_permissions(token, jws->claims);
    }
    if (reason == NULL) {
        reason = read_user(token, jws->claims);
    }
    if (reason == NULL &&
        scope_new(json_object_get(jws->claims, "resources"), &token->scope) != WEIR_OK) {
        reason = "no memory";
    }
    make_identity(token, jws->claims, text);
    return reason;
}

static struct token *read_verified(
    const struct jws *jws, uint64_t now_ms, struct slice text, const char **ret_reason)
{
    struct token *token = mem_zalloc(sizeof *token);
    *ret_reason = token == NULL ? "no memory" : read_claims(token, jws, now_ms, text);
    if (*ret_reason != NULL) {
        token_free(token);
        return NULL;
    }
    return token;
}

struct token *token_read(
    struct slice text, struct slice secret, uint64_t now_ms, const char **ret_reason)
{
    struct jws jws;
    if (text.len == 0) {
        *ret_reason = "there is none";
        return NULL;
    }
    enum weir_result result = jws_parse(text, &jws);
    if (result != WEIR_OK) {
        *ret_reason = result == WEIR_MEMORY      ? "no memory"
                      : result == WEIR_TOO_LARGE ? "it is too long"
                                                 : "it is not a JWT";
        return NULL;
    }
    *ret_reason = check_signature(&jws, secret);
    struct token *token =
        *ret_reason == NULL ? read_verified(&jws, now_ms, text, ret_reason) : NULL;
    if (token != NULL) {
        token->secret = secret;
    }
    jws_fini(&jws);
    return token;
}

void token_free(struct token *token)
{
    if (token == NULL) {
        return;
    }
    scope_free(token->scope);
    mem_free(token->user_id);
    mem_free(token);
}

// ---- What it says.

uint64_t token_expires_ms(const struct token *token)
{
    return token->expires_ms;
}

bool token_signed_with(const struct token *token, struct slice secret)
{
    return slice_eq(token->secret, secret);
}

const char *token_identity(const struct token *token)
{
    return token->identity;
}

struct slice token_user_id(const struct token *token)
{
    return slice_str(token->user_id);
}

bool token_permits(const struct token *token, enum token_permission permission)
{
    return (token->permissions & permission) != 0;
}

bool token_reaches(const struct token *token, enum scope_action action, const struct tunnel *tunnel)
{
    return scope_allows(token->scope, action, tunnel, (struct slice){NULL, 0});
}

bool token_lists_clients(const struct token *token)
{
    return scope_allows(token->scope, SCOPE_LIST, NULL, (struct slice){NULL, 0});
}

bool token_opens_path(const struct token *token, const struct tunnel *tunnel, struct slice path)
{
    bool may = token_permits(token, TOKEN_DIAL) || scope_names(token->scope, SCOPE_CONNECT);
    return may && scope_allows(token->scope, SCOPE_CONNECT, tunnel, path);
}
