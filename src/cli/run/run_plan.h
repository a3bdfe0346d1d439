// SPDX-License-Identifier: Apache-2.0
// A file of tunnels together with the engine of each: what `run` is to have open.
#ifndef WEIR_CLI_RUN_PLAN_H
#define WEIR_CLI_RUN_PLAN_H

#include "cli/run/run_file.h"

struct run_plan {
    struct run_file file;
    struct profile *profiles; // owned; of file.tunnels, in their order
    // What makes a difference, as text, per tunnel: its signature and its engine. Holds secrets.
    struct slice *keys;        // of file.arena
    struct slice *engine_keys; // the front of them: equal ones share a control channel
};

// ask: what command line says for tunnels without a context of their own. False: problems->errors
// says why, all of it. The plan wants run_plan_close in every case.
bool run_plan_load(const char *path, const struct profile_ask *ask,
    const struct conf_source *variables, uint64_t wall_ms, struct run_plan *ret_plan,
    struct conf_problems *problems);
// The same for text.
bool run_plan_parse(const struct run_text *text, const struct profile_ask *ask,
    const struct conf_source *variables, uint64_t wall_ms, struct run_plan *ret_plan,
    struct conf_problems *problems);
// A plan of one private tunnel, which no file declares.
bool run_plan_private(const char *name, const char *forward, const struct profile_ask *ask,
    const struct conf_source *variables, uint64_t wall_ms, struct run_plan *ret_plan,
    struct conf_problems *problems);
// Fine for a zeroed plan, and twice.
void run_plan_close(struct run_plan *plan);

#endif
