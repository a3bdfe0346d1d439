// SPDX-License-Identifier: Apache-2.0
// The ring of signing keys over time: which one signs, which are published, what tokens of old ones
// are worth.
#include "platform/platform.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>

#include "auth/auth_key.h"
#include "auth/jws.h"
#include "sys/clock.h"

#include "state.h"

#define KEYS 3
#define DAY_MS UINT64_C(86400000)

struct fixture {
    struct state state;
    struct platform *platform;
    struct auth_key keys[KEYS];
    struct buf pems[KEYS];
};

static int setup(void **state)
{
    static struct fixture fixture;
    enum weir_result result;
    state_make(&fixture.state);
    fixture.platform =
        platform_open(fixture.state.dir, &(struct platform_options){.no_key = true}, &result);
    assert_int_equal(result, WEIR_OK);
    assert_false(sys_file_exists(state_path(&fixture.state, "signing.pem")));
    for (size_t i = 0; i < KEYS; i++) {
        buf_init(&fixture.pems[i], 16384);
        assert_int_equal(auth_key_generate(AUTH_RS256, NULL, &fixture.keys[i]), WEIR_OK);
        assert_int_equal(auth_key_write_pem(&fixture.keys[i], &fixture.pems[i]), WEIR_OK);
    }
    *state = &fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    for (size_t i = 0; i < KEYS; i++) {
        auth_key_fini(&fixture->keys[i]);
        buf_reset(&fixture->pems[i]);
    }
    platform_free(fixture->platform);
    state_remove(&fixture->state);
    return 0;
}

static struct platform_key_row row_of(
    const struct fixture *fixture, size_t key, uint64_t signs_from_ms)
{
    return (struct platform_key_row){
        .id = slice_str(fixture->keys[key].id),
        .pem = buf_slice(&fixture->pems[key]),
        .created_ms = signs_from_ms,
        .signs_from_ms = signs_from_ms,
    };
}

static enum weir_result mint(const struct fixture *fixture, struct buf *out)
{
    static const struct relay_token_request request = {
        .role = {"client", 6}, .workspace_id = {"ws", 2}, .daemon_issue_generation = -1};
    return platform_mint_relay_token(fixture->platform, &request, out);
}

static unsigned validate(const struct fixture *fixture, struct slice token)
{
    struct buf body = BUF_INIT(16384);
    struct buf out = BUF_INIT(PLATFORM_ANSWER_LEN_MAX);
    unsigned status = 0;
    buf_printf(&body, "{\"relayToken\":\"%.*s\",\"role\":\"client\",\"workspaceId\":\"ws\"}",
        SLICE_ARG(token));
    assert_int_equal(
        platform_validate(fixture->platform, buf_slice(&body), &out, &status), WEIR_OK);
    buf_reset(&body);
    buf_reset(&out);
    return status;
}

static bool signed_by(struct slice token, const struct auth_key *key)
{
    struct jws jws;
    assert_int_equal(jws_parse(token, &jws), WEIR_OK);
    bool same = slice_eq(jws.key_id, slice_str(key->id));
    jws_fini(&jws);
    return same;
}

static void expect_states(const struct fixture *fixture, size_t count, const char *const *states)
{
    struct platform_key_state seen[KEYS];
    assert_int_equal(platform_describe_keys(fixture->platform, seen, KEYS), count);
    for (size_t i = 0; i < count; i++) {
        assert_string_equal(seen[i].state, states[i]);
    }
}

static size_t published(const struct fixture *fixture)
{
    struct buf out = BUF_INIT(PLATFORM_ANSWER_LEN_MAX);
    assert_int_equal(platform_jwks(fixture->platform, &out), WEIR_OK);
    json_t *root = json_loadb(out.at, out.len, 0, NULL);
    size_t count = json_array_size(json_object_get(root, "keys"));
    json_decref(root);
    buf_reset(&out);
    return count;
}

static void test_life_of_a_key(void **state)
{
    struct fixture *fixture = *state;
    struct buf token = BUF_INIT(16384);
    struct buf again = BUF_INIT(16384);
    uint64_t now_ms = sys_wall_ms();

    // None yet: nothing is signed, and nobody is refused for good.
    assert_false(platform_has_keys(fixture->platform));
    assert_int_equal(mint(fixture, &token), WEIR_NOT_FOUND);
    assert_int_equal(published(fixture), 0);

    struct platform_key_row rows[KEYS] = {
        row_of(fixture, 0, 0), row_of(fixture, 1, now_ms + DAY_MS)};
    assert_int_equal(platform_take_keys(fixture->platform, rows, 2), WEIR_OK);
    expect_states(fixture, 2, (const char *const[]){"signs", "published"});
    assert_int_equal(mint(fixture, &token), WEIR_OK);
    assert_true(signed_by(buf_slice(&token), &fixture->keys[0]));
    assert_int_equal(published(fixture), 2);

    // The second one's time has come: the first is kept for its tokens.
    rows[1] = row_of(fixture, 1, now_ms - DAY_MS);
    assert_int_equal(platform_take_keys(fixture->platform, rows, 2), WEIR_OK);
    expect_states(fixture, 2, (const char *const[]){"kept", "signs"});
    assert_int_equal(mint(fixture, &again), WEIR_OK);
    assert_true(signed_by(buf_slice(&again), &fixture->keys[1]));
    assert_int_equal(validate(fixture, buf_slice(&token)), 200);
    assert_int_equal(validate(fixture, buf_slice(&again)), 200);

    // Past the longest life of a token nothing of it is good.
    rows[1] = row_of(fixture, 1, now_ms - 31 * DAY_MS);
    assert_int_equal(platform_take_keys(fixture->platform, rows, 2), WEIR_OK);
    expect_states(fixture, 2, (const char *const[]){"old", "signs"});
    assert_int_equal(published(fixture), 1);
    assert_int_equal(validate(fixture, buf_slice(&token)), 401);
    assert_int_equal(validate(fixture, buf_slice(&again)), 200);
    buf_reset(&token);
    buf_reset(&again);
}

static void test_rows_that_are_no_keys(void **state)
{
    struct fixture *fixture = *state;
    struct platform_key_row rows[KEYS] = {row_of(fixture, 2, 0), row_of(fixture, 0, 1)};
    assert_int_equal(platform_take_keys(fixture->platform, rows, 1), WEIR_OK);
    rows[0].id = SLICE("another name");
    rows[1].pem = SLICE("no key");
    assert_int_equal(platform_take_keys(fixture->platform, rows, 2), WEIR_MALFORMED);
    expect_states(fixture, 1, (const char *const[]){"signs"});
    rows[0] = row_of(fixture, 1, 0);
    assert_int_equal(platform_take_keys(fixture->platform, rows, 2), WEIR_MALFORMED);
    expect_states(fixture, 1, (const char *const[]){"signs"});
    struct platform_key_state seen;
    assert_int_equal(platform_describe_keys(fixture->platform, &seen, 1), 1);
    assert_string_equal(seen.id, fixture->keys[1].id);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_life_of_a_key),
        cmocka_unit_test(test_rows_that_are_no_keys),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
