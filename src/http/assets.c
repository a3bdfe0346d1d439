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
    {                                                                                              \
        name, type, symbol, &symbol##_len, symbol##_gz, &symbol##_gz_len                           \
    }
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
