// SPDX-License-Identifier: Apache-2.0
// Between proxied.c, on the visitor's worker, and control_asks.c, on the worker of the tunnel's
// control channel.
#ifndef WEIR_ENGINE_PROXIED_INTERNAL_H
#define WEIR_ENGINE_PROXIED_INTERNAL_H

#include "base/base64.h"
#include "base/ip.h"
#include "base/map.h"
#include "engine/control/tunnel.h"
#include "loop/worker.h"

#define STREAM_SECRET_LEN 32
#define STREAM_SECRET_SIZE BASE64_SIZE(STREAM_SECRET_LEN)

enum verdict {
    VERDICT_ACCEPTED, // the agent has it: ProxyConnRsp without an error
    VERDICT_REFUSED,
    VERDICT_FULL,
    VERDICT_GONE,
};

// A request for a stream on its way to the control channel, and back with a verdict. Owned by the
// worker it was sent to last.
struct ask {
    struct job job;
    struct map_node node;     // in control->asks, by id
    struct list waiting_node; // in control->waiting_asks
    struct tunnel *tunnel;    // a reference
    unsigned from;            // worker that asks
    struct ip source;
    enum verdict verdict;
    char id[TUNNEL_ID_SIZE];
    char secret[STREAM_SECRET_SIZE];
};

void ask_free(struct ask *ask);
// A job_fn on the asking worker: ask->verdict is filled.
void proxied_take_verdict(struct worker *worker, struct job *job);

#endif
