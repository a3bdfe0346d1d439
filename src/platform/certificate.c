// SPDX-License-Identifier: Apache-2.0
// The certificate is of an end entity, not of an authority: who trusts it trusts this one server,
// and a stolen key makes no other certificates. It names itself as its issuer, so a
// client takes the very file as its trust anchor.
//
// The key is written first. A crash between the two files leaves a pair that does not belong
// together, which the next start finds and replaces.
#include "platform/certificate.h"

#include <stdio.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "auth/auth_key.h"
#include "sys/clock.h"
#include "sys/file.h"

#define FILE_LEN_MAX 65536
#define DAY_S 86400
#define BACKDATED_S 3600 // for clients whose clock is a little behind
#define SERIAL_BITS 127  // RFC 5280 section 4.1.2.2: positive, at most 20 octets

struct extension {
    int nid;
    const char *value;
};

// ---- What is there ------------------------------------------------------------------------------

static X509 *read_x509(const char *path)
{
    struct buf pem = BUF_INIT(FILE_LEN_MAX);
    X509 *x509 = NULL;
    if (sys_file_read(path, FILE_LEN_MAX, &pem) == WEIR_OK) {
        BIO *text = BIO_new_mem_buf(pem.at, (int)pem.len);
        // A passphrase, or libcrypto would ask for one at the terminal.
        x509 = text == NULL ? NULL : PEM_read_bio_X509(text, NULL, NULL, (void *)"");
        BIO_free(text);
    }
    buf_reset(&pem);
    return x509;
}

static bool read_key(const char *path, struct auth_key *ret_key)
{
    struct buf pem = BUF_INIT(FILE_LEN_MAX);
    bool ok = sys_file_read(path, FILE_LEN_MAX, &pem) == WEIR_OK &&
              auth_key_from_pem(buf_slice(&pem), NULL, ret_key) == WEIR_OK;
    if (pem.at != NULL) {
        OPENSSL_cleanse(pem.at, pem.size);
    }
    buf_reset(&pem);
    return ok;
}

// A pair that belongs together and holds for long enough.
static bool usable(const struct certificate_paths *paths)
{
    struct auth_key key = {0};
    time_t renew_at = (time_t)(sys_wall_ms() / 1000) + CERTIFICATE_RENEW_DAYS * (time_t)DAY_S;
    X509 *x509 = read_x509(paths->certificate);
    bool ok = x509 != NULL && read_key(paths->key, &key) &&
              X509_check_private_key(x509, key.pkey) == 1 &&
              ASN1_TIME_cmp_time_t(X509_get0_notAfter(x509), renew_at) == 1;
    auth_key_fini(&key);
    X509_free(x509);
    ERR_clear_error();
    return ok;
}

// Of any kind that TLS takes.
static EVP_PKEY *read_any_key(const char *path)
{
    struct buf pem = BUF_INIT(FILE_LEN_MAX);
    EVP_PKEY *pkey = NULL;
    if (sys_file_read(path, FILE_LEN_MAX, &pem) == WEIR_OK) {
        BIO *text = BIO_new_mem_buf(pem.at, (int)pem.len);
        pkey = text == NULL ? NULL : PEM_read_bio_PrivateKey(text, NULL, NULL, (void *)"");
        BIO_free(text);
    }
    if (pem.at != NULL) {
        OPENSSL_cleanse(pem.at, pem.size);
    }
    buf_reset(&pem);
    return pkey;
}

static long days_left(const X509 *x509)
{
    int days = 0;
    int seconds = 0;
    if (ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(x509)) != 1) {
        return -1;
    }
    return seconds < 0 ? days - 1L : days;
}

void certificate_look_at(const struct certificate_paths *paths, const char *const *names,
    struct certificate_look *ret_look)
{
    X509 *x509 = read_x509(paths->certificate);
    EVP_PKEY *pkey = read_any_key(paths->key);
    *ret_look = (struct certificate_look){0};
    ret_look->belongs = x509 != NULL && pkey != NULL && X509_check_private_key(x509, pkey) == 1;
    ret_look->names = ret_look->belongs;
    for (; ret_look->names && *names != NULL; names++) {
        ret_look->names =
            X509_check_host(x509, *names, 0, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS, NULL) == 1;
    }
    ret_look->days_left = ret_look->belongs ? days_left(x509) : 0;
    EVP_PKEY_free(pkey);
    X509_free(x509);
    ERR_clear_error();
}

// ---- A new one ----------------------------------------------------------------------------------

static bool set_serial(X509 *x509)
{
    BIGNUM *serial = BN_new();
    bool ok = serial != NULL &&
              BN_rand(serial, SERIAL_BITS, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1 &&
              BN_to_ASN1_INTEGER(serial, X509_get_serialNumber(x509)) != NULL;
    BN_free(serial);
    return ok;
}

static bool set_names(X509 *x509, const char *common_name)
{
    X509_NAME *name = X509_get_subject_name(x509);
    return X509_NAME_add_entry_by_txt(
               name, "CN", MBSTRING_ASC, (const unsigned char *)common_name, -1, -1, 0) == 1 &&
           X509_set_issuer_name(x509, name) == 1;
}

static bool set_times(X509 *x509)
{
    time_t now = (time_t)(sys_wall_ms() / 1000);
    return ASN1_TIME_set(X509_getm_notBefore(x509), now - BACKDATED_S) != NULL &&
           ASN1_TIME_set(X509_getm_notAfter(x509), now + CERTIFICATE_VALID_DAYS * (time_t)DAY_S) !=
               NULL;
}

static bool add_extensions(X509 *x509, const char *alt_names)
{
    const struct extension extensions[] = {
        {NID_basic_constraints, "critical,CA:FALSE"},
        {NID_key_usage, "critical,digitalSignature"},
        {NID_ext_key_usage, "serverAuth"},
        {NID_subject_alt_name, alt_names},
        {NID_subject_key_identifier, "hash"},
    };
    X509V3_CTX context;
    X509V3_set_ctx(&context, x509, x509, NULL, NULL, 0);
    for (size_t i = 0; i < sizeof extensions / sizeof extensions[0]; i++) {
        X509_EXTENSION *extension =
            X509V3_EXT_conf_nid(NULL, &context, extensions[i].nid, extensions[i].value);
        bool ok = extension != NULL && X509_add_ext(x509, extension, -1) == 1;
        X509_EXTENSION_free(extension);
        if (!ok) {
            return false;
        }
    }
    return true;
}

static enum weir_result write_x509(const X509 *x509, const char *path)
{
    enum weir_result result = WEIR_CRYPTO;
    BIO *text = BIO_new(BIO_s_mem());
    if (text != NULL && PEM_write_bio_X509(text, x509) == 1) {
        char *at = NULL;
        long len = BIO_get_mem_data(text, &at);
        result = sys_file_write_private(path, slice_of(at, (size_t)len));
    }
    BIO_free(text);
    return result;
}

static enum weir_result write_certificate(
    const struct certificate_wish *wish, const struct auth_key *key, const char *path)
{
    enum weir_result result = WEIR_CRYPTO;
    X509 *x509 = X509_new();
    if (x509 != NULL && X509_set_version(x509, X509_VERSION_3) == 1 && set_serial(x509) &&
        set_names(x509, wish->common_name) && set_times(x509) &&
        X509_set_pubkey(x509, key->pkey) == 1 && add_extensions(x509, wish->alt_names) &&
        X509_sign(x509, key->pkey, EVP_sha256()) > 0) {
        result = write_x509(x509, path);
    }
    X509_free(x509);
    ERR_clear_error();
    return result;
}

static enum weir_result write_key(const struct auth_key *key, const char *path)
{
    struct buf pem = BUF_INIT(FILE_LEN_MAX);
    enum weir_result result = auth_key_write_pem(key, &pem);
    if (result == WEIR_OK) {
        result = sys_file_write_private(path, buf_slice(&pem));
    }
    if (pem.at != NULL) {
        OPENSSL_cleanse(pem.at, pem.size);
    }
    buf_reset(&pem);
    return result;
}

static enum weir_result make(
    const struct certificate_wish *wish, const struct certificate_paths *paths)
{
    struct auth_key key;
    enum weir_result result = auth_key_generate(AUTH_ES256, NULL, &key);
    if (result == WEIR_OK) {
        result = write_key(&key, paths->key);
    }
    if (result == WEIR_OK) {
        result = write_certificate(wish, &key, paths->certificate);
    }
    auth_key_fini(&key);
    return result;
}

enum weir_result certificate_ensure(
    const struct certificate_wish *wish, struct certificate_paths *ret_paths)
{
    int lens[] = {
        snprintf(ret_paths->certificate, CERTIFICATE_PATH_SIZE, "%s/%s.crt", wish->dir, wish->stem),
        snprintf(ret_paths->key, CERTIFICATE_PATH_SIZE, "%s/%s.key", wish->dir, wish->stem),
    };
    if (lens[0] < 0 || lens[0] >= CERTIFICATE_PATH_SIZE || lens[1] < 0 ||
        lens[1] >= CERTIFICATE_PATH_SIZE) {
        return WEIR_TOO_LARGE;
    }
    return usable(ret_paths) ? WEIR_OK : make(wish, ret_paths);
}

enum weir_result certificate_ensure_localhost(
    const char *state_dir, struct certificate_paths *ret_paths)
{
    return certificate_ensure(
        &(struct certificate_wish){
            .dir = state_dir,
            .stem = "localhost",
            .common_name = "localhost",
            .alt_names = "DNS:localhost,IP:127.0.0.1,IP:::1",
        },
        ret_paths);
}
