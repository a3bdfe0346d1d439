// SPDX-License-Identifier: Apache-2.0
// Appends JSON to a bounded buffer. Commas are the writer's; the buffer's `failed` says at the end
// whether everything fitted. Keys are written in the order of the calls. No indentation.
#ifndef WEIR_PROTO_JSON_WRITE_H
#define WEIR_PROTO_JSON_WRITE_H

#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

struct json_writer {
    struct buf *out; // borrowed
    bool need_comma;
};

// Starts on a buffer that may already hold text.
void json_writer_init(struct json_writer *writer, struct buf *out);
// In an array, or at the top, key is NULL.
void jsonw_object_begin(struct json_writer *writer, const char *key);
void jsonw_object_end(struct json_writer *writer);
void jsonw_array_begin(struct json_writer *writer, const char *key);
void jsonw_array_end(struct json_writer *writer);
// Escapes quotes, backslashes and control characters; invalid UTF-8 becomes U+FFFD.
void jsonw_string(struct json_writer *writer, const char *key, struct slice text);
void jsonw_text(struct json_writer *writer, const char *key, const char *text);
void jsonw_u64(struct json_writer *writer, const char *key, uint64_t number);
void jsonw_i64(struct json_writer *writer, const char *key, int64_t number);
// Shortest form that reads back the same; NaN and infinities become null.
void jsonw_double(struct json_writer *writer, const char *key, double number);
void jsonw_bool(struct json_writer *writer, const char *key, bool value);
void jsonw_null(struct json_writer *writer, const char *key);
// Already serialised JSON.
void jsonw_raw(struct json_writer *writer, const char *key, struct slice json);
// A key that is itself a slice (from a peer): as jsonw_string, then the value by another call with
// key NULL.
void jsonw_key(struct json_writer *writer, struct slice key);

#endif
