// SPDX-License-Identifier: Apache-2.0
// UTF-8 (RFC 3629): no surrogates, no overlong forms, nothing above U+10FFFF.
#ifndef WEIR_BASE_UTF8_H
#define WEIR_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

#include "base/slice.h"

// The whole text is valid UTF-8. Runs of ASCII are checked 64 bytes at a time, or eight.
bool utf8_valid(struct slice text);
// The length of the valid sequence at the front of text, 0 when there is none.
size_t utf8_sequence_len(struct slice text);
// What a lenient decoder skips at the front of an invalid text: the "maximal subpart" that one
// U+FFFD replaces (Unicode 15, section 3.9). At least 1 for a non-empty text.
size_t utf8_broken_len(struct slice text);
// Writes code point (not a surrogate) as 1-4 bytes; returns how many.
size_t utf8_encode(unsigned long code_point, char *bytes);
// Makes bytes of anybody one line that may be shown anywhere: control characters become blanks, and
// what is no UTF-8 becomes question marks. In place; the length stays.
void utf8_make_plain(char *text);

#endif
