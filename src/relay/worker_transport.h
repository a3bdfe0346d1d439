// SPDX-License-Identifier: Apache-2.0
// Requests of managed workers, carried to the platform (spec section 7.8; 14, 5).
#ifndef WEIR_RELAY_WORKER_TRANSPORT_H
#define WEIR_RELAY_WORKER_TRANSPORT_H

#include "relay/peer.h"

// A valid request frame of a worker.
void worker_transport_request(struct peer *worker, const struct frame *frame);
// The worker ends: its requests are given up.
void worker_transport_end(struct peer *worker);
// path is below /api/runtime/workspaces/<workspace>/managed-executors/<executor>, and nothing in it
// could be read as another path.
bool worker_transport_path_allowed(
    struct slice path, const char *workspace_id, const char *executor_id);

#endif
