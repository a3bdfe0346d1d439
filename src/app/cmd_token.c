// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <string.h>

#include "app/command.h"
#include "app/platform_setup.h"
#include "base/number.h"

enum {
    OPTION_ROLE,
    OPTION_WORKSPACE,
    OPTION_TARGET,
    OPTION_SCOPE,
    OPTION_CLIENT,
    OPTION_INSTALL,
    OPTION_MACHINE,
    OPTION_USER,
    OPTION_CHANNEL,
    OPTION_PROFILE,
    OPTION_TTL,
    OPTION_GENERATION,
    OPTION_FILE,
    OPTION_STATE_DIR,
    OPTION_COUNT
};

static const struct option_row options[] = {
    [OPTION_ROLE] = {"--role", "ROLE", "workspace-daemon, client or worker"},
    [OPTION_WORKSPACE] = {"--workspace", "ID", "workspace the token is for"},
    [OPTION_TARGET] = {"--target", "ID", "runtime target in it"},
    [OPTION_SCOPE] = {"--scope", "SCOPE", "of a client: runtime, pairing or session-events"},
    [OPTION_CLIENT] = {"--client", "ID", "client id; a random one when not given"},
    [OPTION_INSTALL] = {"--install", "ID", "install id"},
    [OPTION_MACHINE] = {"--machine", "ID", "machine id"},
    [OPTION_USER] = {"--user", "ID", "user id"},
    [OPTION_CHANNEL] = {"--channel", "NAME", "session-event channel, agent-session:…"},
    [OPTION_PROFILE] = {"--profile", "NAME", "noise-ik or noise-ikpsk2"},
    [OPTION_TTL] = {"--ttl", "SECONDS", "life of the token; 3600"},
    [OPTION_GENERATION] = {"--generation", "N", "daemon issue generation"},
    [OPTION_FILE] = {"--config", "FILE", "with a section platform: (WEIR_PLATFORM_CONFIG)",
        .alias = "-c", .flags = OPTION_PATH},
    [OPTION_STATE_DIR] = {"--state-dir", "DIR", "where the signing key is (WEIR_STATE_DIR)"},
    [OPTION_COUNT] = {NULL, NULL, NULL},
};

static bool read_number(const char *text, uint64_t max, uint64_t *ret_number, const char *name)
{
    if (text != NULL && number_parse_u64(slice_str(text), max, ret_number) != WEIR_OK) {
        fprintf(
            stderr, "weir token: %s \"%s\" is not usable; allowed: a whole number\n", name, text);
        return false;
    }
    return true;
}

static int mint(const struct platform *platform, const struct relay_token_request *request)
{
    struct buf token;
    buf_init(&token, PLATFORM_ANSWER_LEN_MAX);
    enum weir_result result = platform_mint_relay_token(platform, request, &token);
    const char *text = result == WEIR_OK ? buf_text(&token) : NULL;
    if (text != NULL) {
        puts(text);
    } else {
        fprintf(stderr, "weir token: %s; see weir token --help\n", weir_result_text(result));
    }
    buf_reset(&token);
    return text != NULL ? EXIT_FINE : EXIT_DATA;
}

static int run(const struct command *command, int argc, char **argv)
{
    const char *values[OPTION_COUNT] = {NULL};
    static struct platform_setup setup;
    uint64_t ttl_s = 0;
    uint64_t generation = UINT64_MAX;
    int count;
    int exit_code;
    if (!command_parse(command, argc, argv, values, &count, &exit_code)) {
        return exit_code;
    }
    if (count != 1 || strcmp(argv[0], "relay") != 0 || values[OPTION_ROLE] == NULL ||
        values[OPTION_WORKSPACE] == NULL) {
        fputs("weir token: needs: relay --role ROLE --workspace ID, or engine, or credential\n",
            stderr);
        return EXIT_USAGE;
    }
    if (!read_number(values[OPTION_TTL], PLATFORM_TTL_S_MAX, &ttl_s, "--ttl") ||
        !read_number(values[OPTION_GENERATION], INT64_MAX, &generation, "--generation")) {
        return EXIT_USAGE;
    }
    exit_code = platform_setup_open(&setup, &(struct platform_setup_options){
                                                .who = "weir token",
                                                .file = values[OPTION_FILE],
                                                .state_dir = values[OPTION_STATE_DIR],
                                            });
    if (exit_code == EXIT_FINE) {
        exit_code = platform_setup_sync(&setup, NULL);
    }
    if (exit_code != EXIT_FINE) {
        platform_setup_close(&setup);
        return exit_code;
    }
    struct slice channel = slice_str(values[OPTION_CHANNEL]);
    exit_code = mint(setup.platform,
        &(struct relay_token_request){
            .role = slice_str(values[OPTION_ROLE]),
            .workspace_id = slice_str(values[OPTION_WORKSPACE]),
            .runtime_target_id = slice_str(values[OPTION_TARGET]),
            .scope = slice_str(values[OPTION_SCOPE]),
            .client_id = slice_str(values[OPTION_CLIENT]),
            .install_id = slice_str(values[OPTION_INSTALL]),
            .machine_id = slice_str(values[OPTION_MACHINE]),
            .user_id = slice_str(values[OPTION_USER]),
            .session_channels = &channel,
            .session_channel_count = channel.len > 0 ? 1 : 0,
            .e2ee_profile = slice_str(values[OPTION_PROFILE]),
            .ttl_s = ttl_s,
            .daemon_issue_generation = generation == UINT64_MAX ? -1 : (int64_t)generation,
        });
    platform_setup_close(&setup);
    return exit_code;
}

static const struct command *const children[] = {
    &command_token_engine, &command_token_credential, NULL};

const struct command command_token = {
    .name = "token",
    .summary = "Mint a token of a platform (weir up, weir platform), or of an engine",
    .usage = "relay|engine|credential",
    .options = options,
    .run = run,
    .children = children,
    .words = "relay",
};
