// SPDX-License-Identifier: Apache-2.0
// The state of one checked service (spec sections 2.2, 2.3, 2.6): results and the passing of time
// go in, a status and its reason come out. Pure data on the caller's clock.
#ifndef WEIR_HEALTH_STATE_H
#define WEIR_HEALTH_STATE_H

#include <stdbool.h>
#include <stdint.h>

// In the order of portoser_service_status.
enum health_status { HEALTH_UNKNOWN, HEALTH_UNHEALTHY, HEALTH_DEGRADED, HEALTH_HEALTHY };
#define HEALTH_STATUS_COUNT 4

enum state_reason {
#define STATE_REASON(symbol, status, color, word) STATE_##symbol,
#include "health/state_reasons.def"
#undef STATE_REASON
    STATE_REASON_COUNT,
};

// "unknown", "unhealthy", "degraded", "healthy".
const char *health_status_name(enum health_status status);
enum health_status state_reason_status(enum state_reason reason);
const char *state_reason_color(enum state_reason reason);
const char *state_reason_word(enum state_reason reason);

// How results are judged; may change while the state lives, see state_judge.
struct state_rules {
    uint64_t interval_ns;
    uint64_t start_period_ns;   // failures in it are not counted, until the first pass; 0: none
    uint64_t max_response_ns;   // a slower pass is degraded; 0: no limit
    uint32_t failure_threshold; // at least 1
    uint32_t success_threshold; // at least 1
};

// Results the score looks back on.
#define STATE_RECENT_COUNT 20

struct state {
    uint64_t begun_ns;
    uint64_t last_pass_ns;     // completion; meaningful with ever_passed
    uint64_t last_failure_ns;  // completion; meaningful with ever_failed
    uint64_t last_result_ns;   // of a counted result; meaningful with `counted`
    uint64_t healthy_since_ns; // meaningful while healthy
    uint32_t failures;         // consecutive: k of the specification
    uint32_t passes;           // consecutive: s
    uint32_t recent;           // a bit a result, newest lowest; set: failed
    uint8_t recent_count;
    bool monitored;
    bool counted;
    bool ever_passed;
    bool ever_failed;
    bool was_unhealthy; // and has not passed success_threshold times since
    bool slow;          // the last pass
    enum state_reason reason;
};

// What a call changed. changed: an event is due. pending: there was no state before (the event's
// previous status is null).
struct state_change {
    bool changed;
    bool pending;
    enum health_status from;
    enum health_status to;
};

// monitored false: unknown for ever.
void state_init(struct state *state, bool monitored, uint64_t now_ns);
// A check ended at now_ns, having taken latency_ns.
struct state_change state_result(struct state *state, const struct state_rules *rules, bool passed,
    uint64_t latency_ns, uint64_t now_ns);
// Time went by, or the rules changed.
struct state_change state_judge(
    struct state *state, const struct state_rules *rules, uint64_t now_ns);
// The first moment at which a state becomes another by time alone; TIME_NEVER when none does.
uint64_t state_stale_ns(const struct state *state, const struct state_rules *rules);
// The last result is older than twice the interval, whatever the status (spec section 2.2, 4).
bool state_is_stale(const struct state *state, const struct state_rules *rules, uint64_t now_ns);
// 0-100: healthy 90-100, degraded 70-79, unhealthy 1-59, unknown 0.
unsigned state_score(const struct state *state, const struct state_rules *rules);

static inline enum health_status state_status(const struct state *state)
{
    return state_reason_status(state->reason);
}

#endif
