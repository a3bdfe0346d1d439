// SPDX-License-Identifier: Apache-2.0
// Sends a captured request to its local service once more, over a connection of its own. The bytes
// of both directions go through a tap, so that the exchange appears like a visitor's.
#ifndef WEIR_CLI_REPLAY_H
#define WEIR_CLI_REPLAY_H

#include "cli/inspect/inspector.h"

#define REPLAYS_MAX 16 // at once

// NULL: it is on its way; *ret_id is the new exchange's. Otherwise why it cannot be, in English.
const char *replay_start(
    struct inspector *inspector, const struct capture_entry *entry, uint64_t *ret_id);
// Ends all at once.
void replay_end_all(struct inspector *inspector);

// The request as it is sent again: its head with "Connection: close", its body by length. False: it
// cannot be, and *ret_problem says why.
bool replay_write(const struct capture_entry *entry, struct buf *out, const char **ret_problem);

#endif
