// SPDX-License-Identifier: Apache-2.0
// The configuration of `weir platform`: the section "platform" of a YAML file, and variables above
// it. The rows are in config.def.
#ifndef WEIR_PLATFORM_CONFIG_H
#define WEIR_PLATFORM_CONFIG_H

#include "conf/conf.h"

struct platform_config {
#define KEY(field, type, ...) CONF_FIELD_##type field;
#include "platform/config.def"
#undef KEY
};

#define PLATFORM_VARIABLE_PREFIX "WEIR_PLATFORM_"

struct platform_config_source {
    const char *path; // of the file; NULL: variables alone
    const struct conf_source *variables;
    char *const *environment; // "NAME=value", ended by NULL, searched for unknown keys; or NULL
};

// Reads the section and the variables and collects all problems; with an error among them the
// configuration must not be used. It is to be freed in any case, also after WEIR_MEMORY, the only
// other result. set, when not NULL, has room for all rows and says which were given.
enum weir_result platform_config_load(const struct platform_config_source *source,
    struct platform_config *ret_config, bool *set, struct conf_problems *problems) WEIR_MUST_CHECK;
void platform_config_free(struct platform_config *config);
const struct conf_row *platform_config_rows(size_t *ret_count);

// Appends the manual of all keys, Markdown: docs/reference/platform-configuration.md.
void platform_config_manual(struct buf *out);
// Appends the effective values as YAML, secrets hidden.
void platform_config_print(const struct platform_config *config, const bool *set, struct buf *out);

#endif
