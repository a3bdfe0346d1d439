// SPDX-License-Identifier: Apache-2.0
#include "cli/engine/filter_text.h"

#include <stdio.h>
#include <string.h>

#include "base/slice.h"
#include "base/utf8.h"
#include "conf/nearest.h"

#define CONDITION_SIZE 1024
#define LABELS "labels."

static const char *const tunnel_keys[] = {"id", "name", "type", "status", "client_id", "user_id",
    "protocol", "hostname", "publish", "http_version"};
static const char *const client_keys[] = {
    "id", "status", "user_id", "agent", "channel", "version", "os", "arch", "protocol_version"};

// Takes the next condition off *at, without the backslashes of "\," and "\\".
static bool take(const char **at, char condition[CONDITION_SIZE])
{
    size_t len = 0;
    const char *from = *at;
    while (*from != '\0' && *from != ',' && len + 1 < CONDITION_SIZE) {
        if (*from == '\\' && (from[1] == ',' || from[1] == '\\')) {
            from++;
        }
        condition[len++] = *from++;
    }
    condition[len] = '\0';
    bool whole = *from == '\0' || *from == ',';
    *at = *from == ',' ? from + 1 : from;
    return whole;
}

static enum weir_result set(json_t *object, const char *key, json_t *value)
{
    return json_object_set_new(object, key, value) == 0 ? WEIR_OK : WEIR_MEMORY;
}

static enum weir_result set_label(json_t *object, const char *key, const char *value)
{
    json_t *labels = json_object_get(object, "labels");
    if (labels == NULL) {
        if (json_object_set_new(object, "labels", json_object()) != 0) {
            return WEIR_MEMORY;
        }
        labels = json_object_get(object, "labels");
    }
    bool any = value[0] == '\0' || strcmp(value, "*") == 0;
    return set(labels, key, any ? json_null() : json_string(value));
}

static enum weir_result refuse_key(
    const char *key, enum filter_subject subject, char *problem, size_t size)
{
    const char *const *known = subject == FILTER_TUNNELS ? tunnel_keys : client_keys;
    size_t count = subject == FILTER_TUNNELS ? sizeof tunnel_keys / sizeof tunnel_keys[0]
                                             : sizeof client_keys / sizeof client_keys[0];
    const char *nearest = conf_nearest(slice_str(key), known, count);
    int len = snprintf(problem, size, "there is no field \"%s\"%s%s%s; allowed: ", key,
        nearest == NULL ? "" : "; did you mean ", nearest == NULL ? "" : nearest,
        nearest == NULL ? "" : "?");
    for (size_t i = 0; i < count && len > 0 && (size_t)len < size; i++) {
        len += snprintf(problem + len, size - (size_t)len, "%s, ", known[i]);
    }
    if (len > 0 && (size_t)len < size) {
        snprintf(problem + len, size - (size_t)len, LABELS "KEY");
    }
    return WEIR_MALFORMED;
}

static bool is_known(const char *key, enum filter_subject subject)
{
    const char *const *known = subject == FILTER_TUNNELS ? tunnel_keys : client_keys;
    size_t count = subject == FILTER_TUNNELS ? sizeof tunnel_keys / sizeof tunnel_keys[0]
                                             : sizeof client_keys / sizeof client_keys[0];
    for (size_t i = 0; i < count; i++) {
        if (strcmp(known[i], key) == 0) {
            return true;
        }
    }
    return false;
}

static enum weir_result read_condition(
    char *condition, enum filter_subject subject, json_t *object, char *problem, size_t size)
{
    char *equals = strchr(condition, '=');
    if (equals == NULL || equals == condition) {
        snprintf(problem, size,
            "\"%s\" is no condition; allowed: FIELD=VALUE, and several with "
            "commas between them",
            condition);
        return WEIR_MALFORMED;
    }
    *equals = '\0';
    const char *value = equals + 1;
    if (strncmp(condition, LABELS, strlen(LABELS)) == 0 && condition[strlen(LABELS)] != '\0') {
        return set_label(object, condition + strlen(LABELS), value);
    }
    if (!is_known(condition, subject)) {
        return refuse_key(condition, subject, problem, size);
    }
    if (strcmp(condition, "publish") != 0) {
        return set(object, condition, json_string(value));
    }
    if (strcmp(value, "true") != 0 && strcmp(value, "false") != 0) {
        snprintf(problem, size, "publish=%s is not usable; allowed: true, false", value);
        return WEIR_MALFORMED;
    }
    return set(object, condition, json_boolean(value[0] == 't'));
}

enum weir_result filter_text_read(
    const char *text, enum filter_subject subject, json_t *object, char *problem, size_t size)
{
    char condition[CONDITION_SIZE];
    enum weir_result result = WEIR_OK;
    if (!utf8_valid(slice_str(text))) {
        snprintf(problem, size, "it is no UTF-8");
        return WEIR_MALFORMED;
    }
    while (*text != '\0' && result == WEIR_OK) {
        if (!take(&text, condition)) {
            snprintf(problem, size, "a condition has more than %d characters", CONDITION_SIZE - 1);
            return WEIR_MALFORMED;
        }
        result = read_condition(condition, subject, object, problem, size);
    }
    return result;
}
