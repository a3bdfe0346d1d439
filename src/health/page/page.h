// SPDX-License-Identifier: Apache-2.0
// What the browser's page shows, kept as tables (page_tables.h) while somebody watches, and told
// over /ws/page: a snapshot first, then what has changed, four times a second at most, printed once
// for all. Nobody watches: nothing is kept, printed or asked. Everything is on the monitor's
// worker.
#ifndef WEIR_HEALTH_PAGE_H
#define WEIR_HEALTH_PAGE_H

#include "health/event_ring.h"
#include "health/page/page_parts.h"
#include "health/page/page_tables.h"
#include "loop/worker.h"

struct health;
struct target;

// The snapshot as GET /api/page has it, for those whose sockets do not get through.
struct page_document {
    struct buf text;   // owned; empty: not printed
    struct buf packed; // owned; its gzip; empty: nobody has asked for that
    uint64_t printed_ns;
    uint64_t hash;
};

struct page {
    struct health *health; // NULL: not started
    struct page_tables tables;
    struct timer tick;
    bool awake;
    uint64_t looked_ns; // when all rows of services were printed last; 0: they are to be
    uint64_t told_ns;
    uint64_t asked_ns; // when somebody asked for a document last; 0: never
    uint64_t version;  // of the monitor, when sums and machines were printed last
    struct page_document documents[PAGE_READ + 1];
    struct page_relay relay;
    struct page_engine engine;
};

// page is zeroed before.
void page_start(struct page *page, struct health *health);
// Fine for a zeroed page, and twice.
void page_stop(struct page *page);

// Somebody watches from now on: the tables are filled.
void page_wake(struct page *page);
// The document of such a reader, valid until the next turn. NULL without memory.
struct page_document *page_document(struct page *page, enum page_reader reader);

// ---- What happened; does nothing while nobody watches

// A service has a result, or another state.
void page_tell_target(struct page *page, const struct target *target);
void page_tell_event(struct page *page, const struct health_event *event);
// Anything else that a row shows has changed.
void page_touch(struct page *page);

// How a neighbour fares. heard: it has said everything at least once; problem: why it says nothing
// now, since when; NULL: it does.
void page_tell_part(
    struct page *page, const char *name, bool heard, const char *problem, uint64_t since_wall_ms);

// ---- The monitor's own tables (page_health.c)

void page_health_all(struct page *page);
// Summary and machines.
void page_health_sums(struct page *page);
void page_health_target(struct page *page, const struct target *target);
void page_health_event(struct page *page, const struct health_event *event);

#endif
