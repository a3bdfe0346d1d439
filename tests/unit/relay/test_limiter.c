// SPDX-License-Identifier: Apache-2.0
// Section 7.7 of the specification: buckets that start full, windows of a minute, and what is
// remembered of a key when there are more of them than the limiter keeps.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/time.h"
#include "relay/limiter.h"

#define NOW (1000 * NS_PER_S)
#define MINUTE_NS (60 * NS_PER_S)

static const struct siphash_key seed = {1, 2};

static struct limiter_key *hold(struct limiter *limiter, const char *key, uint64_t now_ns)
{
    struct limiter_key *held = limiter_hold(limiter, slice_str(key), now_ns);
    assert_non_null(held);
    return held;
}

static unsigned take_all(struct limiter *limiter, struct limiter_key *key, uint64_t now_ns)
{
    unsigned taken = 0;
    while (limiter_take(limiter, key, now_ns)) {
        taken++;
        assert_true(taken < 100000);
    }
    return taken;
}

// ---- Buckets

static void test_bucket(void **state)
{
    static const struct {
        uint64_t after_ns; // since the bucket was emptied
        unsigned tokens;
    } rows[] = {{0, 0}, {NS_PER_S / 2, 0}, {NS_PER_S + 1, 1}, {10 * NS_PER_S + 1, 10},
        {59 * NS_PER_S + 1, 59}, {MINUTE_NS, 60}, {61 * NS_PER_S, 60}, {1000 * MINUTE_NS, 60}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct bucket bucket;
        unsigned taken = 0;
        bucket_init(&bucket, 60, NOW);
        for (; bucket_take(&bucket, 60, NOW); taken++) {
            assert_true(taken < 60);
        }
        assert_int_equal(taken, 60);
        for (taken = 0; bucket_take(&bucket, 60, NOW + rows[i].after_ns); taken++) {
            assert_true(taken < 60);
        }
        assert_int_equal(taken, rows[i].tokens);
    }
}

// What is less than a token is kept.
static void test_bucket_parts(void **state)
{
    struct bucket bucket;
    (void)state;
    bucket_init(&bucket, 1, NOW);
    assert_true(bucket_take(&bucket, 1, NOW));
    for (uint64_t s = 10; s < 60; s += 10) {
        assert_false(bucket_take(&bucket, 1, NOW + s * NS_PER_S));
    }
    assert_true(bucket_take(&bucket, 1, NOW + 61 * NS_PER_S));
}

static void test_bucket_clock_back(void **state)
{
    struct bucket bucket;
    (void)state;
    bucket_init(&bucket, 1, NOW);
    assert_true(bucket_take(&bucket, 1, NOW - NS_PER_S));
    assert_false(bucket_take(&bucket, 1, NOW - MINUTE_NS));
    assert_false(bucket_take(&bucket, 1, NOW + NS_PER_S));
}

static void test_take(void **state)
{
    struct limiter limiter;
    (void)state;
    limiter_init(&limiter, &seed, 240, 10);
    struct limiter_key *key = hold(&limiter, "client", NOW);
    struct limiter_key *other = hold(&limiter, "other", NOW);
    assert_int_equal(take_all(&limiter, key, NOW), 240);
    assert_int_equal(take_all(&limiter, other, NOW), 240);
    assert_int_equal(take_all(&limiter, key, NOW + NS_PER_S + 1), 4);
    assert_int_equal(take_all(&limiter, key, NOW + 10 * MINUTE_NS), 240);
    limiter_drop(&limiter, key);
    limiter_drop(&limiter, other);
    limiter_fini(&limiter);
}

static void test_wait(void **state)
{
    static const uint64_t rates[] = {1, 7, 60, 240, 2400};
    (void)state;
    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        struct limiter limiter;
        limiter_init(&limiter, &seed, rates[i], 10);
        struct limiter_key *key = hold(&limiter, "k", NOW);
        assert_int_equal(limiter_wait_ns(&limiter, key, NOW), 0);
        assert_int_equal(take_all(&limiter, key, NOW), rates[i]);
        uint64_t token_ns = MINUTE_NS / rates[i];
        uint64_t wait = limiter_wait_ns(&limiter, key, NOW);
        assert_in_range(wait, token_ns, token_ns + 2);
        assert_in_range(
            limiter_wait_ns(&limiter, key, NOW + token_ns / 2), token_ns / 2 - 2, token_ns / 2 + 3);
        assert_false(limiter_take(&limiter, key, NOW + token_ns / 2));
        assert_true(limiter_take(&limiter, key, NOW + wait + 2));
        assert_false(limiter_take(&limiter, key, NOW + wait + 2));
        limiter_drop(&limiter, key);
        limiter_fini(&limiter);
    }
}

// ---- Windows

static void test_count(void **state)
{
    static const struct {
        const char *key;
        uint64_t after_ns;
        bool within;
    } rows[] = {
        {"a", 0, true},
        {"a", NS_PER_S, true},
        {"a", 2 * NS_PER_S, false},
        {"b", 2 * NS_PER_S, true},
        {"", 2 * NS_PER_S, true},
        {"a", MINUTE_NS - 1, false},
        {"a", MINUTE_NS, true}, // a window starts with its first request
        {"a", MINUTE_NS + 1, true},
        {"a", MINUTE_NS + 2, false},
        {"b", MINUTE_NS + 2, true},
        {"b", MINUTE_NS + 3, false},
        {"b", MINUTE_NS + 2 * NS_PER_S, true},
        {"a", 2 * MINUTE_NS - 1, false},
        {"a", 9 * MINUTE_NS, true},
    };
    struct limiter limiter;
    (void)state;
    limiter_init(&limiter, &seed, 2, 10);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        bool within = limiter_count(&limiter, slice_str(rows[i].key), NOW + rows[i].after_ns);
        if (within != rows[i].within) {
            fail_msg("row %zu", i);
        }
    }
    assert_int_equal(limiter.keys.count, 3);
    limiter_fini(&limiter);
}

static void test_count_of_nothing(void **state)
{
    struct limiter limiter;
    (void)state;
    limiter_init(&limiter, &seed, 0, 10);
    assert_false(limiter_count(&limiter, SLICE("a"), NOW));
    assert_false(limiter_count(&limiter, SLICE("a"), NOW + MINUTE_NS));
    limiter_fini(&limiter);
}

// ---- Keys

// A key taken empty stays so for who takes it next, until it is forgotten.
static bool is_remembered(struct limiter *limiter, const char *name)
{
    struct limiter_key *key = hold(limiter, name, NOW);
    bool empty = !limiter_take(limiter, key, NOW);
    limiter_drop(limiter, key);
    return empty;
}

static void test_state_outlives_holders(void **state)
{
    struct limiter limiter;
    (void)state;
    limiter_init(&limiter, &seed, 1, 2);
    struct limiter_key *key = hold(&limiter, "a", NOW);
    assert_ptr_equal(hold(&limiter, "a", NOW), key);
    assert_true(limiter_take(&limiter, key, NOW));
    limiter_drop(&limiter, key);
    assert_false(limiter_take(&limiter, key, NOW)); // still held once
    limiter_drop(&limiter, key);
    assert_true(is_remembered(&limiter, "a"));
    assert_int_equal(limiter.keys.count, 1);
    limiter_fini(&limiter);
}

static void test_held_keys_stay(void **state)
{
    enum { HELD = 20 };
    struct limiter_key *keys[HELD];
    struct limiter limiter;
    (void)state;
    limiter_init(&limiter, &seed, 1, 2);
    for (int i = 0; i < HELD; i++) {
        char name[] = {(char)('a' + i), '\0'};
        keys[i] = hold(&limiter, name, NOW);
        assert_true(limiter_take(&limiter, keys[i], NOW));
    }
    assert_int_equal(limiter.keys.count, HELD);
    for (int i = 0; i < HELD; i++) {
        char name[] = {(char)('a' + i), '\0'};
        assert_ptr_equal(hold(&limiter, name, NOW), keys[i]);
        assert_false(limiter_take(&limiter, keys[i], NOW));
        limiter_drop(&limiter, keys[i]);
    }
    for (int i = 0; i < HELD; i++) {
        limiter_drop(&limiter, keys[i]);
    }
    limiter_fini(&limiter);
}

static void test_longest_unused_goes(void **state)
{
    struct limiter limiter;
    (void)state;
    limiter_init(&limiter, &seed, 1, 3);
    assert_false(is_remembered(&limiter, "a"));
    assert_false(is_remembered(&limiter, "b"));
    assert_false(is_remembered(&limiter, "c"));
    assert_true(is_remembered(&limiter, "a")); // used: b is now the oldest
    assert_false(is_remembered(&limiter, "d"));
    assert_int_equal(limiter.keys.count, 3);
    assert_true(is_remembered(&limiter, "c"));
    assert_true(is_remembered(&limiter, "a"));
    assert_true(is_remembered(&limiter, "d"));
    struct limiter_key *held = hold(&limiter, "c", NOW);
    assert_false(is_remembered(&limiter, "b")); // c was the oldest, but is held: a goes
    assert_true(is_remembered(&limiter, "d"));
    assert_false(limiter_take(&limiter, held, NOW));
    assert_false(is_remembered(&limiter, "a"));
    limiter_drop(&limiter, held);
    limiter_fini(&limiter);
}

static void test_windows_are_forgotten(void **state)
{
    struct limiter limiter;
    (void)state;
    limiter_init(&limiter, &seed, 1, 2);
    assert_true(limiter_count(&limiter, SLICE("a"), NOW));
    assert_true(limiter_count(&limiter, SLICE("b"), NOW));
    assert_false(limiter_count(&limiter, SLICE("a"), NOW));
    assert_true(limiter_count(&limiter, SLICE("c"), NOW)); // b goes
    assert_false(limiter_count(&limiter, SLICE("a"), NOW));
    assert_true(limiter_count(&limiter, SLICE("b"), NOW)); // c goes
    assert_int_equal(limiter.keys.count, 2);
    limiter_fini(&limiter);
}

// ---- Without memory

#if WEIR_FAULTS
static void test_without_memory(void **state)
{
    (void)state;
    for (unsigned long nth = 1; nth <= 2; nth++) { // the key, then the table
        struct limiter limiter;
        limiter_init(&limiter, &seed, 1, 10);
        mem_fail_at(nth);
        struct limiter_key *key = limiter_hold(&limiter, SLICE("a"), NOW);
        mem_fail_at(0);
        assert_null(key);
        assert_int_equal(limiter.keys.count, 0);
        for (int i = 0; i < 3; i++) {
            assert_true(limiter_take(&limiter, key, NOW));
            mem_fail_at(nth);
            assert_true(limiter_count(&limiter, SLICE("a"), NOW));
            mem_fail_at(0);
        }
        limiter_drop(&limiter, key);
        assert_true(limiter_count(&limiter, SLICE("a"), NOW)); // and nothing was counted
        assert_false(limiter_count(&limiter, SLICE("a"), NOW));
        limiter_fini(&limiter);
    }
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bucket),
        cmocka_unit_test(test_bucket_parts),
        cmocka_unit_test(test_bucket_clock_back),
        cmocka_unit_test(test_take),
        cmocka_unit_test(test_wait),
        cmocka_unit_test(test_count),
        cmocka_unit_test(test_count_of_nothing),
        cmocka_unit_test(test_state_outlives_holders),
        cmocka_unit_test(test_held_keys_stay),
        cmocka_unit_test(test_longest_unused_goes),
        cmocka_unit_test(test_windows_are_forgotten),
#if WEIR_FAULTS
        cmocka_unit_test(test_without_memory),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
