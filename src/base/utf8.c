// SPDX-License-Identifier: Apache-2.0
#include "base/utf8.h"

#include <stdint.h>
#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

// What the second byte may be, by first byte (RFC 3629 section 4); 0,0 for a byte that starts
// nothing.
static void second_range(unsigned char first, unsigned char *low, unsigned char *high)
{
    *low = 0x80;
    *high = 0xbf;
    switch (first) {
    case 0xe0:
        *low = 0xa0;
        break;
    case 0xed:
        *high = 0x9f;
        break;
    case 0xf0:
        *low = 0x90;
        break;
    case 0xf4:
        *high = 0x8f;
        break;
    default:
        break;
    }
}

static size_t expected_len(unsigned char first)
{
    if (first < 0x80) {
        return 1;
    }
    if (first < 0xc2 || first > 0xf4) {
        return 0;
    }
    return first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

// How many bytes at the front belong to a well-formed sequence, complete or cut short.
static size_t good_prefix(struct slice text, size_t expected)
{
    const unsigned char *at = (const unsigned char *)text.at;
    unsigned char low;
    unsigned char high;
    second_range(at[0], &low, &high);
    size_t len = 1;
    while (len < expected && len < text.len && at[len] >= low && at[len] <= high) {
        low = 0x80;
        high = 0xbf;
        len++;
    }
    return len;
}

size_t utf8_sequence_len(struct slice text)
{
    if (text.len == 0) {
        return 0;
    }
    size_t expected = expected_len((unsigned char)text.at[0]);
    return expected != 0 && good_prefix(text, expected) == expected ? expected : 0;
}

size_t utf8_broken_len(struct slice text)
{
    size_t expected = expected_len((unsigned char)text.at[0]);
    return expected == 0 ? 1 : good_prefix(text, expected);
}

#if defined(__SSE2__)

// The whole blocks of 64 bytes at the front that are ASCII.
static size_t ascii_blocks(struct slice text)
{
    size_t i = 0;
    for (; text.len - i >= 64; i += 64) {
        const __m128i *at = (const __m128i *)(const void *)(text.at + i);
        __m128i low = _mm_or_si128(_mm_loadu_si128(at), _mm_loadu_si128(at + 1));
        __m128i high = _mm_or_si128(_mm_loadu_si128(at + 2), _mm_loadu_si128(at + 3));
        if (_mm_movemask_epi8(_mm_or_si128(low, high)) != 0) {
            break;
        }
    }
    return i;
}

#else

static size_t ascii_blocks(struct slice text)
{
    (void)text;
    return 0;
}

#endif

static size_t ascii_run(struct slice text)
{
    size_t i = ascii_blocks(text);
    for (uint64_t word; i + 8 <= text.len; i += 8) {
        memcpy(&word, text.at + i, 8);
        if ((word & UINT64_C(0x8080808080808080)) != 0) {
            break;
        }
    }
    while (i < text.len && (unsigned char)text.at[i] < 0x80) {
        i++;
    }
    return i;
}

bool utf8_valid(struct slice text)
{
    for (;;) {
        text = slice_skip(text, ascii_run(text));
        if (text.len == 0) {
            return true;
        }
        size_t len = utf8_sequence_len(text);
        if (len == 0) {
            return false;
        }
        text = slice_skip(text, len);
    }
}

size_t utf8_encode(unsigned long code_point, char *bytes)
{
    if (code_point < 0x80) {
        bytes[0] = (char)code_point;
        return 1;
    }
    size_t len = code_point < 0x800 ? 2 : code_point < 0x10000 ? 3 : 4;
    static const unsigned char lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = len - 1; i > 0; i--) {
        bytes[i] = (char)(0x80 | (code_point & 0x3f));
        code_point >>= 6;
    }
    bytes[0] = (char)(lead[len] | code_point);
    return len;
}

void utf8_make_plain(char *text)
{
    struct slice rest = slice_str(text);
    while (rest.len > 0) {
        size_t len = utf8_sequence_len(rest);
        char *at = text + (rest.at - text);
        bool c1_control = len == 2 && (unsigned char)at[0] == 0xc2 && (unsigned char)at[1] < 0xa0;
        bool control = len == 1 && ((unsigned char)at[0] < 0x20 || at[0] == 0x7f);
        if (c1_control || control) {
            memset(at, ' ', len);
        } else if (len == 0) {
            at[0] = '?'; // cut inside a character, or no UTF-8 at all
            len = 1;
        }
        rest = slice_skip(rest, len);
    }
}
