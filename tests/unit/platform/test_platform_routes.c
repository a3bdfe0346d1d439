// SPDX-License-Identifier: Apache-2.0
#include "platform/platform.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>

#include "auth/jws.h"
#include "platform/ask.h"

#include "state.h"

#define VALIDATE "/api/runtime/internal/relay/validate"
#define ANY_TOKEN "/api/runtime/relay-token"
#define CLIENT_TOKEN "/api/workspaces/ws/relay-token"

struct fixture {
    struct state state;
    struct platform *platform;
};

static int setup(void **state)
{
    static struct fixture fixture;
    static const struct platform_options options = {.internal_key = "ik", .admin_token = "at"};
    enum weir_result result;
    state_make(&fixture.state);
    fixture.platform = platform_open(fixture.state.dir, &options, &result);
    assert_int_equal(result, WEIR_OK);
    assert_false(sys_file_exists(state_path(&fixture.state, "internal-key")));
    *state = &fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    platform_free(fixture->platform);
    state_remove(&fixture->state);
    return 0;
}

// The answer as JSON; the caller owns it.
static json_t *ask(
    const struct platform *platform, const struct platform_request *request, unsigned *ret_status)
{
    struct buf out = BUF_INIT(PLATFORM_ANSWER_LEN_MAX);
    struct platform_ask question;
    assert_int_equal(platform_handle(platform, request, &out, ret_status, &question), WEIR_OK);
    if (question.kind == ASK_TOKEN) {
        const struct daemon_facts nothing = {SLICE_EMPTY, -1};
        assert_int_equal(
            platform_answer_token(platform, &question, &nothing, &out, ret_status), WEIR_OK);
        platform_ask_fini(&question);
    }
    assert_int_equal(question.kind, ASK_NONE);
    json_t *answer = json_loadb(out.at, out.len, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(answer);
    buf_reset(&out);
    return answer;
}

static void test_paths_methods_credentials(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        const char *method, *path, *authorization, *internal_key;
        unsigned status;
        const char *reason; // NULL: no refusal
    } rows[] = {
        {"GET", "/jwks.json", "", "", 200, NULL},
        {"GET", "/.well-known/jwks.json", "", "", 200, NULL},
        {"POST", "/jwks.json", "", "", 405, "METHOD_NOT_ALLOWED"},
        {"HEAD", "/jwks.json", "", "", 405, "METHOD_NOT_ALLOWED"},
        {"get", "/jwks.json", "", "", 405, "METHOD_NOT_ALLOWED"},
        {"GET", "/jwks.json/", "", "", 404, "NOT_FOUND"},
        {"GET", "/jwks", "", "", 404, "NOT_FOUND"},
        {"GET", "/", "", "", 404, "NOT_FOUND"},
        {"GET", "", "", "", 404, "NOT_FOUND"},
        {"GET", "//jwks.json", "", "", 404, "NOT_FOUND"},
        {"GET", VALIDATE, "", "ik", 405, "METHOD_NOT_ALLOWED"},
        {"POST", VALIDATE, "", "", 401, "UNAUTHORIZED"},
        {"POST", VALIDATE, "", "i", 401, "UNAUTHORIZED"},
        {"POST", VALIDATE, "", "ikk", 401, "UNAUTHORIZED"},
        {"POST", VALIDATE, "", "at", 401, "UNAUTHORIZED"},
        {"POST", VALIDATE, "Bearer ik", "", 401, "UNAUTHORIZED"},
        {"POST", VALIDATE, "", "ik", 400, "BAD_REQUEST"},
        {"POST", ANY_TOKEN, "", "ik", 401, "UNAUTHORIZED"},
        {"POST", ANY_TOKEN, "at", "", 401, "UNAUTHORIZED"},
        {"POST", ANY_TOKEN, "Bearer", "", 401, "UNAUTHORIZED"},
        {"POST", ANY_TOKEN, "Bearerat", "", 401, "UNAUTHORIZED"},
        {"POST", ANY_TOKEN, "Basic at", "", 401, "UNAUTHORIZED"},
        {"POST", ANY_TOKEN, "Bearer a", "", 401, "UNAUTHORIZED"},
        {"POST", ANY_TOKEN, "Bearer at", "", 400, "BAD_REQUEST"},
        {"POST", ANY_TOKEN, " bEARER \t at ", "", 400, "BAD_REQUEST"},
        {"POST", CLIENT_TOKEN, "", "", 401, "UNAUTHORIZED"},
        {"POST", CLIENT_TOKEN, "Bearer at", "", 400, "BAD_REQUEST"},
        {"POST", "/api/workspaces//relay-token", "Bearer at", "", 400, "BAD_REQUEST"},
        {"POST", "/api/workspaces/a/b/relay-token", "Bearer at", "", 404, "NOT_FOUND"},
        {"POST", "/api/workspaces/relay-token", "Bearer at", "", 404, "NOT_FOUND"},
        {"GET", CLIENT_TOKEN, "Bearer at", "", 405, "METHOD_NOT_ALLOWED"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        unsigned status = 0;
        struct platform_request request = {
            .method = slice_str(rows[i].method),
            .path = slice_str(rows[i].path),
            .authorization = slice_str(rows[i].authorization),
            .internal_key = slice_str(rows[i].internal_key),
            .body = SLICE("no JSON"),
        };
        print_message("%s %s %s\n", rows[i].method, rows[i].path, rows[i].authorization);
        json_t *answer = ask(fixture->platform, &request, &status);
        assert_int_equal(status, rows[i].status);
        if (rows[i].reason == NULL) {
            assert_int_equal(json_array_size(json_object_get(answer, "keys")), 1);
        } else {
            assert_true(json_is_false(json_object_get(answer, "ok")));
            assert_string_equal(
                json_string_value(json_object_get(answer, "reason")), rows[i].reason);
        }
        json_decref(answer);
    }
}

static void test_body_limit(void **state)
{
    struct fixture *fixture = *state;
    static char body[PLATFORM_BODY_LEN_MAX + 1];
    memset(body, ' ', sizeof body);
    static const char *const paths[] = {VALIDATE, ANY_TOKEN, CLIENT_TOKEN};
    for (size_t i = 0; i < 3; i++) {
        for (size_t over = 0; over <= 1; over++) {
            unsigned status = 0;
            struct platform_request request = {
                .method = SLICE("POST"),
                .path = slice_str(paths[i]),
                .authorization = SLICE("Bearer at"),
                .internal_key = SLICE("ik"),
                .body = slice_of(body, PLATFORM_BODY_LEN_MAX + over),
            };
            json_t *answer = ask(fixture->platform, &request, &status);
            assert_int_equal(status, over == 0 ? 400 : 413);
            assert_string_equal(json_string_value(json_object_get(answer, "reason")),
                over == 0 ? "BAD_REQUEST" : "BODY_TOO_LARGE");
            json_decref(answer);
        }
    }
}

// A question of the two routes that make tokens, and the claims that come of it (NULL: refused).
static const struct {
    const char *path, *body, *name;
    const char *claim, *text; // one claim to look at
} token_rows[] = {
    {ANY_TOKEN, "{\"role\":\"workspace-daemon\",\"workspaceId\":\"ws\",\"credential\":\"c\"}",
        "relayToken", "role", "workspace-daemon"},
    {ANY_TOKEN,
        "{\"role\":\"worker\",\"workspaceId\":\"ws\",\"runtimeTargetId\":\"rt\","
        "\"ttl_seconds\":3600}",
        "relayToken", "runtimeTargetId", "rt"},
    {ANY_TOKEN,
        "{\"role\":\"client\",\"workspaceId\":\"ws\",\"scope\":\"pairing\",\"clientId\":\"c\","
        "\"installId\":\"i\",\"machineId\":\"m\",\"userId\":\"u\",\"e2eeProfile\":\"noise-ik\","
        "\"sessionChannels\":[\"agent-session:a\"],\"daemonIssueGeneration\":3}",
        "relayToken", "machineId", "m"},
    {ANY_TOKEN, "{\"role\":\"workspace-daemon\",\"workspaceId\":\"ws\",\"scope\":\"pairing\"}",
        "relayToken", NULL, NULL},
    {ANY_TOKEN, "{\"workspaceId\":\"ws\"}", "relayToken", NULL, NULL},
    {ANY_TOKEN, "{\"role\":\"worker\"}", "relayToken", NULL, NULL},
    {ANY_TOKEN, "{\"role\":\"worker\",\"workspaceId\":\"ws\",\"runtimeTargetId\":\"\"}",
        "relayToken", NULL, NULL},
    {ANY_TOKEN, "{\"role\":\"worker\",\"workspaceId\":\"ws\",\"runtimeTargetId\":7}", "relayToken",
        NULL, NULL},
    {ANY_TOKEN, "{\"role\":\"worker\",\"workspaceId\":\"ws\",\"ttl_seconds\":0}", "relayToken",
        NULL, NULL},
    {ANY_TOKEN, "{\"role\":\"worker\",\"workspaceId\":\"ws\",\"ttl_seconds\":\"60\"}", "relayToken",
        NULL, NULL},
    {ANY_TOKEN, "{\"role\":\"worker\",\"workspaceId\":\"ws\",\"ttl_seconds\":99999999}",
        "relayToken", NULL, NULL},
    {ANY_TOKEN, "{\"role\":\"worker\",\"workspaceId\":\"ws\",\"daemonIssueGeneration\":-1}",
        "relayToken", NULL, NULL},
    {ANY_TOKEN, "{\"role\":\"client\",\"workspaceId\":\"ws\",\"sessionChannels\":\"x\"}",
        "relayToken", NULL, NULL},
    {ANY_TOKEN, "{\"role\":\"client\",\"workspaceId\":\"ws\",\"sessionChannels\":[7]}",
        "relayToken", NULL, NULL},
    {ANY_TOKEN, "[]", "relayToken", NULL, NULL},
    {CLIENT_TOKEN, "{\"runtime_target_id\":\"rt\"}", "token", "runtimeTargetId", "rt"},
    {CLIENT_TOKEN, "{}", "token", "workspaceId", "ws"},
    {CLIENT_TOKEN, "{\"role\":\"worker\",\"workspaceId\":\"other\"}", "token", "role", "client"},
    {CLIENT_TOKEN, "{\"scope\":\"session-events\",\"session_channels\":[\"agent-session:a\"]}",
        "token", "scope", "session-events"},
    {CLIENT_TOKEN, "{\"user_id\":\"u\",\"ttl_seconds\":5}", "token", "userId", "u"},
    {CLIENT_TOKEN, "{\"runtime_target_id\":\"a b\"}", "token", NULL, NULL},
    {"/api/workspaces/a%20b/relay-token", "{}", "token", NULL, NULL},
    {CLIENT_TOKEN, "[]", "token", NULL, NULL},
    {CLIENT_TOKEN, "null", "token", NULL, NULL},
};

static void test_making_tokens(void **state)
{
    struct fixture *fixture = *state;
    for (size_t i = 0; i < sizeof token_rows / sizeof token_rows[0]; i++) {
        unsigned status = 0;
        struct platform_request request = {
            .method = SLICE("POST"),
            .path = slice_str(token_rows[i].path),
            .authorization = SLICE("Bearer at"),
            .body = slice_str(token_rows[i].body),
        };
        print_message("%s %s\n", token_rows[i].path, token_rows[i].body);
        json_t *answer = ask(fixture->platform, &request, &status);
        const char *token = json_string_value(json_object_get(answer, token_rows[i].name));
        assert_int_equal(status, token_rows[i].claim == NULL ? 400 : 200);
        assert_int_equal(token != NULL, token_rows[i].claim != NULL);
        assert_int_equal(json_is_true(json_object_get(answer, "ok")), token_rows[i].claim != NULL);
        if (token != NULL) {
            struct jws jws;
            assert_int_equal(jws_parse(slice_str(token), &jws), WEIR_OK);
            assert_true(
                slice_eq(jws_claim_text(&jws, token_rows[i].claim), slice_str(token_rows[i].text)));
            jws_fini(&jws);
        }
        json_decref(answer);
    }
}

// The three routes together: a set, a token, and its admission.
static void test_round_trip(void **state)
{
    struct fixture *fixture = *state;
    unsigned status = 0;
    struct platform_request request = {
        .method = SLICE("POST"),
        .path = SLICE(CLIENT_TOKEN),
        .authorization = SLICE("Bearer at"),
        .body = SLICE("{\"runtime_target_id\":\"rt\"}"),
    };
    json_t *made = ask(fixture->platform, &request, &status);
    struct buf body = BUF_INIT(8192);
    buf_printf(&body,
        "{\"relayToken\":\"%s\",\"role\":\"client\",\"workspaceId\":\"ws\","
        "\"runtimeTargetId\":\"rt\"}",
        json_string_value(json_object_get(made, "token")));
    request = (struct platform_request){
        .method = SLICE("POST"),
        .path = SLICE(VALIDATE),
        .internal_key = SLICE("ik"),
        .body = buf_slice(&body),
    };
    json_t *admitted = ask(fixture->platform, &request, &status);
    assert_int_equal(status, 200);
    json_t *claims = json_object_get(admitted, "claims");
    assert_string_equal(json_string_value(json_object_get(claims, "runtimeTargetId")), "rt");
    assert_true(json_is_integer(json_object_get(claims, "exp")));
    json_decref(admitted);
    json_decref(made);
    buf_reset(&body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths_methods_credentials),
        cmocka_unit_test(test_body_limit),
        cmocka_unit_test(test_making_tokens),
        cmocka_unit_test(test_round_trip),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
