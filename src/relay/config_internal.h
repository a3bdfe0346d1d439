// SPDX-License-Identifier: Apache-2.0
// Shared by config.c and config_rules.c, and nobody else.
#ifndef WEIR_RELAY_CONFIG_INTERNAL_H
#define WEIR_RELAY_CONFIG_INTERNAL_H

#include "relay/config.h"

enum config_row {
#define KEY(field, ...) ROW_##field,
#include "relay/config.def"
#undef KEY
    ROW_COUNT
};

struct config_loading {
    struct relay_config *config;
    const struct conf_source *source;
    struct conf_problems *problems;
    const uint8_t *random;
    bool own_platform;
    bool set[ROW_COUNT];
    bool out_of_memory;
};

// The rules over several variables; sets out_of_memory.
void config_rules_apply(struct config_loading *loading);

#endif
