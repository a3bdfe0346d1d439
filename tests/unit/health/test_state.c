// SPDX-License-Identifier: Apache-2.0
// The vectors of spec section 2.3, the edges of its table, and the machine against a model that
// reads the table from the whole history each time.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/time.h"
#include "health/state.h"

#define S(seconds) ((uint64_t)((double)(seconds)*1e9))
#define COUNT(array) (sizeof(array) / sizeof *(array))

static const struct state_rules standard = {
    .interval_ns = 10 * NS_PER_S, .failure_threshold = 3, .success_threshold = 1};

// Input: P pass and F failure, 10 s after what was before; a digit: so many seconds go by.
// Output: the status after each of them.
static void follow(const struct state_rules *rules, const char *input, const char *expected)
{
    struct state it;
    uint64_t now_ns = S(1000);
    char seen[64];
    size_t count = 0;
    state_init(&it, true, now_ns);
    for (const char *at = input; *at != '\0'; at++) {
        if (*at == 'P' || *at == 'F') {
            now_ns += S(10);
            state_result(&it, rules, *at == 'P', S(0.1), now_ns);
        } else {
            now_ns += S(*at - '0');
            state_judge(&it, rules, now_ns);
        }
        seen[count++] = "?UDH"[state_status(&it)];
    }
    seen[count] = '\0';
    assert_string_equal(seen, expected);
}

static void vectors_of_the_specification(void **state)
{
    (void)state;
    follow(&standard, "P", "H");
    follow(&standard, "FFF", "DDU");
    follow(&standard, "FFFP", "DDUH");
    follow(&standard, "FPFP", "DHDH");
    follow(&standard, "FFP", "DDH");
    follow(&standard, "P993", "HHH?"); // 21 s
    follow(&standard, "P992", "HHHH"); // 20 s exactly
}

static void edges_of_the_table(void **state)
{
    (void)state;
    struct state_rules one = standard;
    one.failure_threshold = 1;
    follow(&one, "FPF", "UHU");
    struct state_rules two = standard;
    two.success_threshold = 2;
    follow(&two, "P", "H"); // never was unhealthy
    follow(&two, "FP", "DH");
    follow(&two, "FFFPP", "DDUDH");
    follow(&two, "FFFPFPP", "DDUDDDH");  // one pass did not make up for it
    follow(&two, "FFFP993", "DDUDDDD");  // recovering stands above stale
    follow(&standard, "FF993", "DDDDD"); // failures stand above stale
    follow(&standard, "P993P", "HHH?H");
}

static void judges_at_nanoseconds(void **state)
{
    (void)state;
    struct state it;
    state_init(&it, true, 0);
    assert_true(state_stale_ns(&it, &standard) == TIME_NEVER);
    state_result(&it, &standard, true, 1, S(5));
    assert_true(state_stale_ns(&it, &standard) == S(25) + 1);
    assert_false(state_judge(&it, &standard, S(25)).changed);
    struct state_change change = state_judge(&it, &standard, S(25) + 1);
    assert_true(change.changed && !change.pending);
    assert_int_equal(change.from, HEALTH_HEALTHY);
    assert_int_equal(change.to, HEALTH_UNKNOWN);
    assert_int_equal(it.reason, STATE_STALE);
    assert_true(state_is_stale(&it, &standard, S(25) + 1));
    assert_true(state_stale_ns(&it, &standard) == TIME_NEVER);
}

static void announces_changes_once(void **state)
{
    (void)state;
    struct state it;
    state_init(&it, true, 0);
    assert_false(state_judge(&it, &standard, S(100)).changed); // still pending
    struct state_change change = state_result(&it, &standard, false, 1, S(101));
    assert_true(change.changed && change.pending);
    assert_int_equal(change.to, HEALTH_DEGRADED);
    assert_false(state_result(&it, &standard, false, 1, S(111)).changed);
    assert_true(state_result(&it, &standard, false, 1, S(121)).changed);
    assert_false(state_result(&it, &standard, false, 1, S(131)).changed);
    change = state_result(&it, &standard, true, 1, S(141));
    assert_true(change.changed && !change.pending);
    assert_int_equal(change.from, HEALTH_UNHEALTHY);
    assert_true(it.healthy_since_ns == S(141));
}

static void leaves_the_unmonitored_alone(void **state)
{
    (void)state;
    struct state it;
    state_init(&it, false, 0);
    assert_false(state_judge(&it, &standard, S(1000)).changed);
    assert_int_equal(it.reason, STATE_UNMONITORED);
    assert_int_equal(state_score(&it, &standard), 0);
}

static void waits_for_a_start_period(void **state)
{
    (void)state;
    struct state_rules rules = standard;
    rules.start_period_ns = S(60);
    struct state it;
    state_init(&it, true, 0);
    for (int i = 1; i < 6; i++) {
        assert_false(state_result(&it, &rules, false, 1, S(10 * i)).changed);
        assert_int_equal(it.reason, STATE_PENDING);
    }
    assert_int_equal(it.failures, 0);
    state_result(&it, &rules, false, 1, S(60)); // the period is over
    assert_int_equal(it.reason, STATE_FAILING);
    // A pass ends the period.
    state_init(&it, true, 0);
    state_result(&it, &rules, true, 1, S(10));
    state_result(&it, &rules, false, 1, S(20));
    assert_int_equal(it.reason, STATE_FAILING);
}

static void calls_slow_what_is_slow(void **state)
{
    (void)state;
    struct state_rules rules = standard;
    rules.max_response_ns = S(0.5);
    struct state it;
    state_init(&it, true, 0);
    state_result(&it, &rules, true, S(0.5), S(1));
    assert_int_equal(it.reason, STATE_PASSING);
    state_result(&it, &rules, true, S(0.5) + 1, S(11));
    assert_int_equal(it.reason, STATE_SLOW);
    assert_int_equal(state_status(&it), HEALTH_DEGRADED);
    assert_int_equal(state_score(&it, &rules), 79);
    state_judge(&it, &rules, S(32));
    assert_int_equal(it.reason, STATE_STALE);
}

static void obeys_new_rules_at_once(void **state)
{
    (void)state;
    struct state_rules rules = standard;
    struct state it;
    state_init(&it, true, 0);
    state_result(&it, &rules, false, 1, S(1));
    state_result(&it, &rules, false, 1, S(2));
    rules.failure_threshold = 2;
    struct state_change change = state_judge(&it, &rules, S(3));
    assert_true(change.changed);
    assert_int_equal(change.to, HEALTH_UNHEALTHY);
    rules.failure_threshold = 5;
    assert_int_equal(state_judge(&it, &rules, S(4)).to, HEALTH_DEGRADED);
    assert_int_equal(it.failures, 2);
}

static void scores_by_status(void **state)
{
    (void)state;
    struct state it;
    state_init(&it, true, 0);
    assert_int_equal(state_score(&it, &standard), 0);
    static const unsigned failing[] = {79, 75, 59, 58, 57};
    for (size_t i = 0; i < COUNT(failing); i++) {
        state_result(&it, &standard, false, 1, S(1 + i));
        assert_int_equal(state_score(&it, &standard), failing[i]);
    }
    for (int i = 0; i < 100; i++) {
        state_result(&it, &standard, false, 1, S(10));
    }
    assert_int_equal(state_score(&it, &standard), 1);
    state_result(&it, &standard, true, 1, S(11));
    assert_int_equal(state_score(&it, &standard), 91); // 19 of the last 20 failed
    for (int i = 0; i < 19; i++) {
        state_result(&it, &standard, true, 1, S(12));
    }
    assert_int_equal(state_score(&it, &standard), 100);
}

// ---- Against a model

struct step {
    uint64_t at_ns;
    bool is_result;
    bool passed;
    uint64_t latency_ns;
};
#define STEPS_MAX 200

static uint64_t random_state;
static uint64_t draw(uint64_t below)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (random_state >> 33) % below;
}

// The table, read over the whole history: nothing is kept from one step to the next.
static enum state_reason model(
    const struct step *steps, size_t count, const struct state_rules *rules, uint64_t now_ns)
{
    unsigned k = 0;
    unsigned s = 0;
    bool any = false;
    bool unhealthy_before = false;
    const struct step *last_pass = NULL;
    for (size_t i = 0; i < count; i++) {
        bool uncounted =
            !steps[i].passed && last_pass == NULL && steps[i].at_ns < rules->start_period_ns;
        if (!steps[i].is_result || uncounted) {
            continue;
        }
        any = true;
        k = steps[i].passed ? 0 : k + 1;
        s = steps[i].passed ? s + 1 : 0;
        unhealthy_before |= k >= rules->failure_threshold;
        unhealthy_before &= s < rules->success_threshold;
        last_pass = steps[i].passed ? &steps[i] : last_pass;
    }
    if (!any) {
        return STATE_PENDING;
    }
    if (k > 0) {
        return k >= rules->failure_threshold ? STATE_FAILED : STATE_FAILING;
    }
    if (unhealthy_before) {
        return STATE_RECOVERING;
    }
    if (now_ns - last_pass->at_ns > 2 * rules->interval_ns) {
        return STATE_STALE;
    }
    bool slow = rules->max_response_ns > 0 && last_pass->latency_ns > rules->max_response_ns;
    return slow ? STATE_SLOW : STATE_PASSING;
}

static void check_score(const struct state *it, const struct state_rules *rules)
{
    static const unsigned low[] = {0, 1, 70, 90};
    static const unsigned high[] = {0, 59, 79, 100};
    assert_in_range(state_score(it, rules), low[state_status(it)], high[state_status(it)]);
}

static void run_history(uint64_t seed)
{
    struct step steps[STEPS_MAX];
    struct state it;
    uint64_t now_ns = 0;
    random_state = seed;
    struct state_rules rules = {
        .interval_ns = S(1 + draw(10)),
        .start_period_ns = draw(3) == 0 ? S(draw(60)) : 0,
        .max_response_ns = draw(3) == 0 ? S(1) : 0,
        .failure_threshold = (uint32_t)(1 + draw(4)),
        .success_threshold = (uint32_t)(1 + draw(3)),
    };
    unsigned pass_percent = (unsigned)draw(101);
    state_init(&it, true, 0);
    for (size_t i = 0; i < STEPS_MAX; i++) {
        // Often exactly at the moment of becoming stale, or a nanosecond before or behind it.
        uint64_t stale_ns = state_stale_ns(&it, &rules);
        bool at_edge = stale_ns != TIME_NEVER && stale_ns > now_ns + 2 && draw(4) == 0;
        now_ns = at_edge ? stale_ns - 1 + draw(3) : now_ns + draw(3 * rules.interval_ns);
        steps[i] = (struct step){now_ns, draw(3) > 0, draw(100) < pass_percent, S(draw(3))};
        enum health_status before = state_status(&it);
        bool was_pending = it.reason == STATE_PENDING;
        struct state_change change = steps[i].is_result ? state_result(&it, &rules, steps[i].passed,
                                                              steps[i].latency_ns, now_ns)
                                                        : state_judge(&it, &rules, now_ns);
        enum state_reason expected = model(steps, i + 1, &rules, now_ns);
        if (it.reason != expected) {
            fail_msg("seed %llu, step %zu: %s, but the model says %s", (unsigned long long)seed, i,
                state_reason_word(it.reason), state_reason_word(expected));
        }
        assert_int_equal(change.from, before);
        assert_int_equal(change.to, state_status(&it));
        bool left_pending = was_pending && it.reason != STATE_PENDING;
        assert_int_equal(change.changed, change.from != change.to || left_pending);
        check_score(&it, &rules);
    }
}

static void agrees_with_the_model(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 500; seed++) {
        run_history(seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors_of_the_specification),
        cmocka_unit_test(edges_of_the_table),
        cmocka_unit_test(judges_at_nanoseconds),
        cmocka_unit_test(announces_changes_once),
        cmocka_unit_test(leaves_the_unmonitored_alone),
        cmocka_unit_test(waits_for_a_start_period),
        cmocka_unit_test(calls_slow_what_is_slow),
        cmocka_unit_test(obeys_new_rules_at_once),
        cmocka_unit_test(scores_by_status),
        cmocka_unit_test(agrees_with_the_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
