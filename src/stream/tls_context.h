// SPDX-License-Identifier: Apache-2.0
// TLS contexts. Each worker has its own library context, because OpenSSL 3.0 shares locks within
// one; the keys of session tickets are shared, so that a session resumes on any worker.
#ifndef WEIR_STREAM_TLS_CONTEXT_H
#define WEIR_STREAM_TLS_CONTEXT_H

#include <openssl/ssl.h>
#include <stdint.h>

#include "base/result.h"
#include "stream/tls_tickets.h"

// What a listener serves; shared read-only by all workers.
struct tls_settings {
    const char *certificate_path; // PEM chain, the leaf first
    const char *key_path;         // PEM
    const char *client_ca_path;   // PEM; a certificate of the peer's is asked for, and must be good
                                  // when there is one. NULL: none is asked for.
    struct tls_tickets *tickets;  // borrowed
    // Chooses the protocol (SSL_CTX_set_alpn_select_cb); NULL: http/1.1 and nothing else.
    SSL_CTX_alpn_select_cb_func select_alpn;
};

struct tls_server {
    OSSL_LIB_CTX *library; // owned
    SSL_CTX *current;      // owned; connections hold their own references
    struct tls_ticket_ring ring;
    uint64_t stamp;     // of the files current was made from, or that could not be used
    uint64_t looked_ns; // when tls_server_refresh last asked for the stamp
};

// Loads the pair. On failure nothing is changed, and problem (size bytes) says why in English.
enum weir_result tls_server_load(struct tls_server *server, const struct tls_settings *settings,
    char *problem, size_t size) WEIR_MUST_CHECK;
void tls_server_fini(struct tls_server *server);

enum tls_refresh { TLS_UNCHANGED, TLS_RELOADED, TLS_REJECTED };
// Loads the pair again when its files have changed since they were last looked at, which is at most
// once a second: to be called before a handshake. A pair that cannot be used leaves the old one
// served, and is not tried again until the files change again (spec engine, section 3.4). problem
// is filled when TLS_REJECTED.
enum tls_refresh tls_server_refresh(struct tls_server *server, const struct tls_settings *settings,
    uint64_t now_ns, char *problem, size_t size);
// Changes whenever one of the two files does.
uint64_t tls_settings_stamp(const struct tls_settings *settings);
// Seconds since 1970 at which the served certificate ends; 0 when unknown.
int64_t tls_server_expiry(const struct tls_server *server);

// For further pairs of the same listener: a context of another pair, which may not outlive server.
// NULL: problem (size bytes) says why in English.
SSL_CTX *tls_server_context(struct tls_server *server, const struct tls_settings *settings,
    char *problem, size_t size) WEIR_MUST_CHECK;
// As tls_server_expiry; 0 for NULL.
int64_t tls_context_expiry(const SSL_CTX *context);

// A client context that verifies against ca_path, or the system's store when NULL; verify false
// accepts anything (for a demo on loopback). NULL on failure.
SSL_CTX *tls_client_new(const char *ca_path, bool verify);

#endif
