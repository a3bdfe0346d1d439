// SPDX-License-Identifier: Apache-2.0
// One timer turns the keys; every worker copies them when the number of turns is not the one it
// knows, so a handshake costs an atomic load and takes the lock twice a day.
//
// A ticket is what RFC 5077 section 4 recommends: name, IV, AES-256-CBC, HMAC-SHA-256 over all.
#include "stream/tls_tickets.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <string.h>

#include "sys/entropy.h"

#define NO_ENTROPY_NS (60 * NS_PER_S) // until the next try
#define IV_LEN 16

// ---- Schedule

unsigned tls_tickets_due(uint64_t since_ns, uint64_t now_ns)
{
    uint64_t lives = now_ns < since_ns ? 0 : (now_ns - since_ns) / TLS_TICKET_KEY_LIFE_NS;
    return lives > TLS_TICKET_KEYS ? TLS_TICKET_KEYS : (unsigned)lives;
}

static void replace(struct tls_tickets *tickets, const struct tls_ticket_key *fresh, bool both)
{
    tickets->keys[TLS_TICKET_PREVIOUS] =
        both ? fresh[TLS_TICKET_PREVIOUS] : tickets->keys[TLS_TICKET_CURRENT];
    tickets->keys[TLS_TICKET_CURRENT] = fresh[TLS_TICKET_CURRENT];
}

uint64_t tls_tickets_turn(struct tls_tickets *tickets, uint64_t now_ns)
{
    struct tls_ticket_key fresh[TLS_TICKET_KEYS];
    pthread_mutex_lock(&tickets->lock);
    unsigned due = tls_tickets_due(tickets->since_ns, now_ns);
    bool ready = due > 0 && sys_entropy(fresh, sizeof fresh) == WEIR_OK;
    if (ready) {
        replace(tickets, fresh, due == TLS_TICKET_KEYS);
        tickets->since_ns = now_ns;
        atomic_fetch_add(&tickets->turns, 1);
    }
    uint64_t next_ns =
        due > 0 && !ready ? now_ns + NO_ENTROPY_NS : tickets->since_ns + TLS_TICKET_KEY_LIFE_NS;
    pthread_mutex_unlock(&tickets->lock);
    OPENSSL_cleanse(fresh, sizeof fresh);
    return next_ns;
}

enum weir_result tls_tickets_init(struct tls_tickets *tickets, uint64_t now_ns)
{
    *tickets = (struct tls_tickets){.since_ns = now_ns, .turns = 1};
    pthread_mutex_init(&tickets->lock, NULL);
    return sys_entropy(tickets->keys, sizeof tickets->keys);
}

void tls_tickets_fini(struct tls_tickets *tickets)
{
    OPENSSL_cleanse(tickets, sizeof *tickets);
}

// ---- A worker's copy

static void catch_up(struct tls_ticket_ring *ring)
{
    struct tls_tickets *tickets = ring->tickets;
    if (atomic_load(&tickets->turns) == ring->turns) {
        return;
    }
    pthread_mutex_lock(&tickets->lock);
    memcpy(ring->keys, tickets->keys, sizeof ring->keys);
    ring->turns = atomic_load(&tickets->turns);
    pthread_mutex_unlock(&tickets->lock);
}

static bool set_up(const struct tls_ticket_ring *ring, const struct tls_ticket_key *key,
    const unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int sealing)
{
    unsigned char secret[sizeof key->mac];
    char digest[] = "SHA256";
    memcpy(secret, key->mac, sizeof secret); // OpenSSL's parameters are not const
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, secret, sizeof secret),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    bool ok = EVP_CipherInit_ex(cipher, ring->cipher, NULL, key->cipher, iv, sealing) == 1 &&
              EVP_MAC_CTX_set_params(mac, params) == 1;
    OPENSSL_cleanse(secret, sizeof secret);
    return ok;
}

// What SSL_CTX_set_tlsext_ticket_key_evp_cb asks for: 1 go on; 2 the same, and renew the ticket;
// 0 no ticket, or none of ours; -1 an error.
static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
    EVP_MAC_CTX *mac, int sealing)
{
    struct tls_ticket_ring *ring = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    const struct tls_ticket_key *key = &ring->keys[TLS_TICKET_CURRENT];
    int good = 1;
    catch_up(ring);
    if (sealing != 0) {
        memcpy(name, key->name, sizeof key->name);
        if (RAND_bytes_ex(ring->library, iv, IV_LEN, 0) != 1) {
            return -1;
        }
    } else if (memcmp(name, key->name, sizeof key->name) != 0) {
        key = &ring->keys[TLS_TICKET_PREVIOUS];
        good = 2;
        if (memcmp(name, key->name, sizeof key->name) != 0) {
            return 0;
        }
    }
    return set_up(ring, key, iv, cipher, mac, sealing) ? good : -1;
}

enum weir_result tls_ticket_ring_init(
    struct tls_ticket_ring *ring, OSSL_LIB_CTX *library, struct tls_tickets *tickets)
{
    *ring = (struct tls_ticket_ring){.tickets = tickets, .library = library};
    ring->cipher = EVP_CIPHER_fetch(library, "AES-256-CBC", NULL);
    return ring->cipher == NULL ? WEIR_CRYPTO : WEIR_OK;
}

void tls_ticket_ring_fini(struct tls_ticket_ring *ring)
{
    EVP_CIPHER_free(ring->cipher);
    OPENSSL_cleanse(ring, sizeof *ring);
}

enum weir_result tls_ticket_ring_attach(struct tls_ticket_ring *ring, SSL_CTX *context)
{
    bool ok = SSL_CTX_set_app_data(context, ring) == 1 &&
              SSL_CTX_set_tlsext_ticket_key_evp_cb(context, on_ticket) == 1;
    return ok ? WEIR_OK : WEIR_CRYPTO;
}
