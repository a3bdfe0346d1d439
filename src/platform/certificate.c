// SPDX-License-Identifier: Apache-2.0
// The key is written before the certificate: when the second write fails, the next start finds two
// that do not belong together and makes both anew.
#include "platform/certificate.h"

#include <stdbool.h>
#include <stdio.h>
#include <time.h>
#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "sys/clock.h"
#include "sys/file.h"

#define PEM_LEN_MAX 65536
#define DAY_S 86400
#define SERIAL_BITS 127      // positive, and below the 20 bytes of RFC 5280 section 4.1.2.2
#define BACKDATE_S (60 * 60) // for peers whose clock is behind

static time_t now_s(void)
{
    return (time_t)(sys_wall_ms() / 1000);
}

// ---- Making -------------------------------------------------------------------------------------

static bool add_extension(X509 *certificate, int nid, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, certificate, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    bool ok = extension != NULL && X509_add_ext(certificate, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return ok;
}

static bool set_serial(X509 *certificate)
{
    BIGNUM *number = BN_new();
    bool ok = number != NULL &&
              BN_rand(number, SERIAL_BITS, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1 &&
              BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) != NULL;
    BN_free(number);
    return ok;
}

static bool set_life(X509 *certificate)
{
    time_t now = now_s();
    return X509_time_adj_ex(X509_getm_notBefore(certificate), 0, -BACKDATE_S, &now) != NULL &&
           X509_time_adj_ex(X509_getm_notAfter(certificate), CERTIFICATE_VALID_DAYS, 0, &now) !=
               NULL;
}

// A server's certificate and no authority: browsers refuse to see one at a server. A client may
// still trust it by name (`curl --cacert localhost.crt`).
static bool fill(X509 *certificate, EVP_PKEY *key)
{
    X509_NAME *name = X509_get_subject_name(certificate);
    return X509_set_version(certificate, X509_VERSION_3) == 1 && set_serial(certificate) &&
           set_life(certificate) &&
           X509_NAME_add_entry_by_txt(
               name, "CN", MBSTRING_ASC, (const unsigned char *)"localhost", -1, -1, 0) == 1 &&
           X509_set_issuer_name(certificate, name) == 1 && X509_set_pubkey(certificate, key) == 1 &&
           add_extension(certificate, NID_basic_constraints, "critical,CA:FALSE") &&
           add_extension(certificate, NID_key_usage, "critical,digitalSignature") &&
           add_extension(certificate, NID_ext_key_usage, "serverAuth") &&
           add_extension(certificate, NID_subject_key_identifier, "hash") &&
           add_extension(certificate, NID_subject_alt_name,
               "DNS:localhost,IP:127.0.0.1,IP:0:0:0:0:0:0:0:1") &&
           X509_sign(certificate, key, EVP_sha256()) > 0;
}

static enum weir_result write_bio(BIO *text, const char *path)
{
    char *at = NULL;
    long len = BIO_get_mem_data(text, &at);
    return sys_file_write_private(path, slice_of(at, (size_t)len));
}

static enum weir_result write_pair(
    X509 *certificate, EVP_PKEY *key, const struct certificate_paths *paths)
{
    BIO *key_text = BIO_new(BIO_s_secmem()); // wiped when freed
    BIO *certificate_text = BIO_new(BIO_s_mem());
    enum weir_result result = WEIR_CRYPTO;
    if (key_text != NULL && certificate_text != NULL &&
        PEM_write_bio_PKCS8PrivateKey(key_text, key, NULL, NULL, 0, NULL, NULL) == 1 &&
        PEM_write_bio_X509(certificate_text, certificate) == 1) {
        result = write_bio(key_text, paths->key);
        if (result == WEIR_OK) {
            result = write_bio(certificate_text, paths->certificate);
        }
    }
    BIO_free(certificate_text);
    BIO_free(key_text);
    return result;
}

static enum weir_result make_pair(const struct certificate_paths *paths)
{
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    X509 *certificate = X509_new();
    enum weir_result result = WEIR_CRYPTO;
    if (key != NULL && certificate != NULL && fill(certificate, key)) {
        result = write_pair(certificate, key, paths);
    }
    X509_free(certificate);
    EVP_PKEY_free(key);
    return result;
}

// ---- Keeping ------------------------------------------------------------------------------------

static bool still_good(X509 *certificate, EVP_PKEY *key)
{
    time_t limit = now_s() + CERTIFICATE_RENEW_DAYS * DAY_S;
    return X509_check_private_key(certificate, key) == 1 &&
           X509_cmp_time(X509_get0_notAfter(certificate), &limit) > 0 &&
           X509_check_host(certificate, "localhost", 0, 0, NULL) == 1 &&
           X509_check_ip_asc(certificate, "127.0.0.1", 0) == 1 &&
           X509_check_ip_asc(certificate, "::1", 0) == 1;
}

// Without it libcrypto would ask at the terminal.
static int no_passphrase(char *text, int size, int writing, void *arg)
{
    (void)text;
    (void)size;
    (void)writing;
    (void)arg;
    return -1;
}

// The file as a BIO that reads content, or NULL when it is not there or cannot be read.
static BIO *read_bio(const char *path, struct buf *content)
{
    if (sys_file_read(path, PEM_LEN_MAX, content) != WEIR_OK || content->len == 0) {
        return NULL;
    }
    return BIO_new_mem_buf(buf_slice(content).at, (int)content->len);
}

static bool pair_usable(const struct certificate_paths *paths)
{
    struct buf key_content = BUF_INIT(PEM_LEN_MAX);
    struct buf certificate_content = BUF_INIT(PEM_LEN_MAX);
    BIO *key_text = read_bio(paths->key, &key_content);
    BIO *certificate_text = read_bio(paths->certificate, &certificate_content);
    EVP_PKEY *key =
        key_text == NULL ? NULL : PEM_read_bio_PrivateKey(key_text, NULL, no_passphrase, NULL);
    X509 *certificate = certificate_text == NULL
                            ? NULL
                            : PEM_read_bio_X509(certificate_text, NULL, no_passphrase, NULL);
    bool usable = key != NULL && certificate != NULL && still_good(certificate, key);
    X509_free(certificate);
    EVP_PKEY_free(key);
    BIO_free(certificate_text);
    BIO_free(key_text);
    if (key_content.at != NULL) {
        OPENSSL_cleanse(key_content.at, key_content.size);
    }
    buf_reset(&certificate_content);
    buf_reset(&key_content);
    return usable;
}

enum weir_result certificate_ensure(const char *state_dir, struct certificate_paths *ret_paths)
{
    int certificate_len =
        snprintf(ret_paths->certificate, CERTIFICATE_PATH_SIZE, "%s/localhost.crt", state_dir);
    int key_len = snprintf(ret_paths->key, CERTIFICATE_PATH_SIZE, "%s/localhost.key", state_dir);
    if (certificate_len < 0 || certificate_len >= CERTIFICATE_PATH_SIZE || key_len < 0 ||
        key_len >= CERTIFICATE_PATH_SIZE) {
        return WEIR_TOO_LARGE;
    }
    enum weir_result result = sys_dir_make(state_dir);
    if (result == WEIR_OK && !pair_usable(ret_paths)) {
        result = make_pair(ret_paths);
    }
    ERR_clear_error(); // TLS reads that queue
    return result;
}
