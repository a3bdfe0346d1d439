// SPDX-License-Identifier: Apache-2.0
// Up to six monitors and a Redis on a clock of the test's own: answers are late, lost or errors,
// monitors stop, wake, die and are born, the Redis forgets. After every step: no two that are awake
// and not alone hold the same share. When it has been quiet for a while: everything is held,
// evenly.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/time.h"
#include "health/cluster/shares.h"

#define MONITORS 6
#define TTL_NS (4 * NS_PER_S)
#define STEP_NS (50 * NS_PER_MS)
#define STEPS 4000
#define QUIET_STEPS 1200

struct lease {
    char owner[SHARES_NAME_SIZE];
    uint64_t until_ns;
};

struct monitor_there {
    char name[SHARES_NAME_SIZE];
    uint64_t digests[SHARE_COUNT];
    uint64_t until_ns;
    bool leaving;
    unsigned load;
};

// What look_script does.
static struct {
    struct lease leases[2][SHARE_COUNT]; // by the two registries there are
    struct monitor_there there[MONITORS];
    uint64_t born_ns;
    bool up;
    bool writes;
} redis;

struct one {
    struct shares shares;
    unsigned registry;
    uint64_t look_ns;
    uint64_t asleep_until_ns;
    uint64_t answer_ns; // when the answer on its way arrives; 0: none is
    bool answer_fails;
    struct shares_view view;
    bool alive;
};

static struct one ones[MONITORS];
static uint64_t now_ns;
static uint64_t seed;
static unsigned born;

static unsigned dice(unsigned sides)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(seed >> 33) % sides;
}

// Share 5 is another thing in the second registry, share 9 is empty in both.
static uint64_t digest_in(unsigned registry, unsigned share)
{
    return share == 9 ? 0 : share == 5 ? 100 + registry : 1000 + share;
}

static void set_registry(struct one *one, unsigned registry)
{
    uint64_t digests[SHARE_COUNT];
    unsigned weights[SHARE_COUNT];
    one->registry = registry;
    for (unsigned i = 0; i < SHARE_COUNT; i++) {
        digests[i] = digest_in(registry, i);
        weights[i] = digests[i] == 0 ? 0 : 1 + i % 3;
    }
    shares_set(&one->shares, digests, weights);
}

static void bear(struct one *one, unsigned registry)
{
    char name[32];
    snprintf(name, sizeof name, "monitor-%u", ++born);
    *one = (struct one){.alive = true, .look_ns = now_ns + STEP_NS * dice(10)};
    shares_init(&one->shares, name, TTL_NS);
    set_registry(one, registry);
}

// ---- The Redis

static void forget(void)
{
    memset(redis.leases, 0, sizeof redis.leases);
    memset(redis.there, 0, sizeof redis.there);
    redis.born_ns = 0;
}

static void register_monitor(const struct one *one)
{
    struct monitor_there *slot = NULL;
    for (unsigned i = 0; i < MONITORS; i++) {
        struct monitor_there *there = &redis.there[i];
        if (strcmp(there->name, one->shares.name) == 0) {
            slot = there;
            break;
        }
        slot = there->until_ns < now_ns ? there : slot;
    }
    if (slot == NULL) {
        return;
    }
    *slot = (struct monitor_there){.until_ns = now_ns + TTL_NS,
        .leaving = one->shares.leaving,
        .load = shares_load(&one->shares)};
    memcpy(slot->name, one->shares.name, sizeof slot->name);
    for (unsigned i = 0; i < SHARE_COUNT; i++) {
        slot->digests[i] = one->shares.all[i].digest;
    }
}

static void lease_one(struct one *one, unsigned i)
{
    bool differs = digest_in(0, i) != digest_in(1, i);
    struct lease *lease = &redis.leases[differs ? one->registry : 0][i];
    char act = one->shares.all[i].act;
    bool may = act == SHARE_HOLD || (act == SHARE_TAKE && now_ns - redis.born_ns >= TTL_NS);
    if (lease->until_ns <= now_ns) {
        lease->owner[0] = '\0';
    }
    bool mine = strcmp(lease->owner, one->shares.name) == 0;
    if (mine ? act != SHARE_GIVE : may && lease->owner[0] == '\0') {
        memcpy(lease->owner, one->shares.name, sizeof lease->owner);
        lease->until_ns = now_ns + TTL_NS;
    } else if (mine) {
        lease->owner[0] = '\0';
    }
    memcpy(one->view.owners[i], lease->owner, sizeof lease->owner);
}

static void run_script(struct one *one)
{
    redis.born_ns = redis.born_ns == 0 ? now_ns : redis.born_ns;
    register_monitor(one);
    for (unsigned i = 0; i < SHARE_COUNT; i++) {
        lease_one(one, i);
    }
    one->view.young = now_ns - redis.born_ns < TTL_NS;
    one->view.monitor_count = 0;
    for (unsigned i = 0; i < MONITORS; i++) {
        if (redis.there[i].until_ns > now_ns) {
            struct shares_monitor *seen = &one->view.monitors[one->view.monitor_count++];
            *seen = (struct shares_monitor){
                .leaving = redis.there[i].leaving, .load = redis.there[i].load};
            memcpy(seen->name, redis.there[i].name, sizeof seen->name);
            memcpy(seen->digests, redis.there[i].digests, sizeof seen->digests);
        }
    }
}

// ---- The monitors

static void look(struct one *one, bool rough)
{
    one->look_ns = now_ns + shares_period_ns(&one->shares);
    if (!shares_look(&one->shares, now_ns)) {
        return;
    }
    if (!redis.up) {
        shares_failed(&one->shares);
        return;
    }
    // The script may have run although its answer does not arrive.
    one->answer_fails = !redis.writes || (rough && dice(20) == 0);
    if (redis.writes) {
        run_script(one);
    }
    one->answer_ns = now_ns + STEP_NS * (rough ? dice(dice(10) == 0 ? 120 : 4) : 1);
}

static void live(struct one *one, bool rough)
{
    if (!one->alive || now_ns < one->asleep_until_ns) {
        return;
    }
    if (one->answer_ns != 0 && now_ns >= one->answer_ns) {
        one->answer_ns = 0;
        if (one->answer_fails || !redis.up) {
            shares_failed(&one->shares);
        } else {
            shares_answer(&one->shares, &one->view);
        }
    }
    if (now_ns >= one->look_ns) {
        look(one, rough);
    }
}

static void disturb(struct one *one)
{
    unsigned what = dice(600);
    if (!one->alive) {
        if (what < 8) {
            bear(one, dice(2));
        }
    } else if (what == 0) {
        one->alive = false;
    } else if (what == 1) {
        one->asleep_until_ns = now_ns + STEP_NS * dice(300);
    } else if (what == 2) {
        set_registry(one, 1 - one->registry);
    }
}

static void disturb_redis(void)
{
    unsigned what = dice(900);
    if (what == 0) {
        redis.up = !redis.up;
    } else if (what == 1) {
        redis.writes = !redis.writes;
    } else if (what == 2) {
        forget();
    }
}

static bool awake(const struct one *one)
{
    return one->alive && now_ns >= one->asleep_until_ns;
}

static void assert_no_two(void)
{
    for (unsigned i = 0; i < SHARE_COUNT; i++) {
        for (unsigned a = 0; a < MONITORS; a++) {
            for (unsigned b = a + 1; b < MONITORS; b++) {
                bool same = ones[a].shares.all[i].digest == ones[b].shares.all[i].digest;
                bool alone =
                    ones[a].shares.mode == SHARES_ALONE || ones[b].shares.mode == SHARES_ALONE;
                assert_false(same && !alone && awake(&ones[a]) && awake(&ones[b]) &&
                             shares_hold(&ones[a].shares, i, now_ns) &&
                             shares_hold(&ones[b].shares, i, now_ns));
            }
        }
    }
}

static void assert_all_held(void)
{
    for (unsigned registry = 0; registry < 2; registry++) {
        unsigned held[SHARE_COUNT] = {0};
        bool anybody = false;
        for (unsigned m = 0; m < MONITORS; m++) {
            for (unsigned i = 0; ones[m].alive && i < SHARE_COUNT; i++) {
                bool same = ones[m].shares.all[i].digest == digest_in(registry, i);
                held[i] += same && shares_hold(&ones[m].shares, i, now_ns);
            }
            anybody |= ones[m].alive && ones[m].registry == registry;
        }
        for (unsigned i = 0; anybody && i < SHARE_COUNT; i++) {
            assert_int_equal(held[i], digest_in(registry, i) != 0);
        }
    }
}

static void assert_even(void)
{
    unsigned least = UINT32_MAX;
    unsigned most = 0;
    for (unsigned m = 0; m < MONITORS; m++) {
        unsigned load = 0;
        for (unsigned i = 0; i < SHARE_COUNT; i++) {
            load += shares_hold(&ones[m].shares, i, now_ns) ? ones[m].shares.all[i].weight : 0;
        }
        if (ones[m].alive) {
            least = load < least ? load : least;
            most = load > most ? load : most;
        }
    }
    assert_true(least == UINT32_MAX || most - least <= 8);
}

static void step(bool rough)
{
    now_ns += STEP_NS;
    for (unsigned m = 0; m < MONITORS; m++) {
        if (rough) {
            disturb(&ones[m]);
        }
        live(&ones[m], rough);
    }
    if (rough) {
        disturb_redis();
    }
    assert_no_two();
}

static void start(uint64_t from)
{
    memset(ones, 0, sizeof ones);
    memset(&redis, 0, sizeof redis);
    redis.up = redis.writes = true;
    seed = from;
    now_ns = 1000 * NS_PER_S;
    born = 0;
}

static void test_rough_times(void **state)
{
    (void)state;
    for (uint64_t from = 1; from <= 30; from++) {
        start(from);
        bear(&ones[0], 0);
        bear(&ones[1], 0);
        for (unsigned i = 0; i < STEPS; i++) {
            step(true);
        }
        redis.up = redis.writes = true;
        for (unsigned i = 0; i < QUIET_STEPS; i++) {
            step(false);
        }
        assert_all_held();
        assert_even();
    }
}

// Until the share's holder is another one than before; in nanoseconds.
static uint64_t wait_for_takeover(unsigned share, const struct one *by)
{
    uint64_t since_ns = now_ns;
    while (!shares_hold(&by->shares, share, now_ns)) {
        step(false);
        assert_true(now_ns - since_ns < 100 * NS_PER_S);
    }
    return now_ns - since_ns;
}

static void settle(void)
{
    for (unsigned i = 0; i < QUIET_STEPS; i++) {
        step(false);
    }
}

static unsigned a_share_of(const struct one *one)
{
    for (unsigned i = 0; i < SHARE_COUNT; i++) {
        if (shares_hold(&one->shares, i, now_ns)) {
            return i;
        }
    }
    fail();
    return 0;
}

static void test_takeover_is_quick(void **state)
{
    (void)state;
    start(7);
    bear(&ones[0], 0);
    bear(&ones[1], 0);
    settle();
    ones[0].alive = false;
    unsigned share = a_share_of(&ones[0]);
    // A lease, and a look and its answer.
    assert_true(wait_for_takeover(share, &ones[1]) <= TTL_NS + TTL_NS / 2);
    assert_true(ones[1].shares.takeovers > 0);
    assert_int_equal(shares_count_held(&ones[1].shares, now_ns), 63);
}

static void test_leaving_is_quicker(void **state)
{
    (void)state;
    start(8);
    bear(&ones[0], 0);
    bear(&ones[1], 0);
    settle();
    unsigned share = a_share_of(&ones[0]);
    shares_leave(&ones[0].shares);
    assert_false(shares_hold(&ones[0].shares, share, now_ns));
    assert_true(wait_for_takeover(share, &ones[1]) <= TTL_NS);
    assert_int_equal(ones[1].shares.takeovers, 0);
}

// Whoever takes late what was given back takes it from nobody, even when the giver is forgotten.
static void test_given_back_and_taken_late(void **state)
{
    (void)state;
    start(11);
    bear(&ones[0], 0);
    bear(&ones[1], 0);
    settle();
    unsigned share = a_share_of(&ones[0]);
    shares_leave(&ones[0].shares);
    while (ones[1].shares.all[share].owner[0] != '\0') {
        step(false);
    }
    ones[0].alive = false;
    ones[1].asleep_until_ns = now_ns + 2 * TTL_NS;
    wait_for_takeover(share, &ones[1]);
    assert_int_equal(ones[1].shares.takeovers, 0);
}

static void test_who_slept_holds_nothing(void **state)
{
    (void)state;
    start(9);
    bear(&ones[0], 0);
    bear(&ones[1], 0);
    settle();
    unsigned share = a_share_of(&ones[0]);
    ones[0].asleep_until_ns = now_ns + 20 * NS_PER_S;
    wait_for_takeover(share, &ones[1]);
    now_ns = ones[0].asleep_until_ns;
    assert_false(shares_hold(&ones[0].shares, share, now_ns));
    for (unsigned i = 0; i < 100; i++) {
        step(false);
        assert_int_not_equal(ones[0].shares.mode, SHARES_ALONE);
    }
}

static void test_alone(void **state)
{
    (void)state;
    start(10);
    redis.up = false;
    bear(&ones[0], 0);
    uint64_t began_ns = now_ns;
    while (ones[0].shares.mode != SHARES_ALONE) {
        assert_int_equal(shares_count_held(&ones[0].shares, now_ns), 0);
        step(false);
        assert_true(now_ns - began_ns < 2 * TTL_NS);
    }
    assert_int_equal(shares_count_held(&ones[0].shares, now_ns), 63);
    redis.up = true;
    settle();
    assert_int_equal(ones[0].shares.mode, SHARES_SHARED);
    assert_int_equal(shares_count_held(&ones[0].shares, now_ns), 63);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rough_times),
        cmocka_unit_test(test_takeover_is_quick),
        cmocka_unit_test(test_leaving_is_quicker),
        cmocka_unit_test(test_given_back_and_taken_late),
        cmocka_unit_test(test_who_slept_holds_nothing),
        cmocka_unit_test(test_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
