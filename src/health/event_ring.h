// SPDX-License-Identifier: Apache-2.0
// What happened, newest last: the timeline of spec section 4.3. Bounded; the oldest go first. Ids
// are never used twice.
#ifndef WEIR_HEALTH_EVENT_RING_H
#define WEIR_HEALTH_EVENT_RING_H

#include <stdint.h>

#include "base/result.h"
#include "base/slice.h"
#include "health/state.h"

enum event_type {
#define EVENT_TYPE(symbol, name) EVENT_##symbol,
#include "health/event_types.def"
#undef EVENT_TYPE
    EVENT_TYPE_COUNT,
};
const char *event_type_name(enum event_type type);

#define EVENT_NO_STATUS HEALTH_STATUS_COUNT

struct health_event {
    uint64_t id; // from 1
    uint64_t wall_ms;
    enum event_type type;
    unsigned previous;    // enum health_status, or EVENT_NO_STATUS
    unsigned status;      // the same
    struct slice service; // these three lie behind the struct
    struct slice machine;
    struct slice message;
};

struct event_ring {
    struct health_event **events; // owned, as are the events; a ring
    size_t size;
    size_t count;
    size_t next; // where the next one goes
    uint64_t last_id;
};

enum weir_result event_ring_init(struct event_ring *ring, size_t size) WEIR_MUST_CHECK;
void event_ring_fini(struct event_ring *ring);
// Takes a copy and gives it an id. Returns the copy, which lives until it is the oldest; NULL
// without memory: the event is lost, its id is not used again.
const struct health_event *event_ring_add(
    struct event_ring *ring, const struct health_event *event);
// The index-th newest, from 0; NULL past the oldest.
const struct health_event *event_ring_newest(const struct event_ring *ring, size_t index);

#endif
