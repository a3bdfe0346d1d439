// SPDX-License-Identifier: Apache-2.0
// `weir platform`, and the keys it signs with.
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

#include "app/command.h"
#include "app/parts/platform_server.h"
#include "app/sandbox.h"
#include "auth/auth_key.h"
#include "base/mem.h"
#include "base/number.h"
#include "base/time.h"
#include "sys/clock.h"
#include "sys/file.h"

#define LOG_LINES_KEPT 1000
#define KEYS_MAX 64
#define KEYS_ROTATE_MAX 32 // more would not fit into what daemons and relays read
#define PEM_BYTES_MAX 16384

// ---- weir platform keys

enum { KEYS_FILE, KEYS_STATE_DIR, KEYS_IN, KEYS_OPTION_COUNT };

static const struct option_row keys_options[] = {
    [KEYS_FILE] = {"--config", "FILE", "with a section platform: (WEIR_PLATFORM_CONFIG)",
        .alias = "-c", .flags = OPTION_PATH},
    [KEYS_STATE_DIR] = {"--state-dir", "DIR", "of the platform (WEIR_STATE_DIR)"},
    [KEYS_IN] = {"--in", "SECONDS", "rotate: when the new key signs; keys.publish_ahead_s"},
    [KEYS_OPTION_COUNT] = {NULL, NULL, NULL},
};

static int print_keys(const struct platform_setup *setup)
{
    struct platform_key_state states[KEYS_MAX];
    size_t count = platform_describe_keys(setup->platform, states, KEYS_MAX);
    printf("%-43s  %-9s  %-24s  %s\n", "key", "state", "created", "signs from");
    for (size_t i = 0; i < count; i++) {
        char created[TIME_ISO_SIZE];
        char signs[TIME_ISO_SIZE];
        time_to_iso(states[i].created_ms, created);
        time_to_iso(states[i].signs_from_ms, signs);
        printf("%-43s  %-9s  %-24s  %s\n", states[i].id, states[i].state,
            states[i].created_ms == 0 ? "-" : created, states[i].signs_from_ms == 0 ? "-" : signs);
    }
    return EXIT_FINE;
}

static struct store_call *call_for_new_key(uint64_t signs_from_ms)
{
    struct auth_key key;
    struct buf pem = BUF_INIT(PEM_BYTES_MAX);
    struct store_call *call = store_call_new(STORE_KEY_ADD, NULL, NULL);
    bool ok = call != NULL && auth_key_generate(AUTH_RS256, NULL, &key) == WEIR_OK;
    if (ok) {
        ok = auth_key_write_pem(&key, &pem) == WEIR_OK;
        store_call_text(call, slice_str(key.id));
        store_call_text(call, buf_slice(&pem));
        store_call_number(call, (int64_t)sys_wall_ms());
        store_call_number(call, (int64_t)signs_from_ms);
        store_call_number(call, INT64_MAX); // whatever else was made
        auth_key_fini(&key);
    }
    if (pem.at != NULL) {
        OPENSSL_cleanse(pem.at, pem.size);
    }
    buf_reset(&pem);
    if (!ok && call != NULL) {
        store_call_free(call);
        call = NULL;
    }
    return call;
}

static bool store_is_there(const struct platform_setup *setup)
{
    if (setup->config.database != NULL || sys_file_exists(setup->store_path)) {
        return true;
    }
    fprintf(stderr, "%s: there is no %s yet; start weir platform once\n", setup->who,
        setup->store_path);
    return false;
}

static int rotate(struct platform_setup *setup, const char *in_text)
{
    uint64_t in_s = setup->config.keys_ahead_s;
    struct platform_key_state states[KEYS_MAX];
    if (in_text != NULL &&
        number_parse_u64(slice_str(in_text), 365 * UINT64_C(86400), &in_s) != WEIR_OK) {
        fprintf(stderr, "%s: --in \"%s\" is not usable; allowed: seconds\n", setup->who, in_text);
        return EXIT_USAGE;
    }
    if (!store_is_there(setup)) {
        return EXIT_UNAVAILABLE;
    }
    int exit_code = platform_setup_sync(setup, NULL);
    if (exit_code != EXIT_FINE) {
        return exit_code;
    }
    if (platform_describe_keys(setup->platform, states, KEYS_MAX) >= KEYS_ROTATE_MAX) {
        fprintf(stderr, "%s: there are %d keys already; drop those that nobody needs\n", setup->who,
            KEYS_ROTATE_MAX);
        return EXIT_REFUSED;
    }
    struct store_call *call = call_for_new_key(sys_wall_ms() + in_s * 1000);
    if (call == NULL) {
        fprintf(stderr, "%s: the key cannot be made\n", setup->who);
        return EXIT_FAILED;
    }
    exit_code = platform_setup_sync(setup, call);
    return exit_code == EXIT_FINE ? print_keys(setup) : exit_code;
}

static int drop(struct platform_setup *setup, const char *id)
{
    struct platform_key_state states[KEYS_MAX];
    if (!store_is_there(setup)) {
        return EXIT_UNAVAILABLE;
    }
    int exit_code = platform_setup_sync(setup, NULL);
    size_t count = platform_describe_keys(setup->platform, states, KEYS_MAX);
    bool known = false;
    for (size_t i = 0; i < count && exit_code == EXIT_FINE; i++) {
        known = known || strcmp(states[i].id, id) == 0;
        if (strcmp(states[i].id, id) == 0 && strcmp(states[i].state, "signs") == 0) {
            fprintf(stderr,
                "%s: %s signs right now; rotate first, and drop it when the next one signs\n",
                setup->who, id);
            return EXIT_REFUSED;
        }
    }
    if (exit_code != EXIT_FINE) {
        return exit_code;
    }
    if (!known) {
        fprintf(stderr, "%s: there is no key %s\n", setup->who, id);
        return EXIT_DATA;
    }
    struct store_call *call = store_call_new(STORE_KEY_DROP, NULL, NULL);
    if (call == NULL) {
        return EXIT_FAILED;
    }
    store_call_text(call, slice_str(id));
    exit_code = platform_setup_sync(setup, call);
    return exit_code == EXIT_FINE ? print_keys(setup) : exit_code;
}

static int run_verb(struct platform_setup *setup, int count, char **argv, const char *in_text)
{
    const char *verb = count == 0 ? "list" : argv[0];
    if (count <= 1 && strcmp(verb, "list") == 0) {
        int exit_code = platform_setup_sync(setup, NULL);
        return exit_code == EXIT_FINE ? print_keys(setup) : exit_code;
    }
    if (count == 1 && strcmp(verb, "rotate") == 0) {
        return rotate(setup, in_text);
    }
    if (count == 2 && strcmp(verb, "drop") == 0) {
        return drop(setup, argv[1]);
    }
    fprintf(stderr, "%s: allowed: list, rotate, drop -- KEY\n", setup->who);
    return EXIT_USAGE;
}

static int run_keys(const struct command *command, int argc, char **argv)
{
    const char *values[KEYS_OPTION_COUNT] = {NULL};
    static struct platform_setup setup;
    int count;
    int exit_code;
    if (!command_parse(command, argc, argv, values, &count, &exit_code)) {
        return exit_code;
    }
    exit_code = platform_setup_open(&setup, &(struct platform_setup_options){
                                                .who = "weir platform keys",
                                                .file = values[KEYS_FILE],
                                                .state_dir = values[KEYS_STATE_DIR],
                                            });
    if (exit_code == EXIT_FINE) {
        exit_code = run_verb(&setup, count, argv, values[KEYS_IN]);
    }
    platform_setup_close(&setup);
    return exit_code;
}

static const struct command command_platform_keys = {
    .name = "platform keys",
    .summary = "List the signing keys, make a new one, or drop one that has leaked",
    .usage = "[list|rotate|drop -- KEY]",
    .options = keys_options,
    .run = run_keys,
    .words = "list|rotate|drop",
};

// ---- weir platform

enum {
    OPTION_FILE,
    OPTION_STATE_DIR,
    OPTION_LISTEN,
    OPTION_USER,
    OPTION_NO_SANDBOX,
    OPTION_COUNT
};

static const struct option_row options[] = {
    [OPTION_FILE] = {"--config", "FILE", "with a section platform: (WEIR_PLATFORM_CONFIG)",
        .alias = "-c", .flags = OPTION_PATH},
    [OPTION_STATE_DIR] = {"--state-dir", "DIR",
        "secrets, keys and the embedded store "
        "(WEIR_STATE_DIR)"},
    [OPTION_LISTEN] = {"--listen", "ADDR:PORT", "where to listen (WEIR_PLATFORM_LISTEN)"},
    [OPTION_USER] = SANDBOX_ROW_USER,
    [OPTION_NO_SANDBOX] = SANDBOX_ROW_OFF,
    [OPTION_COUNT] = {NULL, NULL, NULL},
};

static int serve(struct platform_setup *setup)
{
    static struct platform_server server;
    if (!platform_server_init(&server, setup, true)) {
        return EXIT_FAILED;
    }
    return process_run(&(struct process_options){
        .parts = (struct part *[]){&server.part},
        .part_count = 1,
        .workers = 1,
        .max_logs = LOG_LINES_KEPT,
        .problems = &setup->problems,
    });
}

static int run(const struct command *command, int argc, char **argv)
{
    const char *values[OPTION_COUNT] = {NULL};
    static struct platform_setup setup;
    int count;
    int exit_code;
    if (!command_parse(command, argc, argv, values, &count, &exit_code)) {
        return exit_code;
    }
    if (count > 0) {
        fprintf(
            stderr, "weir platform: \"%s\" is not understood; see weir platform --help\n", argv[0]);
        return EXIT_USAGE;
    }
    exit_code = sandbox_begin(values[OPTION_USER], values[OPTION_NO_SANDBOX]);
    if (exit_code != EXIT_FINE) {
        return exit_code;
    }
    exit_code = platform_setup_open(&setup, &(struct platform_setup_options){
                                                .who = "weir platform",
                                                .file = values[OPTION_FILE],
                                                .state_dir = values[OPTION_STATE_DIR],
                                                .listen = values[OPTION_LISTEN],
                                            });
    if (exit_code == EXIT_FINE) {
        exit_code = serve(&setup);
    }
    platform_setup_close(&setup);
    return exit_code;
}

static const struct command *const children[] = {&command_platform_keys, NULL};

const struct command command_platform = {
    .name = "platform",
    .summary = "Run the control plane that relays need: admission, tokens, presence and bus",
    .usage = "[keys]",
    .options = options,
    .run = run,
    .children = children,
};
