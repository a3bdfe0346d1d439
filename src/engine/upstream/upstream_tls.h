// SPDX-License-Identifier: Apache-2.0
// TLS with the service behind an agent (spec section 6.5): the client's handshake inside a bound
// stream, before whoever asked for the stream gets it.
#ifndef WEIR_ENGINE_UPSTREAM_TLS_H
#define WEIR_ENGINE_UPSTREAM_TLS_H

#include "engine/control/tunnel.h"
#include "stream/stream.h"

struct engine_shard;

enum upstream_tls_offer {
    UPSTREAM_TLS_NO_ALPN,
    UPSTREAM_TLS_HTTP1,
    UPSTREAM_TLS_HTTP, // h2 and http/1.1
};

struct upstream_tls; // one handshake under way

// WEIR_OK: state is the callee's, with the service's session on top. WEIR_TIMEOUT: ten seconds
// passed. Otherwise why it failed; state is NULL then.
typedef void upstream_tls_fn(void *arg, enum weir_result result, struct stream_state *state);

// Takes state over, whatever happens. The service is asked for by the tunnel's hostname and not
// verified. Calls done once, never from inside, unless cancelled; NULL without memory, then it does
// not.
struct upstream_tls *upstream_tls_start(struct engine_shard *shard, const struct tunnel *tunnel,
    enum upstream_tls_offer offer, struct stream_state *state, upstream_tls_fn *done,
    void *arg) WEIR_MUST_CHECK;
// done is not called any more. NULL is fine.
void upstream_tls_cancel(struct upstream_tls *tls);

#endif
