// SPDX-License-Identifier: Apache-2.0
//   scheduler ──start──► check ──record──► state ──change──► hooks
//       ▲                                    │
//       └────────────── done ────────────────┘      stale timer ──► state
//
// 1. A check under way keeps the registry it was started from; a reload may take the service's
//    other half away meanwhile.
// 2. A target is known by service and machine. What a reload keeps under that key keeps its state,
//    its history and its phase; another check starts a new state.
// 3. States are on the boot clock, timers on the monotonic one. When the first runs ahead, the
//    machine slept: every state is judged again, so that none stays healthy on an old result.
#include "health/monitor.h"

#include <stdio.h>

#include "base/mem.h"
#include "base/time.h"
#include "sys/clock.h"
#include "sys/entropy.h"
#include "sys/process.h"

#define KEY_SIZE 1024 // longer ones are looked for one by one
#define SOCKETS_MAX 512
#define SSH_MAX 32
#define EXEC_PER_CPU 4
#define CLOCK_WATCH_NS NS_PER_S
#define SLEPT_MIN_NS (NS_PER_S / 2)

uint64_t monitor_now_ns(void)
{
    return sys_boot_ns();
}

// ---- Rules

static void set_rules(struct target *target)
{
    const struct check_spec *spec = &target->service->check;
    bool single = target->monitor->options.single;
    target->rules = (struct state_rules){
        .interval_ns = spec->interval_ns,
        .start_period_ns = single ? 0 : spec->start_period_ns,
        .max_response_ns = spec->max_response_ns,
        .failure_threshold = single ? 1 : spec->failure_threshold,
        .success_threshold = spec->success_threshold,
    };
}

static void set_interval(struct target *target)
{
    const struct check_spec *spec = &target->service->check;
    bool retry = spec->retry_interval_ns != 0 && target->state.failures > 0 &&
                 state_status(&target->state) == HEALTH_DEGRADED;
    if (target->planned) {
        scheduler_set_interval(
            &target->scheduled, retry ? spec->retry_interval_ns : spec->interval_ns);
    }
}

static void arm_stale(struct target *target)
{
    uint64_t stale_ns = state_stale_ns(&target->state, &target->rules);
    uint64_t now_ns = monitor_now_ns();
    const struct monitor *monitor = target->monitor;
    if (stale_ns == TIME_NEVER || monitor->options.single || monitor->resting) {
        timer_cancel(&target->stale);
        return;
    }
    worker_arm_in(monitor->worker, &target->stale, stale_ns <= now_ns ? 0 : stale_ns - now_ns);
}

static void announce(struct target *target, const struct state_change *change)
{
    const struct monitor_hooks *hooks = &target->monitor->options.hooks;
    arm_stale(target);
    set_interval(target);
    if (change->changed && hooks->changed != NULL) {
        hooks->changed(hooks->arg, target, change);
    }
}

static void judge_again(struct target *target)
{
    struct state_change change = state_judge(&target->state, &target->rules, monitor_now_ns());
    announce(target, &change);
}

static void on_stale(struct timer *timer)
{
    judge_again(container_of(timer, struct target, stale));
}

// ---- Results

static void remember(struct target *target, const struct check_record *record, bool passed)
{
    enum result_kind kind = passed                               ? RESULT_PASS
                            : record->outcome == OUTCOME_TIMEOUT ? RESULT_TIMEOUT
                                                                 : RESULT_FAIL;
    target->last = *record;
    target->has_last = true;
    target->last_ns = monitor_now_ns();
    target->results[kind]++;
    target->outcomes |= 1u << record->outcome;
    target->monitor->outcomes[record->outcome].count++;
    target->monitor->outcomes[record->outcome].last_wall_ms = record->wall_ms;
    if (!passed) {
        target->last_failure_wall_ms = record->wall_ms;
        return;
    }
    target->last_pass_wall_ms = record->wall_ms;
    target->pass_ms[target->pass_next] = (float)((double)record->latency_ns / (double)NS_PER_MS);
    target->pass_next = (target->pass_next + 1) % STATE_RECENT_COUNT;
    target->pass_count += target->pass_count < STATE_RECENT_COUNT;
}

static void end_of_check(struct target *target)
{
    struct monitor *monitor = target->monitor;
    const struct monitor_hooks *hooks = &monitor->options.hooks;
    target->check = NULL;
    registry_unref(target->checked);
    target->checked = NULL;
    scheduler_done(&target->scheduled);
    if (monitor->round_left > 0 && target->selected) {
        target->selected = false;
        if (--monitor->round_left == 0 && hooks->round_done != NULL) {
            hooks->round_done(hooks->arg);
        }
    }
}

// The process may have been stopped for so long that another monitor checks by now.
static bool may(struct target *target)
{
    const struct monitor_hooks *hooks = &target->monitor->options.hooks;
    bool holds = hooks->holds == NULL || hooks->holds(hooks->arg, target);
    target->monitor->fenced += !holds;
    return holds;
}

static void take_record(struct target *target, const struct check_record *record)
{
    const struct monitor_hooks *hooks = &target->monitor->options.hooks;
    bool passed = check_outcome_passed(record->outcome);
    if (!may(target)) {
        end_of_check(target);
        return;
    }
    target->own_result = true;
    remember(target, record, passed);
    struct state_change change =
        state_result(&target->state, &target->rules, passed, record->latency_ns, monitor_now_ns());
    announce(target, &change);
    if (hooks->result != NULL) {
        hooks->result(hooks->arg, target);
    }
    end_of_check(target);
}

static void on_checked(void *arg, const struct check_record *record)
{
    take_record(arg, record);
}

static void on_refused(struct worker *worker, struct job *job)
{
    struct target *target = container_of(job, struct target, refused);
    (void)worker;
    if (target->checked == NULL) {
        end_of_check(target);
        return;
    }
    take_record(target,
        &(struct check_record){
            .wall_ms = sys_wall_ms(), .outcome = OUTCOME_INTERNAL, .message = "out of memory"});
}

static void start_check(void *arg, struct scheduled *item)
{
    struct monitor *monitor = arg;
    struct target *target = container_of(item, struct target, scheduled);
    if (!may(target)) {
        worker_defer(monitor->worker, &target->refused, on_refused);
        return;
    }
    registry_ref(monitor->registry);
    target->checked = monitor->registry;
    target->check = check_start(&monitor->room, target->service, on_checked, target);
    if (target->check == NULL) {
        worker_defer(monitor->worker, &target->refused, on_refused);
    }
}

// ---- Targets

static void cancel_check(struct target *target)
{
    check_cancel(target->check);
    target->check = NULL;
    list_remove(&target->refused.node);
    registry_unref(target->checked);
    target->checked = NULL;
}

static void unplan(struct target *target)
{
    cancel_check(target);
    timer_cancel(&target->stale);
    if (target->planned) {
        target->planned = false;
        scheduler_remove(&target->scheduled);
    }
}

// Takes a target that waits for its turn out of the row. Of several that are to go, first all are
// held back: the end of a check that runs would start one that waits, to be ended next.
static void hold_back(struct target *target)
{
    if (target->planned && target->check == NULL) {
        target->planned = false;
        scheduler_remove(&target->scheduled);
    }
}

static void target_free(struct target *target)
{
    if (target != NULL) {
        unplan(target);
        list_remove(&target->hook_node);
        mem_free(target->key);
        mem_free(target);
    }
}

static uint64_t random_number(void)
{
    uint64_t random = 0;
    // Without entropy they start together, once.
    enum weir_result ignored = sys_entropy(&random, sizeof random);
    (void)ignored;
    return random;
}

static void schedule(struct target *target, uint64_t first_ns)
{
    struct monitor *monitor = target->monitor;
    const struct service *service = target->service;
    if (monitor->resting) {
        return;
    }
    target->planned = true;
    scheduler_add(&monitor->scheduler, &target->scheduled, check_lane(service),
        service->check.interval_ns, monitor->options.single ? TIME_NEVER : first_ns);
}

static uint64_t spread_ns(const struct target *target)
{
    return worker_now(target->monitor->worker) +
           scheduler_spread_ns(target->service->check.interval_ns, random_number());
}

// Gives the target a fresh state, and its checks a plan. at_once: the first is due now.
static void plan(struct target *target, bool at_once)
{
    bool monitored = service_monitored(target->service);
    set_rules(target);
    state_init(&target->state, monitored, monitor_now_ns());
    target->last_ns = 0;
    if (monitored && !target->lent) {
        schedule(target, at_once ? worker_now(target->monitor->worker) : spread_ns(target));
    }
}

// The length in front keeps "a@b" on "c" apart from "a" on "b@c".
static char *make_key(const struct service *service)
{
    struct buf text = BUF_INIT(strlen(service->name) + strlen(service->machine->name) + 32);
    buf_printf(&text, "%zu:%s@%s", strlen(service->name), service->name, service->machine->name);
    char *key = text.failed ? NULL : mem_copy(buf_slice(&text).at, buf_slice(&text).len);
    buf_reset(&text);
    return key;
}

static struct target *target_new(struct monitor *monitor, const struct service *service)
{
    struct target *target = mem_zalloc(sizeof *target);
    if (target == NULL) {
        return NULL;
    }
    target->monitor = monitor;
    target->service = service;
    target->lent = monitor->options.shared;
    target->key = make_key(service);
    timer_init(&target->stale, on_stale);
    list_init(&target->refused.node);
    list_init(&target->hook_node);
    target->hook_told = HEALTH_HEALTHY;
    if (target->key == NULL ||
        map_insert(&monitor->by_key, &target->node, slice_str(target->key)) != WEIR_OK) {
        target_free(target);
        return NULL;
    }
    return target;
}

// ---- Reload

// The targets of another registry: those known by their key, and fresh ones, which are not planned
// yet. NULL without memory; nothing has changed then.
static struct target **match_targets(struct monitor *monitor, const struct registry *registry)
{
    struct target **targets = mem_zalloc((registry->service_count + 1) * sizeof *targets);
    for (size_t i = 0; targets != NULL && i < registry->service_count; i++) {
        const struct service *service = &registry->services[i];
        char *key = make_key(service);
        struct map_node *node = key == NULL ? NULL : map_find(&monitor->by_key, slice_str(key));
        mem_free(key);
        targets[i] =
            node != NULL ? container_of(node, struct target, node) : target_new(monitor, service);
        if (targets[i] == NULL) {
            for (size_t made = 0; made < i; made++) {
                if (targets[made]->service == &registry->services[made]) {
                    map_remove(&monitor->by_key, &targets[made]->node);
                    target_free(targets[made]);
                }
            }
            mem_free(targets);
            return NULL;
        }
    }
    return targets;
}

static void tell_life(struct target *target, enum target_life life)
{
    const struct monitor_hooks *hooks = &target->monitor->options.hooks;
    if (hooks->life != NULL) {
        hooks->life(hooks->arg, target, life);
    }
}

// Says what is to become of every target, and gives those that stay their new service. Nobody is
// told yet, so that whoever is told later finds everything in its place.
static void sort_out(
    struct monitor *monitor, const struct registry *registry, struct target **targets)
{
    for (size_t i = 0; i < monitor->target_count; i++) {
        monitor->targets[i]->change = CHANGE_GONE;
    }
    for (size_t i = 0; i < registry->service_count; i++) {
        struct target *target = targets[i];
        const struct service *service = &registry->services[i];
        bool fresh = target->service == service;
        bool same = target->service->identity == service->identity;
        target->index = i;
        target->change = fresh ? CHANGE_NEW : same ? CHANGE_RULES : CHANGE_CHECK;
        target->service = service;
    }
}

static void remove_gone(struct monitor *monitor, struct target **targets, size_t count,
    struct monitor_difference *difference)
{
    for (size_t i = 0; i < count; i++) {
        if (targets[i]->change == CHANGE_GONE) {
            hold_back(targets[i]);
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (targets[i]->change == CHANGE_GONE) {
            difference->removed++;
            map_remove(&monitor->by_key, &targets[i]->node);
            tell_life(targets[i], TARGET_REMOVED);
            target_free(targets[i]);
        }
    }
}

static void apply(struct target *target, struct monitor_difference *difference)
{
    switch (target->change) {
    case CHANGE_NEW:
        difference->added++;
        plan(target, false);
        tell_life(target, TARGET_ADDED);
        break;
    case CHANGE_RULES:
        set_rules(target);
        judge_again(target);
        break;
    case CHANGE_CHECK:
        difference->changed++;
        unplan(target);
        plan(target, true);
        tell_life(target, TARGET_CHECK_CHANGED);
        break;
    case CHANGE_GONE:
        break;
    }
}

enum weir_result monitor_replace(
    struct monitor *monitor, struct registry *registry, struct monitor_difference *ret_difference)
{
    struct monitor_difference difference = {0};
    struct registry *old_registry = monitor->registry;
    struct target **old_targets = monitor->targets;
    size_t old_count = monitor->target_count;
    struct target **targets = match_targets(monitor, registry);
    if (targets == NULL) {
        registry_unref(registry);
        return WEIR_MEMORY;
    }
    sort_out(monitor, registry, targets);
    monitor->targets = targets;
    monitor->target_count = registry->service_count;
    monitor->registry = registry;
    monitor->registry_loaded_wall_ms = sys_wall_ms();
    remove_gone(monitor, old_targets, old_count, &difference);
    for (size_t i = 0; i < monitor->target_count; i++) {
        apply(targets[i], &difference);
    }
    mem_free(old_targets);
    registry_unref(old_registry);
    if (ret_difference != NULL) {
        *ret_difference = difference;
    }
    return WEIR_OK;
}

// ---- Life

static uint64_t how_long_slept(void)
{
    uint64_t now_ns = sys_now_ns(); // first: the boot clock is never behind it
    return sys_boot_ns() - now_ns;
}

static void on_clock_watch(struct timer *timer)
{
    struct monitor *monitor = container_of(timer, struct monitor, clock_watch);
    uint64_t slept_ns = how_long_slept();
    worker_arm_in(monitor->worker, timer, CLOCK_WATCH_NS);
    if (slept_ns < monitor->slept_ns + SLEPT_MIN_NS) {
        return;
    }
    monitor->slept_ns = slept_ns;
    for (size_t i = 0; i < monitor->target_count; i++) {
        judge_again(monitor->targets[i]);
    }
}

static uint64_t scheduler_random(void *arg)
{
    (void)arg;
    return random_number();
}

static uint64_t scheduler_clock(void *arg)
{
    return worker_now(((struct monitor *)arg)->worker);
}

enum weir_result monitor_open(struct monitor *monitor, struct worker *worker,
    const struct monitor_options *options, struct registry *registry)
{
    *monitor = (struct monitor){
        .worker = worker,
        .options = *options,
        .scheduler = {.wheel = &worker->wheel,
            .now = scheduler_clock,
            .start = start_check,
            .random = scheduler_random,
            .arg = monitor,
            .jitter_percent = options->jitter_percent},
        .slept_ns = how_long_slept(),
    };
    monitor->scheduler.lanes[LANE_SOCKET].running_max = SOCKETS_MAX;
    monitor->scheduler.lanes[LANE_SSH].running_max = SSH_MAX;
    monitor->scheduler.lanes[LANE_EXEC].running_max = EXEC_PER_CPU * sys_cpu_count();
    scheduler_init(&monitor->scheduler);
    map_init(&monitor->by_key, &worker->seed);
    check_room_init(&monitor->room, worker, options->ssh_dir);
    timer_init(&monitor->clock_watch, on_clock_watch);
    worker_arm_in(worker, &monitor->clock_watch, CLOCK_WATCH_NS);
    return monitor_replace(monitor, registry, NULL);
}

void monitor_rest(struct monitor *monitor)
{
    monitor->resting = true;
    timer_cancel(&monitor->clock_watch);
    for (size_t i = 0; i < monitor->target_count; i++) {
        hold_back(monitor->targets[i]);
    }
    for (size_t i = 0; i < monitor->target_count; i++) {
        unplan(monitor->targets[i]);
    }
}

void monitor_close(struct monitor *monitor)
{
    if (monitor->worker == NULL) {
        return;
    }
    monitor_rest(monitor);
    for (size_t i = 0; i < monitor->target_count; i++) {
        target_free(monitor->targets[i]);
    }
    check_room_fini(&monitor->room);
    map_fini(&monitor->by_key);
    mem_free(monitor->targets);
    registry_unref(monitor->registry);
    *monitor = (struct monitor){0};
}

// ---- Checks on demand

bool monitor_check_now(struct target *target)
{
    return target->planned && scheduler_now(&target->scheduled);
}

void monitor_check_round(struct monitor *monitor)
{
    const struct monitor_hooks *hooks = &monitor->options.hooks;
    monitor->round_left = 0;
    for (size_t i = 0; i < monitor->target_count; i++) {
        struct target *target = monitor->targets[i];
        target->selected = target->selected && target->planned;
        monitor->round_left += target->selected;
    }
    if (monitor->round_left == 0) {
        hooks->round_done(hooks->arg);
        return;
    }
    for (size_t i = 0; i < monitor->target_count; i++) {
        if (monitor->targets[i]->selected) {
            (void)monitor_check_now(monitor->targets[i]); // one that runs already counts as well
        }
    }
}

struct target *monitor_find(struct monitor *monitor, struct slice service, struct slice machine)
{
    char key[KEY_SIZE];
    int len = machine.len == 0 || service.len + machine.len >= KEY_SIZE / 2
                  ? -1
                  : snprintf(key, sizeof key, "%zu:%.*s@%.*s", service.len, SLICE_ARG(service),
                        SLICE_ARG(machine));
    if (len > 0) {
        struct map_node *node = map_find(&monitor->by_key, slice_of(key, (size_t)len));
        return node == NULL ? NULL : container_of(node, struct target, node);
    }
    for (size_t i = 0; i < monitor->target_count; i++) {
        const struct service *found = monitor->targets[i]->service;
        if (slice_eq(slice_str(found->name), service) &&
            (machine.len == 0 || slice_eq(slice_str(found->machine->name), machine))) {
            return monitor->targets[i];
        }
    }
    return NULL;
}

void monitor_set_maintenance(
    struct target *target, bool on, uint64_t until_wall_ms, struct slice reason)
{
    size_t size = sizeof target->maintenance_reason;
    struct slice kept = slice_of(reason.at, reason.len < size ? reason.len : size - 1);
    (void)slice_to_text(kept, target->maintenance_reason, size); // cut to fit
    target->maintenance_set = true;
    target->maintenance = (struct maintenance){
        .on = on,
        .until_wall_ms = until_wall_ms,
        .reason = reason.len == 0 ? NULL : target->maintenance_reason,
    };
}

void monitor_restore(
    struct target *target, const struct state *state, const struct check_record *last)
{
    uint64_t pass_ago_ns = monitor_now_ns() - state->last_pass_ns;
    uint64_t failure_ago_ns = monitor_now_ns() - state->last_failure_ns;
    uint64_t begun_ns = target->state.begun_ns;
    uint64_t now_ms = sys_wall_ms();
    target->state = *state;
    target->state.begun_ns = begun_ns;
    target->last_ns = state->last_result_ns;
    struct state_change ignored = state_judge(&target->state, &target->rules, monitor_now_ns());
    (void)ignored;
    arm_stale(target);
    if (state->ever_passed) {
        target->last_pass_wall_ms = now_ms - pass_ago_ns / NS_PER_MS;
    }
    if (state->ever_failed) {
        target->last_failure_wall_ms = now_ms - failure_ago_ns / NS_PER_MS;
    }
    if (last->wall_ms != 0) {
        target->last = *last;
        target->has_last = true;
    }
}

// ---- Several monitors

// An interval after the newest result, even if that is over, so that those that come late together
// do not stay together. When a result is missing altogether, somewhere in the next interval.
static uint64_t due_ns(const struct target *target)
{
    uint64_t now_ns = worker_now(target->monitor->worker);
    uint64_t interval_ns = target->service->check.interval_ns;
    uint64_t age_ns = monitor_now_ns() - target->last_ns;
    bool known = target->last_ns != 0 && age_ns < 2 * interval_ns && age_ns < now_ns;
    return known ? now_ns + interval_ns - age_ns : spread_ns(target);
}

void monitor_take(struct target *target)
{
    target->lent = target->own_result = false;
    if (service_monitored(target->service) && !target->planned) {
        schedule(target, due_ns(target));
    }
}

void monitor_lend(struct target *target)
{
    target->lent = true;
    cancel_check(target);
    if (target->planned) {
        target->planned = false;
        scheduler_remove(&target->scheduled);
    }
}

void monitor_adopt(
    struct target *target, const struct state *state, const struct check_record *record)
{
    const struct monitor_hooks *hooks = &target->monitor->options.hooks;
    struct state before = target->state;
    remember(target, record, check_outcome_passed(record->outcome));
    target->state = *state;
    target->state.begun_ns = before.begun_ns;
    target->state.healthy_since_ns = before.healthy_since_ns;
    target->state.monitored = before.monitored;
    target->state.reason = before.reason;
    struct state_change change = state_judge(&target->state, &target->rules, monitor_now_ns());
    announce(target, &change);
    if (hooks->result != NULL) {
        hooks->result(hooks->arg, target);
    }
}

// ---- What is known

bool target_disabled(const struct target *target)
{
    const struct service *service = target->service;
    bool refused = service->declared && service->check.type == CHECK_NONE;
    return service->disabled || (service->problem == NULL && (refused || !service->check.enabled));
}

static bool holds(const struct maintenance *maintenance, uint64_t wall_ms)
{
    return maintenance->on &&
           (maintenance->until_wall_ms == 0 || wall_ms < maintenance->until_wall_ms);
}

bool target_in_maintenance(const struct target *target, uint64_t wall_ms)
{
    if (target->maintenance_set) {
        return holds(&target->maintenance, wall_ms);
    }
    return target->service->machine->maintenance || holds(&target->service->maintenance, wall_ms);
}

bool target_counted(const struct target *target, uint64_t wall_ms)
{
    return !target_disabled(target) && !target_in_maintenance(target, wall_ms);
}

size_t target_describe(const struct target *target, char text[TARGET_TEXT_SIZE])
{
    const struct state *state = &target->state;
    const char *message = target->has_last ? target->last.message : "";
    int len = state->failures > 0 ? snprintf(text, TARGET_TEXT_SIZE, "%s (%u in a row): %s",
                                        state_reason_word(state->reason), state->failures, message)
                                  : snprintf(text, TARGET_TEXT_SIZE, "%s: %s",
                                        state_reason_word(state->reason), message);
    return len < TARGET_TEXT_SIZE ? (size_t)len : TARGET_TEXT_SIZE - 1;
}

double target_response_ms(const struct target *target)
{
    double sum = 0;
    for (unsigned i = 0; i < target->pass_count; i++) {
        sum += (double)target->pass_ms[i];
    }
    return target->pass_count == 0 ? -1 : sum / target->pass_count;
}

enum health_status monitor_rollup_status(const struct monitor *monitor, const struct rollup *rollup)
{
    return monitor->options.compat_rollup ? rollup_status_strict(rollup) : rollup_status(rollup);
}

enum health_status monitor_roll(const struct monitor *monitor, uint64_t wall_ms,
    struct rollup *machines, struct rollup *ret_all)
{
    const struct registry *registry = monitor->registry;
    struct rollup cluster = {0};
    *ret_all = (struct rollup){0};
    for (size_t i = 0; i < monitor->target_count; i++) {
        const struct target *target = monitor->targets[i];
        enum health_status status = state_status(&target->state);
        unsigned score = state_score(&target->state, &target->rules);
        rollup_add(ret_all, status, score);
        if (target_counted(target, wall_ms)) {
            rollup_add(&machines[target->service->machine - registry->machines], status, score);
        }
    }
    for (size_t i = 0; i < registry->machine_count; i++) {
        if (rollup_total(&machines[i]) > 0) {
            rollup_add(&cluster, monitor_rollup_status(monitor, &machines[i]), 0);
        }
    }
    return monitor_rollup_status(monitor, &cluster);
}
