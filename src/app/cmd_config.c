// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <string.h>

#include "app/command.h"
#include "relay/config.h"

#define MANUAL_BYTES_MAX (1024 * 1024)

static const struct option_row options[] = {{NULL, NULL, NULL}};

static int print_reference(void)
{
    struct buf manual;
    buf_init(&manual, MANUAL_BYTES_MAX);
    relay_config_manual(&manual);
    const char *text = buf_text(&manual);
    bool ok = text != NULL && !manual.failed && fputs(text, stdout) >= 0;
    buf_reset(&manual);
    return ok ? EXIT_FINE : EXIT_FAILED;
}

// The relay's environment, looked at as `weir relay` would.
static int check(void)
{
    struct conf_problems problems;
    struct relay_config config;
    const uint8_t random[6] = {0};
    conf_problems_init(&problems);
    bool ok = relay_config_load(&conf_environment, random, &config, &problems) == WEIR_OK;
    const char *warnings = buf_text(&problems.warnings);
    const char *errors = buf_text(&problems.errors);
    ok = ok && warnings != NULL && errors != NULL && problems.errors.len == 0;
    fputs(warnings == NULL ? "" : warnings, stderr);
    fputs(errors == NULL ? "" : errors, stderr);
    if (ok) {
        puts("relay: fine");
    }
    conf_problems_fini(&problems);
    relay_config_free(&config);
    return ok ? EXIT_FINE : EXIT_CONFIG;
}

static int run(const struct command *command, int argc, char **argv)
{
    const char *values[1] = {NULL};
    int count;
    int exit_code;
    if (!command_parse(command, argc, argv, values, &count, &exit_code)) {
        return exit_code;
    }
    bool relay = count == 2 && strcmp(argv[1], "relay") == 0;
    if (relay && strcmp(argv[0], "reference") == 0) {
        return print_reference();
    }
    if (relay && strcmp(argv[0], "check") == 0) {
        return check();
    }
    fprintf(stderr, "weir config: allowed: reference relay, check relay\n");
    return EXIT_USAGE;
}

const struct command command_config = {
    .name = "config",
    .summary = "Print the manual of all variables, or check the ones that are set",
    .usage = "reference|check relay",
    .options = options,
    .run = run,
};
