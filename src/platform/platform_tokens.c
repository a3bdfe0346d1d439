// SPDX-License-Identifier: Apache-2.0
// The routes that make tokens (spec section 4.5). They differ in the spelling of their members and
// in what the path fixes, so they share one table of members and one function that answers.
//
// Who may: the admin token, in the header or as "credential"; a daemon and a worker also with a
// credential of their workspace, which the platform signs and does not keep:
//
//   wcr_<workspace>~<target, or nothing>~<expiry, seconds>~<HMAC-SHA-256 of it by the admin token>
#include <openssl/evp.h>
#include <stdio.h>

#include "auth/jws.h"
#include "base/base64.h"
#include "base/mem.h"
#include "base/number.h"
#include "platform/ask.h"
#include "platform/platform_internal.h"
#include "proto/json_write.h"
#include "sys/clock.h"

#define TOKEN_LEN_MAX 8192 // more than platform_mint_relay_token needs on its way to 4096
#define CREDENTIAL_PREFIX SLICE("wcr_")
#define MAC_LEN 32
#define PUBLIC_KEY_LEN_MAX 512
#define FIELD(name) offsetof(struct relay_token_request, name)

static const struct {
    const char *name;
    const char *snake_name; // NULL: the path or the route says it
    size_t at;              // a struct slice in struct relay_token_request
} members[] = {
    {"role", NULL, FIELD(role)},
    {"workspaceId", NULL, FIELD(workspace_id)},
    {"runtimeTargetId", "runtime_target_id", FIELD(runtime_target_id)},
    {"scope", "scope", FIELD(scope)},
    {"clientId", "client_id", FIELD(client_id)},
    {"installId", "install_id", FIELD(install_id)},
    {"machineId", "machine_id", FIELD(machine_id)},
    {"userId", "user_id", FIELD(user_id)},
    {"e2eeProfile", "e2ee_profile", FIELD(e2ee_profile)},
};

// ---- Reading

// A member that is there is a string with something in it.
static bool read_text(const json_t *root, const char *name, struct slice *text)
{
    json_t *value = json_object_get(root, name);
    if (value == NULL) {
        return true;
    }
    if (json_string_length(value) == 0) {
        return false;
    }
    *text = slice_of(json_string_value(value), json_string_length(value));
    return true;
}

// A member that is there is a whole number from min on.
static bool read_number(const json_t *root, const char *name, int64_t min, int64_t *number)
{
    json_t *value = json_object_get(root, name);
    if (value == NULL) {
        return true;
    }
    if (!json_is_integer(value) || json_integer_value(value) < min) {
        return false;
    }
    *number = json_integer_value(value);
    return true;
}

static bool read_channels(const json_t *root, const char *name, struct token_ask *ask)
{
    json_t *list = json_object_get(root, name);
    if (list == NULL) {
        return true;
    }
    if (!json_is_array(list) || json_array_size(list) > PLATFORM_CHANNELS_MAX) {
        return false;
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_t *item = json_array_get(list, i);
        if (!json_is_string(item)) {
            return false;
        }
        ask->channels[i] = slice_of(json_string_value(item), json_string_length(item));
    }
    ask->request.session_channel_count = json_array_size(list);
    return true;
}

static bool read_request(const json_t *root, bool snake, struct token_ask *ask)
{
    struct relay_token_request *request = &ask->request;
    int64_t ttl_s = 0;
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        const char *name = snake ? members[i].snake_name : members[i].name;
        struct slice *text = (struct slice *)((char *)request + members[i].at);
        if (name != NULL && !read_text(root, name, text)) {
            return false;
        }
    }
    if (!json_is_object(root) || !read_number(root, "ttl_seconds", 1, &ttl_s) ||
        !read_number(root, snake ? "daemon_issue_generation" : "daemonIssueGeneration", 0,
            &request->daemon_issue_generation) ||
        !read_channels(root, snake ? "session_channels" : "sessionChannels", ask)) {
        return false;
    }
    request->ttl_s = (uint64_t)ttl_s;
    return true;
}

enum weir_result platform_token_ask_read(
    enum token_shape shape, const struct path_words *words, struct platform_ask *ask)
{
    struct relay_token_request *request = &ask->token.request;
    ask->token.shape = shape;
    request->daemon_issue_generation = -1;
    if (shape != TOKEN_ANY) {
        request->role = shape == TOKEN_CLIENT ? SLICE("client") : SLICE("worker");
        request->workspace_id = words->workspace;
        request->managed_executor_id = words->executor;
    }
    return read_request(ask->root, shape != TOKEN_ANY, &ask->token) ? WEIR_OK : WEIR_MALFORMED;
}

enum weir_result platform_daemon_key_read(const struct path_words *words, struct platform_ask *ask)
{
    struct daemon_key_ask *key = &ask->daemon_key;
    key->workspace_id = words->workspace;
    bool fine = json_is_object(ask->root) && platform_is_id(words->workspace) &&
                read_text(ask->root, "runtimeTargetId", &key->runtime_target_id) &&
                read_text(ask->root, "daemonPublicKey", &key->public_key) &&
                platform_is_id(key->runtime_target_id) && key->public_key.len > 0 &&
                key->public_key.len <= PUBLIC_KEY_LEN_MAX && slice_find(key->public_key, '\0') < 0;
    if (!fine) {
        snprintf(ask->problem, sizeof ask->problem,
            "allowed: runtimeTargetId, daemonPublicKey of at most %d bytes", PUBLIC_KEY_LEN_MAX);
    }
    return fine ? WEIR_OK : WEIR_MALFORMED;
}

// ---- Credentials

static bool sign(const struct platform *platform, struct slice text, uint8_t mac[MAC_LEN])
{
    static const char purpose[] = "weir workspace credential 1\n";
    struct buf message = BUF_INIT(1024);
    size_t len = 0;
    buf_append_str(&message, purpose);
    buf_append_slice(&message, text);
    bool ok = !message.failed &&
              EVP_Q_mac(platform->libctx, "HMAC", NULL, "SHA256", NULL, platform->admin_token,
                  strlen(platform->admin_token), (const unsigned char *)message.at, message.len,
                  mac, MAC_LEN, &len) != NULL;
    buf_reset(&message);
    return ok && len == MAC_LEN;
}

enum weir_result platform_make_credential(const struct platform *platform, struct slice workspace,
    struct slice target, uint64_t ttl_s, struct buf *out)
{
    uint8_t mac[MAC_LEN];
    char text[BASE64_SIZE(MAC_LEN)];
    if (!platform_is_id(workspace) || (target.len > 0 && !platform_is_id(target)) || ttl_s == 0 ||
        ttl_s > PLATFORM_CREDENTIAL_TTL_S_MAX) {
        return WEIR_INVALID;
    }
    size_t from = out->len;
    buf_printf(out, "wcr_%.*s~%.*s~%llu", SLICE_ARG(workspace), SLICE_ARG(target),
        (unsigned long long)(sys_wall_ms() / 1000 + ttl_s));
    if (out->failed || !sign(platform, slice_skip(buf_slice(out), from), mac)) {
        return out->failed ? WEIR_MEMORY : WEIR_CRYPTO;
    }
    size_t len = base64url_encode(mac, MAC_LEN, text);
    buf_append_byte(out, '~');
    buf_append(out, text, len);
    return out->failed ? WEIR_MEMORY : WEIR_OK;
}

// What has been signed says who it is for.
static bool credential_is_for(struct slice text, struct slice workspace, struct slice target)
{
    struct slice rest = slice_skip(text, CREDENTIAL_PREFIX.len);
    struct slice own_workspace, own_target;
    uint64_t expiry_s;
    return slice_split(&rest, '~', &own_workspace) && slice_split(&rest, '~', &own_target) &&
           rest.at != NULL && number_parse_u64(rest, UINT64_MAX / 2, &expiry_s) == WEIR_OK &&
           expiry_s > sys_wall_ms() / 1000 && slice_eq(own_workspace, workspace) &&
           (own_target.len == 0 || slice_eq(own_target, target));
}

static bool credential_is_good(const struct platform *platform, struct slice credential,
    struct slice workspace, struct slice target)
{
    uint8_t mac[MAC_LEN];
    uint8_t shown[MAC_LEN];
    size_t len;
    size_t at = credential.len;
    if (!slice_starts_with(credential, CREDENTIAL_PREFIX) || credential.len > 512) {
        return false;
    }
    while (at > 0 && credential.at[at - 1] != '~') {
        at--;
    }
    if (at == 0) {
        return false;
    }
    struct slice signed_text = slice_of(credential.at, at - 1);
    return base64url_decode(slice_skip(credential, at), shown, MAC_LEN, &len) == WEIR_OK &&
           len == MAC_LEN && sign(platform, signed_text, mac) &&
           slice_eq_secret(
               slice_of((const char *)mac, MAC_LEN), slice_of((const char *)shown, MAC_LEN)) &&
           credential_is_for(signed_text, workspace, target);
}

// A client's token is made by whoever knows its user: not with a workspace's credential.
bool platform_body_may(const struct platform *platform, const struct platform_ask *ask)
{
    const struct relay_token_request *request = &ask->token.request;
    bool token = ask->kind == ASK_TOKEN;
    struct slice credential = SLICE_EMPTY;
    if (!read_text(ask->root, "credential", &credential)) {
        return false;
    }
    if (slice_eq_secret(credential, slice_str(platform->admin_token))) {
        return true;
    }
    if (token && slice_eq(request->role, SLICE("client"))) {
        return false;
    }
    return credential_is_good(platform, credential,
        token ? request->workspace_id : ask->daemon_key.workspace_id,
        token ? request->runtime_target_id : ask->daemon_key.runtime_target_id);
}

// ---- Answering

static enum weir_result write_claims(struct json_writer *writer, struct slice token)
{
    struct jws jws;
    enum weir_result result = jws_parse(token, &jws);
    if (result == WEIR_OK) {
        result = platform_write_json(writer, "claims", jws.claims);
    }
    jws_fini(&jws);
    return result;
}

static enum weir_result write_token(enum token_shape shape, struct slice token, struct buf *out)
{
    struct json_writer writer;
    enum weir_result result = WEIR_OK;
    json_writer_init(&writer, out);
    jsonw_object_begin(&writer, NULL);
    jsonw_bool(&writer, "ok", true);
    jsonw_string(&writer, shape == TOKEN_CLIENT ? "token" : "relayToken", token);
    if (shape == TOKEN_WORKER) {
        result = write_claims(&writer, token);
    }
    jsonw_object_end(&writer);
    return result == WEIR_OK && out->failed ? WEIR_MEMORY : result;
}

static enum weir_result refuse(
    struct buf *out, unsigned status, const char *reason, unsigned *ret_status)
{
    *ret_status = status;
    return platform_write_refusal(out, reason);
}

enum weir_result platform_answer_token(const struct platform *platform, struct platform_ask *ask,
    const struct daemon_facts *facts, struct buf *out, unsigned *ret_status)
{
    struct relay_token_request *request = &ask->token.request;
    struct buf token = BUF_INIT(TOKEN_LEN_MAX);
    request->session_channels = ask->token.channels;
    if (slice_eq(request->role, SLICE("client"))) {
        request->daemon_public_key = facts->public_key;
    } else if (request->daemon_issue_generation < 0) {
        request->daemon_issue_generation = facts->generation;
    }
    enum weir_result result = platform_mint_relay_token(platform, request, &token);
    if (result == WEIR_OK) {
        *ret_status = 200;
        result = write_token(ask->token.shape, buf_slice(&token), out);
    } else if (result == WEIR_INVALID) {
        result = refuse(out, 400, "BAD_REQUEST", ret_status);
    } else if (result == WEIR_NOT_FOUND) {
        result = refuse(out, 503, "KEYS_NOT_LOADED", ret_status);
    }
    buf_reset(&token);
    return result;
}
