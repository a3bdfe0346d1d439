// SPDX-License-Identifier: Apache-2.0
// Finds the route, asks for the token, and gives every answer its headers and every refusal its
// envelope. What the routes say is in api_health.c, api_lists.c and api_control.c.
#include "health/api.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/time.h"
#include "health/api_internal.h"
#include "sys/clock.h"

#define TOKEN_SIZE 4096
#define HEADERS_SIZE 1024

#define SECURITY_HEADERS                                                                           \
    "X-Content-Type-Options: nosniff\r\n"                                                          \
    "X-Frame-Options: SAMEORIGIN\r\n"                                                              \
    "X-XSS-Protection: 1; mode=block\r\n"                                                          \
    "Content-Security-Policy: default-src 'self'; connect-src 'self' ws: wss:\r\n"                 \
    "Referrer-Policy: strict-origin-when-cross-origin\r\n"                                         \
    "Permissions-Policy: camera=(), geolocation=(), microphone=(), payment=(), usb=()\r\n"         \
    "Vary: Accept\r\n"

enum access { ACCESS_OPEN, ACCESS_READ, ACCESS_OPERATE, ACCESS_ADMINISTER };

struct api_row {
    const char *method;
    const char *path;
    enum access access;
    api_handler_fn *handle;
};

static const struct api_row rows[] = {
#define API_ROUTE(method, path, access, handler) {method, path, ACCESS_##access, handler},
#include "health/api_routes.def"
#undef API_ROUTE
};

const struct http_route api_no_routes[] = {{NULL, NULL, NULL}};

// ---- Answers

void api_answer_text(
    struct api_request *request, const char *content_type, const char *headers, struct slice body)
{
    char lines[HEADERS_SIZE];
    snprintf(lines, sizeof lines, SECURITY_HEADERS "%s", headers == NULL ? "" : headers);
    http_answer(request->http->conn, &(struct http_answer){
                                         .status = 200,
                                         .content_type = content_type,
                                         .headers = lines,
                                         .body = body,
                                         .head_only = request->head,
                                     });
}

static void answer_status(
    struct api_request *request, unsigned status, const char *headers, struct buf *document)
{
    char lines[HEADERS_SIZE];
    snprintf(lines, sizeof lines, SECURITY_HEADERS "%s", headers);
    http_answer(request->http->conn,
        &(struct http_answer){
            .status = document->failed ? 500 : status,
            .content_type = "application/json",
            .headers = lines,
            .body = document->failed ? SLICE("{\"error\":{\"message\":\"Internal server error\","
                                             "\"status\":500}}")
                                     : buf_slice(document),
            .head_only = request->head,
        });
    buf_reset(document);
}

void api_answer_json_with(
    struct api_request *request, unsigned status, const char *headers, struct buf *document)
{
    answer_status(request, status, headers, document);
}

void api_answer_json(struct api_request *request, unsigned status, struct buf *document)
{
    answer_status(request, status, "", document);
}

static void write_error(
    struct api_request *request, struct json_writer *writer, unsigned status, const char *message)
{
    char time[TIME_ISO_SIZE];
    time_to_iso(sys_wall_ms(), time);
    jsonw_object_begin(writer, "error");
    jsonw_text(writer, "message", message);
    jsonw_u64(writer, "status", status);
    jsonw_string(writer, "path", request->http->path);
    jsonw_string(writer, "method", request->http->head->method);
    jsonw_text(writer, "timestamp", time);
    if (status == 404) {
        jsonw_text(writer, "suggestion", "Check the path and the names in it");
    }
    jsonw_object_end(writer);
    jsonw_text(writer, "detail", message);
    jsonw_text(writer, "message", message);
}

static void answer_error(
    struct api_request *request, unsigned status, const char *message, const char *headers)
{
    struct buf document = BUF_INIT(API_DOCUMENT_MAX);
    struct json_writer writer;
    json_writer_init(&writer, &document);
    jsonw_object_begin(&writer, NULL);
    write_error(request, &writer, status, message);
    jsonw_object_end(&writer);
    answer_status(request, status, headers, &document);
}

void api_answer_error(struct api_request *request, unsigned status, const char *message)
{
    answer_error(request, status, message, "");
}

void api_answer_parameter(struct api_request *request, const char *name, const char *message)
{
    struct buf document = BUF_INIT(API_DOCUMENT_MAX);
    struct json_writer writer;
    char field[64];
    snprintf(field, sizeof field, "query.%s", name);
    json_writer_init(&writer, &document);
    jsonw_object_begin(&writer, NULL);
    write_error(request, &writer, 422, "Validation failed");
    jsonw_array_begin(&writer, "details");
    jsonw_object_begin(&writer, NULL);
    jsonw_array_begin(&writer, "loc");
    jsonw_text(&writer, NULL, "query");
    jsonw_text(&writer, NULL, name);
    jsonw_array_end(&writer);
    jsonw_text(&writer, "msg", message);
    jsonw_text(&writer, "type", "value_error");
    jsonw_object_end(&writer);
    jsonw_array_end(&writer);
    jsonw_object_begin(&writer, "field_errors");
    jsonw_text(&writer, field, message);
    jsonw_object_end(&writer);
    jsonw_object_end(&writer);
    answer_status(request, 422, "", &document);
}

// ---- Parameters

void api_text(struct api_request *request, const char *name, char *text, size_t size)
{
    size_t len;
    if (http1_query_value(request->http->query, slice_str(name), text, size, &len) != WEIR_OK) {
        text[0] = '\0';
    }
}

bool api_number(struct api_request *request, const char *name, int64_t fallback, int64_t *ret_value)
{
    char text[32];
    size_t len;
    enum weir_result result =
        http1_query_value(request->http->query, slice_str(name), text, sizeof text, &len);
    *ret_value = fallback;
    if (result == WEIR_NOT_FOUND) {
        return true;
    }
    char *end = NULL;
    long long number = result == WEIR_OK ? strtoll(text, &end, 10) : 0;
    if (result != WEIR_OK || end == text || *end != '\0') {
        api_answer_parameter(request, name, "Input should be a valid integer");
        return false;
    }
    *ret_value = number;
    return true;
}

bool api_flag(struct api_request *request, const char *name, bool fallback, bool *ret_value)
{
    static const char *const yes[] = {"true", "1", "yes", "on"};
    static const char *const no[] = {"false", "0", "no", "off"};
    char text[16];
    size_t len;
    enum weir_result result =
        http1_query_value(request->http->query, slice_str(name), text, sizeof text, &len);
    *ret_value = fallback;
    if (result == WEIR_NOT_FOUND) {
        return true;
    }
    for (size_t i = 0; result == WEIR_OK && i < sizeof yes / sizeof yes[0]; i++) {
        bool is_yes = slice_eq_nocase(slice_str(text), slice_str(yes[i]));
        if (is_yes || slice_eq_nocase(slice_str(text), slice_str(no[i]))) {
            *ret_value = is_yes;
            return true;
        }
    }
    api_answer_parameter(request, name, "Input should be a valid boolean");
    return false;
}

// ---- Who asks

enum role api_role(struct api_request *request)
{
    static const char *const names[] = {"token", "access_token"};
    const struct http1_header *header = http1_find(request->http->head, SLICE("authorization"));
    struct slice offered = sockets_offered_token(request->http->head);
    if (request->health->options.tokens_path == NULL) {
        return ROLE_ADMIN;
    }
    if (header != NULL && slice_starts_with_nocase(header->value, SLICE("bearer "))) {
        return token_list_role(
            &request->health->tokens, slice_trim(slice_skip(header->value, strlen("bearer "))));
    }
    if (offered.len > 0) {
        return token_list_role(&request->health->tokens, offered);
    }
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char token[TOKEN_SIZE];
        api_text(request, names[i], token, sizeof token);
        if (token[0] != '\0') {
            return token_list_role(&request->health->tokens, slice_str(token));
        }
    }
    return ROLE_NOBODY;
}

// False after a refusal.
static bool may(struct api_request *request, enum access access)
{
    const struct health_options *options = &request->health->options;
    static const enum role needed[] = {
        [ACCESS_OPEN] = ROLE_NOBODY,
        [ACCESS_READ] = ROLE_VIEWER,
        [ACCESS_OPERATE] = ROLE_OPERATOR,
        [ACCESS_ADMINISTER] = ROLE_ADMIN,
    };
    // Without tokens, a page of anybody's would only have to be open in a browser of this machine.
    if (options->tokens_path == NULL && access >= ACCESS_OPERATE &&
        !sockets_same_origin(request->http->head)) {
        api_answer_error(request, 403, "Pages of other origins may change nothing");
        return false;
    }
    if (options->tokens_path == NULL || access == ACCESS_OPEN ||
        (access == ACCESS_READ && options->public_read)) {
        return true;
    }
    enum role role = api_role(request);
    if (role == ROLE_NOBODY) {
        answer_error(request, 401, "Missing authentication token", "WWW-Authenticate: Bearer\r\n");
    } else if (role < needed[access]) {
        api_answer_error(request, 403, "Insufficient role");
    }
    return role >= needed[access] && role != ROLE_NOBODY;
}

// ---- Routes

static int hex_value(char digit)
{
    return digit >= '0' && digit <= '9'   ? digit - '0'
           : digit >= 'a' && digit <= 'f' ? digit - 'a' + 10
           : digit >= 'A' && digit <= 'F' ? digit - 'A' + 10
                                          : -1;
}

static bool decode_part(struct slice part, char text[API_PART_SIZE])
{
    size_t len = 0;
    for (size_t i = 0; i < part.len; i++) {
        char byte = part.at[i];
        bool escape = byte == '%' && i + 2 < part.len;
        if (escape && hex_value(part.at[i + 1]) >= 0 && hex_value(part.at[i + 2]) >= 0) {
            byte = (char)(hex_value(part.at[i + 1]) * 16 + hex_value(part.at[i + 2]));
            i += 2;
        }
        if (len + 1 >= API_PART_SIZE || byte == '\0') {
            return false;
        }
        text[len++] = byte;
    }
    text[len] = '\0';
    return len > 0;
}

static bool matches(const char *pattern, struct slice path, struct api_request *request)
{
    struct slice wanted = slice_str(pattern);
    struct slice wanted_part;
    struct slice part;
    size_t count = 0;
    while (slice_split(&wanted, '/', &wanted_part)) {
        if (!slice_split(&path, '/', &part)) {
            return false;
        }
        if (slice_eq(wanted_part, SLICE("{}"))) {
            if (!decode_part(part, request->parts[count++])) {
                return false;
            }
        } else if (!slice_eq(part, wanted_part)) {
            return false;
        }
    }
    return path.at == NULL;
}

static struct slice without_trailing_slash(struct slice path)
{
    while (path.len > 1 && path.at[path.len - 1] == '/') {
        path.len--;
    }
    return path;
}

void api_handle(struct http_request *http)
{
    struct api_request request = {.http = http, .health = http_owner(http->conn)};
    struct slice method = http->head->method;
    struct slice path = without_trailing_slash(http->path);
    bool known = false;
    request.head = slice_eq(method, SLICE("HEAD"));
    request.health->requests++;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (!matches(rows[i].path, path, &request)) {
            continue;
        }
        known = true;
        if (slice_eq(method, slice_str(rows[i].method)) ||
            (request.head && strcmp(rows[i].method, "GET") == 0)) {
            if (may(&request, rows[i].access)) {
                rows[i].handle(&request);
            }
            return;
        }
    }
    if (known) {
        api_answer_error(&request, 405, "Method Not Allowed");
        return;
    }
    char message[300];
    snprintf(message, sizeof message, "Endpoint %.*s not found",
        path.len > 200 ? 200 : (int)path.len, path.at);
    api_answer_error(&request, 404, message);
}
