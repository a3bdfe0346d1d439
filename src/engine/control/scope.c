// SPDX-License-Identifier: Apache-2.0
// A leaf starts with everything allowed and is narrowed by what it holds. Anything unexpected
// closes the part it stands in: a member of an action that action, a member of a leaf the whole
// leaf.
#include "engine/control/scope.h"

#include "base/mem.h"
#include "engine/api/filter.h"
#include "engine/control/tunnel.h"

#define DEPTH_MAX 8

struct reach {
    bool named; // the leaf says something about it
    bool allowed;
    struct filter *filter; // owned; NULL: every tunnel
    char *path;            // owned; NULL: every path
};

enum scope_kind { SCOPE_LEAF, SCOPE_ALL_OF, SCOPE_ANY_OF };

struct scope {
    enum scope_kind kind;
    struct reach reaches[SCOPE_ACTION_COUNT]; // of a leaf
    size_t count;
    struct scope *parts[]; // owned
};

static const char *const action_names[SCOPE_ACTION_COUNT] = {
    [SCOPE_CREATE] = "create", [SCOPE_CONNECT] = "connect", [SCOPE_LIST] = "list"};

// ---- Reading.

static struct scope *new_scope(enum scope_kind kind, size_t count)
{
    struct scope *scope = mem_zalloc(sizeof *scope + count * sizeof scope->parts[0]);
    if (scope == NULL) {
        return NULL;
    }
    scope->kind = kind;
    for (size_t i = 0; i < SCOPE_ACTION_COUNT; i++) {
        scope->reaches[i].allowed = true;
    }
    return scope;
}

static void close_leaf(struct scope *leaf)
{
    for (size_t i = 0; i < SCOPE_ACTION_COUNT; i++) {
        leaf->reaches[i].named = true;
        leaf->reaches[i].allowed = false;
    }
}

static enum weir_result read_filters(struct reach *reach, const json_t *filters)
{
    char problem[1];
    enum weir_result result =
        filter_new(filters, FILTER_TUNNELS, &reach->filter, problem, sizeof problem);
    reach->allowed = reach->allowed && result == WEIR_OK;
    return result == WEIR_MEMORY ? result : WEIR_OK;
}

static enum weir_result read_params(struct reach *reach, const json_t *params)
{
    const char *key;
    json_t *value;
    reach->allowed = reach->allowed && json_is_object(params);
    json_object_foreach((json_t *)params, key, value)
    {
        if (strcmp(key, "path") != 0 || !json_is_string(value)) {
            reach->allowed = false;
            continue;
        }
        reach->path = mem_copy(json_string_value(value), json_string_length(value));
        if (reach->path == NULL) {
            return WEIR_MEMORY;
        }
    }
    return WEIR_OK;
}

static enum weir_result read_action(
    struct reach *reach, enum scope_action action, const json_t *value)
{
    const char *key;
    json_t *member;
    enum weir_result result = WEIR_OK;
    reach->named = true;
    if (!json_is_object(value)) {
        reach->allowed = json_is_true(value);
        return WEIR_OK;
    }
    json_object_foreach((json_t *)value, key, member)
    {
        if (strcmp(key, "filters") == 0) {
            result = read_filters(reach, member);
        } else if (strcmp(key, "params") == 0 && action == SCOPE_CONNECT) {
            result = read_params(reach, member);
        } else {
            reach->allowed = false;
        }
        if (result != WEIR_OK) {
            return result;
        }
    }
    return WEIR_OK;
}

static enum weir_result read_actions(struct scope *leaf, const json_t *actions)
{
    const char *key;
    json_t *value;
    if (!json_is_object(actions)) {
        close_leaf(leaf);
        return WEIR_OK;
    }
    json_object_foreach((json_t *)actions, key, value)
    {
        size_t action = 0;
        while (action < SCOPE_ACTION_COUNT && strcmp(action_names[action], key) != 0) {
            action++;
        }
        if (action == SCOPE_ACTION_COUNT) {
            close_leaf(leaf);
            return WEIR_OK;
        }
        enum weir_result result =
            read_action(&leaf->reaches[action], (enum scope_action)action, value);
        if (result != WEIR_OK) {
            return result;
        }
    }
    return WEIR_OK;
}

// The only place there is goes by no name.
static bool names_everywhere(const json_t *places)
{
    for (size_t i = 0; i < json_array_size(places); i++) {
        const char *name = json_string_value(json_array_get(places, i));
        if (name != NULL && strcmp(name, "*") == 0) {
            return true;
        }
    }
    return false;
}

static enum weir_result read_leaf(const json_t *object, struct scope *leaf)
{
    const char *key;
    json_t *value;
    bool closed = false;
    enum weir_result result = WEIR_OK;
    json_object_foreach((json_t *)object, key, value)
    {
        if (strcmp(key, "workspaces") == 0 || strcmp(key, "projects") == 0) {
            closed = closed || !names_everywhere(value);
        } else if (strcmp(key, "scopes") == 0 && json_object_size(value) == 1 &&
                   json_object_get(value, "tunnels") != NULL) {
            result = read_actions(leaf, json_object_get(value, "tunnels"));
        } else {
            closed = true;
        }
        if (result != WEIR_OK) {
            return result;
        }
    }
    if (closed) {
        close_leaf(leaf);
    }
    return WEIR_OK;
}

static enum weir_result read_scope(const json_t *object, unsigned depth, struct scope **ret_scope);

static enum weir_result read_parts(struct scope *scope, const json_t *parts, unsigned depth)
{
    for (size_t i = 0; i < json_array_size(parts); i++) {
        enum weir_result result =
            read_scope(json_array_get(parts, i), depth + 1, &scope->parts[scope->count]);
        if (result != WEIR_OK) {
            return result;
        }
        scope->count++;
    }
    return WEIR_OK;
}

// object: {"AND": [...]}, {"OR": [...]} or a leaf. A NULL or wrong one denies.
static enum weir_result read_scope(const json_t *object, unsigned depth, struct scope **ret_scope)
{
    const json_t *and = json_object_get(object, "AND");
    const json_t * or = json_object_get(object, "OR");
    const json_t *parts = and != NULL ? and : or ;
    bool joined = json_array_size(parts) > 0 && json_object_size(object) == 1 && depth < DEPTH_MAX;
    enum scope_kind kind = !joined ? SCOPE_LEAF : and != NULL ? SCOPE_ALL_OF : SCOPE_ANY_OF;
    struct scope *scope = new_scope(kind, joined ? json_array_size(parts) : 0);
    if (scope == NULL) {
        return WEIR_MEMORY;
    }
    enum weir_result result = WEIR_OK;
    if (joined) {
        result = read_parts(scope, parts, depth);
    } else if (json_is_object(object) && parts == NULL) {
        result = read_leaf(object, scope);
    } else {
        close_leaf(scope);
    }
    if (result != WEIR_OK) {
        scope_free(scope);
        return result;
    }
    *ret_scope = scope;
    return WEIR_OK;
}

enum weir_result scope_new(const json_t *resources, struct scope **ret_scope)
{
    *ret_scope = NULL;
    if (resources == NULL || json_is_null(resources)) {
        return WEIR_OK;
    }
    const json_t *tunnels = json_object_get(resources, "tunnels");
    bool understood = json_is_object(resources) && json_object_size(resources) <= 1 &&
                      (json_object_size(resources) == 0 || tunnels != NULL);
    if (understood && tunnels == NULL) {
        return WEIR_OK;
    }
    return read_scope(understood ? tunnels : NULL, 0, ret_scope);
}

void scope_free(struct scope *scope)
{
    if (scope == NULL) {
        return;
    }
    for (size_t i = 0; i < scope->count; i++) {
        scope_free(scope->parts[i]);
    }
    for (size_t i = 0; i < SCOPE_ACTION_COUNT; i++) {
        filter_free(scope->reaches[i].filter);
        mem_free(scope->reaches[i].path);
    }
    mem_free(scope);
}

// ---- Judging.

static bool path_fits(const char *pattern, struct slice path)
{
    struct slice wanted = slice_str(pattern);
    if (path.at == NULL) {
        return false;
    }
    if (slice_ends_with(wanted, SLICE("/*"))) {
        wanted.len--;
        return slice_starts_with(path, wanted);
    }
    return slice_eq(path, wanted);
}

static bool leaf_allows(const struct scope *leaf, enum scope_action action,
    const struct tunnel *tunnel, struct slice path)
{
    const struct reach *reach = &leaf->reaches[action];
    return reach->allowed && (reach->path == NULL || path_fits(reach->path, path)) &&
           (tunnel == NULL ? reach->filter == NULL : filter_passes_tunnel(reach->filter, tunnel));
}

bool scope_allows(const struct scope *scope, enum scope_action action, const struct tunnel *tunnel,
    struct slice path)
{
    if (scope == NULL) {
        return true;
    }
    if (scope->kind == SCOPE_LEAF) {
        return leaf_allows(scope, action, tunnel, path);
    }
    bool all = scope->kind == SCOPE_ALL_OF;
    for (size_t i = 0; i < scope->count; i++) {
        if (scope_allows(scope->parts[i], action, tunnel, path) != all) {
            return !all;
        }
    }
    return all;
}

bool scope_names(const struct scope *scope, enum scope_action action)
{
    if (scope == NULL) {
        return false;
    }
    bool named = scope->reaches[action].named;
    for (size_t i = 0; i < scope->count; i++) {
        named = named || scope_names(scope->parts[i], action);
    }
    return named;
}
