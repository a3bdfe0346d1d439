// SPDX-License-Identifier: Apache-2.0
// A byte buffer that grows, up to a bound it gets when it is made. It owns no memory while empty
// after buf_reset, so an idle connection costs none.
#ifndef WEIR_BASE_BUF_H
#define WEIR_BASE_BUF_H

#include <stddef.h>

#include "base/result.h"
#include "base/slice.h"

struct buf {
    char *at;        // owned; NULL while nothing is stored
    size_t start;    // bytes consumed from the front
    size_t len;      // bytes in use after start
    size_t size;     // bytes of storage
    size_t len_max;  // the bound
    bool failed;     // an append was refused since the last reset (sticky, for writers)
};

#define BUF_INIT(max) ((struct buf){.len_max = (max)})

void buf_init(struct buf *buf, size_t len_max);
// Gives all storage back; the bound stays. Also ends a buffer's life: there is no other state.
void buf_reset(struct buf *buf);
// Drops the content and keeps the storage, for what is filled again soon.
static inline void buf_clear(struct buf *buf)
{
    buf->start = buf->len = 0;
    buf->failed = false;
}
static inline struct slice buf_slice(const struct buf *buf)
{
    return buf->len == 0 ? SLICE_EMPTY : slice_of(buf->at + buf->start, buf->len);
}
// All or nothing: WEIR_FULL past the bound, WEIR_MEMORY; both also set buf->failed, so that a
// writer may append many times and look once.
enum weir_result buf_append(struct buf *buf, const void *bytes, size_t len);
enum weir_result buf_append_slice(struct buf *buf, struct slice text);
enum weir_result buf_append_str(struct buf *buf, const char *text);
enum weir_result buf_append_byte(struct buf *buf, char byte);
enum weir_result buf_printf(struct buf *buf, const char *format, ...) WEIR_PRINTF(2, 3);
// Makes room for len more bytes and returns where they go, or NULL (failed is set). The caller
// fills a part and calls buf_commit.
char *buf_reserve(struct buf *buf, size_t len) WEIR_MUST_CHECK;
void buf_commit(struct buf *buf, size_t len);
// Drops len bytes from the front; storage is given back when the buffer becomes empty.
void buf_consume(struct buf *buf, size_t len);
// NUL-terminates the content in place (the NUL is not counted) and returns it; NULL without memory.
char *buf_text(struct buf *buf) WEIR_MUST_CHECK;

#endif
