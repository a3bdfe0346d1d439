// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"

#define ENTRIES 1000

struct entry {
    struct map_node node;
    char key[16];
    bool seen;
};

static const struct siphash_key seed = {1, 2};
static struct entry entries[ENTRIES];

static struct entry *entry_of(struct map_node *node)
{
    return container_of(node, struct entry, node);
}

static void insert_entry(struct map *map, size_t i)
{
    entries[i] = (struct entry){.seen = false};
    snprintf(entries[i].key, sizeof entries[i].key, "key-%zu", i);
    assert_int_equal(map_insert(map, &entries[i].node, slice_str(entries[i].key)), WEIR_OK);
}

static void is_empty_at_first(void **state)
{
    (void)state;
    struct map map;
    map_init(&map, &seed);
    assert_null(map_find(&map, SLICE("a")));
    assert_null(map_find(&map, SLICE_EMPTY));
    assert_null(map_next(&map, NULL));
    map_fini(&map);
}

static void finds_what_was_inserted(void **state)
{
    (void)state;
    struct map map;
    map_init(&map, &seed);
    for (size_t i = 0; i < ENTRIES; i++) {
        insert_entry(&map, i);
        assert_int_equal(map.count, i + 1);
    }
    for (size_t i = 0; i < ENTRIES; i++) {
        // Found by what the key says, not by where it lies.
        char key[16];
        snprintf(key, sizeof key, "key-%zu", i);
        assert_ptr_equal(map_find(&map, slice_str(key)), &entries[i].node);
    }
    assert_null(map_find(&map, SLICE("key-")));
    assert_null(map_find(&map, SLICE("key-1000")));
    assert_null(map_find(&map, SLICE("key-1\0")));
    map_fini(&map);
    assert_null(map_find(&map, SLICE("key-1")));
}

static void forgets_what_was_removed(void **state)
{
    (void)state;
    struct map map;
    map_init(&map, &seed);
    for (size_t i = 0; i < ENTRIES; i++) {
        insert_entry(&map, i);
    }
    for (size_t i = 0; i < ENTRIES; i += 2) {
        map_remove(&map, &entries[i].node);
    }
    assert_int_equal(map.count, ENTRIES / 2);
    for (size_t i = 0; i < ENTRIES; i++) {
        struct map_node *found = map_find(&map, slice_str(entries[i].key));
        assert_ptr_equal(found, i % 2 == 0 ? NULL : &entries[i].node);
    }
    insert_entry(&map, 0);
    assert_ptr_equal(map_find(&map, SLICE("key-0")), &entries[0].node);
    map_fini(&map);
}

static void walks_over_all_once(void **state)
{
    (void)state;
    struct map map;
    map_init(&map, &seed);
    for (size_t i = 0; i < ENTRIES; i++) {
        insert_entry(&map, i);
    }
    size_t count = 0;
    for (struct map_node *node = map_next(&map, NULL); node; node = map_next(&map, node)) {
        assert_false(entry_of(node)->seen);
        entry_of(node)->seen = true;
        count++;
    }
    assert_int_equal(count, ENTRIES);
    map_fini(&map);
}

static void empties_while_walking(void **state)
{
    (void)state;
    struct map map;
    map_init(&map, &seed);
    for (size_t i = 0; i < ENTRIES; i++) {
        insert_entry(&map, i);
    }
    struct map_node *next;
    for (struct map_node *node = map_next(&map, NULL); node != NULL; node = next) {
        next = map_next(&map, node);
        map_remove(&map, node);
    }
    assert_int_equal(map.count, 0);
    assert_null(map_next(&map, NULL));
    map_fini(&map);
}

static void takes_the_empty_key(void **state)
{
    (void)state;
    struct map map;
    map_init(&map, &seed);
    struct map_node node;
    assert_int_equal(map_insert(&map, &node, SLICE_EMPTY), WEIR_OK);
    assert_ptr_equal(map_find(&map, SLICE("")), &node);
    map_remove(&map, &node);
    assert_null(map_find(&map, SLICE("")));
    map_fini(&map);
}

#if WEIR_FAULTS
// Without memory a map that has a table goes on with it; one that has none says so.
static void lives_without_memory(void **state)
{
    (void)state;
    struct map map;
    map_init(&map, &seed);
    struct map_node first;
    mem_fail_at(1);
    assert_int_equal(map_insert(&map, &first, SLICE("a")), WEIR_MEMORY);
    mem_fail_at(0);
    assert_int_equal(map.count, 0);
    assert_null(map_find(&map, SLICE("a")));

    for (size_t i = 0; i < ENTRIES; i++) {
        mem_fail_at(i == 0 ? 0 : 1);
        insert_entry(&map, i);
    }
    mem_fail_at(0);
    for (size_t i = 0; i < ENTRIES; i++) {
        assert_ptr_equal(map_find(&map, slice_str(entries[i].key)), &entries[i].node);
    }
    map_fini(&map);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_empty_at_first),
        cmocka_unit_test(finds_what_was_inserted),
        cmocka_unit_test(forgets_what_was_removed),
        cmocka_unit_test(walks_over_all_once),
        cmocka_unit_test(empties_while_walking),
        cmocka_unit_test(takes_the_empty_key),
#if WEIR_FAULTS
        cmocka_unit_test(lives_without_memory),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
