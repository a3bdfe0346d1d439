// SPDX-License-Identifier: Apache-2.0
#include "cli/loop.h"

#include <signal.h>
#include <stdio.h>

#include "cli/command.h"
#include "cli/faults.h"
#include "http/client.h"
#include "loop/resolver.h"
#include "stream/websocket.h"

#define QUEUED_BYTES_MAX (1024 * 1024) // of websockets, in both directions

static const int numbers[CLI_LOOP_SIGNALS] = {SIGINT, SIGTERM, SIGWINCH, SIGCONT, SIGHUP};

void cli_loop_end(struct cli_loop *loop, int exit_code)
{
    if (!loop->ended) {
        loop->ended = true;
        loop->exit_code = exit_code;
        crew_stop(&loop->crew);
    }
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct cli_loop *loop = handle->data;
    bool asks_for_end = number == SIGINT || number == SIGTERM;
    if (asks_for_end && loop->interrupt != NULL) {
        loop->interrupt(loop);
    } else if (asks_for_end) {
        cli_loop_end(loop, EXIT_FINE);
    } else if (number == SIGHUP) {
        loop->hangup(loop);
    } else if (loop->screen != NULL && !loop->ended) {
        loop->screen(loop);
    }
}

static enum weir_result start_worker(struct worker *worker, void *arg)
{
    struct cli_loop *loop = arg;
    loop->worker = worker;
    for (size_t i = 0; i < CLI_LOOP_SIGNALS; i++) {
        uv_signal_t *handle = &loop->signals[i];
        handle->data = loop;
        if (numbers[i] == SIGHUP && loop->hangup == NULL) {
            continue;
        }
        if (uv_signal_init(&worker->loop, handle) != 0 ||
            uv_signal_start(handle, on_signal, numbers[i]) != 0) {
            return WEIR_DESCRIPTORS;
        }
    }
    enum weir_result result = ws_worker_init(worker, QUEUED_BYTES_MAX);
    if (result == WEIR_OK) {
        loop->start(loop);
    }
    return result;
}

static void stop_worker(struct worker *worker, void *arg)
{
    struct cli_loop *loop = arg;
    if (loop->stop != NULL && loop->worker != NULL) {
        loop->stop(loop);
    }
    worker_settle(worker);
    resolver_fini(worker);
    http_client_fini(worker);
    worker_settle(worker);
    ws_worker_fini(worker);
}

int cli_loop_run(struct cli_loop *loop)
{
    struct crew_hooks hooks = {start_worker, stop_worker, loop};
    signal(SIGPIPE, SIG_IGN);
    faults_arm();
    enum weir_result result = http_client_global_init();
    if (result == WEIR_OK) {
        result = crew_init(&loop->crew, 1);
        if (result == WEIR_OK) {
            result = crew_run(&loop->crew, &hooks);
        }
        crew_fini(&loop->crew);
        http_client_global_fini();
    }
    faults_report();
    if (result != WEIR_OK) {
        fprintf(stderr, "%s: %s\n", command_program(), weir_result_text(result));
        return EXIT_FAILED;
    }
    return loop->exit_code;
}
