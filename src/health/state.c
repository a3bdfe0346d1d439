// SPDX-License-Identifier: Apache-2.0
// k counts consecutive failures, s consecutive passes; F and S are their thresholds, I the
// interval.
//
//                 first pass                      k = 1, F > 1
//     pending ────────────────► passing ◄────────────────────────► failing
//        │                      ▲  ▲  │ ▲           s = 1             │
//        │ failure         fast │  │  │ │ pass                        │ k = F
//        ▼                      ▼  │  │ └───────── stale              ▼
//     failing, or failed     slow  │  └──────────►  now - last   ─► failed
//                                  │                pass > 2I         │
//                                  │       s = S                      │ pass
//                                  └───────────────── recovering ◄────┘ (S > 1)
//
// No arrow is stored: the reason follows from the variables alone, by the first row that matches
// (judge below is the table of spec section 2.3, line by line).
//
// 1. A failure inside start_period, before the first pass, changes no variable but last_failure_ns:
//    the service stays pending.
// 2. A change is announced when the status differs, or when the first state leaves pending.
// 3. was_unhealthy is set by k >= F and cleared by s >= S only, so that one pass in between does
// not
//    make a service healthy that must pass S times.
#include "health/state.h"

#include "base/time.h"

static const struct {
    enum health_status status;
    const char *color;
    const char *word;
} reasons[STATE_REASON_COUNT] = {
#define STATE_REASON(symbol, status, color, word) [STATE_##symbol] = {HEALTH_##status, color, word},
#include "health/state_reasons.def"
#undef STATE_REASON
};

const char *health_status_name(enum health_status status)
{
    static const char *const names[HEALTH_STATUS_COUNT] = {
        [HEALTH_UNKNOWN] = "unknown",
        [HEALTH_UNHEALTHY] = "unhealthy",
        [HEALTH_DEGRADED] = "degraded",
        [HEALTH_HEALTHY] = "healthy",
    };
    return names[status];
}

enum health_status state_reason_status(enum state_reason reason)
{
    return reasons[reason].status;
}

const char *state_reason_color(enum state_reason reason)
{
    return reasons[reason].color;
}

const char *state_reason_word(enum state_reason reason)
{
    return reasons[reason].word;
}

void state_init(struct state *state, bool monitored, uint64_t now_ns)
{
    *state = (struct state){
        .begun_ns = now_ns,
        .monitored = monitored,
        .reason = monitored ? STATE_PENDING : STATE_UNMONITORED,
    };
}

static enum state_reason judge(
    const struct state *state, const struct state_rules *rules, uint64_t now_ns)
{
    if (!state->monitored) {
        return STATE_UNMONITORED;
    }
    if (!state->counted) {
        return STATE_PENDING;
    }
    if (state->failures >= rules->failure_threshold) {
        return STATE_FAILED;
    }
    if (state->failures > 0) {
        return STATE_FAILING;
    }
    if (state->was_unhealthy && state->passes < rules->success_threshold) {
        return STATE_RECOVERING;
    }
    if (now_ns - state->last_pass_ns > 2 * rules->interval_ns) {
        return STATE_STALE;
    }
    return state->slow ? STATE_SLOW : STATE_PASSING;
}

struct state_change state_judge(
    struct state *state, const struct state_rules *rules, uint64_t now_ns)
{
    struct state_change change = {
        .pending = state->reason == STATE_PENDING,
        .from = state_status(state),
    };
    if (state->failures >= rules->failure_threshold) {
        state->was_unhealthy = true;
    }
    state->reason = judge(state, rules, now_ns);
    change.to = state_status(state);
    change.changed = change.from != change.to || (change.pending && state->counted);
    if (change.to == HEALTH_HEALTHY && change.from != HEALTH_HEALTHY) {
        state->healthy_since_ns = now_ns;
    }
    return change;
}

static void remember(struct state *state, bool failed)
{
    state->recent = state->recent << 1 | failed;
    if (state->recent_count < STATE_RECENT_COUNT) {
        state->recent_count++;
    }
}

static void count_failure(struct state *state, const struct state_rules *rules, uint64_t now_ns)
{
    state->ever_failed = true;
    state->last_failure_ns = now_ns;
    if (!state->ever_passed && now_ns - state->begun_ns < rules->start_period_ns) {
        return;
    }
    state->counted = true;
    state->last_result_ns = now_ns;
    state->passes = 0;
    state->failures += state->failures < UINT32_MAX;
    remember(state, true);
}

static void count_pass(
    struct state *state, const struct state_rules *rules, uint64_t latency_ns, uint64_t now_ns)
{
    state->counted = true;
    state->ever_passed = true;
    state->last_result_ns = state->last_pass_ns = now_ns;
    state->failures = 0;
    state->passes += state->passes < UINT32_MAX;
    state->was_unhealthy = state->was_unhealthy && state->passes < rules->success_threshold;
    state->slow = rules->max_response_ns > 0 && latency_ns > rules->max_response_ns;
    remember(state, false);
}

struct state_change state_result(struct state *state, const struct state_rules *rules, bool passed,
    uint64_t latency_ns, uint64_t now_ns)
{
    if (passed) {
        count_pass(state, rules, latency_ns, now_ns);
    } else {
        count_failure(state, rules, now_ns);
    }
    return state_judge(state, rules, now_ns);
}

uint64_t state_stale_ns(const struct state *state, const struct state_rules *rules)
{
    bool passing = state->reason == STATE_PASSING || state->reason == STATE_SLOW;
    return passing ? state->last_pass_ns + 2 * rules->interval_ns + 1 : TIME_NEVER;
}

bool state_is_stale(const struct state *state, const struct state_rules *rules, uint64_t now_ns)
{
    return state->counted && now_ns - state->last_result_ns > 2 * rules->interval_ns;
}

// ---- Score

static unsigned recent_failures(const struct state *state)
{
    uint32_t mask = (UINT32_C(1) << state->recent_count) - 1;
    return (unsigned)__builtin_popcount(state->recent & mask);
}

unsigned state_score(const struct state *state, const struct state_rules *rules)
{
    uint32_t threshold = rules->failure_threshold;
    switch (state_status(state)) {
    case HEALTH_HEALTHY:
        return 100 - 10 * recent_failures(state) / STATE_RECENT_COUNT;
    case HEALTH_DEGRADED:
        // The closer to the threshold, the lower.
        return 79 - (unsigned)(state->failures < 2
                                   ? 0
                                   : UINT64_C(9) * (state->failures - 1) / (threshold - 1));
    case HEALTH_UNHEALTHY:
        return state->failures - threshold >= 58 ? 1 : 59 - (state->failures - threshold);
    case HEALTH_UNKNOWN:
        break;
    }
    return 0;
}
