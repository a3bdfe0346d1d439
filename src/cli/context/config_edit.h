// SPDX-License-Identifier: Apache-2.0
// Changes the agent's configuration file: as JSON in memory, back as YAML. The file is replaced as
// a whole under a lock, mode 0600, and only by what config_parse would read again. Comments and
// order of style are not kept; what a context holds beyond what we know is.
#ifndef WEIR_CLI_CONFIG_EDIT_H
#define WEIR_CLI_CONFIG_EDIT_H

#include <jansson.h>

#include "cli/context/config.h"

// Values as YAML's core schema has them; NULL without memory.
json_t *config_to_json(const struct yml_node *node) WEIR_MUST_CHECK;
// Appends a value as YAML in block style.
void config_write_yaml(const json_t *value, struct buf *out);

// Changes the whole document, an object. False: problems->errors says why nothing is changed.
typedef bool config_change_fn(json_t *root, void *arg, struct conf_problems *problems);
// False: nothing was changed, and problems->errors says why.
bool config_change(
    const char *path, config_change_fn *change, void *arg, struct conf_problems *problems);

// A copy of a context in which secrets are hidden; NULL without memory.
json_t *config_without_secrets(const json_t *context) WEIR_MUST_CHECK;

#endif
