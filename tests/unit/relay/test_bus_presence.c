// SPDX-License-Identifier: Apache-2.0
// The look-ups of a worker (sections 8 and 9 of the specification): one flight for all who ask,
// what is kept and for how long, and how many.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "base/mem.h"
#include "relay/backplane/core.h"
#include "relay/backplane/presence.h"

#define KEPT_NS (2 * NS_PER_S)
#define CACHE_MAX 3 // and one more: a worker's share is rounded up

// A shard with a driver that only notes what it is asked.
struct world {
    struct crew crew;
    struct relay_config config;
    struct relay relay;
    struct shard shard;
    struct backplane plane;
    struct backplane_driver driver;
    struct presence_query *asked[16];
    size_t asked_count;
    const struct presence *at_once; // answered from inside the question
};

static void resolve(struct backplane_driver *driver, struct presence_query *query)
{
    struct world *world = container_of(driver, struct world, driver);
    assert_true(world->asked_count < 16);
    world->asked[world->asked_count++] = query;
    if (world->at_once != NULL) {
        presence_query_answer(query, BUS_END_OK, world->at_once);
    }
}

static const struct backplane_driver_ops ops = {.name = "test", .resolve = resolve};

static int setup(void **state)
{
    struct world *world = mem_zalloc(sizeof *world);
    if (world == NULL || crew_init(&world->crew, 1) != WEIR_OK) {
        return -1;
    }
    struct worker *worker = &world->crew.workers[0];
    worker->now_ns = 1000 * NS_PER_S;
    worker->now_known = true;
    world->config.relay_id = (char *)"relay-a";
    world->config.presence_resolve_cache_max = CACHE_MAX;
    world->config.bus_enabled = true;
    world->relay.config = &world->config;
    world->relay.crew = &world->crew;
    world->shard.relay = &world->relay;
    world->shard.worker = worker;
    world->shard.backplane = &world->plane;
    world->plane.shard = &world->shard;
    world->plane.ops = &ops;
    world->plane.driver = &world->driver;
    map_init(&world->plane.queries, &worker->seed);
    list_init(&world->plane.known);
    list_init(&world->plane.announcements);
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    struct world *world = *state;
    presence_fini(&world->plane);
    crew_fini(&world->crew);
    mem_free(world);
    return 0;
}

struct asker {
    struct presence_waiter waiter;
    struct world *world;
    unsigned told;
    enum bus_end end;
    char relay_id[32]; // "" for nobody
    bool asks_again;
};

static struct cell_name cell(const char *workspace)
{
    return (struct cell_name){slice_str(workspace), SLICE("rt")};
}

static void ask(struct world *world, struct asker *asker, const char *workspace);

static void on_told(struct presence_waiter *waiter, enum bus_end end, const struct presence *answer)
{
    struct asker *asker = container_of(waiter, struct asker, waiter);
    asker->told++;
    asker->end = end;
    asker->relay_id[0] = '\0';
    if (answer != NULL) {
        assert_true(slice_to_text(answer->relay_id, asker->relay_id, sizeof asker->relay_id));
    }
    if (asker->asks_again) {
        asker->asks_again = false;
        presence_ask(&asker->world->shard, cell("w"), waiter);
    }
}

static void ask(struct world *world, struct asker *asker, const char *workspace)
{
    asker->world = world;
    presence_waiter_init(&asker->waiter, on_told);
    presence_ask(&world->shard, cell(workspace), &asker->waiter);
}

static const struct presence at_b = {{"relay-b", 7}, {"ws://b/ws", 9}, {"m", 1}, 7};
static const struct presence at_a = {{"relay-a", 7}, {"ws://a/ws", 9}, {"m", 1}, 0};

static void test_one_flight(void **state)
{
    struct world *world = *state;
    struct asker askers[3] = {0};
    for (size_t i = 0; i < 3; i++) {
        ask(world, &askers[i], "w");
        assert_int_equal(askers[i].told, 0);
    }
    assert_int_equal(world->asked_count, 1);
    struct cell_name name = presence_query_name(world->asked[0]);
    assert_true(slice_eq(name.workspace, SLICE("w")) && slice_eq(name.target, SLICE("rt")));
    presence_query_answer(world->asked[0], BUS_END_OK, &at_b);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(askers[i].told, 1);
        assert_string_equal(askers[i].relay_id, "relay-b");
    }
    const struct presence *known = presence_known(&world->shard, cell("w"));
    assert_non_null(known);
    assert_int_equal(known->route, 7);
    assert_true(slice_eq(known->url, at_b.url) && slice_eq(known->machine, at_b.machine));
}

static void test_kept_for_a_while(void **state)
{
    struct world *world = *state;
    struct asker asker = {0};
    world->at_once = &at_b;
    ask(world, &asker, "w");
    world->shard.worker->now_ns += KEPT_NS - 1;
    ask(world, &asker, "w");
    assert_int_equal(asker.told, 2);
    assert_int_equal(world->asked_count, 1);
    world->shard.worker->now_ns += 1;
    assert_null(presence_known(&world->shard, cell("w")));
    ask(world, &asker, "w");
    assert_int_equal(asker.told, 3);
    assert_int_equal(world->asked_count, 2);
}

static void test_nobody_is_not_kept(void **state)
{
    const struct presence empty = {0};
    const struct presence two_lines = {{"relay-b\nx", 9}, {"ws://b/ws", 9}, {"m", 1}, 0};
    const struct {
        enum bus_end end;
        const struct presence *answer;
        enum bus_end told;
    } cases[] = {
        {BUS_END_OK, NULL, BUS_END_OK},
        {BUS_END_OK, &at_a, BUS_END_OK}, // ourselves: the daemon has just left
        {BUS_END_OK, &empty, BUS_END_OK}, {BUS_END_OK, &two_lines, BUS_END_BAD_ANSWER},
        {BUS_END_TIMEOUT, NULL, BUS_END_TIMEOUT},
        {BUS_END_BAD_ANSWER, &at_b, BUS_END_BAD_ANSWER}, // what failed says nothing
    };
    struct world *world = *state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct asker asker = {0};
        ask(world, &asker, "w");
        presence_query_answer(world->asked[i], cases[i].end, cases[i].answer);
        assert_int_equal(asker.told, 1);
        assert_int_equal(asker.end, cases[i].told);
        assert_string_equal(asker.relay_id, "");
        assert_null(presence_known(&world->shard, cell("w")));
    }
}

static void test_longest_unused_goes(void **state)
{
    static const char *const names[] = {"1", "2", "3", "4"};
    struct world *world = *state;
    struct asker asker = {0};
    world->at_once = &at_b;
    for (size_t i = 0; i < 4; i++) {
        ask(world, &asker, names[i]);
    }
    assert_non_null(presence_known(&world->shard, cell("1"))); // and so it is not the oldest
    ask(world, &asker, "5");
    assert_int_equal(world->plane.queries.count, CACHE_MAX + 1);
    assert_null(presence_known(&world->shard, cell("2")));
    assert_non_null(presence_known(&world->shard, cell("1")));
    assert_non_null(presence_known(&world->shard, cell("5")));
}

static void test_too_many_in_flight(void **state)
{
    static const char *const names[] = {"1", "2", "3", "4"};
    struct world *world = *state;
    struct asker askers[5] = {0};
    for (size_t i = 0; i < 4; i++) {
        ask(world, &askers[i], names[i]);
    }
    ask(world, &askers[4], "5");
    assert_int_equal(askers[4].told, 1);
    assert_int_equal(askers[4].end, BUS_END_QUEUE_FULL);
    assert_int_equal(world->asked_count, 4);
    for (size_t i = 0; i < 4; i++) {
        presence_query_answer(world->asked[i], BUS_END_OK, NULL);
    }
}

static void test_cancel(void **state)
{
    struct world *world = *state;
    struct asker stays = {0};
    struct asker leaves = {0};
    ask(world, &leaves, "w");
    ask(world, &stays, "w");
    presence_cancel(&leaves.waiter);
    presence_cancel(&leaves.waiter); // twice is fine
    presence_query_answer(world->asked[0], BUS_END_OK, &at_b);
    assert_int_equal(leaves.told, 0);
    assert_int_equal(stays.told, 1);
}

// Who was told that there is nobody asks again from inside the callback, and is answered there.
static void test_ask_while_told(void **state)
{
    struct world *world = *state;
    struct asker first = {.asks_again = true};
    struct asker second = {0};
    ask(world, &first, "w");
    ask(world, &second, "w");
    world->at_once = &at_b;
    presence_query_answer(world->asked[0], BUS_END_OK, NULL);
    assert_int_equal(first.told, 2);
    assert_string_equal(first.relay_id, "relay-b");
    assert_int_equal(second.told, 1);
    assert_string_equal(second.relay_id, ""); // its answer was the first one
    assert_int_equal(world->asked_count, 2);
    assert_non_null(presence_known(&world->shard, cell("w")));
}

static void test_forget(void **state)
{
    struct world *world = *state;
    struct asker asker = {0};
    world->at_once = &at_b;
    presence_forget(&world->shard, cell("w")); // of what is not there
    ask(world, &asker, "w");
    presence_forget(&world->shard, cell("w"));
    assert_null(presence_known(&world->shard, cell("w")));
    world->at_once = NULL;
    ask(world, &asker, "w");
    presence_forget(&world->shard, cell("w")); // of what is under way: its answer is new
    presence_query_answer(world->asked[1], BUS_END_OK, &at_b);
    assert_int_equal(asker.told, 2);
    assert_non_null(presence_known(&world->shard, cell("w")));
}

static void test_single(void **state)
{
    struct world *world = *state;
    struct asker asker = {0};
    world->shard.backplane = NULL;
    assert_false(presence_usable(&world->shard));
    ask(world, &asker, "w");
    assert_int_equal(asker.told, 1);
    assert_string_equal(asker.relay_id, "");
    world->shard.backplane = &world->plane;
    assert_true(presence_usable(&world->shard));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_one_flight, setup, teardown),
        cmocka_unit_test_setup_teardown(test_kept_for_a_while, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nobody_is_not_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(test_longest_unused_goes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_too_many_in_flight, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancel, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ask_while_told, setup, teardown),
        cmocka_unit_test_setup_teardown(test_forget, setup, teardown),
        cmocka_unit_test_setup_teardown(test_single, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
