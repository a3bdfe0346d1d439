// SPDX-License-Identifier: Apache-2.0
#include "agent/liveness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static void what_is_agreed_on(void **state)
{
    static const struct {
        uint32_t interval, timeout;
        enum weir_result result;
    } rows[] = {
        {5000, 15000, WEIR_OK},
        {5000, 5000, WEIR_OK},   // the timeout is the interval
        {5000, 900000, WEIR_OK}, // 15 minutes
        {5000, 4999, WEIR_PROTOCOL},
        {5000, 900001, WEIR_PROTOCOL},
        {4000, 15000, WEIR_PROTOCOL}, // another interval than ours
        {0, 0, WEIR_PROTOCOL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct liveness liveness;
        struct rstrm_liveness told = {rows[i].interval, rows[i].timeout};
        const char *why = NULL;
        assert_int_equal(liveness_agree(&liveness, 5000, &told, &why), rows[i].result);
        assert_int_equal(liveness.negotiated, rows[i].result == WEIR_OK);
        assert_int_equal(why == NULL, rows[i].result == WEIR_OK);
    }
}

static void without_an_answer_heartbeats_are_zero(void **state)
{
    struct liveness liveness;
    const char *why = NULL;
    uint64_t trip;
    struct rstrm_heartbeat odd = {7, 9};
    (void)state;
    assert_int_equal(liveness_agree(&liveness, 5000, NULL, &why), WEIR_OK);
    assert_false(liveness.negotiated);
    struct rstrm_heartbeat beat = liveness_beat(&liveness, 1);
    assert_int_equal(beat.sequence | beat.acknowledgement, 0);
    assert_int_equal(liveness_heard(&liveness, &odd, 2, &trip, &why), WEIR_OK);
    assert_int_equal(trip, 0);
}

static void what_may_be_acknowledged(void **state)
{
    static const struct {
        uint64_t sent, before, acknowledged, own;
        enum weir_result result;
    } rows[] = {
        {1, 0, 1, 0, WEIR_OK},
        {5, 0, 3, 0, WEIR_OK}, // numbers may be left out
        {5, 3, 4, 0, WEIR_OK},
        {5, 3, 3, 0, WEIR_PROTOCOL}, // again
        {5, 3, 2, 0, WEIR_PROTOCOL}, // back
        {5, 0, 0, 0, WEIR_PROTOCOL}, // none
        {5, 0, 6, 0, WEIR_PROTOCOL}, // not sent
        {5, 0, 1, 1, WEIR_PROTOCOL}, // with a number of its own
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct liveness liveness = {
            .negotiated = true, .sequence = rows[i].sent, .acknowledged = rows[i].before};
        struct rstrm_heartbeat told = {rows[i].own, rows[i].acknowledged};
        const char *why = NULL;
        uint64_t trip;
        assert_int_equal(liveness_heard(&liveness, &told, 1, &trip, &why), rows[i].result);
        assert_int_equal(why == NULL, rows[i].result == WEIR_OK);
    }
}

static void the_round_trip_is_known_for_a_while(void **state)
{
    struct liveness liveness = {.negotiated = true};
    const char *why = NULL;
    uint64_t trip;
    (void)state;
    for (uint64_t i = 1; i <= LIVENESS_SENT_KEPT + 1; i++) {
        assert_int_equal(liveness_beat(&liveness, 100 * i).sequence, i);
    }
    struct rstrm_heartbeat first = {0, 1};
    struct rstrm_heartbeat second = {0, 2};
    assert_int_equal(liveness_heard(&liveness, &first, 1000, &trip, &why), WEIR_OK);
    assert_int_equal(trip, 0); // too long ago
    assert_int_equal(liveness_heard(&liveness, &second, 1000, &trip, &why), WEIR_OK);
    assert_int_equal(trip, 800);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_agreed_on),
        cmocka_unit_test(without_an_answer_heartbeats_are_zero),
        cmocka_unit_test(what_may_be_acknowledged),
        cmocka_unit_test(the_round_trip_is_known_for_a_while),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
