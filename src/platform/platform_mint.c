// SPDX-License-Identifier: Apache-2.0
// Relay tokens. Their claims are those of the table in spec section 4.4 and no others: a reference
// relay refuses a token with a claim it does not know. jti and exp are what the daemon insists on.
#include "platform/platform.h"

#include <stdio.h>

#include "auth/mint.h"
#include "base/utf8.h"
#include "platform/platform_internal.h"
#include "proto/json_write.h"
#include "sys/clock.h"
#include "sys/entropy.h"

#define CLAIMS_LEN_MAX 8192 // a token of PLATFORM_TOKEN_LEN_MAX holds less
#define MACHINE_ID_LEN_MAX 255
#define CHANNEL_LEN_MAX 255
#define TOKEN_VERSION 1
#define RANDOM_BYTES 16
#define RANDOM_SIZE (2 * RANDOM_BYTES + 1)
#define GENERATION_MAX ((INT64_C(1) << 53) - 1)

static enum weir_result random_text(char text[RANDOM_SIZE])
{
    uint8_t bytes[RANDOM_BYTES];
    enum weir_result result = sys_entropy(bytes, sizeof bytes);
    for (size_t i = 0; result == WEIR_OK && i < sizeof bytes; i++) {
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    }
    return result;
}

// ---- Rules --------------------------------------------------------------------------------------

static bool text_valid(struct slice text, size_t len_max)
{
    return text.len <= len_max && utf8_valid(text);
}

static bool channel_valid(struct slice channel)
{
    struct slice prefix = SLICE("agent-session:");
    return channel.len > prefix.len && slice_starts_with(channel, prefix) &&
           slice_find(channel, '\n') < 0 && text_valid(channel, CHANNEL_LEN_MAX);
}

static bool one_of(struct slice text, const char *const *names)
{
    for (; *names != NULL; names++) {
        if (slice_eq(text, slice_str(*names))) {
            return true;
        }
    }
    return false;
}

// What only clients have.
static bool client_part_valid(const struct relay_token_request *request, bool client)
{
    static const char *const scopes[] = {"", "runtime", "pairing", "session-events", NULL};
    if (!client) {
        return request->scope.len == 0 && request->session_channel_count == 0;
    }
    if (!one_of(request->scope, scopes) || request->session_channel_count > PLATFORM_CHANNELS_MAX) {
        return false;
    }
    for (size_t i = 0; i < request->session_channel_count; i++) {
        if (!channel_valid(request->session_channels[i])) {
            return false;
        }
    }
    return true;
}

static bool request_valid(const struct relay_token_request *request, bool client)
{
    static const char *const profiles[] = {"", "noise-ik", "noise-ikpsk2", NULL};
    return platform_role_valid(request->role) && platform_id_valid(request->workspace_id) &&
           (request->runtime_target_id.len == 0 || platform_id_valid(request->runtime_target_id)) &&
           text_valid(request->client_id, PLATFORM_ID_LEN_MAX) &&
           text_valid(request->install_id, PLATFORM_ID_LEN_MAX) &&
           text_valid(request->user_id, PLATFORM_ID_LEN_MAX) &&
           text_valid(request->machine_id, MACHINE_ID_LEN_MAX) &&
           one_of(request->e2ee_profile, profiles) && request->ttl_s <= PLATFORM_TTL_S_MAX &&
           request->daemon_issue_generation <= GENERATION_MAX && client_part_valid(request, client);
}

// ---- Claims -------------------------------------------------------------------------------------

static void optional_text(struct json_writer *writer, const char *name, struct slice text)
{
    if (text.len > 0) {
        jsonw_string(writer, name, text);
    }
}

static void write_client_part(
    struct json_writer *writer, const struct relay_token_request *request, const char *id)
{
    jsonw_string(writer, "scope", request->scope.len > 0 ? request->scope : SLICE("runtime"));
    if (request->client_id.len > 0) {
        jsonw_string(writer, "clientId", request->client_id);
    } else {
        jsonw_text(writer, "clientId", id);
    }
    if (request->session_channel_count > 0) {
        jsonw_array_begin(writer, "sessionChannels");
        for (size_t i = 0; i < request->session_channel_count; i++) {
            jsonw_string(writer, NULL, request->session_channels[i]);
        }
        jsonw_array_end(writer);
    }
}

static void write_times(struct json_writer *writer, uint64_t ttl_s)
{
    uint64_t now_s = sys_wall_ms() / 1000;
    jsonw_u64(writer, "iat", now_s);
    jsonw_u64(writer, "exp", now_s + (ttl_s == 0 ? PLATFORM_TTL_S_DEFAULT : ttl_s));
}

static enum weir_result write_claims(
    const struct relay_token_request *request, bool client, struct buf *out)
{
    char token_id[RANDOM_SIZE];
    char client_id[RANDOM_SIZE];
    struct json_writer writer;
    enum weir_result result = random_text(token_id);
    if (result == WEIR_OK) {
        result = random_text(client_id);
    }
    if (result != WEIR_OK) {
        return result;
    }
    json_writer_init(&writer, out);
    jsonw_object_begin(&writer, NULL);
    jsonw_text(&writer, "iss", PLATFORM_ISSUER);
    jsonw_text(&writer, "aud", PLATFORM_AUDIENCE);
    jsonw_string(&writer, "role", request->role);
    jsonw_string(&writer, "workspaceId", request->workspace_id);
    optional_text(&writer, "runtimeTargetId", request->runtime_target_id);
    if (client) {
        write_client_part(&writer, request, client_id);
    } else {
        optional_text(&writer, "clientId", request->client_id);
    }
    optional_text(&writer, "installId", request->install_id);
    optional_text(&writer, "machineId", request->machine_id);
    optional_text(&writer, "userId", request->user_id);
    optional_text(&writer, "e2eeProfile", request->e2ee_profile);
    if (request->daemon_issue_generation >= 0) {
        jsonw_i64(&writer, "daemonIssueGeneration", request->daemon_issue_generation);
    }
    write_times(&writer, request->ttl_s);
    jsonw_text(&writer, "jti", token_id);
    jsonw_u64(&writer, "ver", TOKEN_VERSION);
    jsonw_object_end(&writer);
    return out->failed ? WEIR_TOO_LARGE : WEIR_OK;
}

enum weir_result platform_mint_relay_token(
    const struct platform *platform, const struct relay_token_request *request, struct buf *out)
{
    struct buf claims = BUF_INIT(CLAIMS_LEN_MAX);
    struct buf token = BUF_INIT(PLATFORM_TOKEN_LEN_MAX);
    bool client = slice_eq(request->role, SLICE("client"));
    if (!request_valid(request, client)) {
        return WEIR_INVALID;
    }
    enum weir_result result = write_claims(request, client, &claims);
    if (result == WEIR_OK) {
        result = mint_token(&platform->key, buf_slice(&claims), &token);
        result = result == WEIR_FULL ? WEIR_TOO_LARGE : result;
    }
    if (result == WEIR_OK) {
        result = buf_append_slice(out, buf_slice(&token));
    }
    buf_reset(&token);
    buf_reset(&claims);
    return result;
}
