// SPDX-License-Identifier: Apache-2.0
// 1. A row is in its table's map and array until it is gone; from then on only in `changed`.
// 2. A row is in `changed` exactly while it is to be told, and counted in tables->changes then.
// 3. The array is in the order of the rows' numbers, so that a cursor finds its place in it,
//    whatever came and went meanwhile.
#include "health/page/page_tables.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/time.h"

struct page_row {
    struct map_node node;
    struct list changed;
    uint64_t number;
    uint32_t key_len;
    uint32_t value_len;
    bool gone;
    bool kept;  // set since page_renew_begin
    char *text; // owned: the key, then the value
};

static const struct {
    const char *name;
    enum page_reader reader;
    size_t rows_max;
} about[PAGE_TABLE_COUNT] = {
#define PAGE_TABLE(symbol, name, access, rows_max) {name, PAGE_##access, rows_max},
#include "health/page/page_tables.def"
#undef PAGE_TABLE
};

static struct slice key_of(const struct page_row *row)
{
    return slice_of(row->text, row->key_len);
}

static struct slice value_of(const struct page_row *row)
{
    return slice_of(row->text + row->key_len, row->value_len);
}

static size_t bytes_of(const struct page_row *row)
{
    return sizeof *row + row->key_len + row->value_len;
}

// ---- Rows

static void note_change(struct page_tables *tables, enum page_table table, struct page_row *row)
{
    if (!list_linked(&row->changed)) {
        list_push_back(&tables->tables[table].changed, &row->changed);
        tables->changes++;
    }
}

static void row_free(struct page_tables *tables, struct page_row *row)
{
    if (list_linked(&row->changed)) {
        list_remove(&row->changed);
        tables->changes--;
    }
    tables->bytes -= bytes_of(row);
    mem_free(row->text);
    mem_free(row);
}

static struct page_row *row_new(struct slice key, struct slice value)
{
    struct page_row *row = mem_zalloc(sizeof *row);
    char *text = mem_alloc(key.len + value.len + 1);
    if (row == NULL || text == NULL) {
        mem_free(row);
        mem_free(text);
        return NULL;
    }
    memcpy(text, key.at, key.len);
    memcpy(text + key.len, value.at, value.len);
    row->text = text;
    row->key_len = (uint32_t)key.len;
    row->value_len = (uint32_t)value.len;
    list_init(&row->changed);
    return row;
}

static bool make_room(struct page_rows *rows)
{
    if (rows->count < rows->size) {
        return true;
    }
    size_t size = rows->size == 0 ? 16 : 2 * rows->size;
    struct page_row **more = mem_realloc(rows->rows, size * sizeof *more);
    if (more != NULL) {
        rows->rows = more;
        rows->size = size;
    }
    return more != NULL;
}

static void row_add(
    struct page_tables *tables, enum page_table table, struct slice key, struct slice value)
{
    struct page_rows *rows = &tables->tables[table];
    bool fits = rows->count < about[table].rows_max && make_room(rows);
    struct page_row *row = fits ? row_new(key, value) : NULL;
    if (row == NULL || tables->bytes + bytes_of(row) > PAGE_BYTES_MAX ||
        map_insert(&rows->by_key, &row->node, key_of(row)) != WEIR_OK) {
        mem_free(row == NULL ? NULL : row->text);
        mem_free(row);
        tables->left_out++;
        return;
    }
    tables->bytes += bytes_of(row);
    row->number = ++tables->last_row;
    row->kept = true;
    rows->rows[rows->count++] = row;
    note_change(tables, table, row);
}

// False: the row stays as it was.
static bool row_change(struct page_tables *tables, struct page_row *row, struct slice value)
{
    char *text = mem_alloc(row->key_len + value.len + 1);
    if (text == NULL || tables->bytes + value.len - row->value_len > PAGE_BYTES_MAX) {
        mem_free(text);
        return false;
    }
    memcpy(text, row->text, row->key_len);
    memcpy(text + row->key_len, value.at, value.len);
    tables->bytes += value.len;
    tables->bytes -= row->value_len;
    mem_free(row->text);
    row->text = text;
    row->value_len = (uint32_t)value.len;
    row->node.key = key_of(row);
    return true;
}

// Out of map and array; told as gone.
static void row_part(struct page_tables *tables, enum page_table table, struct page_row *row)
{
    map_remove(&tables->tables[table].by_key, &row->node);
    row->gone = true;
    note_change(tables, table, row);
}

// The index of the first row with a number above this one.
static size_t index_after(const struct page_rows *rows, uint64_t number)
{
    size_t low = 0;
    size_t high = rows->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (rows->rows[middle]->number > number) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

static struct page_row *find(
    const struct page_tables *tables, enum page_table table, struct slice key)
{
    struct map_node *node = map_find(&tables->tables[table].by_key, key);
    return node == NULL ? NULL : container_of(node, struct page_row, node);
}

void page_set(
    struct page_tables *tables, enum page_table table, struct slice key, struct slice value)
{
    struct page_row *row = find(tables, table, key);
    if (key.len > PAGE_KEY_MAX || key.len + value.len > PAGE_ROW_MAX) {
        tables->left_out++;
        return;
    }
    if (row == NULL) {
        row_add(tables, table, key, value);
        return;
    }
    row->kept = true;
    if (slice_eq(value_of(row), value)) {
        return;
    }
    if (row_change(tables, row, value)) {
        note_change(tables, table, row);
    } else {
        tables->left_out++;
    }
}

void page_unset(struct page_tables *tables, enum page_table table, struct slice key)
{
    struct page_rows *rows = &tables->tables[table];
    struct page_row *row = find(tables, table, key);
    if (row == NULL) {
        return;
    }
    size_t index = index_after(rows, row->number - 1);
    rows->count--;
    memmove(&rows->rows[index], &rows->rows[index + 1], (rows->count - index) * sizeof *rows->rows);
    row_part(tables, table, row);
}

void page_renew_begin(struct page_tables *tables, enum page_table table)
{
    struct page_rows *rows = &tables->tables[table];
    for (size_t i = 0; i < rows->count; i++) {
        rows->rows[i]->kept = false;
    }
}

void page_renew_end(struct page_tables *tables, enum page_table table)
{
    struct page_rows *rows = &tables->tables[table];
    size_t count = 0;
    for (size_t i = 0; i < rows->count; i++) {
        if (rows->rows[i]->kept) {
            rows->rows[count++] = rows->rows[i];
        } else {
            row_part(tables, table, rows->rows[i]);
        }
    }
    rows->count = count;
}

void page_trim(struct page_tables *tables, enum page_table table, size_t count)
{
    struct page_rows *rows = &tables->tables[table];
    if (rows->count <= count) {
        return;
    }
    size_t surplus = rows->count - count;
    for (size_t i = 0; i < surplus; i++) {
        row_part(tables, table, rows->rows[i]);
    }
    memmove(rows->rows, &rows->rows[surplus], count * sizeof *rows->rows);
    rows->count = count;
}

void page_clear(struct page_tables *tables, enum page_table table)
{
    page_renew_begin(tables, table);
    page_renew_end(tables, table);
}

// ---- Telling

static void begin_message(
    struct json_writer *writer, struct buf *out, const char *type, uint64_t number)
{
    json_writer_init(writer, out);
    jsonw_object_begin(writer, NULL);
    jsonw_text(writer, "type", type);
    jsonw_u64(writer, "n", number);
}

static void write_at(struct json_writer *writer, uint64_t wall_ms)
{
    char time[TIME_ISO_SIZE];
    time_to_iso(wall_ms, time);
    jsonw_text(writer, "at", time);
}

static void write_row(struct json_writer *writer, const struct page_row *row)
{
    jsonw_array_begin(writer, NULL);
    jsonw_string(writer, NULL, key_of(row));
    jsonw_raw(writer, NULL, value_of(row));
    jsonw_array_end(writer);
}

static void write_changes(struct json_writer *writer, struct page_rows *rows, bool gone)
{
    list_for_each (node, &rows->changed) {
        const struct page_row *row = container_of(node, struct page_row, changed);
        if (gone && row->gone) {
            jsonw_string(writer, NULL, key_of(row));
        } else if (!gone && !row->gone) {
            write_row(writer, row);
        }
    }
}

// {"table":[…]}, without the tables that have nothing of it.
static void write_all_changes(
    struct json_writer *writer, struct page_tables *tables, const char *key, bool gone)
{
    jsonw_object_begin(writer, key);
    for (size_t i = 0; i < PAGE_TABLE_COUNT; i++) {
        bool any = false;
        list_for_each (node, &tables->tables[i].changed) {
            any = any || container_of(node, struct page_row, changed)->gone == gone;
        }
        if (any) {
            jsonw_array_begin(writer, about[i].name);
            write_changes(writer, &tables->tables[i], gone);
            jsonw_array_end(writer);
        }
    }
    jsonw_object_end(writer);
}

void page_settle(struct page_tables *tables)
{
    for (size_t i = 0; i < PAGE_TABLE_COUNT; i++) {
        struct list *node;
        while ((node = list_pop_front(&tables->tables[i].changed)) != NULL) {
            struct page_row *row = container_of(node, struct page_row, changed);
            tables->changes--;
            if (row->gone) {
                row_free(tables, row);
            }
        }
    }
    tables->told++;
}

void page_print_delta(struct page_tables *tables, uint64_t wall_ms, struct buf *out)
{
    struct json_writer writer;
    begin_message(&writer, out, "delta", tables->told + 1);
    write_at(&writer, wall_ms);
    write_all_changes(&writer, tables, "gone", true);
    write_all_changes(&writer, tables, "set", false);
    jsonw_object_end(&writer);
    page_settle(tables);
}

// Rows of one table behind the cursor, until out is longer than `bytes`; the cursor goes to the
// next table after the last one.
static void write_rows(struct json_writer *writer, const struct page_tables *tables,
    struct page_cursor *cursor, size_t bytes)
{
    const struct page_rows *rows = &tables->tables[cursor->table];
    size_t index = index_after(rows, cursor->row);
    jsonw_array_begin(writer, about[cursor->table].name);
    for (; index < rows->count && writer->out->len < bytes && !writer->out->failed; index++) {
        write_row(writer, rows->rows[index]);
        cursor->row = rows->rows[index]->number;
    }
    jsonw_array_end(writer);
    if (index == rows->count) {
        cursor->table++;
        cursor->row = 0;
    }
}

static void print_part(struct page_tables *tables, struct page_cursor *cursor,
    enum page_reader reader, uint64_t wall_ms, size_t bytes, struct buf *out)
{
    struct json_writer writer;
    begin_message(&writer, out, "snapshot", tables->told);
    write_at(&writer, wall_ms);
    jsonw_u64(&writer, "part", ++cursor->part);
    jsonw_object_begin(&writer, "set");
    while (cursor->table < PAGE_TABLE_COUNT && out->len < bytes && !out->failed) {
        if (about[cursor->table].reader > reader) {
            cursor->table++;
        } else {
            write_rows(&writer, tables, cursor, bytes);
        }
    }
    jsonw_object_end(&writer);
    jsonw_bool(&writer, "more", cursor->table < PAGE_TABLE_COUNT);
    jsonw_object_end(&writer);
}

void page_print_part(struct page_tables *tables, struct page_cursor *cursor, uint64_t wall_ms,
    size_t bytes, struct buf *out)
{
    print_part(tables, cursor, PAGE_READ, wall_ms, bytes, out);
}

void page_print_whole(
    struct page_tables *tables, enum page_reader reader, uint64_t wall_ms, struct buf *out)
{
    struct page_cursor cursor = {0};
    print_part(tables, &cursor, reader, wall_ms, SIZE_MAX, out);
}

// ---- Life

void page_tables_init(struct page_tables *tables, const struct siphash_key *seed)
{
    *tables = (struct page_tables){0};
    for (size_t i = 0; i < PAGE_TABLE_COUNT; i++) {
        map_init(&tables->tables[i].by_key, seed);
        list_init(&tables->tables[i].changed);
    }
}

void page_tables_fini(struct page_tables *tables)
{
    for (size_t i = 0; i < PAGE_TABLE_COUNT; i++) {
        page_clear(tables, i);
    }
    page_settle(tables);
    for (size_t i = 0; i < PAGE_TABLE_COUNT; i++) {
        map_fini(&tables->tables[i].by_key);
        mem_free(tables->tables[i].rows);
        tables->tables[i].rows = NULL;
        tables->tables[i].size = 0;
    }
}
