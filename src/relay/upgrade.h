// SPDX-License-Identifier: Apache-2.0
// The upgrade at GET /ws (spec section 4). The worker that accepted the connection checks what needs
// no knowledge of cells and hands the connection to the worker its workspace lives on, which checks
// the rest, asks the platform, and registers.
#ifndef WEIR_RELAY_UPGRADE_H
#define WEIR_RELAY_UPGRADE_H

#include "relay/shard.h"

// The http_options.upgrade of a relay.
void upgrade_handle(struct http_request *request);
// The http_options.failed of a relay.
void upgrade_failed(
    struct http_server *server, const struct ip *peer, enum http_failure failure);
// Gives up every upgrade under way on this worker.
void upgrades_abort(struct shard *shard);

#endif
