// SPDX-License-Identifier: Apache-2.0
// Spec section 7: who gets in, and how far.
#include "engine/control/token.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>

#include "base/base64.h"
#include "base/time.h"
#include "engine/control/tunnel.h"

#define SECRET "a secret of thirty-two bytes or so"
#define NOW_MS 1800000000000
#define NOW "1800000000"
#define HS256 "{\"alg\":\"HS256\",\"typ\":\"JWT\"}"
#define TOKEN_MAX 20000

// Signed by libcrypto's own HMAC with the secret as it is written.
static struct slice token_of(const char *header, const char *claims, struct slice secret)
{
    static char token[TOKEN_MAX];
    uint8_t mac[32];
    size_t len = base64url_encode(header, strlen(header), token);
    token[len++] = '.';
    len += base64url_encode(claims, strlen(claims), token + len);
    HMAC(EVP_sha256(), secret.at, (int)secret.len, (const uint8_t *)token, len, mac, NULL);
    token[len++] = '.';
    len += base64url_encode(mac, sizeof mac, token + len);
    return slice_of(token, len);
}

static struct token *read(const char *claims)
{
    const char *reason = NULL;
    struct token *token =
        token_read(token_of(HS256, claims, SLICE(SECRET)), SLICE(SECRET), NOW_MS, &reason);
    assert_int_equal(token == NULL, reason != NULL);
    return token;
}

static void test_claims(void **state)
{
    static const struct {
        const char *claims;
        bool good;
    } rows[] = {
        {"{}", true},
        {"{\"exp\":1800000001}", true},
        {"{\"exp\":1799999971}", true}, // within the leeway
        {"{\"exp\":1799999970}", false},
        {"{\"exp\":0}", false},
        {"{\"exp\":-1}", false},
        {"{\"exp\":1e300}", false},
        {"{\"exp\":9007199254740992}", true},
        {"{\"exp\":\"2000000000\"}", false},
        {"{\"exp\":null}", false},
        {"{\"nbf\":1800000030}", true},
        {"{\"nbf\":1800000031}", false},
        {"{\"nbf\":true}", false},
        {"{\"iat\":\"whenever\",\"aud\":7,\"iss\":null,\"jti\":[],\"metadata\":{\"engine\":1}}",
            true},
        {"{\"type\":\"app\",\"clientId\":\"c\",\"userId\":\"u\"}", true},
        {"{\"userId\":null}", true},
        {"{\"userId\":1}", false},
        {"{\"permissions\":null}", true},
        {"{\"permissions\":\"tunnels.resources.read-only\"}", false},
        {"{\"permissions\":{}}", false},
        {"{\"permissions\":[1]}", false},
        {"{\"resources\":null}", true},
        {"{\"resources\":{}}", true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        print_message("%s\n", rows[i].claims);
        struct token *token = read(rows[i].claims);
        assert_int_equal(token != NULL, rows[i].good);
        token_free(token);
    }
}

static void test_forged(void **state)
{
    static const struct {
        const char *header;
        const char *secret;
    } rows[] = {
        {HS256, "another secret"},
        {HS256, ""},
        {HS256, SECRET "\n"},
        {"{\"alg\":\"none\"}", SECRET},
        {"{\"alg\":\"None\"}", SECRET},
        {"{\"alg\":\"\"}", SECRET},
        {"{\"alg\":\"HS384\"}", SECRET},
        {"{\"alg\":\"hs256\"}", SECRET},
        {"{\"alg\":\"RS256\"}", SECRET},
        {"{\"alg\":\"ES256\"}", SECRET},
        {"{\"typ\":\"JWT\"}", SECRET},
        {"{\"alg\":\"HS256\",\"crit\":[\"exp\"]}", SECRET},
        {"{\"alg\":\"none\",\"alg\":\"HS256\"}", SECRET},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *reason = NULL;
        struct slice text = token_of(rows[i].header, "{}", slice_str(rows[i].secret));
        print_message("%s\n", rows[i].header);
        assert_null(token_read(text, SLICE(SECRET), NOW_MS, &reason));
        assert_non_null(reason);
    }
}

// Every other byte somewhere in a good token, and every part of it.
static void test_altered(void **state)
{
    (void)state;
    char copy[512];
    const char *reason;
    struct slice good = token_of(HS256, "{\"exp\":2000000000}", SLICE(SECRET));
    assert_true(good.len < sizeof copy);
    for (size_t i = 0; i < good.len; i++) {
        memcpy(copy, good.at, good.len);
        copy[i] = copy[i] == 'A' ? 'B' : 'A';
        assert_null(token_read(slice_of(copy, good.len), SLICE(SECRET), NOW_MS, &reason));
        assert_null(token_read(slice_of(good.at, i), SLICE(SECRET), NOW_MS, &reason));
    }
    struct token *token = token_read(good, SLICE(SECRET), NOW_MS, &reason);
    assert_non_null(token);
    token_free(token);
}

static void test_no_token(void **state)
{
    static const char *const texts[] = {"", ".", "..", "...", "a.b.c", "Bearer", "{}"};
    (void)state;
    const char *reason;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        assert_null(token_read(slice_str(texts[i]), SLICE(SECRET), NOW_MS, &reason));
    }
    // Nobody can sign with a secret that is not there.
    assert_null(token_read(token_of(HS256, "{}", SLICE("")), SLICE_EMPTY, NOW_MS, &reason));
    static char claims[9000];
    snprintf(claims, sizeof claims, "{\"pad\":\"%08000d\"}", 0);
    assert_null(token_read(token_of(HS256, claims, SLICE(SECRET)), SLICE(SECRET), NOW_MS, &reason));
}

static void test_secrets_of_any_length(void **state)
{
    (void)state;
    char secret[300];
    for (size_t len = 1; len < sizeof secret; len++) {
        const char *reason;
        memset(secret, (int)('a' + len % 26), sizeof secret);
        struct slice text = token_of(HS256, "{}", slice_of(secret, len));
        struct token *token = token_read(text, slice_of(secret, len), NOW_MS, &reason);
        assert_non_null(token);
        token_free(token);
    }
}

static void test_expiry(void **state)
{
    (void)state;
    struct token *token = read("{\"exp\":1800000100}");
    assert_int_equal(token_expires_ms(token), 1800000130000);
    token_free(token);
    token = read("{}");
    assert_int_equal(token_expires_ms(token), TIME_NEVER);
    token_free(token);
}

static void expect_same(const char *one, const char *other, bool same)
{
    struct token *a = read(one);
    struct token *b = read(other);
    assert_int_equal(strlen(token_identity(a)), 64);
    assert_int_equal(strcmp(token_identity(a), token_identity(b)) == 0, same);
    token_free(a);
    token_free(b);
}

static void test_identity(void **state)
{
    (void)state;
    expect_same("{\"sub\":\"a\",\"exp\":1800000100}", "{\"sub\":\"a\"}", true);
    expect_same("{\"sub\":\"a\"}", "{\"sub\":\"b\"}", false);
    expect_same("{\"jti\":\"1\"}", "{\"jti\":\"1\"}", true);
    expect_same("{\"jti\":\"1\"}", "{\"jti\":\"2\"}", false);
    expect_same("{\"sub\":\"\",\"jti\":\"1\"}", "{\"sub\":\"\",\"jti\":\"2\"}", false);
    struct token *token = read("{\"userId\":\"u\"}");
    assert_true(slice_eq(token_user_id(token), SLICE("u")));
    token_free(token);
}

static void test_permissions(void **state)
{
    static const struct {
        const char *claims;
        unsigned permissions;
    } rows[] = {
        {"{}", TOKEN_READ | TOKEN_CREATE | TOKEN_DIAL},
        {"{\"permissions\":null}", TOKEN_READ | TOKEN_CREATE | TOKEN_DIAL},
        {"{\"permissions\":[]}", 0},
        {"{\"permissions\":[\"tunnels.resources.read-only\"]}", TOKEN_READ},
        {"{\"permissions\":[\"tunnels.tunnels.create-delete\"]}", TOKEN_CREATE},
        {"{\"permissions\":[\"tunnels.streams.create-delete\",\"webtty.x\"]}", TOKEN_DIAL},
        {"{\"permissions\":[\"tunnels\",\"*\",\"\"]}", 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct token *token = read(rows[i].claims);
        assert_non_null(token);
        for (unsigned bit = TOKEN_READ; bit <= TOKEN_DIAL; bit *= 2) {
            assert_int_equal(
                token_permits(token, (enum token_permission)bit), (rows[i].permissions & bit) != 0);
        }
        token_free(token);
    }
}

// ---- Resource scopes (7.5).

static const struct tunnel tunnel = {.id = "t",
    .name = "db",
    .user_id = {"", 0},
    .hostname = "a.t.edge.example.com",
    .published = true,
    .properties = {.protocol = {"http", 4}}};

#define LEAF(text) "{\"scopes\":{\"tunnels\":{" text "}}}"
#define YES LEAF("\"create\":true,\"connect\":true,\"list\":true")
#define NO LEAF("\"create\":false,\"connect\":false,\"list\":false")
#define ALL_3 (1u << SCOPE_CREATE | 1u << SCOPE_CONNECT | 1u << SCOPE_LIST)

static void test_scopes(void **state)
{
    static const struct {
        const char *tunnels;
        unsigned allowed;
    } rows[] = {
        {YES, ALL_3}, {NO, 0}, {LEAF(""), ALL_3}, {"{}", ALL_3},
        {LEAF("\"create\":false"), 1u << SCOPE_CONNECT | 1u << SCOPE_LIST},
        {LEAF("\"list\":false"), 1u << SCOPE_CREATE | 1u << SCOPE_CONNECT},
        {LEAF("\"create\":{}"), ALL_3}, {LEAF("\"create\":{\"filters\":{\"name\":\"db\"}}"), ALL_3},
        {LEAF("\"create\":{\"filters\":{\"name\":\"x\"}}"), 1u << SCOPE_CONNECT | 1u << SCOPE_LIST},
        {LEAF("\"connect\":{\"filters\":{\"protocol\":\"http\",\"publish\":true}}"), ALL_3},
        {LEAF("\"list\":{\"filters\":{\"publish\":false}}"),
            1u << SCOPE_CREATE | 1u << SCOPE_CONNECT},
        // Not understood: closed.
        {LEAF("\"create\":null"), 1u << SCOPE_CONNECT | 1u << SCOPE_LIST},
        {LEAF("\"create\":1"), 1u << SCOPE_CONNECT | 1u << SCOPE_LIST},
        {LEAF("\"create\":{\"filters\":{\"nom\":\"db\"}}"), 1u << SCOPE_CONNECT | 1u << SCOPE_LIST},
        {LEAF("\"create\":{\"filters\":null}"), 1u << SCOPE_CONNECT | 1u << SCOPE_LIST},
        {LEAF("\"create\":{\"params\":{}}"), 1u << SCOPE_CONNECT | 1u << SCOPE_LIST},
        {LEAF("\"list\":{\"select\":[\"id\"]}"), 1u << SCOPE_CREATE | 1u << SCOPE_CONNECT},
        {LEAF("\"connect\":{\"params\":{}}"), ALL_3},
        {LEAF("\"connect\":{\"params\":{\"path\":\"/\"}}"), 1u << SCOPE_CREATE | 1u << SCOPE_LIST},
        {LEAF("\"connect\":{\"params\":{\"port\":1}}"), 1u << SCOPE_CREATE | 1u << SCOPE_LIST},
        {LEAF("\"connect\":{\"params\":null}"), 1u << SCOPE_CREATE | 1u << SCOPE_LIST},
        {LEAF("\"delete\":true"), 0}, {"{\"scopes\":{\"tunnels\":{},\"streams\":{}}}", 0},
        {"{\"scopes\":{\"webtty\":{}}}", 0}, {"{\"scopes\":{}}", 0}, {"{\"scopes\":null}", 0},
        {"{\"scopes\":{\"tunnels\":true}}", 0},
        {"{\"workspaces\":[\"*\"],\"scopes\":{\"tunnels\":{}}}", ALL_3},
        {"{\"projects\":[\"p\",\"*\"],\"scopes\":{\"tunnels\":{}}}", ALL_3},
        {"{\"workspaces\":[\"w\"],\"scopes\":{\"tunnels\":{}}}", 0},
        {"{\"projects\":[],\"scopes\":{\"tunnels\":{}}}", 0}, {"{\"projects\":null}", 0},
        {"{\"region\":\"eu\"}", 0}, {"true", 0}, {"null", 0}, {"[]", 0},
        // Joined.
        {"{\"AND\":[" YES "," YES "]}", ALL_3}, {"{\"AND\":[" YES "," NO "]}", 0},
        {"{\"OR\":[" NO "," YES "]}", ALL_3}, {"{\"OR\":[" NO "," NO "]}", 0},
        {"{\"OR\":[" NO ",{\"AND\":[" YES "," LEAF("\"list\":false") "]}]}",
            1u << SCOPE_CREATE | 1u << SCOPE_CONNECT},
        {"{\"OR\":[]}", 0}, {"{\"AND\":[]}", 0}, {"{\"AND\":{}}", 0},
        {"{\"AND\":[" YES "],\"OR\":[" YES "]}", 0}, {"{\"OR\":[" YES "],\"scopes\":{}}", 0},
        {"{\"AND\":[" YES ",7]}", 0}, {"{\"OR\":[" YES ",7]}", ALL_3},
        {"{\"OR\":[{\"OR\":[{\"OR\":[{\"OR\":[{\"OR\":[{\"OR\":[{\"OR\":[{\"OR\":[{\"OR\":[" YES
         "]}]}]}]}]}]}]}]}]}",
            0}, // too deep
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char claims[2048];
        snprintf(claims, sizeof claims, "{\"resources\":{\"tunnels\":%s}}", rows[i].tunnels);
        print_message("%s\n", rows[i].tunnels);
        struct token *token = read(claims);
        assert_non_null(token);
        for (unsigned action = 0; action < SCOPE_ACTION_COUNT; action++) {
            assert_int_equal(token_reaches(token, (enum scope_action)action, &tunnel),
                (rows[i].allowed & 1u << action) != 0);
        }
        token_free(token);
    }
}

static void test_resources_of_other_things(void **state)
{
    static const char *const claims[] = {"{\"resources\":{\"webtty\":{}}}",
        "{\"resources\":{\"tunnels\":" YES ",\"webtty\":{}}}", "{\"resources\":[]}",
        "{\"resources\":true}", "{\"resources\":{\"AND\":[" YES "]}}"};
    (void)state;
    for (size_t i = 0; i < sizeof claims / sizeof claims[0]; i++) {
        struct token *token = read(claims[i]);
        assert_non_null(token);
        assert_false(token_reaches(token, SCOPE_LIST, &tunnel));
        token_free(token);
    }
}

#define DIAL_ONLY "\"permissions\":[\"tunnels.streams.create-delete\"]"
#define CONNECT(text) "\"resources\":{\"tunnels\":" LEAF("\"connect\":" text) "}"

static void test_paths(void **state)
{
    static const struct {
        const char *claims;
        const char *path;
        bool opens;
    } rows[] = {
        {"{}", "/a", true},
        {"{" DIAL_ONLY "}", "/a", true},
        {"{\"permissions\":[]}", "/a", false},
        {"{\"permissions\":[\"tunnels.resources.read-only\"]}", "/a", false},
        // A connect scope of its own is enough, and it narrows.
        {"{\"permissions\":[]," CONNECT("true") "}", "/a", true},
        {"{" DIAL_ONLY "," CONNECT("false") "}", "/a", false},
        {"{\"permissions\":[]," CONNECT("{\"params\":{\"path\":\"/a\"}}") "}", "/a", true},
        {"{\"permissions\":[]," CONNECT("{\"params\":{\"path\":\"/a\"}}") "}", "/a/", false},
        {"{\"permissions\":[]," CONNECT("{\"params\":{\"path\":\"/a\"}}") "}", "/ab", false},
        {"{" CONNECT("{\"params\":{\"path\":\"/a/*\"}}") "}", "/a/b/c", true},
        {"{" CONNECT("{\"params\":{\"path\":\"/a/*\"}}") "}", "/a", false},
        {"{" CONNECT("{\"params\":{\"path\":\"/a/*\"}}") "}", "/ab", false},
        {"{" CONNECT("{\"params\":{\"path\":\"/*\"}}") "}", "/anything", true},
        {"{" CONNECT("{\"filters\":{\"name\":\"other\"}}") "}", "/a", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct token *token = read(rows[i].claims);
        print_message("%s %s\n", rows[i].claims, rows[i].path);
        assert_non_null(token);
        assert_int_equal(token_opens_path(token, &tunnel, slice_str(rows[i].path)), rows[i].opens);
        token_free(token);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_claims),
        cmocka_unit_test(test_forged),
        cmocka_unit_test(test_altered),
        cmocka_unit_test(test_no_token),
        cmocka_unit_test(test_secrets_of_any_length),
        cmocka_unit_test(test_expiry),
        cmocka_unit_test(test_identity),
        cmocka_unit_test(test_permissions),
        cmocka_unit_test(test_scopes),
        cmocka_unit_test(test_resources_of_other_things),
        cmocka_unit_test(test_paths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
