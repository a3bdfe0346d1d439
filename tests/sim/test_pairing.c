// SPDX-License-Identifier: Apache-2.0
// Control channels and stream pairing in a few hundred worlds, each from a seed: sim.h has what a
// world is, talk.c, web.c and agents.c what those who live in it check. Besides, in every world:
//
// 1. Everything that waits has a deadline: a while after the last caller nobody waits for a stream,
//    and an idle time later no stream is left, whatever the peers did not do.
// 2. A drain ends in its time. A stop ends everything at any moment.
// 3. Books balance; descriptors and memory are given back.
//
// Usage: sim_pairing [first-seed [count]]. A world that fails prints its seed.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/time.h"
#include "sim.h"

#define WORLDS 240
#define BUSY_TURNS 600
#define CALM_TURNS 20000
// Late answers come after 40 s, and a stream is waited for 30 s.
#define SETTLE_TURNS 320
#define SETTLE_STEP_NS (250 * NS_PER_MS)
#define IDLE_TURNS 75
#define IDLE_STEP_NS (60 * NS_PER_S)
#define LAST_TURNS 300
#define LAST_STEP_NS (50 * NS_PER_MS)

static uint64_t first_seed = 1;
static uint64_t seed_count = WORLDS;

// For ends that pass sim_check by: a broken invariant, a sanitizer.
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static void tell_seed(void)
{
    fprintf(stderr, "sim: seed %llu\n", (unsigned long long)sim_seed());
}

static void on_abort(int number)
{
    (void)number;
    tell_seed();
}

static bool turns(size_t count, uint64_t step_ns)
{
    bool busy = true;
    for (size_t i = 0; i < count; i++) {
        busy = peers_step();
        sim_turn();
        sim_pass(step_ns);
    }
    return busy;
}

static void be_calm(void)
{
    bool busy = true;
    for (size_t i = 0; busy && i < CALM_TURNS; i++) {
        busy = turns(1, sim_below(3 * NS_PER_MS));
    }
    sim_check(!busy, "a calm world does not come to rest");
}

static void be_wild(void)
{
    size_t count = BUSY_TURNS + sim_below(BUSY_TURNS);
    size_t change = sim_chance(15) ? sim_below(count) : count;
    for (size_t i = 0; i < count; i++) {
        if (i == change) {
            sim_change_secret();
        }
        (void)turns(1, sim_below(5 * NS_PER_MS));
    }
}

static void settle(void)
{
    (void)turns(SETTLE_TURNS, SETTLE_STEP_NS);
    sim_check(sim_is_settled(), "somebody still waits for a stream");
    (void)turns(IDLE_TURNS, IDLE_STEP_NS);
    sim_check(!sim_has_streams(), "a stream is left");
}

static void leave(void)
{
    peers_leave();
    (void)turns(LAST_TURNS, LAST_STEP_NS);
    sim_check(!sim_has_channels(), "a channel is left");
}

static void drain(void)
{
    uint64_t until_ns = sim_now() + ENGINE_DRAIN_MAX_NS;
    peers_expect_the_end();
    sim_drain();
    while (!sim_is_drained() && sim_now() < until_ns) {
        (void)turns(1, sim_below(LAST_STEP_NS));
    }
    sim_check(sim_is_drained(), "a drain that does not end");
}

static void live(uint64_t seed)
{
    sim_begin(seed);
    peers_begin();
    enum sim_ending ending = (enum sim_ending)sim_below(SIM_ENDING_COUNT);
    if (sim_calm()) {
        be_calm();
    } else {
        be_wild();
    }
    if (ending == SIM_LEAVES) {
        settle();
        leave();
    } else if (ending == SIM_DRAINS) {
        drain();
    }
    sim_stop();
    peers_check();
    peers_end();
    sim_end();
}

static void every_world_keeps_its_promises(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < seed_count; i++) {
        live(first_seed + i);
    }
    inside_end();
    shells_end();
    if (seed_count >= WORLDS) {
        sim_check_variety();
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_world_keeps_its_promises)};
    first_seed = argc > 1 ? strtoull(argv[1], NULL, 10) : first_seed;
    seed_count = argc > 2 ? strtoull(argv[2], NULL, 10) : argc > 1 ? 1 : seed_count;
    signal(SIGABRT, on_abort);
    if (__sanitizer_set_death_callback != NULL) {
        __sanitizer_set_death_callback(tell_seed);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
