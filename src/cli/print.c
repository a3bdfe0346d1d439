// SPDX-License-Identifier: Apache-2.0
#include "cli/print.h"

#include <unistd.h>

#include "sys/file.h"

#define JSON_BYTES_MAX ((size_t)256 << 20)

bool print_buf(const struct buf *out)
{
    struct slice text = buf_slice(out);
    return !out->failed && sys_write_all(STDOUT_FILENO, text.at, text.len) == WEIR_OK;
}

static int append(const char *bytes, size_t len, void *arg)
{
    return buf_append(arg, bytes, len) == WEIR_OK ? 0 : -1;
}

bool print_json(const json_t *value, bool pretty)
{
    struct buf out = BUF_INIT(JSON_BYTES_MAX);
    size_t flags = JSON_ENCODE_ANY | (pretty ? JSON_INDENT(2) : JSON_COMPACT);
    flags |= isatty(STDOUT_FILENO) ? JSON_ENSURE_ASCII : 0;
    bool ok = value != NULL && json_dump_callback(value, append, &out, flags) == 0 &&
              buf_append_byte(&out, '\n') == WEIR_OK && print_buf(&out);
    buf_reset(&out);
    return ok;
}
