// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <string.h>

#include "app/command.h"
#include "app/engine_command.h"
#include "app/parts/engine_part.h"
#include "app/sandbox.h"
#include "base/mem.h"

#define LOG_LINES_KEPT 1000

enum { OPTION_FILE, OPTION_WORKERS, OPTION_LISTEN, OPTION_VERSION, OPTION_USER, OPTION_NO_SANDBOX, OPTION_COUNT };

static const struct option_row options[] = {
    [OPTION_FILE] = {"--config", "FILE", "the configuration (RSTREAM_ENGINE_CONFIG)",
        .alias = "-c", .flags = OPTION_PATH},
    [OPTION_WORKERS] = {"--workers", "N", "threads that carry connections (workers, WEIR_WORKERS)"},
    [OPTION_LISTEN] = {"--listen", "ADDR:PORT", "where to listen (tls.listen_addr); port 0: any"},
    [OPTION_VERSION] = {"--version", NULL, "print the version", .alias = "-v"},
    [OPTION_USER] = SANDBOX_ROW_USER,
    [OPTION_NO_SANDBOX] = SANDBOX_ROW_OFF,
    [OPTION_COUNT] = {NULL, NULL, NULL},
};

// The first sentence; the manual has them all.
static int first_sentence(const char *meaning)
{
    const char *end = strpbrk(meaning, ".;");
    while (end != NULL && end[1] != ' ' && end[1] != '\0') {
        end = strpbrk(end + 1, ".;");
    }
    return end == NULL ? (int)strlen(meaning) : (int)(end - meaning);
}

static void print_keys(void)
{
    size_t count;
    const struct conf_row *rows = engine_config_rows(&count);
    puts("\nkeys of the file, their defaults (*: required), and what they say; as a variable\n"
         "tls.listen_addr is " ENGINE_VARIABLE_PREFIX "TLS__LISTEN_ADDR:");
    for (size_t i = 0; i < count; i++) {
        bool required = (rows[i].flags & CONF_REQUIRED) != 0;
        const char *fallback = rows[i].fallback == NULL ? "-" : rows[i].fallback;
        printf("  %-36s %-14s %.*s\n", rows[i].name, required ? "*" : fallback,
            first_sentence(rows[i].meaning), rows[i].meaning);
    }
}

static int run_engine(const char *const *values)
{
    struct conf_problems problems;
    struct engine_part *engine = mem_zalloc(sizeof *engine);
    if (engine == NULL) {
        fputs("weir: out of memory\n", stderr);
        return EXIT_FAILED;
    }
    conf_problems_init(&problems);
    int exit_code = engine_part_init(engine,
        &(struct engine_part_options){
            .source = engine_command_source(values[OPTION_FILE]),
            .listen = values[OPTION_LISTEN],
            .workers = values[OPTION_WORKERS],
        },
        &problems);
    if (exit_code == EXIT_FINE) {
        exit_code = process_run(&(struct process_options){
            .parts = (struct part *[]){&engine->part},
            .part_count = 1,
            .workers = engine_part_config(engine)->workers,
            .max_logs = LOG_LINES_KEPT,
            .problems = &problems,
        });
    }
    conf_problems_fini(&problems);
    engine_part_fini(engine);
    mem_free(engine);
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
        fprintf(stderr, "weir engine: \"%s\" is not understood; see weir engine --help\n", argv[0]);
        return EXIT_USAGE;
    }
    exit_code = sandbox_begin(values[OPTION_USER], values[OPTION_NO_SANDBOX]);
    return exit_code == EXIT_FINE ? run_engine(values) : exit_code;
}

const struct command command_engine = {
    .name = "engine",
    .summary = "Run the tunnel engine. Its file and variables: weir config reference engine",
    .usage = "",
    .options = options,
    .run = run,
    .print_more = print_keys,
};
