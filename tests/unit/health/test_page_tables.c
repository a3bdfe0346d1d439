// SPDX-License-Identifier: Apache-2.0
// What deltas and snapshots add up to is judged by a reader of its own, which knows only their
// JSON.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/mem.h"
#include "health/page/page_tables.h"

static const struct siphash_key seed = {1, 2};

#define MESSAGE_MAX (1024 * 1024)

// ---- The reader: {"table":{"key":value}}

struct reader {
    json_t *tables;
    json_int_t number;
    unsigned part;
    bool whole;
};

static void apply(struct reader *reader, const json_t *message)
{
    const char *table;
    json_t *list;
    json_t *entry;
    size_t index;
    json_object_foreach(json_object_get(message, "gone"), table, list)
    {
        json_array_foreach(list, index, entry)
        {
            (void)json_object_del(json_object_get(reader->tables, table), json_string_value(entry));
        }
    }
    json_object_foreach(json_object_get(message, "set"), table, list)
    {
        if (json_object_get(reader->tables, table) == NULL) {
            assert_int_equal(json_object_set_new(reader->tables, table, json_object()), 0);
        }
        json_array_foreach(list, index, entry)
        {
            assert_int_equal(json_array_size(entry), 2);
            assert_int_equal(
                json_object_set(json_object_get(reader->tables, table),
                    json_string_value(json_array_get(entry, 0)), json_array_get(entry, 1)),
                0);
        }
    }
}

static void take(struct reader *reader, struct slice text)
{
    json_error_t error;
    json_t *message = json_loadb(text.at, text.len, JSON_REJECT_DUPLICATES, &error);
    assert_non_null(message);
    const char *type = json_string_value(json_object_get(message, "type"));
    json_int_t number = json_integer_value(json_object_get(message, "n"));
    if (strcmp(type, "snapshot") == 0) {
        unsigned part = (unsigned)json_integer_value(json_object_get(message, "part"));
        if (part == 1) {
            json_decref(reader->tables);
            reader->tables = json_object();
            reader->number = number;
        } else {
            assert_int_equal(part, reader->part + 1);
        }
        reader->part = part;
        reader->whole = json_is_false(json_object_get(message, "more"));
    } else {
        assert_string_equal(type, "delta");
        assert_int_equal(number, reader->number + 1);
        reader->number = number;
    }
    apply(reader, message);
    json_decref(message);
}

// Tables without rows count as none.
static void prune(json_t *tables)
{
    const char *table;
    json_t *rows;
    void *next;
    json_object_foreach_safe(tables, next, table, rows)
    {
        if (json_object_size(rows) == 0) {
            (void)json_object_del(tables, table);
        }
    }
}

static void assert_same(struct reader *reader, struct page_tables *tables)
{
    struct reader fresh = {0};
    struct buf out = BUF_INIT(MESSAGE_MAX);
    page_print_whole(tables, PAGE_READ, 0, &out);
    assert_false(out.failed);
    take(&fresh, buf_slice(&out));
    assert_true(fresh.whole);
    prune(fresh.tables);
    prune(reader->tables);
    assert_true(json_equal(fresh.tables, reader->tables));
    json_decref(fresh.tables);
    buf_reset(&out);
}

static void tell(struct page_tables *tables, struct reader *reader)
{
    struct buf out = BUF_INIT(MESSAGE_MAX);
    page_print_delta(tables, 0, &out);
    assert_false(out.failed);
    take(reader, buf_slice(&out));
    buf_reset(&out);
}

static void set(struct page_tables *tables, enum page_table table, unsigned key, unsigned value)
{
    char key_text[32];
    char value_text[160];
    // A key that wants escaping, and values of many lengths.
    snprintf(key_text, sizeof key_text, "k\"%u", key);
    snprintf(value_text, sizeof value_text, "{\"v\":%u,\"pad\":\"%.*s\"}", value, (int)(value % 90),
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        "a");
    page_set(tables, table, slice_str(key_text), slice_str(value_text));
}

// ---- One thing at a time

static void unchanged_rows_are_not_told(void **state)
{
    (void)state;
    struct page_tables tables;
    struct buf out = BUF_INIT(MESSAGE_MAX);
    page_tables_init(&tables, &seed);
    page_set(&tables, PAGE_MACHINES, SLICE("a"), SLICE("1"));
    page_set(&tables, PAGE_MACHINES, SLICE("b"), SLICE("2"));
    page_print_delta(&tables, 1, &out);
    assert_true(slice_eq(buf_slice(&out),
        SLICE("{\"type\":\"delta\",\"n\":1,\"at\":\"1970-01-01T00:00:00.001Z\",\"gone\":{},"
              "\"set\":{\"machines\":[[\"a\",1],[\"b\",2]]}}")));
    page_set(&tables, PAGE_MACHINES, SLICE("a"), SLICE("1"));
    assert_int_equal(tables.changes, 0);
    page_set(&tables, PAGE_MACHINES, SLICE("a"), SLICE("3"));
    page_set(&tables, PAGE_MACHINES, SLICE("a"), SLICE("4"));
    page_unset(&tables, PAGE_MACHINES, SLICE("b"));
    page_unset(&tables, PAGE_MACHINES, SLICE("nobody"));
    assert_int_equal(tables.changes, 2);
    buf_reset(&out);
    page_print_delta(&tables, 1, &out);
    assert_true(slice_eq(buf_slice(&out),
        SLICE("{\"type\":\"delta\",\"n\":2,\"at\":\"1970-01-01T00:00:00.001Z\","
              "\"gone\":{\"machines\":[\"b\"]},\"set\":{\"machines\":[[\"a\",4]]}}")));
    buf_reset(&out);
    page_tables_fini(&tables);
    assert_int_equal(tables.bytes, 0);
}

static void what_comes_back_at_once_is_there(void **state)
{
    (void)state;
    struct page_tables tables;
    struct reader reader = {.tables = json_object()};
    page_tables_init(&tables, &seed);
    set(&tables, PAGE_MACHINES, 1, 1);
    tell(&tables, &reader);
    for (unsigned i = 0; i < 3; i++) {
        page_unset(&tables, PAGE_MACHINES, SLICE("k\"1"));
        set(&tables, PAGE_MACHINES, 1, i);
    }
    tell(&tables, &reader);
    assert_int_equal(tables.tables[PAGE_MACHINES].count, 1);
    assert_same(&reader, &tables);
    json_decref(reader.tables);
    page_tables_fini(&tables);
}

static void a_table_anew(void **state)
{
    (void)state;
    struct page_tables tables;
    struct reader reader = {.tables = json_object()};
    page_tables_init(&tables, &seed);
    for (unsigned i = 0; i < 10; i++) {
        set(&tables, PAGE_MACHINES, i, 0);
    }
    tell(&tables, &reader);
    page_renew_begin(&tables, PAGE_MACHINES);
    for (unsigned i = 5; i < 12; i++) {
        set(&tables, PAGE_MACHINES, i, i == 7);
    }
    page_renew_end(&tables, PAGE_MACHINES);
    assert_int_equal(tables.changes, 5 + 1 + 2);
    tell(&tables, &reader);
    assert_same(&reader, &tables);
    page_trim(&tables, PAGE_MACHINES, 2);
    assert_int_equal(tables.tables[PAGE_MACHINES].count, 2);
    tell(&tables, &reader);
    assert_same(&reader, &tables);
    assert_non_null(json_object_get(json_object_get(reader.tables, "machines"), "k\"11"));
    page_clear(&tables, PAGE_MACHINES);
    tell(&tables, &reader);
    assert_same(&reader, &tables);
    json_decref(reader.tables);
    page_tables_fini(&tables);
}

static void readers_of_health_alone_see_no_more(void **state)
{
    (void)state;
    struct page_tables tables;
    struct buf out = BUF_INIT(MESSAGE_MAX);
    page_tables_init(&tables, &seed);
    page_set(&tables, PAGE_MACHINES, SLICE("a"), SLICE("1"));
    page_set(&tables, PAGE_ROLES, SLICE("secret"), SLICE("[\"edge\"]"));
    page_print_whole(&tables, PAGE_OPEN, 0, &out);
    assert_true(slice_contains_nocase(buf_slice(&out), SLICE("machines")));
    assert_false(slice_contains_nocase(buf_slice(&out), SLICE("roles")));
    buf_reset(&out);
    page_print_whole(&tables, PAGE_READ, 0, &out);
    assert_true(slice_contains_nocase(buf_slice(&out), SLICE("secret")));
    buf_reset(&out);
    page_tables_fini(&tables);
}

static void it_is_bounded(void **state)
{
    (void)state;
    struct page_tables tables;
    char *big = calloc(1, PAGE_ROW_MAX + 1);
    assert_non_null(big);
    memset(big, '1', PAGE_ROW_MAX);
    page_tables_init(&tables, &seed);
    page_set(&tables, PAGE_SUMMARY, SLICE("a"), SLICE("1"));
    page_set(&tables, PAGE_SUMMARY, SLICE("b"), SLICE("1"));
    assert_int_equal(tables.left_out, 1);
    page_set(&tables, PAGE_MACHINES, SLICE("a"), slice_of(big, PAGE_ROW_MAX));
    page_set(&tables, PAGE_MACHINES, slice_of(big, PAGE_KEY_MAX + 1), SLICE("1"));
    assert_int_equal(tables.left_out, 3);
    assert_int_equal(tables.tables[PAGE_MACHINES].count, 0);
    for (unsigned i = 0; i < PAGE_BYTES_MAX / PAGE_ROW_MAX; i++) {
        char key[16];
        snprintf(key, sizeof key, "%u", i);
        page_set(&tables, PAGE_SERVICES, slice_str(key), slice_of(big, PAGE_ROW_MAX - 16));
    }
    assert_true(tables.bytes <= PAGE_BYTES_MAX);
    assert_true(tables.left_out > 3);
    uint64_t before = tables.left_out;
    page_set(&tables, PAGE_MACHINES, SLICE("a"), slice_of(big, PAGE_ROW_MAX - 16));
    assert_int_equal(tables.left_out, before + 1);
    page_clear(&tables, PAGE_SERVICES);
    page_settle(&tables);
    page_set(&tables, PAGE_MACHINES, SLICE("a"), slice_of(big, PAGE_ROW_MAX - 16));
    assert_int_equal(tables.tables[PAGE_MACHINES].count, 1);
    page_tables_fini(&tables);
    free(big);
}

static void a_delta_that_does_not_fit_is_told_all_the_same(void **state)
{
    (void)state;
    struct page_tables tables;
    struct buf small = BUF_INIT(100);
    struct reader reader = {.tables = json_object(), .number = 1};
    page_tables_init(&tables, &seed);
    set(&tables, PAGE_MACHINES, 1, 80);
    page_print_delta(&tables, 0, &small);
    assert_true(small.failed);
    assert_int_equal(tables.changes, 0);
    buf_reset(&small);
    tell(&tables, &reader); // the next number
    json_decref(reader.tables);
    page_tables_fini(&tables);
}

static void without_memory_a_row_stays_as_it_was(void **state)
{
    (void)state;
    bool failed = true;
    unsigned long nth = 0;
    while (failed) {
        struct page_tables tables;
        struct reader reader = {.tables = json_object()};
        page_tables_init(&tables, &seed);
        set(&tables, PAGE_MACHINES, 1, 1);
        mem_fail_at(++nth);
        set(&tables, PAGE_MACHINES, 1, 2);
        set(&tables, PAGE_ROLES, 1, 1);
        mem_fail_at(0);
        failed = tables.left_out > 0;
        assert_true(tables.left_out <= 1);
        set(&tables, PAGE_MACHINES, 1, 2);
        set(&tables, PAGE_ROLES, 1, 1);
        tell(&tables, &reader);
        assert_same(&reader, &tables);
        json_decref(reader.tables);
        page_tables_fini(&tables);
    }
    assert_true(nth > 4);
}

// ---- Anything, in any order

static unsigned random_next(uint32_t *chance)
{
    *chance = *chance * 1664525 + 1013904223;
    return *chance >> 8;
}

static void change_something(struct page_tables *tables, uint32_t *chance)
{
    static const enum page_table some[] = {PAGE_SERVICES, PAGE_MACHINES, PAGE_ROLES};
    enum page_table table = some[random_next(chance) % 3];
    char key[32];
    unsigned what = random_next(chance) % 100;
    snprintf(key, sizeof key, "k\"%u", random_next(chance) % 40);
    if (what < 70) {
        set(tables, table, random_next(chance) % 40, random_next(chance) % 5);
    } else if (what < 90) {
        page_unset(tables, table, slice_str(key));
    } else if (what < 95) {
        page_trim(tables, table, random_next(chance) % 40);
    } else {
        page_renew_begin(tables, table);
        for (unsigned i = 0; i < 20; i++) {
            set(tables, table, random_next(chance) % 40, random_next(chance) % 5);
        }
        page_renew_end(tables, table);
    }
}

// One reader from the begin, and one that joins again and again, whose snapshots come in small
// parts between deltas.
static void deltas_add_up(void **state)
{
    (void)state;
    for (uint32_t run = 1; run <= 40; run++) {
        struct page_tables tables;
        struct reader first = {.tables = json_object()};
        struct reader late = {.tables = json_object()};
        struct page_cursor cursor = {0};
        uint32_t chance = run;
        page_tables_init(&tables, &seed);
        for (unsigned step = 0; step < 300; step++) {
            struct buf out = BUF_INIT(MESSAGE_MAX);
            change_something(&tables, &chance);
            if (random_next(&chance) % 3 != 0) {
                continue;
            }
            if (cursor.table < PAGE_TABLE_COUNT) {
                page_print_part(&tables, &cursor, 0, 200 + random_next(&chance) % 2000, &out);
                take(&late, buf_slice(&out));
                buf_reset(&out);
            }
            page_print_delta(&tables, 0, &out);
            take(&first, buf_slice(&out));
            take(&late, buf_slice(&out));
            assert_same(&first, &tables);
            if (late.whole) {
                assert_same(&late, &tables);
                cursor = random_next(&chance) % 4 == 0 ? (struct page_cursor){0} : cursor;
                late.whole = cursor.table == PAGE_TABLE_COUNT;
            }
            buf_reset(&out);
        }
        json_decref(first.tables);
        json_decref(late.tables);
        page_tables_fini(&tables);
        assert_int_equal(tables.bytes, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unchanged_rows_are_not_told),
        cmocka_unit_test(what_comes_back_at_once_is_there),
        cmocka_unit_test(a_table_anew),
        cmocka_unit_test(readers_of_health_alone_see_no_more),
        cmocka_unit_test(it_is_bounded),
        cmocka_unit_test(a_delta_that_does_not_fit_is_told_all_the_same),
        cmocka_unit_test(without_memory_a_row_stays_as_it_was),
        cmocka_unit_test(deltas_add_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
