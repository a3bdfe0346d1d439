// SPDX-License-Identifier: Apache-2.0
#include "agent/liveness.h"

#define TIMEOUT_MS_MAX 900000

enum weir_result liveness_agree(struct liveness *liveness, uint32_t interval_ms,
    const struct rstrm_liveness *told, const char **ret_why)
{
    *liveness = (struct liveness){.interval_ms = interval_ms};
    if (told == NULL) {
        return WEIR_OK;
    }
    if (told->heartbeat_interval_ms != interval_ms) {
        *ret_why = "it changes the interval of heartbeats";
        return WEIR_PROTOCOL;
    }
    if (told->heartbeat_timeout_ms < interval_ms || told->heartbeat_timeout_ms > TIMEOUT_MS_MAX) {
        *ret_why = "its heartbeat timeout is below the interval, or above 15 minutes";
        return WEIR_PROTOCOL;
    }
    liveness->negotiated = true;
    liveness->timeout_ms = told->heartbeat_timeout_ms;
    return WEIR_OK;
}

struct rstrm_heartbeat liveness_beat(struct liveness *liveness, uint64_t now_ns)
{
    if (!liveness->negotiated) {
        return (struct rstrm_heartbeat){0};
    }
    liveness->sequence++;
    liveness->sent_ns[liveness->sequence % LIVENESS_SENT_KEPT] = now_ns;
    return (struct rstrm_heartbeat){.sequence = liveness->sequence};
}

enum weir_result liveness_heard(struct liveness *liveness, const struct rstrm_heartbeat *heartbeat,
    uint64_t now_ns, uint64_t *ret_round_trip_ns, const char **ret_why)
{
    uint64_t number = heartbeat->acknowledgement;
    *ret_round_trip_ns = 0;
    if (!liveness->negotiated) {
        return WEIR_OK;
    }
    if (heartbeat->sequence != 0) {
        *ret_why = "it numbers heartbeats of its own";
        return WEIR_PROTOCOL;
    }
    if (number <= liveness->acknowledged) {
        *ret_why = "it acknowledges a heartbeat again, or none";
        return WEIR_PROTOCOL;
    }
    if (number > liveness->sequence) {
        *ret_why = "it acknowledges a heartbeat that was not sent";
        return WEIR_PROTOCOL;
    }
    liveness->acknowledged = number;
    if (liveness->sequence - number < LIVENESS_SENT_KEPT) {
        *ret_round_trip_ns = now_ns - liveness->sent_ns[number % LIVENESS_SENT_KEPT];
    }
    return WEIR_OK;
}
