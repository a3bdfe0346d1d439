// SPDX-License-Identifier: Apache-2.0
#include "auth/jwt_precheck.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "auth/mint.h"
#include "proto/json_write.h"

#include "fixtures.h"

#define NOW_S 1000000000u

enum signer { KNOWN, STRANGER, SECRET, CURVE, SIGNER_COUNT };

struct fixture {
    struct auth_key keys[SIGNER_COUNT];
    struct jwks *jwks;
};

static int setup(void **state)
{
    static struct fixture fixture;
    struct buf set = BUF_INIT(8192);
    struct json_writer writer;
    assert_int_equal(auth_key_generate(AUTH_RS256, NULL, &fixture.keys[KNOWN]), WEIR_OK);
    assert_int_equal(auth_key_generate(AUTH_RS256, NULL, &fixture.keys[STRANGER]), WEIR_OK);
    assert_int_equal(auth_key_generate(AUTH_ES256, NULL, &fixture.keys[CURVE]), WEIR_OK);
    assert_int_equal(
        auth_key_from_secret(SLICE("0123456789abcdef0123456789abcdef"), &fixture.keys[SECRET]),
        WEIR_OK);
    // The set: a foreign key and ours under one id, and a P-256 key.
    assert_true(auth_key_set_id(&fixture.keys[KNOWN], SLICE("k1")));
    assert_true(auth_key_set_id(&fixture.keys[CURVE], SLICE("ec")));
    json_writer_init(&writer, &set);
    jsonw_object_begin(&writer, NULL);
    jsonw_array_begin(&writer, "keys");
    jsonw_raw(&writer, NULL,
        SLICE("{\"kty\":\"RSA\",\"kid\":\"k1\",\"e\":\"AQAB\",\"n\":\"" FOREIGN_N "\"}"));
    assert_int_equal(auth_key_write_jwk(&fixture.keys[KNOWN], &writer), WEIR_OK);
    assert_int_equal(auth_key_write_jwk(&fixture.keys[CURVE], &writer), WEIR_OK);
    jsonw_array_end(&writer);
    jsonw_object_end(&writer);
    assert_int_equal(jwks_parse(buf_slice(&set), NULL, &fixture.jwks), WEIR_OK);
    assert_int_equal(jwks_count(fixture.jwks), 3);
    buf_reset(&set);
    *state = &fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    for (size_t i = 0; i < SIGNER_COUNT; i++) {
        auth_key_fini(&fixture->keys[i]);
    }
    jwks_free(fixture->jwks);
    return 0;
}

static void test_verdicts(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        enum signer signer;
        const char *id; // in the header; "" for none
        const char *claims;
        bool without_set;
        enum precheck verdict;
    } rows[] = {
        {KNOWN, "k1", "{\"exp\":1000000000}", false, PRECHECK_PASS},
        {KNOWN, "k1", "{}", false, PRECHECK_PASS},
        {KNOWN, "k1", "{\"exp\":\"soon\"}", false, PRECHECK_PASS},
        {KNOWN, "k1", "{\"exp\":999999940}", false, PRECHECK_PASS},
        {KNOWN, "k1", "{\"exp\":999999939}", false, PRECHECK_EXPIRED},
        {KNOWN, "k1", "{\"exp\":999999939.9}", false, PRECHECK_EXPIRED},
        {KNOWN, "k1", "{\"exp\":-5}", true, PRECHECK_EXPIRED},
        {STRANGER, "k1", "{\"exp\":5}", false, PRECHECK_EXPIRED},
        {SECRET, "k1", "{\"exp\":5}", false, PRECHECK_EXPIRED},
        {STRANGER, "k1", "{}", false, PRECHECK_BAD_SIGNATURE},
        {STRANGER, "k1", "{}", true, PRECHECK_UNVERIFIED},
        {STRANGER, "k2", "{}", false, PRECHECK_UNKNOWN_KID},
        {STRANGER, "ec", "{}", false, PRECHECK_UNKNOWN_KID},
        {STRANGER, "", "{}", false, PRECHECK_UNVERIFIED},
        {KNOWN, "k1", "{}", true, PRECHECK_UNVERIFIED},
        {SECRET, "k1", "{}", false, PRECHECK_UNVERIFIED},
        {CURVE, "ec", "{}", false, PRECHECK_UNVERIFIED},
        {KNOWN, "k1", "[]", false, PRECHECK_UNVERIFIED},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct auth_key key = fixture->keys[rows[i].signer]; // borrows the pair
        struct buf token = BUF_INIT(4096);
        key.id[0] = '\0';
        assert_int_equal(auth_key_set_id(&key, slice_str(rows[i].id)), rows[i].id[0] != '\0');
        assert_int_equal(mint_token(&key, slice_str(rows[i].claims), &token), WEIR_OK);
        print_message("row %zu: %s %s\n", i, rows[i].id, rows[i].claims);
        assert_int_equal(jwt_precheck(buf_slice(&token), rows[i].without_set ? NULL : fixture->jwks,
                             NOW_S * (uint64_t)1000),
            rows[i].verdict);
        buf_reset(&token);
    }
}

static void test_what_is_no_token(void **state)
{
    struct fixture *fixture = *state;
    static const char *const rows[] = {"", "opaque-token", "a.b.c", "...."};
    static char large[8193];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(jwt_precheck(slice_str(rows[i]), fixture->jwks, 0), PRECHECK_UNVERIFIED);
    }
    memset(large, 'a', sizeof large);
    assert_int_equal(
        jwt_precheck(slice_of(large, sizeof large), fixture->jwks, 0), PRECHECK_UNVERIFIED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_verdicts),
        cmocka_unit_test(test_what_is_no_token),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
