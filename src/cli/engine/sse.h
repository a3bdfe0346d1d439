// SPDX-License-Identifier: Apache-2.0
// Reads server-sent events (WHATWG HTML, section 9.2.6), without I/O: bytes in, the data of events
// out. Only what the engine's API uses: "data" lines; other fields and comments are passed over.
#ifndef WEIR_CLI_SSE_H
#define WEIR_CLI_SSE_H

#include "base/buf.h"
#include "base/result.h"
#include "base/slice.h"

struct sse_reader {
    struct buf line; // begun
    struct buf data; // of the event so far
    bool has_data;
    bool given;    // the data is with the caller
    bool after_cr; // an LF that comes now belongs to the line end
};

// No line and no event may be longer than bytes_max.
void sse_reader_init(struct sse_reader *reader, size_t bytes_max);
// Takes bytes off the front of *bytes until an event is complete: true, and *ret_data is its data,
// until the next call. False: all bytes are used. *ret_result is not WEIR_OK when something was too
// long; the reader is of no use then.
bool sse_reader_next(struct sse_reader *reader, struct slice *bytes, struct slice *ret_data,
    enum weir_result *ret_result);
void sse_reader_fini(struct sse_reader *reader);

#endif
