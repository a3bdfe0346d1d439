// SPDX-License-Identifier: Apache-2.0
// TLS around a wire: the peer's end of it, and a session of the engine's that has shaken hands as
// the gate would have done. Keys and nonces are OpenSSL's, and no chance of the world's: but the
// certificate's signature and everything else has a fixed size, so that a seed stays a world.
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <string.h>
#include <sys/socket.h>

#include "sim.h"
#include "stream/tls_carrier.h"
#include "stream/tls_context.h"

#define HANDSHAKE_STEPS 10000
#define RECEIVED_MAX 4096

static SSL_CTX *engine_side;
static SSL_CTX *peer_side;

static void sign(X509 *certificate, EVP_PKEY *key)
{
    X509_NAME *name = X509_get_subject_name(certificate);
    bool ok = X509_NAME_add_entry_by_txt(
                  name, "CN", MBSTRING_ASC, (const unsigned char *)"edge.test", -1, -1, 0) == 1 &&
              X509_set_issuer_name(certificate, name) == 1 &&
              X509_gmtime_adj(X509_getm_notBefore(certificate), 0) != NULL &&
              X509_gmtime_adj(X509_getm_notAfter(certificate), 1000000) != NULL &&
              X509_set_pubkey(certificate, key) == 1 && X509_sign(certificate, key, NULL) > 0;
    sim_check(ok, "no certificate");
}

SSL_CTX *shell_new_server(void)
{
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    X509 *certificate = X509_new();
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    sim_check(key != NULL && certificate != NULL && context != NULL, "no memory for TLS");
    sign(certificate, key);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_num_tickets(context, 0);
    sim_check(SSL_CTX_use_certificate(context, certificate) == 1 &&
                  SSL_CTX_use_PrivateKey(context, key) == 1,
        "no certificate");
    X509_free(certificate);
    EVP_PKEY_free(key);
    return context;
}

static void make_contexts(void)
{
    peer_side = tls_client_new(NULL, false);
    engine_side = shell_new_server();
    sim_check(peer_side != NULL, "no memory for TLS");
}

void shells_end(void)
{
    SSL_CTX_free(engine_side);
    SSL_CTX_free(peer_side);
    engine_side = peer_side = NULL;
}

// ---- Records on their way

bool shell_flush(struct wire *wire)
{
    BIO *outgoing = SSL_get_wbio(wire->ssl);
    char *bytes = NULL;
    long len = BIO_get_mem_data(outgoing, &bytes);
    if (len == 0) {
        return true;
    }
    ssize_t sent = send(wire->fd, bytes, (size_t)len, MSG_NOSIGNAL);
    if (sent < 0) {
        return wire->engine_fd < 0;
    }
    char passed[RECEIVED_MAX];
    for (size_t left = (size_t)sent; left > 0;) {
        int taken = BIO_read(outgoing, passed, (int)(left < sizeof passed ? left : sizeof passed));
        left -= (size_t)taken;
    }
    return sent == len;
}

// WIRE_BYTES: some more records, or parts of them.
static enum wire_news receive(struct wire *wire)
{
    char bytes[RECEIVED_MAX];
    size_t len = 0;
    enum wire_news news = wire_receive_plain(wire, bytes, 1 + sim_below(sizeof bytes), &len);
    if (news == WIRE_BYTES) {
        sim_check(BIO_write(SSL_get_rbio(wire->ssl), bytes, (int)len) == (int)len, "no memory");
    }
    return news;
}

static bool may_go_on(const SSL *ssl, int returned)
{
    int error = SSL_get_error(ssl, returned);
    ERR_clear_error();
    return returned == 1 || error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
}

static bool shake_hands(struct wire *wire, SSL *engine_ssl)
{
    for (size_t i = 0; i < HANDSHAKE_STEPS; i++) {
        int peer = SSL_do_handshake(wire->ssl);
        sim_check(may_go_on(wire->ssl, peer), "a handshake that the peer does not like");
        (void)shell_flush(wire);
        int engine = SSL_do_handshake(engine_ssl);
        if (!may_go_on(engine_ssl, engine)) {
            return false;
        }
        if (peer == 1 && engine == 1) {
            return true;
        }
        (void)receive(wire);
    }
    sim_check(false, "a handshake without end");
    return false;
}

bool shell_open(struct wire *wire, SSL **ret_engine_ssl)
{
    if (engine_side == NULL) {
        make_contexts();
    }
    SSL *engine_ssl = SSL_new(engine_side);
    BIO *in = BIO_new(BIO_s_mem());
    BIO *out = BIO_new(BIO_s_mem());
    wire->ssl = SSL_new(peer_side);
    sim_check(engine_ssl != NULL && wire->ssl != NULL && in != NULL && out != NULL, "no memory");
    BIO_set_mem_eof_return(in, -1);
    SSL_set_bio(wire->ssl, in, out);
    SSL_set_connect_state(wire->ssl);
    SSL_set_accept_state(engine_ssl);
    if (tls_carrier_attach(engine_ssl, wire->engine_fd) == WEIR_OK &&
        shake_hands(wire, engine_ssl)) {
        *ret_engine_ssl = engine_ssl;
        return true;
    }
    SSL_free(engine_ssl);
    return false;
}

// ---- Plaintext

size_t shell_send(struct wire *wire, const void *bytes, size_t len)
{
    size_t written = 0;
    if (!shell_flush(wire) || len == 0) {
        return 0;
    }
    sim_check(SSL_write_ex(wire->ssl, bytes, len, &written) == 1, "a peer that cannot write");
    (void)shell_flush(wire);
    return written;
}

enum wire_news shell_receive(struct wire *wire, void *bytes, size_t size, size_t *ret_len)
{
    (void)shell_flush(wire);
    for (;;) {
        int returned = SSL_read_ex(wire->ssl, bytes, size, ret_len);
        if (returned == 1) {
            return WIRE_BYTES;
        }
        int error = SSL_get_error(wire->ssl, returned);
        ERR_clear_error();
        if (error == SSL_ERROR_ZERO_RETURN) {
            return WIRE_END;
        }
        sim_check(error == SSL_ERROR_WANT_READ, "records that are none");
        enum wire_news news = receive(wire);
        if (news != WIRE_BYTES) {
            return news;
        }
    }
}

void shell_finish(struct wire *wire)
{
    if ((SSL_get_shutdown(wire->ssl) & SSL_SENT_SHUTDOWN) == 0) {
        (void)SSL_shutdown(wire->ssl);
        ERR_clear_error();
        (void)shell_flush(wire);
    }
}
