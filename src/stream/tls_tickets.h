// SPDX-License-Identifier: Apache-2.0
// Keys of session tickets (RFC 5077 section 4, RFC 8446 section 4.6.1), shared by the workers of a
// listener, so that a session resumes on any of them. Whoever learns a key can read the sessions
// that were resumed by its tickets, so keys are random, short-lived and forgotten: tickets are
// sealed with the current key; the previous one still opens its own.
#ifndef WEIR_STREAM_TLS_TICKETS_H
#define WEIR_STREAM_TLS_TICKETS_H

#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "base/result.h"
#include "base/time.h"

// Longer than OpenSSL lets a session be resumed (two hours), so the previous key is enough.
#define TLS_TICKET_KEY_LIFE_NS (12 * 3600 * NS_PER_S)

struct tls_ticket_key {
    unsigned char name[16];
    unsigned char mac[32];
    unsigned char cipher[32];
};

enum { TLS_TICKET_CURRENT, TLS_TICKET_PREVIOUS, TLS_TICKET_KEYS };

// Any thread.
struct tls_tickets {
    pthread_mutex_t lock; // of what follows, but turns may be read without
    struct tls_ticket_key keys[TLS_TICKET_KEYS];
    uint64_t since_ns;          // of the current key
    atomic_uint_fast64_t turns; // changes with the keys
};

// Keys made at now_ns (monotonic).
enum weir_result tls_tickets_init(struct tls_tickets *tickets, uint64_t now_ns) WEIR_MUST_CHECK;
// Forgets the keys; no ring uses them any more. Zeroed memory is fine.
void tls_tickets_fini(struct tls_tickets *tickets);
// Replaces the keys that are out of date. Returns when to look again.
uint64_t tls_tickets_turn(struct tls_tickets *tickets, uint64_t now_ns);
// How many keys are out of date: 0; 1, and the current one becomes the previous; or both.
unsigned tls_tickets_due(uint64_t since_ns, uint64_t now_ns);

// One worker's copy of the keys.
struct tls_ticket_ring {
    struct tls_tickets *tickets; // borrowed
    OSSL_LIB_CTX *library;       // borrowed
    EVP_CIPHER *cipher;          // owned
    struct tls_ticket_key keys[TLS_TICKET_KEYS];
    uint64_t turns; // that keys are of
};

enum weir_result tls_ticket_ring_init(struct tls_ticket_ring *ring, OSSL_LIB_CTX *library,
    struct tls_tickets *tickets) WEIR_MUST_CHECK;
// No handshake of its contexts follows. Zeroed memory is fine.
void tls_ticket_ring_fini(struct tls_ticket_ring *ring);
// Tickets of that context are sealed and opened with the ring, which outlives its last handshake.
// Takes the context's app data.
enum weir_result tls_ticket_ring_attach(
    struct tls_ticket_ring *ring, SSL_CTX *context) WEIR_MUST_CHECK;

#endif
