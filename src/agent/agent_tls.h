// SPDX-License-Identifier: Apache-2.0
// TLS with the engine: version 1.3, ALPN rstrm/1 and nothing else, the certificate verified (spec
// sections 3 and 4.14). Connections resume the newest session, which spares the engine a signature
// and us the check of its certificate. Contexts are shared by the agents of a loop that trust the
// same authorities: the system's store alone takes half a megabyte.
#ifndef WEIR_AGENT_AGENT_TLS_H
#define WEIR_AGENT_AGENT_TLS_H

#include <openssl/ssl.h>

#include "base/list.h"
#include "base/result.h"

struct agent_tls {
    SSL_CTX *context;     // a reference
    SSL_SESSION *session; // owned; of the last connection, for the next; NULL: none yet
    const char *name;     // borrowed; for SNI and the certificate
    bool verify;
};

// trusts: the loop's contexts. ca_file NULL: the system's store. WEIR_CRYPTO: the file cannot be
// used. Zeroed before.
enum weir_result agent_tls_init(struct agent_tls *tls, struct list *trusts, const char *ca_file,
    bool insecure, const char *name) WEIR_MUST_CHECK;
// All connections are closed. Zeroed memory is fine.
void agent_tls_fini(struct agent_tls *tls);
// For one connection; NULL without memory.
SSL *agent_tls_new(struct agent_tls *tls) WEIR_MUST_CHECK;
// The handshake is done: did the peer choose our protocol?
bool agent_tls_is_engine(const SSL *ssl);
// What OpenSSL has against the peer's certificate, or NULL.
const char *agent_tls_verdict(const SSL *ssl);
void agent_tls_free_trusts(struct list *trusts);

#endif
