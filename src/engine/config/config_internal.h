// SPDX-License-Identifier: Apache-2.0
// Shared by config.c, config_rules.c and config_certs.c, and nobody else.
#ifndef WEIR_ENGINE_CONFIG_INTERNAL_H
#define WEIR_ENGINE_CONFIG_INTERNAL_H

#include "engine/config/config.h"

enum engine_config_row {
#define KEY(field, ...) ROW_##field,
#include "engine/config/config.def"
#undef KEY
    ROW_COUNT
};

extern const struct conf_row engine_config_table[ROW_COUNT];

struct config_loading {
    struct engine_config *config;
    const struct conf_file *file;
    struct conf_problems *problems;
    bool set[ROW_COUNT];
    bool out_of_memory;
};

// The rules over values and several keys; sets out_of_memory.
void engine_config_rules_apply(struct config_loading *loading);

// Looks at a pair of PEM files: readable, a chain, a key, and belonging together. config, when not
// NULL, has the host that this certificate and those of extensions.certs should cover; when none
// does, that is a warning, as is a certificate that is out of date. The labels are what lines about the two begin with.
void engine_config_certs_check(const char *cert_file, const char *cert_label, const char *key_file,
    const char *key_label, const struct engine_config *config, struct conf_problems *problems);

#endif
