// SPDX-License-Identifier: Apache-2.0
// The state machine and the roll-up as a program, for judge_states.py: a command a line, a line of
// answer each. Three services on two machines, on a clock that only `wait` moves; like the monitor,
// it judges a state again when its stale timer would fire.
//
//   reset | rules SERVICE I F S START MAX | check SERVICE | pass SERVICE MS | fail SERVICE
//   wait MS | maintain SERVICE 0|1
//
// Answer: for each service "status reason k score counted", a comma between them, then
// ";machine machine cluster;" and the changes "service:from>to" since the command before.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/time.h"
#include "health/rollup.h"
#include "health/state.h"

#define SERVICES 3
#define MACHINES 2

static struct one {
    struct state state;
    struct state_rules rules;
    bool maintenance;
} services[SERVICES];

static const unsigned machine_of[SERVICES] = {0, 0, 1};
static uint64_t now_ns;

static void announce(unsigned index, struct state_change change)
{
    if (change.changed) {
        printf("%u:%s>%s ", index, change.pending ? "none" : health_status_name(change.from),
            health_status_name(change.to));
    }
}

static void start_state(unsigned index)
{
    state_init(&services[index].state, true, now_ns);
}

static void reset(void)
{
    now_ns = 1000 * NS_PER_S;
    for (unsigned i = 0; i < SERVICES; i++) {
        services[i] = (struct one){
            .rules = {
                .interval_ns = 10 * NS_PER_S, .failure_threshold = 3, .success_threshold = 1}};
        start_state(i);
    }
}

// The service whose stale timer fires first, up to end_ns; SERVICES: none.
static unsigned first_stale(uint64_t end_ns)
{
    unsigned first = SERVICES;
    uint64_t first_ns = end_ns;
    for (unsigned i = 0; i < SERVICES; i++) {
        uint64_t stale_ns = state_stale_ns(&services[i].state, &services[i].rules);
        if (stale_ns <= first_ns) {
            first = i;
            first_ns = stale_ns;
        }
    }
    return first;
}

static void wait_ms(uint64_t ms)
{
    uint64_t end_ns = now_ns + time_from_ms(ms);
    unsigned index;
    while ((index = first_stale(end_ns)) < SERVICES) {
        struct one *one = &services[index];
        uint64_t stale_ns = state_stale_ns(&one->state, &one->rules);
        now_ns = stale_ns > now_ns ? stale_ns : now_ns;
        announce(index, state_judge(&one->state, &one->rules, now_ns));
    }
    now_ns = end_ns;
}

static void obey(const char *line)
{
    unsigned index = 0;
    uint64_t a = 0;
    uint64_t b = 0;
    struct state_rules rules = {0};
    if (sscanf(line, "wait %" SCNu64, &a) == 1) {
        wait_ms(a);
    } else if (sscanf(line, "rules %u %" SCNu64 " %u %u %" SCNu64 " %" SCNu64, &index,
                   &rules.interval_ns, &rules.failure_threshold, &rules.success_threshold, &a,
                   &b) == 6) {
        rules.interval_ns = time_from_ms(rules.interval_ns);
        rules.start_period_ns = time_from_ms(a);
        rules.max_response_ns = time_from_ms(b);
        services[index].rules = rules;
        announce(index, state_judge(&services[index].state, &rules, now_ns));
    } else if (sscanf(line, "pass %u %" SCNu64, &index, &a) == 2) {
        announce(index, state_result(&services[index].state, &services[index].rules, true,
                            time_from_ms(a), now_ns));
    } else if (sscanf(line, "fail %u", &index) == 1) {
        announce(
            index, state_result(&services[index].state, &services[index].rules, false, 0, now_ns));
    } else if (sscanf(line, "maintain %u %" SCNu64, &index, &a) == 2) {
        services[index].maintenance = a != 0;
    } else if (sscanf(line, "check %u", &index) == 1) {
        start_state(index);
    } else {
        reset();
    }
}

static void show(void)
{
    struct rollup machines[MACHINES] = {0};
    struct rollup cluster = {0};
    printf(";");
    for (unsigned i = 0; i < SERVICES; i++) {
        const struct one *one = &services[i];
        enum health_status status = state_status(&one->state);
        unsigned score = state_score(&one->state, &one->rules);
        printf("%s%s %s %u %u", i > 0 ? "," : "", health_status_name(status),
            state_reason_word(one->state.reason), one->state.failures, score);
        if (!one->maintenance) {
            rollup_add(&machines[machine_of[i]], status, score);
        }
    }
    printf(";");
    for (unsigned i = 0; i < MACHINES; i++) {
        printf("%s ", health_status_name(rollup_status(&machines[i])));
        if (rollup_total(&machines[i]) > 0) {
            rollup_add(&cluster, rollup_status(&machines[i]), 0);
        }
    }
    printf("%s\n", health_status_name(rollup_status(&cluster)));
    fflush(stdout);
}

int main(void)
{
    char line[256];
    reset();
    while (fgets(line, sizeof line, stdin) != NULL) {
        obey(line);
        show();
    }
    return 0;
}
