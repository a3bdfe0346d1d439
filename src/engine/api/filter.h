// SPDX-License-Identifier: Apache-2.0
// Conditions on clients or tunnels (spec section 8.4): all that are given must hold, compared
// exactly. They come from a watcher's or lister's params, and from the scopes of a token.
#ifndef WEIR_ENGINE_FILTER_H
#define WEIR_ENGINE_FILTER_H

#include <jansson.h>

#include "base/result.h"
#include "base/slice.h"

struct client;
struct tunnel;

enum filter_kind { FILTER_CLIENTS, FILTER_TUNNELS };

#define FILTER_LABELS_MAX 64

struct filter;

// object is a JSON object of that section. WEIR_MALFORMED: no object, a key that the kind has not,
// or a value of the wrong type; problem (size bytes) says which, in English. WEIR_MEMORY. An empty
// object gives a filter that everything passes.
enum weir_result filter_new(const json_t *object, enum filter_kind kind, struct filter **ret_filter,
    char *problem, size_t size) WEIR_MUST_CHECK;
// NULL is fine.
void filter_free(struct filter *filter);

// A NULL filter lets everything pass. The filter is of the right kind.
bool filter_passes_tunnel(const struct filter *filter, const struct tunnel *tunnel);
bool filter_passes_client(const struct filter *filter, const struct client *client);

#endif
