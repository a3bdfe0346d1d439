// SPDX-License-Identifier: Apache-2.0
// weir run: publish what a file declares.
#include <stdio.h>

#include "cli/commands.h"
#include "cli/faults.h"
#include "cli/runner.h"
#include "sys/clock.h"

enum {
    OPTION_APPLY = PROFILE_OPTION_COUNT,
    OPTION_CHECK,
    OPTION_WATCH,
    OPTION_JSON,
    OPTION_INSPECT,
    OPTION_INSPECT_SECRETS,
    OPTION_INSPECT_ANYWHERE,
    OPTION_DOCKER,
    OPTION_COUNT
};

static const struct option_row options[] = {
    PROFILE_OPTION_ROWS,
    [OPTION_APPLY] = {"--apply", "FILE", "the tunnels", .alias = "-c", .flags = OPTION_PATH},
    [OPTION_CHECK] = {"--check", NULL, "only say whether the file can be used"},
    [OPTION_WATCH] = {"--watch", NULL, "follow changes of the file (SIGHUP does it once)"},
    [OPTION_JSON] = {"--json", NULL, "a JSON object for each change"},
    INSPECT_OPTION_ROWS(OPTION_INSPECT, OPTION_INSPECT_SECRETS, OPTION_INSPECT_ANYWHERE),
    [OPTION_DOCKER] = {"--docker", NULL, "tunnels by labels of containers: not there yet"},
    [OPTION_COUNT] = {NULL},
};

static int load_and_run(const char *const *values)
{
    const struct profile_ask ask = profile_ask_of(values);
    const struct runner_options runner = {
        .path = values[OPTION_APPLY],
        .ask = &ask,
        .variables = &conf_environment,
        .inspect = values[OPTION_INSPECT],
        .inspect_secrets = values[OPTION_INSPECT_SECRETS] != NULL,
        .inspect_anywhere = values[OPTION_INSPECT_ANYWHERE] != NULL,
        .watch = values[OPTION_WATCH] != NULL,
        .json = values[OPTION_JSON] != NULL,
    };
    struct run_plan plan;
    struct conf_problems problems;
    bool only_check = values[OPTION_CHECK] != NULL;
    if (only_check) {
        faults_arm(); // otherwise the loop does
    }
    conf_problems_init(&problems);
    bool good = run_plan_load(runner.path, &ask, runner.variables, sys_wall_ms(), &plan, &problems);
    good = command_print_problems(&problems) && good;
    conf_problems_fini(&problems);
    int exit_code = good ? EXIT_FINE : EXIT_CONFIG;
    if (good && only_check) {
        printf("%s: fine, %zu tunnel%s\n", runner.path, plan.file.tunnel_count,
            plan.file.tunnel_count == 1 ? "" : "s");
    } else if (good) {
        exit_code = runner_run(&runner, &plan);
    }
    run_plan_close(&plan);
    if (only_check) {
        faults_report();
    }
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
    if (values[OPTION_DOCKER] != NULL) {
        command_complain(
            command, "--docker is not there; write the tunnels into a file for --apply");
        return EXIT_USAGE;
    }
    if (count > 0 || values[OPTION_APPLY] == NULL) {
        command_complain(command, "it wants a file: --apply FILE");
        return EXIT_USAGE;
    }
    return load_and_run(values);
}

static const struct command_example examples[] = {
    {"run -c tunnels.yml --check", "say everything that is wrong with the file"},
    {"run -c tunnels.yml --watch", "publish it, and follow its changes"},
    {NULL},
};

const struct command command_run = {
    .name = "run",
    .summary = "Publish the tunnels a file declares",
    .usage = "-c FILE",
    .options = options,
    .run = run,
    .examples = examples,
};
