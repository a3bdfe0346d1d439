// SPDX-License-Identifier: Apache-2.0
// The query parameter "params" of lists and watchers (spec section 8.3): a JSON object, read
// strictly. No I/O.
#ifndef WEIR_ENGINE_PARAMS_H
#define WEIR_ENGINE_PARAMS_H

#include <stdint.h>

#include "base/result.h"
#include "base/slice.h"
#include "engine/api/filter.h"

#define PARAMS_PROBLEM_SIZE 160

struct list_params {
    uint64_t limit;        // UINT64_MAX without
    struct filter *filter; // owned; NULL: all
};

// A section that is absent is everything of that kind; false or null is nothing.
struct watch_params {
    struct filter *clients; // owned; NULL: all
    struct filter *tunnels;
    bool no_clients;
    bool no_tunnels;
};

// An empty text is "no params". WEIR_MALFORMED with the problem in English (PARAMS_PROBLEM_SIZE
// bytes), WEIR_MEMORY. What was filled is to be freed only after WEIR_OK.
enum weir_result params_read_list(struct slice text, enum filter_kind kind,
    struct list_params *ret_params, char *problem) WEIR_MUST_CHECK;
enum weir_result params_read_watch(
    struct slice text, struct watch_params *ret_params, char *problem) WEIR_MUST_CHECK;
// Fine on zeroed ones, and twice.
void list_params_fini(struct list_params *params);
void watch_params_fini(struct watch_params *params);

#endif
