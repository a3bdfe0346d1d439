// SPDX-License-Identifier: Apache-2.0
// The interface as a table: a row says method, path, credential and who answers. A path that some
// row has is looked for first, then its method, then the credential, then the body; so a stranger
// learns from a refusal which paths exist, which the manual says anyway, and nothing else.
#include "platform/platform.h"

#include <jansson.h>

#include "base/mem.h"
#include "platform/ask.h"
#include "platform/platform_internal.h"
#include "proto/json_write.h"

// ---- Routes -------------------------------------------------------------------------------------

enum credential {
    CREDENTIAL_NONE,
    CREDENTIAL_INTERNAL,
    CREDENTIAL_ADMIN,
    CREDENTIAL_BODY, // the admin token, or what the body shows
};

typedef enum weir_result answer_fn(
    const struct platform *platform, struct slice body, struct buf *out, unsigned *ret_status);

static enum weir_result answer_jwks(
    const struct platform *platform, struct slice body, struct buf *out, unsigned *ret_status)
{
    (void)body;
    *ret_status = 200;
    return platform_jwks(platform, out);
}

static enum weir_result answer_validate(
    const struct platform *platform, struct slice body, struct buf *out, unsigned *ret_status)
{
    return platform_validate(platform, body, out, ret_status);
}

struct route {
    const char *method;
    const char *path;
    enum credential credential;
    answer_fn *answer; // NULL: `ask` goes to the store
    enum platform_ask_kind ask;
    enum token_shape shape; // of ASK_TOKEN
};

#define INTERNAL "/api/runtime/internal/relay/"

static const struct route routes[] = {
    {"GET", "/.well-known/jwks.json", CREDENTIAL_NONE, answer_jwks, ASK_NONE, TOKEN_ANY},
    {"GET", "/jwks.json", CREDENTIAL_NONE, answer_jwks, ASK_NONE, TOKEN_ANY},
    {"POST", INTERNAL "validate", CREDENTIAL_INTERNAL, answer_validate, ASK_NONE, TOKEN_ANY},
    {"POST", INTERNAL "presence/upsert", CREDENTIAL_INTERNAL, NULL, ASK_PRESENCE_PUT, TOKEN_ANY},
    {"POST", INTERNAL "presence/resolve", CREDENTIAL_INTERNAL, NULL, ASK_PRESENCE_GET, TOKEN_ANY},
    {"POST", INTERNAL "bus/publish", CREDENTIAL_INTERNAL, NULL, ASK_PUBLISH, TOKEN_ANY},
    {"POST", INTERNAL "bus/pull", CREDENTIAL_INTERNAL, NULL, ASK_PULL, TOKEN_ANY},
    {"POST", "/api/runtime/relay-token", CREDENTIAL_BODY, NULL, ASK_TOKEN, TOKEN_ANY},
    {"POST", "/api/workspaces/{workspace}/relay-token", CREDENTIAL_ADMIN, NULL, ASK_TOKEN,
        TOKEN_CLIENT},
    {"POST", "/api/runtime/workspaces/{workspace}/daemon-key", CREDENTIAL_BODY, NULL,
        ASK_DAEMON_KEY, TOKEN_ANY},
    {"POST", "/api/runtime/workspaces/{workspace}/managed-executors/{executor}/relay-token",
        CREDENTIAL_BODY, NULL, ASK_TOKEN, TOKEN_WORKER},
    {"POST", "/api/workspaces/{workspace}/managed-executors/{executor}/relay-token",
        CREDENTIAL_BODY, NULL, ASK_TOKEN, TOKEN_WORKER},
};

static bool path_matches(struct slice pattern, struct slice path, struct path_words *ret_words)
{
    struct slice wanted, got;
    *ret_words = (struct path_words){SLICE_EMPTY, SLICE_EMPTY};
    while (slice_split(&pattern, '/', &wanted)) {
        if (!slice_split(&path, '/', &got)) {
            return false;
        }
        if (slice_eq(wanted, SLICE("{workspace}"))) {
            ret_words->workspace = got;
        } else if (slice_eq(wanted, SLICE("{executor}"))) {
            ret_words->executor = got;
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
    case CREDENTIAL_BODY: // looked at when it has been read
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

static enum weir_result read_own(const struct platform *platform, const struct route *route,
    const struct platform_request *request, struct platform_ask *ask)
{
    struct path_words words;
    enum weir_result result = platform_ask_parse(route->ask, request->body, ask);
    bool admin = platform_is_admin(platform, request->authorization);
    if (result == WEIR_OK) {
        // The question outlives the request: its path comes along.
        ask->path = mem_copy(request->path.at, request->path.len);
        struct slice path = slice_of(ask->path, request->path.len);
        result = ask->path == NULL ? WEIR_MEMORY : WEIR_OK;
        if (result == WEIR_OK && path_matches(slice_str(route->path), path, &words)) {
            result = route->ask == ASK_TOKEN ? platform_token_ask_read(route->shape, &words, ask)
                                             : platform_daemon_key_read(&words, ask);
        }
    }
    // Before it is said what is wrong with the body.
    return result == WEIR_MEMORY || admin || platform_body_may(platform, ask) ? result
                                                                              : WEIR_REFUSED;
}

static enum weir_result read_ask(const struct platform *platform, const struct route *route,
    const struct platform_request *request, struct buf *out, unsigned *ret_status,
    struct platform_ask *ret_ask)
{
    bool own = route->ask == ASK_TOKEN || route->ask == ASK_DAEMON_KEY;
    enum weir_result result =
        own ? read_own(platform, route, request, ret_ask)
            : platform_ask_read(route->ask, request->body, platform->frame_bytes_max, ret_ask);
    if (result == WEIR_MALFORMED) {
        *ret_status = 400;
        result = platform_write_mistake(out, "BAD_REQUEST", ret_ask->problem);
        platform_ask_fini(ret_ask);
    } else if (result == WEIR_REFUSED) {
        result = refuse(out, 401, "UNAUTHORIZED", ret_status);
        platform_ask_fini(ret_ask);
    }
    return result;
}

// The row for a request; NULL: none, and *ret_path_known says whether it was for the method.
static const struct route *find_route(
    const struct platform_request *request, struct path_words *ret_words, bool *ret_path_known)
{
    *ret_path_known = false;
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        if (path_matches(slice_str(routes[i].path), request->path, ret_words)) {
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
    struct path_words words;
    bool path_known;
    const struct route *route = find_route(request, &words, &path_known);
    return route != NULL && may(platform, request, route->credential) ? body_max_of(platform, route)
                                                                      : PLATFORM_BODY_LEN_MAX;
}

enum weir_result platform_handle(const struct platform *platform,
    const struct platform_request *request, struct buf *out, unsigned *ret_status,
    struct platform_ask *ret_ask)
{
    struct path_words words;
    bool path_known;
    const struct route *route = find_route(request, &words, &path_known);
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
        return read_ask(platform, route, request, out, ret_status, ret_ask);
    }
    return route->answer(platform, request->body, out, ret_status);
}

bool platform_is_admin(const struct platform *platform, struct slice authorization)
{
    const struct platform_request request = {.authorization = authorization};
    return may(platform, &request, CREDENTIAL_ADMIN);
}
