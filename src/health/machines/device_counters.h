// SPDX-License-Identifier: Apache-2.0
// A machine's resources out of what Linux says in /proc, and df of its root: from files here, or
// out of one command's output from elsewhere (spec section 5.4). Pure.
#ifndef WEIR_HEALTH_DEVICE_COUNTERS_H
#define WEIR_HEALTH_DEVICE_COUNTERS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

// A number whose source is missing.
#define DEVICE_UNKNOWN (-1.0)

struct device_sample {
    uint64_t wall_ms;
    double cpu_percent;
    double load1;
    double memory_used_mb;
    double memory_total_mb;
    double disk_used_gb;
    double disk_total_gb;
    double memory_percent;   // of a machine that tells no sizes
    double disk_percent;     // likewise
    double network_rx_bytes; // since the machine started
    double network_tx_bytes;
};

// All unknown, at that time.
struct device_sample device_sample_empty(uint64_t wall_ms);

// Time spent since the machine started, in its own ticks.
struct device_cpu {
    uint64_t busy;
    uint64_t total; // 0: not known
};

// The contents of these files, each as far as it is understood.
void counters_read_stat(struct slice text, struct device_cpu *ret_cpu);
void counters_read_meminfo(struct slice text, struct device_sample *sample);
void counters_read_net(struct slice text, struct device_sample *sample);
void counters_read_loadavg(struct slice text, struct device_sample *sample);
// The output of `df -kP /`.
void counters_read_df(struct slice text, struct device_sample *sample);

// Between two moments; DEVICE_UNKNOWN when one is not known, or no time went by.
double counters_cpu_percent(const struct device_cpu *before, const struct device_cpu *now);

// The POSIX script that prints all of it, and its output taken apart. The script reads /proc/stat
// twice, a moment apart. False: the output holds none of it.
extern const char counters_script[];
bool counters_read_script(struct slice output, struct device_sample *sample);

#endif
