// SPDX-License-Identifier: Apache-2.0
#include "app/platform_setup.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "app/command.h"
#include "app/sandbox.h"
#include "app/state_dir.h"
#include "base/mem.h"
#include "base/time.h"
#include "cli/loop.h"
#include "sys/file.h"

#define PRINT_BYTES_MAX (256 * 1024)
#define SYNC_TIMEOUT_NS (10 * NS_PER_S)
#define KEYS_MAX 64

// ---- Configuration

static const char *get_nothing(void *arg, const char *name)
{
    (void)arg;
    (void)name;
    return NULL;
}

static bool no_file_exists(void *arg, const char *path)
{
    (void)arg;
    (void)path;
    return false;
}

static const struct conf_source nothing = {get_nothing, no_file_exists, NULL};

static struct platform_config_source source_of(const char *file, bool embedded)
{
    const char *named = getenv(PLATFORM_VARIABLE_PREFIX "CONFIG");
    if (embedded) {
        return (struct platform_config_source){.variables = &nothing};
    }
    return (struct platform_config_source){
        .path = file == NULL && named != NULL && named[0] != '\0' ? named : file,
        .variables = &conf_environment,
        .environment = environ,
    };
}

static int take_listen(struct platform_setup *setup, const char *text)
{
    struct conf_listen listen;
    enum weir_result result =
        text == NULL ? WEIR_OK : conf_listen_parse(slice_str(text), 0, &listen);
    if (result != WEIR_OK) {
        fprintf(
            stderr, "%s: --listen \"%s\" is not usable; allowed: ADDR:PORT\n", setup->who, text);
        return EXIT_USAGE;
    }
    if (text != NULL) {
        mem_free(setup->config.listen.host);
        setup->config.listen = listen;
    }
    return EXIT_FINE;
}

static int read_config(struct platform_setup *setup, const struct platform_setup_options *options)
{
    struct platform_config_source source = source_of(options->file, options->embedded);
    conf_problems_init(&setup->problems);
    if (platform_config_load(&source, &setup->config, NULL, &setup->problems) != WEIR_OK) {
        fprintf(stderr, "%s: out of memory\n", setup->who);
        return EXIT_FAILED;
    }
    if (setup->problems.errors.len > 0) {
        command_print_problems(&setup->problems);
        return EXIT_CONFIG;
    }
    return take_listen(setup, options->listen);
}

// ---- Opening

int platform_setup_open(struct platform_setup *setup, const struct platform_setup_options *options)
{
    enum weir_result result;
    setup->who = options->who;
    int exit_code = read_config(setup, options);
    if (exit_code != EXIT_FINE) {
        return exit_code;
    }
    const char *chosen = options->state_dir == NULL ? setup->config.state_dir : options->state_dir;
    if (!state_dir_find(chosen, setup->state_dir, sizeof setup->state_dir)) {
        return EXIT_USAGE;
    }
    if (!sandbox_own_directory(setup->state_dir)) {
        return EXIT_FAILED;
    }
    snprintf(setup->store_path, sizeof setup->store_path, "%s/platform.db", setup->state_dir);
    setup->platform = platform_open(setup->state_dir,
        &(struct platform_options){
            .internal_key = setup->config.internal_key,
            .admin_token = setup->config.admin_token,
            .no_key = setup->config.database != NULL,
            .frame_bytes_max = (size_t)setup->config.frame_bytes_max,
        },
        &result);
    if (setup->platform == NULL) {
        fprintf(stderr, "%s: cannot use the state directory %s: %s\n", setup->who, setup->state_dir,
            weir_result_text(result));
        return EXIT_FAILED;
    }
    return EXIT_FINE;
}

void platform_setup_close(struct platform_setup *setup)
{
    platform_free(setup->platform);
    platform_config_free(&setup->config);
    conf_problems_fini(&setup->problems);
    setup->platform = NULL;
}

// ---- The store, from a command that ends

struct sync {
    struct cli_loop loop;
    struct platform_setup *setup;
    struct platform_store *store;
    struct store_call *first; // until it runs
    struct timer deadline;
};

static void fail(struct sync *sync, const char *doing)
{
    struct platform_store_health health;
    platform_store_look(sync->store, &health);
    fprintf(stderr, "%s: %s: %s\n", sync->setup->who, doing,
        health.problem[0] == '\0' ? "no answer" : health.problem);
    cli_loop_end(&sync->loop, EXIT_UNAVAILABLE);
}

static void on_told(void *arg, struct slice relay_id)
{
    (void)arg;
    (void)relay_id;
}

static void on_listed(struct store_call *call)
{
    struct sync *sync = call->arg;
    struct platform_key_row rows[KEYS_MAX];
    size_t count = call->row_count < KEYS_MAX ? call->row_count : KEYS_MAX;
    if (call->result != WEIR_OK) {
        fail(sync, "cannot read the signing keys");
        return;
    }
    for (size_t i = 0; i < count; i++) {
        size_t row = call->row_count - count + i;
        rows[i] = (struct platform_key_row){
            .id = store_call_cell(call, row, 0),
            .pem = store_call_cell(call, row, 1),
            .created_ms = (uint64_t)store_call_cell_number(call, row, 2),
            .signs_from_ms = (uint64_t)store_call_cell_number(call, row, 3),
        };
    }
    enum weir_result result =
        count == 0 ? WEIR_OK : platform_take_keys(sync->setup->platform, rows, count);
    if (result != WEIR_OK) {
        fprintf(stderr, "%s: a signing key of the store is not usable: %s\n", sync->setup->who,
            weir_result_text(result));
    } else if (!platform_has_keys(sync->setup->platform)) {
        fprintf(stderr,
            "%s: the database has no signing keys yet; start weir platform on it once\n",
            sync->setup->who);
        result = WEIR_NOT_FOUND;
    }
    cli_loop_end(&sync->loop, result == WEIR_OK ? EXIT_FINE : EXIT_UNAVAILABLE);
}

static void list_keys(struct sync *sync)
{
    struct store_call *call = store_call_new(STORE_KEYS_LIST, on_listed, sync);
    if (call == NULL) {
        cli_loop_end(&sync->loop, EXIT_FAILED);
    } else {
        platform_store_run(sync->store, call);
    }
}

static void on_first(struct store_call *call)
{
    struct sync *sync = call->arg;
    if (call->result == WEIR_OK) {
        list_keys(sync);
    } else {
        fail(sync, "cannot change the signing keys");
    }
}

static void on_deadline(struct timer *timer)
{
    fail(container_of(timer, struct sync, deadline), "cannot use the store");
}

static void start(struct cli_loop *loop)
{
    struct sync *sync = container_of(loop, struct sync, loop);
    const struct platform_config *config = &sync->setup->config;
    sync->store = platform_store_open(&(struct platform_store_options){
        .worker = loop->worker,
        .url = config->database,
        .path = sync->setup->store_path,
        .told = on_told,
    });
    if (sync->store == NULL) {
        fprintf(stderr, "%s: out of memory\n", sync->setup->who);
        cli_loop_end(loop, EXIT_FAILED);
        return;
    }
    timer_init(&sync->deadline, on_deadline);
    worker_arm_in(loop->worker, &sync->deadline, SYNC_TIMEOUT_NS);
    struct store_call *first = sync->first;
    sync->first = NULL;
    if (first == NULL) {
        list_keys(sync);
    } else {
        first->done = on_first;
        first->arg = sync;
        platform_store_run(sync->store, first);
    }
}

static void interrupt(struct cli_loop *loop)
{
    cli_loop_end(loop, EXIT_FAILED);
}

static void stop(struct cli_loop *loop)
{
    struct sync *sync = container_of(loop, struct sync, loop);
    if (sync->store != NULL) {
        timer_cancel(&sync->deadline);
        platform_store_close(sync->store);
    }
}

int platform_setup_sync(struct platform_setup *setup, struct store_call *call)
{
    struct sync sync = {
        .loop = {.start = start, .stop = stop, .interrupt = interrupt},
        .setup = setup,
        .first = call,
    };
    if (setup->config.database == NULL && !sys_file_exists(setup->store_path)) {
        weir_assert(call == NULL);
        return EXIT_FINE;
    }
    char problem[256];
    int exit_code = EXIT_UNAVAILABLE;
    if (platform_store_load(setup->config.database, problem, sizeof problem) == WEIR_OK) {
        exit_code = cli_loop_run(&sync.loop);
    } else {
        fprintf(stderr, "%s: %s\n", setup->who, problem);
    }
    if (sync.first != NULL) {
        store_call_free(sync.first);
    }
    return exit_code;
}

// ---- weir config

static int look_at(const char *file, bool print)
{
    struct platform_config_source source = source_of(file, false);
    struct conf_problems problems;
    struct platform_config config;
    struct buf out = BUF_INIT(PRINT_BYTES_MAX);
    size_t count;
    (void)platform_config_rows(&count);
    bool *set = mem_zalloc(count * sizeof *set);
    conf_problems_init(&problems);
    int exit_code = EXIT_FAILED;
    if (set != NULL && platform_config_load(&source, &config, set, &problems) == WEIR_OK) {
        exit_code = command_print_problems(&problems) ? EXIT_FINE : EXIT_CONFIG;
        if (print) {
            platform_config_print(&config, set, &out);
        } else if (exit_code == EXIT_FINE) {
            buf_append_str(&out, "platform: fine\n");
        }
    }
    const char *text = buf_text(&out);
    if (text == NULL || out.failed || fputs(text, stdout) < 0) {
        exit_code = EXIT_FAILED;
    }
    if (set != NULL) {
        platform_config_free(&config);
    }
    buf_reset(&out);
    conf_problems_fini(&problems);
    mem_free(set);
    return exit_code;
}

int platform_setup_check(const char *file)
{
    return look_at(file, false);
}

int platform_setup_print(const char *file)
{
    return look_at(file, true);
}
