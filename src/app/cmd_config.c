// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <string.h>

#include "app/command.h"
#include "obs/metrics.h"
#include "relay/config.h"

#define MANUAL_BYTES_MAX (1024 * 1024)

static const struct option_row options[] = {{NULL, NULL, NULL}};

static void write_metrics(struct buf *out)
{
    struct metrics_row row;
    buf_append_str(out,
        "# Metrics of the relay\n\n`GET /metrics` serves them in Prometheus' text format, or as "
        "OpenMetrics when the scraper asks for it.\nEvery series exists from the start, at 0.\n"
        "This page is the output of `weir config reference metrics`.\n\n"
        "| name | type | label | meaning |\n|---|---|---|---|\n");
    for (size_t i = 0; metrics_row_at(i, &row); i++) {
        buf_printf(out, "| `%s` | %s | %s | %s |\n", row.name, prometheus_type_name(row.type),
            row.label, row.help);
    }
}

static int print_reference(void (*write)(struct buf *out))
{
    struct buf manual;
    buf_init(&manual, MANUAL_BYTES_MAX);
    write(&manual);
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
        return print_reference(relay_config_manual);
    }
    if (count == 2 && strcmp(argv[0], "reference") == 0 && strcmp(argv[1], "metrics") == 0) {
        return print_reference(write_metrics);
    }
    if (relay && strcmp(argv[0], "check") == 0) {
        return check();
    }
    fprintf(stderr, "weir config: allowed: reference relay, reference metrics, check relay\n");
    return EXIT_USAGE;
}

const struct command command_config = {
    .name = "config",
    .summary = "Print the manual of all variables, or check the ones that are set",
    .usage = "reference relay|metrics, check relay",
    .options = options,
    .run = run,
};
