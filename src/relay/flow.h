// SPDX-License-Identifier: Apache-2.0
// What slows a peer down: a receiver that does not read (back-pressure), and a rate limit that
// throttles instead of closing (spec section 14, 11 and 13).
//
// A sender whose frame left its receiver's queue above the high mark is not read any more until the
// queue is low again, but for one second at most: a receiver that is stuck must not stop a daemon
// for everybody else. After that second it is on its own; at RELAY_MAX_PENDING_BYTES it is cut.
#ifndef WEIR_RELAY_FLOW_H
#define WEIR_RELAY_FLOW_H

#include "relay/peer.h"

// The sender's frame has just been queued for the receiver.
void flow_after_send(struct peer *sender, struct peer *receiver);
// The receiver's queue is low again, or the receiver ended.
void flow_release(struct peer *receiver);
// Not read for so long.
void flow_throttle(struct peer *peer, uint64_t wait_ns);
// The peer ends: gives everything up.
void flow_end(struct peer *peer);

#endif
