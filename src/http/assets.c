// SPDX-License-Identifier: Apache-2.0
#include "http/assets.h"

#include <stddef.h>

// Made by cmake/weir_embed.cmake.
#define FILE_OF(symbol)                                                                            \
    extern const unsigned char symbol[];                                                           \
    extern const size_t symbol##_len;                                                              \
    extern const unsigned char symbol##_gz[];                                                      \
    extern const size_t symbol##_gz_len
FILE_OF(web_app_js);
FILE_OF(web_style_css);

#define ROW(name, type, symbol)                                                                    \
    {name, type, symbol, &symbol##_len, symbol##_gz, &symbol##_gz_len}
static const struct {
    const char *name;
    const char *content_type;
    const unsigned char *plain;
    const size_t *plain_len;
    const unsigned char *packed;
    const size_t *packed_len;
} rows[] = {
    ROW("app.js", "text/javascript; charset=utf-8", web_app_js),
    ROW("style.css", "text/css; charset=utf-8", web_style_css),
};

bool http_asset_find(struct slice name, struct http_asset *ret_asset)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (slice_eq(name, slice_str(rows[i].name))) {
            *ret_asset = (struct http_asset){
                .content_type = rows[i].content_type,
                .plain = slice_of((const char *)rows[i].plain, *rows[i].plain_len),
                .packed = slice_of((const char *)rows[i].packed, *rows[i].packed_len),
            };
            return true;
        }
    }
    return false;
}

// "q=0", "q=0.0" and so on.
static bool is_refused(struct slice parameters)
{
    struct slice part;
    while (slice_split(&parameters, ';', &part)) {
        part = slice_trim(part);
        if (part.len >= 2 && slice_eq_nocase(slice_of(part.at, 2), SLICE("q="))) {
            struct slice value = slice_skip(part, 2);
            while (value.len > 0 && (value.at[0] == '0' || value.at[0] == '.')) {
                value = slice_skip(value, 1);
            }
            return value.len == 0;
        }
    }
    return false;
}

bool http_takes_gzip(const struct http1_head *head)
{
    const struct http1_header *accept = http1_find(head, SLICE("accept-encoding"));
    struct slice rest = accept == NULL ? SLICE_EMPTY : accept->value;
    struct slice coding;
    while (rest.len > 0 && slice_split(&rest, ',', &coding)) {
        struct slice name;
        if (slice_split(&coding, ';', &name) && slice_eq_nocase(slice_trim(name), SLICE("gzip"))) {
            return !is_refused(coding);
        }
    }
    return false;
}
