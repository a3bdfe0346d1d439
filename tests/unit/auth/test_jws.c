// SPDX-License-Identifier: Apache-2.0
#include "auth/jws.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "auth/mint.h"
#include "base/base64.h"
#include "base/mem.h"

#include "fixtures.h"

// header.claims.signature of texts that are not encoded yet.
static struct slice token_of(const char *header, const char *claims, const char *signature)
{
    static char token[3 * JWS_TOKEN_LEN_MAX];
    size_t len = base64url_encode(header, strlen(header), token);
    token[len++] = '.';
    len += base64url_encode(claims, strlen(claims), token + len);
    token[len++] = '.';
    len += base64url_encode(signature, strlen(signature), token + len);
    return slice_of(token, len);
}

static void test_parse(void **state)
{
    static const struct {
        const char *header, *claims;
        enum weir_result result;
        enum auth_alg alg;
        const char *key_id;
    } rows[] = {
        {"{\"alg\":\"RS256\",\"kid\":\"k\"}", "{}", WEIR_OK, AUTH_RS256, "k"},
        {"{\"alg\":\"HS256\"}", "{}", WEIR_OK, AUTH_HS256, ""},
        {"{\"alg\":\"ES256\",\"kid\":7}", "{}", WEIR_OK, AUTH_ES256, ""},
        {"{\"alg\":\"none\"}", "{}", WEIR_OK, AUTH_ALG_OTHER, ""},
        {"{\"alg\":\"\"}", "{}", WEIR_OK, AUTH_ALG_OTHER, ""},
        {"{\"alg\":256}", "{}", WEIR_MALFORMED, 0, ""},
        {"{\"kid\":\"k\"}", "{}", WEIR_MALFORMED, 0, ""},
        {"{\"alg\":\"RS256\",\"crit\":[]}", "{}", WEIR_MALFORMED, 0, ""},
        {"{\"alg\":\"RS256\",\"alg\":\"HS256\"}", "{}", WEIR_MALFORMED, 0, ""},
        {"{\"alg\":\"RS256\"}", "{\"a\":1,\"a\":2}", WEIR_MALFORMED, 0, ""},
        {"{\"alg\":\"RS256\"}", "[]", WEIR_MALFORMED, 0, ""},
        {"{\"alg\":\"RS256\"}", "1", WEIR_MALFORMED, 0, ""},
        {"{\"alg\":\"RS256\"}", "", WEIR_MALFORMED, 0, ""},
        {"{\"alg\":\"RS256\"}", "{} x", WEIR_MALFORMED, 0, ""},
        {"{\"alg\":\"RS256\"}", "{\"a\":\"\\u0000\"}", WEIR_MALFORMED, 0, ""},
        {"{\"alg\":\"RS256\"}", "{\"a\":\"\xff\"}", WEIR_MALFORMED, 0, ""},
        {"[\"alg\"]", "{}", WEIR_MALFORMED, 0, ""},
        {"", "{}", WEIR_MALFORMED, 0, ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct jws jws;
        struct slice token = token_of(rows[i].header, rows[i].claims, "sig");
        print_message("%s %s\n", rows[i].header, rows[i].claims);
        assert_int_equal(jws_parse(token, &jws), rows[i].result);
        if (rows[i].result == WEIR_OK) {
            assert_int_equal(jws.alg, rows[i].alg);
            assert_true(slice_eq(jws.key_id, slice_str(rows[i].key_id)));
            assert_int_equal(jws.signature_len, 3);
            assert_int_equal(jws.signing_input.len, token.len - 5);
        }
        jws_fini(&jws);
        jws_fini(&jws);
        assert_null(jws.claims);
    }
}

#define HEADER "eyJhbGciOiJSUzI1NiJ9" // {"alg":"RS256"}
#define CLAIMS "e30"                  // {}

static void test_parts(void **state)
{
    static const struct {
        const char *token;
        enum weir_result result;
    } rows[] = {
        {HEADER "." CLAIMS ".", WEIR_OK},
        {HEADER "." CLAIMS ".AAAA", WEIR_OK},
        {HEADER "." CLAIMS, WEIR_MALFORMED},
        {HEADER, WEIR_MALFORMED},
        {"", WEIR_MALFORMED},
        {"..", WEIR_MALFORMED},
        {"." CLAIMS ".AAAA", WEIR_MALFORMED},
        {HEADER "..AAAA", WEIR_MALFORMED},
        {HEADER "." CLAIMS ".AAAA.", WEIR_MALFORMED},
        {HEADER "." CLAIMS ".AAAA.AAAA", WEIR_MALFORMED},
        {HEADER "." CLAIMS ".AAA=", WEIR_MALFORMED},
        {HEADER "." CLAIMS ".AA+A", WEIR_MALFORMED},
        {HEADER "." CLAIMS ".A", WEIR_MALFORMED},
        {HEADER "." CLAIMS ".AB", WEIR_MALFORMED}, // bits left over
        {HEADER "=." CLAIMS ".AAAA", WEIR_MALFORMED},
        {" " HEADER "." CLAIMS ".AAAA", WEIR_MALFORMED},
        {HEADER "." CLAIMS ".AAAA ", WEIR_MALFORMED},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct jws jws;
        print_message("%s\n", rows[i].token);
        assert_int_equal(jws_parse(slice_str(rows[i].token), &jws), rows[i].result);
        jws_fini(&jws);
    }
}

// A token of len bytes, of which the signature takes what is over.
static struct slice long_token(char *text, size_t len)
{
    static const char head[] = HEADER "." CLAIMS ".";
    memset(text, 'A', len);
    memcpy(text, head, sizeof head - 1);
    return slice_of(text, len);
}

static void test_sizes(void **state)
{
    static char text[JWS_TOKEN_LEN_MAX + 1];
    const size_t head_len = sizeof HEADER "." CLAIMS "." - 1;
    struct jws jws;
    (void)state;
    // 1024 bytes are 1366 characters
    assert_int_equal(jws_parse(long_token(text, head_len + 1366), &jws), WEIR_OK);
    assert_int_equal(jws.signature_len, AUTH_SIGNATURE_LEN_MAX);
    jws_fini(&jws);
    assert_int_equal(jws_parse(long_token(text, head_len + 1367), &jws), WEIR_TOO_LARGE);
    assert_int_equal(jws_parse(long_token(text, sizeof text), &jws), WEIR_TOO_LARGE);

    memset(text, 'A', sizeof text);
    assert_int_equal(jws_parse(slice_of(text, JWS_TOKEN_LEN_MAX), &jws), WEIR_MALFORMED);
    // Nothing but brackets, as deep as a token can go.
    static char deep[JWS_TOKEN_LEN_MAX / 4 * 3 - 64];
    memset(deep, '[', sizeof deep - 1);
    assert_int_equal(jws_parse(token_of("{\"alg\":\"RS256\"}", deep, "x"), &jws), WEIR_MALFORMED);
}

static struct auth_key key_of(enum auth_alg alg)
{
    struct auth_key key;
    uint8_t a[300], b[300];
    size_t a_len, b_len = 0;
    const char *first = alg == AUTH_HS256   ? RFC_HS256_KEY
                        : alg == AUTH_RS256 ? FOREIGN_N
                                            : RFC_ES256_X;
    const char *second = alg == AUTH_RS256 ? "AQAB" : alg == AUTH_ES256 ? RFC_ES256_Y : "";
    assert_int_equal(base64url_decode(slice_str(first), a, sizeof a, &a_len), WEIR_OK);
    assert_int_equal(base64url_decode(slice_str(second), b, sizeof b, &b_len), WEIR_OK);
    struct slice x = slice_of((const char *)a, a_len), y = slice_of((const char *)b, b_len);
    assert_int_equal(alg == AUTH_HS256   ? auth_key_from_secret(x, &key)
                     : alg == AUTH_RS256 ? auth_key_from_rsa_numbers(x, y, NULL, &key)
                                         : auth_key_from_p256_point(x, y, NULL, &key),
        WEIR_OK);
    return key;
}

static void test_tokens_of_others(void **state)
{
    static const struct {
        enum auth_alg alg;
        const char *token;
        int64_t expiry;
    } rows[] = {
        {AUTH_HS256, RFC_HS256_TOKEN, RFC_CLAIMS_EXPIRY},
        {AUTH_RS256, FOREIGN_TOKEN, FOREIGN_EXPIRY},
        {AUTH_ES256, RFC_ES256_TOKEN, RFC_CLAIMS_EXPIRY},
    };
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct jws jws;
        int64_t expiry = 0;
        assert_int_equal(jws_parse(slice_str(rows[i].token), &jws), WEIR_OK);
        assert_true(jws_claim_time(&jws, "exp", &expiry));
        assert_int_equal(expiry, rows[i].expiry);
        for (enum auth_alg alg = AUTH_HS256; alg <= AUTH_ES256; alg++) {
            struct auth_key key = key_of(alg);
            assert_int_equal(jws_verify(&jws, &key), alg == rows[i].alg ? WEIR_OK : WEIR_REFUSED);
            auth_key_fini(&key);
        }
        jws_fini(&jws);
    }
}

// The public key's own text as the secret of an HMAC: the classic confusion.
static void test_algorithm_is_the_keys(void **state)
{
    struct auth_key secret, rsa = key_of(AUTH_RS256);
    struct buf token = BUF_INIT(4096);
    struct jws jws;
    (void)state;
    assert_int_equal(auth_key_from_secret(slice_of(FOREIGN_N, 256), &secret), WEIR_OK);
    assert_int_equal(mint_token(&secret, SLICE("{}"), &token), WEIR_OK);
    assert_int_equal(jws_parse(buf_slice(&token), &jws), WEIR_OK);
    assert_int_equal(jws_verify(&jws, &secret), WEIR_OK);
    assert_int_equal(jws_verify(&jws, &rsa), WEIR_REFUSED);
    jws_fini(&jws);
    buf_reset(&token);

    // A signature that fits the key, under a header that names another algorithm.
    char text[512];
    uint8_t mac[AUTH_SIGNATURE_LEN_MAX];
    size_t mac_len = 0;
    int len = snprintf(text, sizeof text, HEADER "." CLAIMS);
    assert_int_equal(auth_key_sign(&secret, slice_of(text, (size_t)len), mac, &mac_len), WEIR_OK);
    text[len] = '.';
    base64url_encode(mac, mac_len, text + len + 1);
    assert_int_equal(jws_parse(slice_str(text), &jws), WEIR_OK);
    assert_int_equal(jws_verify(&jws, &secret), WEIR_REFUSED);
    jws_fini(&jws);

    struct auth_key empty = {0};
    assert_int_equal(jws_parse(token_of("{\"alg\":\"none\"}", "{}", ""), &jws), WEIR_OK);
    assert_int_equal(jws_verify(&jws, &empty), WEIR_REFUSED);
    assert_int_equal(jws_verify(&jws, &rsa), WEIR_REFUSED);
    jws_fini(&jws);
    auth_key_fini(&secret);
    auth_key_fini(&rsa);
}

static void test_claim_time(void **state)
{
    static const struct {
        const char *value;
        bool found;
        int64_t seconds;
    } rows[] = {
        {"0", true, 0},
        {"1.9", true, 1},
        {"-1.1", true, -2},
        {"1e3", true, 1000},
        {"9007199254740992", true, 9007199254740992},
        {"-9007199254740992", true, -9007199254740992},
        {"9007199254740994", false, 0},
        {"9223372036854775807", false, 0},
        {"-9223372036854775808", false, 0},
        {"1e300", false, 0},
        {"\"5\"", false, 0},
        {"null", false, 0},
        {"true", false, 0},
        {"[5]", false, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char claims[64];
        struct jws jws;
        int64_t seconds = 0;
        snprintf(claims, sizeof claims, "{\"exp\":%s}", rows[i].value);
        print_message("%s\n", claims);
        assert_int_equal(jws_parse(token_of("{\"alg\":\"RS256\"}", claims, ""), &jws), WEIR_OK);
        assert_int_equal(jws_claim_time(&jws, "exp", &seconds), rows[i].found);
        assert_int_equal(seconds, rows[i].seconds);
        assert_false(jws_claim_time(&jws, "nbf", &seconds));
        jws_fini(&jws);
    }
}

static void test_audience_and_text(void **state)
{
    static const struct {
        const char *claims;
        bool found;
    } rows[] = {
        {"{\"aud\":\"viewport-relay\"}", true},
        {"{\"aud\":[\"x\",\"viewport-relay\"]}", true},
        {"{\"aud\":[]}", false},
        {"{\"aud\":[[\"viewport-relay\"],7,null]}", false},
        {"{\"aud\":\"viewport\"}", false},
        {"{\"aud\":\"viewport-relay2\"}", false},
        {"{\"aud\":{\"viewport-relay\":1}}", false},
        {"{\"aud\":null}", false},
        {"{}", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct jws jws;
        print_message("%s\n", rows[i].claims);
        assert_int_equal(
            jws_parse(token_of("{\"alg\":\"RS256\"}", rows[i].claims, ""), &jws), WEIR_OK);
        assert_int_equal(jws_has_audience(&jws, SLICE("viewport-relay")), rows[i].found);
        jws_fini(&jws);
    }
    struct jws jws;
    assert_int_equal(
        jws_parse(token_of("{\"alg\":\"RS256\"}", "{\"a\":\"\xc3\xa4\",\"b\":1}", ""), &jws), 0);
    assert_true(slice_eq(jws_claim_text(&jws, "a"), SLICE("\xc3\xa4")));
    assert_int_equal(jws_claim_text(&jws, "b").len, 0);
    assert_int_equal(jws_claim_text(&jws, "c").len, 0);
    jws_fini(&jws);
}

static void test_mint(void **state)
{
    static const enum auth_alg algs[] = {AUTH_HS256, AUTH_RS256, AUTH_ES256};
    const struct slice claims = SLICE("{\"iss\":\"a\",\"exp\":5}");
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct auth_key key;
        struct buf out = BUF_INIT(4096);
        struct jws jws;
        assert_int_equal(algs[i] == AUTH_HS256
                             ? auth_key_from_secret(SLICE("0123456789abcdef0123456789abcdef"), &key)
                             : auth_key_generate(algs[i], NULL, &key),
            WEIR_OK);
        assert_true(auth_key_set_id(&key, SLICE("a\"b")));
        buf_append_str(&out, "before");
        assert_int_equal(mint_token(&key, claims, &out), WEIR_OK);
        assert_int_equal(jws_parse(slice_skip(buf_slice(&out), 6), &jws), WEIR_OK);
        assert_int_equal(jws.alg, algs[i]);
        assert_true(slice_eq(jws.key_id, SLICE("a\"b")));
        assert_string_equal(json_string_value(json_object_get(jws.header, "typ")), "JWT");
        assert_int_equal(json_object_size(jws.header), 3);
        assert_true(slice_eq(jws_claim_text(&jws, "iss"), SLICE("a")));
        assert_int_equal(jws_verify(&jws, &key), WEIR_OK);
        jws_fini(&jws);
        buf_reset(&out);
        auth_key_fini(&key);
    }
}

// Whatever is refused on the way, the buffer is as it was.
static void test_mint_is_all_or_nothing(void **state)
{
    struct auth_key key;
    (void)state;
    assert_int_equal(auth_key_from_secret(SLICE("0123456789abcdef0123456789abcdef"), &key), 0);
    const size_t token_len = 36 + 1 + 3 + 1 + 43; // {"alg":"HS256","typ":"JWT"}.{}.mac
    for (size_t room = 0; room <= token_len + 8; room++) {
        struct buf out = BUF_INIT(6 + room);
        buf_append_str(&out, "before");
        enum weir_result result = mint_token(&key, SLICE("{}"), &out);
        assert_int_equal(result == WEIR_OK ? token_len : 0, out.len - 6);
        assert_true(result == WEIR_OK || result == WEIR_FULL);
        assert_true(result == WEIR_OK || room < token_len + 4); // room that encoding asks for
        assert_memory_equal(out.at, "before", 6);
        assert_false(out.failed);
        buf_reset(&out);
    }
    struct buf out = BUF_INIT(4096);
    enum weir_result result = WEIR_MEMORY;
    unsigned long nth = 0;
    while (result != WEIR_OK && nth < 100) {
        buf_reset(&out);
        mem_fail_at(++nth);
        result = mint_token(&key, SLICE("{}"), &out);
        mem_fail_at(0);
        assert_true(result == WEIR_OK || (result == WEIR_MEMORY && out.len == 0));
    }
    assert_true(result == WEIR_OK && nth > 1);
    buf_reset(&out);
    auth_key_fini(&key);
    struct auth_key public_only = key_of(AUTH_RS256);
    assert_int_equal(mint_token(&public_only, SLICE("{}"), &out), WEIR_CRYPTO);
    assert_int_equal(out.len, 0);
    buf_reset(&out);
    auth_key_fini(&public_only);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_tokens_of_others),
        cmocka_unit_test(test_algorithm_is_the_keys),
        cmocka_unit_test(test_claim_time),
        cmocka_unit_test(test_audience_and_text),
        cmocka_unit_test(test_mint),
        cmocka_unit_test(test_mint_is_all_or_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
