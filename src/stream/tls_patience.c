// SPDX-License-Identifier: Apache-2.0
// How often, and since when, is one number in the session, so that sessions that have had none of
// these messages cost nothing. OpenSSL tells by its info callback, which is called for messages of
// the handshake only and has no way to fail: it marks the peer's side as ended, and OpenSSL reads
// no further.
//
// Rejected: SSL_MODE_AUTO_RETRY off, which comes back only when a whole buffer of 16 KiB has been
// gone through: 600 messages, and each costs as much as a hundred records.
#include "stream/tls_patience.h"

#include <pthread.h>

#include "base/time.h"
#include "sys/clock.h"

#define COUNT_BITS 8

_Static_assert(TLS_PATIENCE_MAX < 1 << COUNT_BITS, "a count has room");

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int note_index;

static void make_index(void)
{
    note_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
}

static void end_peers_side(SSL *ssl)
{
    SSL_set_shutdown(ssl, SSL_get_shutdown(ssl) | SSL_RECEIVED_SHUTDOWN);
}

static void note_message(SSL *ssl)
{
    uint64_t note = (uint64_t)(uintptr_t)SSL_get_ex_data(ssl, note_index);
    uint64_t now = sys_now_ns() / TLS_PATIENCE_NS + 1;
    uint64_t count = note >> COUNT_BITS == now ? note & ((1 << COUNT_BITS) - 1) : 0;
    note = now << COUNT_BITS | (count + 1);
    if (count == TLS_PATIENCE_MAX ||
        SSL_set_ex_data(ssl, note_index, (void *)(uintptr_t)note) != 1) {
        end_peers_side(ssl);
    }
}

static void on_info(const SSL *said_by, int where, int value)
{
    SSL *ssl = (SSL *)(uintptr_t)said_by;
    OSSL_HANDSHAKE_STATE state = SSL_get_state(ssl);
    if (where == SSL_CB_WRITE_ALERT) {
        if (value == (SSL3_AL_WARNING << 8 | SSL_AD_NO_RENEGOTIATION)) {
            end_peers_side(ssl);
        }
    } else if ((where & SSL_CB_LOOP) != 0 &&
               (state == TLS_ST_SR_KEY_UPDATE || state == TLS_ST_CR_KEY_UPDATE ||
                   (state == TLS_ST_CR_SESSION_TICKET && SSL_version(ssl) == TLS1_3_VERSION))) {
        note_message(ssl);
    }
}

void tls_patience_limit(SSL_CTX *context)
{
    pthread_once(&once, make_index);
    SSL_CTX_set_info_callback(context, on_info);
}
