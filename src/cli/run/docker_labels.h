// SPDX-License-Identifier: Apache-2.0
// The tunnels that labels of containers declare (spec engine, section 11.6), as the text of a file
// for run_plan_parse. A tunnel that cannot be used is left out and said; it stops no other.
#ifndef WEIR_CLI_DOCKER_LABELS_H
#define WEIR_CLI_DOCKER_LABELS_H

#include "cli/run/run_plan.h"

#define DOCKER_TEXT_MAX (1024 * 1024)

struct docker_rules {
    const char *network;         // whose address a port is at; NULL: the first one that has any
    const char *default_context; // of containers without a label rstream.context; NULL: none
    bool allow_contexts;         // that label may choose another one
    const struct profile_ask *ask;
    const struct conf_source *variables;
};

// list: what the engine of containers says to GET /containers/json. False: it is no such list, or
// memory ran out; problems says which. A value of a label is taken as it is: ${ in it is no
// variable, because whoever may label a container may not read our environment.
bool docker_labels_read(struct slice list, const struct docker_rules *rules, uint64_t wall_ms,
    struct buf *out, struct conf_problems *problems, size_t *ret_count) WEIR_MUST_CHECK;

#endif
