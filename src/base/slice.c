// SPDX-License-Identifier: Apache-2.0
#include "base/slice.h"

static char lower(char byte)
{
    return byte >= 'A' && byte <= 'Z' ? (char)(byte | 0x20) : byte;
}

int slice_compare(struct slice a, struct slice b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int order = len == 0 ? 0 : memcmp(a.at, b.at, len);
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

// Not strncasecmp: that one ends at a NUL and asks the locale.
bool slice_eq_nocase(struct slice a, struct slice b)
{
    if (a.len != b.len) {
        return false;
    }
    for (size_t i = 0; i < a.len; i++) {
        if (lower(a.at[i]) != lower(b.at[i])) {
            return false;
        }
    }
    return true;
}

bool slice_starts_with(struct slice text, struct slice prefix)
{
    return text.len >= prefix.len && slice_eq(slice_of(text.at, prefix.len), prefix);
}

bool slice_starts_with_nocase(struct slice text, struct slice prefix)
{
    return text.len >= prefix.len && slice_eq_nocase(slice_of(text.at, prefix.len), prefix);
}

bool slice_ends_with(struct slice text, struct slice suffix)
{
    return text.len >= suffix.len && slice_eq(slice_skip(text, text.len - suffix.len), suffix);
}

bool slice_contains_nocase(struct slice text, struct slice needle)
{
    for (size_t i = 0; i + needle.len <= text.len; i++) {
        if (slice_eq_nocase(slice_of(text.at + i, needle.len), needle)) {
            return true;
        }
    }
    return false;
}

static bool is_blank(char byte)
{
    return byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n';
}

struct slice slice_trim(struct slice text)
{
    while (text.len > 0 && is_blank(text.at[0])) {
        text = slice_skip(text, 1);
    }
    while (text.len > 0 && is_blank(text.at[text.len - 1])) {
        text.len--;
    }
    return text;
}

struct slice slice_skip(struct slice text, size_t count)
{
    if (count > text.len) {
        count = text.len;
    }
    return slice_of(text.at + count, text.len - count);
}

bool slice_split(struct slice *rest, char separator, struct slice *ret_part)
{
    if (rest->at == NULL) {
        return false;
    }
    ptrdiff_t end = slice_find(*rest, separator);
    if (end < 0) {
        *ret_part = *rest;
        *rest = slice_of(NULL, 0);
        return true;
    }
    *ret_part = slice_of(rest->at, (size_t)end);
    *rest = slice_skip(*rest, (size_t)end + 1);
    return true;
}

ptrdiff_t slice_find(struct slice text, char byte)
{
    const char *found = text.len == 0 ? NULL : memchr(text.at, byte, text.len);
    return found == NULL ? -1 : found - text.at;
}

bool slice_eq_secret(struct slice a, struct slice b)
{
    unsigned difference = a.len != b.len;
    for (size_t i = 0; i < a.len; i++) {
        unsigned char other = b.len == 0 ? 0 : (unsigned char)b.at[i % b.len];
        difference |= (unsigned char)a.at[i] ^ other;
    }
    return difference == 0;
}

bool slice_to_text(struct slice from, char *text, size_t size)
{
    if (from.len >= size) {
        text[0] = '\0';
        return false;
    }
    if (from.len > 0) {
        memcpy(text, from.at, from.len);
    }
    text[from.len] = '\0';
    return true;
}
