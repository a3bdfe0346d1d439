// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "health/event_ring.h"

static const struct health_event *add(struct event_ring *ring, const char *service)
{
    return event_ring_add(ring, &(struct health_event){.service = slice_str(service),
                                    .machine = SLICE("m"),
                                    .message = SLICE_EMPTY,
                                    .previous = EVENT_NO_STATUS,
                                    .status = HEALTH_HEALTHY});
}

static void keeps_the_newest(void **state)
{
    (void)state;
    struct event_ring ring;
    assert_int_equal(event_ring_init(&ring, 3), WEIR_OK);
    assert_null(event_ring_newest(&ring, 0));
    static const char *const names[] = {"a", "b", "c", "d", "e"};
    for (size_t i = 0; i < 5; i++) {
        const struct health_event *event = add(&ring, names[i]);
        assert_int_equal(event->id, i + 1);
        assert_ptr_equal(event_ring_newest(&ring, 0), event);
    }
    for (size_t i = 0; i < 3; i++) {
        const struct health_event *event = event_ring_newest(&ring, i);
        assert_true(slice_eq(event->service, slice_str(names[4 - i])));
        assert_true(slice_eq(event->machine, SLICE("m")));
        assert_int_equal(event->message.len, 0);
        assert_int_equal(event->status, HEALTH_HEALTHY);
    }
    assert_null(event_ring_newest(&ring, 3));
    event_ring_fini(&ring);
}

static void skips_the_id_of_a_lost_one(void **state)
{
    (void)state;
    struct event_ring ring;
    assert_int_equal(event_ring_init(&ring, 3), WEIR_OK);
    add(&ring, "a");
    mem_fail_at(1);
    assert_null(add(&ring, "b"));
    mem_fail_at(0);
    assert_int_equal(add(&ring, "c")->id, 3);
    assert_true(slice_eq(event_ring_newest(&ring, 1)->service, SLICE("a")));
    event_ring_fini(&ring);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_the_newest),
        cmocka_unit_test(skips_the_id_of_a_lost_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
