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

static const int signal_numbers[] = {SIGINT, SIGTERM, SIGWINCH, SIGCONT, SIGHUP};
// without a hangup callback the last one keeps its meaning
#define SIGNAL_COUNT (sizeof signal_numbers / sizeof signal_numbers[0])

void cli_loop_end(struct cli_loop *loop, int exit_code)
{
    if (!loop->ended) {
        loop->ended = true;
        loop->exit_code = exit_code;
        crew_stop(&loop->crew);
    }
}

static void on_signal(struct signal_watch *signals, int number)
{
    struct cli_loop *loop = container_of(signals, struct cli_loop, signals);
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
    size_t count = loop->hangup == NULL ? SIGNAL_COUNT - 1 : SIGNAL_COUNT;
    enum weir_result result =
        signal_watch_open(&loop->signals, worker, signal_numbers, count, on_signal);
    if (result == WEIR_OK) {
        result = ws_worker_init(worker, QUEUED_BYTES_MAX);
    }
    if (result == WEIR_OK) {
        loop->start(loop);
    }
    return result;
}

static void stop_worker(struct worker *worker, void *arg)
{
    struct cli_loop *loop = arg;
    signal_watch_close(&loop->signals);
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
