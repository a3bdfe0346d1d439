// SPDX-License-Identifier: Apache-2.0
// weir health serve: the monitor and its API.
#include <stdio.h>

#include "app/command.h"
#include "app/health/cmd_health.h"
#include "app/parts/health_part.h"
#include "app/sandbox.h"
#include "base/mem.h"

#define LOG_LINES_KEPT 1000

enum {
    OPTION_REGISTRY,
    OPTION_LISTEN,
    OPTION_SOCKET,
    OPTION_TOKENS,
    OPTION_PUBLIC_READ,
    OPTION_ALLOW_HOST,
    OPTION_UI_DIR,
    OPTION_STATE_DIR,
    OPTION_IMPORT,
    OPTION_HEARTBEAT_URL,
    OPTION_ON_CHANGE,
    OPTION_ON_CHANGE_QUIET,
    OPTION_DEPLOY_COMMAND,
    OPTION_DEPLOY_TIMEOUT,
    OPTION_IMPLICIT,
    OPTION_COMPOSE,
    OPTION_COMPAT,
    OPTION_JITTER,
    OPTION_METRICS_INTERVAL,
    OPTION_SSH_METRICS,
    OPTION_SSH_METRICS_INTERVAL,
    OPTION_RELAY,
    OPTION_RELAY_TOKEN,
    OPTION_RELAY_CA,
    OPTION_ENGINE,
    OPTION_ENGINE_TOKEN,
    OPTION_ENGINE_CA,
    OPTION_ENGINE_METRICS,
    OPTION_USER,
    OPTION_NO_SANDBOX,
    OPTION_COUNT
};

static const struct option_row options[] = {
    [OPTION_REGISTRY] = {"--registry", "PATH", "the registry.yml to read (CADDY_REGISTRY_PATH)"},
    [OPTION_LISTEN] = {"--listen", "ADDR:PORT",
        "where the API is; 127.0.0.1:8988 (BIND_HOST, BACKEND_PORT)"},
    [OPTION_SOCKET] = {"--socket", "PATH",
        "a Unix socket for this user's commands, or none; $XDG_RUNTIME_DIR/portoser.sock"},
    [OPTION_TOKENS] = {"--tokens", "FILE", "who may use the API: lines of TOKEN ROLE"},
    [OPTION_PUBLIC_READ] = {"--public-read", "BOOL",
        "health, metrics and badges take no token; true on loopback, else false"},
    [OPTION_ALLOW_HOST] = {"--allow-host", "NAME,…",
        "names that clients on loopback may know the monitor by; localhost, this host's, "
        "addresses"},
    [OPTION_UI_DIR] = {"--ui-dir", "DIR", "serve the files of another dashboard at / as well"},
    [OPTION_STATE_DIR] = {"--state-dir", "DIR",
        "where events and states outlive the process; nowhere (WEIR_STATE_DIR)"},
    [OPTION_HEARTBEAT_URL] = {"--heartbeat-url", "URL",
        "ask for this every minute, so that somebody notices when the monitor is gone"},
    [OPTION_ON_CHANGE] = {"--on-change", "COMMAND|URL",
        "tell this when the state of a service is another: WEIR_SERVICE, … for sh, or a POST"},
    [OPTION_ON_CHANGE_QUIET] = {"--on-change-quiet", "SECONDS",
        "nothing more of a service for so long after that; 60"},
    [OPTION_DEPLOY_COMMAND] = {"--deploy-command", "COMMAND",
        "moves a service: run by sh with MACHINE SERVICE behind it, when an operator asks the API"},
    [OPTION_DEPLOY_TIMEOUT] = {"--deploy-timeout", "SECONDS", "how long one move may take; 120"},
    [OPTION_IMPORT] = {"--import", "DIR",
        "take up the uptime events and problems that portoser kept, ~/.portoser"},
    [OPTION_IMPLICIT] = {"--implicit-checks", NULL,
        "a service with a port but without a check gets a tcp check"},
    [OPTION_COMPOSE] = {"--legacy-compose-health", NULL, "run health checks of compose files here"},
    [OPTION_COMPAT] = {"--compat-rollup", NULL, "an unknown service makes its machine unhealthy"},
    [OPTION_JITTER] = {"--jitter", "PERCENT",
        "every check up to so much of its interval later, 50 at most; 0"},
    [OPTION_METRICS_INTERVAL] = {"--metrics-interval", "SECONDS",
        "how often this machine's resources are looked at; 10"},
    [OPTION_SSH_METRICS] = {"--ssh-metrics", NULL, "ask other machines for theirs, over ssh"},
    [OPTION_SSH_METRICS_INTERVAL] = {"--ssh-metrics-interval", "SECONDS", "how often; 60"},
    [OPTION_RELAY] = {"--relay", "URL", "a relay for the page to show; https://HOST:PORT",
        .group = "beside it on the page"},
    [OPTION_RELAY_TOKEN] = {"--relay-token-file", "FILE", "its admin token",
        .group = "beside it on the page", .flags = OPTION_PATH},
    [OPTION_RELAY_CA] = {"--relay-ca-file", "FILE", "who signed its certificate, in PEM",
        .group = "beside it on the page", .flags = OPTION_PATH},
    [OPTION_ENGINE] = {"--engine", "URL", "an engine for the page to show; https://HOST:PORT",
        .group = "beside it on the page"},
    [OPTION_ENGINE_TOKEN] = {"--engine-token-file", "FILE", "a token that may read from it",
        .group = "beside it on the page", .flags = OPTION_PATH},
    [OPTION_ENGINE_CA] = {"--engine-ca-file", "FILE", "who signed its certificate, in PEM",
        .group = "beside it on the page", .flags = OPTION_PATH},
    [OPTION_ENGINE_METRICS] = {"--engine-metrics", "URL", "where its metrics are",
        .group = "beside it on the page"},
    [OPTION_USER] = SANDBOX_ROW_USER,
    [OPTION_NO_SANDBOX] = SANDBOX_ROW_OFF,
    [OPTION_COUNT] = {NULL, NULL, NULL},
};

static int run_monitor(const char *const *values)
{
    struct health_part *health = mem_zalloc(sizeof *health);
    if (health == NULL) {
        fputs("weir: out of memory\n", stderr);
        return EXIT_FAILED;
    }
    int exit_code =
        health_part_init(health, &(struct health_part_options){
                                     .registry = values[OPTION_REGISTRY],
                                     .listen = values[OPTION_LISTEN],
                                     .socket = values[OPTION_SOCKET],
                                     .tokens = values[OPTION_TOKENS],
                                     .state_dir = values[OPTION_STATE_DIR],
                                     .public_read = values[OPTION_PUBLIC_READ],
                                     .allowed_hosts = values[OPTION_ALLOW_HOST],
                                     .heartbeat_url = values[OPTION_HEARTBEAT_URL],
                                     .on_change = values[OPTION_ON_CHANGE],
                                     .on_change_quiet = values[OPTION_ON_CHANGE_QUIET],
                                     .deploy_command = values[OPTION_DEPLOY_COMMAND],
                                     .deploy_timeout = values[OPTION_DEPLOY_TIMEOUT],
                                     .import_dir = values[OPTION_IMPORT],
                                     .ui_dir = values[OPTION_UI_DIR],
                                     .implicit_checks = values[OPTION_IMPLICIT] != NULL,
                                     .legacy_compose_health = values[OPTION_COMPOSE] != NULL,
                                     .metrics_interval = values[OPTION_METRICS_INTERVAL],
                                     .ssh_metrics = values[OPTION_SSH_METRICS] != NULL,
                                     .ssh_metrics_interval = values[OPTION_SSH_METRICS_INTERVAL],
                                     .jitter = values[OPTION_JITTER],
                                     .neighbours = {.relay = values[OPTION_RELAY],
                                         .relay_token_file = values[OPTION_RELAY_TOKEN],
                                         .relay_ca_file = values[OPTION_RELAY_CA],
                                         .engine = values[OPTION_ENGINE],
                                         .engine_token_file = values[OPTION_ENGINE_TOKEN],
                                         .engine_ca_file = values[OPTION_ENGINE_CA],
                                         .engine_metrics = values[OPTION_ENGINE_METRICS]},
                                     .compat_rollup = values[OPTION_COMPAT] != NULL,
                                 });
    if (exit_code == EXIT_FINE) {
        exit_code = process_run(&(struct process_options){
            .parts = (struct part *[]){&health->part},
            .part_count = 1,
            .workers = 1,
            .max_logs = LOG_LINES_KEPT,
        });
    }
    health_part_fini(health);
    mem_free(health);
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
    if (count > 0) {
        fprintf(stderr,
            "weir health serve: \"%s\" is not understood; see weir health serve --help\n", argv[0]);
        return EXIT_USAGE;
    }
    exit_code = sandbox_begin(values[OPTION_USER], values[OPTION_NO_SANDBOX]);
    return exit_code == EXIT_FINE ? run_monitor(values) : exit_code;
}

const struct command command_health_serve = {
    .name = "health serve",
    .summary = "Check the services of a registry.yml continuously, and serve what is known of them",
    .usage = "",
    .options = options,
    .run = run,
};
