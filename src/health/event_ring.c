// SPDX-License-Identifier: Apache-2.0
#include "health/event_ring.h"

#include <string.h>

#include "base/mem.h"

const char *event_type_name(enum event_type type)
{
    static const char *const names[EVENT_TYPE_COUNT] = {
#define EVENT_TYPE(symbol, name) [EVENT_##symbol] = name,
#include "health/event_types.def"
#undef EVENT_TYPE
    };
    return names[type];
}

enum weir_result event_ring_init(struct event_ring *ring, size_t size)
{
    *ring = (struct event_ring){.size = size};
    ring->events = mem_zalloc(size * sizeof *ring->events);
    return ring->events == NULL ? WEIR_MEMORY : WEIR_OK;
}

void event_ring_fini(struct event_ring *ring)
{
    for (size_t i = 0; ring->events != NULL && i < ring->size; i++) {
        mem_free(ring->events[i]);
    }
    mem_free(ring->events);
    *ring = (struct event_ring){0};
}

static struct slice put(char **at, struct slice text)
{
    struct slice kept = slice_of(*at, text.len);
    if (text.len > 0) {
        memcpy(*at, text.at, text.len);
    }
    *at += text.len;
    return kept;
}

const struct health_event *event_ring_add(struct event_ring *ring, const struct health_event *event)
{
    size_t text_len = event->service.len + event->machine.len + event->message.len;
    struct health_event *copy = mem_alloc(sizeof *copy + text_len);
    uint64_t id = ++ring->last_id;
    if (copy == NULL) {
        return NULL;
    }
    char *at = (char *)(copy + 1);
    *copy = *event;
    copy->id = id;
    copy->service = put(&at, event->service);
    copy->machine = put(&at, event->machine);
    copy->message = put(&at, event->message);
    mem_free(ring->events[ring->next]);
    ring->events[ring->next] = copy;
    ring->next = (ring->next + 1) % ring->size;
    ring->count += ring->count < ring->size;
    return copy;
}

const struct health_event *event_ring_newest(const struct event_ring *ring, size_t index)
{
    if (index >= ring->count) {
        return NULL;
    }
    return ring->events[(ring->next + ring->size - 1 - index) % ring->size];
}
