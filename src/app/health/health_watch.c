// SPDX-License-Identifier: Apache-2.0
//   tick ──► view: of the monitor in this process, or of the document a server answers with
//        ──► terminal: screen_paint    pipe: a JSON document if something changed, or a table
//   news of the server (health_feed) ──► the same, without waiting for the tick
//   keys ──► screen_key ──► paint, check now, end
//
// The terminal is given back on every way out that is not a crash.
#include "app/health/health_watch.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "app/command.h"
#include "app/health/health_feed.h"
#include "app/health/health_screen.h"
#include "base/siphash.h"
#include "base/time.h"
#include "cli/paint.h"
#include "loop/resolver.h"
#include "loop/signal_watch.h"
#include "sys/file.h"
#include "sys/terminal.h"

#define PROBLEM_SIZE 512
#define CHECK_PATH_SIZE 1024
#define DOCUMENT_MAX (64 * 1024 * 1024)
#define NEWS_NS (100 * NS_PER_MS) // what happens together is asked for once

static const int signal_numbers[] = {SIGINT, SIGTERM, SIGWINCH, SIGCONT};
#define SIGNAL_COUNT (sizeof signal_numbers / sizeof signal_numbers[0])

struct watching {
    const struct health_watch_options *options;
    struct crew crew;
    struct worker *worker;
    struct monitor monitor;
    struct health_feed feed;    // of the server
    struct timer news;          // when to ask because of it
    bool unasked;               // news that came while a question was under way
    struct http_call *call;     // under way; NULL: none
    struct http_call *checking; // a check that a key asked for; NULL: none
    struct buf document;        // the newest from the server; empty: none yet
    char problem[PROBLEM_SIZE]; // why there is no newer one; "": there is
    struct timer tick;
    struct screen screen;
    struct sys_terminal terminal;
    struct watch keys;
    struct signal_watch signals;
    uint64_t shown; // what the last JSON document said
    int exit_code;
    bool on_terminal;
    bool keys_open;
    bool ended;
};

// The first end counts.
static void end(struct watching *watching, int exit_code)
{
    if (watching->ended) {
        return;
    }
    watching->ended = true;
    watching->exit_code = exit_code;
    crew_stop(&watching->crew);
}

// ---- What is known

static enum weir_result look(struct watching *watching, struct view *view)
{
    const struct view_filter *filter = &watching->options->ask->filter;
    if (watching->options->server == NULL) {
        enum weir_result result = view_of_monitor(view, &watching->monitor, filter);
        view->source = "direct";
        return result;
    }
    return view_of_dashboard(view, buf_slice(&watching->document), filter);
}

// ---- Showing

static bool print(struct watching *watching, const struct buf *out)
{
    struct slice text = buf_slice(out);
    bool ok = !out->failed && sys_write_all(STDOUT_FILENO, text.at, text.len) == WEIR_OK;
    if (!ok) {
        end(watching, EXIT_FAILED); // nobody reads
    }
    return ok;
}

// What makes a difference to a reader: not times, ages and scores.
static uint64_t signature(struct watching *watching, const struct view *view)
{
    struct buf text = BUF_INIT(DOCUMENT_MAX);
    for (size_t i = 0; i < view->service_count; i++) {
        const struct view_service *row = &view->services[i];
        buf_printf(&text, "%s@%s %d %s %d\n", row->service, row->machine, (int)row->status,
            row->reason, row->maintenance);
    }
    struct slice all = buf_slice(&text);
    uint64_t hash = siphash(&watching->worker->seed, all.at, all.len);
    buf_reset(&text);
    return hash == 0 ? 1 : hash;
}

static void show_in_pipe(struct watching *watching, const struct view *view)
{
    const struct health_ask *ask = watching->options->ask;
    uint64_t now = signature(watching, view);
    bool named_is_gone = ask->service != NULL && view->service_count == 0;
    if (named_is_gone || (ask->json && now == watching->shown)) {
        return;
    }
    watching->shown = now;
    struct buf out = BUF_INIT(HEALTH_OUTPUT_MAX);
    health_write(ask, view, &out);
    (void)print(watching, &out); // the end is on its way when nobody reads
    buf_reset(&out);
}

static void show(struct watching *watching)
{
    const struct health_ask *ask = watching->options->ask;
    struct view view;
    if (watching->ended) {
        return;
    }
    bool known = look(watching, &view) == WEIR_OK;
    if (!known) {
        view_fini(&view);
        view = (struct view){.source = "none"};
    }
    watching->exit_code = health_exit_code(ask, &view);
    if (known && !ask->quiet && !watching->on_terminal) {
        show_in_pipe(watching, &view);
    }
    if (watching->on_terminal) {
        struct buf out = BUF_INIT(HEALTH_OUTPUT_MAX);
        sys_terminal_size(STDOUT_FILENO, &watching->screen.rows, &watching->screen.columns);
        screen_paint(&watching->screen, &view, ask,
            watching->problem[0] == '\0' ? NULL : watching->problem, &out);
        (void)print(watching, &out);
        buf_reset(&out);
    }
    view_fini(&view);
}

// ---- Asking a server

static void on_document(void *arg, const struct http_call_result *result)
{
    struct watching *watching = arg;
    watching->call = NULL;
    watching->problem[0] = '\0';
    if (result->outcome == HTTP_CALL_ANSWERED && result->status == 200) {
        buf_reset(&watching->document);
        (void)buf_append_slice(&watching->document, result->body); // then the view is empty
    } else {
        health_fetch_describe(
            watching->options->server, result, watching->problem, sizeof watching->problem);
        if (!watching->on_terminal) {
            fprintf(stderr, "weir health: %s\n", watching->problem);
        }
    }
    show(watching);
    if (watching->unasked) {
        watching->unasked = false;
        worker_arm_in(watching->worker, &watching->news, NEWS_NS);
    }
}

static void ask_again(struct watching *watching)
{
    if (watching->options->server == NULL) {
        show(watching);
    } else if (watching->call == NULL) {
        watching->call = health_fetch_start(
            watching->worker, watching->options->server, &health_dashboard, on_document, watching);
    }
}

static void on_tick(struct timer *timer)
{
    struct watching *watching = container_of(timer, struct watching, tick);
    worker_arm_in(watching->worker, timer, watching->options->interval_ns);
    if (!watching->screen.paused) {
        ask_again(watching);
    }
}

static void on_news_due(struct timer *timer)
{
    struct watching *watching = container_of(timer, struct watching, news);
    watching->unasked = watching->call != NULL;
    if (!watching->screen.paused) {
        ask_again(watching);
    }
}

static void on_news(void *arg)
{
    struct watching *watching = arg;
    if (!timer_armed(&watching->news)) {
        worker_arm_in(watching->worker, &watching->news, NEWS_NS);
    }
}

// What is a result in a pipe's JSON need not wait for the tick.
static void on_changed(void *arg, struct target *target, const struct state_change *change)
{
    struct watching *watching = arg;
    (void)target;
    (void)change;
    if (!watching->screen.paused) {
        worker_arm_in(watching->worker, &watching->tick, 0);
    }
}

// ---- Keys and signals

static void on_checked(void *arg, const struct http_call_result *result)
{
    struct watching *watching = arg;
    watching->checking = NULL;
    if (result->outcome != HTTP_CALL_ANSWERED || result->status / 100 != 2) {
        health_fetch_describe(
            watching->options->server, result, watching->problem, sizeof watching->problem);
    }
    show(watching); // what comes of the check is news
}

// Has a monitor check the service under the cursor.
static void check_selected(struct watching *watching)
{
    const char *service = watching->screen.selected_service;
    char path[CHECK_PATH_SIZE];
    if (service[0] == '\0' || watching->checking != NULL) {
        return;
    }
    size_t len = (size_t)snprintf(path, sizeof path, "/api/health/check/");
    for (const char *at = service; *at != '\0' && len + 4 < sizeof path; at++) {
        len += (size_t)snprintf(path + len, sizeof path - len, "%%%02X", (unsigned char)*at);
    }
    watching->checking = health_fetch_start(watching->worker, watching->options->server,
        &(struct health_question){.method = "POST", .path = path}, on_checked, watching);
}

static void check_all(struct watching *watching)
{
    for (size_t i = 0; i < watching->monitor.target_count; i++) {
        (void)monitor_check_now(watching->monitor.targets[i]); // one that runs is as good
    }
    ask_again(watching);
}

static void on_keys(struct watch *watch, unsigned events)
{
    struct watching *watching = container_of(watch, struct watching, keys);
    unsigned char bytes[64];
    size_t len = 0;
    (void)events;
    enum weir_result result = sys_read_some(STDIN_FILENO, bytes, sizeof bytes, &len);
    if (result == WEIR_AGAIN) {
        return;
    }
    if (result != WEIR_OK) {
        end(watching, watching->exit_code); // the terminal is gone
        return;
    }
    for (size_t i = 0; i < len; i++) {
        switch (screen_key(&watching->screen, bytes[i])) {
        case SCREEN_QUIT:
            end(watching, watching->exit_code);
            return;
        case SCREEN_CHECK:
            if (watching->options->server == NULL) {
                check_all(watching);
            } else {
                check_selected(watching);
            }
            break;
        case SCREEN_PAINT:
            show(watching);
            break;
        case SCREEN_NOTHING:
            break;
        }
    }
}

static void enter_terminal(struct watching *watching)
{
    if (sys_terminal_enter(&watching->terminal, STDIN_FILENO)) {
        sys_terminal_guard(&watching->terminal, PAINT_LEAVE);
        struct buf out = BUF_INIT(64);
        buf_append_str(&out, PAINT_ENTER); // it fits
        (void)print(watching, &out);
        buf_reset(&out);
    }
}

static void on_signal(struct signal_watch *signals, int number)
{
    struct watching *watching = container_of(signals, struct watching, signals);
    if (number == SIGINT || number == SIGTERM) {
        end(watching, 128 + number);
    } else if (watching->on_terminal) {
        if (number == SIGCONT) {
            enter_terminal(watching);
        }
        show(watching);
    }
}

// ---- Life

static enum weir_result start(struct worker *worker, void *arg)
{
    struct watching *watching = arg;
    const struct health_watch_options *options = watching->options;
    watching->worker = worker;
    enum weir_result result =
        signal_watch_open(&watching->signals, worker, signal_numbers, SIGNAL_COUNT, on_signal);
    if (result == WEIR_OK && options->server == NULL) {
        registry_ref(options->registry);
        result = monitor_open(&watching->monitor, worker,
            &(struct monitor_options){
                .ssh_dir = options->ssh_dir,
                .hooks = {.changed = on_changed, .arg = watching},
            },
            options->registry);
    }
    if (result == WEIR_OK && options->server != NULL) {
        result = health_feed_open(&watching->feed, worker, options->server, on_news, watching);
    }
    if (result == WEIR_OK && watching->on_terminal) {
        enter_terminal(watching);
        result = watch_open(worker, &watching->keys, STDIN_FILENO, on_keys);
        watching->keys_open = result == WEIR_OK;
    }
    if (result != WEIR_OK) {
        return result;
    }
    if (watching->on_terminal) {
        watch_want(&watching->keys, WATCH_READ);
    }
    if (options->server == NULL) {
        check_all(watching); // a person wants to see something now
    }
    worker_arm_in(worker, &watching->tick, 0);
    return WEIR_OK;
}

static void on_keys_closed(struct watch *watch)
{
    (void)watch; // its memory outlives the loop
}

static void stop(struct worker *worker, void *arg)
{
    struct watching *watching = arg;
    if (watching->terminal.raw) {
        struct buf out = BUF_INIT(64);
        buf_append_str(&out, PAINT_LEAVE); // it fits
        (void)print(watching, &out);
        buf_reset(&out);
        sys_terminal_leave(&watching->terminal);
    }
    timer_cancel(&watching->tick);
    signal_watch_close(&watching->signals);
    if (watching->keys_open) {
        watch_close(&watching->keys, on_keys_closed);
    }
    timer_cancel(&watching->news);
    health_feed_close(&watching->feed);
    http_call_cancel(watching->call);
    http_call_cancel(watching->checking);
    monitor_close(&watching->monitor);
    resolver_fini(worker);
    http_client_fini(worker);
    worker_settle(worker);
    health_feed_fini(&watching->feed, worker);
}

int health_watch(const struct health_watch_options *options)
{
    struct watching watching = {.options = options, .exit_code = EXIT_FAILED};
    struct crew_hooks hooks = {start, stop, &watching};
    watching.on_terminal = !options->ask->json && !options->ask->quiet && isatty(STDOUT_FILENO) &&
                           isatty(STDIN_FILENO);
    buf_init(&watching.document, DOCUMENT_MAX);
    timer_init(&watching.tick, on_tick);
    timer_init(&watching.news, on_news_due);
    signal(SIGPIPE, SIG_IGN);
    enum weir_result result = http_client_global_init();
    if (result == WEIR_OK) {
        result = crew_init(&watching.crew, 1);
        if (result == WEIR_OK) {
            result = crew_run(&watching.crew, &hooks);
        }
        crew_fini(&watching.crew);
        http_client_global_fini();
    }
    registry_unref(options->registry);
    buf_reset(&watching.document);
    if (result != WEIR_OK) {
        fprintf(stderr, "weir health: %s\n", weir_result_text(result));
        return EXIT_FAILED;
    }
    return watching.exit_code;
}
