// SPDX-License-Identifier: Apache-2.0
// A look at certificates before anything listens, so that what a handshake would trip over is a
// line about the key that names the file.
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>

#include "base/hostname.h"
#include "engine/config/config_internal.h"
#include "sys/file.h"

#define PEM_BYTES_MAX (1024 * 1024)

static bool read_file(
    const char *path, const char *label, struct buf *out, struct conf_problems *problems)
{
    enum weir_result result = sys_file_read(path, PEM_BYTES_MAX, out);
    if (result != WEIR_OK) {
        conf_error(
            problems, "%s: \"%.240s\" cannot be read: %s", label, path, weir_result_text(result));
    }
    return result == WEIR_OK;
}

// No question on the terminal: a key with a passphrase cannot be used.
static int no_passphrase(char *text, int size, int writing, void *arg)
{
    (void)text;
    (void)size;
    (void)writing;
    (void)arg;
    return -1;
}

// NULL: there is none in it.
static X509 *parse_leaf(const struct buf *pem)
{
    BIO *bio = BIO_new_mem_buf(buf_slice(pem).at, (int)pem->len);
    X509 *leaf = bio == NULL ? NULL : PEM_read_bio_X509(bio, NULL, no_passphrase, NULL);
    BIO_free(bio);
    return leaf;
}

static X509 *read_leaf(const char *path, const char *label, struct conf_problems *problems)
{
    struct buf pem = BUF_INIT(PEM_BYTES_MAX);
    X509 *leaf = NULL;
    if (read_file(path, label, &pem, problems)) {
        leaf = parse_leaf(&pem);
        if (leaf == NULL) {
            conf_error(problems, "%s: \"%.240s\" holds no certificate in PEM form", label, path);
        }
    }
    buf_reset(&pem);
    return leaf;
}

static EVP_PKEY *read_key(const char *path, const char *label, struct conf_problems *problems)
{
    struct buf pem = BUF_INIT(PEM_BYTES_MAX);
    EVP_PKEY *key = NULL;
    if (read_file(path, label, &pem, problems)) {
        struct slice bytes = buf_slice(&pem);
        BIO *bio = BIO_new_mem_buf(bytes.at, (int)bytes.len);
        key = bio == NULL ? NULL : PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
        BIO_free(bio);
        if (key == NULL) {
            conf_error(problems,
                "%s: \"%.240s\" holds no private key in PEM form, or one with a passphrase", label,
                path);
        }
        OPENSSL_cleanse(pem.at, pem.size);
    }
    buf_reset(&pem);
    return key;
}

static bool covers(X509 *leaf, const char *name)
{
    return X509_check_host(leaf, name, strlen(name), 0, NULL) == 1;
}

// A further pair has the name; what is wrong with its files was said before.
static bool others_cover(const struct engine_config *config, const char *name)
{
    bool found = false;
    for (size_t i = 0; config->extensions_enabled && i < config->cert_count && !found; i++) {
        struct buf pem = BUF_INIT(PEM_BYTES_MAX);
        const char *path = config->certs[i].cert_file;
        if (path != NULL && sys_file_read(path, PEM_BYTES_MAX, &pem) == WEIR_OK) {
            X509 *leaf = parse_leaf(&pem);
            found = leaf != NULL && covers(leaf, name);
            X509_free(leaf);
        }
        buf_reset(&pem);
    }
    return found;
}

static void look_at_names(X509 *leaf, const char *label, const struct engine_config *config,
    struct conf_problems *problems)
{
    const char *host = config->host;
    // A label that nobody has a certificate for by name.
    char tunnel[HOSTNAME_SIZE + 16];
    snprintf(tunnel, sizeof tunnel, "weir-0.t.%s", host);
    if (!covers(leaf, host) && !others_cover(config, host)) {
        conf_warning(problems,
            "%s: the certificate is not for %s: agents and users of the API will refuse it", label,
            host);
    }
    if (!covers(leaf, tunnel) && !others_cover(config, tunnel)) {
        conf_warning(problems,
            "%s: the certificate is not for *.t.%s: browsers will refuse the tunnels (a wildcard "
            "for *.%s does not cover them)",
            label, host, host);
    }
}

static void look_at_time(X509 *leaf, const char *label, struct conf_problems *problems)
{
    if (X509_cmp_current_time(X509_get0_notAfter(leaf)) < 0) {
        conf_warning(problems, "%s: the certificate has expired", label);
    } else if (X509_cmp_current_time(X509_get0_notBefore(leaf)) > 0) {
        conf_warning(problems, "%s: the certificate is not valid yet", label);
    }
}

void engine_config_certs_check(const char *cert_file, const char *cert_label, const char *key_file,
    const char *key_label, const struct engine_config *config, struct conf_problems *problems)
{
    X509 *leaf = read_leaf(cert_file, cert_label, problems);
    EVP_PKEY *key = read_key(key_file, key_label, problems);
    if (leaf != NULL && key != NULL && X509_check_private_key(leaf, key) != 1) {
        conf_error(problems,
            "%s: the key in \"%.240s\" does not belong to the certificate in "
            "\"%.240s\"",
            key_label, key_file, cert_file);
    }
    if (leaf != NULL) {
        look_at_time(leaf, cert_label, problems);
    }
    if (leaf != NULL && config != NULL && config->host != NULL) {
        look_at_names(leaf, cert_label, config, problems);
    }
    X509_free(leaf);
    EVP_PKEY_free(key);
    ERR_clear_error();
}
