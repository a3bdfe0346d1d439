// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"

#define MAX 1000

static void appends_up_to_the_bound(void **state)
{
    (void)state;
    struct buf buf;
    buf_init(&buf, 8);
    assert_int_equal(buf_append_str(&buf, "abc"), WEIR_OK);
    assert_int_equal(buf_append_byte(&buf, '-'), WEIR_OK);
    assert_int_equal(buf_append_slice(&buf, SLICE("e\0f")), WEIR_OK);
    assert_int_equal(buf_append(&buf, "g", 1), WEIR_OK);
    assert_true(slice_eq(buf_slice(&buf), SLICE("abc-e\0fg")));
    assert_false(buf.failed);
    assert_int_equal(buf_append(&buf, "", 0), WEIR_OK);
    assert_int_equal(buf_append_byte(&buf, 'x'), WEIR_FULL);
    assert_true(buf.failed);
    assert_true(slice_eq(buf_slice(&buf), SLICE("abc-e\0fg")));
    buf_reset(&buf);
}

static void takes_all_or_nothing(void **state)
{
    (void)state;
    struct buf buf = BUF_INIT(4);
    assert_int_equal(buf_append_str(&buf, "ab"), WEIR_OK);
    assert_int_equal(buf_append_str(&buf, "cde"), WEIR_FULL);
    assert_true(slice_eq(buf_slice(&buf), SLICE("ab")));
    // What fits is still taken, but the failure stays known.
    assert_int_equal(buf_append_str(&buf, "cd"), WEIR_OK);
    assert_true(slice_eq(buf_slice(&buf), SLICE("abcd")));
    assert_true(buf.failed);
    assert_int_equal(buf_append(&buf, "x", SIZE_MAX), WEIR_FULL);
    buf_reset(&buf);
    assert_false(buf.failed);
    assert_int_equal(buf.len_max, 4);
}

static void owns_nothing_when_empty(void **state)
{
    (void)state;
    struct buf buf = BUF_INIT(MAX);
    assert_int_equal(buf_append_str(&buf, "abc"), WEIR_OK);
    buf_consume(&buf, 3);
    assert_null(buf.at);
    assert_int_equal(buf_slice(&buf).len, 0);
    assert_non_null(buf_slice(&buf).at);
    assert_int_equal(buf_append_str(&buf, "abc"), WEIR_OK);
    buf_reset(&buf);
    assert_null(buf.at);
    buf_reset(&buf);
    assert_null(buf.at);
}

static void failure_outlives_draining(void **state)
{
    (void)state;
    struct buf buf = BUF_INIT(2);
    assert_int_equal(buf_append_str(&buf, "ab"), WEIR_OK);
    assert_int_equal(buf_append_str(&buf, "c"), WEIR_FULL);
    buf_consume(&buf, 2);
    assert_true(buf.failed);
    buf_reset(&buf);
}

// A queue that drains steadily: what comes out is what went in, in order, past every boundary.
static void queues_in_order(void **state)
{
    (void)state;
    struct buf buf = BUF_INIT(MAX);
    uint8_t in = 0;
    uint8_t out = 0;
    for (size_t turn = 0; turn < 5000; turn++) {
        size_t add = 1 + turn % 7;
        for (size_t i = 0; i < add && buf.len < MAX; i++) {
            assert_int_equal(buf_append_byte(&buf, (char)in++), WEIR_OK);
        }
        size_t take = turn % 11;
        take = take < buf.len ? take : buf.len;
        for (size_t i = 0; i < take; i++) {
            assert_int_equal((uint8_t)buf_slice(&buf).at[0], out++);
            buf_consume(&buf, 1);
        }
    }
    buf_reset(&buf);
}

static void reserves_and_commits(void **state)
{
    (void)state;
    struct buf buf = BUF_INIT(MAX);
    assert_int_equal(buf_append_str(&buf, "ab"), WEIR_OK);
    char *at = buf_reserve(&buf, MAX - 2);
    assert_non_null(at);
    memset(at, 'x', MAX - 2);
    buf_commit(&buf, 1);
    assert_true(slice_eq(buf_slice(&buf), SLICE("abx")));
    assert_null(buf_reserve(&buf, MAX));
    assert_true(buf.failed);
    buf_reset(&buf);
}

static void prints_whole_or_not(void **state)
{
    (void)state;
    struct buf buf = BUF_INIT(MAX);
    assert_int_equal(buf_printf(&buf, "%s=%d\r\n", "a", 12), WEIR_OK);
    assert_int_equal(buf_printf(&buf, "%0500d", 7), WEIR_OK);
    assert_int_equal(buf.len, 6 + 500);
    assert_int_equal(buf_slice(&buf).at[505], '7');
    assert_int_equal(buf_printf(&buf, "%0495d", 7), WEIR_FULL);
    assert_int_equal(buf.len, 6 + 500);
    assert_int_equal(buf_printf(&buf, "%0494d", 7), WEIR_OK);
    assert_int_equal(buf.len, MAX);
    buf_reset(&buf);
}

static void terminates_texts_of_every_length(void **state)
{
    (void)state;
    struct buf buf = BUF_INIT(MAX);
    for (size_t len = 0; len < MAX; len++) {
        char *text = buf_text(&buf);
        assert_non_null(text);
        assert_int_equal(strlen(text), len);
        assert_int_equal(buf.len, len);
        assert_int_equal(buf_append_byte(&buf, 'x'), WEIR_OK);
    }
    buf_consume(&buf, 10);
    assert_int_equal(strlen(buf_text(&buf)), MAX - 10);
    buf_reset(&buf);
}

#if WEIR_FAULTS
static void keeps_its_bytes_without_memory(void **state)
{
    (void)state;
    struct buf buf = BUF_INIT(MAX);
    mem_fail_at(1);
    assert_int_equal(buf_append_str(&buf, "abc"), WEIR_MEMORY);
    assert_true(buf.failed);
    assert_int_equal(buf.len, 0);
    mem_fail_at(1);
    assert_null(buf_text(&buf));
    mem_fail_at(1);
    assert_null(buf_reserve(&buf, 1));
    mem_fail_at(0);
    buf_reset(&buf);

    assert_int_equal(buf_append_str(&buf, "abc"), WEIR_OK);
    char more[600] = {0};
    mem_fail_at(1);
    assert_int_equal(buf_append(&buf, more, sizeof more), WEIR_MEMORY);
    mem_fail_at(0);
    assert_true(slice_eq(buf_slice(&buf), SLICE("abc")));
    assert_int_equal(buf_append(&buf, more, sizeof more), WEIR_OK);
    buf_reset(&buf);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appends_up_to_the_bound),
        cmocka_unit_test(takes_all_or_nothing),
        cmocka_unit_test(owns_nothing_when_empty),
        cmocka_unit_test(failure_outlives_draining),
        cmocka_unit_test(queues_in_order),
        cmocka_unit_test(reserves_and_commits),
        cmocka_unit_test(prints_whole_or_not),
        cmocka_unit_test(terminates_texts_of_every_length),
#if WEIR_FAULTS
        cmocka_unit_test(keeps_its_bytes_without_memory),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
