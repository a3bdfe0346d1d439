// SPDX-License-Identifier: Apache-2.0
// Params of lists and watchers, and resource scopes: whatever is understood can be asked, what is
// not says why, and who may see every tunnel may see each one.
#include <stdint.h>

#include "engine/api/params.h"
#include "engine/control/scope.h"
#include "engine/control/tunnel.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct rstrm_label label = {{"a", 1}, {"b", 1}};
static const struct tunnel tunnel = {.id = "i",
    .client_id = "c",
    .name = "n",
    .hostname = "h",
    .published = true,
    .user_id = {"u", 1},
    .properties = {.type = {"bytestream", 10}, .protocol = {"http", 4}, .labels = {&label, 1}}};

static void check_list(struct slice text)
{
    struct list_params params;
    char problem[PARAMS_PROBLEM_SIZE] = "";
    enum weir_result result = params_read_list(text, FILTER_TUNNELS, &params, problem);
    weir_assert((result == WEIR_OK) == (problem[0] == '\0'));
    if (result == WEIR_OK) {
        weir_assert(params.limit >= 1);
        (void)filter_passes_tunnel(params.filter, &tunnel);
        list_params_fini(&params);
    }
}

static void check_watch(struct slice text)
{
    struct watch_params params;
    char problem[PARAMS_PROBLEM_SIZE] = "";
    enum weir_result result = params_read_watch(text, &params, problem);
    weir_assert((result == WEIR_OK) == (problem[0] == '\0'));
    if (result == WEIR_OK) {
        (void)filter_passes_tunnel(params.tunnels, &tunnel);
        watch_params_fini(&params);
    }
}

static void check_scope(struct slice text)
{
    static const struct slice no_path = {NULL, 0};
    json_t *resources = json_loadb(text.at, text.len, JSON_REJECT_DUPLICATES, NULL);
    struct scope *scope;
    if (resources == NULL) {
        return;
    }
    enum weir_result result = scope_new(resources, &scope);
    json_decref(resources);
    weir_assert(result == WEIR_OK);
    for (unsigned i = 0; i < SCOPE_ACTION_COUNT; i++) {
        enum scope_action action = (enum scope_action)i;
        weir_assert(!scope_allows(scope, action, NULL, no_path) ||
                    scope_allows(scope, action, &tunnel, no_path));
        weir_assert(!scope_allows(scope, action, &tunnel, no_path) ||
                    scope_allows(scope, action, &tunnel, SLICE("/x")));
        (void)scope_names(scope, action);
    }
    scope_free(scope);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = slice_of((const char *)data, size);
    check_list(text);
    check_watch(text);
    check_scope(text);
    return 0;
}
