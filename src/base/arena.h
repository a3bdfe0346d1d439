// SPDX-License-Identifier: Apache-2.0
// Memory that is given back as a whole: many small objects that live and die together, such as the
// nodes of a document. Bounded like every other store.
#ifndef WEIR_BASE_ARENA_H
#define WEIR_BASE_ARENA_H

#include <stddef.h>

#include "base/result.h"
#include "base/slice.h"

struct arena_chunk;

struct arena {
    struct arena_chunk *chunks; // owned; the newest first
    size_t used;                // bytes handed out of the newest
    size_t bytes;               // of all chunks
    size_t bytes_max;           // the bound
    bool full;                  // an allocation was refused because of the bound, since the reset
};

void arena_init(struct arena *arena, size_t bytes_max);
// Frees everything that was handed out; the arena is empty then, and may be used again.
void arena_reset(struct arena *arena);
// Zeroed memory, aligned for any type; NULL past the bound or without memory.
void *arena_alloc(struct arena *arena, size_t size) WEIR_MUST_CHECK;
// A NUL-terminated copy of the bytes, or NULL.
char *arena_copy(struct arena *arena, struct slice text) WEIR_MUST_CHECK;

#endif
