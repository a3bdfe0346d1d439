// SPDX-License-Identifier: Apache-2.0
// The TLS port, from the accepted connection to the arrival that somebody takes over (arrival.h).
#ifndef WEIR_ENGINE_GATE_H
#define WEIR_ENGINE_GATE_H

#include "engine/shard.h"

// Before anything else of the gate is used or ended.
void gate_init(struct engine_shard *shard);
// fd is a listening socket, owned from here on, also on failure. The shard's TLS context is loaded.
enum weir_result gate_open(struct engine_shard *shard, int fd) WEIR_MUST_CHECK;
// Accepts those who have come and no more (listener_drain). Connections under way go on.
void gate_drain(struct engine_shard *shard);
// Ends every connection that nobody has taken over.
void gate_close(struct engine_shard *shard);

// For tls_settings: chooses by what the connection was decided to be.
int gate_select_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
    const unsigned char *in, unsigned in_len, void *arg);

#endif
