// SPDX-License-Identifier: Apache-2.0
// /api/openapi.json, made of the route table and of the fields below (spec sections 8.2, 8.4, 8.5).
#include "engine/api/api_internal.h"

#include <stdio.h>

#include "proto/json_write.h"

enum field_type {
    FIELD_TEXT,
    FIELD_TIME,
    FIELD_STATUS,
    FIELD_BOOL,
    FIELD_INT,
    FIELD_TEXTS,
    FIELD_LABELS,
};

static const char *const type_schemas[] = {
    [FIELD_TEXT] = "{\"type\":\"string\"}",
    [FIELD_TIME] = "{\"type\":\"string\",\"format\":\"date-time\"}",
    [FIELD_STATUS] = "{\"type\":\"string\",\"enum\":[\"online\",\"offline\"]}",
    [FIELD_BOOL] = "{\"type\":\"boolean\"}",
    [FIELD_INT] = "{\"type\":\"integer\"}",
    [FIELD_TEXTS] = "{\"type\":\"array\",\"items\":{\"type\":\"string\"}}",
    [FIELD_LABELS] = "{\"type\":\"object\",\"additionalProperties\":{\"type\":\"string\"}}",
};

struct field {
    const char *name;
    enum field_type type;
    bool required;
    bool filter;
};

static const struct field client_fields[] = {
    {"id", FIELD_TEXT, true, true},
    {"status", FIELD_STATUS, true, true},
    {"user_id", FIELD_TEXT, false, true},
    {"agent", FIELD_TEXT, false, true},
    {"channel", FIELD_TEXT, false, true},
    {"version", FIELD_TEXT, false, true},
    {"os", FIELD_TEXT, false, true},
    {"arch", FIELD_TEXT, false, true},
    {"protocol_version", FIELD_TEXT, false, true},
    {"labels", FIELD_LABELS, false, true},
    {0},
};

static const struct field tunnel_fields[] = {
    {"id", FIELD_TEXT, true, true},
    {"client_id", FIELD_TEXT, true, true},
    {"status", FIELD_STATUS, true, true},
    {"creation_date", FIELD_TIME, true, false},
    {"name", FIELD_TEXT, false, true},
    {"type", FIELD_TEXT, true, true},
    {"publish", FIELD_BOOL, true, true},
    {"protocol", FIELD_TEXT, false, true},
    {"labels", FIELD_LABELS, false, true},
    {"trusted_ips", FIELD_TEXTS, false, false},
    {"host", FIELD_TEXT, false, false},
    {"hostname", FIELD_TEXT, false, true},
    {"port", FIELD_INT, false, false},
    {"tls_mode", FIELD_TEXT, false, false},
    {"tls_alpns", FIELD_TEXTS, false, false},
    {"tls_min_version", FIELD_TEXT, false, false},
    {"tls_ciphers", FIELD_TEXTS, false, false},
    {"http_version", FIELD_TEXT, false, true},
    {"http_use_tls", FIELD_BOOL, false, false},
    {"upstream_tls", FIELD_BOOL, false, false},
    {"token_auth", FIELD_BOOL, false, false},
    {"user_id", FIELD_TEXT, false, true},
    {0},
};

#define EVENT_SCHEMA                                                                               \
    "{\"type\":\"object\",\"required\":[\"id\",\"type\",\"created_at\",\"object\"],"               \
    "\"properties\":{"                                                                             \
    "\"id\":{\"type\":\"string\"},\"type\":{\"type\":\"string\",\"enum\":[\"state.initial\","      \
    "\"client.created\",\"client.updated\",\"client.deleted\",\"tunnel.created\","                 \
    "\"tunnel.updated\",\"tunnel.deleted\"]},"                                                     \
    "\"created_at\":{\"type\":\"string\",\"format\":\"date-time\"},"                               \
    "\"user_id\":{\"type\":\"string\"},\"object\":{\"type\":\"object\"}}}"

// ---- Schemas.

static void write_object_schema(
    struct json_writer *writer, const char *name, const struct field *fields)
{
    jsonw_object_begin(writer, name);
    jsonw_text(writer, "type", "object");
    jsonw_array_begin(writer, "required");
    for (const struct field *field = fields; field->name != NULL; field++) {
        if (field->required) {
            jsonw_text(writer, NULL, field->name);
        }
    }
    jsonw_array_end(writer);
    jsonw_object_begin(writer, "properties");
    for (const struct field *field = fields; field->name != NULL; field++) {
        jsonw_raw(writer, field->name, slice_str(type_schemas[field->type]));
    }
    jsonw_object_end(writer);
    jsonw_object_end(writer);
}

static void write_filter_schema(
    struct json_writer *writer, const char *name, const struct field *fields)
{
    jsonw_object_begin(writer, name);
    jsonw_text(writer, "type", "object");
    jsonw_bool(writer, "additionalProperties", false);
    jsonw_object_begin(writer, "properties");
    for (const struct field *field = fields; field->name != NULL; field++) {
        if (field->filter && field->type == FIELD_LABELS) {
            jsonw_raw(writer, field->name,
                SLICE("{\"type\":\"object\",\"additionalProperties\":"
                      "{\"type\":[\"string\",\"null\"]}}"));
        } else if (field->filter) {
            jsonw_raw(writer, field->name, slice_str(type_schemas[field->type]));
        }
    }
    jsonw_object_end(writer);
    jsonw_object_end(writer);
}

static void write_list_schema(
    struct json_writer *writer, const char *name, const struct field *fields)
{
    jsonw_object_begin(writer, name);
    jsonw_text(writer, "type", "object");
    jsonw_bool(writer, "additionalProperties", false);
    jsonw_object_begin(writer, "properties");
    jsonw_raw(writer, "limit", SLICE("{\"type\":\"integer\",\"minimum\":1}"));
    write_filter_schema(writer, "filters", fields);
    jsonw_object_end(writer);
    jsonw_object_end(writer);
}

static void write_schemas(struct json_writer *writer)
{
    jsonw_object_begin(writer, "schemas");
    write_object_schema(writer, "Client", client_fields);
    write_object_schema(writer, "TunnelListItem", tunnel_fields);
    jsonw_raw(writer, "Event", SLICE(EVENT_SCHEMA));
    write_list_schema(writer, "ListClientsParams", client_fields);
    write_list_schema(writer, "ListTunnelsParams", tunnel_fields);
    jsonw_object_begin(writer, "WatchParams");
    jsonw_text(writer, "type", "object");
    jsonw_bool(writer, "additionalProperties", false);
    jsonw_object_begin(writer, "properties");
    write_filter_schema(writer, "clients", client_fields);
    write_filter_schema(writer, "tunnels", tunnel_fields);
    jsonw_object_end(writer);
    jsonw_object_end(writer);
    jsonw_object_end(writer);
}

// ---- Paths.

static void write_reference(struct json_writer *writer, const char *key, const char *schema)
{
    char path[96];
    snprintf(path, sizeof path, "#/components/schemas/%s", schema);
    jsonw_object_begin(writer, key);
    jsonw_text(writer, "$ref", path);
    jsonw_object_end(writer);
}

static void write_parameters(struct json_writer *writer, const struct api_route *route)
{
    jsonw_array_begin(writer, "parameters");
    if (strstr(route->path, "{id}") != NULL) {
        jsonw_raw(writer, NULL,
            SLICE("{\"name\":\"id\",\"in\":\"path\",\"required\":true,"
                  "\"schema\":{\"type\":\"string\"}}"));
    }
    if (route->params[0] != '\0') {
        jsonw_object_begin(writer, NULL);
        jsonw_text(writer, "name", "params");
        jsonw_text(writer, "in", "query");
        jsonw_object_begin(writer, "content");
        jsonw_object_begin(writer, API_TYPE_JSON);
        write_reference(writer, "schema", route->params);
        jsonw_object_end(writer);
        jsonw_object_end(writer);
        jsonw_object_end(writer);
    }
    jsonw_array_end(writer);
}

static void write_content(struct json_writer *writer, const struct api_route *route)
{
    bool list = strncmp(route->operation, "list_", 5) == 0;
    if (route->content_type[0] == '\0') {
        return;
    }
    jsonw_object_begin(writer, "content");
    jsonw_object_begin(writer, route->content_type);
    if (list) {
        jsonw_object_begin(writer, "schema");
        jsonw_text(writer, "type", "array");
        write_reference(writer, "items", route->answer);
        jsonw_object_end(writer);
    } else if (route->answer[0] != '\0') {
        write_reference(writer, "schema", route->answer);
    }
    jsonw_object_end(writer);
    jsonw_object_end(writer);
}

static void write_response(struct json_writer *writer, const char *status, const char *text)
{
    jsonw_object_begin(writer, status);
    jsonw_text(writer, "description", text);
    jsonw_object_end(writer);
}

static void write_responses(struct json_writer *writer, const struct api_route *route)
{
    jsonw_object_begin(writer, "responses");
    jsonw_object_begin(writer, (route->flags & API_UPGRADE) != 0 ? "101" : "200");
    jsonw_text(writer, "description", route->summary);
    write_content(writer, route);
    jsonw_object_end(writer);
    if (route->params[0] != '\0') {
        write_response(writer, "400", "params cannot be understood.");
    }
    if ((route->flags & API_OPEN) == 0) {
        write_response(writer, "401", "No valid token.");
        write_response(writer, "403", "The token does not permit this.");
    }
    jsonw_object_end(writer);
}

static void write_path(struct json_writer *writer, const struct api_route *route)
{
    jsonw_object_begin(writer, route->path);
    jsonw_object_begin(writer, "get");
    jsonw_text(writer, "operationId", route->operation);
    jsonw_text(writer, "summary", route->summary);
    write_parameters(writer, route);
    jsonw_array_begin(writer, "security");
    if ((route->flags & API_OPEN) == 0) {
        jsonw_raw(writer, NULL, SLICE("{\"bearerAuth\":[]}"));
    }
    jsonw_array_end(writer);
    if ((route->flags & API_READ) != 0) {
        jsonw_raw(writer, "x-rstream-permissions", SLICE("[\"tunnels.resources.read-only\"]"));
    }
    write_responses(writer, route);
    jsonw_object_end(writer);
    jsonw_object_end(writer);
}

void openapi_write(struct buf *out)
{
    struct json_writer writer;
    json_writer_init(&writer, out);
    jsonw_object_begin(&writer, NULL);
    jsonw_text(&writer, "openapi", "3.1.0");
    jsonw_raw(&writer, "info", SLICE("{\"title\":\"weir Engine API\",\"version\":\"1.0.0\"}"));
    jsonw_object_begin(&writer, "paths");
    for (size_t i = 0; i < API_ROUTE_COUNT; i++) {
        if (api_routes[i].operation[0] != '\0') {
            write_path(&writer, &api_routes[i]);
        }
    }
    jsonw_object_end(&writer);
    jsonw_object_begin(&writer, "components");
    jsonw_raw(&writer, "securitySchemes",
        SLICE("{\"bearerAuth\":{\"type\":\"http\",\"scheme\":\"bearer\"}}"));
    write_schemas(&writer);
    jsonw_object_end(&writer);
    jsonw_object_end(&writer);
}
