// SPDX-License-Identifier: Apache-2.0
// The commands of the binary.
#ifndef WEIR_APP_COMMAND_H
#define WEIR_APP_COMMAND_H

#include "cli/command.h"
#include "cli/commands.h"

// Under the name "weir", and under "rstream" (the agent's command line, spec section 11).
extern const struct command command_weir;
extern const struct command command_rstream;

extern const struct command command_relay;
extern const struct command command_demo;
extern const struct command command_relay_health;
extern const struct command command_up;
extern const struct command command_init;
extern const struct command command_platform;
extern const struct command command_token;
extern const struct command command_config;
extern const struct command command_health;
extern const struct command command_engine;
// What `weir up -c FILE` would say about the file (NULL: weir.yml); an exit code.
int up_command_check(const char *path);
extern const struct command command_token_engine;     // "token engine"
extern const struct command command_token_credential; // "token credential"

#endif
