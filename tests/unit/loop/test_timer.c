// SPDX-License-Identifier: Apache-2.0
// The wheel against what its header promises: nothing fires early, nothing later than a tick, and
// it never asks to be woken too late.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/time.h"
#include "loop/timer.h"

#define TICK_NS (UINT64_C(1) << 23)
#define START_NS (UINT64_C(1234567) * NS_PER_S + 89)
#define COUNT(array) (sizeof(array) / sizeof *(array))

struct probe {
    struct timer timer;
    struct wheel *wheel;
    uint64_t deadline_ns;
    uint64_t again_ns;    // re-armed for this deadline when it fires, unless 0
    struct probe *victim; // cancelled when this one fires
    unsigned fired;
    unsigned order;
};

static unsigned fired_total;

static void on_fire(struct timer *timer)
{
    struct probe *probe = container_of(timer, struct probe, timer);
    assert_false(timer_armed(timer));
    probe->fired++;
    probe->order = ++fired_total;
    if (probe->victim != NULL) {
        timer_cancel(&probe->victim->timer);
    }
    if (probe->again_ns != 0) {
        wheel_arm(probe->wheel, timer, probe->again_ns);
    }
}

static void probe_arm(struct probe *probe, struct wheel *wheel, uint64_t deadline_ns)
{
    *probe = (struct probe){.wheel = wheel, .deadline_ns = deadline_ns};
    timer_init(&probe->timer, on_fire);
    wheel_arm(wheel, &probe->timer, deadline_ns);
}

// Advances as a worker does, to the moment the wheel asks for, until the probe fires; returns when.
static uint64_t run_until_fired(struct wheel *wheel, const struct probe *probe)
{
    uint64_t now_ns = 0;
    for (unsigned turns = 0; probe->fired == 0; turns++) {
        uint64_t next_ns = wheel_next_ns(wheel);
        assert_true(next_ns > now_ns && next_ns != TIME_NEVER);
        // One wake-up a level, and one for each round of a timer beyond the last level.
        assert_true(turns <= 2 * WHEEL_LEVELS);
        now_ns = next_ns;
        wheel_advance(wheel, now_ns);
    }
    return now_ns;
}

// Ascending.
static const uint64_t delays_ns[] = {
    0, 1, TICK_NS - 1, TICK_NS, TICK_NS + 1, 63 * TICK_NS, 64 * TICK_NS, 65 * TICK_NS, NS_PER_S,
    64 * 64 * TICK_NS - 1, 64 * 64 * TICK_NS, 64 * 64 * TICK_NS + 1, 60 * NS_PER_S,
    64 * 64 * 64 * TICK_NS, UINT64_C(3600) * NS_PER_S, UINT64_C(86400) * NS_PER_S,
    64 * 64 * 64 * 64 * TICK_NS, UINT64_C(100) * 86400 * NS_PER_S,
    UINT64_C(64) * 64 * 64 * 64 * 64 * TICK_NS,     // the farthest the levels reach
    UINT64_C(3) * 64 * 64 * 64 * 64 * 64 * TICK_NS, // handed down again and again
};

static void fires_within_a_tick(void **state)
{
    (void)state;
    // Start at moments whose digits differ: zero, all ones before a carry, in between.
    static const uint64_t starts_ns[] = {
        0,
        1,
        TICK_NS * 63,
        TICK_NS * 64,
        TICK_NS * 4095 + 5,
        TICK_NS * 262143,
        TICK_NS * 1073741823,
        START_NS,
    };
    for (size_t s = 0; s < COUNT(starts_ns); s++) {
        for (size_t d = 0; d < COUNT(delays_ns); d++) {
            print_message("start %zu delay %zu\n", s, d);
            struct wheel wheel;
            struct probe probe;
            wheel_init(&wheel, starts_ns[s]);
            probe_arm(&probe, &wheel, starts_ns[s] + delays_ns[d]);
            assert_true(timer_armed(&probe.timer));
            uint64_t at_ns = run_until_fired(&wheel, &probe);
            assert_true(at_ns >= probe.deadline_ns);
            assert_true(at_ns <= probe.deadline_ns + TICK_NS);
            assert_int_equal(wheel_next_ns(&wheel), TIME_NEVER);
        }
    }
}

static void fires_once(void **state)
{
    (void)state;
    struct wheel wheel;
    struct probe probe;
    wheel_init(&wheel, START_NS);
    probe_arm(&probe, &wheel, START_NS + NS_PER_S);
    wheel_advance(&wheel, START_NS + NS_PER_S - 1);
    assert_int_equal(probe.fired, 0);
    wheel_advance(&wheel, START_NS + UINT64_C(1000) * NS_PER_S);
    assert_int_equal(probe.fired, 1);
    wheel_advance(&wheel, START_NS + UINT64_C(9000000) * NS_PER_S);
    assert_int_equal(probe.fired, 1);
}

static void past_deadlines_fire_at_the_next_advance(void **state)
{
    (void)state;
    struct wheel wheel;
    struct probe probe;
    wheel_init(&wheel, START_NS);
    probe_arm(&probe, &wheel, 1);
    assert_int_equal(probe.fired, 0);
    assert_true(wheel_next_ns(&wheel) <= START_NS + TICK_NS);
    wheel_advance(&wheel, START_NS + TICK_NS);
    assert_int_equal(probe.fired, 1);
}

static void time_may_stand_still(void **state)
{
    (void)state;
    struct wheel wheel;
    struct probe probe;
    wheel_init(&wheel, START_NS);
    probe_arm(&probe, &wheel, START_NS + NS_PER_S);
    wheel_advance(&wheel, START_NS);
    wheel_advance(&wheel, START_NS - NS_PER_S);
    assert_int_equal(probe.fired, 0);
    assert_true(run_until_fired(&wheel, &probe) >= START_NS + NS_PER_S);
}

static void cancelled_timers_stay_silent(void **state)
{
    (void)state;
    struct wheel wheel;
    struct probe probe;
    wheel_init(&wheel, START_NS);
    probe_arm(&probe, &wheel, START_NS + NS_PER_S);
    timer_cancel(&probe.timer);
    assert_false(timer_armed(&probe.timer));
    timer_cancel(&probe.timer);
    probe_arm(&probe, &wheel, START_NS + NS_PER_S);
    wheel_arm(&wheel, &probe.timer, TIME_NEVER);
    assert_false(timer_armed(&probe.timer));
    wheel_advance(&wheel, START_NS + UINT64_C(100) * NS_PER_S);
    assert_int_equal(probe.fired, 0);
    // The stale bits of what was cancelled are gone with the slots that were passed.
    assert_int_equal(wheel_next_ns(&wheel), TIME_NEVER);
}

static void arming_again_moves_the_deadline(void **state)
{
    (void)state;
    struct wheel wheel;
    struct probe probe;
    wheel_init(&wheel, START_NS);
    probe_arm(&probe, &wheel, START_NS + NS_PER_S);
    wheel_arm(&wheel, &probe.timer, START_NS + 10 * NS_PER_S);
    wheel_advance(&wheel, START_NS + 9 * NS_PER_S);
    assert_int_equal(probe.fired, 0);
    wheel_arm(&wheel, &probe.timer, START_NS + NS_PER_S);
    wheel_advance(&wheel, START_NS + 9 * NS_PER_S + TICK_NS);
    assert_int_equal(probe.fired, 1);
}

static void callbacks_may_arm_themselves(void **state)
{
    (void)state;
    struct wheel wheel;
    struct probe probe;
    wheel_init(&wheel, START_NS);
    probe_arm(&probe, &wheel, START_NS + NS_PER_S);
    // A deadline that has passed must not be served in the same advance for ever.
    probe.again_ns = START_NS;
    wheel_advance(&wheel, START_NS + NS_PER_S + TICK_NS);
    assert_int_equal(probe.fired, 1);
    assert_true(timer_armed(&probe.timer));
    wheel_advance(&wheel, START_NS + NS_PER_S + 4 * TICK_NS);
    assert_int_equal(probe.fired, 4);
    timer_cancel(&probe.timer);
}

static void callbacks_may_cancel_others_of_the_same_tick(void **state)
{
    (void)state;
    struct wheel wheel;
    struct probe probes[3];
    wheel_init(&wheel, START_NS);
    for (size_t i = 0; i < COUNT(probes); i++) {
        probe_arm(&probes[i], &wheel, START_NS + NS_PER_S);
    }
    probes[0].victim = &probes[1];
    probes[2].victim = &probes[2]; // itself: not armed any more, and that is fine
    wheel_advance(&wheel, START_NS + 2 * NS_PER_S);
    assert_int_equal(probes[0].fired, 1);
    assert_int_equal(probes[1].fired, 0);
    assert_int_equal(probes[2].fired, 1);
}

static void fires_in_the_order_of_ticks(void **state)
{
    (void)state;
    struct wheel wheel;
    struct probe probes[COUNT(delays_ns)];
    wheel_init(&wheel, START_NS);
    // Armed from the last to the first; one advance passes them all.
    for (size_t i = COUNT(probes); i-- > 0;) {
        probe_arm(&probes[i], &wheel, START_NS + 2 * TICK_NS + 3 * delays_ns[i]);
    }
    wheel_advance(&wheel, START_NS + UINT64_C(1000) * 86400 * NS_PER_S);
    for (size_t i = 0; i < COUNT(probes); i++) {
        assert_int_equal(probes[i].fired, 1);
        for (size_t k = 0; k < i; k++) {
            bool later = probes[k].order < probes[i].order;
            assert_true(later || probes[i].deadline_ns - probes[k].deadline_ns < TICK_NS);
        }
    }
}

// Many timers, armed, moved and cancelled at random while time goes on in steps of every size.
static void keeps_its_promise_under_churn(void **state)
{
    (void)state;
    static struct probe probes[300];
    struct wheel wheel;
    uint64_t random = UINT64_C(0x9e3779b97f4a7c15);
    uint64_t now_ns = START_NS;
    wheel_init(&wheel, now_ns);
    for (size_t i = 0; i < COUNT(probes); i++) {
        probe_arm(&probes[i], &wheel, TIME_NEVER);
    }
    for (unsigned turn = 0; turn < 30000; turn++) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        struct probe *probe = &probes[random % COUNT(probes)];
        uint64_t delay_ns = (random >> 20) >> (random >> 58);
        timer_cancel(&probe->timer);
        probe_arm(probe, &wheel, random % 7 == 0 ? TIME_NEVER : now_ns + delay_ns);
        uint64_t soonest_ns = TIME_NEVER;
        for (size_t i = 0; i < COUNT(probes); i++) {
            bool armed = timer_armed(&probes[i].timer);
            soonest_ns =
                armed && probes[i].deadline_ns < soonest_ns ? probes[i].deadline_ns : soonest_ns;
        }
        uint64_t limit_ns = soonest_ns == TIME_NEVER ? TIME_NEVER : soonest_ns + TICK_NS;
        assert_true(wheel_next_ns(&wheel) <= limit_ns);

        now_ns += (random >> 24) >> ((random >> 52) % 40);
        wheel_advance(&wheel, now_ns);
        for (size_t i = 0; i < COUNT(probes); i++) {
            if (probes[i].deadline_ns == TIME_NEVER) {
                assert_int_equal(probes[i].fired, 0);
            } else if (probes[i].fired > 0) {
                assert_true(probes[i].fired == 1 && probes[i].deadline_ns <= now_ns);
            } else {
                assert_true(probes[i].deadline_ns + TICK_NS > now_ns);
            }
        }
    }
    assert_true(fired_total > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fires_within_a_tick),
        cmocka_unit_test(fires_once),
        cmocka_unit_test(past_deadlines_fire_at_the_next_advance),
        cmocka_unit_test(time_may_stand_still),
        cmocka_unit_test(cancelled_timers_stay_silent),
        cmocka_unit_test(arming_again_moves_the_deadline),
        cmocka_unit_test(callbacks_may_arm_themselves),
        cmocka_unit_test(callbacks_may_cancel_others_of_the_same_tick),
        cmocka_unit_test(fires_in_the_order_of_ticks),
        cmocka_unit_test(keeps_its_promise_under_churn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
