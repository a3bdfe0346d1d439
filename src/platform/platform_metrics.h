// SPDX-License-Identifier: Apache-2.0
// The platform's counters and gauges, declared in platform_metrics.def. They belong to the one
// worker that serves it.
#ifndef WEIR_PLATFORM_PLATFORM_METRICS_H
#define WEIR_PLATFORM_PLATFORM_METRICS_H

#include <stdint.h>

#include "base/buf.h"
#include "proto/prometheus.h"

enum platform_metric {
#define PLATFORM_METRIC(symbol, type, name, labels, help) PLATFORM_##symbol,
#include "platform/platform_metrics.def"
#undef PLATFORM_METRIC
    PLATFORM_METRIC_COUNT,
};

struct platform_metrics {
    int64_t values[PLATFORM_METRIC_COUNT];
};

// Appends every series, and process_*; started_wall_ms: of the process.
void platform_metrics_write(const struct platform_metrics *metrics, uint64_t started_wall_ms,
    enum exposition exposition, struct buf *out);
// Appends docs/reference/platform-metrics.md.
void platform_metrics_manual(struct buf *out);

#endif
