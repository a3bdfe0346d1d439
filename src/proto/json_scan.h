// SPDX-License-Identifier: Apache-2.0
// One pass over a JSON text: strict RFC 8259 syntax, no recursion, no allocation, and the values of
// the top-level members somebody asked for. This is the relay's hot path (spec section 16).
//
// The text must be one object, with only space, tab, CR and LF around it. Depth is bounded by
// JSON_DEPTH_MAX and kept in a bitmap. Keys compare after unescaping; of duplicate keys the last
// wins. UTF-8 is NOT checked here (the WebSocket layer does that for text messages).
#ifndef WEIR_PROTO_JSON_SCAN_H
#define WEIR_PROTO_JSON_SCAN_H

#include <stddef.h>
#include <stdint.h>

#include "base/result.h"
#include "base/slice.h"

#define JSON_DEPTH_MAX 65536

enum json_kind {
    JSON_KIND_ABSENT, // the member is not there
    JSON_KIND_NULL,
    JSON_KIND_FALSE,
    JSON_KIND_TRUE,
    JSON_KIND_NUMBER,
    JSON_KIND_STRING,
    JSON_KIND_ARRAY,
    JSON_KIND_OBJECT,
};

struct json_value {
    struct slice text; // raw: a string's bytes between its quotes, otherwise the whole value
    enum json_kind kind;
    bool escaped; // a string with at least one backslash
};

// What to pick out: a sorted, perfect or plain table is the implementation's; the caller names the
// keys once.
#define JSON_KEYS_MAX 48
struct json_keys;
// names: count unescaped keys of at most 64 bytes, static storage. Called once at start. NULL
// without memory.
struct json_keys *json_keys_new(const char *const *names, size_t count) WEIR_MUST_CHECK;
void json_keys_free(struct json_keys *keys);

// Scans text and fills values[i] for names[i] (JSON_KIND_ABSENT when not there). WEIR_MALFORMED.
enum weir_result json_scan(
    struct slice text, const struct json_keys *keys, struct json_value *values) WEIR_MUST_CHECK;

// ---- Values as the frame rules see them (spec section 6.1); all take ABSENT and wrong kinds. The
// values come from json_scan: syntax is not checked again, and a number's text is followed by a
// readable byte.

bool json_value_is_string(const struct json_value *value);
// A string whose JavaScript-trimmed form is not empty.
bool json_value_is_filled(const struct json_value *value);
// A number whose double value is a finite integer; also its value.
bool json_value_is_int(const struct json_value *value, double *ret_number);
// The number equals n as a double ("2.0" is 2).
bool json_value_is_number(const struct json_value *value, double n);
// A string that equals text after unescaping.
bool json_value_is_text(const struct json_value *value, struct slice text);
// The string after unescaping starts with prefix.
bool json_value_starts_with(const struct json_value *value, struct slice prefix);
// Unescapes a string into out (at least value->text.len bytes); lone surrogates become U+FFFD.
// Returns the length. When nothing is escaped, callers use value->text itself.
size_t json_value_unescape(const struct json_value *value, char *out);
// Unescaped length in UTF-16 code units, as JavaScript's String.length counts it.
size_t json_value_utf16_len(const struct json_value *value);
// The next element of an array, raw. rest starts as the array's text and is what this function keeps
// its place in; false at the end, also when the value is no array.
bool json_array_next(struct slice *rest, struct slice *ret_element);
// The slice without JavaScript white space at its ends (text is UTF-8, already unescaped).
struct slice json_js_trim(struct slice text);

#endif
