// SPDX-License-Identifier: Apache-2.0
// The reference has a command of this name that does nothing: people look for it.
#include "cli/commands.h"

static const struct option_row options[] = {{NULL}};

static int run(const struct command *command, int argc, char **argv)
{
    int count;
    int exit_code;
    if (!command_parse(command, argc, argv, NULL, &count, &exit_code)) {
        return exit_code;
    }
    command_complain(command,
        "what passes is shown by whoever forwards it: %s forward --inspect, or run --inspect",
        command_program());
    return EXIT_USAGE;
}

const struct command command_inspect = {
    .name = "inspect",
    .summary = "Say how to look at what passes: forward --inspect",
    .usage = "",
    .options = options,
    .run = run,
};
