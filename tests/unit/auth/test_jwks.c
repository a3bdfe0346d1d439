// SPDX-License-Identifier: Apache-2.0
#include "auth/jwks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"

#include "fixtures.h"

#define RSA "\"kty\":\"RSA\",\"n\":\"" FOREIGN_N "\",\"e\":\"AQAB\""
#define EC "\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" RFC_ES256_X "\",\"y\":\"" RFC_ES256_Y "\""

static void test_entries(void **state)
{
    static const struct {
        const char *entry;
        enum auth_alg alg; // AUTH_ALG_OTHER: left out
    } rows[] = {
        {"{" RSA ",\"kid\":\"k\"}", AUTH_RS256},
        {"{" RSA ",\"kid\":\"k\",\"use\":\"sig\",\"alg\":\"RS256\",\"x5c\":[]}", AUTH_RS256},
        {"{" EC ",\"kid\":\"k\"}", AUTH_ES256},
        {"{" EC ",\"kid\":\"k\",\"use\":\"sig\",\"alg\":\"ES256\"}", AUTH_ES256},
        {"{" RSA "}", AUTH_ALG_OTHER},
        {"{" RSA ",\"kid\":\"\"}", AUTH_ALG_OTHER},
        {"{" RSA ",\"kid\":7}", AUTH_ALG_OTHER},
        {"{" RSA ",\"kid\":\"k\",\"use\":\"enc\"}", AUTH_ALG_OTHER},
        {"{" RSA ",\"kid\":\"k\",\"use\":null}", AUTH_ALG_OTHER},
        {"{" RSA ",\"kid\":\"k\",\"alg\":\"RS384\"}", AUTH_ALG_OTHER},
        {"{" RSA ",\"kid\":\"k\",\"alg\":\"ES256\"}", AUTH_ALG_OTHER},
        {"{" EC ",\"kid\":\"k\",\"alg\":\"RS256\"}", AUTH_ALG_OTHER},
        {"{\"kty\":\"RSA\",\"n\":\"" SHORT_N "\",\"e\":\"AQAB\",\"kid\":\"k\"}", AUTH_ALG_OTHER},
        {"{\"kty\":\"RSA\",\"n\":\"" FOREIGN_N "\",\"kid\":\"k\"}", AUTH_ALG_OTHER},
        {"{\"kty\":\"RSA\",\"n\":\"" FOREIGN_N "=\",\"e\":\"AQAB\",\"kid\":\"k\"}", AUTH_ALG_OTHER},
        {"{\"kty\":\"EC\",\"crv\":\"P-384\",\"x\":\"" RFC_ES256_X "\",\"y\":\"" RFC_ES256_Y
         "\",\"kid\":\"k\"}",
            AUTH_ALG_OTHER},
        {"{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" RFC_ES256_Y "\",\"y\":\"" RFC_ES256_Y
         "\",\"kid\":\"k\"}",
            AUTH_ALG_OTHER},
        {"{\"kty\":\"oct\",\"k\":\"" RFC_HS256_KEY "\",\"kid\":\"k\"}", AUTH_ALG_OTHER},
        {"7", AUTH_ALG_OTHER},
        {"null", AUTH_ALG_OTHER},
        {"[]", AUTH_ALG_OTHER},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct jwks *jwks = NULL;
        struct buf text = BUF_INIT(8192);
        // A good key behind it shows that one bad entry spoils nothing.
        buf_printf(&text, "{\"keys\":[%s,{" EC ",\"kid\":\"last\"}]}", rows[i].entry);
        print_message("%s\n", rows[i].entry);
        assert_int_equal(jwks_parse(buf_slice(&text), NULL, &jwks), WEIR_OK);
        assert_int_equal(jwks_count(jwks), rows[i].alg == AUTH_ALG_OTHER ? 1 : 2);
        for (enum auth_alg alg = AUTH_HS256; alg <= AUTH_ES256; alg++) {
            const struct auth_key *key = jwks_find(jwks, SLICE("k"), alg, NULL);
            assert_int_equal(key != NULL, alg == rows[i].alg);
            assert_true(key == NULL || key->alg == alg);
        }
        assert_non_null(jwks_find(jwks, SLICE("last"), AUTH_ES256, NULL));
        jwks_free(jwks);
        buf_reset(&text);
    }
}

static void test_long_ids(void **state)
{
    (void)state;
    for (int len = 128; len <= 129; len++) {
        struct jwks *jwks = NULL;
        struct buf text = BUF_INIT(8192);
        buf_printf(&text, "{\"keys\":[{" EC ",\"kid\":\"%0*d\"}]}", len, 0);
        assert_int_equal(jwks_parse(buf_slice(&text), NULL, &jwks), WEIR_OK);
        assert_int_equal(jwks_count(jwks), len == 128 ? 1 : 0);
        jwks_free(jwks);
        buf_reset(&text);
    }
}

static void test_no_sets(void **state)
{
    static const char *const rows[] = {"", "{}", "[]", "null", "{\"keys\":{}}", "{\"keys\":null}",
        "{\"keys\":[]", "{\"keys\":[]}x", "{\"keys\":[\xff]}"};
    struct jwks *jwks = NULL;
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        print_message("%s\n", rows[i]);
        assert_int_equal(jwks_parse(slice_str(rows[i]), NULL, &jwks), WEIR_MALFORMED);
    }
    assert_int_equal(jwks_parse(SLICE("{\"keys\":[]}"), NULL, &jwks), WEIR_OK);
    assert_int_equal(jwks_count(jwks), 0);
    assert_null(jwks_find(jwks, SLICE(""), AUTH_RS256, NULL));
    jwks_free(jwks);
    jwks_free(NULL);
}

static void test_limits(void **state)
{
    struct jwks *jwks = NULL;
    (void)state;
    for (int count = JWKS_KEYS_MAX; count <= JWKS_KEYS_MAX + 1; count++) {
        struct buf text = BUF_INIT(65536);
        buf_append_str(&text, "{\"keys\":[");
        for (int i = 0; i < count; i++) {
            buf_printf(&text, "%s{" EC ",\"kid\":\"%d\"}", i == 0 ? "" : ",", i);
        }
        buf_append_str(&text, "]}");
        assert_int_equal(jwks_parse(buf_slice(&text), NULL, &jwks),
            count <= JWKS_KEYS_MAX ? WEIR_OK : WEIR_TOO_LARGE);
        if (count == JWKS_KEYS_MAX) {
            assert_int_equal(jwks_count(jwks), JWKS_KEYS_MAX);
            assert_non_null(jwks_find(jwks, SLICE("63"), AUTH_ES256, NULL));
            jwks_free(jwks);
        }
        buf_reset(&text);
    }
    static char blanks[JWKS_TEXT_LEN_MAX + 1];
    memset(blanks, ' ', sizeof blanks);
    memcpy(blanks, "{\"keys\":[]}", 11);
    assert_int_equal(jwks_parse(slice_of(blanks, sizeof blanks), NULL, &jwks), WEIR_TOO_LARGE);
    assert_int_equal(jwks_parse(slice_of(blanks, JWKS_TEXT_LEN_MAX), NULL, &jwks), WEIR_OK);
    jwks_free(jwks);
}

static void test_repeated_ids(void **state)
{
    struct jwks *jwks = NULL;
    (void)state;
    assert_int_equal(
        jwks_parse(SLICE("{\"keys\":[{" EC ",\"kid\":\"k\"},{" RSA ",\"kid\":\"k\"},{" EC
                         ",\"kid\":\"j\"},{" EC ",\"kid\":\"k\"}]}"),
            NULL, &jwks),
        WEIR_OK);
    const struct auth_key *first = jwks_find(jwks, SLICE("k"), AUTH_ES256, NULL);
    const struct auth_key *second = jwks_find(jwks, SLICE("k"), AUTH_ES256, first);
    assert_non_null(second);
    assert_ptr_not_equal(first, second);
    assert_null(jwks_find(jwks, SLICE("k"), AUTH_ES256, second));
    assert_null(jwks_find(jwks, SLICE("K"), AUTH_ES256, NULL));
    jwks_free(jwks);
}

static void test_without_memory(void **state)
{
    struct jwks *jwks = NULL;
    (void)state;
    mem_fail_at(1);
    assert_int_equal(jwks_parse(SLICE("{\"keys\":[]}"), NULL, &jwks), WEIR_MEMORY);
    mem_fail_at(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_entries),
        cmocka_unit_test(test_long_ids),
        cmocka_unit_test(test_no_sets),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_repeated_ids),
        cmocka_unit_test(test_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
