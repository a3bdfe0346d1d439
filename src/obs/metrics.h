// SPDX-License-Identifier: Apache-2.0
// Counters, gauges and histograms, declared in metrics.def. Each worker owns a shard and is the
// only one who writes it; a scrape reads all shards with relaxed atomic loads and adds them up.
// Nothing on the data path is locked or shared.
#ifndef WEIR_OBS_METRICS_H
#define WEIR_OBS_METRICS_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/result.h"
#include "proto/prometheus.h"

enum metric {
#define METRIC(symbol, type, name, help) METRIC_##symbol,
#include "obs/metrics.def"
#undef METRIC
    METRIC_COUNT,
};

// Series of relay_handshake_failures_total{reason}: rows of handshake_failures.def.
enum handshake_failure {
#define HANDSHAKE_FAILURE(symbol, label, help) FAILURE_##symbol,
#include "obs/handshake_failures.def"
#undef HANDSHAKE_FAILURE
    FAILURE_COUNT,
};
const char *handshake_failure_label(enum handshake_failure failure);

// Series of the families that count what the backplane did not do: rows of bus_ends.def.
enum bus_end {
    BUS_END_OK,
#define BUS_END(symbol, label, help) BUS_END_##symbol,
#include "obs/bus_ends.def"
#undef BUS_END
    BUS_END_COUNT,
};
const char *bus_end_label(enum bus_end end);
const char *bus_end_english(enum bus_end end);
enum bus_call { BUS_CALL_PUBLISH, BUS_CALL_PULL, BUS_CALL_PRESENCE, BUS_CALL_COUNT };

enum histogram {
#define HISTOGRAM(symbol, name, help, ...) HISTOGRAM_##symbol,
#include "obs/histograms.def"
#undef HISTOGRAM
    HISTOGRAM_COUNT,
};

// Families that are labelled or read at the scrape: rows of families.def.
enum metric_family {
#define FAMILY(symbol, type, name, label, help) FAMILY_##symbol,
#include "obs/families.def"
#undef FAMILY
    FAMILY_COUNT,
};

#define HISTOGRAM_BUCKETS_MAX 16

struct metrics_shard {
    _Atomic int64_t values[METRIC_COUNT]; // counters and gauges
    _Atomic int64_t failures[FAILURE_COUNT];
    _Atomic int64_t bus_ends[BUS_CALL_COUNT][BUS_END_COUNT]; // BUS_END_OK stays 0
    struct {
        _Atomic uint64_t buckets[HISTOGRAM_BUCKETS_MAX + 1]; // the last is +Inf; not cumulative
        _Atomic double sum;
    } histograms[HISTOGRAM_COUNT];
    // Keeps neighbours' writes out of this shard's last line.
    char padding[64];
};

// Only the owning thread may call these on a shard.
static inline void metrics_add(struct metrics_shard *shard, enum metric metric, int64_t amount)
{
    _Atomic int64_t *value = &shard->values[metric];
    int64_t old = atomic_load_explicit(value, memory_order_relaxed);
    atomic_store_explicit(value, old + amount, memory_order_relaxed);
}

static inline void metrics_count(struct metrics_shard *shard, enum metric metric)
{
    metrics_add(shard, metric, 1);
}

// For a gauge that one shard alone keeps (a scrape adds shards up).
static inline void metrics_set(struct metrics_shard *shard, enum metric metric, int64_t value)
{
    atomic_store_explicit(&shard->values[metric], value, memory_order_relaxed);
}

void metrics_failure(struct metrics_shard *shard, enum handshake_failure failure);
// end is not BUS_END_OK.
void metrics_bus_failure(struct metrics_shard *shard, enum bus_call call, enum bus_end end);
// value in the histogram's unit: bytes or seconds.
void metrics_observe(struct metrics_shard *shard, enum histogram histogram, double value);

// The shards of all workers; made once, before the workers start. NULL without memory.
struct metrics_shard *metrics_shards_new(size_t count) WEIR_MUST_CHECK;
void metrics_shards_free(struct metrics_shard *shards);

// Sum over all shards.
int64_t metrics_total(const struct metrics_shard *shards, size_t count, enum metric metric);

// Appends every metric with HELP and TYPE: all that metrics.def, handshake_failures.def,
// bus_ends.def and histograms.def declare, zero ones too, and what the log counts. Families labelled by workspace
// are the caller's: metrics_family and metrics_sample; prometheus_end ends the page.
void metrics_write(
    const struct metrics_shard *shards, size_t count, enum exposition exposition, struct buf *out);
// Starts a family; its samples follow before the next family starts.
void metrics_family(enum metric_family family, enum exposition exposition, struct buf *out);
// label: the value of the family's label; ignored by a family that has none.
void metrics_sample(enum metric_family family, struct slice label, int64_t value, struct buf *out);

// ---- For the manual.

struct metrics_row {
    const char *name;
    enum prometheus_type type;
    const char *label; // "" when there is none; a histogram's "le" is not named
    const char *help;
};
// Row number index of all tables, in the order of a page. False past the last.
bool metrics_row_at(size_t index, struct metrics_row *ret_row);

#endif
