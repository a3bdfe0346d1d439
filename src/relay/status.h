// SPDX-License-Identifier: Apache-2.0
// The frames the relay itself sends, with exactly these members in this order (spec section 5.6).
#ifndef WEIR_RELAY_STATUS_H
#define WEIR_RELAY_STATUS_H

#include "relay/peer.h"

void status_send_daemon_unavailable(struct peer *client);
void status_send_target_required(struct peer *peer);
// Another relay has the daemon. greeting: right after the upgrade, where the target is left out.
void status_send_redirect(struct peer *client, struct slice url, bool greeting);
void status_send_invalid_frame(struct peer *client);
void status_send_events_scope_only(struct peer *client);
void status_send_subscribed(struct peer *client, struct slice channel, const struct frame *frame);
void status_send_unsubscribed(struct peer *client, struct slice channel);
// channel as the frame had it; type says what was refused.
void status_send_denied(struct peer *client, const char *type, const struct json_value *channel);

#endif
