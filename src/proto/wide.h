// SPDX-License-Identifier: Apache-2.0
// What is done to every byte of a payload, in the widest vectors that the processor at hand has.
// Each way stops where a whole block of its own size ends; the few bytes behind are the caller's.
#ifndef WEIR_PROTO_WIDE_H
#define WEIR_PROTO_WIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wide_way {
    const char *name;
    bool (*runs_here)(void);
    // XORs the front of `from` with pattern, which repeats every 8 bytes, into `to`: the same
    // place, another one, or any place before `from`, overlapping. Returns how many bytes, a
    // multiple of 8 and at most 7 less than len, and whether all results are ASCII.
    size_t (*unmask)(char *to, const char *from, size_t len, uint64_t pattern, bool *ret_all_ascii);
    // Goes over blocks in which a JSON string could go on as it is (no quote, backslash or control
    // character); returns the front of the first block that is not one, or is not whole.
    const char *(*skip_plain)(const char *at, const char *end);
};

#define WIDE_WAYS_MAX 3
// The widest first; those behind the last one have no name. They differ in nothing but their speed
// and the size of a block in skip_plain.
extern const struct wide_way wide_ways[WIDE_WAYS_MAX];

// The first of them that runs here, chosen before main.
const struct wide_way *wide_best(void);

#endif
