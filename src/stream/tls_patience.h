// SPDX-License-Identifier: Apache-2.0
// An end to messages of TLS that carry nothing. OpenSSL reads on behind each of them until there is
// payload, inside of one call: a peer that sends nothing else would have the worker for itself.
#ifndef WEIR_STREAM_TLS_PATIENCE_H
#define WEIR_STREAM_TLS_PATIENCE_H

#include <openssl/ssl.h>

// More of them within TLS_PATIENCE_NS end the session, as if the peer had: KeyUpdate (RFC 8446
// section 4.6.3, which an honest one sends after millions of records), and tickets of a server.
#define TLS_PATIENCE_MAX 32
#define TLS_PATIENCE_NS (10 * NS_PER_S)

// Sessions of this context are held to it from now on. With TLS 1.2 the first attempt to
// renegotiate is the end.
void tls_patience_limit(SSL_CTX *context);

#endif
