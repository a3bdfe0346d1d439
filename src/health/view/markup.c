// SPDX-License-Identifier: Apache-2.0
#include "health/view/markup.h"

#include "base/utf8.h"

#define REPLACEMENT "\xef\xbf\xbd"

// NULL: the byte stands as it is.
static const char *entity_of(char byte)
{
    switch (byte) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    default:
        return (unsigned char)byte < ' ' || byte == 0x7f ? REPLACEMENT : NULL;
    }
}

void markup_put(struct buf *out, const char *text)
{
    struct slice rest = slice_str(text);
    while (rest.len > 0) {
        size_t len = utf8_sequence_len(rest);
        const char *entity = len == 0 ? REPLACEMENT : len == 1 ? entity_of(rest.at[0]) : NULL;
        if (entity != NULL) {
            buf_append_str(out, entity);
        } else {
            buf_append(out, rest.at, len);
        }
        rest = slice_skip(rest, len == 0 ? utf8_broken_len(rest) : len);
    }
}

size_t markup_width(const char *text)
{
    size_t width = 0;
    struct slice rest = slice_str(text);
    while (rest.len > 0) {
        size_t len = utf8_sequence_len(rest);
        rest = slice_skip(rest, len == 0 ? utf8_broken_len(rest) : len);
        width++;
    }
    return width;
}
