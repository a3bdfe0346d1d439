// SPDX-License-Identifier: Apache-2.0
//   start ──► (type runs) ──► check_end ──► stop ──► deferred: done
//                │  ▲ expire                  │
//                └──┘ deadline                └──► check_gone (handles are closed)
//
// 1. done is called from a deferred job, so never inside check_start and never on a stack that
//    still holds the type's own callbacks.
// 2. stop is called exactly once: by the end or by a cancel. What it closes may take to the end of
//    the turn, or longer; memory goes when the answer is delivered and the check is gone.
// 3. After the end the service is not looked at any more: a reload may free it.
#include "health/checks/check.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/time.h"
#include "base/utf8.h"
#include "health/checks/check_internal.h"
#include "health/checks/http_plain.h"
#include "sys/clock.h"

static const struct {
    bool passed;
    const char *label;
} outcomes[CHECK_OUTCOME_COUNT] = {
#define CHECK_OUTCOME(symbol, passed, label) [OUTCOME_##symbol] = {passed, label},
#include "health/checks/outcomes.def"
#undef CHECK_OUTCOME
};

bool check_outcome_passed(enum check_outcome outcome)
{
    return outcomes[outcome].passed;
}

const char *check_outcome_label(enum check_outcome outcome)
{
    return outcomes[outcome].label;
}

static bool is_remote_program(const struct service *service)
{
    const struct check_spec *spec = &service->check;
    return (spec->type == CHECK_EXEC || spec->type == CHECK_PROCESS) && !service->machine->local &&
           spec->run_on == RUN_ON_MACHINE;
}

static const struct check_kind *kind_of(const struct service *service)
{
    static const struct check_kind *const kinds[CHECK_TYPE_COUNT] = {
        [CHECK_HTTP] = &check_http,
        [CHECK_TCP] = &check_tcp,
        [CHECK_PROCESS] = &check_process,
        [CHECK_EXEC] = &check_exec,
    };
    const struct check_spec *spec = &service->check;
    weir_assert(kinds[spec->type] != NULL);
    // A process of another machine is looked at by a program, over ssh.
    if (is_remote_program(service)) {
        return &check_exec;
    }
    return spec->type == CHECK_HTTP && http_plain_suits(spec) ? &check_http_plain
                                                              : kinds[spec->type];
}

enum check_lane check_lane(const struct service *service)
{
    if (is_remote_program(service)) {
        return LANE_SSH;
    }
    return service->check.type == CHECK_EXEC ? LANE_EXEC : LANE_SOCKET;
}

static void release(struct check *check)
{
    if (check->delivered && check->gone) {
        mem_free(check);
    }
}

void check_gone(struct check *check)
{
    check->gone = true;
    release(check);
}

static void on_finish(struct worker *worker, struct job *job)
{
    struct check *check = container_of(job, struct check, finish);
    (void)worker;
    check->done(check->arg, &check->record);
    check->delivered = true;
    release(check);
}

static void on_deadline(struct timer *timer)
{
    struct check *check = container_of(timer, struct check, deadline);
    check->kind->expire(check);
}

struct check *check_start(
    struct check_room *room, const struct service *service, check_done_fn *done, void *arg)
{
    const struct check_kind *kind = kind_of(service);
    struct check *check = mem_zalloc(kind->size);
    if (check == NULL) {
        return NULL;
    }
    check->kind = kind;
    check->room = room;
    check->service = service;
    check->spec = &service->check;
    check->done = done;
    check->arg = arg;
    check->started_ns = sys_now_ns();
    list_init(&check->finish.node);
    timer_init(&check->deadline, on_deadline);
    worker_arm(room->worker, &check->deadline, check->started_ns + check->spec->timeout_ns);
    kind->start(check);
    return check;
}

void check_cancel(struct check *check)
{
    if (check == NULL) {
        return;
    }
    timer_cancel(&check->deadline);
    list_remove(&check->finish.node);
    check->delivered = true;
    if (check->ended) {
        release(check);
        return;
    }
    check->ended = true;
    check->kind->stop(check); // may free it
}

uint64_t check_elapsed_ns(const struct check *check)
{
    return sys_now_ns() - check->started_ns;
}

void check_end(struct check *check, enum check_outcome outcome, const char *format, ...)
{
    struct check_record *record = &check->record;
    va_list args;
    if (check->ended) {
        return;
    }
    va_start(args, format);
    vsnprintf(record->message, sizeof record->message, format, args);
    va_end(args);
    utf8_make_plain(record->message);
    check->ended = true;
    record->outcome = outcome;
    record->wall_ms = sys_wall_ms();
    record->latency_ns = check_elapsed_ns(check);
    timer_cancel(&check->deadline);
    worker_defer(check->room->worker, &check->finish, on_finish);
    check->kind->stop(check);
}

void check_end_timeout(struct check *check, const char *doing)
{
    double seconds = (double)check->spec->timeout_ns / (double)NS_PER_S;
    check_end(check, OUTCOME_TIMEOUT, "timeout after %.*f s%s%s", seconds < 0.1 ? 3 : 1, seconds,
        doing[0] == '\0' ? "" : " while ", doing);
}

void check_end_result(struct check *check, const char *doing, enum weir_result result)
{
    static const struct {
        enum weir_result result;
        enum check_outcome outcome;
        const char *text;
    } rows[] = {
        {WEIR_REFUSED, OUTCOME_REFUSED, "refused"},
        {WEIR_RESET, OUTCOME_RESET, "reset by the peer"},
        {WEIR_CLOSED, OUTCOME_RESET, "closed by the peer without an answer"},
        {WEIR_UNREACHABLE, OUTCOME_UNREACHABLE, "host unreachable"},
        {WEIR_TIMEOUT, OUTCOME_UNREACHABLE, "the network gave up"},
        {WEIR_PROTOCOL, OUTCOME_PROTOCOL, "no valid answer"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].result == result) {
            check_end(check, rows[i].outcome, "%s: %s", doing, rows[i].text);
            return;
        }
    }
    check_end(check, OUTCOME_INTERNAL, "%s: %s", doing, weir_result_text(result));
}
