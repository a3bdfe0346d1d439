// SPDX-License-Identifier: Apache-2.0
#include "base/arena.h"

#include <stdalign.h>

#include "base/mem.h"

#define CHUNK_SIZE 4096 // what one page holds; larger objects get a chunk of their own size

struct arena_chunk {
    struct arena_chunk *next;
    size_t size;
    alignas(max_align_t) char bytes[];
};

void arena_init(struct arena *arena, size_t bytes_max)
{
    *arena = (struct arena){.bytes_max = bytes_max};
}

void arena_reset(struct arena *arena)
{
    while (arena->chunks != NULL) {
        struct arena_chunk *chunk = arena->chunks;
        arena->chunks = chunk->next;
        mem_free(chunk);
    }
    arena_init(arena, arena->bytes_max);
}

static bool add_chunk(struct arena *arena, size_t size)
{
    size = size < CHUNK_SIZE ? CHUNK_SIZE : size;
    if (size > arena->bytes_max - arena->bytes) {
        arena->full = true;
        return false;
    }
    struct arena_chunk *chunk = mem_zalloc(sizeof *chunk + size);
    if (chunk == NULL) {
        return false;
    }
    chunk->size = size;
    chunk->next = arena->chunks;
    arena->chunks = chunk;
    arena->bytes += size;
    arena->used = 0;
    return true;
}

void *arena_alloc(struct arena *arena, size_t size)
{
    const size_t align = alignof(max_align_t);
    if (size > arena->bytes_max) {
        arena->full = true;
        return NULL;
    }
    size = (size + align - 1) / align * align;
    if ((arena->chunks == NULL || size > arena->chunks->size - arena->used) &&
        !add_chunk(arena, size)) {
        return NULL;
    }
    void *object = arena->chunks->bytes + arena->used;
    arena->used += size;
    return object;
}

char *arena_copy(struct arena *arena, struct slice text)
{
    char *copy = arena_alloc(arena, text.len + 1);
    if (copy != NULL && text.len > 0) {
        memcpy(copy, text.at, text.len);
    }
    return copy;
}
