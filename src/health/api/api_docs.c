// SPDX-License-Identifier: Apache-2.0
// The API as it describes itself: /openapi.json (OpenAPI 3.0.3) for programs, /docs for people.
// Both are written from the tables that the requests are served by.
#include "health/api/api_internal.h"
#include "health/view/markup.h"

#define DOCS_MAX (1024 * 1024)
#define NAME_SIZE 32
#define FRESH "Cache-Control: max-age=300\r\n"

struct parameter {
    api_handler_fn *handle;
    enum { IN_QUERY, IN_BODY } place;
    const char *name;
    const char *type;
    const char *text;
};

static const struct parameter parameters[] = {
#define API_PARAMETER(handler, place, name, type, text) {handler, IN_##place, name, type, text},
#include "health/api/api_parameters.def"
#undef API_PARAMETER
};
#define PARAMETER_COUNT (sizeof parameters / sizeof parameters[0])

static const struct {
    const char *path;
    const char *text;
} sockets[] = {
#define SOCKET_KIND(path, audience, hello) {path, hello},
#include "health/sockets/socket_kinds.def"
#undef SOCKET_KIND
};

static const char *const access_words[] = {
    [ACCESS_OPEN] = "everybody",
    [ACCESS_PUBLIC] = "viewer, or everybody with --public-read",
    [ACCESS_READ] = "viewer",
    [ACCESS_OPERATE] = "operator",
    [ACCESS_ADMINISTER] = "admin",
};

// What a route answers with, if that is not JSON.
static const char *media_type(const struct api_row *row)
{
    static const struct {
        api_handler_fn *handle;
        const char *type;
    } others[] = {
        {api_badge, "image/svg+xml"},
        {api_docs, "text/html"},
        {api_icon, "image/svg+xml"},
        {api_metrics, "text/plain"},
        {api_root, "text/html"},
        {api_samples_stream, "application/x-ndjson"},
    };
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        if (others[i].handle == row->handle) {
            return others[i].type;
        }
    }
    bool style = slice_ends_with(slice_str(row->path), SLICE(".css"));
    return row->handle != api_asset ? "application/json" : style ? "text/css" : "text/javascript";
}

// A question that can be asked by POST as well has its parameters in the body there.
static bool is_asked_in_body(const struct api_row *row)
{
    bool by_get = false;
    for (size_t i = 0; i < API_ROW_COUNT; i++) {
        const struct api_row *other = &api_rows()[i];
        by_get = by_get || (other->handle == row->handle && strcmp(other->method, "GET") == 0);
    }
    return by_get && strcmp(row->method, "POST") == 0;
}

static bool takes(const struct api_row *row, const struct parameter *parameter)
{
    bool fits =
        parameter->place == IN_BODY ? strcmp(row->method, "GET") != 0 : !is_asked_in_body(row);
    return parameter->handle == row->handle && fits;
}

static bool takes_body(const struct api_row *row)
{
    for (size_t i = 0; i < PARAMETER_COUNT; i++) {
        if (takes(row, &parameters[i]) && parameters[i].place == IN_BODY) {
            return true;
        }
    }
    return false;
}

// The next name in braces from *at on; false: there is none any more.
static bool next_name(const char **at, char name[NAME_SIZE])
{
    const char *open = strchr(*at, '{');
    const char *close = open == NULL ? NULL : strchr(open, '}');
    if (close == NULL) {
        return false;
    }
    *at = close;
    return slice_to_text(slice_of(open + 1, (size_t)(close - open - 1)), name, NAME_SIZE);
}

// ---- OpenAPI

static void put_schema(struct json_writer *writer, const char *type)
{
    jsonw_object_begin(writer, "schema");
    jsonw_text(writer, "type", type);
    if (strcmp(type, "array") == 0) {
        jsonw_object_begin(writer, "items");
        jsonw_object_end(writer);
    }
    jsonw_object_end(writer);
}

static void put_parameter(struct json_writer *writer, const char *name, const char *place,
    const char *type, const char *text)
{
    bool in_path = strcmp(place, "path") == 0;
    jsonw_object_begin(writer, NULL);
    jsonw_text(writer, "name", name);
    jsonw_text(writer, "in", place);
    jsonw_bool(writer, "required", in_path);
    if (text != NULL) {
        jsonw_text(writer, "description", text);
    }
    put_schema(writer, type);
    jsonw_object_end(writer);
}

static void put_parameters(struct json_writer *writer, const struct api_row *row)
{
    const char *at = row->path;
    char name[NAME_SIZE];
    jsonw_array_begin(writer, "parameters");
    while (next_name(&at, name)) {
        put_parameter(writer, name, "path", "string", NULL);
    }
    for (size_t i = 0; i < PARAMETER_COUNT; i++) {
        const struct parameter *parameter = &parameters[i];
        if (takes(row, parameter) && parameter->place == IN_QUERY) {
            put_parameter(writer, parameter->name, "query", parameter->type, parameter->text);
        }
    }
    jsonw_array_end(writer);
}

static void put_body(struct json_writer *writer, const struct api_row *row)
{
    jsonw_object_begin(writer, "requestBody");
    jsonw_object_begin(writer, "content");
    jsonw_object_begin(writer, "application/json");
    jsonw_object_begin(writer, "schema");
    jsonw_text(writer, "type", "object");
    jsonw_object_begin(writer, "properties");
    for (size_t i = 0; i < PARAMETER_COUNT; i++) {
        const struct parameter *member = &parameters[i];
        if (takes(row, member) && member->place == IN_BODY) {
            jsonw_object_begin(writer, member->name);
            jsonw_text(writer, "type", member->type);
            if (strcmp(member->type, "array") == 0) {
                jsonw_raw(writer, "items", SLICE("{}"));
            }
            jsonw_text(writer, "description", member->text);
            jsonw_object_end(writer);
        }
    }
    jsonw_object_end(writer);
    jsonw_object_end(writer);
    jsonw_object_end(writer);
    jsonw_object_end(writer);
    jsonw_object_end(writer);
}

static void put_responses(struct json_writer *writer, const struct api_row *row)
{
    jsonw_object_begin(writer, "responses");
    jsonw_object_begin(writer, "2XX");
    jsonw_text(writer, "description", "as asked");
    jsonw_object_begin(writer, "content");
    jsonw_raw(writer, media_type(row), SLICE("{}"));
    jsonw_object_end(writer);
    jsonw_object_end(writer);
    jsonw_raw(writer, "default", SLICE("{\"$ref\":\"#/components/responses/Error\"}"));
    jsonw_object_end(writer);
}

// "get_api_services_service_health".
static void put_operation_id(
    struct json_writer *writer, const struct api_row *row, const char *method)
{
    struct buf id = BUF_INIT(DOCS_MAX);
    bool gap = true;
    buf_append_str(&id, method);
    for (const char *at = row->path; *at != '\0'; at++) {
        bool plain = (*at >= 'a' && *at <= 'z') || (*at >= '0' && *at <= '9');
        if (plain && gap) {
            buf_append_byte(&id, '_');
        }
        if (plain) {
            buf_append_byte(&id, *at);
        }
        gap = !plain;
    }
    jsonw_string(writer, "operationId", buf_slice(&id));
    buf_reset(&id);
}

static void put_operation(struct json_writer *writer, const struct api_row *row)
{
    const char *method = strcmp(row->method, "GET") == 0    ? "get"
                         : strcmp(row->method, "POST") == 0 ? "post"
                                                            : "delete";
    jsonw_object_begin(writer, method);
    put_operation_id(writer, row, method);
    jsonw_text(writer, "summary", row->summary);
    jsonw_text(writer, "x-role", access_words[row->access]);
    if (row->access == ACCESS_OPEN) {
        jsonw_raw(writer, "security", SLICE("[]"));
    }
    put_parameters(writer, row);
    if (takes_body(row)) {
        put_body(writer, row);
    }
    put_responses(writer, row);
    jsonw_object_end(writer);
}

static bool came_before(const struct api_row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(rows[i].path, rows[count].path) == 0) {
            return true;
        }
    }
    return false;
}

static void put_paths(struct json_writer *writer)
{
    const struct api_row *rows = api_rows();
    jsonw_object_begin(writer, "paths");
    for (size_t i = 0; i < API_ROW_COUNT; i++) {
        if (came_before(rows, i)) {
            continue;
        }
        jsonw_object_begin(writer, rows[i].path);
        for (size_t n = i; n < API_ROW_COUNT; n++) {
            if (strcmp(rows[n].path, rows[i].path) == 0) {
                put_operation(writer, &rows[n]);
            }
        }
        jsonw_object_end(writer);
    }
    jsonw_object_end(writer);
}

void api_openapi(struct api_request *request)
{
    struct buf out = BUF_INIT(DOCS_MAX);
    struct json_writer writer;
    json_writer_init(&writer, &out);
    jsonw_object_begin(&writer, NULL);
    jsonw_text(&writer, "openapi", "3.0.3");
    jsonw_raw(&writer, "info",
        SLICE("{\"title\":\"weir health\",\"version\":\"" WEIR_VERSION "\",\"description\":"
              "\"The health monitor. WebSockets are described at /docs.\"}"));
    jsonw_raw(&writer, "security", SLICE("[{},{\"token\":[]}]"));
    put_paths(&writer);
    jsonw_raw(&writer, "components",
        SLICE(
            "{\"securitySchemes\":{\"token\":{\"type\":\"http\",\"scheme\":\"bearer\"}},"
            "\"responses\":{\"Error\":{\"description\":\"why it was refused, or failed\","
            "\"content\":{\"application/json\":{\"schema\":{\"$ref\":"
            "\"#/components/schemas/Error\"}}}}},"
            "\"schemas\":{\"Error\":{\"type\":\"object\",\"required\":[\"error\"],\"properties\":{"
            "\"detail\":{\"type\":\"string\"},\"message\":{\"type\":\"string\"},"
            "\"error\":{\"type\":\"object\",\"properties\":{\"message\":{\"type\":\"string\"},"
            "\"status\":{\"type\":\"integer\"},\"path\":{\"type\":\"string\"},"
            "\"method\":{\"type\":\"string\"},\"timestamp\":{\"type\":\"string\","
            "\"format\":\"date-time\"}}}}}}}"));
    jsonw_object_end(&writer);
    api_answer_json_with(request, 200, FRESH, &out);
}

// ---- For people

static void put_page_parameters(struct buf *out, const struct api_row *row)
{
    for (size_t i = 0; i < PARAMETER_COUNT; i++) {
        const struct parameter *parameter = &parameters[i];
        if (takes(row, parameter)) {
            buf_append_str(out, "<br><code>");
            markup_put(out, parameter->place == IN_QUERY ? "?" : "");
            markup_put(out, parameter->name);
            buf_append_str(out, "</code> ");
            markup_put(out, parameter->text);
        }
    }
}

static void put_page_row(struct buf *out, const struct api_row *row)
{
    buf_append_str(out, "<tr><td>");
    markup_put(out, row->method);
    buf_append_str(out, "</td><td><code>");
    markup_put(out, row->path);
    buf_append_str(out, "</code></td><td>");
    markup_put(out, access_words[row->access]);
    buf_append_str(out, "</td><td>");
    markup_put(out, row->summary);
    put_page_parameters(out, row);
    buf_append_str(out, "</td></tr>\n");
}

void api_docs(struct api_request *request)
{
    struct buf out = BUF_INIT(DOCS_MAX);
    buf_append_str(&out,
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
        "content=\"width=device-width\"><title>weir health: API</title><link rel=\"stylesheet\" "
        "href=\"/health/style.css\"></head><body><h1>API</h1><p>For programs: "
        "<a href=\"/openapi.json\">/openapi.json</a>. A token goes into <code>Authorization: Bearer"
        "</code>, or <code>?token=</code>; where there are no tokens everybody may.</p>\n"
        "<table><tr><th>Method</th><th>Path</th><th>Who may</th><th>What it is for</th></tr>\n");
    for (size_t i = 0; i < API_ROW_COUNT; i++) {
        put_page_row(&out, &api_rows()[i]);
    }
    buf_append_str(&out, "</table>\n<h2>WebSockets</h2>\n<ul>\n");
    for (size_t i = 0; i < sizeof sockets / sizeof sockets[0]; i++) {
        buf_append_str(&out, "<li><code>");
        markup_put(&out, sockets[i].path);
        buf_append_str(&out, "</code></li>\n");
    }
    buf_append_str(&out, "</ul></body></html>\n");
    if (out.failed) {
        api_answer_error(request, 500, "Internal server error");
    } else {
        api_answer_text(request, "text/html; charset=utf-8", FRESH, buf_slice(&out));
    }
    buf_reset(&out);
}
