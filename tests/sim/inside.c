// SPDX-License-Identifier: Apache-2.0
// TLS of a service's own inside of a wire that has TLS already: its records are what the wire's
// session carries. They are handed to that one at once, so that nothing overtakes anything; the
// wire takes them when it can.
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <string.h>

#include "sim.h"

#define PIECE_MAX 4096
#define ALPN_H2 "\x02h2"
#define ALPN_H1 "\x08http/1.1"

static SSL_CTX *services;
static char with_h2; // an address that stands for "chooses h2"

static int choose(SSL *ssl, const unsigned char **out, unsigned char *out_len,
    const unsigned char *offered, unsigned len, void *arg)
{
    const char *wanted = SSL_get_app_data(ssl) == &with_h2 ? ALPN_H2 : ALPN_H1;
    unsigned char *chosen = NULL;
    (void)arg;
    if (SSL_select_next_proto(&chosen, out_len, (const unsigned char *)wanted,
            (unsigned)strlen(wanted), offered, len) != OPENSSL_NPN_NEGOTIATED) {
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    }
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

void inside_end(void)
{
    SSL_CTX_free(services);
    services = NULL;
}

void inside_begin(struct wire *wire, bool h2, struct slice first)
{
    if (wire->fd < 0) {
        return;
    }
    if (services == NULL) {
        services = shell_new_server();
        SSL_CTX_set_alpn_select_cb(services, choose, NULL);
    }
    BIO *in = BIO_new(BIO_s_mem());
    BIO *out = BIO_new(BIO_s_mem());
    wire->inner = SSL_new(services);
    sim_check(wire->inner != NULL && in != NULL && out != NULL, "no memory");
    BIO_set_mem_eof_return(in, -1);
    SSL_set_bio(wire->inner, in, out);
    SSL_set_accept_state(wire->inner);
    SSL_set_app_data(wire->inner, h2 ? &with_h2 : NULL);
    if (first.len > 0) {
        sim_check(BIO_write(in, first.at, (int)first.len) == (int)first.len, "no memory");
    }
}

// Its records become those of the wire's session.
static void pass_on(struct wire *wire)
{
    BIO *outgoing = SSL_get_wbio(wire->inner);
    char *bytes = NULL;
    long len = BIO_get_mem_data(outgoing, &bytes);
    bool ended = (SSL_get_shutdown(wire->ssl) & SSL_SENT_SHUTDOWN) != 0;
    for (size_t at = 0, written; !ended && at < (size_t)len; at += written) {
        sim_check(SSL_write_ex(wire->ssl, bytes + at, (size_t)len - at, &written) == 1,
            "a peer that cannot write");
    }
    (void)BIO_reset(outgoing);
    (void)shell_flush(wire);
}

size_t inside_send(struct wire *wire, const void *bytes, size_t len)
{
    size_t written = 0;
    if (!shell_flush(wire) || len == 0) {
        return 0;
    }
    // Before it has shaken hands it writes nothing.
    int returned = SSL_write_ex(wire->inner, bytes, len, &written);
    sim_check(returned == 1 || SSL_get_error(wire->inner, returned) == SSL_ERROR_WANT_READ,
        "a service that cannot write");
    ERR_clear_error();
    pass_on(wire);
    return written;
}

enum wire_news inside_receive(struct wire *wire, void *bytes, size_t size, size_t *ret_len)
{
    for (;;) {
        int returned = SSL_read_ex(wire->inner, bytes, size, ret_len);
        int error = SSL_get_error(wire->inner, returned);
        ERR_clear_error();
        pass_on(wire);
        if (returned == 1) {
            return WIRE_BYTES;
        }
        if (error == SSL_ERROR_ZERO_RETURN) {
            return WIRE_END;
        }
        sim_check(error == SSL_ERROR_WANT_READ, "records inside that are none");
        char piece[PIECE_MAX];
        size_t len = 0;
        enum wire_news news = shell_receive(wire, piece, 1 + sim_below(sizeof piece), &len);
        if (news != WIRE_BYTES) {
            return news;
        }
        sim_check(BIO_write(SSL_get_rbio(wire->inner), piece, (int)len) == (int)len, "no memory");
    }
}

void inside_finish(struct wire *wire)
{
    if (SSL_is_init_finished(wire->inner) &&
        (SSL_get_shutdown(wire->inner) & SSL_SENT_SHUTDOWN) == 0) {
        (void)SSL_shutdown(wire->inner);
        ERR_clear_error();
    }
    pass_on(wire);
}
