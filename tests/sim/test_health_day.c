// SPDX-License-Identifier: Apache-2.0
// A day of a monitor of 1,000 services, on a clock and with checks of the test's own: registry,
// scheduler, states, reloads and timeline are the real ones. Five services hang, some come and go,
// some fail now and then; the registry is read again every hour; at noon the machine sleeps. Nobody
// waits for anybody, and memory is flat.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <malloc.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/time.h"
#include "health/event_ring.h"
#include "health/monitor.h"

#define SERVICES 1000
#define HANGING_END 5   // services below: never answer
#define CHANGING_END 15 // below, and not the former: down every other hour
#define SHAKY_END 25    // below, and not the former: one check in ten fails
#define QUICK_END 125   // below, and not the former: every ten seconds instead of every minute
#define TIMEOUT_NS (5 * NS_PER_S)
#define HOUR_NS (3600 * NS_PER_S)
#define SLEEP_NS (1800 * NS_PER_S)
#define EVENTS_MAX 200
#define STEADY_HOUR 4 // from here on the timeline is full
#define TICK_NS (UINT64_C(1) << 23)

struct sim_check {
    struct timer end;
    const struct service *service;
    check_done_fn *done;
    void *arg;
    uint64_t latency_ns;
    enum check_outcome outcome;
};

static struct {
    struct worker worker;
    struct monitor monitor;
    struct event_ring events;
    uint64_t now_ns;
    uint64_t ahead_ns; // of the boot clock
    uint64_t random;
    unsigned under_way;
    unsigned started[SERVICES];
    long blocks;
    long bytes;
} world;

static uint64_t chance(void)
{
    world.random = world.random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return world.random >> 33;
}

// ---- What stands below the monitor

uint64_t __wrap_sys_now_ns(void);
uint64_t __wrap_sys_boot_ns(void);
uint64_t __wrap_sys_wall_ms(void);
enum weir_result __wrap_sys_entropy(void *bytes, size_t len);
uint64_t __wrap_worker_now(struct worker *worker);
void __wrap_worker_arm(struct worker *worker, struct timer *timer, uint64_t deadline_ns);
void __wrap_worker_settle(struct worker *worker);
struct check *__wrap_check_start(
    struct check_room *room, const struct service *service, check_done_fn *done, void *arg);
void __wrap_check_cancel(struct check *check);
void *__real_mem_zalloc(size_t size);
void *__wrap_mem_zalloc(size_t size);
void *__real_mem_alloc(size_t size);
void *__wrap_mem_alloc(size_t size);
void *__real_mem_realloc(void *block, size_t size);
void *__wrap_mem_realloc(void *block, size_t size);
char *__real_mem_copy(const char *bytes, size_t len);
char *__wrap_mem_copy(const char *bytes, size_t len);
void __real_mem_free(void *block);
void __wrap_mem_free(void *block);

uint64_t __wrap_sys_now_ns(void)
{
    return world.now_ns;
}

uint64_t __wrap_sys_boot_ns(void)
{
    return world.now_ns + world.ahead_ns;
}

uint64_t __wrap_sys_wall_ms(void)
{
    return (world.now_ns + world.ahead_ns) / NS_PER_MS;
}

enum weir_result __wrap_sys_entropy(void *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        ((uint8_t *)bytes)[i] = (uint8_t)chance();
    }
    return WEIR_OK;
}

uint64_t __wrap_worker_now(struct worker *worker)
{
    (void)worker;
    return world.now_ns;
}

void __wrap_worker_arm(struct worker *worker, struct timer *timer, uint64_t deadline_ns)
{
    wheel_arm(&worker->wheel, timer, deadline_ns);
}

void __wrap_worker_settle(struct worker *worker)
{
    (void)worker; // nothing here is closed later
}

static void count(void *block, int sign)
{
    if (block != NULL) {
        world.blocks += sign;
        world.bytes += sign * (long)malloc_usable_size(block);
    }
}

void *__wrap_mem_zalloc(size_t size)
{
    void *block = __real_mem_zalloc(size);
    count(block, 1);
    return block;
}

void *__wrap_mem_alloc(size_t size)
{
    void *block = __real_mem_alloc(size);
    count(block, 1);
    return block;
}

void *__wrap_mem_realloc(void *block, size_t size)
{
    count(block, -1);
    void *moved = __real_mem_realloc(block, size);
    count(moved, 1);
    return moved;
}

char *__wrap_mem_copy(const char *bytes, size_t len)
{
    char *copy = __real_mem_copy(bytes, len);
    count(copy, 1);
    return copy;
}

void __wrap_mem_free(void *block)
{
    count(block, -1);
    __real_mem_free(block);
}

// ---- Checks

static size_t index_of(const struct service *service)
{
    return (size_t)strtoul(service->name + 1, NULL, 10);
}

static bool fails(size_t i)
{
    uint64_t hour = world.now_ns / HOUR_NS;
    return i < HANGING_END || (i < CHANGING_END && (hour + i) % 2 == 0) ||
           (i >= CHANGING_END && i < SHAKY_END && chance() % 10 == 0);
}

static void on_end(struct timer *timer)
{
    struct sim_check *check = container_of(timer, struct sim_check, end);
    struct check_record record = {
        .wall_ms = __wrap_sys_wall_ms(),
        .latency_ns = check->latency_ns,
        .outcome = check->outcome,
        .message = "as the world wants it",
    };
    world.under_way--;
    check->done(check->arg, &record);
    mem_free(check);
}

struct check *__wrap_check_start(
    struct check_room *room, const struct service *service, check_done_fn *done, void *arg)
{
    size_t i = index_of(service);
    struct sim_check *check = mem_zalloc(sizeof *check);
    (void)room;
    assert_non_null(check);
    world.under_way++;
    world.started[i]++;
    check->service = service;
    check->done = done;
    check->arg = arg;
    check->latency_ns = i < HANGING_END ? TIMEOUT_NS : NS_PER_MS * (1 + chance() % 20);
    check->outcome = i < HANGING_END ? OUTCOME_TIMEOUT : fails(i) ? OUTCOME_REFUSED : OUTCOME_PASS;
    timer_init(&check->end, on_end);
    wheel_arm(&world.worker.wheel, &check->end, world.now_ns + check->latency_ns);
    return (struct check *)(void *)check;
}

void __wrap_check_cancel(struct check *check)
{
    struct sim_check *mine = (struct sim_check *)(void *)check;
    if (mine != NULL) {
        world.under_way--;
        timer_cancel(&mine->end);
        mem_free(mine);
    }
}

// ---- The world

static const char *get(void *arg, const char *name)
{
    (void)arg;
    (void)name;
    return NULL;
}

static struct registry *read_registry(void)
{
    static const struct conf_source environment = {.get = get};
    static const struct registry_options options = {.environment = &environment};
    struct buf text = BUF_INIT(1 << 20);
    struct registry *registry;
    buf_append_str(&text, "hosts:\n  a: {ip: 192.0.2.1}\n  b: {ip: 192.0.2.2}\nservices:\n");
    for (unsigned i = 0; i < SERVICES; i++) {
        buf_printf(&text,
            "  s%u: {current_host: %s, port: 80, health_check: {type: tcp, interval: %s}}\n", i,
            i % 2 == 0 ? "a" : "b", i >= SHAKY_END && i < QUICK_END ? "10" : "60");
    }
    assert_false(text.failed);
    assert_int_equal(
        registry_parse(buf_slice(&text), "/day/registry.yml", &options, &registry), WEIR_OK);
    buf_reset(&text);
    assert_int_equal(registry->note_counts[NOTE_ERROR], 0);
    return registry;
}

static void on_changed(void *arg, struct target *target, const struct state_change *change)
{
    (void)arg;
    assert_non_null(
        event_ring_add(&world.events, &(struct health_event){
                                          .wall_ms = __wrap_sys_wall_ms(),
                                          .type = EVENT_STATUS_CHANGE,
                                          .previous = change->from,
                                          .status = change->to,
                                          .service = slice_str(target->service->name),
                                          .machine = slice_str(target->service->machine->name),
                                          .message = SLICE_EMPTY,
                                      }));
}

static void pass(uint64_t ns)
{
    uint64_t end_ns = world.now_ns + ns;
    while (world.now_ns < end_ns) {
        uint64_t next_ns = wheel_next_ns(&world.worker.wheel);
        world.now_ns = next_ns < end_ns ? next_ns : end_ns;
        wheel_advance(&world.worker.wheel, world.now_ns);
    }
}

static unsigned count_healthy(void)
{
    unsigned healthy = 0;
    for (size_t i = 0; i < world.monitor.target_count; i++) {
        healthy += state_status(&world.monitor.targets[i]->state) == HEALTH_HEALTHY;
    }
    return healthy;
}

static void reload(void)
{
    struct monitor_difference difference;
    assert_int_equal(monitor_replace(&world.monitor, read_registry(), &difference), WEIR_OK);
    assert_int_equal(difference.added + difference.removed + difference.changed, 0);
}

// What was known of everybody before is too old to be believed, until they were checked again.
static void sleep_and_wake(void)
{
    unsigned healthy = count_healthy();
    assert_true(healthy > SERVICES - SHAKY_END);
    world.ahead_ns += SLEEP_NS;
    pass(1100 * NS_PER_MS); // the monitor looks at the clocks once a second
    assert_true(count_healthy() < SERVICES / 8);
    pass(61 * NS_PER_S);
    assert_true(count_healthy() > SERVICES - SHAKY_END);
    pass(HOUR_NS - 61 * NS_PER_S - 1100 * NS_PER_MS);
}

static void check_the_day(void)
{
    for (size_t i = 0; i < SERVICES; i++) {
        const struct target *target = world.monitor.targets[i];
        unsigned expected = i >= SHAKY_END && i < QUICK_END ? 8640 : 1440;
        uint64_t results = 0;
        for (unsigned kind = 0; kind < RESULT_KIND_COUNT; kind++) {
            results += target->results[kind];
        }
        // The last one may be under way, and the first was spread.
        assert_in_range(world.started[i], expected - 1, expected + 1);
        assert_in_range(results, world.started[i] - 1, world.started[i]);
        enum health_status status = state_status(&target->state);
        assert_true(i >= HANGING_END || status == HEALTH_UNHEALTHY);
        assert_true(i < SHAKY_END || status == HEALTH_HEALTHY);
    }
    assert_int_equal(world.monitor.scheduler.overruns, 0);
    assert_true(world.monitor.scheduler.lag_max_ns <= TICK_NS);
}

static void passes_a_day(void **state)
{
    long steady_blocks = 0;
    long steady_bytes = 0;
    (void)state;
    world.now_ns = 1000 * HOUR_NS;
    wheel_init(&world.worker.wheel, world.now_ns);
    assert_int_equal(event_ring_init(&world.events, EVENTS_MAX), WEIR_OK);
    assert_int_equal(
        monitor_open(&world.monitor, &world.worker,
            &(struct monitor_options){.hooks = {.changed = on_changed}}, read_registry()),
        WEIR_OK);
    for (unsigned hour = 0; hour < 24; hour++) {
        if (hour == STEADY_HOUR) {
            assert_int_equal(world.events.count, EVENTS_MAX);
            steady_blocks = world.blocks - (long)world.under_way;
            steady_bytes = world.bytes;
            assert_true(steady_blocks > SERVICES);
        }
        if (hour == 12) {
            sleep_and_wake();
        } else {
            pass(HOUR_NS);
        }
        reload();
    }
    assert_int_equal(world.blocks - (long)world.under_way, steady_blocks);
    // Names in the timeline, and checks under way, differ from moment to moment.
    assert_in_range(world.bytes, steady_bytes - 16384, steady_bytes + 16384);
    check_the_day();
    monitor_close(&world.monitor);
    event_ring_fini(&world.events);
    assert_int_equal(world.blocks, 0);
    assert_int_equal(world.bytes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(passes_a_day)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
