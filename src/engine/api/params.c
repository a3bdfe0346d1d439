// SPDX-License-Identifier: Apache-2.0
#include "engine/api/params.h"

#include <stdio.h>

static enum weir_result malformed(char *problem, const char *what)
{
    snprintf(problem, PARAMS_PROBLEM_SIZE, "params: %s", what);
    return WEIR_MALFORMED;
}

// *ret_object NULL: the text is empty.
static enum weir_result read_object(struct slice text, json_t **ret_object, char *problem)
{
    json_error_t error;
    *ret_object = NULL;
    if (text.len == 0) {
        return WEIR_OK;
    }
    json_t *value = json_loadb(text.at, text.len, JSON_REJECT_DUPLICATES, &error);
    if (value == NULL && json_error_code(&error) == json_error_out_of_memory) {
        return WEIR_MEMORY;
    }
    if (!json_is_object(value)) {
        json_decref(value);
        return malformed(problem, "must be a JSON object");
    }
    *ret_object = value;
    return WEIR_OK;
}

static enum weir_result read_list_member(struct list_params *params, const char *key,
    const json_t *value, enum filter_kind kind, char *problem)
{
    if (strcmp(key, "filters") == 0) {
        return filter_new(value, kind, &params->filter, problem, PARAMS_PROBLEM_SIZE);
    }
    if (strcmp(key, "limit") != 0) {
        return malformed(problem, "allowed are limit and filters");
    }
    if (!json_is_integer(value) || json_integer_value(value) < 1) {
        return malformed(problem, "limit must be a whole number from 1");
    }
    params->limit = (uint64_t)json_integer_value(value);
    return WEIR_OK;
}

enum weir_result params_read_list(
    struct slice text, enum filter_kind kind, struct list_params *ret_params, char *problem)
{
    json_t *object;
    const char *key;
    json_t *value;
    *ret_params = (struct list_params){.limit = UINT64_MAX};
    enum weir_result result = read_object(text, &object, problem);
    json_object_foreach(object, key, value)
    {
        if (result == WEIR_OK) {
            result = read_list_member(ret_params, key, value, kind, problem);
        }
    }
    json_decref(object);
    if (result != WEIR_OK) {
        list_params_fini(ret_params);
    }
    return result;
}

static enum weir_result read_section(const json_t *value, enum filter_kind kind,
    struct filter **ret_filter, bool *ret_none, char *problem)
{
    if (json_is_false(value) || json_is_null(value)) {
        *ret_none = true;
        return WEIR_OK;
    }
    return filter_new(value, kind, ret_filter, problem, PARAMS_PROBLEM_SIZE);
}

static enum weir_result read_watch_member(
    struct watch_params *params, const char *key, const json_t *value, char *problem)
{
    if (strcmp(key, "clients") == 0) {
        return read_section(value, FILTER_CLIENTS, &params->clients, &params->no_clients, problem);
    }
    if (strcmp(key, "tunnels") == 0) {
        return read_section(value, FILTER_TUNNELS, &params->tunnels, &params->no_tunnels, problem);
    }
    return malformed(problem, "allowed are clients and tunnels");
}

enum weir_result params_read_watch(
    struct slice text, struct watch_params *ret_params, char *problem)
{
    json_t *object;
    const char *key;
    json_t *value;
    *ret_params = (struct watch_params){0};
    enum weir_result result = read_object(text, &object, problem);
    json_object_foreach(object, key, value)
    {
        if (result == WEIR_OK) {
            result = read_watch_member(ret_params, key, value, problem);
        }
    }
    json_decref(object);
    if (result != WEIR_OK) {
        watch_params_fini(ret_params);
    }
    return result;
}

void list_params_fini(struct list_params *params)
{
    filter_free(params->filter);
    params->filter = NULL;
}

void watch_params_fini(struct watch_params *params)
{
    filter_free(params->clients);
    filter_free(params->tunnels);
    params->clients = params->tunnels = NULL;
}
