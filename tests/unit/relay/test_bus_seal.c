// SPDX-License-Identifier: Apache-2.0
// Signature and freshness of what relays tell one another (sections 8.1 and 8.2 of the
// specification).
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "base/mem.h"
#include "relay/backplane/seal.h"

#define KEY "bus-signing-key-for-tests-000"
#define NOW_MS 1795224820204
#define SKEW_MS 15000

static const struct siphash_key seed = {1, 2};

static struct bus_seal *seal_new(const char *key, uint64_t track_max)
{
    struct bus_seal *seal = bus_seal_new(NULL, &seed,
        &(struct bus_seal_options){.key = key, .max_skew_ms = SKEW_MS, .track_max = track_max});
    assert_non_null(seal);
    return seal;
}

static struct bus_message example(void)
{
    return (struct bus_message){
        .workspace = SLICE("wss"),
        .target = SLICE("rt"),
        .source = SLICE("relay-d"),
        .target_relay = SLICE("relay-c"),
        .payload = SLICE("{\"type\":\"relay_key_exchange_init\",\"version\":3,\"profile\":\"noise-ik\","
                         "\"requestId\":\"k1\",\"clientEphemeralPublicKey\":\"AA\","
                         "\"encryptedClientStatic\":\"BB\"}"),
    };
}

static struct bus_message signed_at(struct bus_seal *seal, uint64_t wall_ms, char *text)
{
    struct bus_message message = example();
    assert_int_equal(bus_seal_sign(seal, wall_ms, &message, text), WEIR_OK);
    return message;
}

static void test_vector(void **state)
{
    char text[BUS_SIGNATURE_SIZE];
    struct bus_seal *seal = seal_new(KEY, 10);
    (void)state;
    struct bus_message message = signed_at(seal, NOW_MS, text);
    assert_true(slice_eq(message.signature, SLICE("BgjZBl1wZ3Qxq4I-I2X1CUUk-wqv-ZCVYNjUQPXquV8")));
    assert_int_equal(bus_seal_check(seal, NOW_MS, &message), BUS_SEAL_GOOD);
    bus_seal_free(seal);
}

static void test_every_member_counts(void **state)
{
    char text[BUS_SIGNATURE_SIZE];
    char bent[BUS_SIGNATURE_SIZE];
    struct bus_seal *seal = seal_new(KEY, 10);
    struct bus_message good = signed_at(seal, NOW_MS, text);
    (void)state;
    memcpy(bent, good.signature.at, good.signature.len);
    bent[0] = bent[0] == 'A' ? 'B' : 'A';
    struct bus_message changed[10];
    for (size_t i = 0; i < 10; i++) {
        changed[i] = good;
    }
    changed[0].workspace = SLICE("wst");
    changed[1].target = SLICE("ru");
    changed[2].machine = SLICE("m");
    changed[3].source = SLICE("relay-e");
    changed[4].target_relay = SLICE_EMPTY;
    changed[5].direction = BUS_DAEMON_TO_CLIENTS;
    changed[6].issued_at_ms++;
    changed[7].payload = SLICE("{}");
    changed[8].signature = slice_of(bent, good.signature.len);
    changed[9].signature = slice_of(good.signature.at, good.signature.len - 1);
    for (size_t i = 0; i < 10; i++) {
        assert_int_equal(bus_seal_check(seal, NOW_MS, &changed[i]), BUS_SEAL_INVALID);
    }
    // None of them is remembered as what was seen.
    assert_int_equal(bus_seal_check(seal, NOW_MS, &good), BUS_SEAL_GOOD);
    bus_seal_free(seal);
}

static void test_unsigned(void **state)
{
    char text[BUS_SIGNATURE_SIZE];
    struct bus_seal *strict = seal_new(KEY, 10);
    struct bus_seal *open = seal_new(NULL, 10);
    struct bus_message message = signed_at(open, NOW_MS, text);
    (void)state;
    assert_int_equal(message.signature.len, 0);
    assert_true(message.issued);
    assert_int_equal(bus_seal_check(strict, NOW_MS, &message), BUS_SEAL_INVALID);
    assert_int_equal(bus_seal_check(open, NOW_MS, &message), BUS_SEAL_GOOD);
    assert_int_equal(bus_seal_check(open, NOW_MS, &message), BUS_SEAL_GOOD);
    struct bus_message timeless = signed_at(strict, NOW_MS, text);
    timeless.issued = false;
    assert_int_equal(bus_seal_check(strict, NOW_MS, &timeless), BUS_SEAL_INVALID);
    bus_seal_free(strict);
    bus_seal_free(open);
}

static void test_clocks(void **state)
{
    const struct {
        int64_t offset_ms;
        enum bus_seal_verdict verdict;
    } cases[] = {
        {-SKEW_MS, BUS_SEAL_GOOD},
        {-SKEW_MS - 1, BUS_SEAL_STALE},
        {SKEW_MS, BUS_SEAL_GOOD},
        {SKEW_MS + 1, BUS_SEAL_STALE},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[BUS_SIGNATURE_SIZE];
        struct bus_seal *seal = seal_new(KEY, 10);
        struct bus_message message = signed_at(seal, NOW_MS, text);
        uint64_t wall_ms = (uint64_t)(NOW_MS + cases[i].offset_ms);
        assert_int_equal(bus_seal_check(seal, wall_ms, &message), cases[i].verdict);
        bus_seal_free(seal);
    }
}

static void test_replay_and_order(void **state)
{
    char text[4][BUS_SIGNATURE_SIZE];
    struct bus_seal *one = seal_new(KEY, 10);
    struct bus_seal *two = seal_new(KEY, 10);
    struct bus_message first = signed_at(one, NOW_MS, text[0]);
    struct bus_message second = signed_at(one, NOW_MS + 1, text[1]);
    struct bus_message twin = example();
    struct bus_message elsewhere = example();
    (void)state;
    twin.payload = SLICE("{}");
    assert_int_equal(bus_seal_sign(one, NOW_MS + 1, &twin, text[2]), WEIR_OK);
    assert_int_equal(bus_seal_check(two, NOW_MS, &second), BUS_SEAL_GOOD);
    assert_int_equal(bus_seal_check(two, NOW_MS, &second), BUS_SEAL_REPLAYED);
    assert_int_equal(bus_seal_check(two, NOW_MS, &first), BUS_SEAL_REPLAYED); // came too late
    assert_int_equal(bus_seal_check(two, NOW_MS, &twin), BUS_SEAL_GOOD);      // the same moment
    assert_int_equal(bus_seal_check(two, NOW_MS, &twin), BUS_SEAL_REPLAYED);
    // Another target's messages have an order of their own.
    struct bus_seal *late = seal_new(KEY, 10);
    elsewhere.target = SLICE("ru");
    assert_int_equal(bus_seal_sign(late, NOW_MS, &elsewhere, text[3]), WEIR_OK);
    assert_int_equal(bus_seal_check(two, NOW_MS, &elsewhere), BUS_SEAL_GOOD);
    bus_seal_free(one);
    bus_seal_free(two);
    bus_seal_free(late);
}

static void test_time_never_goes_back(void **state)
{
    char text[BUS_SIGNATURE_SIZE];
    struct bus_seal *seal = seal_new(KEY, 10);
    (void)state;
    assert_true(signed_at(seal, NOW_MS, text).issued_at_ms == NOW_MS);
    assert_true(signed_at(seal, NOW_MS - 5000, text).issued_at_ms == NOW_MS);
    assert_true(signed_at(seal, NOW_MS + 1, text).issued_at_ms == NOW_MS + 1);
    bus_seal_free(seal);
}

// Of ways only so many are remembered: the oldest is forgotten, and its order with it.
static void test_bounded(void **state)
{
    char text[2][BUS_SIGNATURE_SIZE];
    struct bus_seal *sender = seal_new(KEY, 10);
    struct bus_seal *receiver = seal_new(KEY, 2);
    struct bus_message early = signed_at(sender, NOW_MS, text[0]);
    struct bus_message late = signed_at(sender, NOW_MS + 1, text[1]);
    (void)state;
    assert_int_equal(bus_seal_check(receiver, NOW_MS, &late), BUS_SEAL_GOOD);
    for (int i = 0; i < 2; i++) {
        char target[8];
        char signature[BUS_SIGNATURE_SIZE];
        struct bus_message other = example();
        int len = snprintf(target, sizeof target, "t%d", i);
        other.target = slice_of(target, (size_t)len);
        assert_int_equal(bus_seal_sign(sender, NOW_MS + 1, &other, signature), WEIR_OK);
        assert_int_equal(bus_seal_check(receiver, NOW_MS, &other), BUS_SEAL_GOOD);
    }
    assert_int_equal(bus_seal_check(receiver, NOW_MS, &early), BUS_SEAL_GOOD);
    // What is remembered of signatures is more than that of ways.
    assert_int_equal(bus_seal_check(receiver, NOW_MS, &late), BUS_SEAL_REPLAYED);
    bus_seal_free(sender);
    bus_seal_free(receiver);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vector),
        cmocka_unit_test(test_every_member_counts),
        cmocka_unit_test(test_unsigned),
        cmocka_unit_test(test_clocks),
        cmocka_unit_test(test_replay_and_order),
        cmocka_unit_test(test_time_never_goes_back),
        cmocka_unit_test(test_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
