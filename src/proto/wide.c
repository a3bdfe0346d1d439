// SPDX-License-Identifier: Apache-2.0
// One way for each width: vectors of 32 bytes (AVX2), of 16 (SSE2, which every x86-64 has), and
// words of 8, which work everywhere. Programs are built for the oldest x86-64, so the wider one is
// compiled for itself and taken where the processor has it.
//
// A payload may move towards lower addresses while it is unmasked (the place of its header is free
// by then), so:
//  1. every block is loaded whole before any of it is stored, and blocks go upwards: a store never
//     reaches bytes that are still to be loaded;
//  2. block sizes are multiples of the mask's four bytes, so one pattern, turned to the phase of
//     the first byte, serves every block.
//
// Rejected: vectors of 64 bytes (AVX-512), which gain another sixth where a frame comes from and
// goes to a socket anyway; and one pass for both, whose note of where the plain blocks are would
// have to go through everything between a read and the scanner for a tenth of what the read costs.
#include "proto/wide.h"

#include <string.h>
#if defined(__SSE2__)
#include <immintrin.h>
#endif

// ---- Words

#define EVERY_BYTE(byte) (UINT64_C(0x0101010101010101) * (byte))

static bool runs_always(void)
{
    return true;
}

static size_t unmask_words(
    char *to, const char *from, size_t len, uint64_t pattern, bool *ret_all_ascii)
{
    uint64_t seen = 0; // all results, one over the other
    size_t i = 0;
    for (uint64_t word; len - i >= sizeof word; i += sizeof word) {
        memcpy(&word, from + i, sizeof word);
        word ^= pattern;
        seen |= word;
        memcpy(to + i, &word, sizeof word);
    }
    *ret_all_ascii = (seen & EVERY_BYTE(0x80)) == 0;
    return i;
}

// Whether any of eight bytes is special. Subtracting borrows into the top bit of the lowest byte
// that was too small; that one is exact, and more is not asked.
static inline bool any_special(uint64_t word)
{
    uint64_t quote = word ^ EVERY_BYTE('"');
    uint64_t backslash = word ^ EVERY_BYTE('\\');
    uint64_t found = (word - EVERY_BYTE(0x20)) & ~word;
    found |= (quote - EVERY_BYTE(1)) & ~quote;
    found |= (backslash - EVERY_BYTE(1)) & ~backslash;
    return (found & EVERY_BYTE(0x80)) != 0;
}

static const char *skip_plain_words(const char *at, const char *end)
{
    for (uint64_t word; end - at >= (ptrdiff_t)sizeof word; at += sizeof word) {
        memcpy(&word, at, sizeof word);
        if (any_special(word)) {
            break;
        }
    }
    return at;
}

#if defined(__SSE2__)

// The words behind the blocks of a wider way.
static size_t unmask_rest(
    char *to, const char *from, size_t len, size_t i, uint64_t pattern, bool *all_ascii)
{
    bool rest_ascii;
    i += unmask_words(to + i, from + i, len - i, pattern, &rest_ascii);
    *all_ascii = *all_ascii && rest_ascii;
    return i;
}

// Both searches keep only the least of each byte place of a block. Flipping bit 1 sends the quote
// (0x22) to 0x20, right above the control characters; a backslash is 0 after a flip of its own.

// ---- 16 bytes

static size_t unmask_16(
    char *to, const char *from, size_t len, uint64_t pattern, bool *ret_all_ascii)
{
    const __m128i wide = _mm_set1_epi64x((long long)pattern);
    __m128i all = _mm_setzero_si128();
    size_t i = 0;
    for (; len - i >= 64; i += 64) {
        const __m128i *at = (const __m128i *)(const void *)(from + i);
        __m128i a = _mm_xor_si128(_mm_loadu_si128(at), wide);
        __m128i b = _mm_xor_si128(_mm_loadu_si128(at + 1), wide);
        __m128i c = _mm_xor_si128(_mm_loadu_si128(at + 2), wide);
        __m128i d = _mm_xor_si128(_mm_loadu_si128(at + 3), wide);
        all = _mm_or_si128(all, _mm_or_si128(_mm_or_si128(a, b), _mm_or_si128(c, d)));
        __m128i *out = (__m128i *)(void *)(to + i);
        _mm_storeu_si128(out, a);
        _mm_storeu_si128(out + 1, b);
        _mm_storeu_si128(out + 2, c);
        _mm_storeu_si128(out + 3, d);
    }
    *ret_all_ascii = _mm_movemask_epi8(all) == 0;
    return unmask_rest(to, from, len, i, pattern, ret_all_ascii);
}

static inline __m128i least_of_16(__m128i a, __m128i b, __m128i c, __m128i d, __m128i flip)
{
    return _mm_min_epu8(_mm_min_epu8(_mm_xor_si128(a, flip), _mm_xor_si128(b, flip)),
        _mm_min_epu8(_mm_xor_si128(c, flip), _mm_xor_si128(d, flip)));
}

static const char *skip_plain_16(const char *at, const char *end)
{
    const __m128i quote_flip = _mm_set1_epi8(0x02);
    const __m128i backslash = _mm_set1_epi8('\\');
    const __m128i limit = _mm_set1_epi8(0x20);
    for (; end - at >= 64; at += 64) {
        const __m128i *block = (const __m128i *)(const void *)at;
        __m128i a = _mm_loadu_si128(block);
        __m128i b = _mm_loadu_si128(block + 1);
        __m128i c = _mm_loadu_si128(block + 2);
        __m128i d = _mm_loadu_si128(block + 3);
        __m128i least = least_of_16(a, b, c, d, quote_flip);
        __m128i least_backslash = least_of_16(a, b, c, d, backslash);
        __m128i low = _mm_cmpeq_epi8(_mm_max_epu8(least, limit), limit);
        __m128i found = _mm_cmpeq_epi8(least_backslash, _mm_setzero_si128());
        if (_mm_movemask_epi8(_mm_or_si128(low, found)) != 0) {
            break;
        }
    }
    return at;
}

// ---- 32 bytes

#define WITH_AVX2 __attribute__((target("avx2")))

static bool runs_with_avx2(void)
{
    return __builtin_cpu_supports("avx2") != 0;
}

static WITH_AVX2 size_t unmask_32(
    char *to, const char *from, size_t len, uint64_t pattern, bool *ret_all_ascii)
{
    const __m256i wide = _mm256_set1_epi64x((long long)pattern);
    __m256i all = _mm256_setzero_si256();
    size_t i = 0;
    for (; len - i >= 128; i += 128) {
        const __m256i *at = (const __m256i *)(const void *)(from + i);
        __m256i a = _mm256_xor_si256(_mm256_loadu_si256(at), wide);
        __m256i b = _mm256_xor_si256(_mm256_loadu_si256(at + 1), wide);
        __m256i c = _mm256_xor_si256(_mm256_loadu_si256(at + 2), wide);
        __m256i d = _mm256_xor_si256(_mm256_loadu_si256(at + 3), wide);
        all = _mm256_or_si256(all, _mm256_or_si256(_mm256_or_si256(a, b), _mm256_or_si256(c, d)));
        __m256i *out = (__m256i *)(void *)(to + i);
        _mm256_storeu_si256(out, a);
        _mm256_storeu_si256(out + 1, b);
        _mm256_storeu_si256(out + 2, c);
        _mm256_storeu_si256(out + 3, d);
    }
    *ret_all_ascii = _mm256_movemask_epi8(all) == 0;
    return unmask_rest(to, from, len, i, pattern, ret_all_ascii);
}

static inline WITH_AVX2 __m256i least_of_32(
    __m256i a, __m256i b, __m256i c, __m256i d, __m256i flip)
{
    return _mm256_min_epu8(_mm256_min_epu8(_mm256_xor_si256(a, flip), _mm256_xor_si256(b, flip)),
        _mm256_min_epu8(_mm256_xor_si256(c, flip), _mm256_xor_si256(d, flip)));
}

static WITH_AVX2 const char *skip_plain_32(const char *at, const char *end)
{
    const __m256i quote_flip = _mm256_set1_epi8(0x02);
    const __m256i backslash = _mm256_set1_epi8('\\');
    const __m256i limit = _mm256_set1_epi8(0x20);
    for (; end - at >= 128; at += 128) {
        const __m256i *block = (const __m256i *)(const void *)at;
        __m256i a = _mm256_loadu_si256(block);
        __m256i b = _mm256_loadu_si256(block + 1);
        __m256i c = _mm256_loadu_si256(block + 2);
        __m256i d = _mm256_loadu_si256(block + 3);
        __m256i least = least_of_32(a, b, c, d, quote_flip);
        __m256i least_backslash = least_of_32(a, b, c, d, backslash);
        __m256i low = _mm256_cmpeq_epi8(_mm256_max_epu8(least, limit), limit);
        __m256i found = _mm256_cmpeq_epi8(least_backslash, _mm256_setzero_si256());
        if (_mm256_movemask_epi8(_mm256_or_si256(low, found)) != 0) {
            break;
        }
    }
    return at;
}

#endif

// ---- The choice

const struct wide_way wide_ways[WIDE_WAYS_MAX] = {
#if defined(__SSE2__)
    {"32 bytes", runs_with_avx2, unmask_32, skip_plain_32},
    {"16 bytes", runs_always, unmask_16, skip_plain_16},
#endif
    {"8 bytes", runs_always, unmask_words, skip_plain_words},
};

static const struct wide_way *best = wide_ways;

static __attribute__((constructor)) void choose(void)
{
#if defined(__SSE2__)
    __builtin_cpu_init();
#endif
    while (!best->runs_here()) {
        best++;
    }
}

const struct wide_way *wide_best(void)
{
    return best;
}
