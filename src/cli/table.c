// SPDX-License-Identifier: Apache-2.0
#include "cli/table.h"

#include "cli/plain.h"

#define CELLS_BYTES_MAX ((size_t)64 << 20)
#define GAP 2

static void widen(struct table *table, size_t column, struct slice text)
{
    size_t width = plain_width(text);
    if (width > table->widths[column]) {
        table->widths[column] = width;
    }
}

void table_init(struct table *table, const char *const *titles, size_t column_count)
{
    weir_assert(column_count > 0 && column_count <= TABLE_COLUMNS_MAX);
    *table = (struct table){.titles = titles, .column_count = column_count};
    buf_init(&table->cells, CELLS_BYTES_MAX);
    for (size_t i = 0; titles != NULL && i < column_count; i++) {
        widen(table, i, slice_str(titles[i]));
    }
}

void table_add(struct table *table, struct slice text)
{
    size_t start = table->cells.len;
    // A failure sticks to the buffer.
    plain_append(&table->cells, text);
    if (table->cells.len == start) {
        buf_append_byte(&table->cells, '-');
    }
    widen(table, table->cell_count++ % table->column_count,
        slice_skip(buf_slice(&table->cells), start));
    buf_append_byte(&table->cells, '\0');
}

void table_add_str(struct table *table, const char *text)
{
    table_add(table, slice_str(text));
}

static void write_cell(const struct table *table, size_t column, struct slice text, struct buf *out)
{
    buf_append_slice(out, text);
    if (column + 1 == table->column_count) {
        buf_append_byte(out, '\n');
        return;
    }
    for (size_t width = plain_width(text); width < table->widths[column] + GAP; width++) {
        buf_append_byte(out, ' ');
    }
}

enum weir_result table_write(const struct table *table, struct buf *out)
{
    struct slice rest = buf_slice(&table->cells);
    struct slice cell;
    for (size_t i = 0; table->titles != NULL && i < table->column_count; i++) {
        write_cell(table, i, slice_str(table->titles[i]), out);
    }
    for (size_t i = 0; i < table->cell_count && slice_split(&rest, '\0', &cell); i++) {
        write_cell(table, i % table->column_count, cell, out);
    }
    return table->cells.failed || out->failed ? WEIR_FULL : WEIR_OK;
}

void table_fini(struct table *table)
{
    buf_reset(&table->cells);
}
