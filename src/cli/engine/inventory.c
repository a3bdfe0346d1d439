// SPDX-License-Identifier: Apache-2.0
#include "cli/engine/inventory.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/time.h"
#include "cli/table.h"

#define CELL_BYTES_MAX 65536

// What a cell shows: the first of the members that is there.
struct column {
    const char *title;
    const char *member;
    const char *other; // NULL: none
};

static const struct column tunnel_columns[] = {
    {"ID", "id", NULL},
    {"NAME", "name", NULL},
    {"TYPE", "type", NULL},
    {"PROTOCOL", "protocol", NULL},
    {"PUBLISH", "publish", NULL},
    {"HOST", "hostname", "host"},
    {"HTTP_VERSION", "http_version", NULL},
    {"UPSTREAM_TLS", "upstream_tls", NULL},
};

static const struct column client_columns[] = {
    {"ID", "id", NULL},
    {"STATUS", "status", NULL},
    {"USER", "user_id", NULL},
    {"AGENT", "agent", NULL},
    {"CHANNEL", "channel", NULL},
    {"VERSION", "version", NULL},
    {"OS", "os", NULL},
    {"ARCH", "arch", NULL},
};

#define COLUMN_COUNT (sizeof tunnel_columns / sizeof tunnel_columns[0])
_Static_assert(COLUMN_COUNT == sizeof client_columns / sizeof client_columns[0], "as many columns");

static int compare_texts(const void *a, const void *b)
{
    const char *const *left = a;
    const char *const *right = b;
    return strcmp(*left, *right);
}

// By their keys: the engine has no order for them.
static void write_labels(const json_t *labels, struct buf *out)
{
    const char **keys = mem_alloc((json_object_size(labels) + 1) * sizeof *keys);
    const char *key;
    json_t *value;
    size_t count = 0;
    json_object_foreach((json_t *)(uintptr_t)labels, key, value) // it is not changed
    {
        if (keys != NULL) {
            keys[count++] = key;
        }
    }
    if (count > 0) {
        qsort(keys, count, sizeof *keys, compare_texts);
    }
    for (size_t i = 0; i < count; i++) {
        const char *text = json_string_value(json_object_get(labels, keys[i]));
        buf_printf(out, "%s%s=%s", i == 0 ? "" : ", ", keys[i], text == NULL ? "" : text);
    }
    mem_free(keys);
}

static void write_cell(const json_t *value, struct buf *out)
{
    json_t *child;
    size_t index;
    switch (value == NULL ? JSON_NULL : json_typeof(value)) {
    case JSON_STRING:
        buf_append(out, json_string_value(value), json_string_length(value));
        break;
    case JSON_INTEGER:
        buf_printf(out, "%" PRId64, (int64_t)json_integer_value(value));
        break;
    case JSON_REAL:
        buf_printf(out, "%g", json_real_value(value));
        break;
    case JSON_TRUE:
        buf_append_str(out, "true");
        break;
    case JSON_FALSE:
        buf_append_str(out, "false");
        break;
    case JSON_OBJECT:
        write_labels(value, out);
        break;
    case JSON_ARRAY:
        json_array_foreach(value, index, child)
        {
            buf_append_str(out, index == 0 ? "" : ", ");
            buf_append_str(out, json_is_string(child) ? json_string_value(child) : "");
        }
        break;
    case JSON_NULL:
        break;
    }
}

static void add_cell(struct table *table, const json_t *value, const json_t *other)
{
    struct buf text = BUF_INIT(CELL_BYTES_MAX);
    write_cell(value == NULL ? other : value, &text);
    table_add(table, buf_slice(&text));
    buf_reset(&text);
}

// ---- Order

static uint64_t created_ms(const json_t *object)
{
    const char *text = json_string_value(json_object_get(object, "creation_date"));
    uint64_t ms;
    return text != NULL && time_from_iso(slice_str(text), &ms) == WEIR_OK ? ms : 0;
}

// The newest first; by id among equals, so that a list that is shown again stays as it is.
static int compare(const void *a, const void *b)
{
    json_t *const *left = a;
    json_t *const *right = b;
    uint64_t left_ms = created_ms(*left);
    uint64_t right_ms = created_ms(*right);
    if (left_ms != right_ms) {
        return left_ms > right_ms ? -1 : 1;
    }
    return slice_compare(slice_str(json_string_value(json_object_get(*left, "id"))),
        slice_str(json_string_value(json_object_get(*right, "id"))));
}

json_t *inventory_sort(const json_t *list)
{
    size_t count = json_array_size(list);
    json_t **objects = mem_alloc((count + 1) * sizeof(json_t *));
    json_t *sorted = json_array();
    if (objects == NULL || sorted == NULL) {
        mem_free(objects);
        json_decref(sorted);
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        objects[i] = json_array_get(list, i);
    }
    qsort(objects, count, sizeof objects[0], compare);
    bool ok = true;
    for (size_t i = 0; i < count; i++) {
        ok = ok && json_array_append(sorted, objects[i]) == 0;
    }
    mem_free(objects);
    if (!ok) {
        json_decref(sorted);
        return NULL;
    }
    return sorted;
}

// ---- Writing

static enum weir_result write_rows(
    enum filter_subject subject, const json_t *list, size_t count, struct buf *out)
{
    const struct column *columns = subject == FILTER_TUNNELS ? tunnel_columns : client_columns;
    const char *titles[COLUMN_COUNT];
    struct table table;
    for (size_t i = 0; i < COLUMN_COUNT; i++) {
        titles[i] = columns[i].title;
    }
    table_init(&table, titles, COLUMN_COUNT);
    for (size_t row = 0; row < count; row++) {
        const json_t *object = json_array_get(list, row);
        for (size_t i = 0; i < COLUMN_COUNT; i++) {
            add_cell(&table, json_object_get(object, columns[i].member),
                columns[i].other == NULL ? NULL : json_object_get(object, columns[i].other));
        }
    }
    enum weir_result result = table_write(&table, out);
    table_fini(&table);
    return result;
}

enum weir_result inventory_write_table(
    enum filter_subject subject, const json_t *list, size_t rows_max, struct buf *out)
{
    size_t count = json_array_size(list);
    size_t shown = count > rows_max ? rows_max : count;
    enum weir_result result = write_rows(subject, list, shown, out);
    if (result == WEIR_OK && shown < count) {
        result = buf_printf(out, "... and %zu more\n", count - shown);
    }
    return result;
}

enum weir_result inventory_write_object(const json_t *object, struct buf *out)
{
    struct table table;
    const char *key;
    json_t *value;
    table_init(&table, NULL, 2);
    json_object_foreach((json_t *)(uintptr_t)object, key, value) // it is not changed
    {
        table_add_str(&table, key);
        add_cell(&table, value, NULL);
    }
    enum weir_result result = table_write(&table, out);
    table_fini(&table);
    return result;
}
