// SPDX-License-Identifier: Apache-2.0
// Sessions over a pair of buffers, whose peer says things that carry nothing.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/time.h"
#include "stream/tls_patience.h"

static uint64_t now_ns;
static SSL *server;
static SSL *client;

uint64_t __wrap_sys_now_ns(void);

uint64_t __wrap_sys_now_ns(void)
{
    return now_ns;
}

static unsigned give_key(SSL *ssl, const char *hint, char *identity, unsigned identity_size,
    unsigned char *key, unsigned key_size)
{
    (void)ssl, (void)hint, (void)identity_size, (void)key_size;
    strcpy(identity, "x");
    memset(key, 7, 32);
    return 32;
}

static unsigned check_key(SSL *ssl, const char *identity, unsigned char *key, unsigned key_size)
{
    (void)ssl, (void)identity, (void)key_size;
    memset(key, 7, 32);
    return 32;
}

static SSL *new_session(int version, bool limited)
{
    SSL_CTX *context = SSL_CTX_new(TLS_method());
    assert_int_equal(SSL_CTX_set_min_proto_version(context, version), 1);
    assert_int_equal(SSL_CTX_set_max_proto_version(context, version), 1);
    assert_int_equal(SSL_CTX_set_ciphersuites(context, "TLS_AES_128_GCM_SHA256"), 1);
    assert_int_equal(SSL_CTX_set_cipher_list(context, "PSK-AES128-GCM-SHA256"), 1);
    SSL_CTX_set_psk_client_callback(context, give_key);
    SSL_CTX_set_psk_server_callback(context, check_key);
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_num_tickets(context, 0);
    if (limited) {
        SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION);
        tls_patience_limit(context);
    }
    SSL *ssl = SSL_new(context);
    SSL_CTX_free(context);
    return ssl;
}

// ours is held to the limit.
static void open_pair(int version, SSL **ours, SSL **theirs)
{
    BIO *one = NULL;
    BIO *other = NULL;
    now_ns = 5 * TLS_PATIENCE_NS;
    assert_int_equal(BIO_new_bio_pair(&one, 1 << 20, &other, 1 << 20), 1);
    *ours = new_session(version, true);
    *theirs = new_session(version, false);
    SSL_set_bio(*ours, one, one);
    SSL_set_bio(*theirs, other, other);
    SSL_set_accept_state(server);
    SSL_set_connect_state(client);
    for (int i = 0; i < 4; i++) {
        SSL_do_handshake(client);
        SSL_do_handshake(server);
    }
    assert_true(SSL_is_init_finished(client) && SSL_is_init_finished(server));
}

static void close_pair(void)
{
    SSL_free(server);
    SSL_free(client);
}

static int read_error(SSL *ssl)
{
    char bytes[100];
    size_t len;
    return SSL_get_error(ssl, SSL_read_ex(ssl, bytes, sizeof bytes, &len));
}

static void send_updates(SSL *ssl, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(SSL_key_update(ssl, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
        assert_int_equal(SSL_do_handshake(ssl), 1);
    }
}

static void flood(SSL *ours, SSL *theirs)
{
    send_updates(theirs, TLS_PATIENCE_MAX);
    assert_int_equal(read_error(ours), SSL_ERROR_WANT_READ);
    now_ns += TLS_PATIENCE_NS;
    send_updates(theirs, TLS_PATIENCE_MAX);
    assert_int_equal(read_error(ours), SSL_ERROR_WANT_READ);
    assert_int_equal(SSL_write(theirs, "x", 1), 1);
    assert_int_equal(read_error(ours), SSL_ERROR_NONE);
    send_updates(theirs, 2000);
    assert_int_equal(read_error(ours), SSL_ERROR_ZERO_RETURN);
    // Most of it is where it was.
    size_t left = (size_t)BIO_pending(SSL_get_rbio(ours));
    assert_true(left > 0);
}

static void a_client_that_only_changes_its_keys(void **state)
{
    (void)state;
    open_pair(TLS1_3_VERSION, &server, &client);
    flood(server, client);
    close_pair();
}

static void a_server_that_only_changes_its_keys(void **state)
{
    (void)state;
    open_pair(TLS1_3_VERSION, &client, &server);
    flood(client, server);
    close_pair();
}

static void a_server_that_only_gives_tickets(void **state)
{
    (void)state;
    open_pair(TLS1_3_VERSION, &client, &server);
    for (int i = 0; i < TLS_PATIENCE_MAX + 8; i++) {
        assert_int_equal(SSL_new_session_ticket(server), 1);
        assert_int_equal(SSL_do_handshake(server), 1);
    }
    assert_int_equal(read_error(client), SSL_ERROR_ZERO_RETURN);
    close_pair();
}

static void a_client_that_renegotiates(void **state)
{
    (void)state;
    open_pair(TLS1_2_VERSION, &server, &client);
    assert_int_equal(SSL_renegotiate(client), 1);
    assert_int_equal(SSL_do_handshake(client), -1);
    // The attempt is behind us when it is seen that nothing is to be read any more.
    (void)read_error(server);
    assert_int_equal(read_error(server), SSL_ERROR_ZERO_RETURN);
    close_pair();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_client_that_only_changes_its_keys),
        cmocka_unit_test(a_server_that_only_changes_its_keys),
        cmocka_unit_test(a_server_that_only_gives_tickets),
        cmocka_unit_test(a_client_that_renegotiates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
