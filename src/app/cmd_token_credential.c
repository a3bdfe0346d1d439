// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>

#include "app/command.h"
#include "app/platform_setup.h"
#include "base/time.h"
#include "conf/yaml.h"

#define CREDENTIAL_BYTES_MAX 1024

enum { OPTION_WORKSPACE, OPTION_TARGET, OPTION_TTL, OPTION_FILE, OPTION_STATE_DIR, OPTION_COUNT };

static const struct option_row options[] = {
    [OPTION_WORKSPACE] = {"--workspace", "ID", "workspace it is for"},
    [OPTION_TARGET] = {"--target", "ID", "the only runtime target it is for; all of them"},
    [OPTION_TTL] = {"--ttl", "TIME", "life of it: 365d (the default), 720h"},
    [OPTION_FILE] = {"--config", "FILE", "with a section platform: (WEIR_PLATFORM_CONFIG)",
        .alias = "-c", .flags = OPTION_PATH},
    [OPTION_STATE_DIR] = {"--state-dir", "DIR", "where the admin token is (WEIR_STATE_DIR)"},
    [OPTION_COUNT] = {NULL, NULL, NULL},
};

static bool read_ttl(const char *text, uint64_t *ret_seconds)
{
    uint64_t ns;
    *ret_seconds = PLATFORM_CREDENTIAL_TTL_S_DEFAULT;
    if (text == NULL) {
        return true;
    }
    if (yml_duration_text(slice_str(text), &ns) != WEIR_OK) {
        fprintf(stderr,
            "weir token credential: --ttl \"%s\" is not usable; allowed: a time like 365d\n", text);
        return false;
    }
    *ret_seconds = ns / NS_PER_S;
    return true;
}

static int make(const struct platform_setup *setup, const char *const *values, uint64_t ttl_s)
{
    struct buf out = BUF_INIT(CREDENTIAL_BYTES_MAX);
    enum weir_result result = platform_make_credential(setup->platform,
        slice_str(values[OPTION_WORKSPACE]), slice_str(values[OPTION_TARGET]), ttl_s, &out);
    const char *text = result == WEIR_OK ? buf_text(&out) : NULL;
    if (text != NULL) {
        puts(text);
    } else {
        fprintf(stderr,
            "weir token credential: %s; allowed: ids of 1-128 characters of A-Z a-z 0-9 . _ : -, "
            "and a second to ten years\n",
            weir_result_text(result));
    }
    buf_reset(&out);
    return text != NULL ? EXIT_FINE : EXIT_DATA;
}

static int run(const struct command *command, int argc, char **argv)
{
    const char *values[OPTION_COUNT] = {NULL};
    static struct platform_setup setup;
    uint64_t ttl_s;
    int count;
    int exit_code;
    if (!command_parse(command, argc, argv, values, &count, &exit_code)) {
        return exit_code;
    }
    if (count > 0 || values[OPTION_WORKSPACE] == NULL) {
        fputs("weir token credential: needs: --workspace ID\n", stderr);
        return EXIT_USAGE;
    }
    if (!read_ttl(values[OPTION_TTL], &ttl_s)) {
        return EXIT_USAGE;
    }
    exit_code = platform_setup_open(&setup, &(struct platform_setup_options){
                                                .who = "weir token credential",
                                                .file = values[OPTION_FILE],
                                                .state_dir = values[OPTION_STATE_DIR],
                                            });
    if (exit_code == EXIT_FINE) {
        exit_code = make(&setup, values, ttl_s);
    }
    platform_setup_close(&setup);
    return exit_code;
}

const struct command command_token_credential = {
    .name = "token credential",
    .summary = "Make what a daemon or a worker shows to a platform to get its relay tokens",
    .usage = "--workspace ID",
    .options = options,
    .run = run,
};
