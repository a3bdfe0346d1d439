// SPDX-License-Identifier: Apache-2.0
// The engine's counters, gauges and histograms (spec section 10), declared in engine_metrics.def.
// Each worker owns one struct engine_metrics and is the only one who writes it; a scrape reads all
// with relaxed loads and adds them up. shard.h has the calls that the engine's parts use.
#ifndef WEIR_ENGINE_ENGINE_METRICS_H
#define WEIR_ENGINE_ENGINE_METRICS_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/result.h"
#include "proto/prometheus.h"

enum engine_metric {
#define ENGINE_METRIC(symbol, type, name, labels, help) ENGINE_##symbol,
#define ENGINE_HISTOGRAM(symbol, name, labels, help, ...)
#include "engine/metrics/engine_metrics.def"
#undef ENGINE_METRIC
#undef ENGINE_HISTOGRAM
    ENGINE_METRIC_COUNT,
};

enum engine_histogram {
#define ENGINE_METRIC(symbol, type, name, labels, help)
#define ENGINE_HISTOGRAM(symbol, name, labels, help, ...) ENGINE_HISTOGRAM_##symbol,
#include "engine/metrics/engine_metrics.def"
#undef ENGINE_METRIC
#undef ENGINE_HISTOGRAM
    ENGINE_HISTOGRAM_COUNT,
};

enum engine_family {
#define ENGINE_FAMILY(symbol, type, name, label, help) ENGINE_FAMILY_##symbol,
#include "engine/metrics/engine_families.def"
#undef ENGINE_FAMILY
    ENGINE_FAMILY_COUNT,
};

#define ENGINE_BUCKETS_MAX 16

struct engine_metrics {
    _Atomic int64_t values[ENGINE_METRIC_COUNT];
    struct {
        _Atomic uint64_t buckets[ENGINE_BUCKETS_MAX + 1]; // the last is +Inf; not cumulative
        _Atomic double sum;
    } histograms[ENGINE_HISTOGRAM_COUNT];
    // Keeps neighbours' writes out of this one's last line.
    char padding[64];
};

// Only the owning thread may call these three.
static inline void engine_metrics_add(
    struct engine_metrics *metrics, enum engine_metric metric, int64_t amount)
{
    _Atomic int64_t *value = &metrics->values[metric];
    int64_t old = atomic_load_explicit(value, memory_order_relaxed);
    atomic_store_explicit(value, old + amount, memory_order_relaxed);
}

// For a gauge that one worker alone keeps.
static inline void engine_metrics_set(
    struct engine_metrics *metrics, enum engine_metric metric, int64_t value)
{
    atomic_store_explicit(&metrics->values[metric], value, memory_order_relaxed);
}

void engine_metrics_observe(
    struct engine_metrics *metrics, enum engine_histogram histogram, double seconds);

// One for each of count workers; NULL without memory.
struct engine_metrics *engine_metrics_new(size_t count) WEIR_MUST_CHECK;
// NULL is fine.
void engine_metrics_free(struct engine_metrics *all);

// Sum over all workers.
int64_t engine_metrics_total(
    const struct engine_metrics *all, size_t count, enum engine_metric metric);

// Appends every series of engine_metrics.def, with HELP and TYPE a family, zero ones too; then what
// is read now: build_info and process_*. started_wall_ms: of the process.
void engine_metrics_write(const struct engine_metrics *all, size_t count, uint64_t started_wall_ms,
    enum exposition exposition, struct buf *out);
// Starts a family of engine_families.def; its samples follow before the next family starts.
void engine_metrics_family(enum engine_family family, enum exposition exposition, struct buf *out);
void engine_metrics_sample(
    enum engine_family family, struct slice label, int64_t value, struct buf *out);

// ---- For the manual.

struct engine_metrics_row {
    const char *name;
    const char *labels; // of a series "reason=\"eof\""; of a family its label; or ""
    const char *help;
    enum prometheus_type type;
};
// Row number index of all tables, in the order of a page. False past the last. Rows of one name
// follow one another.
bool engine_metrics_row_at(size_t index, struct engine_metrics_row *ret_row);
// Appends docs/reference/engine-metrics.md.
void engine_metrics_manual(struct buf *out);

#endif
