// SPDX-License-Identifier: Apache-2.0
// What monitors tell each other: written, read back, and what is no such message.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/time.h"
#include "health/cluster/shared_result.h"

static struct machine machine = {.name = "here"};
static struct service service = {.name = "web", .machine = &machine, .identity = 0xabcdef};

static struct target make_target(void)
{
    uint64_t now_ns = monitor_now_ns();
    return (struct target){
        .service = &service,
        .has_last = true,
        .last_ns = now_ns - NS_PER_S,
        .last = {.outcome = OUTCOME_STATUS,
            .code = 503,
            .latency_ns = 1234567,
            .message = "HTTP 503, \"expected\" 200 \xe2\x82\xac"},
        .state = {.failures = 2,
            .recent = 3,
            .recent_count = 5,
            .counted = true,
            .ever_passed = true,
            .ever_failed = true,
            .last_pass_ns = now_ns - 7 * NS_PER_S,
            .last_failure_ns = now_ns - NS_PER_S,
            .last_result_ns = now_ns - NS_PER_S},
    };
}

static void test_there_and_back(void **state)
{
    (void)state;
    struct target target = make_target();
    struct buf text = BUF_INIT(4096);
    struct shared_message message;
    shared_result_write(&target, "me:1#2", &text);
    shared_message_read(&message, buf_slice(&text), 3 * NS_PER_S);
    assert_int_equal(message.kind, SHARED_RESULT);
    assert_true(slice_eq(message.service, SLICE("web")));
    assert_true(slice_eq(message.machine, SLICE("here")));
    assert_int_equal(message.identity, 0xabcdef);
    assert_int_equal(message.record.outcome, OUTCOME_STATUS);
    assert_int_equal(message.record.code, 503);
    assert_int_equal(message.record.latency_ns, 1234567);
    assert_string_equal(message.record.message, target.last.message);
    assert_int_equal(message.state.failures, 2);
    assert_int_equal(message.state.recent, 3);
    assert_int_equal(message.state.recent_count, 5);
    assert_true(message.state.counted && message.state.ever_passed && message.state.ever_failed);
    assert_false(message.state.slow || message.state.was_unhealthy);
    // Three seconds on the way, to the millisecond and the time this test takes.
    uint64_t shift_ns = target.state.last_pass_ns - message.state.last_pass_ns;
    assert_true(shift_ns > 2900 * NS_PER_MS && shift_ns <= 3001 * NS_PER_MS);
    shared_message_fini(&message);
    // Another result has another mark, the same result the same.
    uint64_t mark = message.mark;
    shared_message_read(&message, buf_slice(&text), 0);
    assert_int_equal(message.mark, mark);
    shared_message_fini(&message);
    buf_reset(&text);
    target.last_ns++;
    shared_result_write(&target, "me:1#2", &text);
    shared_message_read(&message, buf_slice(&text), 0);
    assert_int_not_equal(message.mark, mark);
    shared_message_fini(&message);
    buf_reset(&text);
}

static void test_every_prefix_is_nothing(void **state)
{
    (void)state;
    struct target target = make_target();
    struct buf text = BUF_INIT(4096);
    shared_result_write(&target, "me:1#2", &text);
    for (size_t len = 0; len < text.len; len++) {
        struct shared_message message;
        shared_message_read(&message, slice_of(buf_slice(&text).at, len), 0);
        assert_int_equal(message.kind, SHARED_NOTHING);
        shared_message_fini(&message);
    }
    buf_reset(&text);
}

// Replaces the first `from` in a good result by `to`.
static enum shared_kind kind_with(const char *from, const char *to)
{
    struct target target = make_target();
    struct buf text = BUF_INIT(4096);
    char changed[4096];
    struct shared_message message;
    shared_result_write(&target, "me:1#2", &text);
    char *good = buf_text(&text);
    const char *at = strstr(good, from);
    assert_non_null(at);
    snprintf(changed, sizeof changed, "%.*s%s%s", (int)(at - good), good, to, at + strlen(from));
    shared_message_read(&message, slice_str(changed), 0);
    enum shared_kind kind = message.kind;
    shared_message_fini(&message);
    buf_reset(&text);
    return kind;
}

static void test_bad_members(void **state)
{
    static const char *const cases[][2] = {
        {"\"failures\":2", "\"failures\":-1"},
        {"\"failures\":2", "\"failures\":4294967296"},
        {"\"failures\":2", "\"failures\":2.0"},
        {"\"failures\":2", "\"failures\":\"2\""},
        {"\"passes\":0", "\"passes\":1"},
        {"\"recent_count\":5", "\"recent_count\":21"},
        {"\"flags\":19", "\"flags\":32"},
        {"\"outcome\":\"http_status\"", "\"outcome\":\"of another version\""},
        {"\"identity\":\"0000000000abcdef\"", "\"identity\":\"abcdef\""},
        {"\"identity\":\"0000000000abcdef\"", "\"identity\":\"0000000000abcdeg\""},
        {"\"service\":\"web\"", "\"service\":\"\""},
        {"\"service\":\"web\"", "\"service\":null"},
        {"\"age_ms\":", "\"age_ms\":99999999999999"},
        {"\"code\":503", "\"code\":1e400"},
        {"HTTP 503", "HTTP\\n503"},
        {"HTTP 503", "HTTP\\u0000503"},
        {"\"kind\":\"result\"", "\"kind\":\"results\""},
    };
    (void)state;
    assert_int_equal(kind_with("HTTP 503", "HTTP 504"), SHARED_RESULT);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (kind_with(cases[i][0], cases[i][1]) != SHARED_NOTHING) {
            fail_msg("%s was taken", cases[i][1]);
        }
    }
}

static void test_maintenance(void **state)
{
    (void)state;
    struct target target = make_target();
    struct buf text = BUF_INIT(4096);
    struct shared_message message;
    target.maintenance = (struct maintenance){.on = true, .reason = "disk"};
    shared_maintenance_write(&target, &text);
    shared_message_read(&message, buf_slice(&text), 0);
    assert_int_equal(message.kind, SHARED_MAINTENANCE);
    assert_true(message.on && message.until_wall_ms == 0);
    assert_true(slice_eq(message.reason, SLICE("disk")));
    shared_message_fini(&message);
    buf_reset(&text);
    // One that ended on the way is none; who says that it is over is heard.
    target.maintenance.until_wall_ms = 1;
    shared_maintenance_write(&target, &text);
    shared_message_read(&message, buf_slice(&text), NS_PER_S);
    assert_int_equal(message.kind, SHARED_NOTHING);
    shared_message_fini(&message);
    buf_reset(&text);
    target.maintenance.on = false;
    shared_maintenance_write(&target, &text);
    shared_message_read(&message, buf_slice(&text), NS_PER_S);
    assert_int_equal(message.kind, SHARED_MAINTENANCE);
    assert_false(message.on);
    shared_message_fini(&message);
    buf_reset(&text);
}

static void test_told(void **state)
{
    static const char *const none[] = {
        "{\"kind\":\"told\"}",
        "{\"kind\":\"told\",\"by\":\"x\",\"what\":\"note\",\"about\":\"\"}",
        "{\"kind\":\"told\",\"by\":\"x\",\"what\":\"note\",\"about\":\"\",\"body\":[]}",
        "{\"kind\":\"told\",\"by\":\"x\",\"what\":7,\"about\":\"\",\"body\":{}}",
    };
    struct buf text = BUF_INIT(4096);
    struct shared_message message;
    (void)state;
    shared_told_write("me:1#2", "note", SLICE("\"a\""), SLICE("{\"n\":1}"), &text);
    shared_message_read(&message, buf_slice(&text), 5);
    assert_int_equal(message.kind, SHARED_TOLD);
    assert_true(slice_eq(message.by, SLICE("me:1#2")) && slice_eq(message.what, SLICE("note")));
    assert_true(slice_eq(message.about, SLICE("\"a\"")));
    assert_int_equal(message.age_ns, 5);
    assert_int_equal(json_integer_value(json_object_get(message.body, "n")), 1);
    shared_message_fini(&message);
    buf_reset(&text);
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        shared_message_read(&message, slice_str(none[i]), 0);
        assert_int_equal(message.kind, SHARED_NOTHING);
        shared_message_fini(&message);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_every_prefix_is_nothing),
        cmocka_unit_test(test_bad_members),
        cmocka_unit_test(test_maintenance),
        cmocka_unit_test(test_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
