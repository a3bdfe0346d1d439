// SPDX-License-Identifier: Apache-2.0
// The list node of a block that is kept lies in the block itself.
#include "engine/edge/blocks.h"

#include "base/mem.h"

void blocks_init(struct blocks *blocks)
{
    list_init(&blocks->kept);
    blocks->kept_count = 0;
}

void blocks_fini(struct blocks *blocks)
{
    struct list *node;
    while ((node = list_pop_front(&blocks->kept)) != NULL) {
        mem_free(node);
    }
    blocks->kept_count = 0;
}

char *blocks_take(struct blocks *blocks)
{
    struct list *node = list_pop_front(&blocks->kept);
    if (node == NULL) {
        return mem_alloc(BLOCK_SIZE);
    }
    blocks->kept_count--;
    return (char *)node;
}

void blocks_give(struct blocks *blocks, char *block)
{
    if (block == NULL) {
        return;
    }
    if (blocks->kept_count == BLOCKS_KEPT_MAX) {
        mem_free(block);
        return;
    }
    struct list *node = (struct list *)(void *)block;
    list_init(node);
    list_push_front(&blocks->kept, node); // the last one used is still in the cache
    blocks->kept_count++;
}
