// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "health/sockets/dialect.h"
#include "health/sockets/subscriptions.h"

// Clients that put "action" and "device_id" together expect to be pinged.
static void test_the_third_dialect(void **state)
{
    static const struct {
        const char *text;
        bool third;
    } rows[] = {
        {"{\"action\":\"subscribe\",\"device_id\":\"a\"}", true},
        {"{\"type\":\"subscribe\",\"device_id\":\"a\"}", false},
        {"{\"action\":\"subscribe\",\"subscriptions\":[\"*@*\"]}", false},
        {"ping", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct ask ask;
        ask_read(&ask, slice_str(rows[i].text));
        assert_int_equal(ask.third, rows[i].third);
        ask_fini(&ask);
    }
}

static void test_verbs(void **state)
{
    static const struct {
        const char *text;
        enum ask_verb verb;
    } rows[] = {
        {"ping", ASK_PING},
        {" ping\n", ASK_PING},
        {"{\"type\":\"ping\"}", ASK_PING},
        {"{\"action\":\"ping\",\"type\":\"subscribe\"}", ASK_PING},
        {"{\"type\":\"subscribe\",\"device_id\":\"a\"}", ASK_SUBSCRIBE},
        {"{\"action\":\"unsubscribe\"}", ASK_UNSUBSCRIBE},
        {"{\"action\":\"get_current\"}", ASK_CURRENT},
        {"{\"action\":\"list_subscriptions\"}", ASK_LIST},
        {"{\"action\":\"pong\"}", ASK_PONG},
        {"{\"event\":\"pong\"}", ASK_PONG},
        {"{\"action\":\"Subscribe\"}", ASK_UNKNOWN},
        {"{\"action\":7}", ASK_UNKNOWN},
        {"{}", ASK_UNKNOWN},
        {"", ASK_NOT_JSON},
        {"pong", ASK_NOT_JSON},
        {"[]", ASK_NOT_JSON},
        {"\"ping\"", ASK_NOT_JSON},
        {"{\"action\":\"ping\"} x", ASK_NOT_JSON},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct ask ask;
        ask_read(&ask, slice_str(rows[i].text));
        assert_int_equal(ask.verb, rows[i].verb);
        ask_fini(&ask);
    }
}

static void test_names(void **state)
{
    struct ask ask;
    (void)state;
    ask_read(
        &ask, SLICE("{\"type\":\"subscribe\",\"device_id\":[\"a\",7,\"b\"],\"service\":\"s\"}"));
    assert_int_equal(ask_name_count(ask.devices), 3);
    assert_true(slice_eq(ask_name(ask.devices, 0), SLICE("a")));
    assert_int_equal(ask_name(ask.devices, 1).len, 0);
    assert_true(slice_eq(ask_name(ask.devices, 2), SLICE("b")));
    assert_true(slice_eq(ask.service, SLICE("s")));
    assert_int_equal(ask.machine.len, 0);
    assert_null(ask.patterns);
    ask_fini(&ask);
    ask_read(&ask, SLICE("{\"action\":\"subscribe\",\"hostname\":\"h\",\"subscriptions\":{}}"));
    assert_int_equal(ask_name_count(ask.devices), 1);
    assert_true(slice_eq(ask_name(ask.devices, 0), SLICE("h")));
    assert_int_equal(ask_name_count(ask.patterns), 0);
    ask_fini(&ask);
}

static void test_patterns(void **state)
{
    static const char *const bad[] = {"", "a", "@", "a@", "@b"};
    struct slice service;
    struct slice machine;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(ask_split_pattern(slice_str(bad[i]), &service, &machine));
    }
    assert_true(ask_split_pattern(SLICE("a@b@c"), &service, &machine));
    assert_true(slice_eq(service, SLICE("a")) && slice_eq(machine, SLICE("b@c")));
}

static void test_what_is_wanted(void **state)
{
    struct subscriptions wanted = {0};
    (void)state;
    assert_int_equal(subscriptions_add(&wanted, SUBSCRIBED_DEVICE, SLICE("d")), WEIR_OK);
    assert_int_equal(subscriptions_add(&wanted, SUBSCRIBED_DEVICE, SLICE("d")), WEIR_OK);
    assert_int_equal(subscriptions_add(&wanted, SUBSCRIBED_PATTERN, SLICE("*@m")), WEIR_OK);
    assert_int_equal(subscriptions_add(&wanted, SUBSCRIBED_PATTERN, SLICE("s@n")), WEIR_OK);
    assert_int_equal(wanted.count, 3);
    assert_true(subscriptions_want_device(&wanted, SLICE("d")));
    assert_false(subscriptions_want_device(&wanted, SLICE("m")));
    assert_true(subscriptions_want_machine(&wanted, SLICE("d")));
    assert_true(subscriptions_want_machine(&wanted, SLICE("m")));
    assert_false(subscriptions_want_machine(&wanted, SLICE("n"))); // one of its services only
    subscriptions_remove(&wanted, SUBSCRIBED_PATTERN, SLICE("*@m"));
    subscriptions_remove(&wanted, SUBSCRIBED_PATTERN, SLICE("d")); // a device, no pattern
    assert_int_equal(wanted.count, 2);
    assert_int_equal(subscriptions_add(&wanted, SUBSCRIBED_PATTERN, SLICE("*@*")), WEIR_OK);
    assert_true(subscriptions_want_machine(&wanted, SLICE("anything")));
    assert_false(subscriptions_want_device(&wanted, SLICE("anything")));
    subscriptions_fini(&wanted);
    assert_false(subscriptions_want_machine(&wanted, SLICE("d")));
}

static void test_bounds(void **state)
{
    struct subscriptions wanted = {0};
    char text[SUBSCRIPTION_LEN_MAX + 1];
    (void)state;
    for (unsigned i = 0; i < SUBSCRIPTIONS_MAX; i++) {
        int len = snprintf(text, sizeof text, "device-%u", i);
        assert_int_equal(
            subscriptions_add(&wanted, SUBSCRIBED_DEVICE, slice_of(text, (size_t)len)), WEIR_OK);
    }
    assert_int_equal(subscriptions_add(&wanted, SUBSCRIBED_DEVICE, SLICE("one more")), WEIR_FULL);
    assert_int_equal(subscriptions_add(&wanted, SUBSCRIBED_DEVICE, SLICE("device-7")), WEIR_OK);
    subscriptions_remove(&wanted, SUBSCRIBED_DEVICE, SLICE("device-7"));
    memset(text, 'x', sizeof text);
    assert_int_equal(
        subscriptions_add(&wanted, SUBSCRIBED_DEVICE, slice_of(text, sizeof text)), WEIR_TOO_LONG);
    assert_int_equal(subscriptions_add(&wanted, SUBSCRIBED_DEVICE, SLICE_EMPTY), WEIR_TOO_LONG);
    assert_int_equal(
        subscriptions_add(&wanted, SUBSCRIBED_DEVICE, slice_of(text, sizeof text - 1)), WEIR_OK);
    subscriptions_fini(&wanted);
}

static void test_without_memory(void **state)
{
    (void)state;
    for (unsigned long nth = 1; nth <= 2; nth++) {
        struct subscriptions wanted = {0};
        mem_fail_at(nth);
        assert_int_equal(subscriptions_add(&wanted, SUBSCRIBED_DEVICE, SLICE("d")), WEIR_MEMORY);
        mem_fail_at(0);
        assert_int_equal(wanted.count, 0);
        assert_int_equal(subscriptions_add(&wanted, SUBSCRIBED_DEVICE, SLICE("d")), WEIR_OK);
        subscriptions_fini(&wanted);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_third_dialect),
        cmocka_unit_test(test_verbs),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_patterns),
        cmocka_unit_test(test_what_is_wanted),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
