// SPDX-License-Identifier: Apache-2.0
#include "cli/plain.h"

#include <stdint.h>

#include "base/utf8.h"

#define ESC 0x1b
#define BEL 0x07

// What ESC at the front begins: a string that BEL or ESC \ ends, a control sequence, or one letter.
static size_t escape_len(struct slice text)
{
    size_t at = 1;
    if (at == text.len) {
        return at;
    }
    unsigned char kind = (unsigned char)text.at[at++];
    if (kind == ']' || kind == 'P' || kind == 'X' || kind == '^' || kind == '_') {
        while (at < text.len && text.at[at] != BEL && text.at[at] != ESC) {
            at++;
        }
        // A string that another sequence cuts off: that one is looked at by itself.
        bool ended = at < text.len && text.at[at] == BEL;
        bool ended_long = at + 1 < text.len && text.at[at] == ESC && text.at[at + 1] == '\\';
        return at + (ended ? 1 : ended_long ? 2 : 0);
    }
    if (kind == '[') {
        while (at < text.len && text.at[at] >= 0x20 && text.at[at] <= 0x3f) {
            at++;
        }
        return at < text.len && text.at[at] >= 0x40 && text.at[at] <= 0x7e ? at + 1 : at;
    }
    // Intermediate bytes, then one letter.
    at--;
    while (at < text.len && text.at[at] >= 0x20 && text.at[at] <= 0x2f) {
        at++;
    }
    return at < text.len && text.at[at] >= 0x30 && text.at[at] <= 0x7e ? at + 1 : at;
}

static unsigned long code_point(const char *at, size_t len)
{
    static const unsigned char masks[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    unsigned long value = (unsigned char)at[0] & masks[len];
    for (size_t i = 1; i < len; i++) {
        value = value << 6 | ((unsigned char)at[i] & 0x3f);
    }
    return value;
}

static bool is_hidden(unsigned long point)
{
    return (point >= 0x80 && point < 0xa0) || point == 0xad || point == 0x61c ||
           (point >= 0x200b && point <= 0x200f) || (point >= 0x2028 && point <= 0x202e) ||
           (point >= 0x2060 && point <= 0x206f) || point == 0xfeff ||
           (point >= 0xe0000 && point <= 0xe007f);
}

enum weir_result plain_append(struct buf *out, struct slice text)
{
    enum weir_result result = WEIR_OK;
    while (text.len > 0 && result == WEIR_OK) {
        unsigned char first = (unsigned char)text.at[0];
        size_t len = utf8_sequence_len(text);
        if (first == ESC) {
            len = escape_len(text);
        } else if (first == '\t' || first == '\n' || first == '\r') {
            result = buf_append_byte(out, ' ');
        } else if (len == 0) {
            len = utf8_broken_len(text);
            result = buf_append_byte(out, '?');
        } else if (first >= 0x20 && first != 0x7f && !is_hidden(code_point(text.at, len))) {
            result = buf_append(out, text.at, len);
        }
        text = slice_skip(text, len);
    }
    return result;
}

size_t plain_width(struct slice text)
{
    size_t width = 0;
    for (size_t i = 0; i < text.len; i++) {
        width += ((unsigned char)text.at[i] & 0xc0) != 0x80;
    }
    return width;
}
