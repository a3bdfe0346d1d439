// SPDX-License-Identifier: Apache-2.0
// Pages are made when they are asked for; only the operator's files are kept. Nothing of the
// request is repeated on them.
#include "engine/edge/page.h"

#include <stdio.h>

#include "engine/config/config.h"
#include "engine/shard.h"
#include "sys/file.h"

#define PAGE_LEN_MAX 1024

static const struct page_error errors[] = {
#define EDGE_ERROR(symbol, status, label, text) {(status), (label), (text)},
#include "engine/edge/edge_errors.def"
#undef EDGE_ERROR
};

// What an answer of a status says besides.
static const struct {
    unsigned status;
    struct http1_header field;
} extras[] = {
    {401, {{"www-authenticate", 16}, {"Bearer", 6}}},
    {405, {{"allow", 5}, {"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS", 44}}},
    {429, {{"retry-after", 11}, {"2", 1}}},
    {503, {{"retry-after", 11}, {"2", 1}}},
};

static const char html[] = //
    "<!doctype html>\n"
    "<html lang=\"en\"><head><meta charset=\"utf-8\">"
    "<meta name=\"viewport\" content=\"width=device-width\">"
    "<title>%u %s</title>"
    "<style>:root{color-scheme:light dark}"
    "body{font:1.1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:18vh auto;padding:0 1rem}"
    "h1{font-size:1.4rem}small{opacity:.6}</style></head>\n"
    "<body><h1>%u %s</h1><p>%s</p><p><small>%s</small></p></body></html>\n";

static const char text[] = "%u %s\n%s (%s)\n";

const struct page_error *page_error(enum edge_error error)
{
    weir_assert(error < EDGE_ERROR_COUNT);
    return &errors[error];
}

// ---- The operator's files -----------------------------------------------------------------------

static bool read_file(const char *path, struct buf *out)
{
    buf_init(out, PAGE_FILE_BYTES_MAX);
    return path == NULL || sys_file_read(path, PAGE_FILE_BYTES_MAX, out) == WEIR_OK;
}

enum weir_result pages_load(
    struct pages *pages, const struct engine_config *config, const char **ret_path)
{
    struct pages fresh;
    buf_init(&fresh.unavailable, 0);
    *ret_path = config->page_not_found;
    bool good = read_file(config->page_not_found, &fresh.not_found);
    if (good) {
        *ret_path = config->page_unavailable;
        good = read_file(config->page_unavailable, &fresh.unavailable);
    }
    if (!good) {
        pages_fini(&fresh);
        return WEIR_NOT_FOUND;
    }
    pages_fini(pages);
    *pages = fresh;
    return WEIR_OK;
}

void pages_fini(struct pages *pages)
{
    buf_reset(&pages->not_found);
    buf_reset(&pages->unavailable);
}

static struct slice own_page(const struct pages *pages, unsigned status)
{
    switch (status) {
    case 404:
        return buf_slice(&pages->not_found);
    case 502:
    case 503:
    case 504:
        return buf_slice(&pages->unavailable);
    default:
        return SLICE_EMPTY;
    }
}

// ---- Accept -------------------------------------------------------------------------------------

// The weight of one range (RFC 9110 section 12.4.2) in thousandths; what cannot be read is 1.
static unsigned weight_of(struct slice parameters)
{
    struct slice part;
    while (slice_split(&parameters, ';', &part)) {
        part = slice_trim(part);
        if (!slice_starts_with_nocase(part, SLICE("q="))) {
            continue;
        }
        unsigned weight = 0;
        unsigned unit = 1000;
        for (struct slice digits = slice_skip(part, 2); digits.len > 0 && unit > 0;
             digits = slice_skip(digits, 1)) {
            char digit = digits.at[0];
            if (digit >= '0' && digit <= '9') {
                weight += (unsigned)(digit - '0') * unit;
                unit /= 10;
            } else if (digit != '.') {
                return 1000;
            }
        }
        return weight;
    }
    return 1000;
}

// Browsers name text/html; tools send "*/*" or nothing and get plain text.
bool page_prefers_html(struct slice accept)
{
    unsigned for_html = 0;
    unsigned for_text = 0;
    struct slice range;
    while (slice_split(&accept, ',', &range)) {
        struct slice parameters = range;
        struct slice type;
        if (!slice_split(&parameters, ';', &type)) {
            continue;
        }
        type = slice_trim(type);
        unsigned weight = parameters.at == NULL ? 1000 : weight_of(parameters);
        if (slice_eq_nocase(type, SLICE("text/html"))) {
            for_html = weight;
        } else if (slice_eq_nocase(type, SLICE("text/plain"))) {
            for_text = weight;
        }
    }
    return for_html > for_text;
}

// ---- Answering ----------------------------------------------------------------------------------

static struct slice make_page(const struct page_error *row, bool wants_html, char out[PAGE_LEN_MAX])
{
    const char *reason = http1_reason(row->status);
    int len = wants_html
                  ? snprintf(out, PAGE_LEN_MAX, html, row->status, reason, row->status, reason,
                        row->text, row->label)
                  : snprintf(out, PAGE_LEN_MAX, text, row->status, reason, row->text, row->label);
    weir_assert(len > 0 && len < PAGE_LEN_MAX);
    return slice_of(out, (size_t)len);
}

void page_send(struct exchange *exchange, enum edge_error error)
{
    const struct page_error *row = page_error(error);
    char made[PAGE_LEN_MAX];
    struct slice body = own_page(&exchange->visitor->shard->pages, row->status);
    bool as_html = body.len > 0 || exchange->wants_html;
    if (body.len == 0) {
        body = make_page(row, exchange->wants_html, made);
    }
    struct http1_header fields[4] = {
        {SLICE("content-type"),
            as_html ? SLICE("text/html; charset=utf-8") : SLICE("text/plain; charset=utf-8")},
        {SLICE("cache-control"), SLICE("no-store")},
        {SLICE("x-weir-error"), slice_str(row->label)},
    };
    size_t count = 3;
    for (size_t i = 0; i < sizeof extras / sizeof *extras; i++) {
        if (extras[i].status == row->status) {
            fields[count++] = extras[i].field;
        }
    }
    struct answer_head head = {
        .status = row->status,
        .fields = fields,
        .field_count = count,
        .has_body = !exchange->head_only,
        .has_length = true,
        .length = body.len,
    };
    exchange_head(exchange, &head);
    if (!exchange->head_only) {
        (void)exchange_body(exchange, body); // the front holds what it is given
        exchange_end(exchange, NULL, 0);
    }
}
