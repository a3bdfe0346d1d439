// SPDX-License-Identifier: Apache-2.0
// The scheduler on a clock of the test's own: phases, limits, overruns, pauses, and a day of 1,000
// services.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/time.h"
#include "health/scheduler.h"

#define TICK_NS (UINT64_C(1) << 23)
#define ITEMS_MAX 1000

struct item {
    struct scheduled scheduled;
    struct timer end;     // of the check under way
    uint64_t duration_ns; // TIME_NEVER: it hangs
    uint64_t started_ns;
    unsigned starts;
};

static struct {
    struct wheel wheel;
    struct scheduler scheduler;
    uint64_t now_ns;
    unsigned running;
    unsigned running_most;
    struct item items[ITEMS_MAX];
} world;

static uint64_t clock_of(void *arg)
{
    (void)arg;
    return world.now_ns;
}

static void on_end(struct timer *timer)
{
    world.running--;
    scheduler_done(&container_of(timer, struct item, end)->scheduled);
}

static void on_start(void *arg, struct scheduled *scheduled)
{
    struct item *item = container_of(scheduled, struct item, scheduled);
    (void)arg;
    item->starts++;
    item->started_ns = world.now_ns;
    world.running++;
    world.running_most = world.running > world.running_most ? world.running : world.running_most;
    if (item->duration_ns != TIME_NEVER) {
        wheel_arm(&world.wheel, &item->end, world.now_ns + item->duration_ns);
    }
}

static int setup(void **state)
{
    (void)state;
    world.now_ns = 1000 * NS_PER_S;
    world.running = world.running_most = 0;
    wheel_init(&world.wheel, world.now_ns);
    world.scheduler = (struct scheduler){.wheel = &world.wheel, .now = clock_of, .start = on_start};
    for (unsigned lane = 0; lane < SCHEDULER_LANES; lane++) {
        world.scheduler.lanes[lane].running_max = 512;
    }
    scheduler_init(&world.scheduler);
    for (size_t i = 0; i < ITEMS_MAX; i++) {
        world.items[i] = (struct item){.duration_ns = NS_PER_MS};
        timer_init(&world.items[i].end, on_end);
    }
    return 0;
}

static void add(size_t index, uint64_t interval_s, uint64_t first_ms)
{
    scheduler_add(&world.scheduler, &world.items[index].scheduled, 0, interval_s * NS_PER_S,
        world.now_ns + first_ms * NS_PER_MS);
}

static void pass_ms(uint64_t ms)
{
    uint64_t end_ns = world.now_ns + ms * NS_PER_MS;
    while (world.now_ns < end_ns) {
        uint64_t next_ns = wheel_next_ns(&world.wheel);
        world.now_ns = next_ns < end_ns ? next_ns : end_ns;
        wheel_advance(&world.wheel, world.now_ns);
    }
}

static void keeps_phases(void **state)
{
    (void)state;
    uint64_t begin_ns = world.now_ns;
    add(0, 10, 3000);
    world.items[0].duration_ns = 4 * NS_PER_S;
    for (unsigned i = 0; i < 50; i++) {
        pass_ms(10000);
        uint64_t due_ns = begin_ns + (3 + 10 * (uint64_t)i) * NS_PER_S;
        assert_int_equal(world.items[0].starts, i + 1);
        assert_in_range(world.items[0].started_ns, due_ns, due_ns + TICK_NS);
    }
    assert_int_equal(world.scheduler.overruns, 0);
}

static uint64_t next_random(void *arg)
{
    static uint64_t state = 1;
    (void)arg;
    state = state * 6364136223846793005U + 1442695040888963407U;
    return state >> 11;
}

static void jitters_around_its_phases(void **state)
{
    (void)state;
    uint64_t begin_ns = world.now_ns;
    uint64_t least_ns = TIME_NEVER;
    uint64_t most_ns = 0;
    world.scheduler.jitter_percent = 50;
    world.scheduler.random = next_random;
    add(0, 10, 0);
    for (unsigned i = 0; i < 200; i++) {
        pass_ms(i == 0 ? 9000 : 10000); // one second before the next phase
        uint64_t late_ns = world.items[0].started_ns - begin_ns - 10 * NS_PER_S * i;
        assert_int_equal(world.items[0].starts, i + 1);
        assert_in_range(late_ns, 0, 5 * NS_PER_S + TICK_NS);
        least_ns = late_ns < least_ns ? late_ns : least_ns;
        most_ns = late_ns > most_ns ? late_ns : most_ns;
    }
    assert_true(least_ns < NS_PER_S && most_ns > 4 * NS_PER_S);
    assert_int_equal(world.scheduler.overruns, 0);
    assert_true(world.scheduler.lag_max_ns <= TICK_NS); // what is meant is not late
}

static void drops_what_overruns(void **state)
{
    (void)state;
    add(0, 1, 0);
    world.items[0].duration_ns = 2500 * NS_PER_MS;
    pass_ms(500);
    assert_int_equal(world.items[0].starts, 1);
    pass_ms(2400); // the starts at 1 s and 2 s are dropped
    assert_int_equal(world.items[0].starts, 1);
    assert_int_equal(world.scheduler.overruns, 2);
    pass_ms(200); // the one at 3 s, on its old phase, is not
    assert_int_equal(world.items[0].starts, 2);
}

static void does_not_catch_up(void **state)
{
    (void)state;
    add(0, 10, 0);
    pass_ms(1000);
    world.now_ns += 3600 * NS_PER_S; // nobody turned the wheel
    wheel_advance(&world.wheel, world.now_ns);
    pass_ms(8900);
    assert_int_equal(world.items[0].starts, 2);
    pass_ms(200); // an hour is a multiple of ten seconds: the old phase
    assert_int_equal(world.items[0].starts, 3);
}

static void keeps_to_a_lane(void **state)
{
    (void)state;
    world.scheduler.lanes[0].running_max = 5;
    for (size_t i = 0; i < 100; i++) {
        world.items[i].duration_ns = 100 * NS_PER_MS;
        add(i, 10, i);
    }
    // Another lane is not held up by this one.
    scheduler_add(&world.scheduler, &world.items[100].scheduled, 1, 10 * NS_PER_S, world.now_ns);
    pass_ms(50);
    assert_int_equal(world.items[100].starts, 1);
    pass_ms(5000);
    assert_in_range(world.running_most, 5, 6);
    for (size_t i = 0; i < 100; i++) {
        assert_int_equal(world.items[i].starts, 1);
    }
    // Nobody overtakes but within a tick of the wheel.
    for (size_t i = 20; i < 100; i++) {
        assert_true(world.items[i].started_ns >= world.items[i - 20].started_ns);
    }
    assert_true(world.scheduler.lag_max_ns > NS_PER_S);
}

static void goes_on_without_the_removed(void **state)
{
    (void)state;
    world.scheduler.lanes[0].running_max = 1;
    for (size_t i = 0; i < 3; i++) {
        world.items[i].duration_ns = TIME_NEVER;
        add(i, 10, 100 * i);
    }
    pass_ms(1000);
    assert_int_equal(world.items[0].starts, 1);
    scheduler_remove(&world.items[1].scheduled); // waits
    scheduler_remove(&world.items[0].scheduled); // runs
    assert_int_equal(world.items[1].starts, 0);
    assert_int_equal(world.items[2].starts, 1);
    pass_ms(100000);
    assert_int_equal(world.items[0].starts, 1);
}

static void starts_when_asked(void **state)
{
    (void)state;
    scheduler_add(&world.scheduler, &world.items[0].scheduled, 0, 10 * NS_PER_S, TIME_NEVER);
    pass_ms(100000);
    assert_int_equal(world.items[0].starts, 0);
    assert_true(scheduler_now(&world.items[0].scheduled));
    assert_false(scheduler_now(&world.items[0].scheduled));
    assert_int_equal(world.items[0].starts, 1);
    pass_ms(1000);
    assert_true(scheduler_now(&world.items[0].scheduled));
}

static void changes_its_interval_from_the_last_phase(void **state)
{
    (void)state;
    add(0, 10, 1000);
    pass_ms(2000);
    scheduler_set_interval(&world.items[0].scheduled, 3 * NS_PER_S);
    pass_ms(2100); // at 4 s
    assert_int_equal(world.items[0].starts, 2);
    pass_ms(3000);
    assert_int_equal(world.items[0].starts, 3);
}

static void changes_its_interval_soon_after_the_start_of_the_clock(void **state)
{
    (void)state;
    add(0, 1000000, 1000);
    scheduler_set_interval(&world.items[0].scheduled, 3 * NS_PER_S);
    pass_ms(4000);
    assert_in_range(world.items[0].starts, 1, 2);
}

static void spreads_the_first(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 1000; i++) {
        uint64_t random = i * UINT64_C(0x9e3779b97f4a7c15);
        assert_true(scheduler_spread_ns(NS_PER_S, random) < NS_PER_S);
        assert_true(scheduler_spread_ns(60 * NS_PER_S, random) < 10 * NS_PER_S);
    }
}

static void passes_a_day(void **state)
{
    (void)state;
    for (size_t i = 0; i < ITEMS_MAX; i++) {
        world.items[i].duration_ns = 5 * NS_PER_MS;
        add(i, 60, 10 * i);
    }
    // Five hang; each holds one place, and delays nobody.
    for (size_t i = 0; i < 5; i++) {
        world.items[i].duration_ns = TIME_NEVER;
    }
    pass_ms(UINT64_C(86400) * 1000);
    for (size_t i = 5; i < ITEMS_MAX; i++) {
        assert_int_equal(world.items[i].starts, 1440);
    }
    assert_true(world.scheduler.lag_max_ns <= TICK_NS);
    assert_int_equal(world.scheduler.overruns, 5 * 1439);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(keeps_phases, setup),
        cmocka_unit_test_setup(jitters_around_its_phases, setup),
        cmocka_unit_test_setup(drops_what_overruns, setup),
        cmocka_unit_test_setup(does_not_catch_up, setup),
        cmocka_unit_test_setup(keeps_to_a_lane, setup),
        cmocka_unit_test_setup(goes_on_without_the_removed, setup),
        cmocka_unit_test_setup(starts_when_asked, setup),
        cmocka_unit_test_setup(changes_its_interval_from_the_last_phase, setup),
        cmocka_unit_test_setup(changes_its_interval_soon_after_the_start_of_the_clock, setup),
        cmocka_unit_test_setup(spreads_the_first, setup),
        cmocka_unit_test_setup(passes_a_day, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
