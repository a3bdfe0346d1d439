// SPDX-License-Identifier: Apache-2.0
// Sections 2.2, 4.2 and 7.7 of the specification: who is admitted, in which order refusals are
// given, and what is remembered of an address.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/time.h"
#include "relay/ledger.h"

#define NOW (1000 * NS_PER_S)
#define MINUTE_NS (60 * NS_PER_S)
#define PLENTY 1000

static const struct siphash_key seed = {1, 2};

static struct ledger *ledger_of(
    uint64_t total_max, uint64_t per_address_max, uint64_t rate_per_minute, uint64_t addresses_max)
{
    struct ledger_limits limits = {total_max, per_address_max, rate_per_minute, addresses_max};
    struct ledger *ledger = ledger_new(&limits, &seed);
    assert_non_null(ledger);
    return ledger;
}

static struct ip address(unsigned last)
{
    return ip_from_v4((const uint8_t[]){192, 0, (uint8_t)(last / 256), (uint8_t)(last % 256)});
}

static enum ledger_verdict enter_at(struct ledger *ledger, unsigned last, uint64_t now_ns)
{
    struct ip ip = address(last);
    return ledger_enter(ledger, &ip, now_ns);
}

static enum ledger_verdict enter(struct ledger *ledger, unsigned last)
{
    return enter_at(ledger, last, NOW);
}

static void leave(struct ledger *ledger, unsigned last, bool exempt)
{
    struct ip ip = address(last);
    ledger_leave(ledger, &ip, exempt);
}

// Address 1 holds one connection and has asked once; what is said to its second request?
static void test_order_of_verdicts(void **state)
{
    static const struct {
        uint64_t total_max;
        uint64_t per_address_max;
        uint64_t rate_per_minute;
        enum ledger_verdict verdict;
    } rows[] = {
        {1, 1, 1, LEDGER_RATE_LIMITED},
        {1, 2, 1, LEDGER_RATE_LIMITED},
        {2, 1, 1, LEDGER_RATE_LIMITED},
        {2, 2, 1, LEDGER_RATE_LIMITED},
        {1, 1, 2, LEDGER_FULL},
        {1, 2, 2, LEDGER_FULL},
        {2, 1, 2, LEDGER_ADDRESS_FULL},
        {2, 2, 2, LEDGER_ADMITTED},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct ledger *ledger =
            ledger_of(rows[i].total_max, rows[i].per_address_max, rows[i].rate_per_minute, PLENTY);
        assert_int_equal(enter(ledger, 1), LEDGER_ADMITTED);
        assert_int_equal(enter(ledger, 1), rows[i].verdict);
        ledger_free(ledger);
    }
}

static void test_caps(void **state)
{
    (void)state;
    struct ledger *ledger = ledger_of(5, 3, PLENTY, PLENTY);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(enter(ledger, 1), LEDGER_ADMITTED);
    }
    assert_int_equal(enter(ledger, 1), LEDGER_ADDRESS_FULL);
    assert_int_equal(enter(ledger, 2), LEDGER_ADMITTED);
    assert_int_equal(enter(ledger, 2), LEDGER_ADMITTED);
    assert_int_equal(enter(ledger, 2), LEDGER_FULL);
    assert_int_equal(enter(ledger, 3), LEDGER_FULL);
    ledger_free(ledger);
}

// An address of IPv4 is the same however it arrives; one of IPv6 is another.
static void test_addresses(void **state)
{
    struct ip plain;
    struct ip mapped;
    struct ip other;
    (void)state;
    assert_int_equal(ip_parse(SLICE("192.0.2.1"), &plain), WEIR_OK);
    assert_int_equal(ip_parse(SLICE("::ffff:192.0.2.1"), &mapped), WEIR_OK);
    assert_int_equal(ip_parse(SLICE("2001:db8::c000:201"), &other), WEIR_OK);
    struct ledger *ledger = ledger_of(PLENTY, 1, PLENTY, PLENTY);
    assert_int_equal(ledger_enter(ledger, &plain, NOW), LEDGER_ADMITTED);
    assert_int_equal(ledger_enter(ledger, &mapped, NOW), LEDGER_ADDRESS_FULL);
    assert_int_equal(ledger_enter(ledger, &other, NOW), LEDGER_ADMITTED);
    ledger_free(ledger);
}

static void test_slots_are_given_back(void **state)
{
    (void)state;
    struct ledger *ledger = ledger_of(2, 1, PLENTY, PLENTY);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(enter(ledger, 1), LEDGER_ADMITTED);
        assert_int_equal(enter(ledger, 1), LEDGER_ADDRESS_FULL); // a refusal takes no slot
        assert_int_equal(enter(ledger, 2), LEDGER_ADMITTED);
        assert_int_equal(enter(ledger, 3), LEDGER_FULL);
        leave(ledger, 1, false);
        assert_int_equal(enter(ledger, 3), LEDGER_ADMITTED);
        assert_int_equal(enter(ledger, 1), LEDGER_FULL);
        leave(ledger, 2, false);
        leave(ledger, 3, false);
    }
    ledger_free(ledger);
}

// A worker counts at its address only.
static void test_exempt(void **state)
{
    (void)state;
    struct ledger *ledger = ledger_of(1, 2, PLENTY, PLENTY);
    assert_int_equal(enter(ledger, 1), LEDGER_ADMITTED);
    assert_int_equal(enter(ledger, 2), LEDGER_FULL);
    ledger_exempt(ledger);
    assert_int_equal(enter(ledger, 1), LEDGER_ADMITTED);
    assert_int_equal(enter(ledger, 2), LEDGER_FULL);
    ledger_exempt(ledger);
    assert_int_equal(enter(ledger, 1), LEDGER_ADDRESS_FULL);
    assert_int_equal(enter(ledger, 2), LEDGER_ADMITTED); // a daemon or a client
    leave(ledger, 1, true);
    assert_int_equal(enter(ledger, 3), LEDGER_FULL); // an exempt slot was given back before
    leave(ledger, 2, false);
    assert_int_equal(enter(ledger, 1), LEDGER_ADMITTED);
    assert_int_equal(enter(ledger, 2), LEDGER_FULL);
    ledger_free(ledger);
}

static void test_window(void **state)
{
    static const struct {
        unsigned from;
        uint64_t after_ns;
        enum ledger_verdict verdict;
    } rows[] = {
        {1, 0, LEDGER_ADMITTED},
        {1, NS_PER_S, LEDGER_ADDRESS_FULL}, // counts as well
        {1, 2 * NS_PER_S, LEDGER_RATE_LIMITED},
        {2, 2 * NS_PER_S, LEDGER_ADMITTED},
        {1, MINUTE_NS - 1, LEDGER_RATE_LIMITED},
        {1, MINUTE_NS, LEDGER_ADDRESS_FULL},
        {1, MINUTE_NS + 1, LEDGER_ADDRESS_FULL},
        {1, MINUTE_NS + 2, LEDGER_RATE_LIMITED},
        {2, MINUTE_NS + 2, LEDGER_ADDRESS_FULL},
        {2, MINUTE_NS + 3, LEDGER_RATE_LIMITED},
        {2, MINUTE_NS + 2 * NS_PER_S, LEDGER_ADDRESS_FULL},
        {1, 2 * MINUTE_NS - 1, LEDGER_RATE_LIMITED},
        {1, 5 * MINUTE_NS, LEDGER_ADDRESS_FULL},
    };
    (void)state;
    struct ledger *ledger = ledger_of(PLENTY, 1, 2, PLENTY);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (enter_at(ledger, rows[i].from, NOW + rows[i].after_ns) != rows[i].verdict) {
            fail_msg("row %zu", i);
        }
    }
    ledger_free(ledger);
}

// Ending a connection does not make its request unasked.
static void test_window_outlives_connections(void **state)
{
    (void)state;
    struct ledger *ledger = ledger_of(PLENTY, PLENTY, 2, PLENTY);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(enter(ledger, 1), LEDGER_ADMITTED);
        leave(ledger, 1, false);
    }
    assert_int_equal(enter(ledger, 1), LEDGER_RATE_LIMITED);
    ledger_free(ledger);
}

// ---- Forgotten addresses

static void visit(struct ledger *ledger, unsigned last)
{
    assert_int_equal(enter(ledger, last), LEDGER_ADMITTED);
    leave(ledger, last, false);
}

// With one request a minute, a remembered address is refused.
static void test_oldest_address_goes(void **state)
{
    (void)state;
    struct ledger *ledger = ledger_of(PLENTY, PLENTY, 1, 3);
    visit(ledger, 1);
    visit(ledger, 2);
    visit(ledger, 3);
    assert_int_equal(enter(ledger, 1), LEDGER_RATE_LIMITED); // 2 is the oldest now
    visit(ledger, 4);
    assert_int_equal(enter(ledger, 3), LEDGER_RATE_LIMITED);
    assert_int_equal(enter(ledger, 1), LEDGER_RATE_LIMITED);
    assert_int_equal(enter(ledger, 4), LEDGER_RATE_LIMITED);
    visit(ledger, 2); // 3 goes
    visit(ledger, 3); // 1 goes
    assert_int_equal(enter(ledger, 4), LEDGER_RATE_LIMITED);
    assert_int_equal(enter(ledger, 2), LEDGER_RATE_LIMITED);
    ledger_free(ledger);
}

static void test_connected_addresses_stay(void **state)
{
    enum { CONNECTED = 20 };
    (void)state;
    struct ledger *ledger = ledger_of(PLENTY, 1, 2, 2);
    for (unsigned i = 0; i < CONNECTED; i++) {
        assert_int_equal(enter(ledger, i), LEDGER_ADMITTED);
    }
    for (unsigned i = 0; i < CONNECTED; i++) {
        assert_int_equal(enter(ledger, i), LEDGER_ADDRESS_FULL);
        assert_int_equal(enter(ledger, i), LEDGER_RATE_LIMITED);
    }
    for (unsigned i = 0; i < CONNECTED; i++) {
        leave(ledger, i, false);
    }
    visit(ledger, CONNECTED); // now all but one of the idle ones are forgotten
    assert_int_equal(enter(ledger, CONNECTED - 1), LEDGER_RATE_LIMITED);
    visit(ledger, 0);
    ledger_free(ledger);
}

#if WEIR_FAULTS
static void test_without_memory(void **state)
{
    struct ledger_limits limits = {1, 1, 1, PLENTY};
    (void)state;
    mem_fail_at(1);
    assert_null(ledger_new(&limits, &seed));
    mem_fail_at(0);
    ledger_free(NULL);
    struct ledger *ledger = ledger_new(&limits, &seed);
    assert_non_null(ledger);
    for (unsigned long nth = 1; nth <= 2; nth++) { // the address, then the table
        mem_fail_at(nth);
        assert_int_equal(enter(ledger, 1), LEDGER_NO_MEMORY);
        mem_fail_at(0);
    }
    assert_int_equal(enter(ledger, 1), LEDGER_ADMITTED); // no slot was lost, nothing counted
    mem_fail_at(1);
    assert_int_equal(enter(ledger, 1), LEDGER_RATE_LIMITED); // needs none
    mem_fail_at(0);
    ledger_free(ledger);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_of_verdicts),
        cmocka_unit_test(test_caps),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_slots_are_given_back),
        cmocka_unit_test(test_exempt),
        cmocka_unit_test(test_window),
        cmocka_unit_test(test_window_outlives_connections),
        cmocka_unit_test(test_oldest_address_goes),
        cmocka_unit_test(test_connected_addresses_stay),
#if WEIR_FAULTS
        cmocka_unit_test(test_without_memory),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
