// SPDX-License-Identifier: Apache-2.0
// Frames that leave for another relay (spec sections 7.3 and 7.5).
#ifndef WEIR_RELAY_BACKPLANE_OUTGOING_H
#define WEIR_RELAY_BACKPLANE_OUTGOING_H

#include "relay/backplane/presence.h"
#include "relay/peer.h"
#include "relay/remotes.h"

// What a client keeps whose daemon is, or may be, elsewhere.
struct client_line;

// Whether frames of this client wait here, so that the next one has to join them.
bool outgoing_has_held(const struct peer *client);
// A client's frame for which there is no daemon here. It is held while the daemon is looked for, then
// published, given to a daemon that came meanwhile, or dropped; the client is told.
void outgoing_from_client(struct peer *client, const struct ws_message *message);
// A daemon's answer for a client of another relay. routed or dropped is counted when it is known which.
void outgoing_from_daemon(struct peer *daemon, const struct remote *remote,
    const struct ws_message *message, enum metric routed, enum metric dropped);
// The client ends: what is held is dropped, and outcomes are not told any more.
void outgoing_end(struct peer *client);

// Sends RELAY_REDIRECT if that relay may be named to clients, and was not the last one named to this
// one. greeting: right after the upgrade.
void outgoing_redirect(struct peer *client, struct slice url, bool greeting);

#endif
