// SPDX-License-Identifier: Apache-2.0
// Printing one row of a table of the page, and what all rows are printed with.
#ifndef WEIR_HEALTH_PAGE_ROW_H
#define WEIR_HEALTH_PAGE_ROW_H

#include <jansson.h>

#include "health/page/page.h"

#define PAGE_WORDS_MAX 1000 // bytes of text that somebody else made

struct page_print {
    struct buf out;
    struct json_writer json; // an object is open
};

void page_row_begin(struct page_print *row);
// Sets the row, or leaves it out when it does not fit.
void page_row_end(
    struct page *page, enum page_table table, struct slice key, struct page_print *row);

// At most PAGE_WORDS_MAX of it; NULL becomes null.
void page_row_text(struct page_print *row, const char *key, const char *text);
void page_row_slice(struct page_print *row, const char *key, struct slice text);
// Rounded to 1/unit: digits that a reader sees, and no more. Negative becomes null.
void page_row_number(struct page_print *row, const char *key, double number, double unit);

// Sets a row that is one number; left out when JSON has no such one (NaN, infinite).
void page_row_alone(struct page *page, enum page_table table, struct slice key, double number);

// A member of somebody else's JSON as text; "" when it is none.
const char *page_json_text(const json_t *object, const char *key);

#endif
