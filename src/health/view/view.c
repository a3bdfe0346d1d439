// SPDX-License-Identifier: Apache-2.0
#include "health/view/view.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/time.h"
#include "sys/clock.h"

#define VIEW_BYTES_MAX (256 * 1024 * 1024)

// ---- Issues

static void add_issue(struct view_service *row, const char *type, const char *message)
{
    if (message != NULL && row->issue_count < VIEW_ISSUES_MAX) {
        row->issues[row->issue_count++] = (struct view_issue){type, message};
    }
}

static const char *text_of(struct view *view, const char *format, ...) WEIR_PRINTF(2, 3);

static const char *text_of(struct view *view, const char *format, ...)
{
    char text[320];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return arena_copy(&view->arena, slice_str(text));
}

// A dependency that fails explains more than the failure itself.
static void add_cause(struct view *view, struct view_service *row, const struct target *target)
{
    const struct service *service = target->service;
    const struct monitor *monitor = target->monitor;
    for (size_t i = 0; i < service->dependency_count; i++) {
        const struct service *other = service->depends_on[i];
        const struct target *cause =
            other == NULL ? NULL : monitor->targets[other - monitor->registry->services];
        if (cause != NULL && state_status(&cause->state) == HEALTH_UNHEALTHY) {
            add_issue(row, "info",
                text_of(view, "caused by: %.120s on %.120s", other->name, other->machine->name));
            return;
        }
    }
}

static void add_state_issue(
    struct view *view, struct view_service *row, const struct target *target)
{
    const struct state *state = &target->state;
    const char *message = target->has_last ? target->last.message : NULL;
    switch (state->reason) {
    case STATE_UNMONITORED:
        if (target->service->problem != NULL) {
            add_issue(row, "error", target->service->problem);
        } else {
            add_issue(
                row, "info", row->disabled ? "not checked: disabled" : "no health check declared");
        }
        break;
    case STATE_PENDING:
        add_issue(row, "info", "no result yet");
        break;
    case STATE_FAILED:
        add_issue(row, "error", message);
        break;
    case STATE_FAILING:
        add_issue(row, "warning", message);
        break;
    case STATE_RECOVERING:
        add_issue(row, "warning", "recovering: passes again, but not yet often enough");
        break;
    case STATE_SLOW:
        add_issue(row, "warning",
            text_of(view, "slow: %.0f ms, allowed %.0f ms", row->latency_ms,
                (double)target->rules.max_response_ns / (double)NS_PER_MS));
        break;
    case STATE_STALE:
    case STATE_PASSING:
    case STATE_REASON_COUNT:
        break;
    }
}

static void add_issues(struct view *view, struct view_service *row, const struct target *target)
{
    uint64_t now_ns = monitor_now_ns();
    add_state_issue(view, row, target);
    row->stale =
        !target->monitor->options.single && state_is_stale(&target->state, &target->rules, now_ns);
    if (row->stale) {
        add_issue(row, "warning",
            text_of(view, "stale: last result %.0f s ago, interval %g s",
                (double)(now_ns - target->state.last_result_ns) / (double)NS_PER_S,
                (double)target->rules.interval_ns / (double)NS_PER_S));
    }
    if (row->status == HEALTH_UNHEALTHY || row->status == HEALTH_DEGRADED) {
        add_cause(view, row, target);
    }
}

// ---- Rows

static void fill_check(struct view_service *row, const struct target *target)
{
    const struct check_spec *spec = &target->service->check;
    row->check_type = check_type_name(spec->type);
    if (spec->type != CHECK_NONE) {
        row->interval_s = (double)spec->interval_ns / (double)NS_PER_S;
        row->timeout_s = (double)spec->timeout_ns / (double)NS_PER_S;
        row->failure_threshold = spec->failure_threshold;
    }
}

static void fill_last(struct view_service *row, const struct target *target)
{
    row->latency_ms = VIEW_NONE;
    if (target->has_last) {
        const struct check_record *last = &target->last;
        bool passed = check_outcome_passed(last->outcome);
        row->last_checked_ms = last->wall_ms;
        row->latency_ms = (double)last->latency_ns / (double)NS_PER_MS;
        row->message = last->message;
        row->problem_type = passed ? NULL : check_outcome_label(last->outcome);
        row->code = last->code;
    }
}

static void fill_recent(struct view_service *row, const struct state *state)
{
    for (unsigned i = 0; i < state->recent_count; i++) {
        bool failed = (state->recent >> (state->recent_count - 1 - i) & 1) != 0;
        row->recent[i] = failed ? 'x' : '.';
    }
}

static void fill_service(struct view *view, struct view_service *row, const struct target *target)
{
    const struct state *state = &target->state;
    bool single = target->monitor->options.single && target->has_last;
    *row = (struct view_service){
        .service = target->service->name,
        .machine = target->service->machine->name,
        .status = state_status(state),
        .reason = single ? "single check" : state_reason_word(state->reason),
        .color = state_reason_color(state->reason),
        .score = state_score(state, &target->rules),
        .last_pass_ms = target->last_pass_wall_ms,
        .last_failure_ms = target->last_failure_wall_ms,
        .uptime_24h = VIEW_NONE,
        .response_ms = target_response_ms(target),
        .uptime_s = VIEW_NONE,
        .consecutive_failures = state->failures,
        .maintenance = target_in_maintenance(target, view->wall_ms),
        .disabled = target_disabled(target),
        .target = target,
    };
    if (row->status == HEALTH_HEALTHY && !target->monitor->options.single) {
        row->uptime_s = (double)(monitor_now_ns() - state->healthy_since_ns) / (double)NS_PER_S;
    }
    row->checked_by = target->checked_by;
    row->maintenance_reason =
        target->maintenance_set ? target->maintenance.reason : target->service->maintenance.reason;
    fill_recent(row, state);
    fill_check(row, target);
    fill_last(row, target);
    add_issues(view, row, target);
}

bool view_wants(const struct view_filter *filter, struct slice service, struct slice machine,
    enum health_status status)
{
    return (filter->service.len == 0 || slice_eq(filter->service, service)) &&
           (filter->machine.len == 0 || slice_eq(filter->machine, machine)) &&
           (!filter->by_status || filter->statuses[status]);
}

// ---- Sums, from the rows: the same wherever those came from.

static struct view_machine *machine_of(struct view *view, const char *name)
{
    // Of a monitor, both names are the same text of its registry.
    for (size_t i = 0; i < view->machine_count; i++) {
        if (view->machines[i].machine == name) {
            return &view->machines[i];
        }
    }
    for (size_t i = 0; i < view->machine_count; i++) {
        if (strcmp(view->machines[i].machine, name) == 0) {
            return &view->machines[i];
        }
    }
    return NULL;
}

void view_sum_up(struct view *view, bool compat_rollup)
{
    struct rollup all = {0};
    struct rollup cluster = {0};
    for (size_t i = 0; i < view->service_count; i++) {
        const struct view_service *row = &view->services[i];
        struct view_machine *machine = machine_of(view, row->machine);
        rollup_add(&all, row->status, row->score);
        if (machine == NULL) {
            continue;
        }
        machine->services_count++;
        if (!row->disabled && !row->maintenance) {
            machine->counts[row->status]++;
        }
        if (row->last_checked_ms > machine->last_checked_ms) {
            machine->last_checked_ms = row->last_checked_ms;
        }
    }
    for (size_t i = 0; i < view->machine_count; i++) {
        struct view_machine *machine = &view->machines[i];
        struct rollup own = {0};
        memcpy(own.counts, machine->counts, sizeof own.counts);
        machine->status = compat_rollup ? rollup_status_strict(&own) : rollup_status(&own);
        if (rollup_total(&own) > 0) {
            rollup_add(&cluster, machine->status, 0);
        }
    }
    view->overall = compat_rollup ? rollup_status_strict(&cluster) : rollup_status(&cluster);
    view->score = rollup_score(&all);
    memcpy(view->counts, all.counts, sizeof view->counts);
}

bool view_make_room(struct view *view, size_t services, size_t machines)
{
    arena_init(&view->arena, VIEW_BYTES_MAX);
    view->services = arena_alloc(&view->arena, (services + 1) * sizeof *view->services);
    view->machines = arena_alloc(&view->arena, (machines + 1) * sizeof *view->machines);
    return view->services != NULL && view->machines != NULL;
}

enum weir_result view_of_monitor(
    struct view *view, const struct monitor *monitor, const struct view_filter *filter)
{
    const struct registry *registry = monitor->registry;
    *view = (struct view){
        .wall_ms = sys_wall_ms(), .source = monitor->options.single ? "direct" : "daemon"};
    if (!view_make_room(view, monitor->target_count, registry->machine_count)) {
        return WEIR_MEMORY;
    }
    for (size_t i = 0; i < monitor->target_count; i++) {
        const struct target *target = monitor->targets[i];
        if (view_wants(filter, slice_str(target->service->name),
                slice_str(target->service->machine->name), state_status(&target->state))) {
            fill_service(view, &view->services[view->service_count++], target);
        }
    }
    for (size_t i = 0; i < registry->machine_count; i++) {
        const struct machine *machine = &registry->machines[i];
        if (filter->machine.len == 0 || slice_eq(filter->machine, slice_str(machine->name))) {
            view->machines[view->machine_count++] = (struct view_machine){.machine = machine->name,
                .entry = machine,
                .cpu_percent = VIEW_NONE,
                .memory_percent = VIEW_NONE,
                .disk_percent = VIEW_NONE,
                .load1 = VIEW_NONE};
        }
    }
    view_sum_up(view, monitor->options.compat_rollup);
    return WEIR_OK;
}

enum weir_result view_of_target(struct view *view, const struct target *target)
{
    *view = (struct view){.wall_ms = sys_wall_ms(), .source = "daemon"};
    if (!view_make_room(view, 1, 0)) {
        return WEIR_MEMORY;
    }
    fill_service(view, &view->services[view->service_count++], target);
    return WEIR_OK;
}

void view_fini(struct view *view)
{
    arena_reset(&view->arena);
    *view = (struct view){0};
}
