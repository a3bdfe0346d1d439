// SPDX-License-Identifier: Apache-2.0
// The counter is the one global of base/: a seam for fault injection, compiled out of releases.
#include "base/mem.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#if WEIR_FAULTS
static atomic_ulong fault_count;
static atomic_ulong fault_nth;

static bool fault_now(void)
{
    unsigned long count = atomic_fetch_add_explicit(&fault_count, 1, memory_order_relaxed) + 1;
    return count == atomic_load_explicit(&fault_nth, memory_order_relaxed);
}

void mem_fail_at(unsigned long nth)
{
    atomic_store(&fault_count, 0);
    atomic_store(&fault_nth, nth);
}

unsigned long mem_count(void)
{
    return atomic_load(&fault_count);
}
#else
static inline bool fault_now(void)
{
    return false;
}

void mem_fail_at(unsigned long nth)
{
    (void)nth;
}

unsigned long mem_count(void)
{
    return 0;
}
#endif

void *mem_zalloc(size_t size)
{
    return fault_now() ? NULL : calloc(1, size);
}

void *mem_alloc(size_t size)
{
    return fault_now() ? NULL : malloc(size);
}

void *mem_realloc(void *block, size_t size)
{
    return fault_now() ? NULL : realloc(block, size);
}

char *mem_copy(const char *bytes, size_t len)
{
    char *copy = mem_alloc(len + 1);
    if (copy == NULL) {
        return NULL;
    }
    if (len > 0) {
        memcpy(copy, bytes, len);
    }
    copy[len] = '\0';
    return copy;
}

void mem_free(void *block)
{
    free(block);
}
