// SPDX-License-Identifier: Apache-2.0
// Two readings of one table: what differs, and what stays as it was.
#include "base/mem.h"
#include "conf/conf.h"

static bool same_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool same_networks(const struct conf_networks *a, const struct conf_networks *b)
{
    bool same = a->count == b->count;
    for (size_t i = 0; same && i < a->count; i++) {
        same = a->items[i].prefix_len == b->items[i].prefix_len &&
               ip_eq(&a->items[i].base, &b->items[i].base);
    }
    return same;
}

static bool same_words(const struct conf_words *a, const struct conf_words *b)
{
    bool same = a->count == b->count;
    for (size_t i = 0; same && i < a->count; i++) {
        same = same_text(a->items[i], b->items[i]);
    }
    return same;
}

void conf_each_path(const struct conf_row *rows, size_t count, const void *target,
    void (*found)(void *arg, const char *path), void *arg)
{
    for (size_t i = 0; i < count; i++) {
        const void *field = (const char *)target + rows[i].offset;
        if (rows[i].type == CONF_PATH && *(char *const *)field != NULL) {
            found(arg, *(char *const *)field);
        }
    }
}

bool conf_same(const struct conf_row *row, const void *a, const void *b)
{
    const void *left = (const char *)a + row->offset;
    const void *right = (const char *)b + row->offset;
    switch (row->type) {
    case CONF_TEXT:
    case CONF_URL:
    case CONF_SECRET_URL:
    case CONF_PATH:
    case CONF_SECRET:
        return same_text(*(char *const *)left, *(char *const *)right);
    case CONF_INT:
        return *(const uint64_t *)left == *(const uint64_t *)right;
    case CONF_BOOL:
        return *(const bool *)left == *(const bool *)right;
    case CONF_CHOICE:
        return *(const unsigned *)left == *(const unsigned *)right;
    case CONF_NETWORKS:
        return same_networks(left, right);
    case CONF_WORDS:
        return same_words(left, right);
    case CONF_LISTEN:
        return ((const struct conf_listen *)left)->port ==
                   ((const struct conf_listen *)right)->port &&
               same_text(((const struct conf_listen *)left)->host,
                   ((const struct conf_listen *)right)->host);
    case CONF_PORTS:
        return ((const struct conf_ports *)left)->first ==
                   ((const struct conf_ports *)right)->first &&
               ((const struct conf_ports *)left)->last == ((const struct conf_ports *)right)->last;
    }
    return false;
}

static bool copy_text(char *const *from, char **to)
{
    *to = *from == NULL ? NULL : mem_copy(*from, strlen(*from));
    return *from == NULL || *to != NULL;
}

static bool copy_networks(const struct conf_networks *from, struct conf_networks *to)
{
    size_t size = from->count * sizeof *from->items;
    to->items = mem_zalloc(size + 1);
    if (to->items == NULL) {
        return false;
    }
    if (size > 0) {
        memcpy(to->items, from->items, size);
    }
    to->count = from->count;
    return true;
}

static bool copy_words(const struct conf_words *from, struct conf_words *to)
{
    to->items = mem_zalloc((from->count + 1) * sizeof *to->items);
    for (size_t i = 0; to->items != NULL && i < from->count; i++) {
        if (!copy_text(&from->items[i], &to->items[i])) {
            return false;
        }
        to->count++;
    }
    return to->items != NULL;
}

// Into a field that owns nothing.
static bool copy_field(enum conf_type type, const void *from, void *to)
{
    switch (type) {
    case CONF_TEXT:
    case CONF_URL:
    case CONF_SECRET_URL:
    case CONF_PATH:
    case CONF_SECRET:
        return copy_text(from, to);
    case CONF_INT:
        *(uint64_t *)to = *(const uint64_t *)from;
        return true;
    case CONF_BOOL:
        *(bool *)to = *(const bool *)from;
        return true;
    case CONF_CHOICE:
        *(unsigned *)to = *(const unsigned *)from;
        return true;
    case CONF_NETWORKS:
        return copy_networks(from, to);
    case CONF_WORDS:
        return copy_words(from, to);
    case CONF_LISTEN:
        ((struct conf_listen *)to)->port = ((const struct conf_listen *)from)->port;
        return copy_text(
            &((const struct conf_listen *)from)->host, &((struct conf_listen *)to)->host);
    case CONF_PORTS:
        *(struct conf_ports *)to = *(const struct conf_ports *)from;
        return true;
    }
    return false;
}

bool conf_keep(const struct conf_row *rows, size_t count, const void *old, void *target)
{
    for (size_t i = 0; i < count; i++) {
        if ((rows[i].flags & CONF_LIVE) != 0) {
            continue;
        }
        conf_release(&rows[i], 1, target);
        if (!copy_field(rows[i].type, (const char *)old + rows[i].offset,
                (char *)target + rows[i].offset)) {
            return false;
        }
    }
    return true;
}
