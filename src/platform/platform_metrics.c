// SPDX-License-Identifier: Apache-2.0
#include "platform/platform_metrics.h"

#include <string.h>

#include "sys/process.h"

#define PREFIX "weir_platform_"

static const struct {
    const char *name;
    const char *labels;
    const char *help;
    enum prometheus_type type;
} rows[PLATFORM_METRIC_COUNT] = {
#define PLATFORM_METRIC(symbol, type, name, labels, help)                                          \
    [PLATFORM_##symbol] = {PREFIX name, labels, help, PROMETHEUS_##type},
#include "platform/platform_metrics.def"
#undef PLATFORM_METRIC
};

static bool begins_family(size_t i)
{
    return i == 0 || strcmp(rows[i - 1].name, rows[i].name) != 0;
}

static double read_cpu(uint64_t started_wall_ms)
{
    (void)started_wall_ms;
    return sys_cpu_seconds();
}

static double read_resident(uint64_t started_wall_ms)
{
    (void)started_wall_ms;
    return (double)sys_resident_bytes();
}

static double read_descriptors(uint64_t started_wall_ms)
{
    (void)started_wall_ms;
    return (double)sys_open_descriptors();
}

static double read_start(uint64_t started_wall_ms)
{
    return (double)started_wall_ms / 1e3;
}

static const struct {
    const char *name;
    const char *help;
    enum prometheus_type type;
    double (*read)(uint64_t started_wall_ms);
} process_rows[] = {
    {"process_cpu_seconds_total", "CPU time, user and system.", PROMETHEUS_COUNTER, read_cpu},
    {"process_resident_memory_bytes", "Resident memory.", PROMETHEUS_GAUGE, read_resident},
    {"process_open_fds", "Open file descriptors.", PROMETHEUS_GAUGE, read_descriptors},
    {"process_start_time_seconds", "When the process started, in seconds since 1970.",
        PROMETHEUS_GAUGE, read_start},
};
#define PROCESS_ROW_COUNT (sizeof process_rows / sizeof process_rows[0])

void platform_metrics_write(const struct platform_metrics *metrics, uint64_t started_wall_ms,
    enum exposition exposition, struct buf *out)
{
    for (size_t i = 0; i < PLATFORM_METRIC_COUNT; i++) {
        if (begins_family(i)) {
            prometheus_family(out, exposition, rows[i].type, rows[i].name, rows[i].help);
        }
        prometheus_int_labelled(out, rows[i].name, rows[i].labels, metrics->values[i]);
    }
    for (size_t i = 0; i < PROCESS_ROW_COUNT; i++) {
        prometheus_family(
            out, exposition, process_rows[i].type, process_rows[i].name, process_rows[i].help);
        prometheus_double(out, process_rows[i].name, NULL, process_rows[i].read(started_wall_ms));
    }
    prometheus_end(out, exposition);
}

void platform_metrics_manual(struct buf *out)
{
    buf_append_str(out,
        "# Metrics of the platform\n\n"
        "`GET /metrics` with the admin token serves them in Prometheus' text format, or as "
        "OpenMetrics when the scraper asks for it.\n"
        "Every series exists from the start, at 0.\n"
        "This page is the output of `weir config reference platform-metrics`.\n\n"
        "| name | type | labels | meaning |\n|---|---|---|---|\n");
    for (size_t i = 0; i < PLATFORM_METRIC_COUNT; i++) {
        if (begins_family(i)) {
            buf_printf(out, "| `%s` | %s | ", rows[i].name, prometheus_type_name(rows[i].type));
            for (size_t j = i; j < PLATFORM_METRIC_COUNT && (j == i || !begins_family(j)); j++) {
                buf_printf(out, "%s%s%s%s", j == i ? "" : ", ",
                    rows[j].labels[0] == '\0' ? "" : "`", rows[j].labels,
                    rows[j].labels[0] == '\0' ? "" : "`");
            }
            buf_printf(out, " | %s |\n", rows[i].help);
        }
    }
    for (size_t i = 0; i < PROCESS_ROW_COUNT; i++) {
        buf_printf(out, "| `%s` | %s |  | %s |\n", process_rows[i].name,
            prometheus_type_name(process_rows[i].type), process_rows[i].help);
    }
}
