// SPDX-License-Identifier: Apache-2.0
// Session-event channels and viewer presence (spec section 7.4). Subscriptions live per cell.
#ifndef WEIR_RELAY_CHANNELS_H
#define WEIR_RELAY_CHANNELS_H

#include "relay/peer.h"

// The allowed channels of a client, copied from its claims; NULL when memory ran out.
struct channel_list *channel_list_new(const struct claims *claims) WEIR_MUST_CHECK;
void channel_list_free(struct channel_list *list);

// The three frames of a session-events client. For viewer presence the limiters have been asked.
void channels_subscribe(struct peer *peer, const struct frame *frame);
void channels_unsubscribe(struct peer *peer, const struct frame *frame);
void channels_presence(struct peer *peer, const struct frame *frame, struct ws_message *message);

// A session event from the bus, to every subscriber of its channel here. False: there was none.
bool channels_event(struct cell *cell, const struct frame *frame, struct ws_message *message);

// The peer ends: leaves all channels.
void channels_leave_all(struct peer *peer);
// The cell ends; nobody is subscribed any more.
void channels_fini(struct cell *cell);

#endif
