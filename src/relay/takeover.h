// SPDX-License-Identifier: Apache-2.0
// A daemon comes back while the relay still holds its old connection (spec section 5.3, DECISION;
// 14, 6). The old one is pinged; it stays if anything comes from it within
// RELAY_TAKEOVER_TIMEOUT_MS, otherwise the newcomer takes its place. Until then the newcomer is the
// cell's candidate and is not read.
#ifndef WEIR_RELAY_TAKEOVER_H
#define WEIR_RELAY_TAKEOVER_H

#include "relay/peer.h"

// False when memory ran out: the newcomer cannot wait.
bool takeover_begin(struct peer *candidate, const struct claims *claims) WEIR_MUST_CHECK;
// The candidate becomes the daemon, however the old one ended: its generation is the cell's now. For
// a daemon that did not have to wait it does nothing.
void takeover_won(struct peer *candidate);
// The candidate has been refused, or ended.
void takeover_cancel(struct peer *candidate);

#endif
