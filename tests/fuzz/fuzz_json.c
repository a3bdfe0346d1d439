// SPDX-License-Identifier: Apache-2.0
// Input: a text. What must hold: the scanner and jansson agree on whether it is a JSON object and
// on what the members are; the predicates agree with one another; what the writer writes reads
// back.
//
// jansson differs in some things, and its verdict is not asked for then: it stops at 2,048 levels,
// refuses invalid UTF-8, a NUL in a key, lone surrogates and numbers beyond a double, and loses a
// NUL byte that stands behind a number or a literal. No such byte may stand anywhere.
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/utf8.h"
#include "proto/json_scan.h"
#include "proto/json_write.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const names[] = {"v", "type", "sessionId", "k", "caf\xc3\xa9", ""};
#define NAME_COUNT (sizeof names / sizeof *names)

static struct json_keys *shared_keys(void)
{
    static struct json_keys *keys;
    if (keys == NULL) {
        keys = json_keys_new(names, NAME_COUNT);
        weir_assert(keys != NULL);
    }
    return keys;
}

// Whether a refusal by jansson says nothing about the syntax.
static bool differs_by_design(const json_error_t *error)
{
    enum json_error_code code = json_error_code(error);
    return code == json_error_stack_overflow || code == json_error_null_byte_in_key ||
           code == json_error_numeric_overflow || strstr(error->text, "invalid Unicode") != NULL;
}

// ---- Values

static size_t utf16_len(struct slice text)
{
    size_t len = 0;
    while (text.len > 0) {
        size_t step = utf8_sequence_len(text);
        weir_assert(step > 0);
        len += step == 4 ? 2 : 1;
        text = slice_skip(text, step);
    }
    return len;
}

static void check_string(const struct json_value *value, struct slice expected)
{
    char *out = malloc(value->text.len + 1);
    weir_assert(out != NULL);
    struct slice text = slice_of(out, json_value_unescape(value, out));
    weir_assert(slice_eq(text, expected));
    weir_assert(value->escaped || slice_eq(value->text, expected));
    weir_assert(json_value_is_text(value, expected));
    weir_assert(json_value_starts_with(value, slice_of(expected.at, expected.len / 2)));
    weir_assert(json_value_is_filled(value) == (json_js_trim(expected).len > 0));
    weir_assert(json_value_utf16_len(value) == utf16_len(expected));
    free(out);
}

static void check_value(const struct json_value *value, const json_t *expected)
{
    if (expected == NULL) {
        weir_assert(value->kind == JSON_KIND_ABSENT);
        return;
    }
    switch (json_typeof(expected)) {
    case JSON_OBJECT:
        weir_assert(value->kind == JSON_KIND_OBJECT);
        break;
    case JSON_ARRAY:
        weir_assert(value->kind == JSON_KIND_ARRAY);
        break;
    case JSON_STRING:
        weir_assert(value->kind == JSON_KIND_STRING);
        check_string(value, slice_of(json_string_value(expected), json_string_length(expected)));
        break;
    case JSON_INTEGER:
    case JSON_REAL:
        weir_assert(value->kind == JSON_KIND_NUMBER);
        weir_assert(json_value_is_number(value, json_number_value(expected)));
        break;
    case JSON_TRUE:
        weir_assert(value->kind == JSON_KIND_TRUE);
        break;
    case JSON_FALSE:
        weir_assert(value->kind == JSON_KIND_FALSE);
        break;
    case JSON_NULL:
        weir_assert(value->kind == JSON_KIND_NULL);
        break;
    }
}

// ---- Writing

// Writes the values anew, scans that, and finds the same values.
static void check_written(const json_t *root)
{
    struct buf out = BUF_INIT(SIZE_MAX / 2);
    struct json_writer writer;
    json_writer_init(&writer, &out);
    jsonw_object_begin(&writer, NULL);
    for (size_t i = 0; i < NAME_COUNT; i++) {
        const json_t *value = json_object_get(root, names[i]);
        if (json_is_string(value)) {
            jsonw_string(
                &writer, names[i], slice_of(json_string_value(value), json_string_length(value)));
        } else if (json_is_number(value)) {
            jsonw_double(&writer, names[i], json_number_value(value));
        }
    }
    jsonw_object_end(&writer);
    weir_assert(!out.failed);
    struct json_value again[NAME_COUNT];
    weir_assert(json_scan(buf_slice(&out), shared_keys(), again) == WEIR_OK);
    for (size_t i = 0; i < NAME_COUNT; i++) {
        const json_t *value = json_object_get(root, names[i]);
        if (json_is_string(value) || json_is_number(value)) {
            check_value(&again[i], value);
        }
    }
    buf_reset(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = slice_of((const char *)data, size);
    struct json_value values[NAME_COUNT];
    enum weir_result result = json_scan(text, shared_keys(), values);
    if (slice_find(text, '\0') >= 0) {
        weir_assert(result == WEIR_MALFORMED);
        return 0;
    }
    if (!utf8_valid(text)) {
        return 0;
    }
    json_error_t error;
    json_t *root = json_loadb(text.at, text.len, JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &error);
    if (root == NULL) {
        weir_assert(result != WEIR_OK || differs_by_design(&error));
        return 0;
    }
    weir_assert((result == WEIR_OK) == json_is_object(root));
    if (result == WEIR_OK) {
        for (size_t i = 0; i < NAME_COUNT; i++) {
            check_value(&values[i], json_object_get(root, names[i]));
        }
        check_written(root);
    }
    json_decref(root);
    return 0;
}
