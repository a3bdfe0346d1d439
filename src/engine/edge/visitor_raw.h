// SPDX-License-Identifier: Apache-2.0
// Visitors of TLS tunnels (spec section 6.6; visitor_raw_start is in arrival.h) and of published
// TCP ports (5.9): one connection, one stream of raw bytes.
#ifndef WEIR_ENGINE_VISITOR_RAW_H
#define WEIR_ENGINE_VISITOR_RAW_H

#include "engine/control/tunnel.h"
#include "engine/shard.h"

struct tunnel_listener;

// Listens on the port of a TCP tunnel, beside the TLS port's address, on this worker. NULL: the
// port is taken, or memory ran out.
struct tunnel_listener *tunnel_listener_open(
    struct engine_shard *shard, struct tunnel *tunnel) WEIR_MUST_CHECK;
// At once; NULL is fine.
void tunnel_listener_close(struct tunnel_listener *listener);

// Ends every visitor that still waits for its stream.
void visitors_raw_cut(struct engine_shard *shard);

#endif
