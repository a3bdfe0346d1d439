// SPDX-License-Identifier: Apache-2.0
// A borrowed run of bytes: not NUL-terminated, valid as long as its owner says.
#ifndef WEIR_BASE_SLICE_H
#define WEIR_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct slice {
    const char *at;
    size_t len;
};

#define SLICE(literal) ((struct slice){(literal), sizeof(literal) - 1})
#define SLICE_EMPTY ((struct slice){"", 0})
// For printf("%.*s").
#define SLICE_ARG(slice) (int)(slice).len, (slice).at

static inline struct slice slice_of(const char *at, size_t len)
{
    return (struct slice){at, len};
}

// The slice of a NUL-terminated string; NULL gives the empty slice.
static inline struct slice slice_str(const char *text)
{
    return text == NULL ? SLICE_EMPTY : slice_of(text, strlen(text));
}

static inline bool slice_eq(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

// The order of the bytes, as memcmp; a slice stands before what it is the start of.
int slice_compare(struct slice a, struct slice b);
// ASCII case-insensitive.
bool slice_eq_nocase(struct slice a, struct slice b);
bool slice_starts_with(struct slice text, struct slice prefix);
bool slice_starts_with_nocase(struct slice text, struct slice prefix);
bool slice_ends_with(struct slice text, struct slice suffix);
bool slice_contains_nocase(struct slice text, struct slice needle);
// Without leading and trailing space, tab, CR and LF.
struct slice slice_trim(struct slice text);
// From byte count on; count beyond the end gives an empty slice.
struct slice slice_skip(struct slice text, size_t count);
// Takes what stands before the first separator off the front of *rest (all of it when there is
// none) and returns it. False when *rest was used up: rest->at is NULL then.
bool slice_split(struct slice *rest, char separator, struct slice *ret_part);
// The offset of a byte, or -1.
ptrdiff_t slice_find(struct slice text, char byte);
// Equality in time that depends on the lengths only; for secrets.
bool slice_eq_secret(struct slice a, struct slice b);
// Copies into text (size bytes, NUL-terminated). False when it does not fit: text is "" then.
bool slice_to_text(struct slice from, char *text, size_t size);

#endif
