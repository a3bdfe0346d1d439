// SPDX-License-Identifier: Apache-2.0
// The relay as a part of a process: its configuration from the environment, and its listener.
#ifndef WEIR_APP_RELAY_PART_H
#define WEIR_APP_RELAY_PART_H

#include "app/parts/process.h"
#include "relay/relay.h"

struct relay_part {
    struct part part;
    struct relay relay;
    struct relay_config config;
};

// Where its settings come from; the words of a command line stand above the source.
struct relay_part_options {
    const struct conf_source *source;
    const char *listen;  // "ADDR:PORT" or NULL
    const char *workers; // or NULL
    bool own_platform;   // see relay_config_load
};

// Reads and checks the configuration; part is zeroed before. Says on standard error what is wrong
// and returns the exit code, EXIT_FINE when it can run.
int relay_part_init(struct relay_part *part, const struct relay_part_options *options,
    struct conf_problems *problems);
void relay_part_fini(struct relay_part *part);

#endif
