// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <string.h>

#include "app/command.h"
#include "app/engine_command.h"
#include "base/time.h"
#include "conf/yaml.h"
#include "engine/control/token.h"
#include "sys/clock.h"

#define TOKEN_BYTES_MAX 8192 // spec section 7.1

enum {
    OPTION_FILE, OPTION_TTL, OPTION_SUBJECT, OPTION_PERMISSIONS, OPTION_RESOURCE, OPTION_COUNT
};

static const struct option_row options[] = {
    [OPTION_FILE] = {"--config", "FILE", "of the engine, for its secret (RSTREAM_ENGINE_CONFIG)",
        .alias = "-c", .flags = OPTION_PATH},
    [OPTION_TTL] = {"--ttl", "TIME", "life of the token: 720h (the default), 30d, or never"},
    [OPTION_SUBJECT] = {"--subject", "NAME", "whose it is; names may be taken over by their owner"},
    [OPTION_PERMISSIONS] = {"--permissions", "LIST", "tunnels.resources.read-only, "
        "tunnels.tunnels.create-delete, tunnels.streams.create-delete; all when not given"},
    [OPTION_RESOURCE] = {"--resource", "JSON", "scopes: {\"tunnels\":{\"scopes\":...}}"},
    [OPTION_COUNT] = {NULL, NULL, NULL},
};

static bool read_ttl(const char *text, uint64_t *ret_seconds)
{
    uint64_t ns;
    *ret_seconds = 0;
    if (strcmp(text, "never") == 0) {
        return true;
    }
    if (yml_duration_text(slice_str(text), &ns) != WEIR_OK || ns < NS_PER_S) {
        fprintf(stderr,
            "weir token: --ttl \"%s\" is not usable; allowed: a time like 720h or 30d, at least a "
            "second, or never\n",
            text);
        return false;
    }
    *ret_seconds = ns / NS_PER_S;
    return true;
}

static int mint(const struct token_request *request, const char *secret)
{
    struct buf token = BUF_INIT(TOKEN_BYTES_MAX);
    enum weir_result result = token_mint(request, slice_str(secret), sys_wall_ms(), &token);
    const char *text = result == WEIR_OK ? buf_text(&token) : NULL;
    if (text != NULL) {
        puts(text);
    } else if (result == WEIR_INVALID) {
        fputs("weir token: --permissions names one that there is not; see --help\n", stderr);
    } else if (result == WEIR_MALFORMED) {
        fputs("weir token: --resource is not usable; allowed: the scopes as JSON\n", stderr);
    } else {
        fprintf(stderr, "weir token: %s\n", weir_result_text(result));
    }
    buf_reset(&token);
    return text != NULL ? EXIT_FINE : EXIT_DATA;
}

// Only the secret is wanted: other mistakes of the configuration are none here.
static int mint_with_secret(const char *file, const struct token_request *request)
{
    struct engine_config_source source = engine_command_source(file);
    struct conf_problems problems;
    struct engine_config config;
    int exit_code = EXIT_CONFIG;
    conf_problems_init(&problems);
    if (engine_config_load(&source, &config, NULL, &problems) != WEIR_OK) {
        fputs("weir: out of memory\n", stderr);
        exit_code = EXIT_FAILED;
    } else if (config.jwt_secret == NULL) {
        command_print_problems(&problems);
    } else {
        exit_code = mint(request, config.jwt_secret);
    }
    conf_problems_fini(&problems);
    engine_config_free(&config);
    return exit_code;
}

static int run(const struct command *command, int argc, char **argv)
{
    const char *values[OPTION_COUNT] = {[OPTION_TTL] = "720h"};
    struct token_request request = {0};
    int count;
    int exit_code;
    if (!command_parse(command, argc, argv, values, &count, &exit_code)) {
        return exit_code;
    }
    if (count > 0 || !read_ttl(values[OPTION_TTL], &request.ttl_s)) {
        fputs(count > 0 ? "weir token: takes options only; see --help\n" : "", stderr);
        return EXIT_USAGE;
    }
    const char *file = values[OPTION_FILE];
    request.subject = slice_str(values[OPTION_SUBJECT]);
    request.resources = slice_str(values[OPTION_RESOURCE]);
    if (values[OPTION_PERMISSIONS] != NULL) {
        request.permissions = slice_str(values[OPTION_PERMISSIONS]);
    }
    return mint_with_secret(file, &request);
}

static const struct command_example examples[] = {
    {"token engine --config engine.yml --subject laptop --ttl 30d",
        "where the engine's secret is; for one agent, for a month"},
    {"token engine -c engine.yml --permissions tunnels.resources.read-only --ttl 1h",
        "for a dashboard: it may look, and nothing else"},
    {NULL},
};

const struct command command_token_engine = {
    .name = "token engine",
    .summary = "Mint a token for agents and the API of an engine",
    .usage = "",
    .options = options,
    .run = run,
    .other_names = "create",
    .examples = examples,
};
