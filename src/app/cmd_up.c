// SPDX-License-Identifier: Apache-2.0
// Everything on loopback with nothing to set up: a relay over TLS on an embedded platform, which
// the relay asks over HTTP as it would ask a hosted one. Keys, tokens and certificate are made on
// the first start and kept in the state directory. The environment of `weir relay` still counts;
// only what is not set there gets these defaults.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/command.h"
#include "app/platform_server.h"
#include "app/relay_part.h"
#include "app/state_dir.h"
#include "platform/certificate.h"

#define DEMO_WORKSPACE "demo"
#define DEMO_TARGET "laptop"
#define URL_SIZE 96

enum { OPTION_STATE_DIR, OPTION_LISTEN, OPTION_WORKERS, OPTION_COUNT };

static const struct option_row options[] = {
    [OPTION_STATE_DIR] = {"--state-dir", "DIR", "keys, tokens, certificate (WEIR_STATE_DIR)"},
    [OPTION_LISTEN] = {"--listen", "ADDR:PORT", "where the relay listens; 127.0.0.1:7781"},
    [OPTION_WORKERS] = {"--workers", "N", "threads that carry connections (WEIR_WORKERS)"},
    [OPTION_COUNT] = {NULL, NULL, NULL},
};

struct up {
    char state_dir[4096];
    char validate_url[URL_SIZE];
    char jwks_url[URL_SIZE];
    struct certificate_paths certificate;
    struct platform *platform;
    struct sys_address platform_address;
    struct platform_server platform_server;
    struct relay_part relay;
};

// ---- Defaults under the environment

struct preset {
    const char *name;
    const char *value;
};

static const char *get(void *arg, const char *name)
{
    const struct up *up = arg;
    const char *set = getenv(name);
    const struct preset presets[] = {
        {"RELAY_VALIDATE_URL", up->validate_url},
        {"RELAY_JWKS_URL", up->jwks_url},
        {"RELAY_INTERNAL_KEY", platform_internal_key(up->platform)},
        {"RELAY_ADMIN_TOKEN", platform_admin_token(up->platform)},
        {"RELAY_ENABLE_ADMIN_HTTP", "1"},
        {"RELAY_BACKPLANE_MODE", "single"},
        {"RELAY_TLS_HOST", "localhost"},
        {"RELAY_TLS_CERT_PATH", up->certificate.certificate},
        {"RELAY_TLS_KEY_PATH", up->certificate.key},
    };
    for (size_t i = 0; (set == NULL || set[0] == '\0') && i < sizeof presets / sizeof presets[0];
         i++) {
        if (strcmp(presets[i].name, name) == 0) {
            return presets[i].value;
        }
    }
    return set;
}

static bool file_exists(void *arg, const char *path)
{
    (void)arg;
    return conf_environment.file_exists(NULL, path);
}

// ---- What a person sees

static void print_ready(void *arg)
{
    const struct up *up = arg;
    const struct relay *relay = &up->relay.relay;
    bool tls = relay->config->tls_enabled;
    char base[URL_SIZE];
    snprintf(base, sizeof base, "%s://localhost:%u", tls ? "wss" : "ws", relay->address.port);
    fprintf(stderr,
        "\nweir is up. Ctrl-C drains and ends.\n\n"
        "  relay      %s/ws\n"
        "  health     http%s://localhost:%u/health\n"
        "  platform   http://127.0.0.1:%u (admission, /jwks.json, tokens)\n"
        "  state      %s (admin token in admin-token)\n\n"
        "Try it in other terminals:\n\n"
        "  a daemon and a client in one:\n"
        "    weir relay demo --state-dir %s --port %u\n"
        "  or apart:\n"
        "    weir relay demo --as daemon --state-dir %s --port %u\n"
        "    weir relay demo --as client --state-dir %s --port %u\n"
        "  a daemon or client of your own connects to\n"
        "    %s/ws?role=workspace-daemon&workspaceId=" DEMO_WORKSPACE
        "&runtimeTargetId=" DEMO_TARGET "\n"
        "    %s/ws?role=client&workspaceId=" DEMO_WORKSPACE "&runtimeTargetId=" DEMO_TARGET "\n"
        "  with Authorization: Bearer and a token of\n"
        "    weir token relay --state-dir %s --role client --workspace " DEMO_WORKSPACE
        " --target " DEMO_TARGET "\n\n",
        base, tls ? "s" : "", relay->address.port, up->platform_address.port, up->state_dir,
        up->state_dir, relay->address.port, up->state_dir, relay->address.port, up->state_dir,
        relay->address.port, base, base, up->state_dir);
}

// ---- Start

static bool prepare(struct up *up)
{
    enum weir_result result;
    up->platform = platform_open(up->state_dir, NULL, &result);
    if (up->platform != NULL) {
        result = certificate_ensure(up->state_dir, &up->certificate);
    }
    if (up->platform == NULL || result != WEIR_OK) {
        fprintf(stderr, "weir up: cannot use the state directory %s: %s\n", up->state_dir,
            weir_result_text(result));
        return false;
    }
    const uint8_t loopback[4] = {127, 0, 0, 1};
    up->platform_address = (struct sys_address){ip_from_v4(loopback), 0};
    int fd;
    result = sys_listen(&up->platform_address, &fd);
    if (result != WEIR_OK) {
        fprintf(stderr, "weir up: the platform cannot listen on 127.0.0.1: %s\n",
            weir_result_text(result));
        return false;
    }
    platform_server_init(&up->platform_server, up->platform, fd);
    unsigned port = up->platform_address.port;
    snprintf(up->validate_url, sizeof up->validate_url,
        "http://127.0.0.1:%u/api/runtime/internal/relay/validate", port);
    snprintf(up->jwks_url, sizeof up->jwks_url, "http://127.0.0.1:%u/jwks.json", port);
    return true;
}

static int run_parts(struct up *up, const char *const *values)
{
    struct conf_source source = {get, file_exists, up};
    struct conf_problems problems;
    conf_problems_init(&problems);
    int exit_code = relay_part_init(&up->relay,
        &(struct relay_part_options){
            .source = &source,
            .listen = values[OPTION_LISTEN],
            .workers = values[OPTION_WORKERS],
        },
        &problems);
    if (exit_code == EXIT_FINE) {
        exit_code = process_run(&(struct process_options){
            .parts = (struct part *[]){&up->relay.part, &up->platform_server.part},
            .part_count = 2,
            .workers = up->relay.config.workers,
            .max_logs = up->relay.config.max_logs,
            .problems = &problems,
            .ready = print_ready,
            .arg = up,
        });
    }
    conf_problems_fini(&problems);
    relay_part_fini(&up->relay);
    return exit_code;
}

static int run(const struct command *command, int argc, char **argv)
{
    const char *values[OPTION_COUNT] = {NULL};
    static struct up up;
    int count;
    int exit_code;
    if (!command_parse(command, argc, argv, values, &count, &exit_code)) {
        return exit_code;
    }
    if (count > 0) {
        fprintf(stderr, "weir up: \"%s\" is not understood; see weir up --help\n", argv[0]);
        return EXIT_USAGE;
    }
    if (!state_dir_find(values[OPTION_STATE_DIR], up.state_dir, sizeof up.state_dir)) {
        return EXIT_USAGE;
    }
    exit_code = EXIT_FAILED;
    if (prepare(&up)) {
        exit_code = run_parts(&up, values);
    }
    platform_free(up.platform);
    return exit_code;
}

const struct command command_up = {
    .name = "up",
    .summary = "Run a relay on loopback with an embedded platform: nothing to set up",
    .usage = "",
    .options = options,
    .run = run,
};
