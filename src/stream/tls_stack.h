// SPDX-License-Identifier: Apache-2.0
// TLS inside a stream that is TLS already: the client's side of a second session whose bytes
// travel as the payload of the first. To the owner it is one stream: it opens it with the state it
// gets here, completes stream_handshake, and reads and writes as always.
#ifndef WEIR_STREAM_TLS_STACK_H
#define WEIR_STREAM_TLS_STACK_H

#include "base/result.h"
#include "base/slice.h"
#include "stream/stream.h"

// Client contexts, one for each worker: nothing is verified, TLS 1.2 and up. NULL on failure.
SSL_CTX *tls_stack_context_new(OSSL_LIB_CTX *library) WEIR_MUST_CHECK;

// Puts a client session on top of state's, whose handshake is done. name is the SNI; alpn is in
// wire form (RFC 7301 section 3.1), empty for none. On failure state is as it was; on success what
// it held belongs to the new session.
enum weir_result tls_stack_push(struct stream_state *state, SSL_CTX *context, const char *name,
    struct slice alpn) WEIR_MUST_CHECK;

// What the peer chose of the alpn offered; empty when it chose none. Borrowed from the session.
struct slice tls_stack_alpn(const struct stream *stream);

#endif
