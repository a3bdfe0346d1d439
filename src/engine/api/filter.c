// SPDX-License-Identifier: Apache-2.0
// A field is a row: how it is called, and how its value is got from an object. A filter keeps the
// conditions that were given, each with a copy of its text.
//
// "status" is always online, also for the object of a deleted event, which says offline: whoever
// watches what is online must hear when it no longer is.
#include "engine/api/filter.h"

#include <stdio.h>

#include "base/mem.h"
#include "engine/control/client.h"
#include "engine/control/tunnel.h"

enum field_type { FIELD_TEXT, FIELD_BOOL, FIELD_LABELS };

struct field {
    const char *name;
    struct slice (*get)(const void *object); // of a TEXT or BOOL; at NULL: it has none
    enum field_type type;
};

struct condition {
    const struct field *field;
    char *text; // owned; of a label: the value, or NULL when the key is enough
    char *key;  // owned; of a label
};

struct filter {
    enum filter_kind kind;
    size_t count;
    struct condition conditions[];
};

// ---- Fields.

static struct slice get_status(const void *object)
{
    (void)object;
    return SLICE("online");
}

static struct slice or_none(struct slice text)
{
    return text.len == 0 ? (struct slice){NULL, 0} : text;
}

#define TUNNEL_FIELD(name, expression)                                                             \
    static struct slice tunnel_##name(const void *object)                                          \
    {                                                                                              \
        const struct tunnel *tunnel = object;                                                      \
        return or_none(expression);                                                                \
    }
TUNNEL_FIELD(id, slice_str(tunnel->id))
TUNNEL_FIELD(name, slice_str(tunnel->name))
TUNNEL_FIELD(type, tunnel->properties.type)
TUNNEL_FIELD(client_id, slice_str(tunnel->client_id))
TUNNEL_FIELD(user_id, tunnel->user_id)
TUNNEL_FIELD(protocol, tunnel->properties.protocol)
TUNNEL_FIELD(hostname, slice_str(tunnel->hostname))
TUNNEL_FIELD(publish, tunnel->published ? SLICE("true") : SLICE("false"))
TUNNEL_FIELD(http_version, tunnel->properties.http_version)
#undef TUNNEL_FIELD

#define CLIENT_FIELD(name, expression)                                                             \
    static struct slice client_##name(const void *object)                                          \
    {                                                                                              \
        const struct client *client = object;                                                      \
        return or_none(expression);                                                                \
    }
CLIENT_FIELD(id, slice_str(client->id))
CLIENT_FIELD(user_id, client->user_id)
CLIENT_FIELD(agent, client->agent)
CLIENT_FIELD(channel, client->channel)
CLIENT_FIELD(version, client->version)
CLIENT_FIELD(os, client->os)
CLIENT_FIELD(arch, client->arch)
CLIENT_FIELD(protocol_version, client->protocol_version)
#undef CLIENT_FIELD

static const struct field tunnel_fields[] = {
    {"id", tunnel_id, FIELD_TEXT},
    {"name", tunnel_name, FIELD_TEXT},
    {"type", tunnel_type, FIELD_TEXT},
    {"status", get_status, FIELD_TEXT},
    {"client_id", tunnel_client_id, FIELD_TEXT},
    {"user_id", tunnel_user_id, FIELD_TEXT},
    {"protocol", tunnel_protocol, FIELD_TEXT},
    {"hostname", tunnel_hostname, FIELD_TEXT},
    {"publish", tunnel_publish, FIELD_BOOL},
    {"http_version", tunnel_http_version, FIELD_TEXT},
    {"labels", NULL, FIELD_LABELS},
    {0},
};

static const struct field client_fields[] = {
    {"id", client_id, FIELD_TEXT},
    {"status", get_status, FIELD_TEXT},
    {"user_id", client_user_id, FIELD_TEXT},
    {"agent", client_agent, FIELD_TEXT},
    {"channel", client_channel, FIELD_TEXT},
    {"version", client_version, FIELD_TEXT},
    {"os", client_os, FIELD_TEXT},
    {"arch", client_arch, FIELD_TEXT},
    {"protocol_version", client_protocol_version, FIELD_TEXT},
    {"labels", NULL, FIELD_LABELS},
    {0},
};

static const struct field *field_named(enum filter_kind kind, const char *name)
{
    const struct field *field = kind == FILTER_TUNNELS ? tunnel_fields : client_fields;
    while (field->name != NULL && strcmp(field->name, name) != 0) {
        field++;
    }
    return field->name == NULL ? NULL : field;
}

// ---- Reading.

struct reading {
    struct filter *filter;
    char *problem;
    size_t size;
};

static enum weir_result malformed(struct reading *reading, const char *key, const char *what)
{
    snprintf(reading->problem, reading->size, "%.64s: %s", key, what);
    return WEIR_MALFORMED;
}

static enum weir_result add(
    struct reading *reading, const struct field *field, const char *key, const json_t *value)
{
    struct condition *condition = &reading->filter->conditions[reading->filter->count++];
    *condition = (struct condition){.field = field};
    if (key != NULL) {
        condition->key = mem_copy(key, strlen(key));
    }
    if (json_is_boolean(value)) {
        struct slice text = json_is_true(value) ? SLICE("true") : SLICE("false");
        condition->text = mem_copy(text.at, text.len);
    } else if (json_is_string(value)) {
        condition->text = mem_copy(json_string_value(value), json_string_length(value));
    }
    bool whole =
        (key == NULL || condition->key != NULL) && (json_is_null(value) || condition->text != NULL);
    return whole ? WEIR_OK : WEIR_MEMORY;
}

static enum weir_result add_labels(
    struct reading *reading, const struct field *field, const json_t *labels)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)labels, key, value)
    {
        if (!json_is_string(value) && !json_is_null(value)) {
            return malformed(reading, key, "a label is a string, or null for any value");
        }
        enum weir_result result = add(reading, field, key, value);
        if (result != WEIR_OK) {
            return result;
        }
    }
    return WEIR_OK;
}

static enum weir_result add_field(
    struct reading *reading, enum filter_kind kind, const char *key, const json_t *value)
{
    const struct field *field = field_named(kind, key);
    if (field == NULL) {
        return malformed(reading, key, "no such filter");
    }
    if (field->type == FIELD_LABELS) {
        return json_is_object(value) ? add_labels(reading, field, value)
                                     : malformed(reading, key, "must be an object");
    }
    if (field->type == FIELD_BOOL ? !json_is_boolean(value) : !json_is_string(value)) {
        return malformed(
            reading, key, field->type == FIELD_BOOL ? "must be true or false" : "must be a string");
    }
    return add(reading, field, NULL, value);
}

static enum weir_result add_all(
    struct reading *reading, const json_t *object, enum filter_kind kind)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value)
    {
        enum weir_result result = add_field(reading, kind, key, value);
        if (result != WEIR_OK) {
            return result;
        }
    }
    return WEIR_OK;
}

enum weir_result filter_new(const json_t *object, enum filter_kind kind, struct filter **ret_filter,
    char *problem, size_t size)
{
    struct reading reading = {.problem = problem, .size = size};
    *ret_filter = NULL;
    if (!json_is_object(object)) {
        return malformed(
            &reading, kind == FILTER_TUNNELS ? "tunnels" : "clients", "filters must be an object");
    }
    size_t label_count = json_object_size(json_object_get(object, "labels"));
    if (label_count > FILTER_LABELS_MAX) {
        return malformed(&reading, "labels", "too many");
    }
    struct filter *filter = mem_zalloc(
        sizeof *filter + (json_object_size(object) + label_count) * sizeof(struct condition));
    if (filter == NULL) {
        return WEIR_MEMORY;
    }
    filter->kind = kind;
    reading.filter = filter;
    enum weir_result result = add_all(&reading, object, kind);
    if (result != WEIR_OK) {
        filter_free(filter);
        return result;
    }
    *ret_filter = filter;
    return WEIR_OK;
}

void filter_free(struct filter *filter)
{
    for (size_t i = 0; filter != NULL && i < filter->count; i++) {
        mem_free(filter->conditions[i].text);
        mem_free(filter->conditions[i].key);
    }
    mem_free(filter);
}

// ---- Judging.

static bool label_fits(const struct condition *condition, const struct rstrm_labels *labels)
{
    struct slice key = slice_str(condition->key);
    for (size_t i = 0; labels != NULL && i < labels->count; i++) {
        if (slice_eq(labels->at[i].key, key)) {
            return condition->text == NULL ||
                   slice_eq(labels->at[i].value, slice_str(condition->text));
        }
    }
    return false;
}

static bool passes(
    const struct filter *filter, const void *object, const struct rstrm_labels *labels)
{
    for (size_t i = 0; filter != NULL && i < filter->count; i++) {
        const struct condition *condition = &filter->conditions[i];
        if (condition->field->type == FIELD_LABELS) {
            if (!label_fits(condition, labels)) {
                return false;
            }
            continue;
        }
        struct slice value = condition->field->get(object);
        if (value.at == NULL || !slice_eq(value, slice_str(condition->text))) {
            return false;
        }
    }
    return true;
}

bool filter_passes_tunnel(const struct filter *filter, const struct tunnel *tunnel)
{
    return passes(filter, tunnel, &tunnel->properties.labels);
}

bool filter_passes_client(const struct filter *filter, const struct client *client)
{
    return passes(filter, client, NULL);
}
