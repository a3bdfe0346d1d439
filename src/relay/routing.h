// SPDX-License-Identifier: Apache-2.0
// What happens to a message, by who sent it (spec sections 7.1, 7.2, 7.8). message is text, or the
// repaired text of a binary message.
#ifndef WEIR_RELAY_ROUTING_H
#define WEIR_RELAY_ROUTING_H

#include "relay/peer.h"

void route_message(struct peer *peer, struct ws_message *message);

// One for each role.
void route_daemon_message(struct peer *daemon, struct ws_message *message);
void route_client_message(struct peer *client, struct ws_message *message);
void route_worker_message(struct peer *worker, struct ws_message *message);

// ---- Shared by the three.

struct rate_event {
    enum metric metric;
    int log_event;
    const char *log_reason;
    const struct close_reason *close;
};
// Charges a token; above the rate the peer is closed, or slowed down, as configured. False when the
// message must not be handled any further.
bool route_charge(struct peer *peer, struct limiter *limiter, struct limiter_key *key,
    const struct rate_event *event);
// A frame that no rule admits: counted, logged, and charged to this connection alone.
void route_invalid(struct peer *peer, int log_event, enum metric metric, const char *reason);

#endif
