// SPDX-License-Identifier: Apache-2.0
// What is known of one machine's resources, and how the API prints it (spec section 4.4). Pure
// data.
#ifndef WEIR_HEALTH_DEVICE_H
#define WEIR_HEALTH_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/map.h"
#include "health/machines/device_counters.h"
#include "health/registry/registry.h"
#include "proto/json_write.h"

enum device_status { DEVICE_UNAVAILABLE, DEVICE_OK, DEVICE_ERROR, DEVICE_OFFLINE };
#define DEVICE_STATUS_COUNT 4
// "unavailable", "ok", "error", "offline".
const char *device_status_name(enum device_status status);
// "unknown", "online", "offline".
const char *device_presence_name(enum device_status status);

#define DEVICE_SAMPLES_MAX 1440
#define DEVICE_ERROR_SIZE 160

struct device {
    struct map_node node; // by name
    char *name;           // owned
    enum device_status status;
    char error[DEVICE_ERROR_SIZE];
    struct device_sample *samples; // owned; a ring that grows to DEVICE_SAMPLES_MAX
    size_t size;
    size_t count;
    size_t next;
    uint64_t heartbeats;
    uint64_t seen_wall_ms;         // of the newest sample or heartbeat; 0: never
    uint64_t seen_ns;              // the same on the monotonic clock
    const struct machine *machine; // borrows from the registry until the next devices_follow
};

// NULL without memory.
struct device *device_new(struct slice name) WEIR_MUST_CHECK;
void device_free(struct device *device);
// Keeps it, in place of the oldest when there are many. Without memory it replaces the newest.
void device_add(struct device *device, const struct device_sample *sample);
// The index-th newest, from 0; NULL past the oldest.
const struct device_sample *device_newest(const struct device *device, size_t index);
// Drops the samples older than that.
void device_forget(struct device *device, uint64_t before_wall_ms);

// Percentages; DEVICE_UNKNOWN when a source is missing.
double device_memory_percent(const struct device_sample *sample);
double device_disk_percent(const struct device_sample *sample);

// MachineMetrics: numbers that are not known are zero, and `status` says so.
void device_write(const struct device *device, struct json_writer *writer, const char *key);
// {"cpu","memory","disk",…} as the clients of device_id read it: null where not known.
void device_write_short(const struct device *device, struct json_writer *writer, const char *key);

#endif
