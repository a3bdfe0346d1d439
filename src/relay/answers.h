// SPDX-License-Identifier: Apache-2.0
// Where a daemon's frame goes (spec sections 7.1, 7.3, 7.6): a response to the client that asked, by
// request id; a session frame to the client that has the session.
#ifndef WEIR_RELAY_ANSWERS_H
#define WEIR_RELAY_ANSWERS_H

#include "relay/peer.h"

// From the cell's daemon here, or, with daemon NULL, from one of another relay: then only to clients
// that are here, since what came from a relay must never go to one. True: a client here has got it.
bool answers_route(struct cell *cell, struct peer *daemon, const struct frame *frame,
    struct ws_message *message);

#endif
