// SPDX-License-Identifier: Apache-2.0
// The commands of this room.
#ifndef WEIR_CLI_COMMANDS_H
#define WEIR_CLI_COMMANDS_H

#include "cli/command.h"

extern const struct command command_forward;
extern const struct command command_tunnels;
extern const struct command command_clients;
extern const struct command command_events;
extern const struct command command_doctor;
extern const struct command command_context;
extern const struct command command_run;
extern const struct command command_inspect;
extern const struct command command_dial;
extern const struct command command_nc;
extern const struct command command_completion;
extern const struct command command_help;

// The tree that completions and manual pages are made of.
void command_set_root(const struct command *root);
const struct command *command_root(void);

#endif
