// SPDX-License-Identifier: Apache-2.0
// The text between relays (sections 8 and 9 of the specification): what is written, to the byte, and
// what is taken, and for whom, of what comes in.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "base/mem.h"
#include "relay/backplane/message.h"

#define HEADROOM 10

static struct bus_message example(void)
{
    return (struct bus_message){
        .workspace = SLICE("wss"),
        .target = SLICE("rt"),
        .source = SLICE("relay-d"),
        .target_relay = SLICE("relay-c"),
        .payload = SLICE("{\"a\":\"b\"}"),
        .issued_at_ms = 1795224820204,
        .issued = true,
    };
}

static void expect_text(const struct bus_message *message, enum bus_form form, const char *text)
{
    struct buf out = BUF_INIT(4096);
    bus_message_write(message, form, &out);
    assert_false(out.failed);
    assert_string_equal(buf_text(&out), text);
    buf_reset(&out);
}

static void test_write(void **state)
{
    struct bus_message message = example();
    (void)state;
    expect_text(&message, BUS_FORM_REDIS,
        "{\"workspaceId\":\"wss\",\"runtimeTargetId\":\"rt\",\"sourceRelayId\":\"relay-d\","
        "\"targetRelayId\":\"relay-c\",\"direction\":\"client_to_daemon\","
        "\"payload\":\"{\\\"a\\\":\\\"b\\\"}\",\"issuedAtMs\":1795224820204}");
    message.machine = SLICE("m_1");
    message.direction = BUS_DAEMON_TO_CLIENTS;
    message.signature = SLICE("sig");
    message.target_relay = SLICE_EMPTY;
    expect_text(&message, BUS_FORM_PLATFORM,
        "{\"workspaceId\":\"wss\",\"runtimeTargetId\":\"rt\",\"machineId\":\"m_1\","
        "\"sourceRelayId\":\"relay-d\",\"targetRelayId\":null,"
        "\"direction\":\"daemon_to_clients\",\"payload\":\"{\\\"a\\\":\\\"b\\\"}\","
        "\"issuedAtMs\":1795224820204,\"signature\":\"sig\"}");
    message.direction = BUS_CLIENT_TO_DAEMON;
    message.issued = false;
    message.machine = message.signature = SLICE_EMPTY;
    expect_text(&message, BUS_FORM_PLATFORM,
        "{\"workspaceId\":\"wss\",\"runtimeTargetId\":\"rt\",\"sourceRelayId\":\"relay-d\","
        "\"targetRelayId\":\"\",\"direction\":\"client_to_daemon\","
        "\"payload\":\"{\\\"a\\\":\\\"b\\\"}\"}");
}

static const struct bus_reader reader = {{"relay-c", 7}, 64};

static enum bus_verdict read_as(
    const char *text, enum bus_form form, struct buf *scratch, struct bus_message *ret_message)
{
    return bus_message_read(slice_str(text), form, &reader, HEADROOM, scratch, ret_message);
}

static void test_round_trip(void **state)
{
    struct bus_message message = example();
    struct bus_message back;
    struct buf text = BUF_INIT(4096);
    struct buf scratch = BUF_INIT(4096);
    (void)state;
    message.machine = SLICE("m\t1");
    message.signature = SLICE("c2ln");
    bus_message_write(&message, BUS_FORM_REDIS, &text);
    assert_int_equal(read_as(buf_text(&text), BUS_FORM_REDIS, &scratch, &back), BUS_FOR_US);
    assert_true(slice_eq(back.workspace, message.workspace));
    assert_true(slice_eq(back.target, message.target));
    assert_true(slice_eq(back.machine, message.machine));
    assert_true(slice_eq(back.source, message.source));
    assert_true(slice_eq(back.target_relay, message.target_relay));
    assert_true(slice_eq(back.payload, message.payload));
    assert_true(slice_eq(back.signature, message.signature));
    assert_true(back.issued);
    assert_true(back.issued_at_ms == message.issued_at_ms);
    assert_int_equal(back.direction, BUS_CLIENT_TO_DAEMON);
    char *headroom = (char *)(uintptr_t)back.payload.at - HEADROOM;
    memset(headroom, 'x', HEADROOM); // it is ours to write to, and the rest stays what it is
    assert_true(slice_eq(back.payload, message.payload));
    assert_true(slice_eq(back.machine, message.machine));
    buf_reset(&text);
    buf_reset(&scratch);
}

#define NAMES "\"workspaceId\":\"w\",\"runtimeTargetId\":\"rt\",\"sourceRelayId\":\"relay-d\""
#define TO_US "\"targetRelayId\":\"relay-c\""
#define DOWN "\"direction\":\"client_to_daemon\""
#define LOAD "\"payload\":\"{}\""

static const struct {
    const char *text;
    enum bus_form form;
    enum bus_verdict verdict;
} cases[] = {
    {"{" NAMES "," TO_US "," DOWN "," LOAD "}", BUS_FORM_REDIS, BUS_FOR_US},
    {"{\"id\":7," NAMES "," TO_US "," DOWN "," LOAD "}", BUS_FORM_PLATFORM, BUS_FOR_US},
    // The id is the platform's; Redis has none.
    {"{" NAMES "," TO_US "," DOWN "," LOAD "}", BUS_FORM_PLATFORM, BUS_MALFORMED},
    {"{\"id\":0," NAMES "," TO_US "," DOWN "," LOAD "}", BUS_FORM_PLATFORM, BUS_MALFORMED},
    {"{\"id\":-1," NAMES "," TO_US "," DOWN "," LOAD "}", BUS_FORM_PLATFORM, BUS_MALFORMED},
    {"{\"id\":\"7\"," NAMES "," TO_US "," DOWN "," LOAD "}", BUS_FORM_PLATFORM, BUS_MALFORMED},
    {"{\"id\":1e300," NAMES "," TO_US "," DOWN "," LOAD "}", BUS_FORM_PLATFORM, BUS_MALFORMED},
    // Nobody in particular.
    {"{\"id\":7," NAMES "," DOWN "," LOAD "}", BUS_FORM_PLATFORM, BUS_FOR_US},
    {"{" NAMES "," DOWN "," LOAD "}", BUS_FORM_REDIS, BUS_MALFORMED},
    {"{" NAMES ",\"targetRelayId\":null," DOWN "," LOAD "}", BUS_FORM_REDIS, BUS_FOR_US},
    {"{" NAMES ",\"targetRelayId\":\" \"," DOWN "," LOAD "}", BUS_FORM_REDIS, BUS_FOR_US},
    {"{" NAMES ",\"targetRelayId\":7," DOWN "," LOAD "}", BUS_FORM_REDIS, BUS_MALFORMED},
    // Another's, or our own.
    {"{" NAMES ",\"targetRelayId\":\"relay-x\"," DOWN "," LOAD "}", BUS_FORM_REDIS, BUS_FOR_OTHERS},
    {"{\"workspaceId\":\"w\",\"runtimeTargetId\":\"rt\",\"sourceRelayId\":\"relay-c\"," TO_US "," DOWN
     "," LOAD "}",
        BUS_FORM_REDIS, BUS_FOR_OTHERS},
    // An escaped name is the name.
    {"{\"workspaceId\":\"w\",\"runtimeTargetId\":\"rt\",\"sourceRelayId\":\"x\",\"targetRelayId\":"
     "\"relay\\u002dc\"," DOWN "," LOAD "}",
        BUS_FORM_REDIS, BUS_FOR_US},
    // What must be there, as a string.
    {"{\"workspaceId\":7,\"runtimeTargetId\":\"rt\",\"sourceRelayId\":\"x\"," TO_US "," DOWN "," LOAD
     "}",
        BUS_FORM_REDIS, BUS_MALFORMED},
    {"{\"workspaceId\":\"w\",\"runtimeTargetId\":\" \",\"sourceRelayId\":\"x\"," TO_US "," DOWN
     "," LOAD "}",
        BUS_FORM_REDIS, BUS_MALFORMED},
    {"{\"workspaceId\":\"w\",\"runtimeTargetId\":\"rt\"," TO_US "," DOWN "," LOAD "}",
        BUS_FORM_REDIS, BUS_MALFORMED},
    {"{" NAMES "," TO_US "," LOAD "}", BUS_FORM_REDIS, BUS_MALFORMED},
    {"{" NAMES "," TO_US ",\"direction\":\"up\"," LOAD "}", BUS_FORM_REDIS, BUS_MALFORMED},
    {"{" NAMES "," TO_US "," DOWN "}", BUS_FORM_REDIS, BUS_MALFORMED},
    {"{" NAMES "," TO_US "," DOWN ",\"payload\":{}}", BUS_FORM_REDIS, BUS_MALFORMED},
    // Optional, and then of its kind; the platform's are only looked at when they are.
    {"{" NAMES "," TO_US "," DOWN "," LOAD ",\"machineId\":7}", BUS_FORM_REDIS, BUS_MALFORMED},
    {"{" NAMES "," TO_US "," DOWN "," LOAD ",\"signature\":7}", BUS_FORM_REDIS, BUS_MALFORMED},
    {"{" NAMES "," TO_US "," DOWN "," LOAD ",\"issuedAtMs\":\"7\"}", BUS_FORM_REDIS, BUS_MALFORMED},
    {"{" NAMES "," TO_US "," DOWN "," LOAD ",\"issuedAtMs\":1.5}", BUS_FORM_REDIS, BUS_FOR_US},
    {"{\"id\":7," NAMES "," TO_US "," DOWN "," LOAD ",\"machineId\":7}", BUS_FORM_PLATFORM,
        BUS_FOR_US},
    {"{\"id\":7," NAMES "," TO_US "," DOWN "," LOAD ",\"issuedAtMs\":\"7\"}", BUS_FORM_PLATFORM,
        BUS_FOR_US},
    // The payload: 64 bytes here at most, and UTF-8.
    {"{" NAMES "," TO_US "," DOWN
     ",\"payload\":\"0123456789012345678901234567890123456789012345678901234567890123\"}",
        BUS_FORM_REDIS, BUS_FOR_US},
    {"{" NAMES "," TO_US "," DOWN
     ",\"payload\":\"01234567890123456789012345678901234567890123456789012345678901234\"}",
        BUS_FORM_REDIS, BUS_TOO_LARGE},
    {"{" NAMES "," TO_US "," DOWN ",\"payload\":\"\xff\"}", BUS_FORM_REDIS, BUS_MALFORMED},
    // No object at all.
    {"", BUS_FORM_REDIS, BUS_MALFORMED},
    {"[]", BUS_FORM_REDIS, BUS_MALFORMED},
    {"{" NAMES, BUS_FORM_REDIS, BUS_MALFORMED},
};

static void test_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bus_message message;
        struct buf scratch = BUF_INIT(4096);
        enum bus_verdict verdict = read_as(cases[i].text, cases[i].form, &scratch, &message);
        if (verdict != cases[i].verdict) {
            fail_msg("case %zu: %d instead of %d: %s", i, verdict, cases[i].verdict, cases[i].text);
        }
        buf_reset(&scratch);
    }
}

static void test_every_prefix_is_malformed(void **state)
{
    const char *text = cases[0].text;
    (void)state;
    for (size_t len = 0; len < strlen(text); len++) {
        struct bus_message message;
        struct buf scratch = BUF_INIT(4096);
        char *piece = mem_copy(text, len); // its own, so that reading past it is seen
        assert_non_null(piece);
        assert_int_equal(bus_message_read(slice_of(piece, len), BUS_FORM_REDIS, &reader, HEADROOM,
                             &scratch, &message),
            BUS_MALFORMED);
        mem_free(piece);
        buf_reset(&scratch);
    }
}

static void test_scratch_too_small(void **state)
{
    struct bus_message message;
    struct buf scratch = BUF_INIT(16);
    (void)state;
    assert_int_equal(read_as(cases[0].text, BUS_FORM_REDIS, &scratch, &message), BUS_MALFORMED);
    buf_reset(&scratch);
}

static void test_peek(void **state)
{
    char scratch[8];
    (void)state;
    const struct {
        const char *text;
        const char *workspace;
        uint64_t id;
        uint64_t issued_at_ms;
    } names[] = {
        {"{\"workspaceId\":\"w\",\"id\":9007199254740991,\"issuedAtMs\":7}", "w",
            9007199254740991, 7},
        {"{\"workspaceId\":\"w\\u0031\",\"id\":1e1}", "w1", 10, 0},
        {"{\"workspaceId\":\"a\",\"workspaceId\":\"b\"}", "b", 0, 0},
        // Longer, escaped, than scratch.
        {"{\"workspaceId\":\"\\u0031\\u0031\\u0031\",\"id\":7}", "", 7, 0},
        {"{\"workspaceId\":7,\"id\":-7}", "", 0, 0},
        {"{\"id\":9007199254740992,\"issuedAtMs\":1.5}", "", 0, 0},
        {"{\"id\":\"7\"}", "", 0, 0},
        {"{\"workspaceId\":\"w\",\"id\":7", "", 0, 0},
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct bus_envelope envelope =
            bus_message_peek(slice_str(names[i].text), scratch, sizeof scratch);
        assert_true(slice_eq(envelope.workspace, slice_str(names[i].workspace)));
        assert_true(envelope.id == names[i].id);
        assert_true(envelope.issued_at_ms == names[i].issued_at_ms);
    }
}

static int setup(void **state)
{
    (void)state;
    return bus_message_rules_init() == WEIR_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    bus_message_rules_fini();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_write),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_read),
        cmocka_unit_test(test_every_prefix_is_malformed),
        cmocka_unit_test(test_scratch_too_small),
        cmocka_unit_test(test_peek),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
