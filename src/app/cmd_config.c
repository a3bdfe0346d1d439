// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <string.h>

#include "app/command.h"
#include "app/engine_command.h"
#include "app/platform_setup.h"
#include "app/up/up_file.h"
#include "engine/config/config.h"
#include "engine/metrics/engine_metrics.h"
#include "health/api/metrics_page.h"
#include "health/registry/registry.h"
#include "obs/metrics.h"
#include "platform/platform_metrics.h"
#include "relay/config.h"

#define MANUAL_BYTES_MAX (1024 * 1024)

enum { OPTION_FILE, OPTION_COUNT };

static const struct option_row options[] = {
    [OPTION_FILE] = {"--config", "FILE", "of the engine (RSTREAM_ENGINE_CONFIG), or of up",
        .alias = "-c", .flags = OPTION_PATH},
    [OPTION_COUNT] = {NULL, NULL, NULL},
};

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

static int print(void (*write)(struct buf *out))
{
    struct buf manual;
    buf_init(&manual, MANUAL_BYTES_MAX);
    write(&manual);
    const char *text = buf_text(&manual);
    bool ok = text != NULL && !manual.failed && fputs(text, stdout) >= 0;
    buf_reset(&manual);
    return ok ? EXIT_FINE : EXIT_FAILED;
}

static int reference_relay(const char *file)
{
    (void)file;
    return print(relay_config_manual);
}

static int reference_metrics(const char *file)
{
    (void)file;
    return print(write_metrics);
}

static int reference_engine(const char *file)
{
    (void)file;
    return print(engine_config_manual);
}

static int reference_engine_metrics(const char *file)
{
    (void)file;
    return print(engine_metrics_manual);
}

static int reference_health(const char *file)
{
    (void)file;
    return print(registry_manual);
}

static int reference_health_metrics(const char *file)
{
    (void)file;
    return print(metrics_page_manual);
}

static int reference_up(const char *file)
{
    (void)file;
    return print(up_file_manual);
}

static int reference_platform(const char *file)
{
    (void)file;
    return print(platform_config_manual);
}

static int reference_platform_metrics(const char *file)
{
    (void)file;
    return print(platform_metrics_manual);
}

// The relay's environment, looked at as `weir relay` would.
static int check_relay(const char *file)
{
    struct conf_problems problems;
    struct relay_config config;
    const uint8_t random[6] = {0};
    (void)file;
    conf_problems_init(&problems);
    bool ok = relay_config_load(&conf_environment, random, false, &config, &problems) == WEIR_OK;
    ok = command_print_problems(&problems) && ok;
    if (ok) {
        puts("relay: fine");
    }
    conf_problems_fini(&problems);
    relay_config_free(&config);
    return ok ? EXIT_FINE : EXIT_CONFIG;
}

static const struct {
    const char *verb;
    const char *subject;
    int (*run)(const char *file);
} actions[] = {
    {"reference", "relay", reference_relay},
    {"reference", "engine", reference_engine},
    {"reference", "metrics", reference_metrics},
    {"reference", "engine-metrics", reference_engine_metrics},
    {"reference", "health", reference_health},
    {"reference", "health-metrics", reference_health_metrics},
    {"reference", "up", reference_up},
    {"reference", "platform", reference_platform},
    {"reference", "platform-metrics", reference_platform_metrics},
    {"check", "relay", check_relay},
    {"check", "platform", platform_setup_check},
    {"print", "platform", platform_setup_print},
    {"check", "up", up_command_check},
    {"check", "engine", engine_command_check},
    {"print", "engine", engine_command_print},
};
#define ACTION_COUNT (sizeof actions / sizeof actions[0])

static int run(const struct command *command, int argc, char **argv)
{
    const char *values[OPTION_COUNT] = {NULL};
    int count;
    int exit_code;
    if (!command_parse(command, argc, argv, values, &count, &exit_code)) {
        return exit_code;
    }
    const char *file = values[OPTION_FILE];
    for (size_t i = 0; count == 2 && i < ACTION_COUNT; i++) {
        if (strcmp(argv[0], actions[i].verb) == 0 && strcmp(argv[1], actions[i].subject) == 0) {
            return actions[i].run(file);
        }
    }
    fputs("weir config: allowed:", stderr);
    for (size_t i = 0; i < ACTION_COUNT; i++) {
        fprintf(stderr, "%s %s %s", i == 0 ? "" : ",", actions[i].verb, actions[i].subject);
    }
    fputs("\n", stderr);
    return EXIT_USAGE;
}

const struct command command_config = {
    .name = "config",
    .summary = "Print the manual of all settings, check the ones that are set, or print what is in "
               "effect",
    .usage = "reference relay|engine|health|platform|up|metrics|engine-metrics|health-metrics|"
             "platform-metrics, check relay|engine|platform|up, print engine|platform",
    .options = options,
    .run = run,
    .words = "reference(relay,engine,health,platform,up,metrics,engine-metrics,health-metrics,"
             "platform-metrics)|check(relay,engine,platform,up)|print(engine,platform)",
};
