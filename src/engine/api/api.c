// SPDX-License-Identifier: Apache-2.0
// A request is looked at in this order, and the first that is wrong is the answer: path (404),
// method (405), token (401), permission (403), params (400). A refused token is never told why; the
// log is.
//
// Whoever answers at once is no back: the head and the body are handed over while the exchange has
// none, and a request body that may follow is the front's to drop.
#include "engine/api/api_internal.h"

#include <stdio.h>

#include "engine/api/watch.h"
#include "engine/control/directory.h"
#include "engine/shard.h"
#include "obs/log.h"
#include "proto/json_write.h"
#include "proto/websocket.h"
#include "sys/clock.h"

#define ERROR_BYTES_MAX 1024
#define TOKEN_SIZE 8193
#define DOCUMENT_BYTES_MAX (64u * 1024)
#define WEBSOCKET_VERSION SLICE("13")

const struct api_route api_routes[API_ROUTE_COUNT] = {
#define API_ROUTE(symbol, path, flags, operation, params, type, answer, summary)                   \
    [API_ROUTE_##symbol] = {path, operation, params, type, answer, summary, flags},
#include "engine/api/api_routes.def"
#undef API_ROUTE
};

// ---- Answering.

// The codes of ENGINE_API_REQUESTS_*, in the order of their rows.
static const unsigned counted_codes[] = {101, 200, 400, 401, 403, 404, 405, 429, 500, 503};
#define CODE_COUNT (unsigned)(sizeof counted_codes / sizeof counted_codes[0])

void api_count(const struct api_request *request, unsigned status)
{
    unsigned code = 0;
    while (code + 1 < CODE_COUNT && counted_codes[code] != status) {
        code++;
    }
    engine_count_nth(request->exchange->visitor->shard, ENGINE_API_REQUESTS_OPENAPI_101,
        request->route * CODE_COUNT + code);
}

// What a status wants besides.
static const struct {
    unsigned status;
    const char *name;
    const char *value;
} extras[] = {
    {401, "www-authenticate", "Bearer"},
    {405, "allow", "GET, HEAD"},
    {503, "retry-after", "5"},
};
#define EXTRA_COUNT (sizeof extras / sizeof extras[0])

void api_answer(
    struct api_request *request, unsigned status, const char *content_type, struct slice body)
{
    struct exchange *exchange = request->exchange;
    struct http1_header fields[2 + EXTRA_COUNT] = {
        {SLICE("content-type"), slice_str(content_type)},
        {SLICE("cache-control"), SLICE("no-store")},
    };
    struct answer_head head = {.status = status,
        .fields = fields,
        .field_count = 2,
        .has_body = !exchange->head_only,
        .has_length = true,
        .length = body.len};
    for (size_t i = 0; i < EXTRA_COUNT; i++) {
        if (extras[i].status == status) {
            fields[head.field_count++] =
                (struct http1_header){slice_str(extras[i].name), slice_str(extras[i].value)};
        }
    }
    api_count(request, status);
    exchange_head(exchange, &head);
    if (head.has_body && !exchange->ended) {
        (void)exchange_body(exchange, body); // the front holds what it is given
    }
    if (head.has_body && !exchange->ended) {
        exchange_end(exchange, NULL, 0);
    }
}

void api_error(struct api_request *request, unsigned status, const char *text)
{
    struct buf body = BUF_INIT(ERROR_BYTES_MAX);
    struct json_writer writer;
    json_writer_init(&writer, &body);
    jsonw_object_begin(&writer, NULL);
    jsonw_text(&writer, "error", text);
    jsonw_object_end(&writer);
    api_answer(request, status, API_TYPE_JSON, buf_slice(&body));
    buf_reset(&body);
}

// ---- Who asks.

static bool has_bearer(struct slice value)
{
    return slice_starts_with_nocase(value, SLICE("bearer")) && value.len > 7 &&
           (value.at[6] == ' ' || value.at[6] == '\t');
}

// The token of the header; an empty slice when there is none, or more than one.
static struct slice header_token(const struct request_head *head)
{
    struct slice token = SLICE_EMPTY;
    unsigned count = 0;
    for (size_t i = 0; i < head->field_count; i++) {
        if (slice_eq_nocase(head->fields[i].name, SLICE("authorization"))) {
            struct slice value = head->fields[i].value;
            token = has_bearer(value) ? slice_trim(slice_skip(value, 7)) : SLICE_EMPTY;
            count++;
        }
    }
    return count == 1 ? token : SLICE_EMPTY;
}

static void log_refused(const struct api_request *request, const char *reason)
{
    struct log_line line;
    log_begin(&line, LOG_API_UNAUTHORIZED);
    log_text(&line, "path", api_routes[request->route].path);
    log_text(&line, "reason", reason);
    log_text(&line, "visitor", request->exchange->visitor->peer_text);
    log_end(&line);
}

static bool read_token(struct api_request *request, struct slice text)
{
    const struct engine_config *config = request->exchange->visitor->shard->engine->config;
    const char *reason;
    request->token = token_read(text, slice_str(config->jwt_secret), sys_wall_ms(), &reason);
    if (request->token == NULL) {
        log_refused(request, reason);
        api_error(request, 401, "A valid token is needed.");
        return false;
    }
    return true;
}

// True: go on, with request->token set. Otherwise it has been answered.
static bool admit(struct api_request *request)
{
    unsigned flags = api_routes[request->route].flags;
    struct slice text = header_token(request->head);
    char query_token[TOKEN_SIZE] = "";
    size_t len = 0;
    if ((flags & API_WATCH) != 0 && http1_query_value(request->query, SLICE("rstream.token"),
                                        query_token, sizeof query_token, &len) != WEIR_NOT_FOUND) {
        if (text.len > 0) {
            api_error(request, 400, "Give the token in the header or in the query, not in both.");
            return false;
        }
        text = slice_of(query_token, len);
    }
    if (!read_token(request, text)) {
        return false;
    }
    if ((flags & API_READ) != 0 && !token_permits(request->token, TOKEN_READ)) {
        api_error(request, 403, "The token does not permit this.");
        return false;
    }
    return true;
}

bool api_params(struct api_request *request, char text[API_PARAMS_SIZE], struct slice *ret_text)
{
    size_t len = 0;
    enum weir_result result =
        http1_query_value(request->query, SLICE("params"), text, API_PARAMS_SIZE, &len);
    *ret_text = SLICE_EMPTY;
    if (result == WEIR_NOT_FOUND) {
        return true;
    }
    if (result != WEIR_OK || len == 0) {
        api_error(request, 400,
            result == WEIR_TOO_LARGE ? "params: too long" : "params: must be a JSON object");
        return false;
    }
    *ret_text = slice_of(text, len);
    return true;
}

// ---- Routes.

static void answer_openapi(struct api_request *request)
{
    struct buf document = BUF_INIT(DOCUMENT_BYTES_MAX);
    openapi_write(&document);
    if (document.failed) {
        api_error(request, 500, "The engine has run out of memory.");
    } else {
        api_answer(request, 200, API_TYPE_OPENAPI, buf_slice(&document));
    }
    buf_reset(&document);
}

static void answer_clients(struct api_request *request)
{
    listing_start(request, FILTER_CLIENTS);
}

static void answer_tunnels(struct api_request *request)
{
    listing_start(request, FILTER_TUNNELS);
}

static void answer_tunnel(struct api_request *request)
{
    struct engine *engine = request->exchange->visitor->shard->engine;
    struct tunnel *tunnel = directory_by_id(engine->directory, request->id);
    if (tunnel != NULL && token_reaches(request->token, SCOPE_LIST, tunnel)) {
        api_answer(request, 200, API_TYPE_JSON, tunnel->json);
    } else {
        api_error(request, 404, "There is no tunnel of that id.");
    }
    tunnel_unref(tunnel);
}

static void answer_sse(struct api_request *request)
{
    watch_start(request, WATCH_SSE, NULL);
}

// The first field of that name, or the empty slice.
static struct slice field_of(const struct request_head *head, struct slice name)
{
    for (size_t i = 0; i < head->field_count; i++) {
        if (slice_eq_nocase(head->fields[i].name, name)) {
            return head->fields[i].value;
        }
    }
    return SLICE_EMPTY;
}

// RFC 6455 section 4.2.1; over HTTP/2 RFC 8441, where there is no key.
static void answer_websocket(struct api_request *request)
{
    const struct request_head *head = request->head;
    char accept[WS_ACCEPT_SIZE];
    struct slice version = field_of(head, SLICE("sec-websocket-version"));
    struct slice key = field_of(head, SLICE("sec-websocket-key"));
    bool over_h1 = head->version == 1;
    if (!slice_eq_nocase(head->upgrade, SLICE("websocket")) || request->exchange->head_only) {
        api_error(request, 400, "This is a WebSocket.");
    } else if (!slice_eq(version, WEBSOCKET_VERSION)) {
        api_error(request, 400, "Sec-WebSocket-Version must be 13.");
    } else if (over_h1 && (!ws_key_valid(key) || ws_accept_key(key, accept) != WEIR_OK)) {
        api_error(request, 400, "Sec-WebSocket-Key is missing or bad.");
    } else {
        watch_start(request, WATCH_WEBSOCKET, over_h1 ? accept : NULL);
    }
}

static void answer_auth(struct api_request *request)
{
    api_answer(request, 200, API_TYPE_JSON, SLICE("{}"));
}

static void answer_home(struct api_request *request)
{
    api_answer(request, 200, API_TYPE_TEXT, SLICE("weir engine\n"));
}

static void (*const answers[API_ROUTE_COUNT])(struct api_request *request) = {
    [API_ROUTE_OPENAPI] = answer_openapi,
    [API_ROUTE_CLIENTS] = answer_clients,
    [API_ROUTE_TUNNELS] = answer_tunnels,
    [API_ROUTE_TUNNEL] = answer_tunnel,
    [API_ROUTE_SSE] = answer_sse,
    [API_ROUTE_WEBSOCKET] = answer_websocket,
    [API_ROUTE_AUTH] = answer_auth,
    [API_ROUTE_HOME] = answer_home,
};

static bool path_fits(const char *pattern, struct slice path, struct slice *ret_id)
{
    struct slice wanted = slice_str(pattern);
    if (!slice_ends_with(wanted, SLICE("{id}"))) {
        return slice_eq(wanted, path);
    }
    wanted.len -= strlen("{id}");
    *ret_id = slice_skip(path, wanted.len);
    return slice_starts_with(path, wanted) && ret_id->len > 0 && slice_find(*ret_id, '/') < 0;
}

// Fills path, query and route. False when the target is none.
static bool find_route(struct api_request *request)
{
    struct slice path;
    request->route = API_ROUTE_COUNT;
    request->query = request->id = SLICE_EMPTY;
    if (http1_split_target(request->head->target, &path, &request->query) != WEIR_OK) {
        return false;
    }
    for (unsigned i = 0; i < API_ROUTE_COUNT; i++) {
        if (path_fits(api_routes[i].path, path, &request->id)) {
            request->route = i;
            return true;
        }
    }
    return false;
}

static bool method_fits(const struct api_request *request)
{
    struct slice method = request->head->method;
    bool upgrade = (api_routes[request->route].flags & API_UPGRADE) != 0;
    return slice_eq(method, SLICE("GET")) || slice_eq(method, SLICE("HEAD")) ||
           (upgrade && slice_eq(method, SLICE("CONNECT")) && request->head->upgrade.len > 0);
}

void api_start(struct exchange *exchange, const struct request_head *head)
{
    struct api_request request = {.exchange = exchange, .head = head};
    if (!find_route(&request)) {
        api_error(&request, 404, "There is nothing here.");
        return;
    }
    if (!method_fits(&request)) {
        api_error(&request, 405, "Only GET and HEAD are possible here.");
        return;
    }
    if ((api_routes[request.route].flags & API_OPEN) != 0 || admit(&request)) {
        answers[request.route](&request);
    }
    token_free(request.token);
}
