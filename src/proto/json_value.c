// SPDX-License-Identifier: Apache-2.0
// What a scanned value means: numbers as doubles, strings after unescaping. Values come from
// json_scan, so their syntax is known to be right. That also means that the byte behind a number
// is readable and ends it, which lets strtod work in place.
//
// Strings that hold no escape are answered from their raw text; the others are walked character by
// character, without a buffer.
#include <math.h>
#include <stdlib.h>

#include "base/utf8.h"
#include "proto/json_scan.h"

#define CHARACTER_MAX 4
#define REPLACEMENT 0xfffdU
// Integers of so few digits are exact in a double and in an int64_t.
#define EXACT_DIGITS_MAX 15

// ---- Numbers

// A plain integer, "-"? digits, short enough to be exact.
static bool exact_integer(struct slice text, double *ret_number)
{
    size_t sign = text.at[0] == '-';
    if (text.len - sign > EXACT_DIGITS_MAX) {
        return false;
    }
    int64_t number = 0;
    for (size_t i = sign; i < text.len; i++) {
        if (text.at[i] < '0' || text.at[i] > '9') {
            return false;
        }
        number = number * 10 + (text.at[i] - '0');
    }
    *ret_number = (double)(sign == 1 ? -number : number);
    return true;
}

static double to_double(struct slice text)
{
    double number;
    return exact_integer(text, &number) ? number : strtod(text.at, NULL);
}

bool json_value_is_int(const struct json_value *value, double *ret_number)
{
    if (value->kind != JSON_KIND_NUMBER) {
        return false;
    }
    double number = to_double(value->text);
    if (!isfinite(number) || floor(number) < number) {
        return false;
    }
    *ret_number = number;
    return true;
}

bool json_value_is_number(const struct json_value *value, double n)
{
    if (value->kind != JSON_KIND_NUMBER) {
        return false;
    }
    double number = to_double(value->text);
    return number >= n && number <= n;
}

// ---- Strings

static unsigned hex_digit(char c)
{
    return (unsigned)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
}

// The unit of "\uXXXX" at the front of rest, or 0 when there is something else (U+0000 included:
// it is no half of a pair).
static unsigned escaped_unit(struct slice rest)
{
    if (rest.len < 6 || rest.at[0] != '\\' || rest.at[1] != 'u') {
        return 0;
    }
    unsigned unit = 0;
    for (size_t i = 2; i < 6; i++) {
        unit = unit << 4 | hex_digit(rest.at[i]);
    }
    return unit;
}

static unsigned long take_unicode_escape(struct slice *rest)
{
    unsigned unit = escaped_unit(*rest);
    *rest = slice_skip(*rest, 6);
    if (unit < 0xd800 || unit > 0xdfff) {
        return unit;
    }
    unsigned low = escaped_unit(*rest);
    if (unit > 0xdbff || low < 0xdc00 || low > 0xdfff) {
        return REPLACEMENT;
    }
    *rest = slice_skip(*rest, 6);
    return 0x10000 + ((unit - 0xd800UL) << 10) + (low - 0xdc00UL);
}

static unsigned long take_short_escape(struct slice *rest)
{
    char c = rest->at[1];
    *rest = slice_skip(*rest, 2);
    switch (c) {
    case 'b':
        return '\b';
    case 'f':
        return '\f';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    default:
        return (unsigned char)c;
    }
}

// Takes one character off the front of rest and writes it, unescaped, as UTF-8; returns its
// length. Bytes that are no UTF-8 are passed on one by one.
static size_t take_character(struct slice *rest, char out[CHARACTER_MAX])
{
    if (rest->at[0] == '\\') {
        unsigned long code_point =
            rest->at[1] == 'u' ? take_unicode_escape(rest) : take_short_escape(rest);
        return utf8_encode(code_point, out);
    }
    size_t len = utf8_sequence_len(*rest);
    len = len == 0 ? 1 : len;
    memcpy(out, rest->at, len);
    *rest = slice_skip(*rest, len);
    return len;
}

size_t json_value_unescape(const struct json_value *value, char *out)
{
    size_t len = 0;
    struct slice rest = value->text;
    while (rest.len > 0) {
        const char *escape = memchr(rest.at, '\\', rest.len);
        size_t plain = escape == NULL ? rest.len : (size_t)(escape - rest.at);
        memcpy(out + len, rest.at, plain);
        len += plain;
        rest = slice_skip(rest, plain);
        if (escape != NULL) {
            char character[CHARACTER_MAX];
            size_t taken = take_character(&rest, character);
            memcpy(out + len, character, taken);
            len += taken;
        }
    }
    return len;
}

size_t json_value_utf16_len(const struct json_value *value)
{
    size_t len = 0;
    struct slice rest = value->kind == JSON_KIND_STRING ? value->text : SLICE_EMPTY;
    while (rest.len > 0) {
        char character[CHARACTER_MAX];
        len += take_character(&rest, character) == 4 ? 2 : 1;
    }
    return len;
}

bool json_value_starts_with(const struct json_value *value, struct slice prefix)
{
    if (value->kind != JSON_KIND_STRING) {
        return false;
    }
    if (!value->escaped) {
        return slice_starts_with(value->text, prefix);
    }
    struct slice rest = value->text;
    while (prefix.len > 0 && rest.len > 0) {
        char character[CHARACTER_MAX];
        struct slice taken = slice_of(character, take_character(&rest, character));
        // A prefix may end inside a character.
        taken.len = taken.len < prefix.len ? taken.len : prefix.len;
        if (!slice_starts_with(prefix, taken)) {
            return false;
        }
        prefix = slice_skip(prefix, taken.len);
    }
    return prefix.len == 0;
}

bool json_value_is_text(const struct json_value *value, struct slice text)
{
    if (value->kind != JSON_KIND_STRING) {
        return false;
    }
    if (!value->escaped) {
        return slice_eq(value->text, text);
    }
    struct slice rest = value->text;
    while (rest.len > 0) {
        char character[CHARACTER_MAX];
        struct slice taken = slice_of(character, take_character(&rest, character));
        if (!slice_starts_with(text, taken)) {
            return false;
        }
        text = slice_skip(text, taken.len);
    }
    return text.len == 0;
}

bool json_value_is_string(const struct json_value *value)
{
    return value->kind == JSON_KIND_STRING;
}

// ---- JavaScript's white space (ECMA-262 WhiteSpace and LineTerminator)

// The length of one such character when text starts with it, else 0.
static size_t js_space_len(struct slice text)
{
    static const char *const wide[] = {
        "\xc2\xa0",     // U+00A0
        "\xe1\x9a\x80", // U+1680
        "\xe2\x80\xa8", // U+2028
        "\xe2\x80\xa9", // U+2029
        "\xe2\x80\xaf", // U+202F
        "\xe2\x81\x9f", // U+205F
        "\xe3\x80\x80", // U+3000
        "\xef\xbb\xbf", // U+FEFF
    };
    unsigned char first = text.len == 0 ? 'x' : (unsigned char)text.at[0];
    if (first < 0x80) {
        return first == ' ' || (first >= '\t' && first <= '\r');
    }
    // U+2000 to U+200A
    if (text.len >= 3 && first == 0xe2 && (unsigned char)text.at[1] == 0x80 &&
        (unsigned char)text.at[2] >= 0x80 && (unsigned char)text.at[2] <= 0x8a) {
        return 3;
    }
    for (size_t i = 0; i < sizeof wide / sizeof *wide; i++) {
        if (slice_starts_with(text, slice_str(wide[i]))) {
            return strlen(wide[i]);
        }
    }
    return 0;
}

// The length of one such character when text ends with it, else 0.
static size_t js_space_len_at_end(struct slice text)
{
    for (size_t len = 1; len <= 3 && len <= text.len; len++) {
        if (js_space_len(slice_skip(text, text.len - len)) == len) {
            return len;
        }
    }
    return 0;
}

struct slice json_js_trim(struct slice text)
{
    for (size_t len = js_space_len(text); len > 0; len = js_space_len(text)) {
        text = slice_skip(text, len);
    }
    for (size_t len = js_space_len_at_end(text); len > 0; len = js_space_len_at_end(text)) {
        text.len -= len;
    }
    return text;
}

static bool all_space(struct slice rest)
{
    while (rest.len > 0) {
        char character[CHARACTER_MAX];
        size_t len = take_character(&rest, character);
        if (js_space_len(slice_of(character, len)) == 0) {
            return false;
        }
    }
    return true;
}

bool json_value_is_filled(const struct json_value *value)
{
    if (value->kind != JSON_KIND_STRING || value->text.len == 0) {
        return false;
    }
    unsigned char first = (unsigned char)value->text.at[0];
    if (first > ' ' && first < 0x80 && first != '\\') {
        return true;
    }
    return !all_space(value->text);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

// Behind a string that starts at `at`.
static size_t behind_string(struct slice text, size_t at)
{
    for (at++; at < text.len && text.at[at] != '"'; at++) {
        at += text.at[at] == '\\';
    }
    return at + 1;
}

bool json_array_next(struct slice *rest, struct slice *ret_element)
{
    if (rest->len == 0 || (rest->at[0] != '[' && rest->at[0] != ',')) {
        return false;
    }
    size_t at = 1;
    size_t depth = 0;
    while (at < rest->len && (depth > 0 || (rest->at[at] != ',' && rest->at[at] != ']'))) {
        char c = rest->at[at];
        if (c == '"') {
            at = behind_string(*rest, at);
            continue;
        }
        depth += c == '[' || c == '{';
        depth -= c == ']' || c == '}';
        at++;
    }
    struct slice element = slice_skip(slice_of(rest->at, at), 1);
    while (element.len > 0 && is_blank(element.at[0])) {
        element = slice_skip(element, 1);
    }
    while (element.len > 0 && is_blank(element.at[element.len - 1])) {
        element.len--;
    }
    *rest = slice_skip(*rest, at);
    *ret_element = element;
    return element.len > 0;
}
