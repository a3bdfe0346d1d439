// SPDX-License-Identifier: Apache-2.0
// weir run: publish what a file declares.
#include <stdio.h>

#include "cli/commands.h"
#include "cli/faults.h"
#include "cli/run/docker.h"
#include "cli/run/runner.h"
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
    OPTION_DOCKER_SOCKET,
    OPTION_DOCKER_NETWORK,
    OPTION_DOCKER_CONTEXT,
    OPTION_DOCKER_LABELS,
    OPTION_COUNT
};

static const struct option_row options[] = {
    PROFILE_OPTION_ROWS,
    [OPTION_APPLY] = {"--apply", "FILE", "the tunnels", .alias = "-c", .flags = OPTION_PATH},
    [OPTION_CHECK] = {"--check", NULL, "only say whether the file can be used"},
    [OPTION_WATCH] = {"--watch", NULL, "follow changes of the file, or of the containers"},
    [OPTION_JSON] = {"--json", NULL, "a JSON object for each change"},
    INSPECT_OPTION_ROWS(OPTION_INSPECT, OPTION_INSPECT_SECRETS, OPTION_INSPECT_ANYWHERE),
    [OPTION_DOCKER] = {"--docker", NULL, "the tunnels that labels of containers declare"},
    [OPTION_DOCKER_SOCKET] = {"--docker-socket", "PATH",
        "where Docker listens (" DOCKER_SOCKET ")"},
    [OPTION_DOCKER_NETWORK] = {"--docker-network", "NAME",
        "the network that containers are reached in"},
    [OPTION_DOCKER_CONTEXT] = {"--docker-default-context", "NAME", "of containers that name none"},
    [OPTION_DOCKER_LABELS] = {"--docker-allow-context-labels", NULL, "containers may name one"},
    [OPTION_COUNT] = {NULL},
};

static struct runner_options runner_options_of(
    const char *const *values, const struct profile_ask *ask)
{
    return (struct runner_options){
        .path = values[OPTION_APPLY],
        .ask = ask,
        .variables = &conf_environment,
        .inspect = values[OPTION_INSPECT],
        .inspect_secrets = values[OPTION_INSPECT_SECRETS] != NULL,
        .inspect_anywhere = values[OPTION_INSPECT_ANYWHERE] != NULL,
        .watch = values[OPTION_WATCH] != NULL,
        .json = values[OPTION_JSON] != NULL,
    };
}

static int run_containers(const char *const *values)
{
    const struct profile_ask ask = profile_ask_of(values);
    const struct docker_rules rules = {
        .network = values[OPTION_DOCKER_NETWORK],
        .default_context = values[OPTION_DOCKER_CONTEXT],
        .allow_contexts = values[OPTION_DOCKER_LABELS] != NULL,
        .ask = &ask,
        .variables = &conf_environment,
    };
    struct runner_options runner = runner_options_of(values, &ask);
    struct run_plan nothing = {0};
    const char *socket = values[OPTION_DOCKER_SOCKET];
    runner.docker = socket == NULL ? DOCKER_SOCKET : socket;
    runner.rules = &rules;
    return runner_run(&runner, &nothing);
}

static int load_and_run(const char *const *values)
{
    const struct profile_ask ask = profile_ask_of(values);
    const struct runner_options runner = runner_options_of(values, &ask);
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
    bool docker = values[OPTION_DOCKER] != NULL;
    if (count > 0 || docker == (values[OPTION_APPLY] != NULL)) {
        command_complain(command, "it wants a file, --apply FILE, or --docker");
        return EXIT_USAGE;
    }
    if (docker && values[OPTION_CHECK] != NULL) {
        command_complain(command, "--check is for a file");
        return EXIT_USAGE;
    }
    return docker ? run_containers(values) : load_and_run(values);
}

static const struct command_example examples[] = {
    {"run -c tunnels.yml --check", "say everything that is wrong with the file"},
    {"run -c tunnels.yml --watch", "publish it, and follow its changes"},
    {"run --docker --watch", "publish what labels of containers declare, as they come and go"},
    {NULL},
};

const struct command command_run = {
    .name = "run",
    .summary = "Publish the tunnels a file declares",
    .usage = "-c FILE | --docker",
    .options = options,
    .run = run,
    .examples = examples,
};
