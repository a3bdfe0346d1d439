// SPDX-License-Identifier: Apache-2.0
// What was (spec section 8): the results of every service in memory, and what of it outlives the
// process in a store. Lives on the monitor's worker.
#ifndef WEIR_HEALTH_HISTORY_H
#define WEIR_HEALTH_HISTORY_H

#include "health/event_ring.h"
#include "health/history/series.h"
#include "health/history/store.h"
#include "health/monitor.h"
#include "health/view/view.h"

struct history {
    struct worker *worker; // NULL: not started
    struct monitor *monitor;
    struct event_ring *events;
    struct map by_key;
    struct target *loading; // the one whose sums are being taken up
    struct list dirty;      // entries with news since the last flush
    struct store *store;    // owned; NULL: memory only
    struct timer flush;
    uint64_t flushed_wall_ms;
};

// path: of the store's file; NULL: memory only. Takes up what is stored: events, sums, states of
// services that are checked the same way as before, and maintenance. history is zeroed before.
enum weir_result history_start(struct history *history, struct worker *worker,
    struct monitor *monitor, struct event_ring *events, const char *path) WEIR_MUST_CHECK;
// Fine when it was not started, and twice.
void history_stop(struct history *history);

void history_result(struct history *history, struct target *target);
// The target's state changed otherwise: its maintenance.
void history_touch(struct history *history, struct target *target);
void history_forget(struct history *history, const struct target *target);
void history_event(struct history *history, const struct health_event *event);

// NULL: there was no result.
const struct series *history_series(const struct history *history, const struct target *target);
// The share of results of the last day that passed, in percent; negative: there was none.
double history_uptime(const struct history *history, const struct target *target);
void history_fill_view(const struct history *history, struct view *view);

#endif
