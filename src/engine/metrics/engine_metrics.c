// SPDX-License-Identifier: Apache-2.0
// Arrays indexed by the enums of engine_metrics.h, and tables made from the same rows. A series'
// labels are written out in its row, so that its name on the page is one literal.
#include "engine/metrics/engine_metrics.h"

#include <string.h>

#include "base/mem.h"
#include "sys/process.h"

#define PREFIX "weir_engine_"

static const struct engine_metrics_row metric_rows[ENGINE_METRIC_COUNT] = {
#define ENGINE_METRIC(symbol, type, name, labels, help)                                            \
    [ENGINE_##symbol] = {PREFIX name, labels, help, PROMETHEUS_##type},
#define ENGINE_HISTOGRAM(symbol, name, labels, help, ...)
#include "engine/metrics/engine_metrics.def"
#undef ENGINE_METRIC
#undef ENGINE_HISTOGRAM
};

static const struct engine_metrics_row family_rows[ENGINE_FAMILY_COUNT] = {
#define ENGINE_FAMILY(symbol, type, name, label, help)                                             \
    [ENGINE_FAMILY_##symbol] = {name, label, help, PROMETHEUS_##type},
#include "engine/metrics/engine_families.def"
#undef ENGINE_FAMILY
};

#define ENGINE_METRIC(symbol, type, name, labels, help)
#define ENGINE_HISTOGRAM(symbol, name, labels, help, ...)                                          \
    static const double bounds_##symbol[] = {__VA_ARGS__};                                         \
    _Static_assert(sizeof bounds_##symbol / sizeof(double) <= ENGINE_BUCKETS_MAX,                  \
        "ENGINE_BUCKETS_MAX is too small");
#include "engine/metrics/engine_metrics.def"
#undef ENGINE_METRIC
#undef ENGINE_HISTOGRAM

static const struct histogram_row {
    struct engine_metrics_row row;
    const double *bounds;
    size_t bound_count;
} histogram_rows[ENGINE_HISTOGRAM_COUNT] = {
#define ENGINE_METRIC(symbol, type, name, labels, help)
#define ENGINE_HISTOGRAM(symbol, name, labels, help, ...)                                          \
    [ENGINE_HISTOGRAM_##symbol] = {{PREFIX name, labels, help, PROMETHEUS_HISTOGRAM},              \
        bounds_##symbol, sizeof bounds_##symbol / sizeof(double)},
#include "engine/metrics/engine_metrics.def"
#undef ENGINE_METRIC
#undef ENGINE_HISTOGRAM
};

struct engine_metrics *engine_metrics_new(size_t count)
{
    return mem_zalloc(count * sizeof(struct engine_metrics));
}

void engine_metrics_free(struct engine_metrics *all)
{
    mem_free(all);
}

void engine_metrics_observe(
    struct engine_metrics *metrics, enum engine_histogram histogram, double seconds)
{
    const struct histogram_row *row = &histogram_rows[histogram];
    size_t bucket = 0;
    while (bucket < row->bound_count && seconds > row->bounds[bucket]) {
        bucket++;
    }
    _Atomic uint64_t *counter = &metrics->histograms[histogram].buckets[bucket];
    uint64_t old = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, old + 1, memory_order_relaxed);
    _Atomic double *sum = &metrics->histograms[histogram].sum;
    double old_sum = atomic_load_explicit(sum, memory_order_relaxed);
    atomic_store_explicit(sum, old_sum + seconds, memory_order_relaxed);
}

int64_t engine_metrics_total(
    const struct engine_metrics *all, size_t count, enum engine_metric metric)
{
    int64_t total = 0;
    for (size_t i = 0; i < count; i++) {
        total += atomic_load_explicit(&all[i].values[metric], memory_order_relaxed);
    }
    return total;
}

// ---- A page.

// HELP and TYPE when row begins another family than the one before it.
static void start_family(const struct engine_metrics_row *row,
    const struct engine_metrics_row *before, enum exposition exposition, struct buf *out)
{
    if (before == NULL || strcmp(row->name, before->name) != 0) {
        prometheus_family(out, exposition, row->type, row->name, row->help);
    }
}

static void write_values(
    const struct engine_metrics *all, size_t count, enum exposition exposition, struct buf *out)
{
    for (size_t i = 0; i < ENGINE_METRIC_COUNT; i++) {
        const struct engine_metrics_row *row = &metric_rows[i];
        start_family(row, i == 0 ? NULL : &metric_rows[i - 1], exposition, out);
        prometheus_int_labelled(
            out, row->name, row->labels, engine_metrics_total(all, count, (enum engine_metric)i));
    }
}

static void write_histogram(const struct engine_metrics *all, size_t count, size_t histogram,
    enum exposition exposition, struct buf *out)
{
    const struct histogram_row *row = &histogram_rows[histogram];
    uint64_t buckets[ENGINE_BUCKETS_MAX + 1] = {0};
    struct prometheus_histogram sums = {
        .labels = row->row.labels,
        .bounds = row->bounds,
        .bound_count = row->bound_count,
        .buckets = buckets,
    };
    for (size_t i = 0; i < count; i++) {
        for (size_t bucket = 0; bucket <= row->bound_count; bucket++) {
            buckets[bucket] += atomic_load_explicit(
                &all[i].histograms[histogram].buckets[bucket], memory_order_relaxed);
        }
        sums.sum += atomic_load_explicit(&all[i].histograms[histogram].sum, memory_order_relaxed);
    }
    start_family(
        &row->row, histogram == 0 ? NULL : &histogram_rows[histogram - 1].row, exposition, out);
    prometheus_histogram(out, exposition, row->row.name, &sums);
}

void engine_metrics_family(enum engine_family family, enum exposition exposition, struct buf *out)
{
    start_family(&family_rows[family], NULL, exposition, out);
}

void engine_metrics_sample(
    enum engine_family family, struct slice label, int64_t value, struct buf *out)
{
    const struct engine_metrics_row *row = &family_rows[family];
    struct prometheus_label pair = {row->labels, label};
    prometheus_int(out, row->name, row->labels[0] == '\0' ? NULL : &pair, value);
}

static void write_one(enum engine_family family, struct slice label, int64_t value,
    enum exposition exposition, struct buf *out)
{
    engine_metrics_family(family, exposition, out);
    engine_metrics_sample(family, label, value, out);
}

static void write_process(uint64_t started_wall_ms, enum exposition exposition, struct buf *out)
{
    write_one(ENGINE_FAMILY_BUILD_INFO, SLICE(WEIR_VERSION), 1, exposition, out);
    engine_metrics_family(ENGINE_FAMILY_PROCESS_CPU, exposition, out);
    prometheus_double(out, family_rows[ENGINE_FAMILY_PROCESS_CPU].name, NULL, sys_cpu_seconds());
    write_one(ENGINE_FAMILY_PROCESS_RESIDENT, SLICE_EMPTY, (int64_t)sys_resident_bytes(),
        exposition, out);
    write_one(ENGINE_FAMILY_PROCESS_OPEN_FDS, SLICE_EMPTY, (int64_t)sys_open_descriptors(),
        exposition, out);
    write_one(ENGINE_FAMILY_PROCESS_MAX_FDS, SLICE_EMPTY, (int64_t)sys_descriptor_limit(),
        exposition, out);
    engine_metrics_family(ENGINE_FAMILY_PROCESS_START, exposition, out);
    prometheus_double(
        out, family_rows[ENGINE_FAMILY_PROCESS_START].name, NULL, (double)started_wall_ms / 1e3);
}

void engine_metrics_write(const struct engine_metrics *all, size_t count, uint64_t started_wall_ms,
    enum exposition exposition, struct buf *out)
{
    write_values(all, count, exposition, out);
    for (size_t histogram = 0; histogram < ENGINE_HISTOGRAM_COUNT; histogram++) {
        write_histogram(all, count, histogram, exposition, out);
    }
    write_process(started_wall_ms, exposition, out);
}

// ---- The manual.

bool engine_metrics_row_at(size_t index, struct engine_metrics_row *ret_row)
{
    if (index < ENGINE_METRIC_COUNT) {
        *ret_row = metric_rows[index];
    } else if (index - ENGINE_METRIC_COUNT < ENGINE_HISTOGRAM_COUNT) {
        *ret_row = histogram_rows[index - ENGINE_METRIC_COUNT].row;
    } else if (index - ENGINE_METRIC_COUNT - ENGINE_HISTOGRAM_COUNT < ENGINE_FAMILY_COUNT) {
        *ret_row = family_rows[index - ENGINE_METRIC_COUNT - ENGINE_HISTOGRAM_COUNT];
    } else {
        return false;
    }
    return true;
}
