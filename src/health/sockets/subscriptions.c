// SPDX-License-Identifier: Apache-2.0
#include "health/sockets/subscriptions.h"

#include "base/mem.h"
#include "health/sockets/dialect.h"

struct subscription {
    enum subscription_kind kind;
    size_t len;
    char text[];
};

static struct slice text_of(const struct subscription *entry)
{
    return slice_of(entry->text, entry->len);
}

void subscriptions_fini(struct subscriptions *subscriptions)
{
    for (size_t i = 0; i < subscriptions->count; i++) {
        mem_free(subscriptions->entries[i]);
    }
    mem_free(subscriptions->entries);
    *subscriptions = (struct subscriptions){0};
}

// SUBSCRIPTIONS_MAX: it is not there.
static size_t find(
    const struct subscriptions *subscriptions, enum subscription_kind kind, struct slice text)
{
    for (size_t i = 0; i < subscriptions->count; i++) {
        if (subscriptions->entries[i]->kind == kind &&
            slice_eq(text_of(subscriptions->entries[i]), text)) {
            return i;
        }
    }
    return SUBSCRIPTIONS_MAX;
}

enum weir_result subscriptions_add(
    struct subscriptions *subscriptions, enum subscription_kind kind, struct slice text)
{
    if (text.len == 0 || text.len > SUBSCRIPTION_LEN_MAX) {
        return WEIR_TOO_LONG;
    }
    if (find(subscriptions, kind, text) < SUBSCRIPTIONS_MAX) {
        return WEIR_OK;
    }
    if (subscriptions->count == SUBSCRIPTIONS_MAX) {
        return WEIR_FULL;
    }
    struct subscription **entries = mem_realloc(
        subscriptions->entries, (subscriptions->count + 1) * sizeof *subscriptions->entries);
    if (entries == NULL) {
        return WEIR_MEMORY;
    }
    subscriptions->entries = entries;
    struct subscription *entry = mem_alloc(sizeof *entry + text.len);
    if (entry == NULL) {
        return WEIR_MEMORY;
    }
    entry->kind = kind;
    entry->len = text.len;
    memcpy(entry->text, text.at, text.len);
    entries[subscriptions->count++] = entry;
    return WEIR_OK;
}

void subscriptions_remove(
    struct subscriptions *subscriptions, enum subscription_kind kind, struct slice text)
{
    size_t index = find(subscriptions, kind, text);
    if (index < SUBSCRIPTIONS_MAX) {
        mem_free(subscriptions->entries[index]);
        subscriptions->entries[index] = subscriptions->entries[--subscriptions->count];
    }
}

struct slice subscriptions_text(const struct subscriptions *subscriptions, size_t index)
{
    return text_of(subscriptions->entries[index]);
}

static bool names(struct slice pattern, struct slice name)
{
    return slice_eq(pattern, SLICE("*")) || slice_eq(pattern, name);
}

bool subscriptions_want_device(const struct subscriptions *subscriptions, struct slice device)
{
    for (size_t i = 0; i < subscriptions->count; i++) {
        const struct subscription *entry = subscriptions->entries[i];
        if (entry->kind == SUBSCRIBED_DEVICE && names(text_of(entry), device)) {
            return true;
        }
    }
    return false;
}

static bool pattern_holds_machine(struct slice pattern, struct slice machine)
{
    struct slice wanted_service;
    struct slice wanted_machine;
    return ask_split_pattern(pattern, &wanted_service, &wanted_machine) &&
           slice_eq(wanted_service, SLICE("*")) && names(wanted_machine, machine);
}

bool subscriptions_want_machine(const struct subscriptions *subscriptions, struct slice machine)
{
    for (size_t i = 0; i < subscriptions->count; i++) {
        const struct subscription *entry = subscriptions->entries[i];
        if (entry->kind == SUBSCRIBED_PATTERN && pattern_holds_machine(text_of(entry), machine)) {
            return true;
        }
    }
    return subscriptions_want_device(subscriptions, machine);
}
