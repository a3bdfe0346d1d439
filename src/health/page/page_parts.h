// SPDX-License-Identifier: Apache-2.0
// What the page keeps of a relay and an engine beside the rows: what rates are taken from.
#ifndef WEIR_HEALTH_PAGE_PARTS_H
#define WEIR_HEALTH_PAGE_PARTS_H

#include "base/map.h"

#define PAGE_TEXT_SIZE 256
#define PAGE_BUCKETS_MAX 40

// A counter at two moments.
struct page_rate {
    double last;
    uint64_t at_ns;    // 0: never
    double per_second; // negative: not known
};

struct page_relay {
    struct map cells; // of struct cell_rate, by name
    uint64_t round;   // grows with every state
    char id[PAGE_TEXT_SIZE];
    char backplane[64];
    char down_since[40]; // the way to other relays; "": it is up
    char problem[PAGE_TEXT_SIZE];
    uint64_t connections;
    uint64_t cell_count;
    uint64_t daemon_count;
    uint64_t started_wall_ms;
    bool ok;
    double queued_bytes;
    struct page_rate to_daemons;
    struct page_rate to_clients;
};

struct page_bucket {
    double bound;
    double count;
};

struct page_engine {
    struct page_rate requests;
    struct page_rate to_agent;
    struct page_rate from_agent;
    struct page_bucket buckets[PAGE_BUCKETS_MAX]; // of the last metrics
    size_t bucket_count;
};

struct page;

void page_rate_take(struct page_rate *rate, double value, uint64_t now_ns);

void page_relay_start(struct page *page);
// Forgets what was: nobody looks any more.
void page_relay_rest(struct page *page);
void page_engine_rest(struct page *page);

// ---- Answers of neighbours; false: it is none.

bool page_relay_state(struct page *page, struct slice body);
bool page_relay_health(struct page *page, struct slice body);
bool page_relay_logs(struct page *page, struct slice body);
bool page_relay_metrics(struct page *page, struct slice body);
// Empty: it has none.
bool page_engine_metrics(struct page *page, struct slice body);
// One event (spec engine, section 8.6).
bool page_engine_event(struct page *page, struct slice json);

#endif
