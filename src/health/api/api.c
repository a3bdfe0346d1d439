// SPDX-License-Identifier: Apache-2.0
// Finds the route, and gives every answer its headers and every refusal its envelope. Who may ask
// is in api_access.c, what the routes say in the other files api_*.c.
#include "health/api/api.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/time.h"
#include "health/api/api_internal.h"
#include "http/gzip.h"
#include "sys/clock.h"

#define HEADERS_MAX 4096
#define ALLOW_SIZE 96
#define TAG_HEADERS_SIZE 96
#define GZIP_FROM 1024 // bytes: less fits into a packet anyway

#define SECURITY_HEADERS                                                                           \
    "X-Content-Type-Options: nosniff\r\n"                                                          \
    "X-Frame-Options: SAMEORIGIN\r\n"                                                              \
    "X-XSS-Protection: 1; mode=block\r\n"                                                          \
    "Content-Security-Policy: default-src 'self'; connect-src 'self' ws: wss:\r\n"                 \
    "Referrer-Policy: strict-origin-when-cross-origin\r\n"                                         \
    "Permissions-Policy: accelerometer=(), camera=(), geolocation=(), gyroscope=(), "              \
    "magnetometer=(), microphone=(), payment=(), usb=()\r\n"                                       \
    "Vary: Accept, Accept-Encoding, Origin\r\n"

static const struct api_row rows[] = {
#define API_ROUTE(method, path, access, handler, summary)                                          \
    {method, path, ACCESS_##access, handler, summary},
#include "health/api/api_routes.def"
#undef API_ROUTE
};

const struct api_row *api_rows(void)
{
    return rows;
}

const struct http_route api_no_routes[] = {{NULL, NULL, NULL}};

const char *api_row_method(size_t row)
{
    return row < API_ROW_COUNT ? rows[row].method : "other";
}

const char *api_row_path(size_t row)
{
    return row < API_ROW_COUNT ? rows[row].path : "other";
}

const char api_error_headers[] = SECURITY_HEADERS;

// ---- Answers

static void send(
    struct http_conn *conn, const struct api_ticket *ticket, const struct http_answer *answer)
{
    struct health *health = http_owner(conn);
    struct buf lines = BUF_INIT(HEADERS_MAX);
    struct http_answer whole = *answer;
    uint64_t now_ns = sys_now_ns();
    buf_append_str(&lines, SECURITY_HEADERS);
    if (health->options.production && ticket->secure) {
        buf_append_str(&lines, "Strict-Transport-Security: max-age=31536000\r\n");
    }
    api_write_cors(ticket, &lines);
    buf_append_str(&lines, answer->headers == NULL ? "" : answer->headers);
    const char *text = buf_text(&lines);
    whole.headers = text == NULL || lines.failed ? SECURITY_HEADERS : text;
    whole.head_only = ticket->head;
    api_stats_add(&health->stats, ticket->row, ticket->head, answer->status,
        now_ns - ticket->begun_ns, now_ns);
    http_answer(conn, &whole);
    buf_reset(&lines);
}

// Pictures and the like are packed already.
static bool is_worth_packing(const struct api_ticket *ticket, const char *type, struct slice body)
{
    return ticket->gzip && body.len >= GZIP_FROM && type != NULL &&
           (strncmp(type, "text/", 5) == 0 || strstr(type, "json") != NULL ||
               strstr(type, "javascript") != NULL || strstr(type, "xml") != NULL);
}

static void send_packed(struct http_conn *conn, const struct api_ticket *ticket,
    const struct http_answer *answer, struct slice packed)
{
    struct buf lines = BUF_INIT(HEADERS_MAX);
    struct http_answer whole = *answer;
    buf_append_str(&lines, "Content-Encoding: gzip\r\n");
    buf_append_str(&lines, answer->headers == NULL ? "" : answer->headers);
    whole.headers = buf_text(&lines);
    whole.body = packed;
    send(conn, ticket, whole.headers == NULL || lines.failed ? answer : &whole);
    buf_reset(&lines);
}

void api_reply(
    struct http_conn *conn, const struct api_ticket *ticket, const struct http_answer *answer)
{
    struct buf packed = BUF_INIT(API_DOCUMENT_MAX);
    if (is_worth_packing(ticket, answer->content_type, answer->body) &&
        gzip_pack(answer->body, &packed) == WEIR_OK) {
        send_packed(conn, ticket, answer, buf_slice(&packed));
    } else {
        send(conn, ticket, answer);
    }
    buf_reset(&packed);
}

// The client has it: a list of tags, any of which may be weak (RFC 9110 section 13.1.2).
static bool is_known(const struct http1_head *head, struct slice etag)
{
    const struct http1_header *known = http1_find(head, SLICE("if-none-match"));
    struct slice tags = known == NULL ? SLICE_EMPTY : known->value;
    struct slice tag;
    while (tags.len > 0 && slice_split(&tags, ',', &tag)) {
        tag = slice_trim(tag);
        tag = slice_starts_with(tag, SLICE("W/")) ? slice_skip(tag, 2) : tag;
        if (slice_eq(tag, etag) || slice_eq(tag, SLICE("*"))) {
            return true;
        }
    }
    return false;
}

// Two codings are two representations: each has a tag of its own (RFC 9110 section 8.8.3.3).
static void write_tag(char headers[TAG_HEADERS_SIZE], uint64_t hash, bool packed)
{
    snprintf(headers, TAG_HEADERS_SIZE, "ETag: \"%016llx%s\"\r\nCache-Control: no-cache\r\n",
        (unsigned long long)hash, packed ? "-gzip" : "");
}

static struct slice tag_in(const char *headers)
{
    const char *from = strchr(headers, '"');
    return slice_of(from, (size_t)(strrchr(headers, '"') - from) + 1);
}

void api_answer_tagged(struct api_request *request, const struct api_tagged *what)
{
    struct http_conn *conn = request->http->conn;
    const struct api_ticket *ticket = &request->ticket;
    char headers[TAG_HEADERS_SIZE];
    struct buf once = BUF_INIT(API_DOCUMENT_MAX);
    struct buf *packed = what->packed == NULL ? &once : what->packed;
    bool packs = is_worth_packing(ticket, what->content_type, what->body);
    struct http_answer answer = {.status = 200, .headers = headers};
    write_tag(headers, what->hash, packs);
    if (is_known(request->http->head, tag_in(headers))) {
        answer.status = 304;
        answer.body = SLICE_EMPTY;
        send(conn, ticket, &answer);
        return;
    }
    answer.content_type = what->content_type;
    answer.body = what->body;
    bool there = what->gzip.len > 0 || packed->len > 0;
    if (packs && (there || gzip_pack(what->body, packed) == WEIR_OK)) {
        send_packed(conn, ticket, &answer, what->gzip.len > 0 ? what->gzip : buf_slice(packed));
    } else {
        write_tag(headers, what->hash, false);
        send(conn, ticket, &answer);
    }
    buf_reset(&once);
}

static void answer_document(struct http_conn *conn, const struct api_ticket *ticket,
    unsigned status, const char *headers, struct buf *document)
{
    api_reply(conn, ticket,
        &(struct http_answer){
            .status = document->failed ? 500 : status,
            .content_type = "application/json",
            .headers = headers,
            .body = document->failed ? SLICE("{\"error\":{\"message\":\"Internal server error\","
                                             "\"status\":500}}")
                                     : buf_slice(document),
        });
    buf_reset(document);
}

void api_answer_later(
    struct http_conn *conn, const struct api_ticket *ticket, unsigned status, struct buf *document)
{
    answer_document(conn, ticket, status, NULL, document);
}

void api_answer_text(
    struct api_request *request, const char *content_type, const char *headers, struct slice body)
{
    api_reply(request->http->conn, &request->ticket,
        &(struct http_answer){
            .status = 200, .content_type = content_type, .headers = headers, .body = body});
}

void api_answer_json_with(
    struct api_request *request, unsigned status, const char *headers, struct buf *document)
{
    answer_document(request->http->conn, &request->ticket, status, headers, document);
}

void api_answer_json(struct api_request *request, unsigned status, struct buf *document)
{
    answer_document(request->http->conn, &request->ticket, status, NULL, document);
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
    api_answer_json_with(request, status, headers, &document);
}

void api_answer_error(struct api_request *request, unsigned status, const char *message)
{
    answer_error(request, status, message,
        status == 401   ? "WWW-Authenticate: Bearer\r\n"
        : status == 429 ? "Retry-After: 1\r\n"
                        : NULL);
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
    api_answer_json(request, 422, &document);
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

// ---- Routes

static struct slice without_trailing_slash(struct slice path)
{
    while (path.len > 1 && path.at[path.len - 1] == '/') {
        path.len--;
    }
    return path;
}

static bool serves(const struct api_row *row, struct slice method)
{
    return slice_eq(method, slice_str(row->method)) ||
           (slice_eq(method, SLICE("HEAD")) && strcmp(row->method, "GET") == 0);
}

// The methods of a path, for the header Allow; "" for a path that there is not.
static void list_methods(struct slice path, struct api_request *request, char allow[ALLOW_SIZE])
{
    size_t len = 0;
    allow[0] = '\0';
    for (size_t i = 0; i < API_ROW_COUNT; i++) {
        const char *method = rows[i].method;
        if (strstr(allow, method) == NULL && path_matches(rows[i].path, path, &request->path)) {
            len += (size_t)snprintf(allow + len, ALLOW_SIZE - len, "%s%s%s", len > 0 ? ", " : "",
                method, strcmp(method, "GET") == 0 ? ", HEAD" : "");
        }
    }
    if (len > 0) {
        snprintf(allow + len, ALLOW_SIZE - len, ", OPTIONS");
    }
}

// What a page may send, asked by the browser before it sends it (the CORS protocol of Fetch).
static void answer_options(struct api_request *request, const char *allow)
{
    char headers[512];
    bool asks = http1_find(request->http->head, SLICE("access-control-request-method")) != NULL;
    if (asks && request->ticket.origin[0] == '\0') {
        api_answer_error(request, 403,
            "This origin is not in CORS_ALLOWED_ORIGINS, so its pages may not ask here");
        return;
    }
    snprintf(headers, sizeof headers, "Allow: %s\r\n%s%s%s", allow,
        asks ? "Access-Control-Allow-Methods: " : "", asks ? allow : "",
        asks ? "\r\nAccess-Control-Allow-Headers: Authorization, Content-Type, If-None-Match\r\n"
               "Access-Control-Max-Age: 600\r\n"
             : "");
    api_reply(request->http->conn, &request->ticket,
        &(struct http_answer){.status = 204, .headers = headers, .body = SLICE_EMPTY});
}

// No route has this path and this method.
static void answer_none(struct api_request *request, struct slice path)
{
    char allow[ALLOW_SIZE];
    char text[300];
    list_methods(path, request, allow);
    if (allow[0] == '\0') {
        if (!api_answer_file(request)) {
            snprintf(text, sizeof text, "Endpoint %.*s not found",
                path.len > 200 ? 200 : (int)path.len, path.at);
            api_answer_error(request, 404, text);
        }
    } else if (slice_eq(request->http->head->method, SLICE("OPTIONS"))) {
        answer_options(request, allow);
    } else {
        snprintf(text, sizeof text, "Allow: %s\r\n", allow);
        answer_error(request, 405, "Method Not Allowed", text);
    }
}

void api_begin(struct api_request *request, struct http_request *http)
{
    *request = (struct api_request){.http = http, .health = http_owner(http->conn)};
    request->ticket.row = API_ROW_COUNT;
    request->ticket.begun_ns = sys_now_ns();
    api_read_ticket(request);
}

void api_handle(struct http_request *http)
{
    struct api_request request;
    struct slice path = without_trailing_slash(http->path);
    api_begin(&request, http);
    if (!api_host_fits(http)) {
        api_answer_error(
            &request, 421, "This name is none of the monitor's; --allow-host NAME makes it one");
        return;
    }
    for (size_t i = 0; i < API_ROW_COUNT; i++) {
        if (serves(&rows[i], http->head->method) &&
            path_matches(rows[i].path, path, &request.path)) {
            request.ticket.row = i;
            if (api_may(&request, rows[i].access)) {
                rows[i].handle(&request);
            }
            return;
        }
    }
    answer_none(&request, path);
}
