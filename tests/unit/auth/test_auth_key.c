// SPDX-License-Identifier: Apache-2.0
#include "auth/auth_key.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "base/base64.h"
#include "proto/json_write.h"

#include "fixtures.h"

#define BYTES_SIZE 1100

struct bytes {
    uint8_t at[BYTES_SIZE];
    size_t len;
};

static struct bytes decoded(const char *text)
{
    struct bytes bytes;
    assert_int_equal(
        base64url_decode(slice_str(text), bytes.at, sizeof bytes.at, &bytes.len), WEIR_OK);
    return bytes;
}

static struct slice slice_of_bytes(const struct bytes *bytes)
{
    return slice_of((const char *)bytes->at, bytes->len);
}

static void test_names_of_algorithms(void **state)
{
    (void)state;
    for (enum auth_alg alg = AUTH_HS256; alg <= AUTH_ES256; alg++) {
        assert_int_equal(auth_alg_from_name(slice_str(auth_alg_name(alg))), alg);
    }
    static const char *const others[] = {"", "none", "None", "hs256", "RS256 ", "RS384", "PS256"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        assert_int_equal(auth_alg_from_name(slice_str(others[i])), AUTH_ALG_OTHER);
    }
}

static void test_secret_lengths(void **state)
{
    static const char bytes[AUTH_SECRET_LEN_MAX + 1] = {1};
    (void)state;
    for (size_t len = 0; len <= sizeof bytes; len++) {
        struct auth_key key;
        bool fits = len >= AUTH_SECRET_LEN_MIN && len <= AUTH_SECRET_LEN_MAX;
        assert_int_equal(
            auth_key_from_secret(slice_of(bytes, len), &key), fits ? WEIR_OK : WEIR_INVALID);
        assert_int_equal(key.alg, fits ? AUTH_HS256 : AUTH_ALG_OTHER);
        auth_key_fini(&key);
    }
}

// Every kind signs, and refuses another text, every flipped byte and every other length.
static void check_signing(const struct auth_key *key, size_t signature_len)
{
    uint8_t signature[AUTH_SIGNATURE_LEN_MAX + 1] = {0};
    size_t len = 0;
    const struct slice text = SLICE("header.claims");
    assert_int_equal(auth_key_sign(key, text, signature, &len), WEIR_OK);
    assert_int_equal(len, signature_len);
    struct slice made = slice_of((const char *)signature, len);
    assert_int_equal(auth_key_verify(key, text, made), WEIR_OK);
    assert_int_equal(auth_key_verify(key, SLICE("header.claim"), made), WEIR_REFUSED);
    for (size_t at = 0; at < len; at++) {
        signature[at] ^= 1;
        assert_int_equal(auth_key_verify(key, text, made), WEIR_REFUSED);
        signature[at] ^= 1;
    }
    for (size_t other = 0; other <= len + 1; other++) {
        assert_int_equal(auth_key_verify(key, text, slice_of((const char *)signature, other)),
            other == len ? WEIR_OK : WEIR_REFUSED);
    }
    memset(signature, 0, sizeof signature);
    assert_int_equal(auth_key_verify(key, text, made), WEIR_REFUSED);
    memset(signature, 0xff, sizeof signature);
    assert_int_equal(auth_key_verify(key, text, made), WEIR_REFUSED);
    assert_int_equal(ERR_peek_error(), 0);
}

static void test_signing(void **state)
{
    struct auth_key key;
    (void)state;
    assert_int_equal(auth_key_from_secret(SLICE("0123456789abcdef0123456789abcdef"), &key), 0);
    check_signing(&key, 32);
    auth_key_fini(&key);
    assert_int_equal(auth_key_generate(AUTH_RS256, NULL, &key), WEIR_OK);
    check_signing(&key, 256);
    auth_key_fini(&key);
    assert_int_equal(auth_key_generate(AUTH_ES256, NULL, &key), WEIR_OK);
    check_signing(&key, 64);
    auth_key_fini(&key);
    auth_key_fini(&key);
    assert_int_equal(auth_key_verify(&key, SLICE("a"), SLICE("")), WEIR_REFUSED);
}

static void test_own_library_context(void **state)
{
    (void)state;
    OSSL_LIB_CTX *libctx = OSSL_LIB_CTX_new();
    assert_non_null(libctx);
    struct auth_key key;
    assert_int_equal(auth_key_generate(AUTH_ES256, libctx, &key), WEIR_OK);
    check_signing(&key, 64);
    auth_key_fini(&key);
    OSSL_LIB_CTX_free(libctx);
}

static void test_pem_and_back(void **state)
{
    static const enum auth_alg algs[] = {AUTH_RS256, AUTH_ES256};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct auth_key key, again;
        struct buf pem = BUF_INIT(8192);
        uint8_t signature[AUTH_SIGNATURE_LEN_MAX];
        size_t len = 0;
        assert_int_equal(auth_key_generate(algs[i], NULL, &key), WEIR_OK);
        assert_int_equal(strlen(key.id), 43);
        assert_int_equal(auth_key_write_pem(&key, &pem), WEIR_OK);
        assert_true(slice_starts_with(buf_slice(&pem), SLICE("-----BEGIN PRIVATE KEY-----\n")));
        assert_int_equal(auth_key_from_pem(buf_slice(&pem), NULL, &again), WEIR_OK);
        assert_int_equal(again.alg, algs[i]);
        assert_string_equal(again.id, key.id);
        assert_int_equal(auth_key_sign(&again, SLICE("a"), signature, &len), WEIR_OK);
        assert_int_equal(
            auth_key_verify(&key, SLICE("a"), slice_of((const char *)signature, len)), WEIR_OK);
        buf_reset(&pem);
        struct buf small = BUF_INIT(16);
        assert_int_equal(auth_key_write_pem(&key, &small), WEIR_FULL);
        assert_int_equal(small.len, 0);
        buf_reset(&small);
        auth_key_fini(&key);
        auth_key_fini(&again);
    }
}

static void test_public_pem_and_thumbprint(void **state)
{
    struct auth_key key;
    uint8_t signature[AUTH_SIGNATURE_LEN_MAX];
    size_t len;
    (void)state;
    assert_int_equal(auth_key_from_pem(SLICE(RFC_RSA_PEM), NULL, &key), WEIR_OK);
    assert_int_equal(key.alg, AUTH_RS256);
    assert_string_equal(key.id, RFC_RSA_THUMBPRINT);
    assert_int_equal(auth_key_sign(&key, SLICE("a"), signature, &len), WEIR_CRYPTO);
    auth_key_fini(&key);
}

static struct slice pem_of(BIO *text)
{
    char *at = NULL;
    long len = BIO_get_mem_data(text, &at);
    return slice_of(at, (size_t)len);
}

// Made by libcrypto, each in a form or of a kind of its own.
static void test_other_pem(void **state)
{
    const struct {
        EVP_PKEY *pkey;
        bool traditional, encrypted;
        enum weir_result result;
    } rows[] = {
        {EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256"), true, false, WEIR_OK},
        {EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256"), false, true, WEIR_MALFORMED},
        {EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-384"), false, false, WEIR_MALFORMED},
        {EVP_PKEY_Q_keygen(NULL, NULL, "EC", "secp256k1"), false, false, WEIR_MALFORMED},
        {EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)1024), false, false, WEIR_MALFORMED},
        {EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048), true, false, WEIR_OK},
        {EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"), false, false, WEIR_MALFORMED},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct auth_key key;
        BIO *text = BIO_new(BIO_s_mem());
        assert_int_equal(rows[i].traditional ? PEM_write_bio_PrivateKey_traditional(
                                                   text, rows[i].pkey, NULL, NULL, 0, NULL, NULL)
                                             : PEM_write_bio_PKCS8PrivateKey(text, rows[i].pkey,
                                                   rows[i].encrypted ? EVP_aes_128_cbc() : NULL,
                                                   "secret", 6, NULL, NULL),
            1);
        print_message("row %zu\n", i);
        assert_int_equal(auth_key_from_pem(pem_of(text), NULL, &key), rows[i].result);
        assert_true((key.pkey != NULL) == (rows[i].result == WEIR_OK));
        assert_int_equal(ERR_peek_error(), 0);
        auth_key_fini(&key);
        BIO_free(text);
        EVP_PKEY_free(rows[i].pkey);
    }
}

static void test_no_pem(void **state)
{
    static const char *const rows[] = {"", "hello", "-----BEGIN PRIVATE KEY-----\n",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"};
    static const char large[65537];
    struct auth_key key;
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(auth_key_from_pem(slice_str(rows[i]), NULL, &key), WEIR_MALFORMED);
    }
    assert_int_equal(auth_key_from_pem(slice_of(large, sizeof large), NULL, &key), WEIR_MALFORMED);
}

static void test_rsa_numbers(void **state)
{
    static const struct {
        const char *n, *e;
        bool even_n;
        enum weir_result result;
    } rows[] = {
        {FOREIGN_N, "AQAB", false, WEIR_OK},
        {FOREIGN_N, "AAEAAQ", false, WEIR_OK}, // 65537 behind a zero
        {FOREIGN_N, "Aw", false, WEIR_OK},
        {FOREIGN_N, "AQ", false, WEIR_MALFORMED},
        {FOREIGN_N, "AA", false, WEIR_MALFORMED},
        {FOREIGN_N, "", false, WEIR_MALFORMED},
        {FOREIGN_N, "AQAA", false, WEIR_MALFORMED},             // even
        {FOREIGN_N, "AQAAAAAAAAAB", false, WEIR_MALFORMED},     // 65 bits
        {FOREIGN_N, "AQAAAAAAAAAAAAAB", false, WEIR_MALFORMED}, // 89 bits
        {FOREIGN_N, "AQAB", true, WEIR_MALFORMED},
        {SHORT_N, "AQAB", false, WEIR_MALFORMED},
        {"", "AQAB", false, WEIR_MALFORMED},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct auth_key key;
        struct bytes n = decoded(rows[i].n);
        struct bytes e = decoded(rows[i].e);
        if (rows[i].even_n) {
            n.at[n.len - 1] &= 0xfe;
        }
        print_message("row %zu\n", i);
        assert_int_equal(
            auth_key_from_rsa_numbers(slice_of_bytes(&n), slice_of_bytes(&e), NULL, &key),
            rows[i].result);
        assert_int_equal(key.alg, rows[i].result == WEIR_OK ? AUTH_RS256 : AUTH_ALG_OTHER);
        assert_int_equal(ERR_peek_error(), 0);
        auth_key_fini(&key);
    }
    struct bytes large = {.len = 1025};
    struct auth_key key;
    memset(large.at, 0xff, large.len);
    struct bytes e = decoded("AQAB");
    assert_int_equal(
        auth_key_from_rsa_numbers(slice_of_bytes(&large), slice_of_bytes(&e), NULL, &key),
        WEIR_MALFORMED);
}

static void test_p256_point(void **state)
{
    struct auth_key key;
    struct bytes x = decoded(RFC_ES256_X);
    struct bytes y = decoded(RFC_ES256_Y);
    (void)state;
    assert_int_equal(
        auth_key_from_p256_point(slice_of_bytes(&x), slice_of_bytes(&y), NULL, &key), WEIR_OK);
    assert_int_equal(key.alg, AUTH_ES256);
    assert_string_equal(key.id, "");
    auth_key_fini(&key);
    x.len--;
    assert_int_equal(auth_key_from_p256_point(slice_of_bytes(&x), slice_of_bytes(&y), NULL, &key),
        WEIR_MALFORMED);
    x.len++;
    y.at[31] ^= 1;
    assert_int_equal(auth_key_from_p256_point(slice_of_bytes(&x), slice_of_bytes(&y), NULL, &key),
        WEIR_MALFORMED);
    memset(x.at, 0, x.len);
    memset(y.at, 0, y.len);
    assert_int_equal(auth_key_from_p256_point(slice_of_bytes(&x), slice_of_bytes(&y), NULL, &key),
        WEIR_MALFORMED);
    assert_int_equal(ERR_peek_error(), 0);
}

static void test_jwk(void **state)
{
    struct auth_key key;
    struct json_writer writer;
    struct buf out = BUF_INIT(4096);
    struct bytes x = decoded(RFC_ES256_X);
    struct bytes y = decoded(RFC_ES256_Y);
    struct bytes n = decoded(FOREIGN_N);
    struct bytes e = decoded("AQAB");
    (void)state;
    json_writer_init(&writer, &out);
    jsonw_array_begin(&writer, NULL);
    assert_int_equal(
        auth_key_from_p256_point(slice_of_bytes(&x), slice_of_bytes(&y), NULL, &key), WEIR_OK);
    assert_int_equal(auth_key_write_jwk(&key, &writer), WEIR_OK);
    auth_key_fini(&key);
    assert_int_equal(
        auth_key_from_rsa_numbers(slice_of_bytes(&n), slice_of_bytes(&e), NULL, &key), WEIR_OK);
    assert_true(auth_key_set_id(&key, SLICE("k1")));
    assert_int_equal(auth_key_write_jwk(&key, &writer), WEIR_OK);
    auth_key_fini(&key);
    jsonw_array_end(&writer);
    assert_string_equal(buf_text(&out),
        "[{\"kty\":\"EC\",\"use\":\"sig\",\"alg\":\"ES256\",\"crv\":\"P-256\",\"x\":\"" RFC_ES256_X
        "\",\"y\":\"" RFC_ES256_Y "\"},"
        "{\"kty\":\"RSA\",\"use\":\"sig\",\"alg\":\"RS256\",\"kid\":\"k1\",\"n\":\"" FOREIGN_N
        "\",\"e\":\"AQAB\"}]");
    buf_reset(&out);
    assert_int_equal(auth_key_from_secret(SLICE("0123456789abcdef0123456789abcdef"), &key), 0);
    assert_int_equal(auth_key_write_jwk(&key, &writer), WEIR_INVALID);
    assert_int_equal(auth_key_write_pem(&key, &out), WEIR_INVALID);
    assert_int_equal(out.len, 0);
    auth_key_fini(&key);
}

static void test_ids(void **state)
{
    struct auth_key key = {0};
    char id[AUTH_KEY_ID_SIZE];
    (void)state;
    memset(id, 'k', sizeof id);
    assert_false(auth_key_set_id(&key, SLICE("")));
    assert_true(auth_key_set_id(&key, slice_of(id, sizeof id - 1)));
    assert_int_equal(strlen(key.id), sizeof id - 1);
    assert_false(auth_key_set_id(&key, slice_of(id, sizeof id)));
    assert_int_equal(strlen(key.id), sizeof id - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_of_algorithms),
        cmocka_unit_test(test_secret_lengths),
        cmocka_unit_test(test_signing),
        cmocka_unit_test(test_own_library_context),
        cmocka_unit_test(test_pem_and_back),
        cmocka_unit_test(test_public_pem_and_thumbprint),
        cmocka_unit_test(test_other_pem),
        cmocka_unit_test(test_no_pem),
        cmocka_unit_test(test_rsa_numbers),
        cmocka_unit_test(test_p256_point),
        cmocka_unit_test(test_jwk),
        cmocka_unit_test(test_ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
