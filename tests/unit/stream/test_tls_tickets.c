// SPDX-License-Identifier: Apache-2.0
// The keys of session tickets: when they turn, and what resumes afterwards. Handshakes run in
// memory, with TLS 1.2 and 1.3.
#include "stream/tls_tickets.h"

#include <openssl/x509.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
// cmocka wants the four above.
#include <cmocka.h>

#define LIFE TLS_TICKET_KEY_LIFE_NS
#define START_NS (1000 * NS_PER_S)

static void test_schedule(void **state)
{
    static const struct {
        uint64_t since_ns;
        uint64_t now_ns;
        unsigned due;
    } rows[] = {
        {0, 0, 0},
        {0, LIFE - 1, 0},
        {0, LIFE, 1},
        {0, 2 * LIFE - 1, 1},
        {0, 2 * LIFE, 2},
        {0, 1000 * LIFE, 2},
        {5, LIFE + 4, 0},
        {5, LIFE + 5, 1},
        {7, 6, 0},
        {0, UINT64_MAX, 2},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(tls_tickets_due(rows[i].since_ns, rows[i].now_ns), rows[i].due);
    }
}

static bool same(const struct tls_ticket_key *a, const struct tls_ticket_key *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

static void test_turning(void **state)
{
    struct tls_tickets tickets;
    (void)state;
    assert_int_equal(tls_tickets_init(&tickets, START_NS), WEIR_OK);
    struct tls_ticket_key first = tickets.keys[TLS_TICKET_CURRENT];
    assert_true(tls_tickets_turn(&tickets, START_NS + 1) == START_NS + LIFE);
    assert_true(same(&first, &tickets.keys[TLS_TICKET_CURRENT]));
    uint64_t late_ns = START_NS + LIFE + 3;
    assert_true(tls_tickets_turn(&tickets, late_ns) == late_ns + LIFE);
    struct tls_ticket_key second = tickets.keys[TLS_TICKET_CURRENT];
    assert_true(same(&first, &tickets.keys[TLS_TICKET_PREVIOUS]));
    assert_false(same(&first, &second));
    // Nobody looked for more than a day: neither is good any more.
    tls_tickets_turn(&tickets, late_ns + 2 * LIFE);
    for (int i = 0; i < TLS_TICKET_KEYS; i++) {
        assert_false(same(&first, &tickets.keys[i]));
        assert_false(same(&second, &tickets.keys[i]));
    }
    tls_tickets_fini(&tickets);
}

// ---- Handshakes

static SSL_CTX *new_server(struct tls_ticket_ring *ring)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = X509_new();
    X509_gmtime_adj(X509_getm_notBefore(certificate), -60);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    assert_int_equal(X509_set_pubkey(certificate, key), 1);
    assert_true(X509_sign(certificate, key, EVP_sha256()) > 0);
    assert_int_equal(SSL_CTX_use_certificate(context, certificate), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(context, key), 1);
    X509_free(certificate);
    EVP_PKEY_free(key);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    assert_int_equal(tls_ticket_ring_attach(ring, context), WEIR_OK);
    return context;
}

static SSL *new_end(SSL_CTX *context, BIO *in, BIO *out)
{
    SSL *ssl = SSL_new(context);
    BIO_up_ref(in);
    BIO_up_ref(out);
    SSL_set_bio(ssl, in, out);
    return ssl;
}

// A handshake and a byte of the server, behind which the ticket of TLS 1.3 is known. *session is
// offered, and becomes the one to offer next.
static bool resumes(SSL_CTX *server_context, SSL_CTX *client_context, SSL_SESSION **session)
{
    BIO *up = BIO_new(BIO_s_mem());
    BIO *down = BIO_new(BIO_s_mem());
    SSL *server = new_end(server_context, up, down);
    SSL *client = new_end(client_context, down, up);
    char byte = 'x';
    SSL_set_accept_state(server);
    SSL_set_connect_state(client);
    if (*session != NULL) {
        assert_int_equal(SSL_set_session(client, *session), 1);
    }
    for (int i = 0; i < 4; i++) {
        SSL_do_handshake(client);
        SSL_do_handshake(server);
    }
    assert_int_equal(SSL_write(server, &byte, 1), 1);
    assert_int_equal(SSL_read(client, &byte, 1), 1);
    bool resumed = SSL_session_reused(server) == 1;
    assert_int_equal(SSL_session_reused(client), resumed);
    SSL_SESSION_free(*session);
    *session = SSL_get1_session(client);
    SSL_set_shutdown(client, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_set_shutdown(server, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(server);
    SSL_free(client);
    BIO_free(up);
    BIO_free(down);
    return resumed;
}

// Two workers of one listener; one handshake after another, at these moments.
static void run_version(int version)
{
    struct tls_tickets tickets;
    struct tls_ticket_ring rings[2];
    SSL_CTX *servers[2];
    SSL_CTX *client = SSL_CTX_new(TLS_client_method());
    SSL_SESSION *session = NULL;
    static const struct {
        uint64_t turn_ns;
        unsigned worker;
        bool resumed;
    } rows[] = {
        {START_NS, 0, false},
        {START_NS, 0, true},
        {START_NS, 1, true},
        {START_NS + LIFE, 0, true}, // by the previous key; the new ticket is of the current one
        {START_NS + 2 * LIFE, 1, true},
        {START_NS + 4 * LIFE, 0, false}, // both are gone
        {START_NS + 4 * LIFE, 1, true},
    };
    assert_int_equal(tls_tickets_init(&tickets, START_NS), WEIR_OK);
    assert_int_equal(SSL_CTX_set_min_proto_version(client, version), 1);
    assert_int_equal(SSL_CTX_set_max_proto_version(client, version), 1);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(tls_ticket_ring_init(&rings[i], NULL, &tickets), WEIR_OK);
        servers[i] = new_server(&rings[i]);
    }
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        tls_tickets_turn(&tickets, rows[i].turn_ns);
        assert_int_equal(resumes(servers[rows[i].worker], client, &session), rows[i].resumed);
    }
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    for (int i = 0; i < 2; i++) {
        SSL_CTX_free(servers[i]);
        tls_ticket_ring_fini(&rings[i]);
    }
    tls_tickets_fini(&tickets);
}

static void test_resuming(void **state)
{
    (void)state;
    run_version(TLS1_2_VERSION);
    run_version(TLS1_3_VERSION);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_schedule),
        cmocka_unit_test(test_turning),
        cmocka_unit_test(test_resuming),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
