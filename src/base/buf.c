// SPDX-License-Identifier: Apache-2.0
// Storage doubles from 256 bytes. The consumed front is reclaimed by moving only when the tail has
// no room, so that a queue that drains steadily is copied at most once per doubling.
#include "base/buf.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

#define SIZE_MIN 256

void buf_init(struct buf *buf, size_t len_max)
{
    *buf = BUF_INIT(len_max);
}

void buf_reset(struct buf *buf)
{
    mem_free(buf->at);
    *buf = BUF_INIT(buf->len_max);
}

static void reclaim_front(struct buf *buf)
{
    if (buf->start > 0) {
        memmove(buf->at, buf->at + buf->start, buf->len);
        buf->start = 0;
    }
}

static enum weir_result grow(struct buf *buf, size_t needed)
{
    size_t size = buf->size < SIZE_MIN ? SIZE_MIN : buf->size;
    while (size < needed) {
        size *= 2;
    }
    char *at = mem_realloc(buf->at, size);
    if (at == NULL) {
        return WEIR_MEMORY;
    }
    buf->at = at;
    buf->size = size;
    return WEIR_OK;
}

// One byte more than asked is always kept for buf_text's NUL.
static enum weir_result make_room(struct buf *buf, size_t len)
{
    if (len > buf->len_max - buf->len) {
        buf->failed = true;
        return WEIR_FULL;
    }
    if (buf->start + buf->len + len < buf->size) {
        return WEIR_OK;
    }
    reclaim_front(buf);
    if (buf->len + len < buf->size) {
        return WEIR_OK;
    }
    enum weir_result result = grow(buf, buf->len + len + 1);
    buf->failed = buf->failed || result != WEIR_OK;
    return result;
}

char *buf_reserve(struct buf *buf, size_t len)
{
    return make_room(buf, len) == WEIR_OK ? buf->at + buf->start + buf->len : NULL;
}

void buf_commit(struct buf *buf, size_t len)
{
    weir_assert(buf->start + buf->len + len <= buf->size);
    buf->len += len;
}

enum weir_result buf_append(struct buf *buf, const void *bytes, size_t len)
{
    enum weir_result result = make_room(buf, len);
    if (result != WEIR_OK) {
        return result;
    }
    if (len > 0) {
        memcpy(buf->at + buf->start + buf->len, bytes, len);
    }
    buf->len += len;
    return WEIR_OK;
}

enum weir_result buf_append_slice(struct buf *buf, struct slice text)
{
    return buf_append(buf, text.at, text.len);
}

enum weir_result buf_append_str(struct buf *buf, const char *text)
{
    return buf_append(buf, text, strlen(text));
}

enum weir_result buf_append_byte(struct buf *buf, char byte)
{
    return buf_append(buf, &byte, 1);
}

enum weir_result buf_printf(struct buf *buf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    va_list again;
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    enum weir_result result = len < 0 ? WEIR_INVALID : make_room(buf, (size_t)len);
    if (result == WEIR_OK) {
        vsnprintf(buf->at + buf->start + buf->len, (size_t)len + 1, format, again);
        buf_commit(buf, (size_t)len);
    }
    va_end(again);
    return result;
}

void buf_consume(struct buf *buf, size_t len)
{
    weir_assert(len <= buf->len);
    buf->start += len;
    buf->len -= len;
    if (buf->len == 0) {
        bool failed = buf->failed;
        buf_reset(buf);
        buf->failed = failed;
    }
}

char *buf_text(struct buf *buf)
{
    if (buf->at == NULL && grow(buf, 1) != WEIR_OK) {
        return NULL;
    }
    buf->at[buf->start + buf->len] = '\0';
    return buf->at + buf->start;
}
