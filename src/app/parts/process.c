// SPDX-License-Identifier: Apache-2.0
// Invariants:
// 1. Signals are handled on worker 0 only, which runs on the main thread.
// 2. The crew ends by itself in two ways: the last part is drained, or a worker could not start.
// 3. Draining has a deadline: the longest that any part allows itself.
// 4. Signals are held from the first line on, before there is any other thread: one that comes
// while
//    the parts open is handled when the loop begins.
#include "app/parts/process.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "app/command.h"
#include "app/sandbox.h"
#include "base/mem.h"
#include "base/time.h"
#include "cli/faults.h"
#include "http/client.h"
#include "loop/resolver.h"
#include "loop/signal_watch.h"
#include "stream/listener.h"
#include "stream/websocket.h"
#include "sys/notices.h"
#include "sys/process.h"
#include "sys/spawner.h"
#include "sys/supervisor.h"

#define PROBLEM_SIZE 512
#define OWN_DESCRIPTORS 64 // log, loops, timers, connections to a platform

static const int signal_numbers[] = {SIGTERM, SIGINT, SIGHUP};
#define SIGNAL_COUNT (sizeof signal_numbers / sizeof signal_numbers[0])

struct process {
    const struct process_options *options;
    struct crew crew;
    struct signal_watch signals;
    struct timer drain_deadline; // on worker 0
    atomic_uint undrained;       // parts
    bool draining;
};

// ---- Draining

void part_drained(struct part *part)
{
    struct process *process = part->process;
    if (!atomic_exchange(&part->drained, true) && atomic_fetch_sub(&process->undrained, 1) == 1) {
        crew_stop(&process->crew);
    }
}

static void on_drain_deadline(struct timer *timer)
{
    struct process *process = container_of(timer, struct process, drain_deadline);
    const struct process_options *options = process->options;
    for (size_t i = 0; i < options->part_count; i++) {
        if (!atomic_load(&options->parts[i]->drained)) {
            struct log_line line;
            log_begin(&line, LOG_DRAIN_TIMEOUT);
            log_text(&line, "part", options->parts[i]->ops->name);
            log_end(&line);
        }
    }
    crew_stop(&process->crew);
}

static void log_stopping(const struct part *part, int number)
{
    if (part->ops->stopping != LOG_EVENT_COUNT) {
        struct log_line line;
        log_begin(&line, part->ops->stopping);
        log_text(&line, "signal", number == SIGTERM ? "SIGTERM" : "SIGINT");
        log_end(&line);
    }
}

static void drain(struct process *process, int number)
{
    const struct process_options *options = process->options;
    uint64_t longest_ns = 0;
    process->draining = true;
    sys_supervisor_tell("STOPPING=1");
    for (size_t i = 0; i < options->part_count; i++) {
        struct part *part = options->parts[i];
        longest_ns = part->drain_max_ns > longest_ns ? part->drain_max_ns : longest_ns;
        log_stopping(part, number);
    }
    worker_arm_in(&process->crew.workers[0], &process->drain_deadline, longest_ns);
    for (size_t i = 0; i < options->part_count; i++) {
        struct part *part = options->parts[i];
        if (part->ops->drain == NULL) {
            part_drained(part);
        } else {
            part->ops->drain(part);
        }
    }
}

// ---- Signals

static void reload(struct process *process)
{
    const struct process_options *options = process->options;
    struct log_line line;
    log_begin(&line, LOG_RELOAD);
    for (size_t i = 0; i < options->part_count; i++) {
        struct part *part = options->parts[i];
        const char *what = NULL;
        if (part->ops->reload != NULL && !process->draining) {
            what = part->ops->reload(part);
        }
        log_text(&line, part->ops->name, what == NULL ? "nothing to reload" : what);
    }
    log_end(&line);
}

static void on_signal(struct signal_watch *signals, int number)
{
    struct process *process = container_of(signals, struct process, signals);
    if (number == SIGHUP) {
        sys_supervisor_tell_reload();
        reload(process);
        sys_supervisor_tell(process->draining ? "STOPPING=1" : "READY=1");
    } else if (process->draining) {
        _exit(EXIT_FINE); // a second one: now
    } else {
        drain(process, number);
    }
}

// ---- Workers

static void note_started(const struct process *process)
{
    const struct process_options *options = process->options;
    for (size_t i = 0; i < options->part_count; i++) {
        if (options->parts[i]->ops->started != NULL) {
            options->parts[i]->ops->started(options->parts[i]);
        }
    }
    sys_supervisor_tell("READY=1");
    if (options->ready != NULL) {
        options->ready(options->arg);
    }
}

static enum weir_result start_worker(struct worker *worker, void *arg)
{
    const struct process *process = arg;
    const struct process_options *options = process->options;
    for (size_t i = 0; i < options->part_count; i++) {
        struct part *part = options->parts[i];
        char problem[PROBLEM_SIZE] = "";
        enum weir_result result = part->ops->start_worker(part, worker, problem, sizeof problem);
        if (result != WEIR_OK) {
            fprintf(stderr, "weir: worker %u cannot start: %s (%s)\n", worker->index,
                problem[0] == '\0' ? "no resources" : problem, weir_result_text(result));
            return result;
        }
    }
    if (worker->index == 0) {
        note_started(process);
    }
    return WEIR_OK;
}

static void stop_worker(struct worker *worker, void *arg)
{
    struct process *process = arg;
    const struct process_options *options = process->options;
    if (worker->index == 0) {
        timer_cancel(&process->drain_deadline);
    }
    for (size_t i = options->part_count; i > 0; i--) {
        options->parts[i - 1]->ops->stop_worker(options->parts[i - 1], worker);
    }
    http_client_fini(worker);
    resolver_fini(worker);
    worker_settle(worker);
    ws_worker_fini(worker);
}

// ---- Start

static enum weir_result open_parts(struct process *process)
{
    const struct process_options *options = process->options;
    for (size_t i = 0; i < options->part_count; i++) {
        struct part *part = options->parts[i];
        char problem[PROBLEM_SIZE] = "";
        enum weir_result result = WEIR_OK;
        if (part->ops->open != NULL) {
            result = part->ops->open(part, &process->crew, problem, sizeof problem);
        }
        if (result != WEIR_OK) {
            fprintf(stderr, "weir: %s\n", problem[0] == '\0' ? weir_result_text(result) : problem);
            return result;
        }
    }
    return WEIR_OK;
}

static void close_parts(const struct process_options *options)
{
    for (size_t i = options->part_count; i > 0; i--) {
        if (options->parts[i - 1]->ops->close != NULL) {
            options->parts[i - 1]->ops->close(options->parts[i - 1]);
        }
    }
}

// Whose name nobody knows: a word that is spelt wrong would leave a port without an answer.
static void warn_of_sockets(void)
{
    const char *name;
    for (unsigned i = 0; (name = sys_supervisor_left(i)) != NULL; i++) {
        struct log_line line;
        log_begin(&line, LOG_CONFIG_WARNING);
        log_text(&line, "warning",
            "a socket was passed (LISTEN_FDS) under a name that nobody here listens by; see "
            "FileDescriptorName= in docs/operations.md");
        log_text(&line, "name", name);
        log_end(&line);
    }
}

static int run_crew(struct process *process)
{
    struct crew_hooks hooks = {start_worker, stop_worker, process};
    unsigned count = (unsigned)process->options->workers;
    enum weir_result result = crew_init(&process->crew, count == 0 ? sys_cpu_count() : count);
    if (result == WEIR_OK) {
        result = signal_watch_open(
            &process->signals, &process->crew.workers[0], signal_numbers, SIGNAL_COUNT, on_signal);
    }
    if (result != WEIR_OK) {
        fprintf(stderr, "weir: %s\n", weir_result_text(result));
    } else {
        result = open_parts(process);
    }
    if (result == WEIR_OK) {
        result = sandbox_enter(process->options->parts, process->options->part_count);
    }
    if (result == WEIR_OK) {
        // Threads have what they start with: none is there before the sandbox is closed.
        result = log_begin_writing();
    }
    if (result == WEIR_OK) {
        warn_of_sockets();
        result = crew_run(&process->crew, &hooks);
        if (result != WEIR_OK) {
            fprintf(stderr, "weir: ended before its time: %s\n", weir_result_text(result));
        }
    }
    faults_report();
    close_parts(process->options);
    sys_signals_renounce(signal_numbers, SIGNAL_COUNT);
    signal_watch_close(&process->signals);
    crew_fini(&process->crew);
    return result == WEIR_OK ? EXIT_FINE : EXIT_FAILED;
}

static void log_warnings(const struct conf_problems *problems)
{
    struct slice rest = buf_slice(&problems->warnings);
    struct slice text;
    while (slice_split(&rest, '\n', &text)) {
        if (text.len > 0) {
            struct log_line line;
            log_begin(&line, LOG_CONFIG_WARNING);
            log_str(&line, "warning", text);
            log_end(&line);
        }
    }
}

// What a start with its full number of connections may need, and a little for ourselves.
static void check_descriptors(const struct process_options *options)
{
    uint64_t limit = sys_raise_descriptor_limit();
    uint64_t needed = OWN_DESCRIPTORS;
    const struct part *largest = options->parts[0];
    for (size_t i = 0; i < options->part_count; i++) {
        needed += options->parts[i]->descriptors;
        if (options->parts[i]->descriptors > largest->descriptors) {
            largest = options->parts[i];
        }
    }
    if (limit < needed) {
        struct log_line line;
        char text[256];
        snprintf(text, sizeof text,
            "the limit of open files (RLIMIT_NOFILE) is lower than %s needs; raise it with ulimit "
            "-Hn or LimitNOFILE=",
            largest->descriptors_setting);
        log_begin(&line, LOG_CONFIG_WARNING);
        log_text(&line, "warning", text);
        log_u64(&line, "limit", limit);
        log_u64(&line, "needed", needed);
        log_end(&line);
    }
}

static void log_stopped(const struct process_options *options, int exit_code)
{
    for (size_t i = options->part_count; i > 0; i--) {
        enum log_event event = options->parts[i - 1]->ops->stopped;
        if (event != LOG_EVENT_COUNT) {
            struct log_line line;
            log_begin(&line, event);
            log_u64(&line, "exitCode", (uint64_t)exit_code);
            log_end(&line);
        }
    }
}

static int run_with_log(struct process *process)
{
    const struct process_options *options = process->options;
    if (http_client_global_init() != WEIR_OK ||
        log_hold(options->max_logs, STDOUT_FILENO) != WEIR_OK) {
        fputs("weir: out of memory\n", stderr);
        close_parts(options);
        return EXIT_FAILED;
    }
    if (options->problems != NULL) {
        log_warnings(options->problems);
    }
    check_descriptors(options);
    listener_fill_reserve();
    faults_arm();
    int exit_code = run_crew(process);
    log_stopped(options, exit_code);
    log_stop();
    http_client_global_fini();
    return exit_code;
}

int process_run(const struct process_options *options)
{
    struct process *process = mem_zalloc(sizeof *process);
    if (process == NULL) {
        fputs("weir: out of memory\n", stderr);
        return EXIT_FAILED;
    }
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); // a file that may not grow is an error like a full disk
    sys_supervisor_open();
    sys_limit_heaps(2);
    if (sandbox_prepare(options->parts, options->part_count) != WEIR_OK) {
        fputs("weir: the process that starts programs cannot be made\n", stderr);
        mem_free(process);
        return EXIT_FAILED;
    }
    process->options = options;
    timer_init(&process->drain_deadline, on_drain_deadline);
    atomic_store(&process->undrained, (unsigned)options->part_count);
    for (size_t i = 0; i < options->part_count; i++) {
        options->parts[i]->process = process;
    }
    int exit_code = run_with_log(process);
    sys_spawner_close();
    mem_free(process);
    return exit_code;
}
