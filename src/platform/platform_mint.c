// SPDX-License-Identifier: Apache-2.0
// Relay tokens. What is checked here is what the relay will check of the claims (spec section
// 4.4), so that a token that was made is a token that works. A signed token says:
//
//   iss aud iat exp jti | role workspaceId runtimeTargetId? | scope clientId (of a client) |
//   installId? machineId? userId? sessionChannels? e2eeProfile? daemonIssueGeneration?
#include "platform/platform.h"

#include <stdio.h>

#include "auth/mint.h"
#include "base/utf8.h"
#include "platform/platform_internal.h"
#include "proto/json_write.h"
#include "sys/clock.h"
#include "sys/entropy.h"

#define ID_LEN_MAX 128
#define MACHINE_ID_LEN_MAX 255
#define CHANNEL_LEN_MAX 255
#define PUBLIC_KEY_LEN_MAX 512
#define CHANNEL_PREFIX SLICE("agent-session:")
#define NUMBER_MAX 9007199254740991 // 2^53 - 1
#define TOKEN_LEN_MAX 4096          // the relay takes no longer one (spec section 4.3)
#define CLAIMS_LEN_MAX 131072       // above 64 channels of 255 characters, each escaped
#define RANDOM_LEN 16
#define RANDOM_TEXT_SIZE (2 * RANDOM_LEN + 1)

// ---- Rules --------------------------------------------------------------------------------------

static bool is_one_of(struct slice text, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (slice_eq(text, slice_str(names[i]))) {
            return true;
        }
    }
    return false;
}

#define IS_ONE_OF(text, ...)                                                                       \
    is_one_of(text, (const char *const[]){__VA_ARGS__},                                            \
        sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *))

bool platform_is_role(struct slice text)
{
    return IS_ONE_OF(text, "workspace-daemon", "client", "worker");
}

bool platform_is_id(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.at[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        bool other = (c >= '0' && c <= '9') || c == '.' || c == '_' || c == ':' || c == '-';
        if (!letter && !other) {
            return false;
        }
    }
    return text.len > 0 && text.len <= ID_LEN_MAX;
}

// The length in UTF-16 code units, which is what the limits count.
static size_t units_of(struct slice text)
{
    size_t units = 0;
    for (size_t at = 0; at < text.len;) {
        size_t len = utf8_sequence_len(slice_skip(text, at));
        units += len == 4 ? 2 : 1;
        at += len;
    }
    return units;
}

// Empty, or text of at most max units.
static bool fits(struct slice text, size_t max)
{
    return utf8_valid(text) && slice_find(text, '\0') < 0 && units_of(text) <= max;
}

static bool is_channel(struct slice text)
{
    return slice_starts_with(text, CHANNEL_PREFIX) && text.len > CHANNEL_PREFIX.len &&
           fits(text, CHANNEL_LEN_MAX) && slice_find(text, '\n') < 0 && slice_find(text, '\r') < 0;
}

static bool channels_valid(const struct relay_token_request *request)
{
    if (request->session_channel_count > PLATFORM_CHANNELS_MAX) {
        return false;
    }
    for (size_t i = 0; i < request->session_channel_count; i++) {
        if (!is_channel(request->session_channels[i])) {
            return false;
        }
    }
    return true;
}

static bool request_valid(const struct relay_token_request *request)
{
    bool client = slice_eq(request->role, SLICE("client"));
    return platform_is_role(request->role) && platform_is_id(request->workspace_id) &&
           (request->runtime_target_id.len == 0 || platform_is_id(request->runtime_target_id)) &&
           (request->scope.len == 0 ||
               (client && IS_ONE_OF(request->scope, "runtime", "pairing", "session-events"))) &&
           (request->client_id.len == 0 || (client && fits(request->client_id, ID_LEN_MAX))) &&
           fits(request->install_id, ID_LEN_MAX) && fits(request->user_id, ID_LEN_MAX) &&
           fits(request->machine_id, MACHINE_ID_LEN_MAX) && channels_valid(request) &&
           fits(request->daemon_public_key, PUBLIC_KEY_LEN_MAX) &&
           fits(request->managed_executor_id, ID_LEN_MAX) &&
           (request->e2ee_profile.len == 0 ||
               IS_ONE_OF(request->e2ee_profile, "noise-ik", "noise-ikpsk2")) &&
           request->ttl_s <= PLATFORM_TTL_S_MAX && request->daemon_issue_generation <= NUMBER_MAX;
}

// ---- Claims -------------------------------------------------------------------------------------

static enum weir_result random_text(char text[RANDOM_TEXT_SIZE])
{
    uint8_t bytes[RANDOM_LEN];
    enum weir_result result = sys_entropy(bytes, sizeof bytes);
    for (size_t i = 0; result == WEIR_OK && i < sizeof bytes; i++) {
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    }
    return result;
}

static void write_optional(struct json_writer *writer, const char *key, struct slice text)
{
    if (text.len > 0) {
        jsonw_string(writer, key, text);
    }
}

static void write_registered(struct json_writer *writer, uint64_t ttl_s, const char *token_id)
{
    uint64_t now_s = sys_wall_ms() / 1000;
    jsonw_text(writer, "iss", PLATFORM_ISSUER);
    jsonw_text(writer, "aud", PLATFORM_AUDIENCE);
    jsonw_u64(writer, "iat", now_s);
    jsonw_u64(writer, "exp", now_s + (ttl_s == 0 ? PLATFORM_TTL_S_DEFAULT : ttl_s));
    jsonw_text(writer, "jti", token_id);
}

static void write_channels(struct json_writer *writer, const struct relay_token_request *request)
{
    if (request->session_channel_count == 0) {
        return;
    }
    jsonw_array_begin(writer, "sessionChannels");
    for (size_t i = 0; i < request->session_channel_count; i++) {
        jsonw_string(writer, NULL, request->session_channels[i]);
    }
    jsonw_array_end(writer);
}

static void write_own(struct json_writer *writer, const struct relay_token_request *request,
    const char *random_client_id)
{
    jsonw_string(writer, "role", request->role);
    jsonw_string(writer, "workspaceId", request->workspace_id);
    write_optional(writer, "runtimeTargetId", request->runtime_target_id);
    if (slice_eq(request->role, SLICE("client"))) {
        jsonw_string(writer, "scope", request->scope.len > 0 ? request->scope : SLICE("runtime"));
        jsonw_string(writer, "clientId",
            request->client_id.len > 0 ? request->client_id : slice_str(random_client_id));
    }
    write_optional(writer, "installId", request->install_id);
    write_optional(writer, "machineId", request->machine_id);
    write_optional(writer, "userId", request->user_id);
    write_optional(writer, "daemonPublicKey", request->daemon_public_key);
    write_optional(writer, "managedExecutorId", request->managed_executor_id);
    write_channels(writer, request);
    write_optional(writer, "e2eeProfile", request->e2ee_profile);
    if (request->daemon_issue_generation >= 0) {
        jsonw_i64(writer, "daemonIssueGeneration", request->daemon_issue_generation);
    }
}

static enum weir_result write_claims(const struct relay_token_request *request, struct buf *out)
{
    char token_id[RANDOM_TEXT_SIZE];
    char client_id[RANDOM_TEXT_SIZE];
    enum weir_result result = random_text(token_id);
    if (result == WEIR_OK) {
        result = random_text(client_id);
    }
    if (result != WEIR_OK) {
        return result;
    }
    struct json_writer writer;
    json_writer_init(&writer, out);
    jsonw_object_begin(&writer, NULL);
    write_registered(&writer, request->ttl_s, token_id);
    write_own(&writer, request, client_id);
    jsonw_object_end(&writer);
    return WEIR_OK;
}

enum weir_result platform_mint_relay_token(
    const struct platform *platform, const struct relay_token_request *request, struct buf *out)
{
    const struct auth_key *signing = platform_signing_key(platform, sys_wall_ms());
    if (!request_valid(request)) {
        return WEIR_INVALID;
    }
    if (signing == NULL) {
        return WEIR_NOT_FOUND;
    }
    struct buf claims = BUF_INIT(CLAIMS_LEN_MAX);
    size_t from = out->len;
    enum weir_result result = write_claims(request, &claims);
    if (result == WEIR_OK && claims.failed) {
        result = WEIR_MEMORY;
    }
    if (result == WEIR_OK && claims.len > TOKEN_LEN_MAX / 4 * 3) {
        result = WEIR_INVALID;
    }
    if (result == WEIR_OK) {
        result = mint_token(signing, buf_slice(&claims), out);
    }
    if (result == WEIR_OK && out->len - from > TOKEN_LEN_MAX) {
        out->len = from;
        result = WEIR_INVALID;
    }
    buf_reset(&claims);
    return result;
}
