// SPDX-License-Identifier: Apache-2.0
// Proxied streams (spec section 4.10): asks the agent of a tunnel for a connection, and meets the
// connection that comes back. The visitor stays on the worker that accepted it; the request is
// posted to the worker that holds the tunnel's control channel; the agent's new connection is
// handed to the visitor's worker, which its stream id names.
//
//   visitor's worker          tunnel's worker            the accepting worker
//   proxied_open ───────────► queue ─► ProxyConnReq ─► agent
//                                                      ProxyReq ─► proxied_arrived
//   secret compared, once ◄──────────────────────────────────────── (posted)
//   done(BOUND)          ◄── ProxyConnRsp{error}: done(REFUSED)
//
// Bound means: the visitor's bytes may be written. With zero_rtt false that is after the hold of
// spec section 4.11 (the agent's answer, its first bytes, or 50 ms).
#ifndef WEIR_ENGINE_PROXIED_H
#define WEIR_ENGINE_PROXIED_H

#include "base/buf.h"
#include "engine/control/tunnel.h"
#include "stream/stream.h"
#include "sys/socket.h"

struct engine_shard;

enum proxied_kind { PROXIED_HTTP, PROXIED_TLS, PROXIED_DIAL, PROXIED_TCP };

enum proxied_outcome {
    PROXIED_BOUND,
    PROXIED_REFUSED, // the agent said no
    PROXIED_TIMEOUT, // it did not come in stream_request_seconds
    PROXIED_FULL,    // too many outstanding, or limits.* say no
    PROXIED_GONE,    // the tunnel or its channel ended first
    PROXIED_FAILED,  // no memory or entropy
    PROXIED_OUTCOME_COUNT,
};

struct proxied; // one request under way

// state and unread (what the agent sent already) are the callee's when BOUND, else NULL. Never
// called from inside proxied_open.
typedef void proxied_fn(
    void *arg, enum proxied_outcome outcome, struct stream_state *state, struct buf *unread);

// Takes its own reference of the tunnel. Always calls done, once, unless cancelled; NULL without
// memory, then it does not.
struct proxied *proxied_open(struct engine_shard *shard, struct tunnel *tunnel,
    enum proxied_kind kind, const struct ip *source, proxied_fn *done, void *arg) WEIR_MUST_CHECK;
// The stream's id, as the agent knows it; valid until done or cancel.
const char *proxied_id(const struct proxied *proxied);
// No agent's connection comes in any more but those that are being read: what still waits for one
// ends soon (GONE).
void proxied_give_up(struct engine_shard *shard);
// The visitor has gone: done is not called any more. NULL is fine.
void proxied_cancel(struct proxied *proxied);
// A stream that was bound has ended: for the books (streams_active, limits). Once for each BOUND.
void proxied_ended(struct engine_shard *shard, struct tunnel *tunnel, enum proxied_kind kind);

#endif
