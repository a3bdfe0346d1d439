// SPDX-License-Identifier: Apache-2.0
// What a token's "resources" say about tunnels (spec section 7.5): a leaf, or leaves joined by AND
// and OR. What is absent does not restrict; what is not understood denies.
//
//   leaf = {"workspaces"?: ["*"], "projects"?: ["*"], "scopes": {"tunnels": {
//              "create": bool or {"filters": {...}},
//              "connect": bool or {"filters": {...}, "params": {"path": "/a" or "/a/*"}},
//              "list": bool or {"filters": {...}}}}}
//
// There are no workspaces or projects here, so a leaf for one of them by name denies. So does a
// list with "select": its tunnels are shown whole or not at all.
#ifndef WEIR_ENGINE_SCOPE_H
#define WEIR_ENGINE_SCOPE_H

#include <jansson.h>

#include "base/result.h"
#include "base/slice.h"

struct tunnel;
struct scope;

enum scope_action { SCOPE_CREATE, SCOPE_CONNECT, SCOPE_LIST, SCOPE_ACTION_COUNT };

// resources: that claim, or NULL. WEIR_OK with NULL: no restriction. WEIR_MEMORY.
enum weir_result scope_new(const json_t *resources, struct scope **ret_scope) WEIR_MUST_CHECK;
// NULL is fine.
void scope_free(struct scope *scope);

// A NULL scope allows all. tunnel NULL: whether it allows every tunnel. path: of a visitor's
// request, without query; at NULL: there is none, and what is bound to a path denies.
bool scope_allows(const struct scope *scope, enum scope_action action, const struct tunnel *tunnel,
    struct slice path);
// Some leaf says something about action.
bool scope_names(const struct scope *scope, enum scope_action action);

#endif
