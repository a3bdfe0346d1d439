// SPDX-License-Identifier: Apache-2.0
// An intrusive doubly-linked ring. A node that is in no list points to itself, so removal is safe
// to repeat and "is it linked" is a question a node can answer.
#ifndef WEIR_BASE_LIST_H
#define WEIR_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *next;
    struct list *prev;
};

#define container_of(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))

static inline void list_init(struct list *list)
{
    list->next = list->prev = list;
}

static inline bool list_empty(const struct list *list)
{
    return list->next == list;
}

static inline bool list_linked(const struct list *node)
{
    return node->next != node;
}

static inline void list_insert_before(struct list *at, struct list *node)
{
    node->prev = at->prev;
    node->next = at;
    at->prev->next = node;
    at->prev = node;
}

static inline void list_push_back(struct list *list, struct list *node)
{
    list_insert_before(list, node);
}

static inline void list_push_front(struct list *list, struct list *node)
{
    list_insert_before(list->next, node);
}

static inline void list_remove(struct list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

// The first node taken off, or NULL.
static inline struct list *list_pop_front(struct list *list)
{
    struct list *node = list->next;
    if (node == list) {
        return NULL;
    }
    list_remove(node);
    return node;
}

// Moves all nodes to ret_list, which is made new.
static inline void list_take_all(struct list *from, struct list *ret_list)
{
    if (list_empty(from)) {
        list_init(ret_list);
        return;
    }
    *ret_list = *from;
    ret_list->next->prev = ret_list->prev->next = ret_list;
    list_init(from);
}

#define list_for_each(node, head)                                                                  \
    for (struct list *node = (head)->next; node != (head); node = node->next)
// The body may remove node.
#define list_for_each_safe(node, head)                                                             \
    for (struct list *node = (head)->next, *node##_next = node->next; node != (head);              \
         node = node##_next, node##_next = node->next)

#endif
