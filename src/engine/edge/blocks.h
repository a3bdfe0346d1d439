// SPDX-License-Identifier: Apache-2.0
// Storage that lives for a turn or two: heads under construction, small answers on their way into
// one TLS record. A worker keeps a few blocks, so that a connection at rest owns none and a request
// on the warm path allocates nothing.
#ifndef WEIR_ENGINE_BLOCKS_H
#define WEIR_ENGINE_BLOCKS_H

#include "base/list.h"
#include "base/result.h"

// A head of 32 KiB with its table of fields, or two TLS records.
#define BLOCK_SIZE (40u * 1024)
#define BLOCKS_KEPT_MAX 32u

struct blocks {
    struct list kept;
    unsigned kept_count;
};

void blocks_init(struct blocks *blocks);
void blocks_fini(struct blocks *blocks);
// BLOCK_SIZE bytes with undefined content, or NULL without memory.
char *blocks_take(struct blocks *blocks) WEIR_MUST_CHECK;
// NULL is fine.
void blocks_give(struct blocks *blocks, char *block);

#endif
