// SPDX-License-Identifier: Apache-2.0
// Rows of text in columns, for a person. A cell is one line and steers nothing (see plain.h).
#ifndef WEIR_CLI_TABLE_H
#define WEIR_CLI_TABLE_H

#include "base/buf.h"
#include "base/slice.h"

#define TABLE_COLUMNS_MAX 12

struct table {
    const char *const *titles; // borrowed; NULL: no head
    size_t column_count;
    struct buf cells; // each ended by NUL
    size_t cell_count;
    size_t widths[TABLE_COLUMNS_MAX];
};

// titles: column_count of them, or NULL.
void table_init(struct table *table, const char *const *titles, size_t column_count);
// The next cell, from left to right; an empty one is shown as "-".
void table_add(struct table *table, struct slice text);
void table_add_str(struct table *table, const char *text);
// Columns as wide as they must be, two blanks between them, none at the end of a line.
// WEIR_FULL, WEIR_MEMORY: also when a cell did not fit earlier.
enum weir_result table_write(const struct table *table, struct buf *out) WEIR_MUST_CHECK;
void table_fini(struct table *table);

#endif
