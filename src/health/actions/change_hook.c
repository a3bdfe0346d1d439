// SPDX-License-Identifier: Apache-2.0
//   look ──state is another than told──► due ──a call is free──► told, quiet ──time is over──► look
//
// 1. A target is in one of the lists at most; in none it is as it was told.
// 2. `hook_told` of a target is what was told last, healthy before that. What another monitor
// checks
//    is told by that one, and taken for told here; maintenance is not told, and looked at when it
//    is over.
// 3. A call refers to no target: targets may go while it is under way.
#include "health/actions/change_hook.h"

#include <stdio.h>

#include "base/mem.h"
#include "base/time.h"
#include "health/actions/program.h"
#include "http/client.h"
#include "obs/log.h"
#include "proto/json_write.h"
#include "sys/clock.h"

#define TIMEOUT_NS (30 * NS_PER_S)
#define ANSWER_MAX 65536
#define BODY_MAX 8192
#define NAME_SIZE 256
#define LINE_SIZE (NAME_SIZE + 64)

struct hook_call {
    struct change_hook *hook;
    struct program *program; // one of the two
    struct http_call *call;
    char service[NAME_SIZE];
};

// What is told of a change.
struct change {
    const char *service;
    const char *machine;
    enum health_status before;
    enum health_status now;
    char message[TARGET_TEXT_SIZE];
    char time[TIME_ISO_SIZE];
};

static void start_calls(struct change_hook *hook);

// ---- Calls

static void end_call(struct hook_call *call, const char *problem)
{
    struct change_hook *hook = call->hook;
    if (problem != NULL) {
        struct log_line line;
        hook->failed++;
        log_begin(&line, LOG_HEALTH_HOOK_FAILED);
        log_text(&line, "service", call->service);
        log_text(&line, "problem", problem);
        log_end(&line);
    }
    for (size_t i = 0; i < HOOK_CALLS_MAX; i++) {
        hook->calls[i] = hook->calls[i] == call ? NULL : hook->calls[i];
    }
    mem_free(call);
}

static void on_ended(void *arg, const char *problem)
{
    struct hook_call *call = arg;
    struct change_hook *hook = call->hook;
    end_call(call, problem);
    start_calls(hook);
}

static void on_answer(void *arg, const struct http_call_result *result)
{
    char problem[64];
    snprintf(problem, sizeof problem, "HTTP %u", result->status);
    bool answered = result->outcome == HTTP_CALL_ANSWERED;
    on_ended(arg, answered && result->status / 100 == 2  ? NULL
                  : answered                             ? problem
                  : result->outcome == HTTP_CALL_TIMEOUT ? "no answer in time"
                                                         : result->error);
}

static bool run_command(struct hook_call *call, const struct change *change, char *problem)
{
    char lines[6][sizeof change->message + LINE_SIZE];
    const char *env[7] = {NULL};
    const char *const names[] = {
        "SERVICE", "MACHINE", "STATUS", "PREVIOUS_STATUS", "MESSAGE", "TIMESTAMP"};
    const char *const values[] = {change->service, change->machine, health_status_name(change->now),
        health_status_name(change->before), change->message, change->time};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        snprintf(lines[i], sizeof lines[i], "WEIR_%s=%s", names[i], values[i]);
        env[i] = lines[i];
    }
    call->program = program_start(call->hook->worker,
        &(struct program_options){
            .command = call->hook->what,
            .env = env,
            .timeout_ns = TIMEOUT_NS,
            .ended = on_ended,
            .arg = call,
        },
        problem);
    return call->program != NULL;
}

static void write_body(struct buf *body, const struct change *change)
{
    struct json_writer writer;
    json_writer_init(&writer, body);
    jsonw_object_begin(&writer, NULL);
    jsonw_text(&writer, "type", "health_status_change");
    jsonw_text(&writer, "service", change->service);
    jsonw_text(&writer, "machine", change->machine);
    jsonw_text(&writer, "previous_status", health_status_name(change->before));
    jsonw_text(&writer, "new_status", health_status_name(change->now));
    jsonw_text(&writer, "message", change->message);
    jsonw_text(&writer, "timestamp", change->time);
    jsonw_object_end(&writer);
}

static bool ask_url(struct hook_call *call, const struct change *change, char *problem)
{
    static const struct http_tls_profile trusting_the_system = {.verify = true};
    struct buf body = BUF_INIT(BODY_MAX);
    write_body(&body, change);
    call->call = body.failed
                     ? NULL
                     : http_call_start(call->hook->worker,
                           &(struct http_call_options){
                               .method = "POST",
                               .url = call->hook->what,
                               .headers = (const char *const[]){"Content-Type: application/json",
                                   "User-Agent: portoser-health/" WEIR_VERSION, NULL},
                               .body = buf_slice(&body),
                               .tls = &trusting_the_system,
                               .timeout_ns = TIMEOUT_NS,
                               .response_max = ANSWER_MAX,
                               .cut_body = true,
                           },
                           on_answer, call);
    buf_reset(&body);
    if (call->call == NULL) {
        snprintf(problem, PROGRAM_PROBLEM_SIZE, "the address cannot be used, or memory ran out");
    }
    return call->call != NULL;
}

static bool is_url(const char *what)
{
    return strncmp(what, "http://", 7) == 0 || strncmp(what, "https://", 8) == 0;
}

static void start_call(struct change_hook *hook, size_t slot, const struct change *change)
{
    char problem[PROGRAM_PROBLEM_SIZE] = "";
    struct hook_call *call = mem_zalloc(sizeof *call);
    hook->told++;
    if (call == NULL) {
        hook->failed++;
        return;
    }
    hook->calls[slot] = call;
    call->hook = hook;
    snprintf(call->service, sizeof call->service, "%s", change->service);
    bool started =
        is_url(hook->what) ? ask_url(call, change, problem) : run_command(call, change, problem);
    if (!started) {
        end_call(call, problem);
    }
}

// ---- Targets

static bool is_news(const struct target *target)
{
    bool known = target->state.reason != STATE_PENDING && target->state.monitored;
    return known && state_status(&target->state) != target->hook_told;
}

static void tell(struct change_hook *hook, size_t slot, struct target *target)
{
    struct change change = {
        .service = target->service->name,
        .machine = target->service->machine->name,
        .before = target->hook_told,
        .now = state_status(&target->state),
    };
    time_to_iso(sys_wall_ms(), change.time);
    (void)target_describe(target, change.message);
    target->hook_told = change.now;
    target->hook_quiet_ns = worker_now(hook->worker) + hook->quiet_ns;
    list_push_back(&hook->quiet, &target->hook_node);
    if (!timer_armed(&hook->look)) {
        worker_arm(hook->worker, &hook->look, target->hook_quiet_ns);
    }
    start_call(hook, slot, &change);
}

static void start_calls(struct change_hook *hook)
{
    for (size_t slot = 0; slot < HOOK_CALLS_MAX; slot++) {
        while (hook->calls[slot] == NULL && !list_empty(&hook->due)) {
            struct list *node = list_pop_front(&hook->due);
            struct target *target = container_of(node, struct target, hook_node);
            if (is_news(target)) { // it may have changed back
                tell(hook, slot, target);
            }
        }
    }
}

void change_hook_look(struct change_hook *hook, struct target *target)
{
    if (hook->worker == NULL) {
        return;
    }
    if (target->lent) {
        list_remove(&target->hook_node);
        target->hook_told = state_status(&target->state);
    } else if (!list_linked(&target->hook_node) && is_news(target) &&
               !target_in_maintenance(target, sys_wall_ms())) {
        list_push_back(&hook->due, &target->hook_node);
        start_calls(hook);
    }
}

static void on_look(struct timer *timer)
{
    struct change_hook *hook = container_of(timer, struct change_hook, look);
    uint64_t now_ns = worker_now(hook->worker);
    while (!list_empty(&hook->quiet)) {
        struct target *target = container_of(hook->quiet.next, struct target, hook_node);
        if (target->hook_quiet_ns > now_ns) {
            worker_arm(hook->worker, timer, target->hook_quiet_ns);
            return;
        }
        list_remove(&target->hook_node);
        change_hook_look(hook, target);
    }
}

// ---- Life

void change_hook_start(
    struct change_hook *hook, struct worker *worker, const char *what, uint64_t quiet_ns)
{
    *hook = (struct change_hook){.worker = worker, .what = what, .quiet_ns = quiet_ns};
    list_init(&hook->due);
    list_init(&hook->quiet);
    timer_init(&hook->look, on_look);
}

void change_hook_stop(struct change_hook *hook)
{
    if (hook->worker == NULL) {
        return;
    }
    hook->worker = NULL;
    timer_cancel(&hook->look);
    for (size_t i = 0; i < HOOK_CALLS_MAX; i++) {
        if (hook->calls[i] != NULL) {
            program_kill(hook->calls[i]->program);
            http_call_cancel(hook->calls[i]->call);
            mem_free(hook->calls[i]);
            hook->calls[i] = NULL;
        }
    }
    while (list_pop_front(&hook->due) != NULL || list_pop_front(&hook->quiet) != NULL) {
    }
}
