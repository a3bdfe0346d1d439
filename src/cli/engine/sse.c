// SPDX-License-Identifier: Apache-2.0
#include "cli/engine/sse.h"

void sse_reader_init(struct sse_reader *reader, size_t bytes_max)
{
    *reader = (struct sse_reader){.line = BUF_INIT(bytes_max), .data = BUF_INIT(bytes_max)};
}

void sse_reader_fini(struct sse_reader *reader)
{
    buf_reset(&reader->line);
    buf_reset(&reader->data);
}

// A complete line. True: it is the empty one that ends an event with data.
static bool take_line(struct sse_reader *reader)
{
    struct slice line = buf_slice(&reader->line);
    if (line.len == 0) {
        return reader->has_data;
    }
    ptrdiff_t colon = slice_find(line, ':');
    struct slice field = colon < 0 ? line : slice_of(line.at, (size_t)colon);
    struct slice value = colon < 0 ? SLICE_EMPTY : slice_skip(line, (size_t)colon + 1);
    if (value.len > 0 && value.at[0] == ' ') {
        value = slice_skip(value, 1);
    }
    if (slice_eq(field, SLICE("data"))) {
        if (reader->has_data) {
            buf_append_byte(&reader->data, '\n');
        }
        buf_append_slice(&reader->data, value);
        reader->has_data = true;
    }
    return false;
}

// Up to a line end. False: it has not come yet.
static bool read_line(struct sse_reader *reader, struct slice *bytes)
{
    if (bytes->len == 0) {
        return false; // whether a line feed follows the return is still open
    }
    if (reader->after_cr) {
        *bytes = slice_skip(*bytes, bytes->at[0] == '\n' ? 1 : 0);
        reader->after_cr = false;
    }
    size_t len = 0;
    while (len < bytes->len && bytes->at[len] != '\n' && bytes->at[len] != '\r') {
        len++;
    }
    buf_append(&reader->line, bytes->at, len);
    bool ended = len < bytes->len;
    reader->after_cr = ended && bytes->at[len] == '\r';
    *bytes = slice_skip(*bytes, len + (ended ? 1 : 0));
    return ended;
}

bool sse_reader_next(struct sse_reader *reader, struct slice *bytes, struct slice *ret_data,
    enum weir_result *ret_result)
{
    *ret_result = WEIR_OK;
    if (reader->given) {
        buf_clear(&reader->data);
        reader->given = reader->has_data = false;
    }
    while (read_line(reader, bytes)) {
        bool failed = reader->line.failed;
        bool complete = !failed && take_line(reader);
        buf_clear(&reader->line);
        reader->line.failed = failed;
        if (complete && !reader->data.failed) {
            reader->given = true;
            *ret_data = buf_slice(&reader->data);
            return true;
        }
    }
    *ret_result = reader->line.failed || reader->data.failed ? WEIR_TOO_LARGE : WEIR_OK;
    return false;
}
