// SPDX-License-Identifier: Apache-2.0
// Manual pages and completions of shells, from the tables of the commands.
#ifndef WEIR_CLI_MANUAL_H
#define WEIR_CLI_MANUAL_H

#include "base/buf.h"
#include "cli/command.h"

// "weir-token-engine" of "token engine"; "weir" of the root.
#define MANUAL_NAME_SIZE 128
void manual_name(const struct command *command, char name[MANUAL_NAME_SIZE]);
// Appends a page in man(7)'s language.
void manual_write(const struct command *root, const struct command *command, struct buf *out);

// Appends a script for "bash", "zsh" or "fish". False: it is none of them.
bool completion_write(const struct command *root, const char *shell, struct buf *out);

#endif
