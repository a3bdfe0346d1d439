// SPDX-License-Identifier: Apache-2.0
// The writer keeps one bit of state: whether the next item needs a comma in front. Beginning an
// object or an array and writing a key clear it, everything else sets it. Failures stick in the
// buffer, so no call here looks at one.
//
// Numbers and strings come out as JavaScript's JSON.stringify writes them, because the peers
// compare and echo what they read.
#include "proto/json_write.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "base/number.h"
#include "base/utf8.h"

#define DIGITS_MAX 17 // always enough for a double to read back
// Whole numbers up to here are exact, and short enough to be written as they are.
#define WHOLE_MAX 9007199254740992.0
// ECMA-262 Number::toString: powers of ten from 1e-7 down and 1e21 up take an exponent.
#define POINT_MIN (-5)
#define POINT_MAX 21

void json_writer_init(struct json_writer *writer, struct buf *out)
{
    *writer = (struct json_writer){.out = out};
}

// ---- Strings

static bool is_plain(unsigned char byte)
{
    return byte >= 0x20 && byte != '"' && byte != '\\' && byte < 0x80;
}

#if defined(__SSE2__)

// The whole blocks of 16 bytes at the front that are plain.
static size_t plain_blocks(struct slice text)
{
    size_t i = 0;
    for (; text.len - i >= 16; i += 16) {
        __m128i block = _mm_loadu_si128((const __m128i *)(const void *)(text.at + i));
        // As signed bytes those above 0x7f are below the blank as well.
        __m128i low = _mm_cmplt_epi8(block, _mm_set1_epi8(0x20));
        __m128i quote = _mm_cmpeq_epi8(block, _mm_set1_epi8('"'));
        __m128i slash = _mm_cmpeq_epi8(block, _mm_set1_epi8('\\'));
        if (_mm_movemask_epi8(_mm_or_si128(low, _mm_or_si128(quote, slash))) != 0) {
            break;
        }
    }
    return i;
}

#else

static size_t plain_blocks(struct slice text)
{
    (void)text;
    return 0;
}

#endif

// The length of what can be copied as it stands.
static size_t plain_len(struct slice text)
{
    size_t len = plain_blocks(text);
    while (len < text.len) {
        if (is_plain((unsigned char)text.at[len])) {
            len++;
            continue;
        }
        size_t step = 0;
        if ((unsigned char)text.at[len] >= 0x80) {
            step = utf8_sequence_len(slice_skip(text, len));
        }
        if (step == 0) {
            break;
        }
        len += step;
    }
    return len;
}

static void put_escaped_byte(struct buf *out, char byte)
{
    switch (byte) {
    case '"':
    case '\\':
        buf_append(out, (char[]){'\\', byte}, 2);
        return;
    case '\b':
        buf_append_str(out, "\\b");
        return;
    case '\f':
        buf_append_str(out, "\\f");
        return;
    case '\n':
        buf_append_str(out, "\\n");
        return;
    case '\r':
        buf_append_str(out, "\\r");
        return;
    case '\t':
        buf_append_str(out, "\\t");
        return;
    default:
        buf_printf(out, "\\u%04x", (unsigned)(unsigned char)byte);
        return;
    }
}

static void put_string(struct buf *out, struct slice text)
{
    // Most text is plain from end to end, and goes in at once.
    if (plain_len(text) == text.len) {
        char *at = buf_reserve(out, text.len + 2);
        if (at != NULL) { // else out->failed
            at[0] = at[text.len + 1] = '"';
            if (text.len > 0) {
                memcpy(at + 1, text.at, text.len);
            }
            buf_commit(out, text.len + 2);
        }
        return;
    }
    buf_append_byte(out, '"');
    for (;;) {
        size_t len = plain_len(text);
        buf_append(out, text.at, len);
        text = slice_skip(text, len);
        if (text.len == 0) {
            break;
        }
        if ((unsigned char)text.at[0] >= 0x80) {
            buf_append_str(out, "\xef\xbf\xbd"); // U+FFFD
            text = slice_skip(text, utf8_broken_len(text));
        } else {
            put_escaped_byte(out, text.at[0]);
            text = slice_skip(text, 1);
        }
    }
    buf_append_byte(out, '"');
}

// ---- Structure

static void put_comma(struct json_writer *writer)
{
    if (writer->need_comma) {
        buf_append_byte(writer->out, ',');
    }
    writer->need_comma = true;
}

void jsonw_key(struct json_writer *writer, struct slice key)
{
    put_comma(writer);
    put_string(writer->out, key);
    buf_append_byte(writer->out, ':');
    writer->need_comma = false;
}

// What stands in front of every value.
static void begin_value(struct json_writer *writer, const char *key)
{
    if (key != NULL) {
        jsonw_key(writer, slice_str(key));
    }
    put_comma(writer);
}

static void begin_nested(struct json_writer *writer, const char *key, char bracket)
{
    begin_value(writer, key);
    buf_append_byte(writer->out, bracket);
    writer->need_comma = false;
}

static void end_nested(struct json_writer *writer, char bracket)
{
    buf_append_byte(writer->out, bracket);
    writer->need_comma = true;
}

void jsonw_object_begin(struct json_writer *writer, const char *key)
{
    begin_nested(writer, key, '{');
}

void jsonw_object_end(struct json_writer *writer)
{
    end_nested(writer, '}');
}

void jsonw_array_begin(struct json_writer *writer, const char *key)
{
    begin_nested(writer, key, '[');
}

void jsonw_array_end(struct json_writer *writer)
{
    end_nested(writer, ']');
}

// ---- Values

void jsonw_string(struct json_writer *writer, const char *key, struct slice text)
{
    begin_value(writer, key);
    put_string(writer->out, text);
}

void jsonw_text(struct json_writer *writer, const char *key, const char *text)
{
    jsonw_string(writer, key, slice_str(text));
}

void jsonw_raw(struct json_writer *writer, const char *key, struct slice json)
{
    begin_value(writer, key);
    buf_append_slice(writer->out, json);
}

void jsonw_u64(struct json_writer *writer, const char *key, uint64_t number)
{
    char digits[NUMBER_DIGITS_MAX];
    begin_value(writer, key);
    buf_append(writer->out, digits, number_put_u64(number, digits));
}

void jsonw_i64(struct json_writer *writer, const char *key, int64_t number)
{
    char digits[NUMBER_DIGITS_MAX + 1] = "-";
    size_t sign = number < 0;
    uint64_t size = sign ? 0 - (uint64_t)number : (uint64_t)number;
    begin_value(writer, key);
    buf_append(writer->out, digits, sign + number_put_u64(size, digits + sign));
}

void jsonw_bool(struct json_writer *writer, const char *key, bool value)
{
    jsonw_raw(writer, key, value ? SLICE("true") : SLICE("false"));
}

void jsonw_null(struct json_writer *writer, const char *key)
{
    jsonw_raw(writer, key, SLICE("null"));
}

// ---- Doubles

// A positive double is 0.DIGITS times ten to the point.
struct decimal {
    char digits[DIGITS_MAX + 1];
    int count;
    int point;
};

// Numbers of a few digits, as times and percentages are, at no cost: a decimal of fifteen digits is
// the shortest of any double it reads back as. False: it takes more.
static bool short_decimal(double number, struct decimal *ret_decimal)
{
    if (number >= 1e12) {
        return false;
    }
    uint64_t thousands = (uint64_t)(number * 1000 + 0.5);
    double back = (double)thousands / 1000;
    if (thousands == 0 || back < number || back > number) {
        return false;
    }
    char digits[NUMBER_DIGITS_MAX];
    size_t len = number_put_u64(thousands, digits);
    size_t count = len;
    while (digits[count - 1] == '0') {
        count--;
    }
    *ret_decimal = (struct decimal){.count = (int)count, .point = (int)len - 3};
    memcpy(ret_decimal->digits, digits, count);
    return true;
}

static struct decimal shortest_decimal(double number)
{
    struct decimal exact;
    if (short_decimal(number, &exact)) {
        return exact;
    }
    char text[DIGITS_MAX + 16];
    int count = 1;
    for (; count <= DIGITS_MAX; count++) {
        snprintf(text, sizeof text, "%.*e", count - 1, number);
        double back = strtod(text, NULL);
        if (back >= number && back <= number) {
            break;
        }
    }
    struct decimal decimal = {.digits = {text[0]}, .count = count};
    memcpy(decimal.digits + 1, text + 2, (size_t)count - 1);
    decimal.point = atoi(strchr(text, 'e') + 1) + 1;
    return decimal;
}

static void put_zeros(struct buf *out, int count)
{
    for (int i = 0; i < count; i++) {
        buf_append_byte(out, '0');
    }
}

static void put_decimal(struct buf *out, const struct decimal *decimal)
{
    const char *digits = decimal->digits;
    int count = decimal->count;
    int point = decimal->point;
    if (point < POINT_MIN || point > POINT_MAX) {
        const char *separator = count > 1 ? "." : "";
        buf_printf(out, "%c%s%se%+d", digits[0], separator, digits + 1, point - 1);
    } else if (point <= 0) {
        buf_append_str(out, "0.");
        put_zeros(out, -point);
        buf_append_str(out, digits);
    } else if (point >= count) {
        buf_append_str(out, digits);
        put_zeros(out, point - count);
    } else {
        buf_append(out, digits, (size_t)point);
        buf_append_byte(out, '.');
        buf_append_str(out, digits + point);
    }
}

void jsonw_double(struct json_writer *writer, const char *key, double number)
{
    if (!isfinite(number)) {
        jsonw_null(writer, key);
        return;
    }
    if (fabs(number) <= WHOLE_MAX && floor(number) >= number) {
        jsonw_i64(writer, key, (int64_t)number);
        return;
    }
    begin_value(writer, key);
    if (number < 0) {
        buf_append_byte(writer->out, '-');
    }
    struct decimal decimal = shortest_decimal(fabs(number));
    put_decimal(writer->out, &decimal);
}
