// SPDX-License-Identifier: Apache-2.0
#include "health/page/page_row.h"

#include <math.h>

void page_row_begin(struct page_print *row)
{
    row->out = BUF_INIT(PAGE_ROW_MAX);
    json_writer_init(&row->json, &row->out);
    jsonw_object_begin(&row->json, NULL);
}

void page_row_end(
    struct page *page, enum page_table table, struct slice key, struct page_print *row)
{
    jsonw_object_end(&row->json);
    if (!row->out.failed) {
        page_set(&page->tables, table, key, buf_slice(&row->out));
    } else {
        page->tables.left_out++;
    }
    buf_reset(&row->out);
}

void page_row_slice(struct page_print *row, const char *key, struct slice text)
{
    text.len = text.len < PAGE_WORDS_MAX ? text.len : PAGE_WORDS_MAX;
    jsonw_string(&row->json, key, text);
}

void page_row_text(struct page_print *row, const char *key, const char *text)
{
    if (text == NULL) {
        jsonw_null(&row->json, key);
    } else {
        page_row_slice(row, key, slice_str(text));
    }
}

void page_row_number(struct page_print *row, const char *key, double number, double unit)
{
    if (!(number >= 0)) {
        jsonw_null(&row->json, key);
    } else if (number > 9e15 / unit) { // beyond it there are no fractions
        jsonw_double(&row->json, key, number);
    } else {
        jsonw_double(&row->json, key, (double)(uint64_t)(number * unit + 0.5) / unit);
    }
}

void page_row_alone(struct page *page, enum page_table table, struct slice key, double number)
{
    struct page_print row = {.out = BUF_INIT(PAGE_ROW_MAX)};
    json_writer_init(&row.json, &row.out);
    jsonw_double(&row.json, NULL, number);
    if (isfinite(number) && !row.out.failed) {
        page_set(&page->tables, table, key, buf_slice(&row.out));
    } else {
        page->tables.left_out++;
    }
    buf_reset(&row.out);
}

const char *page_json_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text == NULL ? "" : text;
}
