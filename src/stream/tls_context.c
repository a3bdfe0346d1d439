// SPDX-License-Identifier: Apache-2.0
#include "stream/tls_context.h"

#include <openssl/err.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <time.h>

#include "base/time.h"
#include "stream/tls_patience.h"
#include "sys/file.h"
#include "sys/socket.h"

#define LOOK_INTERVAL_NS NS_PER_S

// OpenSSL's own reason for the last failure, in words.
static void explain(char *problem, size_t size, const char *act, const char *path)
{
    unsigned long code = ERR_get_error();
    const char *reason = code == 0 ? NULL
                         : ERR_SYSTEM_ERROR(code) ? strerror(ERR_GET_REASON(code))
                                                  : ERR_reason_error_string(code);
    snprintf(problem, size, "%s %s: %s", act, path, reason == NULL ? "unknown error" : reason);
    ERR_clear_error();
}

// TLS 1.2 without compression or renegotiation, and 1.3. An idle connection keeps no buffers.
static bool harden(SSL_CTX *context)
{
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_options(
        context, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
    if (sys_has_kernel_tls()) {
        // Elsewhere each connection would ask the kernel, twice and in vain.
        SSL_CTX_set_options(context, SSL_OP_ENABLE_KTLS);
    }
    SSL_CTX_set_read_ahead(context, 1);
    tls_patience_limit(context);
    return SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) == 1;
}

// Only HTTP/1.1 can carry the WebSocket upgrade; a client that offers ALPN must offer that.
static int select_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
    const unsigned char *in, unsigned in_len, void *arg)
{
    static const unsigned char ours[] = "\x08http/1.1";
    (void)ssl;
    (void)arg;
    unsigned char *selected;
    if (SSL_select_next_proto(&selected, out_len, ours, sizeof ours - 1, in, in_len) !=
        OPENSSL_NPN_NEGOTIATED) {
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    }
    *out = selected;
    return SSL_TLSEXT_ERR_OK;
}

static bool load_pair(
    SSL_CTX *context, const struct tls_settings *settings, char *problem, size_t size)
{
    if (SSL_CTX_use_certificate_chain_file(context, settings->certificate_path) != 1) {
        explain(problem, size, "cannot use certificate", settings->certificate_path);
        return false;
    }
    if (SSL_CTX_use_PrivateKey_file(context, settings->key_path, SSL_FILETYPE_PEM) != 1) {
        explain(problem, size, "cannot use private key", settings->key_path);
        return false;
    }
    if (SSL_CTX_check_private_key(context) != 1) {
        explain(problem, size, "the key does not belong to the certificate:", settings->key_path);
        return false;
    }
    return true;
}

// Without tickets: a session that is resumed would be judged by the certificates of its first time.
static bool ask_for_certificates(SSL_CTX *context, const char *path, char *problem, size_t size)
{
    STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(path);
    if (names == NULL || SSL_CTX_load_verify_locations(context, path, NULL) != 1) {
        explain(problem, size, "cannot use the certificates for clients", path);
        sk_X509_NAME_pop_free(names, X509_NAME_free);
        return false;
    }
    SSL_CTX_set_client_CA_list(context, names);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
    return SSL_CTX_set_num_tickets(context, 0) == 1;
}

uint64_t tls_settings_stamp(const struct tls_settings *settings)
{
    uint64_t stamp =
        sys_file_stamp(settings->certificate_path) * 31 + sys_file_stamp(settings->key_path);
    return settings->client_ca_path == NULL ? stamp
                                            : stamp * 31 + sys_file_stamp(settings->client_ca_path);
}

// The library and the ring are made once, before the first context.
static bool prepare(struct tls_server *server, const struct tls_settings *settings)
{
    if (server->library == NULL) {
        server->library = OSSL_LIB_CTX_new();
    }
    return server->library != NULL &&
           (server->ring.cipher != NULL ||
               tls_ticket_ring_init(&server->ring, server->library, settings->tickets) == WEIR_OK);
}

SSL_CTX *tls_server_context(
    struct tls_server *server, const struct tls_settings *settings, char *problem, size_t size)
{
    SSL_CTX *context = !prepare(server, settings)
                           ? NULL
                           : SSL_CTX_new_ex(server->library, NULL, TLS_server_method());
    if (context == NULL || !harden(context) ||
        tls_ticket_ring_attach(&server->ring, context) != WEIR_OK) {
        explain(problem, size, "cannot make a TLS context for", settings->certificate_path);
        SSL_CTX_free(context);
        return NULL;
    }
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(context, 1);
    SSL_CTX_set_max_early_data(context, 0);
    SSL_CTX_set_alpn_select_cb(
        context, settings->select_alpn == NULL ? select_alpn : settings->select_alpn, NULL);
    if (!load_pair(context, settings, problem, size) ||
        (settings->client_ca_path != NULL &&
            !ask_for_certificates(context, settings->client_ca_path, problem, size))) {
        SSL_CTX_free(context);
        return NULL;
    }
    return context;
}

enum weir_result tls_server_load(
    struct tls_server *server, const struct tls_settings *settings, char *problem, size_t size)
{
    uint64_t stamp = tls_settings_stamp(settings);
    SSL_CTX *context = tls_server_context(server, settings, problem, size);
    if (context == NULL) {
        return WEIR_CRYPTO;
    }
    SSL_CTX_free(server->current);
    server->current = context;
    server->stamp = stamp;
    return WEIR_OK;
}

enum tls_refresh tls_server_refresh(struct tls_server *server, const struct tls_settings *settings,
    uint64_t now_ns, char *problem, size_t size)
{
    if (now_ns - server->looked_ns < LOOK_INTERVAL_NS) {
        return TLS_UNCHANGED;
    }
    server->looked_ns = now_ns;
    uint64_t stamp = tls_settings_stamp(settings);
    if (stamp == server->stamp) {
        return TLS_UNCHANGED;
    }
    if (tls_server_load(server, settings, problem, size) == WEIR_OK) {
        return TLS_RELOADED;
    }
    server->stamp = stamp;
    return TLS_REJECTED;
}

void tls_server_fini(struct tls_server *server)
{
    SSL_CTX_free(server->current);
    tls_ticket_ring_fini(&server->ring);
    OSSL_LIB_CTX_free(server->library);
    *server = (struct tls_server){0};
}

int64_t tls_server_expiry(const struct tls_server *server)
{
    return tls_context_expiry(server->current);
}

int64_t tls_context_expiry(const SSL_CTX *context)
{
    X509 *leaf = context == NULL ? NULL : SSL_CTX_get0_certificate(context);
    struct tm tm;
    if (leaf == NULL || ASN1_TIME_to_tm(X509_get0_notAfter(leaf), &tm) != 1) {
        return 0;
    }
    return (int64_t)timegm(&tm);
}

SSL_CTX *tls_client_new(const char *ca_path, bool verify)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    bool ok = context != NULL && harden(context);
    if (ok && verify) {
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
        ok = ca_path == NULL ? SSL_CTX_set_default_verify_paths(context) == 1
                             : SSL_CTX_load_verify_locations(context, ca_path, NULL) == 1;
    }
    if (!ok) {
        SSL_CTX_free(context);
        return NULL;
    }
    return context;
}
