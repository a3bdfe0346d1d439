// SPDX-License-Identifier: Apache-2.0
// Three relays that find one another through a platform, in many worlds, each from a seed: fleet.h has
// what a world is, fleet_peers.c what daemons and clients check, fleet.c the books.
//
// Usage: sim_fleet [first-seed [count]]. A world that fails prints its seed.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/time.h"
#include "fleet.h"

#define WORLDS 600
#define TURNS 700
#define SETTLE_TURNS 400
#define SETTLE_STEP_NS (25 * NS_PER_MS)
#define LAST_TURNS 8 // of workers, for posts

// Worlds that failed once; each that does is added.
static const uint64_t scripts[] = {3, 9, 10, 60, 444, 662};

static uint64_t first_seed = 1;
static uint64_t seed_count = WORLDS;

// For ends that pass fleet_check by: a broken invariant, a sanitizer.
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static void tell_seed(void)
{
    fprintf(stderr, "sim: seed %llu\n", (unsigned long long)fleet_seed());
}

static void on_abort(int number)
{
    (void)number;
    tell_seed();
}

static void turn(uint64_t step_ns)
{
    peers_step();
    fleet_turn();
    platform_step();
    fleet_pass(step_ns);
}

// Processes end and begin.
static void disturb(void)
{
    unsigned relay = (unsigned)fleet_below(FLEET_RELAYS);
    if (!fleet_is_up(relay)) {
        fleet_start(relay);
    } else if (fleet_chance(50)) {
        fleet_kill(relay);
    } else {
        fleet_drain(relay);
    }
}

static void live(uint64_t seed)
{
    fleet_begin(seed);
    peers_begin();
    for (size_t i = 0; i < TURNS; i++) {
        turn(fleet_below(fleet_chance(95) ? 10 * NS_PER_MS : 200 * NS_PER_MS));
        if (!fleet_is_calm() && fleet_below(250) == 0) {
            disturb();
        }
    }
    peers_rest();
    for (size_t i = 0; i < SETTLE_TURNS; i++) {
        turn(SETTLE_STEP_NS);
    }
    peers_check();
    for (size_t i = 0; i < LAST_TURNS; i++) {
        fleet_turn();
    }
    peers_end();
    fleet_end();
}

static void once_failed(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof scripts / sizeof *scripts; i++) {
        live(scripts[i]);
    }
}

// What a world is there for has happened in some.
static void check_variety(void)
{
    static const enum metric metrics[] = {METRIC_FRAMES_CLIENT_TO_DAEMON,
        METRIC_CLIENT_MESSAGES_ROUTED_BUS, METRIC_CLIENT_MESSAGES_DROPPED,
        METRIC_KEY_EXCHANGE_RESPONSE_ROUTED_LOCAL, METRIC_KEY_EXCHANGE_RESPONSE_ROUTED_BUS,
        METRIC_SESSION_FRAME_ROUTED_LOCAL, METRIC_SESSION_FRAME_ROUTED_BUS,
        METRIC_SESSION_FRAME_DROPPED, METRIC_BUS_FRAMES_TO_DAEMON, METRIC_BUS_FRAMES_TO_CLIENTS,
        METRIC_BUS_FRAMES_DROPPED, METRIC_BUS_PULL_INVALID_SIGNATURE,
        METRIC_BUS_PULL_STALE_SIGNATURE, METRIC_BUS_PULL_REPLAYED_SIGNATURE,
        METRIC_BUS_PUBLISH_FAILED, METRIC_BUS_PULL_FAILED, METRIC_PRESENCE_UPSERT_FAILED,
        METRIC_PRESENCE_RESOLVE_FAILED, METRIC_BACKPLANE_LOSSES};
    for (size_t i = 0; i < sizeof metrics / sizeof *metrics; i++) {
        if (fleet_total(metrics[i]) == 0) {
            fail_msg("in no world: metric %d", (int)metrics[i]);
        }
    }
}

static void every_world_keeps_its_promises(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < seed_count; i++) {
        live(first_seed + i);
    }
    if (seed_count >= WORLDS) {
        check_variety();
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(once_failed), cmocka_unit_test(every_world_keeps_its_promises)};
    first_seed = argc > 1 ? strtoull(argv[1], NULL, 10) : first_seed;
    seed_count = argc > 2 ? strtoull(argv[2], NULL, 10) : argc > 1 ? 1 : seed_count;
    signal(SIGABRT, on_abort);
    if (__sanitizer_set_death_callback != NULL) {
        __sanitizer_set_death_callback(tell_seed);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
