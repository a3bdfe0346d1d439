// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <string.h>

#include "app/cmd_portoser.h"
#include "app/command.h"
#include "app/engine_command.h"
#include "obs/crash.h"
#include "sys/process.h"

static const struct command *const commands[] = {
    &command_up,
    &command_relay,
    &command_engine,
    &command_health,
    &command_token,
    &command_config,
};

static void print_help(FILE *out)
{
    fprintf(out, "weir " WEIR_VERSION ": relay, tunnel engine and health monitor for the self-hosted edge\n\n");
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        fprintf(out, "  weir %-10s %s\n", commands[i]->name, commands[i]->summary);
    }
    fprintf(out, "  weir relay demo  %s\n\nweir COMMAND --help tells more\n",
        command_demo.summary);
}

static bool is_one_of(const char *text, const char *a, const char *b, const char *c)
{
    return strcmp(text, a) == 0 || strcmp(text, b) == 0 || strcmp(text, c) == 0;
}

int main(int argc, char **argv)
{
    sys_hold_standard_descriptors();
    crash_install();
    const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
    if (argc > 0 && strcmp(slash == NULL ? argv[0] : slash + 1, ENGINE_CE_NAME) == 0) {
        return engine_command_ce(argc - 1, argv + 1);
    }
    if (argc > 0 && strcmp(slash == NULL ? argv[0] : slash + 1, PORTOSER_NAME) == 0) {
        return cmd_portoser(argc - 1, argv + 1);
    }
    if (argc < 2 || is_one_of(argv[1], "--help", "-h", "help")) {
        print_help(argc < 2 ? stderr : stdout);
        return argc < 2 ? EXIT_USAGE : EXIT_FINE;
    }
    if (is_one_of(argv[1], "--version", "-v", "version")) {
        puts(WEIR_VERSION);
        return EXIT_FINE;
    }
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(argv[1], commands[i]->name) == 0) {
            return commands[i]->run(commands[i], argc - 2, argv + 2);
        }
    }
    fprintf(stderr, "weir: there is no command \"%s\"; see weir --help\n", argv[1]);
    return EXIT_USAGE;
}
