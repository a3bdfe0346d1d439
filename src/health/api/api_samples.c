// SPDX-License-Identifier: Apache-2.0
// The routes under /api/metrics (spec section 4.4): resources of machines as they were sampled.
// There are no samples of single services; what asks for them gets its shape without numbers.
#include <stdio.h>

#include "base/time.h"
#include "health/api/api_internal.h"
#include "sys/clock.h"

#define DAY_MS UINT64_C(86400000)

static void begin(struct buf *document, struct json_writer *writer)
{
    buf_init(document, API_DOCUMENT_MAX);
    json_writer_init(writer, document);
}

static void put_now(struct json_writer *writer)
{
    view_write_time(writer, "timestamp", sys_wall_ms());
}

// ---- Machines

void api_samples_all(struct api_request *request)
{
    const struct devices *devices = &request->health->devices;
    struct buf document;
    struct json_writer writer;
    begin(&document, &writer);
    jsonw_array_begin(&writer, NULL);
    for (size_t i = 0; i < devices->count; i++) {
        device_write(devices->all[i], &writer, NULL);
    }
    jsonw_array_end(&writer);
    api_answer_json_with(
        request, 200, "Cache-Control: public, max-age=5\r\nX-Cache-TTL: 5\r\n", &document);
}

static void put_status_line(
    struct buf *document, const char *type, const char *message, size_t total)
{
    struct json_writer writer;
    json_writer_init(&writer, document);
    jsonw_object_begin(&writer, NULL);
    jsonw_text(&writer, "type", type);
    jsonw_text(&writer, "message", message);
    jsonw_u64(&writer, "total", total);
    jsonw_object_end(&writer);
    (void)buf_append_byte(document, '\n'); // document->failed is looked at
}

void api_samples_stream(struct api_request *request)
{
    const struct devices *devices = &request->health->devices;
    struct buf document = BUF_INIT(API_DOCUMENT_MAX);
    put_status_line(&document, "status", "Collecting metrics", devices->count);
    for (size_t i = 0; i < devices->count; i++) {
        struct json_writer writer;
        json_writer_init(&writer, &document);
        jsonw_object_begin(&writer, NULL);
        jsonw_text(&writer, "type", "data");
        jsonw_text(&writer, "machine", devices->all[i]->name);
        device_write(devices->all[i], &writer, "data");
        jsonw_u64(&writer, "progress", i + 1);
        jsonw_u64(&writer, "total", devices->count);
        jsonw_object_end(&writer);
        (void)buf_append_byte(&document, '\n');
    }
    put_status_line(&document, "complete", "All metrics collected", devices->count);
    if (document.failed) {
        api_answer_error(request, 500, "Internal server error");
    } else {
        api_answer_text(request, "application/x-ndjson", NULL, buf_slice(&document));
    }
    buf_reset(&document);
}

void api_samples_machine(struct api_request *request)
{
    const struct device *device =
        devices_find(&request->health->devices, slice_str(request->path.text[0]));
    struct buf document;
    struct json_writer writer;
    if (device == NULL) {
        api_answer_error(request, 404, "Machine not found");
        return;
    }
    begin(&document, &writer);
    device_write(device, &writer, NULL);
    api_answer_json_with(request, 200, "Cache-Control: public, max-age=10\r\n", &document);
}

// ---- Services

void api_samples_services(struct api_request *request)
{
    const struct registry *registry = request->health->monitor.registry;
    struct buf document;
    struct json_writer writer;
    begin(&document, &writer);
    jsonw_object_begin(&writer, NULL);
    for (size_t i = 0; i < registry->service_count; i++) {
        const struct service *service = &registry->services[i];
        jsonw_array_begin(&writer, service->name);
        jsonw_text(&writer, NULL, service->machine->name);
        jsonw_array_end(&writer);
    }
    jsonw_object_end(&writer);
    api_answer_json(request, 200, &document);
}

static bool is_one_of(const char *text, const char *const *allowed)
{
    for (; *allowed != NULL; allowed++) {
        if (strcmp(text, *allowed) == 0) {
            return true;
        }
    }
    return false;
}

// The range asked for under any of the names that clients use; false after a 400.
static bool read_range(struct api_request *request, const char *fallback, char *range, size_t size)
{
    static const char *const ranges[] = {"1h", "6h", "24h", "7d", "30d", NULL};
    api_text(request, "timeRange", range, size);
    if (range[0] == '\0') {
        api_text(request, "time_range", range, size);
    }
    if (range[0] == '\0') {
        snprintf(range, size, "%s", fallback);
    }
    if (!is_one_of(range, ranges)) {
        api_answer_error(request, 400, "timeRange must be 1h, 6h, 24h, 7d or 30d");
        return false;
    }
    return true;
}

static bool has_service(struct api_request *request)
{
    return monitor_find(&request->health->monitor, slice_str(request->path.text[0]),
               slice_str(request->path.text[1])) != NULL;
}

void api_samples_service(struct api_request *request)
{
    static const char *const numbers[] = {"avg_cpu", "avg_memory", "peak_cpu", "peak_memory"};
    char range[16];
    struct buf document;
    struct json_writer writer;
    if (!read_range(request, "1h", range, sizeof range)) {
        return;
    }
    if (!has_service(request)) {
        api_answer_error(request, 404, "Service not found on this machine");
        return;
    }
    begin(&document, &writer);
    jsonw_object_begin(&writer, NULL);
    jsonw_text(&writer, "service", request->path.text[0]);
    jsonw_text(&writer, "machine", request->path.text[1]);
    jsonw_null(&writer, "current");
    jsonw_array_begin(&writer, "history");
    jsonw_array_end(&writer);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        jsonw_u64(&writer, numbers[i], 0);
    }
    jsonw_text(&writer, "time_range", range);
    jsonw_object_end(&writer);
    api_answer_json_with(request, 200,
        "X-Workers-Status: disabled\r\nX-Warning: services are not sampled, machines are\r\n",
        &document);
}

void api_samples_history(struct api_request *request)
{
    static const char *const intervals[] = {"", "1m", "5m", "15m", "1h", NULL};
    char range[16];
    char interval[16];
    api_text(request, "interval", interval, sizeof interval);
    if (!read_range(request, "24h", range, sizeof range)) {
        return;
    }
    if (!is_one_of(interval, intervals)) {
        api_answer_error(request, 400, "interval must be 1m, 5m, 15m or 1h");
        return;
    }
    api_answer_error(request, 404, "No metrics found");
}

// ---- How it is done

static double interval_s(const struct devices *devices)
{
    return (double)devices->options.interval_ns / (double)NS_PER_S;
}

static size_t count_samples(const struct devices *devices, uint64_t *ret_oldest_ms)
{
    size_t count = 0;
    *ret_oldest_ms = 0;
    for (size_t i = 0; i < devices->count; i++) {
        const struct device *device = devices->all[i];
        const struct device_sample *oldest =
            device->count == 0 ? NULL : device_newest(device, device->count - 1);
        if (oldest != NULL && (*ret_oldest_ms == 0 || oldest->wall_ms < *ret_oldest_ms)) {
            *ret_oldest_ms = oldest->wall_ms;
        }
        count += device->count;
    }
    return count;
}

static void put_cache(struct json_writer *writer, const struct devices *devices)
{
    uint64_t oldest_ms;
    uint64_t now_ms = sys_wall_ms();
    size_t count = count_samples(devices, &oldest_ms);
    jsonw_object_begin(writer, "cache");
    jsonw_double(writer, "hit_rate", 0);
    jsonw_u64(writer, "total_entries", count);
    jsonw_u64(writer, "total_hits", 0);
    jsonw_u64(writer, "total_misses", 0);
    jsonw_u64(writer, "total_requests", 0);
    jsonw_double(writer, "ttl_seconds", interval_s(devices));
    if (oldest_ms == 0) {
        jsonw_null(writer, "oldest_entry_age_seconds");
    } else {
        jsonw_double(writer, "oldest_entry_age_seconds",
            now_ms > oldest_ms ? (double)(now_ms - oldest_ms) / 1000 : 0);
    }
    jsonw_object_end(writer);
}

static void put_queue(struct json_writer *writer, const struct devices *devices)
{
    jsonw_object_begin(writer, "queue");
    jsonw_u64(writer, "depth", devices->probe_count);
    jsonw_u64(writer, "max_depth", 1000);
    jsonw_double(writer, "utilization", (double)devices->probe_count / 1000);
    jsonw_double(writer, "processing_rate", 5.0);
    jsonw_double(writer, "avg_wait_time_ms", 0);
    jsonw_object_end(writer);
}

static void put_breakers(struct json_writer *writer, const struct devices *devices)
{
    jsonw_array_begin(writer, "circuit_breakers");
    for (size_t i = 0; i < devices->count; i++) {
        const struct device *device = devices->all[i];
        bool failed = device->status == DEVICE_ERROR || device->status == DEVICE_OFFLINE;
        jsonw_object_begin(writer, NULL);
        jsonw_text(writer, "machine", device->name);
        jsonw_text(writer, "state", "closed"); // a machine is asked again, whatever happened
        jsonw_u64(writer, "failure_count", failed);
        jsonw_u64(writer, "failure_threshold", 5);
        jsonw_null(writer, "last_failure_time");
        view_write_time(writer, "last_success_time", device->seen_wall_ms);
        jsonw_u64(writer, "recovery_timeout_seconds", 60);
        jsonw_object_end(writer);
    }
    jsonw_array_end(writer);
}

void api_samples_health(struct api_request *request)
{
    const struct devices *devices = &request->health->devices;
    size_t known = 0;
    size_t fine = 0;
    struct buf document;
    struct json_writer writer;
    for (size_t i = 0; i < devices->count; i++) {
        known += devices->all[i]->status != DEVICE_UNAVAILABLE;
        fine += devices->all[i]->status == DEVICE_OK;
    }
    begin(&document, &writer);
    jsonw_object_begin(&writer, NULL);
    jsonw_text(&writer, "status", fine == known ? "healthy" : fine > 0 ? "degraded" : "unhealthy");
    put_now(&writer);
    put_cache(&writer, devices);
    put_queue(&writer, devices);
    put_breakers(&writer, devices);
    jsonw_object_begin(&writer, "machines");
    for (size_t i = 0; i < devices->count; i++) {
        jsonw_text(&writer, devices->all[i]->name, device_status_name(devices->all[i]->status));
    }
    jsonw_object_end(&writer);
    jsonw_array_begin(&writer, "machine_details");
    for (size_t i = 0; i < devices->count; i++) {
        device_write(devices->all[i], &writer, NULL);
    }
    jsonw_array_end(&writer);
    jsonw_bool(&writer, "collector_running", true);
    jsonw_double(&writer, "collection_interval_seconds", interval_s(devices));
    jsonw_double(&writer, "response_time_ms", 0);
    jsonw_object_end(&writer);
    api_answer_json(request, 200, &document);
}

void api_samples_workers(struct api_request *request)
{
    bool remote = request->health->devices.options.remote_interval_ns > 0;
    const struct {
        const char *name;
        const char *description;
        bool on;
    } workers[] = {
        {"scheduler", "Runs the checks of services", true},
        {"metrics_collector", "Reads the resources of this machine", true},
        {"ssh_collector", "Asks other machines for theirs over ssh", remote},
        {"device_monitor", "Notes machines that fall silent", true},
    };
    struct buf document;
    struct json_writer writer;
    begin(&document, &writer);
    jsonw_object_begin(&writer, NULL);
    jsonw_bool(&writer, "enabled", true);
    jsonw_object_begin(&writer, "workers");
    for (size_t i = 0; i < sizeof workers / sizeof workers[0]; i++) {
        jsonw_object_begin(&writer, workers[i].name);
        jsonw_bool(&writer, "enabled", workers[i].on);
        jsonw_text(&writer, "status", workers[i].on ? "running" : "disabled");
        jsonw_text(&writer, "description", workers[i].description);
        jsonw_object_end(&writer);
    }
    jsonw_object_end(&writer);
    jsonw_object_end(&writer);
    api_answer_json(request, 200, &document);
}

void api_samples_collector(struct api_request *request)
{
    const struct devices *devices = &request->health->devices;
    struct buf document;
    struct json_writer writer;
    begin(&document, &writer);
    jsonw_object_begin(&writer, NULL);
    jsonw_bool(&writer, "available", true);
    jsonw_bool(&writer, "running", true);
    jsonw_double(&writer, "interval", interval_s(devices));
    jsonw_u64(&writer, "max_concurrent", 10);
    jsonw_u64(&writer, "task_timeout", DEVICE_PROBE_TIMEOUT_S);
    jsonw_object_begin(&writer, "statistics");
    jsonw_u64(&writer, "samples", devices->samples);
    jsonw_u64(&writer, "machines", devices->count);
    jsonw_object_end(&writer);
    jsonw_object_end(&writer);
    api_answer_json(request, 200, &document);
}

void api_samples_cache(struct api_request *request)
{
    const struct devices *devices = &request->health->devices;
    uint64_t oldest_ms;
    size_t count = count_samples(devices, &oldest_ms);
    struct buf document;
    struct json_writer writer;
    begin(&document, &writer);
    jsonw_object_begin(&writer, NULL);
    jsonw_u64(&writer, "cache_size", count);
    jsonw_u64(&writer, "expired_entries", 0);
    jsonw_u64(&writer, "active_entries", count);
    jsonw_double(&writer, "cache_ttl", interval_s(devices));
    jsonw_u64(&writer, "inflight_requests", devices->probe_count);
    jsonw_object_end(&writer);
    api_answer_json(request, 200, &document);
}

// ---- Changing something

static void answer_done(struct api_request *request, const char *message, double interval)
{
    struct buf document;
    struct json_writer writer;
    begin(&document, &writer);
    jsonw_object_begin(&writer, NULL);
    jsonw_bool(&writer, "success", true);
    if (interval > 0) {
        jsonw_double(&writer, "interval", interval);
    }
    jsonw_text(&writer, "message", message);
    jsonw_object_end(&writer);
    api_answer_json(request, 200, &document);
}

void api_samples_interval(struct api_request *request)
{
    int64_t seconds;
    if (!api_number(request, "interval", 0, &seconds)) {
        return;
    }
    if (seconds < 1 || seconds > DEVICES_INTERVAL_MAX_S) {
        api_answer_parameter(request, "interval", "Input should be between 1 and 300");
        return;
    }
    devices_set_interval(&request->health->devices, (uint64_t)seconds * NS_PER_S);
    answer_done(request, "the interval has changed", (double)seconds);
}

void api_samples_cleanup(struct api_request *request)
{
    int64_t days;
    if (!api_number(request, "days", 0, &days)) {
        return;
    }
    if (days < 1 || days > 365) {
        api_answer_parameter(request, "days", "Input should be between 1 and 365");
        return;
    }
    devices_forget(&request->health->devices, sys_wall_ms() - (uint64_t)days * DAY_MS);
    answer_done(request, "older samples are forgotten", 0);
}
