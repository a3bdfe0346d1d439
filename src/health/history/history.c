// SPDX-License-Identifier: Apache-2.0
// 1. An entry belongs to one target, and goes with it.
// 2. Events are handed to the store at once; states and sums of entries with news every FLUSH_NS,
//    and at the end.
// 3. A state is taken up only for a service that is checked the same way; until its next result it
//    shows as stale, by the rules of state.c.
#include "health/history/history.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/time.h"
#include "sys/clock.h"

#define FLUSH_NS (10 * NS_PER_S)
#define DAY_S 86400
#define LATENCY_US_MAX UINT32_MAX

struct entry {
    struct map_node node;
    struct list dirty; // in history->dirty
    struct target *target;
    struct series series;
};

enum state_flag {
    FLAG_EVER_PASSED = 1,
    FLAG_EVER_FAILED = 2,
    FLAG_WAS_UNHEALTHY = 4,
    FLAG_SLOW = 8,
    FLAG_COUNTED = 16,
    FLAG_MAINTENANCE_SET = 32,
    FLAG_MAINTENANCE_ON = 64,
    FLAG_OUTCOME_SHIFT = 8, // above: the outcome of the last result, and one
};

static struct entry *find(const struct history *history, const struct target *target)
{
    struct map_node *node = map_find(&history->by_key, slice_str(target->key));
    return node == NULL ? NULL : container_of(node, struct entry, node);
}

// NULL without memory.
static struct entry *find_or_make(struct history *history, struct target *target)
{
    struct entry *entry = find(history, target);
    if (entry != NULL) {
        return entry;
    }
    entry = mem_zalloc(sizeof *entry);
    if (entry == NULL) {
        return NULL;
    }
    entry->target = target;
    list_init(&entry->dirty);
    if (map_insert(&history->by_key, &entry->node, slice_str(target->key)) != WEIR_OK) {
        mem_free(entry);
        return NULL;
    }
    return entry;
}

static void free_entry(struct history *history, struct entry *entry)
{
    map_remove(&history->by_key, &entry->node);
    list_remove(&entry->dirty);
    series_fini(&entry->series);
    mem_free(entry);
}

// ---- To the store

static int64_t flags_of(const struct target *target)
{
    const struct state *state = &target->state;
    int64_t flags = 0;
    flags |= state->ever_passed ? FLAG_EVER_PASSED : 0;
    flags |= state->ever_failed ? FLAG_EVER_FAILED : 0;
    flags |= state->was_unhealthy ? FLAG_WAS_UNHEALTHY : 0;
    flags |= state->slow ? FLAG_SLOW : 0;
    flags |= state->counted ? FLAG_COUNTED : 0;
    flags |= target->maintenance_set ? FLAG_MAINTENANCE_SET : 0;
    flags |= target->maintenance.on ? FLAG_MAINTENANCE_ON : 0;
    flags |= target->has_last ? (int64_t)(target->last.outcome + 1) << FLAG_OUTCOME_SHIFT : 0;
    return flags;
}

static void store_state(struct history *history, const struct target *target)
{
    const struct state *state = &target->state;
    const char *reason = target->maintenance.reason;
    char identity[20];
    snprintf(identity, sizeof identity, "%016llx", (unsigned long long)target->service->identity);
    store_put(history->store,
        &(struct store_row){
            .kind = STORE_STATE,
            .texts = {slice_str(target->service->name), slice_str(target->service->machine->name),
                slice_str(target->has_last ? target->last.message : ""), slice_str(identity),
                slice_str(reason)},
            .reals = {(double)target->last.latency_ns / (double)NS_PER_MS, target->last.code},
            .numbers = {(int64_t)sys_wall_ms(), flags_of(target), state->failures, state->passes,
                state->recent, state->recent_count, (int64_t)target->last_pass_wall_ms,
                (int64_t)target->last_failure_wall_ms, (int64_t)target->last.wall_ms,
                (int64_t)target->maintenance.until_wall_ms},
        });
}

static void store_bucket(struct history *history, const struct target *target,
    enum series_step step, const struct series_bucket *bucket)
{
    store_put(history->store,
        &(struct store_row){
            .kind = STORE_BUCKET,
            .texts = {slice_str(target->service->name), slice_str(target->service->machine->name),
                SLICE_EMPTY, SLICE_EMPTY, SLICE_EMPTY},
            .reals = {(double)bucket->sum_ms, (double)bucket->max_ms},
            .numbers = {step, bucket->start_s, bucket->checks, bucket->failures, bucket->worst},
        });
}

// The newest bucket, and the one before if it was open at the last flush.
static void store_sums(struct history *history, const struct entry *entry)
{
    uint64_t flushed_s = history->flushed_wall_ms / 1000;
    for (unsigned step = 0; step < SERIES_STEP_COUNT; step++) {
        const struct series_bucket *newest = series_bucket(&entry->series, step, 0);
        const struct series_bucket *before = series_bucket(&entry->series, step, 1);
        if (newest != NULL && before != NULL && newest->start_s >= flushed_s) {
            store_bucket(history, entry->target, step, before);
        }
        if (newest != NULL) {
            store_bucket(history, entry->target, step, newest);
        }
    }
}

static void flush(struct history *history)
{
    list_for_each_safe (node, &history->dirty) {
        struct entry *entry = container_of(node, struct entry, dirty);
        list_remove(&entry->dirty);
        store_state(history, entry->target);
        store_sums(history, entry);
    }
    history->flushed_wall_ms = sys_wall_ms();
}

static void on_flush(struct timer *timer)
{
    flush(container_of(timer, struct history, flush));
}

// ---- What happens

static void mark(struct history *history, struct entry *entry)
{
    if (history->store == NULL || list_linked(&entry->dirty)) {
        return;
    }
    list_push_back(&history->dirty, &entry->dirty);
    if (!timer_armed(&history->flush)) {
        worker_arm_in(history->worker, &history->flush, FLUSH_NS);
    }
}

void history_result(struct history *history, struct target *target)
{
    const struct check_record *record = &target->last;
    struct entry *entry = find_or_make(history, target);
    uint64_t latency_us = record->latency_ns / 1000;
    if (entry == NULL) {
        return;
    }
    series_add(&entry->series,
        &(struct series_result){
            .wall_s = (uint32_t)(record->wall_ms / 1000),
            .wall_ms = (uint16_t)(record->wall_ms % 1000),
            .latency_us = latency_us > LATENCY_US_MAX ? LATENCY_US_MAX : (uint32_t)latency_us,
            .code = (uint16_t)record->code,
            .outcome = (uint8_t)record->outcome,
            .status = (uint8_t)state_status(&target->state),
        },
        check_outcome_passed(record->outcome));
    mark(history, entry);
}

void history_touch(struct history *history, struct target *target)
{
    struct entry *entry = find_or_make(history, target);
    if (entry != NULL) {
        mark(history, entry);
    }
}

void history_forget(struct history *history, const struct target *target)
{
    struct entry *entry = find(history, target);
    if (entry != NULL) {
        free_entry(history, entry);
    }
}

void history_event(struct history *history, const struct health_event *event)
{
    if (history->store == NULL) {
        return;
    }
    store_put(history->store, &(struct store_row){
                                  .kind = STORE_EVENT,
                                  .texts = {slice_str(event_type_name(event->type)), event->service,
                                      event->machine, event->message, SLICE_EMPTY},
                                  .numbers = {(int64_t)event->id, (int64_t)event->wall_ms,
                                      event->previous, event->status},
                              });
}

// ---- From the store

static bool find_type(struct slice name, enum event_type *ret_type)
{
    for (unsigned type = 0; type < EVENT_TYPE_COUNT; type++) {
        if (slice_eq(name, slice_str(event_type_name(type)))) {
            *ret_type = type;
            return true;
        }
    }
    return false;
}

static void take_event(void *arg, const struct store_row *row)
{
    struct history *history = arg;
    struct health_event event = {
        .wall_ms = (uint64_t)row->numbers[1],
        .previous = (unsigned)row->numbers[2],
        .status = (unsigned)row->numbers[3],
        .service = row->texts[1],
        .machine = row->texts[2],
        .message = row->texts[3],
    };
    // What another version wrote and this one does not know is passed over.
    if (row->numbers[0] <= 0 || event.previous > EVENT_NO_STATUS ||
        event.status > EVENT_NO_STATUS || !find_type(row->texts[0], &event.type)) {
        return;
    }
    history->events->last_id = (uint64_t)row->numbers[0] - 1;
    (void)event_ring_add(history->events, &event); // without memory it is missing
}

// Rows of one service stand together, so that it is looked for once.
static struct target *find_loading(struct history *history, const struct store_row *row)
{
    const struct target *last = history->loading;
    if (last == NULL || !slice_eq(slice_str(last->service->name), row->texts[0]) ||
        !slice_eq(slice_str(last->service->machine->name), row->texts[1])) {
        history->loading = monitor_find(history->monitor, row->texts[0], row->texts[1]);
    }
    return history->loading;
}

static void take_bucket(void *arg, const struct store_row *row)
{
    struct history *history = arg;
    struct target *target = find_loading(history, row);
    bool good = row->numbers[0] >= 0 && row->numbers[0] < SERIES_STEP_COUNT &&
                row->numbers[4] >= 0 && row->numbers[4] < HEALTH_STATUS_COUNT;
    struct entry *entry = target == NULL || !good ? NULL : find_or_make(history, target);
    if (entry != NULL) {
        series_restore(&entry->series, (enum series_step)row->numbers[0],
            &(struct series_bucket){
                .sum_ms = (float)row->reals[0],
                .max_ms = (float)row->reals[1],
                .start_s = (uint32_t)row->numbers[1],
                .checks = (uint32_t)row->numbers[2],
                .failures = (uint32_t)row->numbers[3],
                .worst = (uint8_t)row->numbers[4],
            });
    }
}

// The state's clock at a moment of the wall clock. It may lie before that clock began: differences
// are right all the same.
static uint64_t state_time(int64_t wall_ms)
{
    uint64_t now_ms = sys_wall_ms();
    uint64_t then_ms = wall_ms < 0 ? 0 : (uint64_t)wall_ms;
    return monitor_now_ns() - (now_ms > then_ms ? time_from_ms(now_ms - then_ms) : 0);
}

static struct check_record record_of(const struct store_row *row)
{
    int64_t outcome = (row->numbers[1] >> FLAG_OUTCOME_SHIFT) - 1;
    struct check_record record = {0};
    if (outcome < 0 || outcome >= CHECK_OUTCOME_COUNT || row->numbers[8] <= 0) {
        return record;
    }
    record.wall_ms = (uint64_t)row->numbers[8];
    record.outcome = (enum check_outcome)outcome;
    record.latency_ns = (uint64_t)(row->reals[0] * (double)NS_PER_MS);
    record.code = (int)row->reals[1];
    (void)slice_to_text(row->texts[2], record.message, sizeof record.message);
    return record;
}

static void restore_state(struct target *target, const struct store_row *row)
{
    const int64_t *numbers = row->numbers;
    int64_t flags = numbers[1];
    uint64_t recent_count = (uint64_t)numbers[5];
    struct check_record last = record_of(row);
    struct state state = {
        .monitored = true,
        .counted = true,
        .ever_passed = (flags & FLAG_EVER_PASSED) != 0,
        .ever_failed = (flags & FLAG_EVER_FAILED) != 0,
        .was_unhealthy = (flags & FLAG_WAS_UNHEALTHY) != 0,
        .slow = (flags & FLAG_SLOW) != 0,
        .failures = (uint32_t)numbers[2],
        .passes = (uint32_t)numbers[3],
        .recent = (uint32_t)numbers[4],
        .recent_count =
            (uint8_t)(recent_count > STATE_RECENT_COUNT ? STATE_RECENT_COUNT : recent_count),
        .last_pass_ns = state_time(numbers[6]),
        .last_failure_ns = state_time(numbers[7]),
        .last_result_ns = state_time(numbers[8]),
    };
    monitor_restore(target, &state, &last);
}

static void take_state(void *arg, const struct store_row *row)
{
    struct history *history = arg;
    struct target *target = monitor_find(history->monitor, row->texts[0], row->texts[1]);
    char identity[20];
    if (target == NULL) {
        return;
    }
    if ((row->numbers[1] & FLAG_MAINTENANCE_SET) != 0) {
        monitor_set_maintenance(target, (row->numbers[1] & FLAG_MAINTENANCE_ON) != 0,
            (uint64_t)row->numbers[9], row->texts[4]);
    }
    snprintf(identity, sizeof identity, "%016llx", (unsigned long long)target->service->identity);
    if (service_monitored(target->service) && slice_eq(row->texts[3], slice_str(identity)) &&
        (row->numbers[1] & FLAG_COUNTED) != 0) {
        restore_state(target, row);
    }
}

// ---- What is known

const struct series *history_series(const struct history *history, const struct target *target)
{
    const struct entry *entry = find(history, target);
    return entry == NULL ? NULL : &entry->series;
}

double history_uptime(const struct history *history, const struct target *target)
{
    const struct series *series = history_series(history, target);
    uint64_t since_s = sys_wall_ms() / 1000 - DAY_S;
    uint64_t checks = 0;
    uint64_t failures = 0;
    for (size_t i = 0; series != NULL; i++) {
        const struct series_bucket *bucket = series_bucket(series, STEP_FIVE_MINUTES, i);
        if (bucket == NULL || bucket->start_s < since_s) {
            break;
        }
        checks += bucket->checks;
        failures += bucket->failures;
    }
    return checks == 0 ? VIEW_NONE : 100.0 * (double)(checks - failures) / (double)checks;
}

void history_fill_view(const struct history *history, struct view *view)
{
    for (size_t i = 0; i < view->service_count; i++) {
        struct view_service *row = &view->services[i];
        row->uptime_24h = row->target == NULL ? VIEW_NONE : history_uptime(history, row->target);
    }
}

// ---- Life

enum weir_result history_start(struct history *history, struct worker *worker,
    struct monitor *monitor, struct event_ring *events, const char *path)
{
    *history = (struct history){
        .worker = worker, .monitor = monitor, .events = events, .flushed_wall_ms = sys_wall_ms()};
    map_init(&history->by_key, &worker->seed);
    list_init(&history->dirty);
    timer_init(&history->flush, on_flush);
    if (path == NULL) {
        return WEIR_OK;
    }
    history->store = store_open(path);
    if (history->store == NULL) {
        return WEIR_MEMORY;
    }
    store_load(history->store, STORE_EVENT, take_event, history);
    store_load(history->store, STORE_BUCKET, take_bucket, history);
    store_load(history->store, STORE_STATE, take_state, history);
    return store_start(history->store) ? WEIR_OK : WEIR_MEMORY;
}

void history_stop(struct history *history)
{
    if (history->worker == NULL) {
        return;
    }
    timer_cancel(&history->flush);
    if (history->store != NULL) {
        flush(history);
        store_close(history->store);
    }
    struct map_node *node;
    while ((node = map_next(&history->by_key, NULL)) != NULL) {
        free_entry(history, container_of(node, struct entry, node));
    }
    map_fini(&history->by_key);
    *history = (struct history){0};
}
