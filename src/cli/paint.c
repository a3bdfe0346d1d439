// SPDX-License-Identifier: Apache-2.0
#include "cli/paint.h"

#include "base/utf8.h"

void paint_line(struct buf *out, struct slice line, size_t columns, bool reverse)
{
    size_t used = 0;
    buf_append_str(out, reverse ? "\033[7m" : ""); // out->failed is looked at in the end
    while (line.len > 0) {
        size_t len = utf8_sequence_len(line);
        len = len == 0 ? 1 : len;
        if (line.at[0] == '\033') {
            ptrdiff_t end = slice_find(line, 'm');
            len = end < 0 ? line.len : (size_t)end + 1;
            buf_append(out, line.at, reverse ? 0 : len);
        } else if (used < columns) {
            buf_append(out, line.at, len);
            used++;
        }
        line = slice_skip(line, len);
    }
    buf_append_str(out, "\033[0m\033[K");
}

void paint_lines(struct buf *out, struct slice text, size_t rows, size_t columns)
{
    struct slice line;
    buf_append_str(out, "\033[H");
    for (size_t row = 0; row < rows && text.len > 0 && slice_split(&text, '\n', &line); row++) {
        buf_append_str(out, row == 0 ? "" : "\r\n");
        paint_line(out, line, columns, false);
    }
    buf_append_str(out, "\033[J");
}
