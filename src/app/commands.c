// SPDX-License-Identifier: Apache-2.0
// The trees of commands: the program's own, and the agent's under the name "rstream", whose command
// line existing scripts have.
#include <stdio.h>

#include "app/command.h"

static int run_version(const struct command *command, int argc, char **argv)
{
    int count;
    int exit_code;
    if (!command_parse(command, argc, argv, NULL, &count, &exit_code)) {
        return exit_code;
    }
    puts(WEIR_VERSION);
    return EXIT_FINE;
}

static const struct command command_version = {
    .name = "version",
    .summary = "Print the version",
    .run = run_version,
};

static const struct command *const commands[] = {
    &command_init,
    &command_up,
    &command_relay,
    &command_platform,
    &command_engine,
    &command_health,
    &command_forward,
    &command_run,
    &command_dial,
    &command_nc,
    &command_tunnels,
    &command_clients,
    &command_events,
    &command_doctor,
    &command_context,
    &command_token,
    &command_config,
    &command_completion,
    &command_help,
    &command_version,
    NULL,
};

const struct command command_weir = {
    .name = "",
    .summary =
        "weir " WEIR_VERSION ": relay, tunnel engine and health monitor for the self-hosted edge",
    .usage = "COMMAND",
    .children = commands,
};

static const struct command *const agent_commands[] = {
    &command_forward,
    &command_run,
    &command_dial,
    &command_nc,
    &command_inspect,
    &command_tunnels,
    &command_clients,
    &command_events,
    &command_doctor,
    &command_context,
    &command_completion,
    &command_help,
    &command_version,
    NULL,
};

const struct command command_rstream = {
    .name = "",
    .summary = "weir " WEIR_VERSION ": the agent's command line",
    .usage = "COMMAND",
    .children = agent_commands,
};
