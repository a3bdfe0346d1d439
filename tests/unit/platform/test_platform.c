// SPDX-License-Identifier: Apache-2.0
// The state directory, the tokens made and what the admission call says of them.
#include "platform/platform.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>
#include <jansson.h>

#include "auth/jws.h"
#include "auth/jwt_precheck.h"
#include "auth/mint.h"
#include "base/mem.h"
#include "sys/clock.h"

#include "state.h"

#define TOKEN_SIZE 8192

struct fixture {
    struct state state;
    struct platform *platform;
    struct auth_key signing;
};

static int setup(void **state)
{
    static struct fixture fixture;
    enum weir_result result;
    struct buf pem;
    state_make(&fixture.state);
    fixture.platform = platform_open(fixture.state.dir, NULL, &result);
    assert_int_equal(result, WEIR_OK);
    state_read(&fixture.state, "signing.pem", &pem);
    assert_int_equal(auth_key_from_pem(buf_slice(&pem), NULL, &fixture.signing), WEIR_OK);
    buf_reset(&pem);
    *state = &fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    platform_free(fixture->platform);
    auth_key_fini(&fixture->signing);
    state_remove(&fixture->state);
    return 0;
}

// ---- The state directory ------------------------------------------------------------------------

#define OPENERS 4

// What a process that opens the directory believes its secret and its key to be.
static void report_beliefs(const struct state *files, int fd)
{
    enum weir_result result;
    struct platform *platform = platform_open(files->dir, NULL, &result);
    struct buf beliefs;
    buf_init(&beliefs, 65536);
    if (platform != NULL && buf_append_str(&beliefs, platform_internal_key(platform)) == WEIR_OK &&
        platform_jwks(platform, &beliefs) == WEIR_OK) {
        (void)!write(fd, beliefs.at, beliefs.len);
    }
    _exit(0);
}

// The first start of several processes at once: all go on with the same key and secrets.
static void test_opened_by_several_at_once(void **state)
{
    static char beliefs[OPENERS][8192];
    struct state files;
    int pipes[OPENERS][2];
    pid_t children[OPENERS];
    (void)state;
    state_make(&files);
    for (size_t i = 0; i < OPENERS; i++) {
        assert_int_equal(pipe(pipes[i]), 0);
        children[i] = fork();
        assert_true(children[i] >= 0);
        if (children[i] == 0) {
            report_beliefs(&files, pipes[i][1]);
        }
        close(pipes[i][1]);
    }
    for (size_t i = 0; i < OPENERS; i++) {
        assert_int_equal(waitpid(children[i], NULL, 0), children[i]);
        assert_true(read(pipes[i][0], beliefs[i], sizeof beliefs[i] - 1) > 100);
        close(pipes[i][0]);
        assert_string_equal(beliefs[i], beliefs[0]);
    }
    state_remove(&files);
}

static void test_files(void **state)
{
    struct fixture *fixture = *state;
    static const char *const names[] = {"signing.pem", "internal-key", "admin-token"};
    struct stat st;
    assert_int_equal(stat(fixture->state.dir, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(stat(state_path(&fixture->state, names[i]), &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
    }
    assert_int_equal(strlen(platform_internal_key(fixture->platform)), 64);
    assert_int_equal(strlen(platform_admin_token(fixture->platform)), 64);
    assert_string_not_equal(
        platform_internal_key(fixture->platform), platform_admin_token(fixture->platform));
}

static void test_second_start(void **state)
{
    struct fixture *fixture = *state;
    enum weir_result result;
    struct buf before = BUF_INIT(PLATFORM_ANSWER_LEN_MAX), after = before;
    struct platform *again = platform_open(fixture->state.dir, NULL, &result);
    assert_non_null(again);
    assert_string_equal(platform_internal_key(again), platform_internal_key(fixture->platform));
    assert_string_equal(platform_admin_token(again), platform_admin_token(fixture->platform));
    assert_int_equal(platform_jwks(fixture->platform, &before), WEIR_OK);
    assert_int_equal(platform_jwks(again, &after), WEIR_OK);
    assert_true(slice_eq(buf_slice(&before), buf_slice(&after)));
    platform_free(again);

    const struct platform_options options = {.internal_key = "given", .admin_token = "also given"};
    again = platform_open(fixture->state.dir, &options, &result);
    assert_non_null(again);
    assert_string_equal(platform_internal_key(again), "given");
    assert_string_equal(platform_admin_token(again), "also given");
    platform_free(again);
    platform_free(NULL);
    buf_reset(&before);
    buf_reset(&after);
}

// A file with something else in it ends the start and stays as it is.
static void test_wrong_files(void **state)
{
    struct fixture *fixture = *state;
    struct auth_key curve;
    struct buf curve_pem = BUF_INIT(8192);
    assert_int_equal(auth_key_generate(AUTH_ES256, NULL, &curve), WEIR_OK);
    assert_int_equal(auth_key_write_pem(&curve, &curve_pem), WEIR_OK);
    auth_key_fini(&curve);
    static char large[70000];
    memset(large, 'a', sizeof large);
    const struct {
        const char *name;
        struct slice content;
        enum weir_result result;
    } rows[] = {
        {"signing.pem", SLICE(""), WEIR_MALFORMED},
        {"signing.pem", SLICE("hello\n"), WEIR_MALFORMED},
        {"signing.pem", buf_slice(&curve_pem), WEIR_MALFORMED},
        {"signing.pem", slice_of(large, sizeof large), WEIR_TOO_LARGE},
        {"internal-key", SLICE(""), WEIR_MALFORMED},
        {"internal-key", slice_of(large, 63), WEIR_MALFORMED},
        {"internal-key", slice_of(large, 64), WEIR_OK},
        {"internal-key", slice_of(large, 65), WEIR_MALFORMED},
        {"admin-token", slice_of(large, 300), WEIR_MALFORMED},
        {"admin-token", SLICE("0123456789abcdefABCDEF0123456789abcdef0123456789abcdef0123456789\n"),
            WEIR_OK},
        {"admin-token", SLICE("0123456789abcdefg123456789abcdef0123456789abcdef0123456789abcdef\n"),
            WEIR_MALFORMED},
        {"admin-token",
            SLICE("0123456789abcdef\0"
                  "123456789abcdef0123456789abcdef0123456789abcdef\n"),
            WEIR_MALFORMED},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        enum weir_result result;
        struct buf good, now;
        state_read(&fixture->state, rows[i].name, &good);
        state_write(&fixture->state, rows[i].name, rows[i].content);
        print_message("row %zu: %s\n", i, rows[i].name);
        struct platform *platform = platform_open(fixture->state.dir, NULL, &result);
        assert_int_equal(result, rows[i].result);
        assert_true((platform != NULL) == (result == WEIR_OK));
        platform_free(platform);
        if (rows[i].content.len < 65536) {
            state_read(&fixture->state, rows[i].name, &now);
            assert_true(slice_eq(buf_slice(&now), rows[i].content));
            buf_reset(&now);
        }
        state_write(&fixture->state, rows[i].name, buf_slice(&good));
        buf_reset(&good);
    }
    buf_reset(&curve_pem);
}

static void test_where_it_cannot_be(void **state)
{
    enum weir_result result = WEIR_OK;
    char path[4200];
    (void)state;
    assert_null(platform_open("/proc/nowhere", NULL, &result));
    assert_int_not_equal(result, WEIR_OK);
    memset(path, 'd', sizeof path);
    path[sizeof path - 1] = '\0';
    assert_null(platform_open(path, NULL, &result));
    assert_int_equal(result, WEIR_TOO_LARGE);
}

// The nth allocation fails, for every n: a named result and nothing left behind.
static void test_open_without_memory(void **state)
{
    struct fixture *fixture = *state;
    enum weir_result result = WEIR_MEMORY;
    unsigned long nth = 0;
    while (result != WEIR_OK && nth < 100) {
        mem_fail_at(++nth);
        struct platform *platform = platform_open(fixture->state.dir, NULL, &result);
        mem_fail_at(0);
        assert_true(result == WEIR_OK || result == WEIR_MEMORY);
        platform_free(platform);
    }
    assert_true(result == WEIR_OK && nth > 3);
}

// ---- Tokens -------------------------------------------------------------------------------------

static struct relay_token_request plain_request(const char *role)
{
    return (struct relay_token_request){.role = slice_str(role),
        .workspace_id = SLICE("ws"),
        .runtime_target_id = SLICE("rt"),
        .daemon_issue_generation = -1};
}

static void test_claims(void **state)
{
    struct fixture *fixture = *state;
    const struct slice channels[] = {SLICE("agent-session:a"), SLICE("agent-session:\xc3\xa4")};
    struct relay_token_request request = plain_request("client");
    struct buf token = BUF_INIT(TOKEN_SIZE);
    struct jws jws;
    int64_t issued = 0, expiry = 0;
    request.scope = SLICE("session-events");
    request.client_id = SLICE("cl\"1");
    request.install_id = SLICE("in");
    request.machine_id = SLICE("ma");
    request.user_id = SLICE("us");
    request.session_channels = channels;
    request.session_channel_count = 2;
    request.e2ee_profile = SLICE("noise-ikpsk2");
    request.ttl_s = 7;
    request.daemon_issue_generation = 0;
    assert_int_equal(platform_mint_relay_token(fixture->platform, &request, &token), WEIR_OK);
    assert_int_equal(jws_parse(buf_slice(&token), &jws), WEIR_OK);
    assert_int_equal(jws_verify(&jws, &fixture->signing), WEIR_OK);
    static const char *const texts[][2] = {{"iss", "viewport-server"}, {"aud", "viewport-relay"},
        {"role", "client"}, {"workspaceId", "ws"}, {"runtimeTargetId", "rt"},
        {"scope", "session-events"}, {"clientId", "cl\"1"}, {"installId", "in"},
        {"machineId", "ma"}, {"userId", "us"}, {"e2eeProfile", "noise-ikpsk2"}};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        assert_true(slice_eq(jws_claim_text(&jws, texts[i][0]), slice_str(texts[i][1])));
    }
    assert_true(jws_claim_time(&jws, "iat", &issued) && jws_claim_time(&jws, "exp", &expiry));
    assert_int_equal(expiry - issued, 7);
    assert_true(issued <= (int64_t)(sys_wall_ms() / 1000));
    assert_true(issued + 60 > (int64_t)(sys_wall_ms() / 1000));
    assert_int_equal(jws_claim_text(&jws, "jti").len, 32);
    json_t *list = json_object_get(jws.claims, "sessionChannels");
    assert_int_equal(json_array_size(list), 2);
    assert_string_equal(json_string_value(json_array_get(list, 1)), "agent-session:\xc3\xa4");
    assert_true(json_is_integer(json_object_get(jws.claims, "daemonIssueGeneration")));
    assert_int_equal(json_object_size(jws.claims), 11 + 5);
    jws_fini(&jws);
    buf_reset(&token);
}

static void test_defaults(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        const char *role;
        size_t claim_count;
    } rows[] = {{"client", 10}, {"workspace-daemon", 8}, {"worker", 8}};
    char client_id[64] = "";
    for (size_t i = 0; i < 4; i++) {
        struct relay_token_request request = plain_request(rows[i % 3].role);
        struct buf token = BUF_INIT(TOKEN_SIZE);
        struct jws jws;
        int64_t issued = 0, expiry = 0;
        assert_int_equal(platform_mint_relay_token(fixture->platform, &request, &token), WEIR_OK);
        assert_int_equal(jws_parse(buf_slice(&token), &jws), WEIR_OK);
        assert_int_equal(json_object_size(jws.claims), rows[i % 3].claim_count);
        assert_true(jws_claim_time(&jws, "iat", &issued) && jws_claim_time(&jws, "exp", &expiry));
        assert_int_equal(expiry - issued, PLATFORM_TTL_S_DEFAULT);
        if (i % 3 == 0) {
            struct slice id = jws_claim_text(&jws, "clientId");
            assert_true(slice_eq(jws_claim_text(&jws, "scope"), SLICE("runtime")));
            assert_int_equal(id.len, 32);
            assert_false(slice_eq(id, slice_str(client_id))); // random, so the second is another
            assert_true(slice_to_text(id, client_id, sizeof client_id));
        }
        jws_fini(&jws);
        buf_reset(&token);
    }
}

#define OF(member) offsetof(struct relay_token_request, member)

static void test_rules_of_texts(void **state)
{
    struct fixture *fixture = *state;
    static char long_text[1024];
    static char wide_text[1024]; // U+1F600, two UTF-16 units each
    memset(long_text, 'a', sizeof long_text);
    for (size_t i = 0; i < sizeof wide_text; i++) {
        wide_text[i] = "\xf0\x9f\x98\x80"[i % 4];
    }
    const struct {
        const char *role;
        size_t member;
        struct slice value;
        bool valid;
    } rows[] = {
        {"client", OF(role), SLICE(""), false},
        {"client", OF(role), SLICE("daemon"), false},
        {"client", OF(role), SLICE("Client"), false},
        {"client", OF(role), SLICE("worker"), true},
        {"client", OF(workspace_id), SLICE(""), false},
        {"client", OF(workspace_id), SLICE("a b"), false},
        {"client", OF(workspace_id), SLICE("a/b"), false},
        {"client", OF(workspace_id), SLICE("\xc3\xa4"), false},
        {"client", OF(workspace_id), SLICE("azAZ09._:-"), true},
        {"client", OF(workspace_id), slice_of(long_text, 128), true},
        {"client", OF(workspace_id), slice_of(long_text, 129), false},
        {"client", OF(runtime_target_id), SLICE(""), true},
        {"client", OF(runtime_target_id), SLICE("a@b"), false},
        {"client", OF(runtime_target_id), slice_of(long_text, 129), false},
        {"client", OF(scope), SLICE("runtime"), true},
        {"client", OF(scope), SLICE("pairing"), true},
        {"client", OF(scope), SLICE("session-events"), true},
        {"client", OF(scope), SLICE("all"), false},
        {"workspace-daemon", OF(scope), SLICE("runtime"), false},
        {"worker", OF(scope), SLICE("runtime"), false},
        {"client", OF(client_id), slice_of(long_text, 128), true},
        {"client", OF(client_id), slice_of(long_text, 129), false},
        {"workspace-daemon", OF(client_id), SLICE("c"), false},
        {"client", OF(install_id), slice_of(wide_text, 4 * 64), true},
        {"client", OF(install_id), slice_of(wide_text, 4 * 65), false},
        {"client", OF(install_id), SLICE("\xff"), false},
        {"client", OF(install_id), SLICE("a\0b"), false},
        {"client", OF(user_id), slice_of(long_text, 129), false},
        {"client", OF(machine_id), slice_of(long_text, 255), true},
        {"client", OF(machine_id), slice_of(long_text, 256), false},
        {"client", OF(e2ee_profile), SLICE("noise-ik"), true},
        {"client", OF(e2ee_profile), SLICE("noise-xx"), false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct relay_token_request request = plain_request(rows[i].role);
        struct buf token = BUF_INIT(TOKEN_SIZE);
        *(struct slice *)((char *)&request + rows[i].member) = rows[i].value;
        print_message("row %zu\n", i);
        assert_int_equal(platform_mint_relay_token(fixture->platform, &request, &token),
            rows[i].valid ? WEIR_OK : WEIR_INVALID);
        assert_int_equal(token.len > 0, rows[i].valid);
        buf_reset(&token);
    }
}

static void test_rules_of_channels(void **state)
{
    struct fixture *fixture = *state;
    static char long_text[256] = "agent-session:";
    struct slice many[PLATFORM_CHANNELS_MAX + 1];
    memset(long_text + 14, 'a', sizeof long_text - 14);
    for (size_t i = 0; i < PLATFORM_CHANNELS_MAX + 1; i++) {
        many[i] = SLICE("agent-session:a");
    }
    const struct slice rows[] = {SLICE("agent-session:"), SLICE("agent-sessions:a"), SLICE(""),
        SLICE("agent-session:\n"), SLICE("agent-session:a\r"), SLICE("agent-session:\xff"),
        SLICE("agent-session:a\0"), slice_of(long_text, 256)};
    const struct slice longest = slice_of(long_text, 255);
    struct relay_token_request request = plain_request("client");
    struct buf token = BUF_INIT(TOKEN_SIZE);
    request.session_channel_count = 1;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        request.session_channels = &rows[i];
        print_message("row %zu\n", i);
        assert_int_equal(
            platform_mint_relay_token(fixture->platform, &request, &token), WEIR_INVALID);
    }
    request.session_channels = &longest;
    assert_int_equal(platform_mint_relay_token(fixture->platform, &request, &token), WEIR_OK);
    buf_reset(&token);
    request.session_channels = many;
    request.session_channel_count = PLATFORM_CHANNELS_MAX;
    assert_int_equal(platform_mint_relay_token(fixture->platform, &request, &token), WEIR_OK);
    buf_reset(&token);
    request.session_channel_count++;
    assert_int_equal(platform_mint_relay_token(fixture->platform, &request, &token), WEIR_INVALID);
}

// Each channel may be there, but a relay takes no token of more than 4096 characters.
static void test_token_length(void **state)
{
    struct fixture *fixture = *state;
    static char long_text[255] = "agent-session:";
    struct slice channels[PLATFORM_CHANNELS_MAX];
    struct relay_token_request request = plain_request("client");
    memset(long_text + 14, 'a', sizeof long_text - 14);
    size_t longest = 0;
    request.session_channels = channels;
    for (size_t count = 1; count <= PLATFORM_CHANNELS_MAX; count++) {
        struct buf token = BUF_INIT(TOKEN_SIZE);
        channels[count - 1] = slice_of(long_text, 100 + count);
        request.session_channel_count = count;
        enum weir_result result = platform_mint_relay_token(fixture->platform, &request, &token);
        assert_true(result == WEIR_OK || (result == WEIR_INVALID && token.len == 0));
        assert_true(result == WEIR_OK || longest > 3900);
        longest = token.len > longest ? token.len : longest;
        assert_true(longest <= 4096);
        buf_reset(&token);
    }
}

static void test_rules_of_numbers(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        uint64_t ttl_s;
        int64_t generation;
        enum weir_result result;
    } rows[] = {
        {1, 0, WEIR_OK},
        {PLATFORM_TTL_S_MAX, INT64_MIN, WEIR_OK},
        {PLATFORM_TTL_S_MAX + 1, 0, WEIR_INVALID},
        {UINT64_MAX, 0, WEIR_INVALID},
        {0, 9007199254740991, WEIR_OK},
        {0, 9007199254740992, WEIR_INVALID},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct relay_token_request request = plain_request("workspace-daemon");
        struct buf token = BUF_INIT(TOKEN_SIZE);
        request.ttl_s = rows[i].ttl_s;
        request.daemon_issue_generation = rows[i].generation;
        assert_int_equal(
            platform_mint_relay_token(fixture->platform, &request, &token), rows[i].result);
        buf_reset(&token);
    }
}

// ---- Admission ----------------------------------------------------------------------------------

static void check_validate(
    const struct platform *platform, struct slice body, unsigned status, const char *reason)
{
    struct buf out = BUF_INIT(PLATFORM_ANSWER_LEN_MAX);
    unsigned got = 0;
    assert_int_equal(platform_validate(platform, body, &out, &got), WEIR_OK);
    json_t *answer = json_loadb(out.at, out.len, 0, NULL);
    assert_non_null(answer);
    assert_int_equal(got, status);
    assert_int_equal(json_is_true(json_object_get(answer, "ok")), status == 200);
    if (reason == NULL) {
        assert_true(json_is_object(json_object_get(answer, "claims")));
        assert_null(json_object_get(answer, "reason"));
    } else {
        assert_string_equal(json_string_value(json_object_get(answer, "reason")), reason);
        assert_null(json_object_get(answer, "claims"));
    }
    json_decref(answer);
    buf_reset(&out);
}

static void question_of(struct buf *body, struct slice token, const char *rest)
{
    buf_init(body, PLATFORM_BODY_LEN_MAX + 100);
    buf_printf(body, "{\"relayToken\":\"%.*s\"%s}", SLICE_ARG(token), rest);
    assert_false(body->failed);
}

#define ASKED ",\"role\":\"client\",\"workspaceId\":\"ws\",\"runtimeTargetId\":\"rt\""

static void test_mint_and_validate(void **state)
{
    struct fixture *fixture = *state;
    static const char *const roles[] = {"workspace-daemon", "client", "worker"};
    for (size_t made = 0; made < 3; made++) {
        struct relay_token_request request = plain_request(roles[made]);
        struct buf token = BUF_INIT(TOKEN_SIZE);
        assert_int_equal(platform_mint_relay_token(fixture->platform, &request, &token), WEIR_OK);
        for (size_t asked = 0; asked < 3; asked++) {
            char rest[128];
            struct buf body;
            snprintf(rest, sizeof rest,
                ",\"role\":\"%s\",\"workspaceId\":\"ws\",\"runtimeTargetId\":\"rt\"", roles[asked]);
            question_of(&body, buf_slice(&token), rest);
            check_validate(fixture->platform, buf_slice(&body), made == asked ? 200 : 403,
                made == asked ? NULL : "ROLE_MISMATCH");
            buf_reset(&body);
        }
        buf_reset(&token);
    }
}

// What is asked, against a token of a client of (ws, rt), and against one without a target.
static void test_what_is_asked(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        const char *rest;
        bool token_without_target;
        unsigned status;
        const char *reason;
    } rows[] = {
        {ASKED, false, 200, NULL},
        {ASKED ",\"more\":1", false, 200, NULL},
        {",\"role\":\"client\",\"workspaceId\":\"ws\"", true, 200, NULL},
        {",\"role\":\"client\",\"workspaceId\":\"ws\"", false, 200, NULL},
        {ASKED, true, 403, "RUNTIME_TARGET_MISMATCH"},
        {",\"role\":\"client\",\"workspaceId\":\"ws\",\"runtimeTargetId\":\"rT\"", false, 403,
            "RUNTIME_TARGET_MISMATCH"},
        {",\"role\":\"client\",\"workspaceId\":\"w\",\"runtimeTargetId\":\"rt\"", false, 403,
            "WORKSPACE_MISMATCH"},
        {",\"role\":\"worker\",\"workspaceId\":\"w\"", false, 403, "ROLE_MISMATCH"},
        {"", false, 400, "BAD_REQUEST"},
        {",\"role\":\"client\"", false, 400, "BAD_REQUEST"},
        {",\"workspaceId\":\"ws\"", false, 400, "BAD_REQUEST"},
        {",\"role\":\"admin\",\"workspaceId\":\"ws\"", false, 400, "BAD_REQUEST"},
        {",\"role\":\"client\",\"workspaceId\":\"w s\"", false, 400, "BAD_REQUEST"},
        {",\"role\":\"client\",\"workspaceId\":\"ws\",\"runtimeTargetId\":\"\"", false, 400,
            "BAD_REQUEST"},
        {",\"role\":\"client\",\"workspaceId\":\"ws\",\"runtimeTargetId\":null", false, 400,
            "BAD_REQUEST"},
        {ASKED ",\"role\":\"client\"", false, 400, "BAD_REQUEST"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct relay_token_request request = plain_request("client");
        struct buf token = BUF_INIT(TOKEN_SIZE), body;
        if (rows[i].token_without_target) {
            request.runtime_target_id = SLICE_EMPTY;
        }
        assert_int_equal(platform_mint_relay_token(fixture->platform, &request, &token), WEIR_OK);
        question_of(&body, buf_slice(&token), rows[i].rest);
        print_message("%s\n", rows[i].rest);
        check_validate(fixture->platform, buf_slice(&body), rows[i].status, rows[i].reason);
        buf_reset(&body);
        buf_reset(&token);
    }
}

static void test_no_questions(void **state)
{
    struct fixture *fixture = *state;
    static const char *const rows[] = {"", "{}", "[]", "null", "{\"relayToken\":5}", "{", "\xff"};
    static char large[PLATFORM_BODY_LEN_MAX + 1];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        check_validate(fixture->platform, slice_str(rows[i]), 400, "BAD_REQUEST");
    }
    memset(large, ' ', sizeof large);
    check_validate(fixture->platform, slice_of(large, sizeof large), 400, "BAD_REQUEST");
}

#define GOOD "\"iss\":\"viewport-server\",\"aud\":\"viewport-relay\""
#define OWN ",\"role\":\"client\",\"workspaceId\":\"ws\",\"runtimeTargetId\":\"rt\""

// Tokens of our own key that platform_mint_relay_token would not make.
static void test_claims_of_tokens(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        const char *claims;
        int64_t exp, nbf; // from now; 0: "nbf" is not there
        unsigned status;
        const char *reason;
    } rows[] = {
        {GOOD OWN, 60, 0, 200, NULL},
        {GOOD OWN, -20, 0, 200, NULL},
        {GOOD OWN, -40, 0, 401, "TOKEN_EXPIRED"},
        {"\"iss\":\"x\"", -40, 0, 401, "TOKEN_EXPIRED"},
        {GOOD OWN, 60, -5, 200, NULL},
        {GOOD OWN, 60, 20, 200, NULL},
        {GOOD OWN, 60, 50, 401, "TOKEN_NOT_YET_VALID"},
        {"\"iss\":\"other\",\"aud\":\"viewport-relay\"" OWN, 60, 0, 401, "ISSUER_MISMATCH"},
        {"\"aud\":\"viewport-relay\"" OWN, 60, 0, 401, "ISSUER_MISMATCH"},
        {"\"iss\":\"viewport-server\",\"aud\":\"other\"" OWN, 60, 0, 401, "AUDIENCE_MISMATCH"},
        {"\"iss\":\"viewport-server\"" OWN, 60, 0, 401, "AUDIENCE_MISMATCH"},
        {"\"iss\":\"viewport-server\",\"aud\":[\"a\",\"viewport-relay\"]" OWN, 60, 0, 200, NULL},
        {GOOD, 60, 0, 403, "ROLE_MISMATCH"},
        {GOOD ",\"role\":\"client\"", 60, 0, 403, "WORKSPACE_MISMATCH"},
        {GOOD ",\"role\":\"client\",\"workspaceId\":\"ws\"", 60, 0, 403, "RUNTIME_TARGET_MISMATCH"},
    };
    int64_t now = (int64_t)(sys_wall_ms() / 1000);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf claims = BUF_INIT(1024), token = BUF_INIT(TOKEN_SIZE), body;
        buf_printf(&claims, "{%s,\"exp\":%lld", rows[i].claims, (long long)(now + rows[i].exp));
        if (rows[i].nbf != 0) {
            buf_printf(&claims, ",\"nbf\":%lld", (long long)(now + rows[i].nbf));
        }
        buf_append_byte(&claims, '}');
        assert_int_equal(mint_token(&fixture->signing, buf_slice(&claims), &token), WEIR_OK);
        question_of(&body, buf_slice(&token), ASKED);
        print_message("row %zu: %s\n", i, rows[i].claims);
        check_validate(fixture->platform, buf_slice(&body), rows[i].status, rows[i].reason);
        buf_reset(&body);
        buf_reset(&claims);
        buf_reset(&token);
    }
}

static void test_times_that_are_none(void **state)
{
    struct fixture *fixture = *state;
    static const char *const rows[] = {"{" GOOD OWN "}", "{" GOOD OWN ",\"exp\":\"9999999999\"}",
        "{" GOOD OWN ",\"exp\":9999999999,\"nbf\":\"0\"}"};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf token = BUF_INIT(TOKEN_SIZE), body;
        assert_int_equal(mint_token(&fixture->signing, slice_str(rows[i]), &token), WEIR_OK);
        question_of(&body, buf_slice(&token), ASKED);
        check_validate(fixture->platform, buf_slice(&body), 401, "INVALID_TOKEN");
        buf_reset(&body);
        buf_reset(&token);
    }
}

static void test_signatures(void **state)
{
    struct fixture *fixture = *state;
    struct auth_key stranger, secret;
    struct buf body, token = BUF_INIT(TOKEN_SIZE);
    const struct slice claims = SLICE("{" GOOD OWN ",\"exp\":9999999999}");
    assert_int_equal(auth_key_generate(AUTH_RS256, NULL, &stranger), WEIR_OK);
    assert_int_equal(mint_token(&stranger, claims, &token), WEIR_OK);
    question_of(&body, buf_slice(&token), ASKED);
    check_validate(fixture->platform, buf_slice(&body), 401, "UNKNOWN_KEY");
    buf_reset(&body);
    buf_reset(&token);

    assert_true(auth_key_set_id(&stranger, slice_str(fixture->signing.id)));
    assert_int_equal(mint_token(&stranger, claims, &token), WEIR_OK);
    question_of(&body, buf_slice(&token), ASKED);
    check_validate(fixture->platform, buf_slice(&body), 401, "INVALID_SIGNATURE");
    buf_reset(&body);
    buf_reset(&token);

    // Another algorithm under our key's id.
    assert_int_equal(
        auth_key_from_secret(slice_str(platform_internal_key(fixture->platform)), &secret), 0);
    assert_true(auth_key_set_id(&secret, slice_str(fixture->signing.id)));
    assert_int_equal(mint_token(&secret, claims, &token), WEIR_OK);
    question_of(&body, buf_slice(&token), ASKED);
    check_validate(fixture->platform, buf_slice(&body), 401, "INVALID_SIGNATURE");
    buf_reset(&body);
    buf_reset(&token);

    question_of(&body, SLICE("opaque-token"), ASKED);
    check_validate(fixture->platform, buf_slice(&body), 401, "INVALID_TOKEN");
    buf_reset(&body);
    auth_key_fini(&stranger);
    auth_key_fini(&secret);
}

// The relay's own look at a token agrees with the set the platform shows.
static void test_precheck_with_own_set(void **state)
{
    struct fixture *fixture = *state;
    struct relay_token_request request = plain_request("client");
    struct buf set = BUF_INIT(PLATFORM_ANSWER_LEN_MAX), token = BUF_INIT(TOKEN_SIZE);
    struct jwks *jwks = NULL;
    assert_int_equal(platform_jwks(fixture->platform, &set), WEIR_OK);
    assert_int_equal(jwks_parse(buf_slice(&set), NULL, &jwks), WEIR_OK);
    assert_int_equal(platform_mint_relay_token(fixture->platform, &request, &token), WEIR_OK);
    assert_int_equal(jwt_precheck(buf_slice(&token), jwks, sys_wall_ms()), PRECHECK_PASS);
    jwks_free(jwks);
    buf_reset(&set);
    buf_reset(&token);
}

static void test_validate_without_memory(void **state)
{
    struct fixture *fixture = *state;
    struct relay_token_request request = plain_request("client");
    struct buf token = BUF_INIT(TOKEN_SIZE), body;
    assert_int_equal(platform_mint_relay_token(fixture->platform, &request, &token), WEIR_OK);
    question_of(&body, buf_slice(&token), ASKED);
    enum weir_result result = WEIR_MEMORY;
    unsigned long nth = 0;
    while (result != WEIR_OK && nth < 100) {
        struct buf out = BUF_INIT(PLATFORM_ANSWER_LEN_MAX);
        unsigned status = 0;
        mem_fail_at(++nth);
        result = platform_validate(fixture->platform, buf_slice(&body), &out, &status);
        mem_fail_at(0);
        assert_true(result == WEIR_MEMORY || (result == WEIR_OK && status == 200));
        buf_reset(&out);
    }
    assert_true(result == WEIR_OK && nth > 1);
    buf_reset(&body);
    buf_reset(&token);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_opened_by_several_at_once),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_second_start),
        cmocka_unit_test(test_wrong_files),
        cmocka_unit_test(test_where_it_cannot_be),
        cmocka_unit_test(test_open_without_memory),
        cmocka_unit_test(test_claims),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_rules_of_texts),
        cmocka_unit_test(test_rules_of_channels),
        cmocka_unit_test(test_token_length),
        cmocka_unit_test(test_rules_of_numbers),
        cmocka_unit_test(test_mint_and_validate),
        cmocka_unit_test(test_what_is_asked),
        cmocka_unit_test(test_no_questions),
        cmocka_unit_test(test_claims_of_tokens),
        cmocka_unit_test(test_times_that_are_none),
        cmocka_unit_test(test_signatures),
        cmocka_unit_test(test_precheck_with_own_set),
        cmocka_unit_test(test_validate_without_memory),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
