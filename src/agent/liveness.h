// SPDX-License-Identifier: Apache-2.0
// Heartbeats of a control channel as an agent keeps them (spec section 4.6). Pure data: the channel
// sends, and asks for the time.
#ifndef WEIR_AGENT_LIVENESS_H
#define WEIR_AGENT_LIVENESS_H

#include "base/result.h"
#include "proto/rstrm.h"

#define LIVENESS_SENT_KEPT 8 // heartbeats under way whose time of leaving is known

struct liveness {
    bool negotiated; // false: all-zero heartbeats that nobody answers
    uint32_t interval_ms;
    uint32_t timeout_ms; // without a frame; 0: never (not negotiated)
    uint64_t sequence;   // of the last one sent
    uint64_t acknowledged;
    uint64_t sent_ns[LIVENESS_SENT_KEPT];
};

// What the engine says to our wish of interval_ms; told NULL: it does not negotiate. When it breaks
// a rule, WEIR_PROTOCOL and why in English.
enum weir_result liveness_agree(struct liveness *liveness, uint32_t interval_ms,
    const struct rstrm_liveness *told, const char **ret_why) WEIR_MUST_CHECK;
// The next heartbeat, which leaves now.
struct rstrm_heartbeat liveness_beat(struct liveness *liveness, uint64_t now_ns);
// One of the engine's. ret_round_trip_ns: 0 when nothing is known.
enum weir_result liveness_heard(struct liveness *liveness, const struct rstrm_heartbeat *heartbeat,
    uint64_t now_ns, uint64_t *ret_round_trip_ns, const char **ret_why) WEIR_MUST_CHECK;

#endif
