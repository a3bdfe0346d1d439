// SPDX-License-Identifier: Apache-2.0
#include "cli/context/config_edit.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/time.h"
#include "cli/faults.h"
#include "proto/json_write.h"
#include "sys/file.h"
#include "sys/socket.h"

#define FILE_BYTES_MAX (1024 * 1024)
#define LOCK_TIMEOUT_NS (10 * NS_PER_S)
#define INDENT 2

// ---- YAML to JSON

static json_t *scalar_to_json(const struct yml_node *node)
{
    int64_t number;
    double real;
    bool value;
    if (yml_is_null(node)) {
        return json_null();
    }
    if (yml_int(node, &number) == WEIR_OK) {
        return json_integer(number);
    }
    if (yml_float(node, &real) == WEIR_OK) {
        return json_real(real);
    }
    if (yml_bool(node, &value) == WEIR_OK) {
        return json_boolean(value);
    }
    return json_stringn(node->text.at, node->text.len);
}

json_t *config_to_json(const struct yml_node *node)
{
    if (!yml_is(node, YML_MAPPING) && !yml_is(node, YML_SEQUENCE)) {
        return scalar_to_json(node);
    }
    bool is_map = yml_is(node, YML_MAPPING);
    json_t *result = is_map ? json_object() : json_array();
    yml_for_each (child, node) {
        // The depth is bounded by the file's limits.
        json_t *value = config_to_json(child);
        int failed = is_map ? json_object_setn_new(result, child->key.at, child->key.len, value)
                            : json_array_append_new(result, value);
        if (failed != 0) {
            json_decref(result);
            return NULL;
        }
    }
    return result;
}

// ---- JSON to YAML

static bool is_plain_text(const char *text)
{
    static const char *const words[] = {
        "true", "false", "null", "yes", "no", "on", "off", "y", "n"};
    struct slice all = slice_str(text);
    bool starts = all.len > 0 && ((text[0] >= 'a' && text[0] <= 'z') ||
                                     (text[0] >= 'A' && text[0] <= 'Z') || text[0] == '/');
    for (const char *at = text; *at != '\0'; at++) {
        bool letter = (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') ||
                      (*at >= '0' && *at <= '9') || strchr("-_./", *at) != NULL;
        bool colon = *at == ':' && at[1] != '\0' && at[1] != ' ';
        starts = starts && (letter || colon);
    }
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        starts = starts && !slice_eq_nocase(all, slice_str(words[i]));
    }
    return starts;
}

static void write_text(const char *text, size_t len, struct buf *out)
{
    struct json_writer writer;
    if (strlen(text) == len && is_plain_text(text)) {
        buf_append(out, text, len);
        return;
    }
    json_writer_init(&writer, out);
    jsonw_string(&writer, NULL, slice_of(text, len)); // a JSON string is a YAML one
}

static void write_scalar(const json_t *value, struct buf *out)
{
    switch (json_typeof(value)) {
    case JSON_STRING:
        write_text(json_string_value(value), json_string_length(value), out);
        break;
    case JSON_INTEGER:
        buf_printf(out, "%" PRId64, (int64_t)json_integer_value(value));
        break;
    case JSON_REAL:
        buf_printf(out, "%.17g", json_real_value(value));
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        buf_append_str(out, json_is_true(value) ? "true" : "false");
        break;
    case JSON_NULL:
        buf_append_str(out, "null");
        break;
    case JSON_OBJECT: // only empty ones come here
        buf_append_str(out, "{}");
        break;
    case JSON_ARRAY:
        buf_append_str(out, "[]");
        break;
    }
}

static bool is_filled(const json_t *value)
{
    return json_object_size(value) > 0 || json_array_size(value) > 0;
}

static void write_value(const json_t *value, size_t indent, bool in_line, struct buf *out);

static void write_indent(size_t indent, struct buf *out)
{
    buf_printf(out, "%*s", (int)indent, "");
}

// What stands behind "key:" or "-".
static void write_behind(const json_t *value, size_t indent, bool item, struct buf *out)
{
    if (!is_filled(value)) {
        buf_append_byte(out, ' ');
        write_scalar(value, out);
        buf_append_byte(out, '\n');
    } else if (item && json_is_object(value)) {
        buf_append_byte(out, ' ');
        write_value(value, indent + INDENT, true, out);
    } else {
        buf_append_byte(out, '\n');
        write_value(value, indent + INDENT, false, out);
    }
}

// in_line: the first line has its indentation already.
static void write_value(const json_t *value, size_t indent, bool in_line, struct buf *out)
{
    const char *key;
    json_t *child;
    size_t index;
    json_object_foreach((json_t *)(uintptr_t)value, key, child) // it is not changed
    {
        write_indent(in_line ? 0 : indent, out);
        in_line = false;
        write_text(key, strlen(key), out);
        buf_append_byte(out, ':');
        write_behind(child, indent, false, out);
    }
    json_array_foreach(value, index, child)
    {
        write_indent(indent, out);
        buf_append_byte(out, '-');
        write_behind(child, indent, true, out);
    }
}

void config_write_yaml(const json_t *value, struct buf *out)
{
    if (is_filled(value)) {
        write_value(value, 0, false, out);
    } else {
        write_scalar(value, out);
        buf_append_byte(out, '\n');
    }
}

// ---- The file

static bool write_file(const char *path, const json_t *root, struct conf_problems *problems)
{
    struct buf text = BUF_INIT(FILE_BYTES_MAX);
    struct config again = {0};
    config_write_yaml(root, &text);
    enum weir_result result = text.failed ? WEIR_TOO_LARGE : WEIR_OK;
    if (result == WEIR_OK) {
        result = config_parse(buf_slice(&text), path, &again, problems);
    }
    if (result == WEIR_OK) {
        result = sys_file_write_private(path, buf_slice(&text));
    }
    if (result != WEIR_OK) {
        conf_error(problems, "%s cannot be written: %s", path, weir_result_text(result));
    }
    config_fini(&again);
    buf_reset(&text);
    return result == WEIR_OK;
}

static bool change_locked(
    const char *path, config_change_fn *change, void *arg, struct conf_problems *problems)
{
    struct config config;
    bool ok = config_load(path, &config, problems) == WEIR_OK;
    json_t *root = NULL;
    if (ok) {
        root = yml_is(config.document.root, YML_MAPPING) ? config_to_json(config.document.root)
                                                         : json_pack("{s:i}", "version", 1);
        if (root == NULL) {
            conf_error(problems, "out of memory");
        }
        ok = root != NULL && change(root, arg, problems) && write_file(path, root, problems);
    }
    json_decref(root);
    config_fini(&config);
    return ok;
}

static enum weir_result make_directory(const char *path)
{
    char directory[CONFIG_PATH_SIZE];
    const char *slash = strrchr(path, '/');
    if (slash == NULL || slash == path) {
        return WEIR_OK;
    }
    bool fits = slice_to_text(slice_of(path, (size_t)(slash - path)), directory, sizeof directory);
    return fits ? sys_dir_make(directory) : WEIR_TOO_LARGE;
}

bool config_change(
    const char *path, config_change_fn *change, void *arg, struct conf_problems *problems)
{
    char lock_path[CONFIG_PATH_SIZE];
    int lock_fd;
    int len = snprintf(lock_path, sizeof lock_path, "%s.lock", path);
    faults_arm();
    enum weir_result result =
        len > 0 && (size_t)len < sizeof lock_path ? make_directory(path) : WEIR_TOO_LARGE;
    if (result == WEIR_OK) {
        result = sys_file_lock(lock_path, LOCK_TIMEOUT_NS, &lock_fd);
    }
    if (result == WEIR_TIMEOUT) {
        conf_error(problems, "%s is being changed by another program: its lock %s is held", path,
            lock_path);
        return false;
    }
    if (result != WEIR_OK) {
        conf_error(problems, "%s cannot be locked: %s", path, weir_result_text(result));
        return false;
    }
    bool ok = change_locked(path, change, arg, problems);
    sys_close(lock_fd);
    faults_report();
    return ok;
}

// ---- Showing

static void hide(json_t *object, const char *key)
{
    if (json_object_get(object, key) != NULL) {
        json_object_set_new(object, key, json_string("[hidden]"));
    }
}

json_t *config_without_secrets(const json_t *context)
{
    json_t *copy = json_deep_copy(context);
    json_t *auth = json_object_get(copy, "auth");
    json_t *mtls = json_object_get(auth, "mtls");
    json_t *proxy = json_object_get(json_object_get(copy, "transport"), "proxy");
    hide(json_object_get(json_object_get(auth, "token"), "storage"), "value");
    hide(mtls, "key");
    hide(mtls, "storage");
    hide(proxy, "password");
    hide(proxy, "headers");
    hide(proxy, "http"); // URLs may hold a password
    hide(proxy, "socks5");
    return copy;
}
