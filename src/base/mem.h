// SPDX-License-Identifier: Apache-2.0
// The one door to the heap. Every allocation of weir's own passes here, so that a test can let the
// Nth one fail (builds with WEIR_FAULTS) and watch what happens.
#ifndef WEIR_BASE_MEM_H
#define WEIR_BASE_MEM_H

#include <stddef.h>

#include "base/result.h"

// Zeroed memory, or NULL. The caller owns it and gives it back with mem_free.
void *mem_zalloc(size_t size) WEIR_MUST_CHECK;
// Memory with undefined content, or NULL.
void *mem_alloc(size_t size) WEIR_MUST_CHECK;
// Grows or shrinks; on NULL the old block is untouched and still owned by the caller.
void *mem_realloc(void *block, size_t size) WEIR_MUST_CHECK;
// A NUL-terminated copy of len bytes, or NULL.
char *mem_copy(const char *bytes, size_t len) WEIR_MUST_CHECK;
// NULL is fine.
void mem_free(void *block);

// Lets the nth allocation from now fail, once; 0 turns it off. Does nothing in a release build.
// Called before threads exist, or from a single-threaded test.
void mem_fail_at(unsigned long nth);
// Allocations since the last mem_fail_at; 0 in a release build.
unsigned long mem_count(void);

#endif
