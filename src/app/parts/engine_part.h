// SPDX-License-Identifier: Apache-2.0
// The engine as a part of a process: its configuration from a file and the environment, read again
// at every SIGHUP, and its listeners.
#ifndef WEIR_APP_ENGINE_PART_H
#define WEIR_APP_ENGINE_PART_H

#include "app/parts/process.h"
#include "engine/engine.h"

struct engine_part_config;

// Where its settings come from; the words of a command line stand above the file and the variables.
struct engine_part_options {
    struct engine_config_source source; // what it borrows outlives the part
    const char *listen;                 // "ADDR:PORT" or NULL; so is the next
    const char *metrics_listen;
    const char *listen_option; // what the first is called; NULL: --listen
    const char *workers;                // or NULL
};

struct engine_part {
    struct part part;
    struct engine engine;
    struct engine_part_options options;
    // Owned, the newest first: workers may still read an older one.
    struct engine_part_config *configs;
};

// Reads and checks the configuration; part is zeroed before. Says on standard error what is wrong
// and returns the exit code, EXIT_FINE when it can run.
int engine_part_init(struct engine_part *part, const struct engine_part_options *options,
    struct conf_problems *problems);
void engine_part_fini(struct engine_part *part);
// The one in effect.
const struct engine_config *engine_part_config(const struct engine_part *part);

#endif
