// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <string.h>

#include "app/command.h"
#include "app/parts/relay_part.h"
#include "app/sandbox.h"
#include "base/mem.h"

enum { OPTION_WORKERS, OPTION_LISTEN, OPTION_VERSION, OPTION_USER, OPTION_NO_SANDBOX, OPTION_COUNT };

static const struct option_row options[] = {
    [OPTION_WORKERS] = {"--workers", "N", "threads that carry connections (WEIR_WORKERS)"},
    [OPTION_LISTEN] = {"--listen", "ADDR:PORT", "where to listen (RELAY_LISTEN_HOST, _PORT)"},
    [OPTION_VERSION] = {"--version", NULL, "print the version", .alias = "-v"},
    [OPTION_USER] = SANDBOX_ROW_USER,
    [OPTION_NO_SANDBOX] = SANDBOX_ROW_OFF,
    [OPTION_COUNT] = {NULL, NULL, NULL},
};

static int run_relay(const char *const *values)
{
    struct conf_problems problems;
    struct relay_part *relay = mem_zalloc(sizeof *relay);
    if (relay == NULL) {
        fputs("weir: out of memory\n", stderr);
        return EXIT_FAILED;
    }
    conf_problems_init(&problems);
    int exit_code = relay_part_init(relay,
        &(struct relay_part_options){
            .source = &conf_environment,
            .listen = values[OPTION_LISTEN],
            .workers = values[OPTION_WORKERS],
        },
        &problems);
    if (exit_code == EXIT_FINE) {
        exit_code = process_run(&(struct process_options){
            .parts = (struct part *[]){&relay->part},
            .part_count = 1,
            .workers = relay->config.workers,
            .max_logs = relay->config.max_logs,
            .problems = &problems,
        });
    }
    conf_problems_fini(&problems);
    relay_part_fini(relay);
    mem_free(relay);
    return exit_code;
}

static int run(const struct command *command, int argc, char **argv)
{
    const char *values[OPTION_COUNT] = {NULL};
    int count;
    int exit_code;
    if (!command_parse(command, argc, argv, values, &count, &exit_code)) {
        return exit_code;
    }
    if (values[OPTION_VERSION] != NULL) {
        puts(WEIR_VERSION);
        return EXIT_FINE;
    }
    if (count > 0) {
        fprintf(stderr, "weir relay: \"%s\" is not understood; see weir relay --help\n", argv[0]);
        return EXIT_USAGE;
    }
    exit_code = sandbox_begin(values[OPTION_USER], values[OPTION_NO_SANDBOX]);
    return exit_code == EXIT_FINE ? run_relay(values) : exit_code;
}

static const struct command *const children[] = {&command_demo, &command_relay_health, NULL};

const struct command command_relay = {
    .name = "relay",
    .summary = "Run the relay. It is configured by environment variables: weir config reference "
               "relay",
    .usage = "[demo|health]",
    .options = options,
    .run = run,
    .children = children,
};
