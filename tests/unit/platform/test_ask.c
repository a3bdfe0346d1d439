// SPDX-License-Identifier: Apache-2.0
// Bodies of the internal routes: what is taken, what is refused, and in which words.
#include "platform/ask.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"

#define FRAME_MAX 16
#define FRAME                                                                                      \
    "\"workspaceId\":\"ws\",\"runtimeTargetId\":\"rt\",\"sourceRelayId\":\"a\","                   \
    "\"direction\":\"client_to_daemon\""
#define PULL(limit, wait)                                                                          \
    "{\"relayId\":\"a\",\"sinceId\":0,\"limit\":" limit ",\"waitMs\":" wait "}"

static void test_bodies(void **state)
{
    static const struct {
        enum platform_ask_kind kind;
        const char *body;
        const char *problem; // how it begins; NULL: it is taken
    } rows[] = {
        {ASK_PRESENCE_GET, "{\"workspaceId\":\"ws\"}", NULL},
        {ASK_PRESENCE_GET, "{\"workspaceId\":\"ws\",\"runtimeTargetId\":null}", NULL},
        {ASK_PRESENCE_GET, "{\"workspaceId\":\"ws\",\"runtimeTargetId\":\"\"}", NULL},
        {ASK_PRESENCE_GET, "{\"workspaceId\":\"ws\",\"later\":[{}]}", NULL},
        {ASK_PRESENCE_GET, "{\"workspaceId\":\"w/s\"}", "workspaceId: required"},
        {ASK_PRESENCE_GET, "{}", "workspaceId: required"},
        {ASK_PRESENCE_GET, "[]", "the body: allowed: a JSON object"},
        {ASK_PRESENCE_GET, "", "the body is no JSON"},
        {ASK_PRESENCE_GET, "{\"workspaceId\":\"ws\"} x", "the body is no JSON"},
        {ASK_PRESENCE_PUT, "{\"workspaceId\":\"ws\"}", "relayId: required"},
        {ASK_PRESENCE_PUT,
            "{\"workspaceId\":\"ws\",\"relayId\":\"a\",\"relayWsBaseUrl\":\"ws://a\","
            "\"daemonConnected\":1}",
            "daemonConnected: required; allowed: true or false"},
        {ASK_PRESENCE_PUT,
            "{\"workspaceId\":\"ws\",\"relayId\":\"a\",\"relayWsBaseUrl\":\"ws://a\","
            "\"daemonConnected\":false}",
            NULL},
        {ASK_PUBLISH, "{" FRAME ",\"payload\":\"0123456789abcdef\"}", NULL},
        {ASK_PUBLISH, "{" FRAME ",\"payload\":\"0123456789abcdef0\"}",
            "payload: required; allowed: text of at most 16 bytes"},
        {ASK_PUBLISH, "{" FRAME ",\"payload\":\"a\\u0000\"}", "payload: "},
        {ASK_PUBLISH, "{" FRAME ",\"payload\":\"x\",\"issuedAtMs\":9007199254740992}",
            "issuedAtMs: may be left out; allowed: a whole number"},
        {ASK_PUBLISH, "{\"frames\":[]}", "frames: allowed"},
        {ASK_PUBLISH, "{\"frames\":{}}", "frames: allowed"},
        {ASK_PUBLISH, "{\"frames\":[1]}", NULL},
        {ASK_PULL, PULL("1", "0"), NULL},
        {ASK_PULL, PULL("0", "0"), "limit: allowed"},
        {ASK_PULL, PULL("1.0", "0"), "limit: required"},
        {ASK_PULL, PULL("1", "null"), "waitMs: required"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct platform_ask ask;
        print_message("%s\n", rows[i].body);
        enum weir_result result =
            platform_ask_read(rows[i].kind, slice_str(rows[i].body), FRAME_MAX, &ask);
        assert_int_equal(result, rows[i].problem == NULL ? WEIR_OK : WEIR_MALFORMED);
        if (rows[i].problem != NULL) {
            print_message("  %s\n", ask.problem);
            assert_memory_equal(ask.problem, rows[i].problem, strlen(rows[i].problem));
        }
        platform_ask_fini(&ask);
    }
}

static void test_bounds_of_a_pull(void **state)
{
    struct platform_ask ask;
    (void)state;
    assert_int_equal(
        platform_ask_read(ASK_PULL, SLICE(PULL("100000", "3600000")), FRAME_MAX, &ask), WEIR_OK);
    assert_int_equal(ask.pull.limit, ASK_PULL_LIMIT_MAX);
    assert_int_equal(ask.pull.wait_ms, ASK_PULL_WAIT_MS_MAX);
    platform_ask_fini(&ask);
}

static void test_a_batch_keeps_its_places(void **state)
{
    static const char body[] = "{\"frames\":[{" FRAME ",\"payload\":\"x\",\"targetRelayId\":\"b\","
                               "\"issuedAtMs\":0,\"signature\":\"s\",\"machineId\":\"m\"},"
                               "{" FRAME "},{" FRAME ",\"payload\":\"y\"}]}";
    struct platform_ask ask;
    struct buf row = BUF_INIT(4096);
    (void)state;
    assert_int_equal(platform_ask_read(ASK_PUBLISH, slice_str(body), FRAME_MAX, &ask), WEIR_OK);
    assert_true(ask.batch);
    assert_int_equal(ask.frame_count, 3);
    assert_int_equal(ask.valid_count, 2);
    assert_true(ask.frames[0].valid && !ask.frames[1].valid && ask.frames[2].valid);
    frame_ask_write(&ask.frames[0], &row);
    assert_string_equal(buf_text(&row),
        "{\"w\":\"ws\",\"r\":\"rt\",\"m\":\"m\",\"s\":\"a\",\"t\":\"b\",\"d\":\"client_to_daemon\","
        "\"p\":\"x\",\"i\":0,\"g\":\"s\",\"n\":1}");
    buf_clear(&row);
    frame_ask_write(&ask.frames[2], &row);
    assert_string_equal(buf_text(&row),
        "{\"w\":\"ws\",\"r\":\"rt\",\"s\":\"a\",\"t\":\"\",\"d\":\"client_to_daemon\","
        "\"p\":\"y\",\"n\":1}");
    buf_reset(&row);
    platform_ask_fini(&ask);
}

// Without memory it says so and leaves nothing behind.
static void test_without_memory(void **state)
{
    struct platform_ask ask;
    (void)state;
    mem_fail_at(1);
    assert_int_equal(
        platform_ask_read(ASK_PUBLISH, SLICE("{\"frames\":[1]}"), FRAME_MAX, &ask), WEIR_MEMORY);
    mem_fail_at(0);
    platform_ask_fini(&ask);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_bounds_of_a_pull),
        cmocka_unit_test(test_a_batch_keeps_its_places),
        cmocka_unit_test(test_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
