// SPDX-License-Identifier: Apache-2.0
// What stands in a tree: lookups, the meaning of scalars, and lines about both.
#include <ctype.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/time.h"
#include "conf/yaml.h"

#define NUMBER_LEN_MAX 63
#define LINE_SIZE 2048
#define DURATION_S_MAX 3153600000.0 // 100 years

// ---- Looking

const struct yml_node *yml_get(const struct yml_node *node, struct slice key)
{
    size_t low = 0;
    size_t high = yml_is(node, YML_MAPPING) && node->index != NULL ? node->count : 0;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = slice_compare(key, node->index[middle]->key);
        if (order == 0) {
            return node->index[middle];
        }
        low = order > 0 ? middle + 1 : low;
        high = order > 0 ? high : middle;
    }
    return NULL;
}

const struct yml_node *yml_find(const struct yml_node *node, struct slice path)
{
    struct slice key;
    while (slice_split(&path, '.', &key)) {
        node = yml_get(node, key);
    }
    return node;
}

// ---- Meaning

static bool is_plain(const struct yml_node *node)
{
    return yml_is(node, YML_SCALAR) && node->plain;
}

static bool is_one_of(struct slice text, const char *const *words, size_t count, size_t *ret_index)
{
    for (size_t i = 0; i < count; i++) {
        if (slice_eq_nocase(text, slice_str(words[i]))) {
            *ret_index = i;
            return true;
        }
    }
    return false;
}

bool yml_is_null(const struct yml_node *node)
{
    return node == NULL ||
           (is_plain(node) && (node->text.len == 0 || slice_eq(node->text, SLICE("~")) ||
                                  slice_eq_nocase(node->text, SLICE("null"))));
}

enum weir_result yml_text(const struct yml_node *node, struct slice *ret_text)
{
    if (!yml_is(node, YML_SCALAR) || yml_is_null(node)) {
        return WEIR_MALFORMED;
    }
    *ret_text = node->text;
    return WEIR_OK;
}

enum weir_result yml_bool(const struct yml_node *node, bool *ret_value)
{
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on"};
    size_t index;
    if (!is_plain(node) || !is_one_of(node->text, words, sizeof words / sizeof words[0], &index)) {
        return WEIR_MALFORMED;
    }
    *ret_value = index % 2 == 1;
    return WEIR_OK;
}

static unsigned digit_of(char letter)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = memchr(digits, tolower((unsigned char)letter), sizeof digits - 1);
    return at == NULL ? sizeof digits : (unsigned)(at - digits);
}

// Digits of the base only. What is too large stays at UINT64_MAX.
static bool parse_digits(struct slice text, unsigned base, uint64_t *ret_value)
{
    uint64_t value = 0;
    for (size_t i = 0; i < text.len; i++) {
        unsigned digit = digit_of(text.at[i]);
        if (digit >= base) {
            return false;
        }
        value = value > (UINT64_MAX - digit) / base ? UINT64_MAX : value * base + digit;
    }
    *ret_value = value;
    return text.len > 0;
}

enum weir_result yml_int(const struct yml_node *node, int64_t *ret_value)
{
    if (!is_plain(node)) {
        return WEIR_MALFORMED;
    }
    struct slice text = node->text;
    bool negative = slice_starts_with(text, SLICE("-"));
    bool has_sign = negative || slice_starts_with(text, SLICE("+"));
    unsigned base = slice_starts_with(text, SLICE("0x"))   ? 16
                    : slice_starts_with(text, SLICE("0o")) ? 8
                                                           : 10;
    uint64_t value;
    if (!parse_digits(slice_skip(text, has_sign ? 1 : base == 10 ? 0 : 2), base, &value)) {
        return WEIR_MALFORMED;
    }
    if (value > (uint64_t)INT64_MAX + (negative ? 1 : 0)) {
        return WEIR_TOO_LARGE;
    }
    *ret_value = negative ? (int64_t)(0 - value) : (int64_t)value;
    return WEIR_OK;
}

// A decimal number at the front of *rest; no sign, no "inf", no hexadecimal.
static bool take_number(struct slice *rest, bool with_exponent, double *ret_value)
{
    char text[NUMBER_LEN_MAX + 1];
    const char *letters = with_exponent ? "0123456789.eE+-" : "0123456789.";
    size_t len = 0;
    while (len < rest->len && rest->at[len] != '\0' && strchr(letters, rest->at[len]) != NULL) {
        len++;
    }
    char *end;
    if (len == 0 || (!isdigit((unsigned char)rest->at[0]) && rest->at[0] != '.') ||
        !slice_to_text(slice_of(rest->at, len), text, sizeof text)) {
        return false;
    }
    *ret_value = strtod(text, &end);
    *rest = slice_skip(*rest, len);
    return end == text + len && isfinite(*ret_value);
}

enum weir_result yml_float(const struct yml_node *node, double *ret_value)
{
    double value;
    if (!is_plain(node)) {
        return WEIR_MALFORMED;
    }
    struct slice rest = node->text;
    bool negative = slice_starts_with(rest, SLICE("-"));
    rest = slice_skip(rest, negative || slice_starts_with(rest, SLICE("+")) ? 1 : 0);
    if (!take_number(&rest, true, &value) || rest.len > 0) {
        return WEIR_MALFORMED;
    }
    *ret_value = negative ? -value : value;
    return WEIR_OK;
}

static double take_unit(struct slice *rest)
{
    static const struct {
        const char *name;
        double seconds;
    } units[] = {{"ms", 1e-3}, {"us", 1e-6}, {"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}};
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        struct slice name = slice_str(units[i].name);
        if (slice_starts_with(*rest, name)) {
            *rest = slice_skip(*rest, name.len);
            return units[i].seconds;
        }
    }
    return 0;
}

static bool sum_units(struct slice rest, double *ret_seconds)
{
    double sum = 0;
    double number;
    while (rest.len > 0) {
        if (!take_number(&rest, false, &number)) {
            return false;
        }
        double unit = take_unit(&rest);
        if (unit == 0) {
            return false;
        }
        sum += number * unit;
    }
    *ret_seconds = sum;
    return true;
}

enum weir_result yml_duration_text(struct slice text, uint64_t *ret_ns)
{
    struct slice rest = text;
    double seconds;
    if (text.len == 0) {
        return WEIR_MALFORMED;
    }
    if ((!take_number(&rest, true, &seconds) || rest.len > 0) && !sum_units(text, &seconds)) {
        return WEIR_MALFORMED;
    }
    if (seconds > DURATION_S_MAX) {
        return WEIR_TOO_LARGE;
    }
    *ret_ns = (uint64_t)llround(seconds * (double)NS_PER_S);
    return WEIR_OK;
}

enum weir_result yml_duration(const struct yml_node *node, uint64_t *ret_ns)
{
    return yml_is(node, YML_SCALAR) ? yml_duration_text(node->text, ret_ns) : WEIR_MALFORMED;
}

// ---- Messages

const char *yml_kind_text(const struct yml_node *node)
{
    bool flag;
    double number;
    if (yml_is_null(node)) {
        return "null";
    }
    if (node->kind != YML_SCALAR) {
        return node->kind == YML_MAPPING ? "a map" : "a list";
    }
    if (yml_bool(node, &flag) == WEIR_OK) {
        return "true or false";
    }
    return yml_float(node, &number) == WEIR_OK ? "a number" : "text";
}

static bool needs_quotes(struct slice key)
{
    for (size_t i = 0; i < key.len; i++) {
        unsigned char byte = (unsigned char)key.at[i];
        if (!isalnum(byte) && byte != '_' && byte != '-') {
            return true;
        }
    }
    return key.len == 0;
}

// Puts text in front of what stands in path from *start on.
static void put_front(char path[YML_PATH_SIZE], size_t *start, struct slice text)
{
    size_t len = text.len < *start ? text.len : *start;
    *start -= len;
    memcpy(path + *start, text.at + text.len - len, len);
}

static void put_step(char path[YML_PATH_SIZE], size_t *start, const struct yml_node *node)
{
    char step[32];
    if (node->parent->kind == YML_SEQUENCE) {
        snprintf(step, sizeof step, "[%zu]", node->position);
        put_front(path, start, slice_str(step));
        return;
    }
    struct slice quote = needs_quotes(node->key) ? SLICE("\"") : SLICE_EMPTY;
    put_front(path, start, quote);
    put_front(path, start, node->key);
    put_front(path, start, quote);
    if (node->parent->parent != NULL) {
        put_front(path, start, SLICE("."));
    }
}

void yml_path(const struct yml_node *node, char text[YML_PATH_SIZE])
{
    char path[YML_PATH_SIZE];
    size_t start = sizeof path - 1;
    path[start] = '\0';
    for (; node != NULL && node->parent != NULL && start > 0; node = node->parent) {
        put_step(path, &start, node);
    }
    if (start == 0) {
        memcpy(path, "...", 3);
    }
    memcpy(text, path + start, sizeof path - start);
}

static void write_line(char *line, size_t size, const struct yml_document *document,
    const struct yml_node *node, struct yml_place at, const char *format, va_list args)
    WEIR_PRINTF(6, 0);

// "file:line:column: path: message"; without a node "file: message".
static void write_line(char *line, size_t size, const struct yml_document *document,
    const struct yml_node *node, struct yml_place at, const char *format, va_list args)
{
    char path[YML_PATH_SIZE];
    char place[32] = "";
    yml_path(node, path);
    if (at.line > 0) {
        snprintf(place, sizeof place, ":%u:%u", at.line, at.column);
    }
    int len = snprintf(
        line, size, "%s%s: %s%s", document->file, place, path, path[0] == '\0' ? "" : ": ");
    if (len > 0 && (size_t)len < size) {
        vsnprintf(line + len, size - (size_t)len, format, args);
    }
}

static struct yml_place place_of(const struct yml_node *node, bool of_key)
{
    if (node == NULL) {
        return (struct yml_place){0, 0};
    }
    return of_key && node->key_at.line > 0 ? node->key_at : node->at;
}

void yml_error(const struct yml_document *document, const struct yml_node *node,
    struct conf_problems *problems, const char *format, ...)
{
    char line[LINE_SIZE];
    va_list args;
    va_start(args, format);
    write_line(line, sizeof line, document, node, place_of(node, false), format, args);
    va_end(args);
    conf_error(problems, "%s", line);
}

void yml_key_error(const struct yml_document *document, const struct yml_node *node,
    struct conf_problems *problems, const char *format, ...)
{
    char line[LINE_SIZE];
    va_list args;
    va_start(args, format);
    write_line(line, sizeof line, document, node, place_of(node, true), format, args);
    va_end(args);
    conf_error(problems, "%s", line);
}

void yml_warning(const struct yml_document *document, const struct yml_node *node,
    struct conf_problems *problems, const char *format, ...)
{
    char line[LINE_SIZE];
    va_list args;
    va_start(args, format);
    write_line(line, sizeof line, document, node, place_of(node, false), format, args);
    va_end(args);
    conf_warning(problems, "%s", line);
}
