// SPDX-License-Identifier: Apache-2.0
#include "app/engine_command.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/command.h"
#include "base/mem.h"

#define PRINT_BYTES_MAX (1024 * 1024)

struct engine_config_source engine_command_source(const char *file)
{
    const char *named = getenv(ENGINE_VARIABLE_PREFIX "CONFIG");
    if (file == NULL && named != NULL && named[0] != '\0') {
        file = named;
    }
    return (struct engine_config_source){
        .path = file,
        .variables = &conf_environment,
        .environment = environ,
    };
}

static int print_values(const struct engine_config *config, const bool *set)
{
    struct buf out = BUF_INIT(PRINT_BYTES_MAX);
    engine_config_print(config, set, &out);
    const char *text = buf_text(&out);
    bool ok = text != NULL && !out.failed && fputs(text, stdout) >= 0;
    buf_reset(&out);
    return ok ? EXIT_FINE : EXIT_FAILED;
}

// Loads, and says what is wrong; with print the effective values follow, even of a file with
// mistakes.
static int look_at(const char *file, bool print)
{
    struct engine_config_source source = engine_command_source(file);
    struct conf_problems problems;
    struct engine_config config;
    size_t count;
    engine_config_rows(&count);
    bool *set = mem_zalloc(count * sizeof *set);
    conf_problems_init(&problems);
    bool ok = set != NULL && engine_config_load(&source, &config, set, &problems) == WEIR_OK;
    int exit_code = EXIT_FAILED;
    if (ok) {
        exit_code = command_print_problems(&problems) ? EXIT_FINE : EXIT_CONFIG;
    } else {
        fputs("weir: out of memory\n", stderr);
    }
    if (ok && print && print_values(&config, set) != EXIT_FINE) {
        exit_code = EXIT_FAILED;
    } else if (exit_code == EXIT_FINE && !print) {
        puts("engine: fine");
    }
    if (set != NULL) {
        engine_config_free(&config);
    }
    conf_problems_fini(&problems);
    mem_free(set);
    return exit_code;
}

int engine_command_check(const char *file)
{
    return look_at(file, false);
}

int engine_command_print(const char *file)
{
    return look_at(file, true);
}

// ---- rstream-engine-ce

enum { OPTION_FILE, OPTION_COUNT };

static const struct option_row check_options[] = {
    [OPTION_FILE] = {"--config", "FILE", "to check (RSTREAM_ENGINE_CONFIG)",
        .alias = "-c", .flags = OPTION_PATH},
    [OPTION_COUNT] = {NULL, NULL, NULL},
};

static int run_check(const struct command *command, int argc, char **argv)
{
    const char *values[OPTION_COUNT] = {NULL};
    int count;
    int exit_code;
    if (!command_parse(command, argc, argv, values, &count, &exit_code)) {
        return exit_code;
    }
    if (count > 0) {
        fprintf(stderr, ENGINE_CE_NAME ": \"%s\" is not understood\n", argv[0]);
        return EXIT_USAGE;
    }
    return engine_command_check(values[OPTION_FILE]);
}

static const struct command command_check = {
    .name = "engine check",
    .summary = "Find every mistake of a configuration",
    .usage = "",
    .options = check_options,
    .run = run_check,
};

int engine_command_ce(int argc, char **argv)
{
    if (argc > 0 && strcmp(argv[0], "check") == 0) {
        return command_check.run(&command_check, argc - 1, argv + 1);
    }
    if (argc > 1 && strcmp(argv[0], "token") == 0 && strcmp(argv[1], "create") == 0) {
        return command_token_engine.run(&command_token_engine, argc - 2, argv + 2);
    }
    if (argc > 0 && strcmp(argv[0], "version") == 0) {
        puts(WEIR_VERSION);
        return EXIT_FINE;
    }
    return command_engine.run(&command_engine, argc, argv);
}
