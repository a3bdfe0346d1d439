// SPDX-License-Identifier: Apache-2.0
// Input: one byte that says how far the payload moves, four of a mask, then the payload. What must
// hold: every way that runs here does what one byte at a time would do.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/result.h"
#include "base/slice.h"
#include "proto/wide.h"

#define BLOCK_MAX 128

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_unmask(
    const struct wide_way *way, struct slice payload, size_t distance, const uint8_t mask[8])
{
    uint64_t pattern;
    memcpy(&pattern, mask, sizeof pattern);
    char *block = malloc(distance + payload.len + 1);
    weir_assert(block != NULL);
    memcpy(block + distance, payload.at, payload.len);
    bool all_ascii;
    size_t done = way->unmask(block, block + distance, payload.len, pattern, &all_ascii);
    weir_assert(done == payload.len / 8 * 8);
    bool ascii = true;
    for (size_t i = 0; i < done; i++) {
        uint8_t expected = (uint8_t)payload.at[i] ^ mask[i % 8];
        weir_assert((uint8_t)block[i] == expected);
        ascii = ascii && expected < 0x80;
    }
    weir_assert(all_ascii == ascii);
    free(block);
}

static void check_skip(const struct wide_way *way, struct slice payload)
{
    size_t stop = 0;
    while (stop < payload.len && (uint8_t)payload.at[stop] >= 0x20 && payload.at[stop] != '"' &&
           payload.at[stop] != '\\') {
        stop++;
    }
    size_t reached = (size_t)(way->skip_plain(payload.at, payload.at + payload.len) - payload.at);
    weir_assert(reached <= stop && stop - reached < BLOCK_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 5) {
        return 0;
    }
    uint8_t mask[8];
    memcpy(mask, data + 1, 4);
    memcpy(mask + 4, data + 1, 4);
    struct slice payload = slice_of((const char *)data + 5, size - 5);
    for (size_t i = 0; i < WIDE_WAYS_MAX; i++) {
        const struct wide_way *way = &wide_ways[i];
        if (way->name != NULL && way->runs_here()) {
            check_unmask(way, payload, data[0] % 16, mask);
            check_skip(way, payload);
        }
    }
    return 0;
}
