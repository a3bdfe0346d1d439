// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/mem.h"

static void objects_are_zeroed_aligned_and_apart(void **state)
{
    (void)state;
    struct arena arena;
    char *objects[200];
    arena_init(&arena, 1 << 20);
    for (size_t i = 0; i < 200; i++) {
        size_t size = i * 7;
        objects[i] = arena_alloc(&arena, size);
        assert_non_null(objects[i]);
        assert_int_equal((uintptr_t)objects[i] % alignof(max_align_t), 0);
        for (size_t at = 0; at < size; at++) {
            assert_int_equal(objects[i][at], 0);
        }
        memset(objects[i], (int)i, size);
    }
    for (size_t i = 0; i < 200; i++) {
        for (size_t at = 0; at < i * 7; at++) {
            assert_int_equal((unsigned char)objects[i][at], i);
        }
    }
    arena_reset(&arena);
    assert_null(arena.chunks);
}

static void the_bound_holds_and_a_reset_gives_it_back(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 10000);
    assert_non_null(arena_alloc(&arena, 5000));
    assert_non_null(arena_alloc(&arena, 4096));
    assert_null(arena_alloc(&arena, 1000));
    assert_null(arena_alloc(&arena, SIZE_MAX));
    assert_null(arena_alloc(&arena, 10001));
    arena_reset(&arena);
    assert_non_null(arena_alloc(&arena, 9984));
    arena_reset(&arena);
    arena_reset(&arena);
}

static void copies_end_with_nul(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 1 << 16);
    assert_string_equal(arena_copy(&arena, slice_of("abcdef", 3)), "abc");
    assert_string_equal(arena_copy(&arena, SLICE_EMPTY), "");
    arena_reset(&arena);
}

static void no_memory_is_null(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 1 << 16);
    mem_fail_at(1);
    assert_null(arena_copy(&arena, SLICE("x")));
    assert_string_equal(arena_copy(&arena, SLICE("x")), "x");
    mem_fail_at(0);
    arena_reset(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(objects_are_zeroed_aligned_and_apart),
        cmocka_unit_test(the_bound_holds_and_a_reset_gives_it_back),
        cmocka_unit_test(copies_end_with_nul),
        cmocka_unit_test(no_memory_is_null),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
