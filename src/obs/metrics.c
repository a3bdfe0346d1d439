// SPDX-License-Identifier: Apache-2.0
// Shards are plain arrays indexed by the enums of metrics.h; everything else here is about turning
// the tables into a page. A histogram's sample goes into the first bucket whose bound it does not
// exceed; buckets become cumulative on the page only, so that an observation touches one counter
// and the sum.
#include "obs/metrics.h"

#include "base/mem.h"
#include "obs/log.h"
#include "sys/process.h"

static const struct metrics_row metric_rows[METRIC_COUNT] = {
#define METRIC(symbol, type, name, help) [METRIC_##symbol] = {name, PROMETHEUS_##type, "", help},
#include "obs/metrics.def"
#undef METRIC
};

static const struct metrics_row family_rows[FAMILY_COUNT] = {
#define FAMILY(symbol, type, name, label, help)                                                    \
    [FAMILY_##symbol] = {name, PROMETHEUS_##type, label, help},
#include "obs/families.def"
#undef FAMILY
};

static const struct metrics_row histogram_rows[HISTOGRAM_COUNT] = {
#define HISTOGRAM(symbol, name, help, ...)                                                         \
    [HISTOGRAM_##symbol] = {name, PROMETHEUS_HISTOGRAM, "", help},
#include "obs/histograms.def"
#undef HISTOGRAM
};

static const char *const failure_labels[FAILURE_COUNT] = {
#define HANDSHAKE_FAILURE(symbol, label, help) [FAILURE_##symbol] = label,
#include "obs/handshake_failures.def"
#undef HANDSHAKE_FAILURE
};

static const struct {
    const char *label;
    const char *english;
} bus_ends[BUS_END_COUNT] = {
    [BUS_END_OK] = {"ok", "done"},
#define BUS_END(symbol, label, help) [BUS_END_##symbol] = {label, help},
#include "obs/bus_ends.def"
#undef BUS_END
};

static const enum metric_family bus_families[BUS_CALL_COUNT] = {
    [BUS_CALL_PUBLISH] = FAMILY_BUS_PUBLISH_FAILURES,
    [BUS_CALL_PULL] = FAMILY_BUS_PULL_FAILURES,
    [BUS_CALL_PRESENCE] = FAMILY_PRESENCE_FAILURES,
};

#define HISTOGRAM(symbol, name, help, ...)                                                         \
    static const double bounds_##symbol[] = {__VA_ARGS__};                                         \
    _Static_assert(sizeof bounds_##symbol / sizeof(double) <= HISTOGRAM_BUCKETS_MAX,               \
        "HISTOGRAM_BUCKETS_MAX is too small");
#include "obs/histograms.def"
#undef HISTOGRAM

static const struct {
    const double *bounds;
    size_t count;
} histogram_bounds[HISTOGRAM_COUNT] = {
#define HISTOGRAM(symbol, name, help, ...)                                                         \
    [HISTOGRAM_##symbol] = {bounds_##symbol, sizeof bounds_##symbol / sizeof(double)},
#include "obs/histograms.def"
#undef HISTOGRAM
};

// ---- Shards.

struct metrics_shard *metrics_shards_new(size_t count)
{
    return mem_zalloc(count * sizeof(struct metrics_shard));
}

void metrics_shards_free(struct metrics_shard *shards)
{
    mem_free(shards);
}

const char *handshake_failure_label(enum handshake_failure failure)
{
    return failure_labels[failure];
}

const char *bus_end_label(enum bus_end end)
{
    return bus_ends[end].label;
}

const char *bus_end_english(enum bus_end end)
{
    return bus_ends[end].english;
}

static void count_one(_Atomic int64_t *value)
{
    int64_t old = atomic_load_explicit(value, memory_order_relaxed);
    atomic_store_explicit(value, old + 1, memory_order_relaxed);
}

void metrics_failure(struct metrics_shard *shard, enum handshake_failure failure)
{
    count_one(&shard->failures[failure]);
}

void metrics_bus_failure(struct metrics_shard *shard, enum bus_call call, enum bus_end end)
{
    count_one(&shard->bus_ends[call][end]);
}

void metrics_observe(struct metrics_shard *shard, enum histogram histogram, double value)
{
    const double *bounds = histogram_bounds[histogram].bounds;
    size_t bucket = 0;
    while (bucket < histogram_bounds[histogram].count && value > bounds[bucket]) {
        bucket++;
    }
    _Atomic uint64_t *counter = &shard->histograms[histogram].buckets[bucket];
    uint64_t old = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, old + 1, memory_order_relaxed);
    _Atomic double *sum = &shard->histograms[histogram].sum;
    double old_sum = atomic_load_explicit(sum, memory_order_relaxed);
    atomic_store_explicit(sum, old_sum + value, memory_order_relaxed);
}

int64_t metrics_total(const struct metrics_shard *shards, size_t count, enum metric metric)
{
    int64_t total = 0;
    for (size_t i = 0; i < count; i++) {
        total += atomic_load_explicit(&shards[i].values[metric], memory_order_relaxed);
    }
    return total;
}

// ---- A page.

static void start_row(const struct metrics_row *row, enum exposition exposition, struct buf *out)
{
    prometheus_family(out, exposition, row->type, row->name, row->help);
}

void metrics_family(enum metric_family family, enum exposition exposition, struct buf *out)
{
    start_row(&family_rows[family], exposition, out);
}

void metrics_sample(enum metric_family family, struct slice label, int64_t value, struct buf *out)
{
    const struct metrics_row *row = &family_rows[family];
    struct prometheus_label pair = {row->label, label};
    prometheus_int(out, row->name, row->label[0] == '\0' ? NULL : &pair, value);
}

static void write_failures(
    const struct metrics_shard *shards, size_t count, enum exposition exposition, struct buf *out)
{
    metrics_family(FAMILY_HANDSHAKE_FAILURES, exposition, out);
    for (size_t failure = 0; failure < FAILURE_COUNT; failure++) {
        int64_t total = 0;
        for (size_t i = 0; i < count; i++) {
            total += atomic_load_explicit(&shards[i].failures[failure], memory_order_relaxed);
        }
        metrics_sample(FAMILY_HANDSHAKE_FAILURES, slice_str(failure_labels[failure]), total, out);
    }
}

static void write_bus_failures(const struct metrics_shard *shards, size_t count,
    enum bus_call call, enum exposition exposition, struct buf *out)
{
    metrics_family(bus_families[call], exposition, out);
    for (size_t end = BUS_END_OK + 1; end < BUS_END_COUNT; end++) {
        int64_t total = 0;
        for (size_t i = 0; i < count; i++) {
            total += atomic_load_explicit(&shards[i].bus_ends[call][end], memory_order_relaxed);
        }
        metrics_sample(bus_families[call], slice_str(bus_ends[end].label), total, out);
    }
}

static void write_histogram(const struct metrics_shard *shards, size_t count,
    enum histogram histogram, enum exposition exposition, struct buf *out)
{
    uint64_t buckets[HISTOGRAM_BUCKETS_MAX + 1] = {0};
    struct prometheus_histogram sums = {
        .bounds = histogram_bounds[histogram].bounds,
        .bound_count = histogram_bounds[histogram].count,
        .buckets = buckets,
    };
    for (size_t i = 0; i < count; i++) {
        for (size_t bucket = 0; bucket <= sums.bound_count; bucket++) {
            buckets[bucket] += atomic_load_explicit(
                &shards[i].histograms[histogram].buckets[bucket], memory_order_relaxed);
        }
        sums.sum +=
            atomic_load_explicit(&shards[i].histograms[histogram].sum, memory_order_relaxed);
    }
    start_row(&histogram_rows[histogram], exposition, out);
    prometheus_histogram(out, exposition, histogram_rows[histogram].name, &sums);
}

static void write_one(
    enum metric_family family, int64_t value, enum exposition exposition, struct buf *out)
{
    metrics_family(family, exposition, out);
    metrics_sample(family, SLICE_EMPTY, value, out);
}

static void write_log(enum exposition exposition, struct buf *out)
{
    metrics_family(FAMILY_LOG_EVENTS, exposition, out);
    for (enum log_level level = 0; level < LOG_LEVEL_COUNT; level++) {
        metrics_sample(
            FAMILY_LOG_EVENTS, slice_str(log_level_name(level)), (int64_t)log_counted(level), out);
    }
    write_one(FAMILY_LOG_LINES_SUPPRESSED, (int64_t)log_suppressed(), exposition, out);
    write_one(FAMILY_LOG_LINES_LOST, (int64_t)log_lost(), exposition, out);
}

static void write_process(enum exposition exposition, struct buf *out)
{
    write_one(FAMILY_PROCESS_RESIDENT, (int64_t)sys_resident_bytes(), exposition, out);
    write_one(FAMILY_PROCESS_OPEN_FDS, (int64_t)sys_open_descriptors(), exposition, out);
    metrics_family(FAMILY_PROCESS_CPU, exposition, out);
    prometheus_double(out, family_rows[FAMILY_PROCESS_CPU].name, NULL, sys_cpu_seconds());
}

void metrics_write(
    const struct metrics_shard *shards, size_t count, enum exposition exposition, struct buf *out)
{
    for (size_t metric = 0; metric < METRIC_COUNT; metric++) {
        start_row(&metric_rows[metric], exposition, out);
        prometheus_int(
            out, metric_rows[metric].name, NULL, metrics_total(shards, count, (enum metric)metric));
    }
    for (size_t histogram = 0; histogram < HISTOGRAM_COUNT; histogram++) {
        write_histogram(shards, count, (enum histogram)histogram, exposition, out);
    }
    write_failures(shards, count, exposition, out);
    for (enum bus_call call = 0; call < BUS_CALL_COUNT; call++) {
        write_bus_failures(shards, count, call, exposition, out);
    }
    write_log(exposition, out);
    write_process(exposition, out);
}

// ---- The manual.

bool metrics_row_at(size_t index, struct metrics_row *ret_row)
{
    if (index < METRIC_COUNT) {
        *ret_row = metric_rows[index];
    } else if (index - METRIC_COUNT < HISTOGRAM_COUNT) {
        *ret_row = histogram_rows[index - METRIC_COUNT];
    } else if (index - METRIC_COUNT - HISTOGRAM_COUNT < FAMILY_COUNT) {
        *ret_row = family_rows[index - METRIC_COUNT - HISTOGRAM_COUNT];
    } else {
        return false;
    }
    return true;
}
