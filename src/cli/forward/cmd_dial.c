// SPDX-License-Identifier: Apache-2.0
// weir dial, and nc under which scripts of the reference know it (spec engine, section 11.4).
#include <stdio.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/commands.h"
#include "cli/forward/dialer.h"
#include "cli/forward/joiner.h"
#include "cli/forward/program_server.h"
#include "cli/run/runner.h"
#include "conf/conf.h"
#include "sys/clock.h"

#define OPEN_TIMEOUT_MS 10000

// ---- dial

enum { DIAL_LISTEN = PROFILE_OPTION_COUNT, DIAL_COUNT };

static const struct option_row dial_options[] = {
    PROFILE_OPTION_ROWS,
    [DIAL_LISTEN] = {"--listen", "ADDR:PORT",
        "a stream for each connection to this port, instead of standard input and output; "
        "a PORT alone is at 127.0.0.1",
        .alias = "-L"},
    [DIAL_COUNT] = {NULL},
};

static int dial(const struct command *command, const char *const *values, const char *target,
    const char *listen)
{
    struct sys_address address;
    struct profile profile;
    if (listen != NULL && !dialer_parse_listen(listen, &address)) {
        command_complain(
            command, "\"%s\" is no place to listen; allowed: PORT, ADDRESS:PORT", listen);
        return EXIT_USAGE;
    }
    if (!profile_of_options(command, values, PROFILE_WANTS_ALL, &profile)) {
        return EXIT_CONFIG;
    }
    int exit_code = dialer_run(&(struct dialer_options){
        .profile = &profile,
        .target = target,
        .listen = listen == NULL ? NULL : &address,
        .timeout_ms = OPEN_TIMEOUT_MS,
    });
    profile_fini(&profile);
    return exit_code;
}

static int run_dial(const struct command *command, int argc, char **argv)
{
    const char *values[DIAL_COUNT] = {NULL};
    int count;
    int exit_code;
    if (!command_parse(command, argc, argv, values, &count, &exit_code)) {
        return exit_code;
    }
    if (count != 1) {
        command_complain(command, "it wants one name or id of a tunnel");
        return EXIT_USAGE;
    }
    const char *name = dialer_endpoint_name(argv[0]);
    return dial(command, values, name == NULL ? argv[0] : name, values[DIAL_LISTEN]);
}

static const struct command_example dial_examples[] = {
    {"dial db --listen 15432", "connections to port 15432 reach the private tunnel db"},
    {"dial echo", "standard input and output are joined to it"},
    {NULL},
};

const struct command command_dial = {
    .name = "dial",
    .summary = "Reach a tunnel by its name, also a private one",
    .usage = "NAME",
    .options = dial_options,
    .run = run_dial,
    .examples = dial_examples,
};

// ---- nc

enum { NC_LISTEN = PROFILE_OPTION_COUNT, NC_REMOTE, NC_EXEC, NC_COMMAND, NC_COUNT };

static const struct option_row nc_options[] = {
    PROFILE_OPTION_ROWS,
    [NC_LISTEN] = {"--listen", "ENDPOINT", "rstrm://NAME: publish it privately; [ADDR:]PORT",
        .alias = "-L"},
    [NC_REMOTE] = {"--remote", "ENDPOINT", "where it leads: rstrm://NAME, HOST:PORT, unix:/PATH",
        .alias = "-R"},
    [NC_EXEC] = {"--exec", "PROGRAM", "instead of -R: run it for each stream", .alias = "-e"},
    [NC_COMMAND] = {"--sh-exec", "LINE", "the same for a line of the shell", .alias = "-c"},
    [NC_COUNT] = {NULL},
};

// A file of one private tunnel, as run has it.
static int publish(const char *const *values, const char *name, const char *forward)
{
    const struct profile_ask ask = profile_ask_of(values);
    const struct runner_options runner = {
        .path = "nc", .ask = &ask, .variables = &conf_environment};
    struct run_plan plan;
    struct conf_problems problems;
    conf_problems_init(&problems);
    bool good =
        run_plan_private(name, forward, &ask, runner.variables, sys_wall_ms(), &plan, &problems);
    good = command_print_problems(&problems) && good;
    conf_problems_fini(&problems);
    int exit_code = good ? runner_run(&runner, &plan) : EXIT_CONFIG;
    run_plan_close(&plan);
    return exit_code;
}

static int serve_program(const struct command *command, const char *const *values, const char *name)
{
    const char *const by_name[] = {values[NC_EXEC], NULL};
    const char *const by_shell[] = {"sh", "-c", values[NC_COMMAND], NULL};
    struct profile profile;
    if (name == NULL || values[NC_REMOTE] != NULL ||
        (values[NC_EXEC] != NULL && values[NC_COMMAND] != NULL)) {
        command_complain(command, "one program, -e or -c, answers for -L rstrm://NAME, without -R");
        return EXIT_USAGE;
    }
    if (!profile_of_options(command, values, PROFILE_WANTS_ALL, &profile)) {
        return EXIT_CONFIG;
    }
    int exit_code = program_server_run(&(struct program_server_options){
        .profile = &profile,
        .name = name,
        .argv = values[NC_EXEC] != NULL ? by_name : by_shell,
    });
    profile_fini(&profile);
    return exit_code;
}

// Without a tunnel; listen NULL: standard input and output.
static int join(const struct command *command, const char *target, const char *listen)
{
    struct sys_address address;
    if (listen != NULL && !dialer_parse_listen(listen, &address)) {
        command_complain(
            command, "\"%s\" is no place to listen at; allowed: [ADDR:]PORT, rstrm://NAME", listen);
        return EXIT_USAGE;
    }
    return joiner_run(
        &(struct joiner_options){.target = target, .listen = listen == NULL ? NULL : &address});
}

static int serve(const struct command *command, const char *const *values)
{
    const char *listen = values[NC_LISTEN];
    const char *remote = values[NC_REMOTE];
    const char *name = dialer_endpoint_name(listen);
    if (values[NC_EXEC] != NULL || values[NC_COMMAND] != NULL) {
        return serve_program(command, values, name);
    }
    if (remote == NULL) {
        command_complain(command, "-L wants -R: where its connections lead");
        return EXIT_USAGE;
    }
    const char *target = dialer_endpoint_name(remote);
    if (name != NULL && target == NULL) {
        return publish(values, name, remote);
    }
    if (name == NULL && target != NULL) {
        return dial(command, values, target, listen);
    }
    if (name == NULL) {
        return join(command, remote, listen);
    }
    command_complain(command, "both ends are tunnels; one of them is elsewhere");
    return EXIT_USAGE;
}

static int run_nc(const struct command *command, int argc, char **argv)
{
    const char *values[NC_COUNT] = {NULL};
    int count;
    int exit_code;
    if (!command_parse(command, argc, argv, values, &count, &exit_code)) {
        return exit_code;
    }
    if (values[NC_LISTEN] != NULL && count == 0) {
        return serve(command, values);
    }
    if (count != 1 || values[NC_LISTEN] != NULL || values[NC_REMOTE] != NULL) {
        command_complain(command, "it wants rstrm://NAME or HOST:PORT, or -L ENDPOINT -R ENDPOINT");
        return EXIT_USAGE;
    }
    const char *name = dialer_endpoint_name(argv[0]);
    return name == NULL ? join(command, argv[0], NULL) : dial(command, values, name, NULL);
}

static const struct command_example nc_examples[] = {
    {"nc rstrm://db", "standard input and output are joined to the tunnel db"},
    {"nc -L 127.0.0.1:15432 -R rstrm://db", "a local port for it"},
    {"nc -L rstrm://db -R 127.0.0.1:5432", "publish a local service privately"},
    {"nc -L 8081 -R 127.0.0.1:8080", "no tunnel at all: another port for a local service"},
    {"nc -L rstrm://upper -c 'tr a-z A-Z'", "publish a program privately"},
    {NULL},
};

const struct command command_nc = {
    .name = "nc",
    .summary = "Join two endpoints, tunnels or not",
    .usage = "rstrm://NAME | -L ENDPOINT (-R ENDPOINT | -e PROGRAM | -c LINE)",
    .options = nc_options,
    .run = run_nc,
    .other_names = "netcat|ncat",
    .examples = nc_examples,
};
