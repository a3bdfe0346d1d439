// SPDX-License-Identifier: Apache-2.0
// What the page shows, as named tables of keyed rows, and what of it has changed since it was told
// last. A row is a JSON value that is printed once, when it changes; a row that is set to what it
// is already has not changed. Pure data: who is told, and when, is page.c.
//
// A delta says which keys are gone and which rows are new, to be taken in this order. A snapshot is
// told in parts, and deltas may come between them: a row counts as it was told last.
#ifndef WEIR_HEALTH_PAGE_TABLES_H
#define WEIR_HEALTH_PAGE_TABLES_H

#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/map.h"
#include "proto/json_write.h"

enum page_table {
#define PAGE_TABLE(symbol, name, access, rows_max) PAGE_##symbol,
#include "health/page/page_tables.def"
#undef PAGE_TABLE
    PAGE_TABLE_COUNT,
};

enum page_reader { PAGE_OPEN, PAGE_READ };

#define PAGE_KEY_MAX 1024        // bytes
#define PAGE_ROW_MAX (32 * 1024) // of key and value
#define PAGE_BYTES_MAX ((size_t)64 * 1024 * 1024)

struct page_row;

struct page_rows {
    struct map by_key;
    struct page_row **rows; // owned, as are the rows; by age
    size_t count;
    size_t size;
    struct list changed; // rows that are to be told, and those that have gone
};

struct page_tables {
    struct page_rows tables[PAGE_TABLE_COUNT];
    size_t bytes;      // of all rows, those that have gone and were not told yet included
    size_t changes;    // that are to be told
    uint64_t last_row; // each has a number, from 1, in the order they came
    uint64_t told;     // the number of the last delta
    uint64_t left_out; // rows that found no room
};

void page_tables_init(struct page_tables *tables, const struct siphash_key *seed);
void page_tables_fini(struct page_tables *tables);

// ---- What there is

// value: JSON. A row that is too long, too many, or without memory is left out.
void page_set(
    struct page_tables *tables, enum page_table table, struct slice key, struct slice value);
void page_unset(struct page_tables *tables, enum page_table table, struct slice key);
// A whole table anew: what is not set between the two calls is gone after the second.
void page_renew_begin(struct page_tables *tables, enum page_table table);
void page_renew_end(struct page_tables *tables, enum page_table table);
// Drops the oldest rows until so many are left.
void page_trim(struct page_tables *tables, enum page_table table, size_t count);
void page_clear(struct page_tables *tables, enum page_table table);

// ---- What is told

// {"type":"delta","n":…,"at":…,"gone":{"table":["key"]},"set":{"table":[["key",value]]}}. What has
// changed is told then, also when out has failed: that happens when it does not fit.
void page_print_delta(struct page_tables *tables, uint64_t wall_ms, struct buf *out);
// The same without anybody to hear it.
void page_settle(struct page_tables *tables);

// How far a snapshot has got.
struct page_cursor {
    unsigned table; // PAGE_TABLE_COUNT: it is done
    unsigned part;  // printed so far
    uint64_t row;   // the last one of the table; 0: none
};
// {"type":"snapshot","n":…,"at":…,"part":…,"more":…,"set":{…}}: the next part, of about `bytes`,
// for a reader of everything. The first begins everything anew.
void page_print_part(struct page_tables *tables, struct page_cursor *cursor, uint64_t wall_ms,
    size_t bytes, struct buf *out);
// The whole snapshot as one part.
void page_print_whole(
    struct page_tables *tables, enum page_reader reader, uint64_t wall_ms, struct buf *out);

#endif
