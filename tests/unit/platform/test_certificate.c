// SPDX-License-Identifier: Apache-2.0
#include "platform/certificate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <time.h>

#include <cmocka.h>
#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "state.h"

#define DAY_S 86400

static int setup(void **state)
{
    static struct state fixture;
    state_make(&fixture);
    assert_int_equal(sys_dir_make(fixture.dir), WEIR_OK);
    *state = &fixture;
    return 0;
}

static int teardown(void **state)
{
    state_remove(*state);
    return 0;
}

static BIO *bio_of(const struct state *fixture, const char *name)
{
    BIO *text = BIO_new_file(state_path(fixture, name), "r");
    assert_non_null(text);
    return text;
}

static X509 *x509_of(const struct state *fixture)
{
    BIO *text = bio_of(fixture, "localhost.crt");
    X509 *x509 = PEM_read_bio_X509(text, NULL, NULL, NULL);
    assert_non_null(x509);
    BIO_free(text);
    return x509;
}

static EVP_PKEY *pkey_of(const struct state *fixture)
{
    BIO *text = bio_of(fixture, "localhost.key");
    EVP_PKEY *pkey = PEM_read_bio_PrivateKey(text, NULL, NULL, NULL);
    assert_non_null(pkey);
    BIO_free(text);
    return pkey;
}

// Makes sure, and says whether the certificate is another one now.
static bool ensure_changes(const struct state *fixture)
{
    struct certificate_paths paths;
    struct buf before, after;
    state_read(fixture, "localhost.crt", &before);
    assert_int_equal(certificate_ensure_localhost(fixture->dir, &paths), WEIR_OK);
    state_read(fixture, "localhost.crt", &after);
    bool changed = !slice_eq(buf_slice(&before), buf_slice(&after));
    buf_reset(&before);
    buf_reset(&after);
    return changed;
}

static void test_what_is_made(void **state)
{
    struct state *fixture = *state;
    struct certificate_paths paths;
    struct stat st;
    assert_int_equal(certificate_ensure_localhost(fixture->dir, &paths), WEIR_OK);
    assert_string_equal(paths.certificate, state_path(fixture, "localhost.crt"));
    assert_string_equal(paths.key, state_path(fixture, "localhost.key"));
    assert_int_equal(stat(paths.key, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);

    X509 *x509 = x509_of(fixture);
    EVP_PKEY *pkey = pkey_of(fixture);
    assert_int_equal(X509_check_private_key(x509, pkey), 1);
    assert_int_equal(X509_verify(x509, pkey), 1);
    assert_int_equal(X509_check_host(x509, "localhost", 0, 0, NULL), 1);
    assert_int_equal(X509_check_ip_asc(x509, "127.0.0.1", 0), 1);
    assert_int_equal(X509_check_ip_asc(x509, "::1", 0), 1);
    assert_int_equal(X509_check_host(x509, "example.org", 0, 0, NULL), 0);
    assert_int_equal(X509_check_ip_asc(x509, "127.0.0.2", 0), 0);
    assert_int_equal(X509_get_extension_flags(x509) & EXFLAG_CA, 0);
    assert_int_equal(X509_get_key_usage(x509), KU_DIGITAL_SIGNATURE);
    assert_int_equal(X509_check_purpose(x509, X509_PURPOSE_SSL_SERVER, 0), 1);
    assert_int_equal(X509_get_version(x509), X509_VERSION_3);
    time_t now = time(NULL);
    assert_true(X509_cmp_time(X509_get0_notBefore(x509), &now) < 0);
    time_t end = now + CERTIFICATE_VALID_DAYS * (time_t)DAY_S;
    time_t before = end - 60, after = end + 60;
    assert_true(X509_cmp_time(X509_get0_notAfter(x509), &before) > 0);
    assert_true(X509_cmp_time(X509_get0_notAfter(x509), &after) < 0);
    EVP_PKEY_free(pkey);
    X509_free(x509);
}

// A client that trusts the file, and nothing else, accepts the certificate.
static void test_it_is_its_own_anchor(void **state)
{
    struct state *fixture = *state;
    X509 *x509 = x509_of(fixture);
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *context = X509_STORE_CTX_new();
    assert_int_equal(X509_STORE_CTX_init(context, store, x509, NULL), 1);
    assert_int_not_equal(X509_verify_cert(context), 1);
    X509_STORE_CTX_cleanup(context);
    assert_int_equal(X509_STORE_add_cert(store, x509), 1);
    assert_int_equal(X509_STORE_CTX_init(context, store, x509, NULL), 1);
    assert_int_equal(X509_STORE_CTX_set_purpose(context, X509_PURPOSE_SSL_SERVER), 1);
    assert_int_equal(X509_verify_cert(context), 1);
    X509_STORE_CTX_free(context);
    X509_STORE_free(store);
    X509_free(x509);
}

static void write_x509(const struct state *fixture, X509 *x509)
{
    BIO *text = BIO_new(BIO_s_mem());
    char *at = NULL;
    assert_int_equal(PEM_write_bio_X509(text, x509), 1);
    long len = BIO_get_mem_data(text, &at);
    state_write(fixture, "localhost.crt", slice_of(at, (size_t)len));
    BIO_free(text);
}

// Kept while more than the last days are left, counted in seconds.
static void test_renewal(void **state)
{
    struct state *fixture = *state;
    static const struct {
        long left_s;
        bool changed;
    } rows[] = {
        {CERTIFICATE_VALID_DAYS * DAY_S, false},
        {CERTIFICATE_RENEW_DAYS * DAY_S + 60, false},
        {CERTIFICATE_RENEW_DAYS * DAY_S - 1, true},
        {0, true},
        {-DAY_S, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        X509 *x509 = x509_of(fixture);
        EVP_PKEY *pkey = pkey_of(fixture);
        assert_non_null(X509_gmtime_adj(X509_getm_notAfter(x509), rows[i].left_s));
        assert_true(X509_sign(x509, pkey, EVP_sha256()) > 0);
        write_x509(fixture, x509);
        print_message("%ld s left\n", rows[i].left_s);
        assert_int_equal(ensure_changes(fixture), rows[i].changed);
        EVP_PKEY_free(pkey);
        X509_free(x509);
        assert_false(ensure_changes(fixture));
    }
}

static void test_broken_files(void **state)
{
    struct state *fixture = *state;
    static const char *const rows[] = {"", "no PEM",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,"
        "00112233445566778899AABBCCDDEEFF\n\nAAAA\n-----END CERTIFICATE-----\n"};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        state_write(fixture, "localhost.crt", slice_str(rows[i]));
        assert_true(ensure_changes(fixture));
        state_write(fixture, "localhost.key", slice_str(rows[i]));
        assert_true(ensure_changes(fixture));
        assert_false(ensure_changes(fixture));
    }
    assert_int_equal(unlink(state_path(fixture, "localhost.key")), 0);
    assert_true(ensure_changes(fixture));
    // A key of another certificate.
    struct buf key;
    state_read(fixture, "localhost.key", &key);
    state_write(fixture, "localhost.crt", SLICE(""));
    assert_true(ensure_changes(fixture));
    state_write(fixture, "localhost.key", buf_slice(&key));
    assert_true(ensure_changes(fixture));
    buf_reset(&key);
}

static void test_where_it_cannot_be(void **state)
{
    struct certificate_paths paths;
    char path[CERTIFICATE_PATH_SIZE];
    (void)state;
    memset(path, 'd', sizeof path);
    path[sizeof path - 1] = '\0';
    assert_int_equal(certificate_ensure_localhost(path, &paths), WEIR_TOO_LARGE);
    assert_int_equal(certificate_ensure_localhost("/proc/nowhere", &paths), WEIR_NOT_FOUND);
}

// A pair that somebody else made is told apart.
static void test_a_look(void **state)
{
    struct state *fixture = *state;
    struct certificate_paths paths;
    struct certificate_look look;
    const char *const good[] = {"edge.example.com", "demo.t.edge.example.com", NULL};
    const char *const more[] = {"edge.example.com", "a.b.t.edge.example.com", NULL};
    const struct certificate_wish wish = {.dir = fixture->dir,
        .stem = "edge",
        .common_name = "weir",
        .alt_names = "DNS:edge.example.com,DNS:*.t.edge.example.com"};
    assert_int_equal(certificate_ensure(&wish, &paths), WEIR_OK);
    certificate_look_at(&paths, good, &look);
    assert_true(look.belongs && look.names);
    assert_in_range(look.days_left, CERTIFICATE_VALID_DAYS - 1, CERTIFICATE_VALID_DAYS);
    certificate_look_at(&paths, more, &look);
    assert_true(look.belongs && !look.names);

    struct certificate_paths mixed = paths;
    snprintf(mixed.key, sizeof mixed.key, "%s", state_path(fixture, "localhost.key"));
    certificate_look_at(&mixed, good, &look);
    assert_false(look.belongs || look.names);
    snprintf(mixed.key, sizeof mixed.key, "%s", "/nowhere");
    certificate_look_at(&mixed, good, &look);
    assert_false(look.belongs || look.names);

    X509 *x509 = x509_of(fixture);
    EVP_PKEY *pkey = pkey_of(fixture);
    const char *const localhost[] = {"localhost", NULL};
    assert_int_equal(certificate_ensure_localhost(fixture->dir, &paths), WEIR_OK);
    assert_non_null(X509_gmtime_adj(X509_getm_notAfter(x509), -60));
    assert_true(X509_sign(x509, pkey, EVP_sha256()) > 0);
    write_x509(fixture, x509);
    certificate_look_at(&paths, localhost, &look);
    assert_true(look.belongs && look.names && look.days_left < 0);
    EVP_PKEY_free(pkey);
    X509_free(x509);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_made),
        cmocka_unit_test(test_it_is_its_own_anchor),
        cmocka_unit_test(test_renewal),
        cmocka_unit_test(test_broken_files),
        cmocka_unit_test(test_where_it_cannot_be),
        cmocka_unit_test(test_a_look),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
