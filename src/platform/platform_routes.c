// SPDX-License-Identifier: Apache-2.0
// The interface as a table: a row says method, path, credential and who answers. A path that some
// row has is looked for first, then its method, then the credential, then the body; so a stranger
// learns from a refusal which paths exist, which the manual says anyway, and nothing else.
//
// The two routes that make tokens differ in the spelling of their members only, so they share one
// table of members (reading) and one function (answering).
#include "platform/platform.h"

#include <jansson.h>

#include "platform/ask.h"
#include "platform/platform_internal.h"
#include "proto/json_write.h"

#define PLACEHOLDER SLICE("{workspace}")
#define TOKEN_LEN_MAX 8192 // more than platform_mint_relay_token needs on its way to 4096

// ---- Making tokens ------------------------------------------------------------------------------

struct member {
    const char *name;       // at /api/runtime/relay-token
    const char *snake_name; // at /api/workspaces/…/relay-token; NULL: fixed there
    size_t at;              // a struct slice in struct relay_token_request
};

static const struct member members[] = {
    {"role", NULL, offsetof(struct relay_token_request, role)},
    {"workspaceId", NULL, offsetof(struct relay_token_request, workspace_id)},
    {"runtimeTargetId", "runtime_target_id",
        offsetof(struct relay_token_request, runtime_target_id)},
    {"scope", "scope", offsetof(struct relay_token_request, scope)},
    {"clientId", "client_id", offsetof(struct relay_token_request, client_id)},
    {"installId", "install_id", offsetof(struct relay_token_request, install_id)},
    {"machineId", "machine_id", offsetof(struct relay_token_request, machine_id)},
    {"userId", "user_id", offsetof(struct relay_token_request, user_id)},
    {"e2eeProfile", "e2ee_profile", offsetof(struct relay_token_request, e2ee_profile)},
};

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

static bool read_channels(const json_t *root, const char *name,
    struct slice channels[PLATFORM_CHANNELS_MAX], struct relay_token_request *request)
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
        channels[i] = slice_of(json_string_value(item), json_string_length(item));
    }
    request->session_channels = channels;
    request->session_channel_count = json_array_size(list);
    return true;
}

// What is read borrows root and channels.
static bool read_request(const json_t *root, bool snake,
    struct slice channels[PLATFORM_CHANNELS_MAX], struct relay_token_request *request)
{
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
        !read_channels(root, snake ? "session_channels" : "sessionChannels", channels, request)) {
        return false;
    }
    request->ttl_s = (uint64_t)ttl_s;
    return true;
}

static enum weir_result write_token(struct slice token, const char *name, struct buf *out)
{
    struct json_writer writer;
    json_writer_init(&writer, out);
    jsonw_object_begin(&writer, NULL);
    jsonw_bool(&writer, "ok", true);
    jsonw_string(&writer, name, token);
    jsonw_object_end(&writer);
    return out->failed ? WEIR_MEMORY : WEIR_OK;
}

// request holds what the path fixes; the body gives the rest.
static enum weir_result answer_token(const struct platform *platform, struct slice body, bool snake,
    struct relay_token_request request, struct buf *out, unsigned *ret_status)
{
    struct slice channels[PLATFORM_CHANNELS_MAX];
    struct buf token = BUF_INIT(TOKEN_LEN_MAX);
    json_error_t error;
    json_t *root = json_loadb(body.at, body.len, JSON_REJECT_DUPLICATES, &error);
    enum weir_result result = WEIR_INVALID;
    if (root == NULL && json_error_code(&error) == json_error_out_of_memory) {
        result = WEIR_MEMORY;
    } else if (read_request(root, snake, channels, &request)) {
        result = platform_mint_relay_token(platform, &request, &token);
    }
    if (result == WEIR_OK) {
        *ret_status = 200;
        result = write_token(buf_slice(&token), snake ? "token" : "relayToken", out);
    } else if (result == WEIR_INVALID) {
        *ret_status = 400;
        result = platform_write_refusal(out, "BAD_REQUEST");
    } else if (result == WEIR_NOT_FOUND) {
        *ret_status = 503;
        result = platform_write_refusal(out, "KEYS_NOT_LOADED");
    }
    json_decref(root);
    buf_reset(&token);
    return result;
}

// ---- Routes -------------------------------------------------------------------------------------

enum credential { CREDENTIAL_NONE, CREDENTIAL_INTERNAL, CREDENTIAL_ADMIN };

// workspace is what stands at {workspace}, or empty.
typedef enum weir_result answer_fn(const struct platform *platform, struct slice body,
    struct slice workspace, struct buf *out, unsigned *ret_status);

static enum weir_result answer_jwks(const struct platform *platform, struct slice body,
    struct slice workspace, struct buf *out, unsigned *ret_status)
{
    (void)body;
    (void)workspace;
    *ret_status = 200;
    return platform_jwks(platform, out);
}

static enum weir_result answer_validate(const struct platform *platform, struct slice body,
    struct slice workspace, struct buf *out, unsigned *ret_status)
{
    (void)workspace;
    return platform_validate(platform, body, out, ret_status);
}

static enum weir_result answer_any_token(const struct platform *platform, struct slice body,
    struct slice workspace, struct buf *out, unsigned *ret_status)
{
    (void)workspace;
    return answer_token(platform, body, false,
        (struct relay_token_request){.daemon_issue_generation = -1}, out, ret_status);
}

static enum weir_result answer_client_token(const struct platform *platform, struct slice body,
    struct slice workspace, struct buf *out, unsigned *ret_status)
{
    return answer_token(platform, body, true,
        (struct relay_token_request){
            .role = SLICE("client"), .workspace_id = workspace, .daemon_issue_generation = -1},
        out, ret_status);
}

struct route {
    const char *method;
    const char *path;
    enum credential credential;
    answer_fn *answer; // NULL: `ask` goes to the store
    enum platform_ask_kind ask;
};

#define INTERNAL "/api/runtime/internal/relay/"

static const struct route routes[] = {
    {"GET", "/.well-known/jwks.json", CREDENTIAL_NONE, answer_jwks, ASK_NONE},
    {"GET", "/jwks.json", CREDENTIAL_NONE, answer_jwks, ASK_NONE},
    {"POST", INTERNAL "validate", CREDENTIAL_INTERNAL, answer_validate, ASK_NONE},
    {"POST", INTERNAL "presence/upsert", CREDENTIAL_INTERNAL, NULL, ASK_PRESENCE_PUT},
    {"POST", INTERNAL "presence/resolve", CREDENTIAL_INTERNAL, NULL, ASK_PRESENCE_GET},
    {"POST", INTERNAL "bus/publish", CREDENTIAL_INTERNAL, NULL, ASK_PUBLISH},
    {"POST", INTERNAL "bus/pull", CREDENTIAL_INTERNAL, NULL, ASK_PULL},
    {"POST", "/api/runtime/relay-token", CREDENTIAL_ADMIN, answer_any_token, ASK_NONE},
    {"POST", "/api/workspaces/{workspace}/relay-token", CREDENTIAL_ADMIN, answer_client_token,
        ASK_NONE},
};

static bool path_matches(struct slice pattern, struct slice path, struct slice *ret_workspace)
{
    struct slice wanted, got;
    *ret_workspace = SLICE_EMPTY;
    while (slice_split(&pattern, '/', &wanted)) {
        if (!slice_split(&path, '/', &got)) {
            return false;
        }
        if (slice_eq(wanted, PLACEHOLDER)) {
            *ret_workspace = got;
        } else if (!slice_eq(wanted, got)) {
            return false;
        }
    }
    return path.at == NULL;
}

// The token of `Bearer x` (RFC 6750 section 2.1; any case, any blanks), or the empty slice.
static struct slice bearer_of(struct slice authorization)
{
    struct slice rest = slice_trim(authorization);
    if (!slice_starts_with_nocase(rest, SLICE("bearer"))) {
        return SLICE_EMPTY;
    }
    rest = slice_skip(rest, SLICE("bearer").len);
    return rest.len > 0 && (rest.at[0] == ' ' || rest.at[0] == '\t') ? slice_trim(rest)
                                                                     : SLICE_EMPTY;
}

static bool may(const struct platform *platform, const struct platform_request *request,
    enum credential credential)
{
    switch (credential) {
    case CREDENTIAL_INTERNAL:
        return slice_eq_secret(request->internal_key, slice_str(platform->internal_key));
    case CREDENTIAL_ADMIN:
        return slice_eq_secret(bearer_of(request->authorization), slice_str(platform->admin_token));
    case CREDENTIAL_NONE:
        break;
    }
    return true;
}

static enum weir_result refuse(
    struct buf *out, unsigned status, const char *reason, unsigned *ret_status)
{
    *ret_status = status;
    return platform_write_refusal(out, reason);
}

// The store's questions are small, but for what carries payloads.
static size_t body_max_of(const struct platform *platform, const struct route *route)
{
    return route->ask == ASK_PUBLISH ? platform_body_max(platform) : PLATFORM_BODY_LEN_MAX;
}

static enum weir_result read_ask(const struct platform *platform, const struct route *route,
    struct slice body, struct buf *out, unsigned *ret_status, struct platform_ask *ret_ask)
{
    enum weir_result result =
        platform_ask_read(route->ask, body, platform->frame_bytes_max, ret_ask);
    if (result == WEIR_MALFORMED) {
        *ret_status = 400;
        result = platform_write_mistake(out, "BAD_REQUEST", ret_ask->problem);
        platform_ask_fini(ret_ask);
    }
    return result;
}

// The row for a request; NULL: none, and *ret_path_known says whether it was for the method.
static const struct route *find_route(
    const struct platform_request *request, struct slice *ret_workspace, bool *ret_path_known)
{
    *ret_path_known = false;
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        if (path_matches(slice_str(routes[i].path), request->path, ret_workspace)) {
            *ret_path_known = true;
            if (slice_eq(request->method, slice_str(routes[i].method))) {
                return &routes[i];
            }
        }
    }
    return NULL;
}

size_t platform_body_max(const struct platform *platform)
{
    // Escaped twice over, a payload is seldom more than twice as long.
    return PLATFORM_BODY_LEN_MAX + 2 * platform->frame_bytes_max;
}

size_t platform_body_limit(const struct platform *platform, const struct platform_request *request)
{
    struct slice workspace;
    bool path_known;
    const struct route *route = find_route(request, &workspace, &path_known);
    return route != NULL && may(platform, request, route->credential) ? body_max_of(platform, route)
                                                                      : PLATFORM_BODY_LEN_MAX;
}

enum weir_result platform_handle(const struct platform *platform,
    const struct platform_request *request, struct buf *out, unsigned *ret_status,
    struct platform_ask *ret_ask)
{
    struct slice workspace;
    bool path_known;
    const struct route *route = find_route(request, &workspace, &path_known);
    *ret_ask = (struct platform_ask){.kind = ASK_NONE};
    if (route == NULL) {
        return path_known ? refuse(out, 405, "METHOD_NOT_ALLOWED", ret_status)
                          : refuse(out, 404, "NOT_FOUND", ret_status);
    }
    if (!may(platform, request, route->credential)) {
        return refuse(out, 401, "UNAUTHORIZED", ret_status);
    }
    if (request->body.len > body_max_of(platform, route)) {
        return refuse(out, 413, "BODY_TOO_LARGE", ret_status);
    }
    if (route->answer == NULL) {
        return read_ask(platform, route, request->body, out, ret_status, ret_ask);
    }
    return route->answer(platform, request->body, workspace, out, ret_status);
}

bool platform_is_admin(const struct platform *platform, struct slice authorization)
{
    const struct platform_request request = {.authorization = authorization};
    return may(platform, &request, CREDENTIAL_ADMIN);
}
