// SPDX-License-Identifier: Apache-2.0
// The routes under /api/devices, by which machines report themselves (spec section 5.4), and a look
// at this machine on demand.
#include <jansson.h>
#include <stdio.h>

#include "base/time.h"
#include "health/api/api_internal.h"
#include "sys/clock.h"

static void write_device(const struct device *device, struct json_writer *writer, const char *key)
{
    const struct machine *machine = device->machine;
    uint64_t now_ms = sys_wall_ms();
    jsonw_object_begin(writer, key);
    jsonw_text(writer, "hostname", device->name);
    jsonw_text(writer, "ip", machine->address);
    jsonw_array_begin(writer, "roles");
    for (size_t i = 0; i < machine->role_count; i++) {
        jsonw_text(writer, NULL, machine->roles[i]);
    }
    jsonw_array_end(writer);
    jsonw_text(writer, "status", device_presence_name(device->status));
    jsonw_bool(writer, "reachable", device->status == DEVICE_OK);
    view_write_time(writer, "last_seen_at", device->seen_wall_ms);
    if (device->seen_wall_ms == 0) {
        jsonw_null(writer, "age_seconds");
    } else {
        jsonw_double(writer, "age_seconds",
            now_ms > device->seen_wall_ms ? (double)(now_ms - device->seen_wall_ms) / 1000 : 0);
    }
    jsonw_text(writer, "error", device->error);
    device_write_short(device, writer, "metrics");
    jsonw_object_end(writer);
}

void api_devices(struct api_request *request)
{
    const struct devices *devices = &request->health->devices;
    struct buf document = BUF_INIT(API_DOCUMENT_MAX);
    struct json_writer writer;
    json_writer_init(&writer, &document);
    jsonw_object_begin(&writer, NULL);
    jsonw_array_begin(&writer, "devices");
    for (size_t i = 0; i < devices->count; i++) {
        write_device(devices->all[i], &writer, NULL);
    }
    jsonw_array_end(&writer);
    jsonw_u64(&writer, "total", devices->count);
    jsonw_object_end(&writer);
    api_answer_json(request, 200, &document);
}

// NULL after a 404.
static struct device *find(struct api_request *request)
{
    struct device *device =
        devices_find(&request->health->devices, slice_str(request->path.text[0]));
    if (device == NULL) {
        api_answer_error(request, 404, "Device not found");
    }
    return device;
}

void api_device(struct api_request *request)
{
    struct buf document = BUF_INIT(API_DOCUMENT_MAX);
    struct json_writer writer;
    const struct device *device = find(request);
    if (device != NULL) {
        json_writer_init(&writer, &document);
        write_device(device, &writer, NULL);
        api_answer_json(request, 200, &document);
    }
}

// ---- Heartbeats

#define NUMBER_MAX 9007199254740992.0 // 2^53

// One of two members as a number that can be; DEVICE_UNKNOWN when there is none.
static double number_of(const json_t *metrics, const char *name, const char *other)
{
    const json_t *value = json_object_get(metrics, name);
    if (value == NULL && other != NULL) {
        value = json_object_get(metrics, other);
    }
    double number = json_is_number(value) ? json_number_value(value) : DEVICE_UNKNOWN;
    return number >= 0 && number <= NUMBER_MAX ? number : DEVICE_UNKNOWN;
}

static double percent_of(const json_t *metrics, const char *name, const char *other)
{
    double percent = number_of(metrics, name, other);
    return percent > 100 ? 100 : percent;
}

static struct device_sample read_metrics(const json_t *metrics)
{
    struct device_sample sample = device_sample_empty(sys_wall_ms());
    sample.cpu_percent = percent_of(metrics, "cpu_percent", "cpu");
    sample.memory_percent = percent_of(metrics, "memory_percent", "memory");
    sample.disk_percent = percent_of(metrics, "disk_percent", "disk");
    sample.load1 = number_of(metrics, "load1", NULL);
    sample.memory_used_mb = number_of(metrics, "memory_used_mb", NULL);
    sample.memory_total_mb = number_of(metrics, "memory_total_mb", NULL);
    sample.disk_used_gb = number_of(metrics, "disk_used_gb", NULL);
    sample.disk_total_gb = number_of(metrics, "disk_total_gb", NULL);
    sample.network_rx_bytes = number_of(metrics, "network_rx_bytes", NULL);
    sample.network_tx_bytes = number_of(metrics, "network_tx_bytes", NULL);
    return sample;
}

static void answer_heartbeat(struct api_request *request, const struct device *device)
{
    struct buf document = BUF_INIT(API_DOCUMENT_MAX);
    struct json_writer writer;
    json_writer_init(&writer, &document);
    jsonw_object_begin(&writer, NULL);
    jsonw_bool(&writer, "success", true);
    jsonw_text(&writer, "hostname", device->name);
    view_write_time(&writer, "last_seen_at", device->seen_wall_ms);
    jsonw_text(&writer, "status", device_presence_name(device->status));
    jsonw_object_end(&writer);
    api_answer_json(request, 200, &document);
}

bool api_take_heartbeat(struct health *health, struct device *device, const json_t *heartbeat)
{
    const json_t *metrics = json_object_get(heartbeat, "metrics");
    if (!json_is_object(heartbeat) ||
        (metrics != NULL && !json_is_object(metrics) && !json_is_null(metrics))) {
        return false;
    }
    struct device_sample sample = read_metrics(metrics);
    devices_heartbeat(&health->devices, device, json_is_object(metrics) ? &sample : NULL);
    return true;
}

void api_device_heartbeat(struct api_request *request)
{
    struct slice body = request->http->body;
    struct device *device = find(request);
    if (device == NULL) {
        return;
    }
    json_t *root = body.len == 0 ? json_object() : json_loadb(body.at, body.len, 0, NULL);
    if (api_take_heartbeat(request->health, device, root)) {
        health_tell_heartbeat(request->health, device, body);
        answer_heartbeat(request, device);
    } else {
        api_answer_error(request, 422, "The body must be an object, and metrics one in it");
    }
    json_decref(root);
}

// ---- A look now

void api_samples_snapshot(struct api_request *request)
{
    struct devices *devices = &request->health->devices;
    struct slice body = request->http->body;
    json_t *root = json_loadb(body.at, body.len, 0, NULL);
    const char *service = json_string_value(json_object_get(root, "service"));
    const char *machine = json_string_value(json_object_get(root, "machine"));
    bool all = json_is_true(json_object_get(root, "all"));
    struct buf document = BUF_INIT(API_DOCUMENT_MAX);
    struct json_writer writer;
    bool done = false;
    if (service == NULL && machine == NULL && !all) {
        json_decref(root);
        api_answer_error(request, 400, "Name a service, a machine, or all");
        return;
    }
    for (size_t i = 0; i < devices->count && !done; i++) {
        bool wanted = all || (machine != NULL && strcmp(devices->all[i]->name, machine) == 0);
        done = wanted && devices_look_now(devices, devices->all[i]);
    }
    json_writer_init(&writer, &document);
    jsonw_object_begin(&writer, NULL);
    jsonw_string(&writer, "service", slice_str(service));
    jsonw_string(&writer, "machine", slice_str(machine));
    jsonw_bool(&writer, "all", all);
    jsonw_text(&writer, "status", done ? "completed" : "failed");
    jsonw_text(&writer, "message",
        done ? "this machine was looked at" : "only this machine can be looked at on demand");
    jsonw_object_end(&writer);
    json_decref(root);
    api_answer_json(request, 200, &document);
}
