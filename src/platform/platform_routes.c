// SPDX-License-Identifier: Apache-2.0
// The platform's routes: one row each, with the credential it asks for. A path is looked up before
// the method, and the credential before the body, so a stranger's body is never parsed.
#include "platform/platform.h"

#include <stddef.h>
#include <jansson.h>

#include "platform/platform_internal.h"
#include "proto/json_write.h"

typedef enum weir_result route_fn(const struct platform *platform,
    const struct platform_request *request, struct slice segment, struct buf *out,
    unsigned *ret_status);

enum credential { CREDENTIAL_NONE, CREDENTIAL_INTERNAL_KEY, CREDENTIAL_ADMIN_TOKEN };

struct route {
    const char *method;
    const char *path;
    const char *path_after_segment; // NULL: path is all of it; otherwise a segment stands between
    enum credential credential;
    route_fn *answer;
};

static route_fn answer_keys, answer_validate, answer_token, answer_browser_token;

static const struct route routes[] = {
    {"GET", "/.well-known/jwks.json", NULL, CREDENTIAL_NONE, answer_keys},
    {"GET", "/jwks.json", NULL, CREDENTIAL_NONE, answer_keys},
    {"POST", "/api/runtime/internal/relay/validate", NULL, CREDENTIAL_INTERNAL_KEY,
        answer_validate},
    {"POST", "/api/runtime/relay-token", NULL, CREDENTIAL_ADMIN_TOKEN, answer_token},
    {"POST", "/api/workspaces/", "/relay-token", CREDENTIAL_ADMIN_TOKEN, answer_browser_token},
};

// ---- Finding the route --------------------------------------------------------------------------

static bool route_fits(const struct route *route, struct slice path, struct slice *ret_segment)
{
    struct slice front = slice_str(route->path);
    struct slice back = slice_str(route->path_after_segment);
    *ret_segment = SLICE_EMPTY;
    if (route->path_after_segment == NULL) {
        return slice_eq(path, front);
    }
    if (path.len <= front.len + back.len || !slice_starts_with(path, front) ||
        !slice_ends_with(path, back)) {
        return false;
    }
    *ret_segment = slice_of(path.at + front.len, path.len - front.len - back.len);
    return slice_find(*ret_segment, '/') < 0;
}

static const struct route *find_route(struct slice path, struct slice *ret_segment)
{
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        if (route_fits(&routes[i], path, ret_segment)) {
            return &routes[i];
        }
    }
    return NULL;
}

// The token of "Bearer x", or the empty slice. No secret is empty.
static struct slice bearer_token(struct slice authorization)
{
    struct slice scheme = SLICE("bearer");
    if (!slice_starts_with_nocase(authorization, scheme)) {
        return SLICE_EMPTY;
    }
    struct slice rest = slice_skip(authorization, scheme.len);
    bool blank = rest.len > 0 && (rest.at[0] == ' ' || rest.at[0] == '\t');
    return blank ? slice_trim(rest) : SLICE_EMPTY;
}

static bool may(const struct platform *platform, const struct platform_request *request,
    enum credential credential)
{
    switch (credential) {
    case CREDENTIAL_NONE:
        return true;
    case CREDENTIAL_INTERNAL_KEY:
        return slice_eq_secret(
            slice_trim(request->internal_key), slice_str(platform->internal_key));
    case CREDENTIAL_ADMIN_TOKEN:
        return slice_eq_secret(
            bearer_token(request->authorization), slice_str(platform->admin_token));
    }
    return false;
}

static enum weir_result refuse(
    unsigned status, const char *code, struct buf *out, unsigned *ret_status)
{
    *ret_status = status;
    return platform_refuse("error", code, out);
}

enum weir_result platform_handle(const struct platform *platform,
    const struct platform_request *request, struct buf *out, unsigned *ret_status)
{
    struct slice segment;
    const struct route *route = find_route(request->path, &segment);
    if (route == NULL) {
        return refuse(404, "NOT_FOUND", out, ret_status);
    }
    if (!slice_eq(request->method, slice_str(route->method))) {
        return refuse(405, "METHOD_NOT_ALLOWED", out, ret_status);
    }
    if (!may(platform, request, route->credential)) {
        return refuse(401, "UNAUTHORIZED", out, ret_status);
    }
    if (request->body.len > PLATFORM_BODY_LEN_MAX) {
        return refuse(413, "BODY_TOO_LARGE", out, ret_status);
    }
    return route->answer(platform, request, segment, out, ret_status);
}

// ---- Keys and admission -------------------------------------------------------------------------

static enum weir_result answer_keys(const struct platform *platform,
    const struct platform_request *request, struct slice segment, struct buf *out,
    unsigned *ret_status)
{
    (void)request;
    (void)segment;
    *ret_status = 200;
    return platform_jwks(platform, out);
}

static enum weir_result answer_validate(const struct platform *platform,
    const struct platform_request *request, struct slice segment, struct buf *out,
    unsigned *ret_status)
{
    (void)segment;
    return platform_validate(platform, request->body, out, ret_status);
}

// ---- Tokens -------------------------------------------------------------------------------------

// The two routes spell their members differently. A NULL spelling: that route has no such member.
enum spelling { CAMEL, SNAKE, SPELLING_COUNT };

static const struct member {
    const char *names[SPELLING_COUNT];
    size_t at; // of a struct slice in struct relay_token_request
} text_members[] = {
    {{"role", NULL}, offsetof(struct relay_token_request, role)},
    {{"workspaceId", NULL}, offsetof(struct relay_token_request, workspace_id)},
    {{"runtimeTargetId", "runtime_target_id"},
        offsetof(struct relay_token_request, runtime_target_id)},
    {{"scope", "scope"}, offsetof(struct relay_token_request, scope)},
    {{"clientId", "client_id"}, offsetof(struct relay_token_request, client_id)},
    {{"installId", "install_id"}, offsetof(struct relay_token_request, install_id)},
    {{"machineId", "machine_id"}, offsetof(struct relay_token_request, machine_id)},
    {{"userId", "user_id"}, offsetof(struct relay_token_request, user_id)},
    {{"e2eeProfile", "e2ee_profile"}, offsetof(struct relay_token_request, e2ee_profile)},
};
static const char *const channels_names[] = {"sessionChannels", "session_channels"};
static const char *const ttl_names[] = {"ttlSeconds", "ttl_seconds"};
static const char *const generation_names[] = {"daemonIssueGeneration", "daemon_issue_generation"};

// A member that is null counts as not there, here and below.
static bool is_there(const json_t *value)
{
    return value != NULL && !json_is_null(value);
}

static bool read_texts(
    const json_t *root, enum spelling spelling, struct relay_token_request *request)
{
    for (size_t i = 0; i < sizeof text_members / sizeof text_members[0]; i++) {
        const char *name = text_members[i].names[spelling];
        const json_t *value = name == NULL ? NULL : json_object_get(root, name);
        if (!is_there(value)) {
            continue;
        }
        if (!json_is_string(value) || json_string_length(value) == 0) {
            return false;
        }
        struct slice *text = (struct slice *)(void *)((char *)request + text_members[i].at);
        *text = slice_of(json_string_value(value), json_string_length(value));
    }
    return true;
}

static bool read_integer(const json_t *root, const char *name, int64_t min, int64_t *ret_number)
{
    const json_t *value = json_object_get(root, name);
    if (!is_there(value)) {
        return true;
    }
    *ret_number = json_integer_value(value);
    return json_is_integer(value) && *ret_number >= min;
}

static bool read_channels(const json_t *root, const char *name,
    struct slice channels[PLATFORM_CHANNELS_MAX], struct relay_token_request *request)
{
    const json_t *array = json_object_get(root, name);
    if (!is_there(array)) {
        return true;
    }
    if (!json_is_array(array) || json_array_size(array) > PLATFORM_CHANNELS_MAX) {
        return false;
    }
    for (size_t i = 0; i < json_array_size(array); i++) {
        const json_t *item = json_array_get(array, i);
        if (!json_is_string(item)) {
            return false;
        }
        channels[i] = slice_of(json_string_value(item), json_string_length(item));
    }
    request->session_channels = channels;
    request->session_channel_count = json_array_size(array);
    return true;
}

static bool read_request(const json_t *root, enum spelling spelling,
    struct slice channels[PLATFORM_CHANNELS_MAX], struct relay_token_request *request)
{
    int64_t ttl_s = 0;
    request->daemon_issue_generation = -1;
    if (!json_is_object(root) || !read_texts(root, spelling, request) ||
        !read_channels(root, channels_names[spelling], channels, request) ||
        !read_integer(root, ttl_names[spelling], 1, &ttl_s) ||
        !read_integer(root, generation_names[spelling], 0, &request->daemon_issue_generation)) {
        return false;
    }
    request->ttl_s = (uint64_t)ttl_s;
    return true;
}

static enum weir_result write_token(enum spelling spelling, struct slice token, struct buf *out)
{
    struct json_writer writer;
    json_writer_init(&writer, out);
    jsonw_object_begin(&writer, NULL);
    if (spelling == CAMEL) {
        jsonw_bool(&writer, "ok", true);
    }
    jsonw_string(&writer, spelling == CAMEL ? "relayToken" : "token", token);
    jsonw_object_end(&writer);
    return out->failed ? WEIR_FULL : WEIR_OK;
}

// request holds what the path says; body the rest.
static enum weir_result mint_from_body(const struct platform *platform, struct slice body,
    enum spelling spelling, struct relay_token_request *request, struct buf *out,
    unsigned *ret_status)
{
    struct slice channels[PLATFORM_CHANNELS_MAX];
    struct buf token = BUF_INIT(PLATFORM_TOKEN_LEN_MAX);
    json_error_t error;
    json_t *root = json_loadb(body.at, body.len, JSON_REJECT_DUPLICATES, &error);
    if (root == NULL && json_error_code(&error) == json_error_out_of_memory) {
        return WEIR_MEMORY;
    }
    enum weir_result result = read_request(root, spelling, channels, request)
                                  ? platform_mint_relay_token(platform, request, &token)
                                  : WEIR_INVALID;
    *ret_status = 200;
    if (result == WEIR_INVALID || result == WEIR_TOO_LARGE) {
        result = refuse(400, "BAD_REQUEST", out, ret_status);
    } else if (result == WEIR_OK) {
        result = write_token(spelling, buf_slice(&token), out);
    }
    buf_reset(&token);
    json_decref(root);
    return result;
}

static enum weir_result answer_token(const struct platform *platform,
    const struct platform_request *request, struct slice segment, struct buf *out,
    unsigned *ret_status)
{
    struct relay_token_request wanted = {0};
    (void)segment;
    return mint_from_body(platform, request->body, CAMEL, &wanted, out, ret_status);
}

static enum weir_result answer_browser_token(const struct platform *platform,
    const struct platform_request *request, struct slice segment, struct buf *out,
    unsigned *ret_status)
{
    struct relay_token_request wanted = {.role = SLICE("client"), .workspace_id = segment};
    return mint_from_body(platform, request->body, SNAKE, &wanted, out, ret_status);
}
