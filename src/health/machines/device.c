// SPDX-License-Identifier: Apache-2.0
#include "health/machines/device.h"

#include "base/mem.h"
#include "base/time.h"

#define SIZE_FIRST 32

const char *device_status_name(enum device_status status)
{
    static const char *const names[DEVICE_STATUS_COUNT] = {
        [DEVICE_UNAVAILABLE] = "unavailable",
        [DEVICE_OK] = "ok",
        [DEVICE_ERROR] = "error",
        [DEVICE_OFFLINE] = "offline",
    };
    return names[status];
}

const char *device_presence_name(enum device_status status)
{
    return status == DEVICE_OK ? "online" : status == DEVICE_UNAVAILABLE ? "unknown" : "offline";
}

struct device *device_new(struct slice name)
{
    struct device *device = mem_zalloc(sizeof *device);
    if (device != NULL) {
        device->name = mem_copy(name.at, name.len);
    }
    if (device != NULL && device->name == NULL) {
        device_free(device);
        return NULL;
    }
    return device;
}

void device_free(struct device *device)
{
    if (device != NULL) {
        mem_free(device->name);
        mem_free(device->samples);
        mem_free(device);
    }
}

// A ring that is full only grows while it has not turned yet: its parts are in order then.
static void grow(struct device *device)
{
    size_t size = device->size == 0 ? SIZE_FIRST : 2 * device->size;
    size = size > DEVICE_SAMPLES_MAX ? DEVICE_SAMPLES_MAX : size;
    struct device_sample *samples =
        size == device->size ? NULL : mem_realloc(device->samples, size * sizeof *samples);
    if (samples != NULL) {
        device->samples = samples;
        device->size = size;
        device->next = device->count;
    }
}

void device_add(struct device *device, const struct device_sample *sample)
{
    if (device->count == device->size && (device->size == 0 || device->next % device->size == 0)) {
        grow(device);
    }
    if (device->size == 0) {
        return;
    }
    device->next %= device->size;
    device->samples[device->next++] = *sample;
    device->count += device->count < device->size;
}

const struct device_sample *device_newest(const struct device *device, size_t index)
{
    if (index >= device->count) {
        return NULL;
    }
    return &device->samples[(device->next + device->size - 1 - index) % device->size];
}

void device_forget(struct device *device, uint64_t before_wall_ms)
{
    // The oldest stand behind the newer ones, so that counting less forgets them.
    while (
        device->count > 0 && device_newest(device, device->count - 1)->wall_ms < before_wall_ms) {
        device->count--;
    }
}

static double percent_of(double part, double whole, double told)
{
    return part < 0 || whole <= 0 ? told : 100.0 * part / whole;
}

double device_memory_percent(const struct device_sample *sample)
{
    return percent_of(sample->memory_used_mb, sample->memory_total_mb, sample->memory_percent);
}

double device_disk_percent(const struct device_sample *sample)
{
    return percent_of(sample->disk_used_gb, sample->disk_total_gb, sample->disk_percent);
}

// ---- Writing

// Two decimals are more than anybody reads.
static double rounded(double number)
{
    return (double)(int64_t)(number * 100 + 0.5) / 100;
}

static void put_number(struct json_writer *writer, const char *key, double number)
{
    jsonw_double(writer, key, number < 0 ? 0 : rounded(number));
}

static void put_known(struct json_writer *writer, const char *key, double number)
{
    if (number < 0) {
        jsonw_null(writer, key);
    } else {
        jsonw_double(writer, key, rounded(number));
    }
}

static struct device_sample newest_of(const struct device *device)
{
    const struct device_sample *sample = device_newest(device, 0);
    return sample == NULL ? device_sample_empty(device->seen_wall_ms) : *sample;
}

static void put_time(struct json_writer *writer, const char *key, uint64_t wall_ms)
{
    char text[TIME_ISO_SIZE];
    if (wall_ms == 0) {
        jsonw_null(writer, key);
        return;
    }
    time_to_iso(wall_ms, text);
    jsonw_text(writer, key, text);
}

void device_write(const struct device *device, struct json_writer *writer, const char *key)
{
    struct device_sample sample = newest_of(device);
    jsonw_object_begin(writer, key);
    jsonw_text(writer, "machine", device->name);
    put_number(writer, "cpu_percent", sample.cpu_percent);
    put_number(writer, "memory_used_mb", sample.memory_used_mb);
    put_number(writer, "memory_total_mb", sample.memory_total_mb);
    put_number(writer, "memory_percent", device_memory_percent(&sample));
    put_number(writer, "disk_used_gb", sample.disk_used_gb);
    put_number(writer, "disk_total_gb", sample.disk_total_gb);
    put_number(writer, "disk_percent", device_disk_percent(&sample));
    put_number(writer, "network_rx_bytes", sample.network_rx_bytes);
    put_number(writer, "network_tx_bytes", sample.network_tx_bytes);
    put_known(writer, "load1", sample.load1);
    jsonw_array_begin(writer, "services");
    jsonw_array_end(writer);
    put_time(writer, "timestamp", sample.wall_ms);
    jsonw_text(writer, "status", device_status_name(device->status));
    jsonw_bool(writer, "reachable", device->status == DEVICE_OK);
    jsonw_text(writer, "error", device->error);
    jsonw_object_end(writer);
}

void device_write_short(const struct device *device, struct json_writer *writer, const char *key)
{
    struct device_sample sample = newest_of(device);
    double memory = device_memory_percent(&sample);
    double disk = device_disk_percent(&sample);
    jsonw_object_begin(writer, key);
    put_known(writer, "cpu", sample.cpu_percent);
    put_known(writer, "memory", memory);
    put_known(writer, "disk", disk);
    put_known(writer, "cpu_percent", sample.cpu_percent);
    put_known(writer, "memory_percent", memory);
    put_known(writer, "disk_percent", disk);
    put_known(writer, "memory_used_mb", sample.memory_used_mb);
    put_known(writer, "memory_total_mb", sample.memory_total_mb);
    put_known(writer, "disk_used_gb", sample.disk_used_gb);
    put_known(writer, "disk_total_gb", sample.disk_total_gb);
    put_known(writer, "network_rx_bytes", sample.network_rx_bytes);
    put_known(writer, "network_tx_bytes", sample.network_tx_bytes);
    put_known(writer, "load1", sample.load1);
    jsonw_object_end(writer);
}
