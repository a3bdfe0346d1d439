// SPDX-License-Identifier: Apache-2.0
// What is pushed. Each message is printed once, and only when somebody hears it.
//
// A summary follows results by a second at most, and is told only when it differs from the last one
// that was told; its time is not part of the comparison.
#include "health/machines/devices.h"
#include "health/sockets/sockets_internal.h"

#include "base/mem.h"
#include "base/time.h"
#include "sys/clock.h"

#define MESSAGE_MAX (1024 * 1024)
#define SUMMARY_INTERVAL_NS NS_PER_S

void message_begin(struct json_writer *writer, struct buf *out, const char *type)
{
    json_writer_init(writer, out);
    jsonw_object_begin(writer, NULL);
    jsonw_text(writer, "type", type);
    jsonw_text(writer, "event", type);
}

void message_time(struct json_writer *writer, uint64_t wall_ms)
{
    char time[TIME_ISO_SIZE];
    time_to_iso(wall_ms, time);
    jsonw_text(writer, "timestamp", time);
}

void message_text(
    struct socket_watcher *watcher, const char *type, const char *message, bool with_time)
{
    struct buf out = BUF_INIT(MESSAGE_MAX);
    struct json_writer writer;
    message_begin(&writer, &out, type);
    if (message != NULL) {
        jsonw_text(&writer, "message", message);
    }
    if (with_time) {
        message_time(&writer, sys_wall_ms());
    }
    jsonw_object_end(&writer);
    if (!out.failed) {
        (void)socket_send(watcher, buf_slice(&out), false);
    }
    buf_reset(&out);
}

static void finish(struct sockets *sockets, enum audience audience, struct json_writer *writer,
    struct buf *out, bool skippable)
{
    jsonw_object_end(writer);
    if (!out->failed) {
        sockets_broadcast(sockets, audience, buf_slice(out), skippable);
    }
    buf_reset(out);
}

static void put_status(struct json_writer *writer, const char *key, unsigned status)
{
    if (status == EVENT_NO_STATUS) {
        jsonw_null(writer, key);
    } else {
        jsonw_text(writer, key, health_status_name(status));
    }
}

// ---- Changes of state

static void print_status(struct buf *out, const struct health_event *event, const char *type)
{
    struct json_writer writer;
    message_begin(&writer, out, type);
    jsonw_string(&writer, "service", event->service);
    jsonw_string(&writer, "machine", event->machine);
    put_status(&writer, "previous_status", event->previous);
    put_status(&writer, "new_status", event->status);
    jsonw_string(&writer, "message", event->message);
    message_time(&writer, event->wall_ms);
    jsonw_object_end(&writer);
}

static void tell_status(struct sockets *sockets, const struct health_event *event,
    enum audience audience, const char *type)
{
    struct buf out = BUF_INIT(MESSAGE_MAX);
    if (sockets->counts[audience] == 0) {
        return;
    }
    print_status(&out, event, type);
    if (!out.failed && audience == AUDIENCE_DIAGNOSTICS) {
        sockets_broadcast_about(sockets, audience, event->service, event->machine, buf_slice(&out));
    } else if (!out.failed) {
        sockets_broadcast(sockets, audience, buf_slice(&out), false);
    }
    buf_reset(&out);
}

// The uptime log's word for a change; NULL: it is none of its business.
static const char *uptime_word(const struct health_event *event)
{
    if (event->status == HEALTH_UNHEALTHY) {
        return "failure";
    }
    bool recovered = event->status == HEALTH_HEALTHY && event->previous == HEALTH_UNHEALTHY;
    return recovered ? "recovery" : NULL;
}

static void tell_uptime(
    struct sockets *sockets, const struct uptime_report *report, enum audience audience)
{
    struct buf out = BUF_INIT(MESSAGE_MAX);
    struct json_writer writer;
    if (sockets->counts[audience] == 0) {
        return;
    }
    // Here "event" is the payload, not the word of the third dialect.
    json_writer_init(&writer, &out);
    jsonw_object_begin(&writer, NULL);
    jsonw_text(&writer, "type", "uptime_event");
    jsonw_object_begin(&writer, "event");
    message_time(&writer, report->wall_ms);
    jsonw_text(&writer, "event_type", report->event_type);
    jsonw_string(&writer, "service", report->service);
    jsonw_string(&writer, "machine", report->machine);
    jsonw_string(&writer, "details", report->details);
    jsonw_raw(&writer, "metadata", report->metadata.len == 0 ? SLICE("{}") : report->metadata);
    jsonw_object_end(&writer);
    finish(sockets, audience, &writer, &out, false);
}

void sockets_tell_uptime(struct sockets *sockets, const struct uptime_report *report)
{
    tell_uptime(sockets, report, AUDIENCE_EVENTS);
    tell_uptime(sockets, report, AUDIENCE_UPTIME);
}

void sockets_tell_event(struct sockets *sockets, const struct health_event *event)
{
    if (event->type != EVENT_STATUS_CHANGE) {
        return;
    }
    tell_status(sockets, event, AUDIENCE_EVENTS, "health_status_change");
    tell_status(sockets, event, AUDIENCE_CLUSTER, "service_status_change");
    tell_status(sockets, event, AUDIENCE_DIAGNOSTICS, "health_status_change");
    const char *word = uptime_word(event);
    if (word != NULL) {
        sockets_tell_uptime(sockets, &(struct uptime_report){
                                         .event_type = word,
                                         .service = event->service,
                                         .machine = event->machine,
                                         .details = event->message,
                                         .metadata = SLICE_EMPTY,
                                         .wall_ms = event->wall_ms,
                                     });
    }
}

void sockets_tell_reload(struct sockets *sockets, const struct monitor_difference *difference)
{
    struct buf out = BUF_INIT(MESSAGE_MAX);
    struct json_writer writer;
    if (sockets->counts[AUDIENCE_EVENTS] == 0) {
        return;
    }
    message_begin(&writer, &out, "registry_reloaded");
    jsonw_u64(&writer, "added", difference->added);
    jsonw_u64(&writer, "removed", difference->removed);
    jsonw_u64(&writer, "changed", difference->changed);
    message_time(&writer, sys_wall_ms());
    finish(sockets, AUDIENCE_EVENTS, &writer, &out, false);
}

void sockets_tell_deployment(struct sockets *sockets, struct slice deployment_id, struct slice json)
{
    sockets_broadcast(sockets, AUDIENCE_EVENTS, json, false);
    sockets_broadcast_about(sockets, AUDIENCE_DEPLOYMENT, deployment_id, SLICE_EMPTY, json);
}

void sockets_tell_diagnosis(
    struct sockets *sockets, const char *service, const char *machine, struct slice result)
{
    struct buf out = BUF_INIT(MESSAGE_MAX);
    struct json_writer writer;
    if (sockets->counts[AUDIENCE_DIAGNOSTICS] == 0) {
        return;
    }
    message_begin(&writer, &out, "diagnostic_completed");
    jsonw_text(&writer, "service", service);
    jsonw_text(&writer, "machine", machine);
    message_time(&writer, sys_wall_ms());
    jsonw_raw(&writer, "data", result);
    jsonw_object_end(&writer);
    if (!out.failed) {
        sockets_broadcast_about(
            sockets, AUDIENCE_DIAGNOSTICS, slice_str(service), slice_str(machine), buf_slice(&out));
    }
    buf_reset(&out);
}

// ---- The summary

// Everything but type and time. statuses: as long as the registry's machines; filled.
static bool write_summary(
    struct sockets *sockets, struct json_writer *writer, enum health_status *statuses)
{
    static const char *const names[HEALTH_STATUS_COUNT] = {
        "unknown_services", "unhealthy_services", "degraded_services", "healthy_services"};
    const struct monitor *monitor = sockets->monitor;
    size_t count = monitor->registry->machine_count;
    struct rollup all;
    struct rollup *machines = mem_zalloc((count + 1) * sizeof *machines);
    if (machines == NULL) {
        return false;
    }
    enum health_status overall = monitor_roll(monitor, sys_wall_ms(), machines, &all);
    jsonw_text(writer, "overall_status", health_status_name(overall));
    jsonw_u64(writer, "overall_health_score", rollup_score(&all));
    jsonw_u64(writer, "total_services", rollup_total(&all));
    // As in the dashboard's document, where the unknown count as unhealthy.
    for (unsigned i = 0; i < HEALTH_STATUS_COUNT; i++) {
        unsigned more = i == HEALTH_UNHEALTHY ? all.counts[HEALTH_UNKNOWN] : 0;
        jsonw_u64(writer, names[i], all.counts[i] + more);
    }
    for (size_t i = 0; i < count; i++) {
        statuses[i] = monitor_rollup_status(monitor, &machines[i]);
    }
    mem_free(machines);
    return true;
}

static void tell_machine(
    struct sockets *sockets, const char *name, enum health_status before, enum health_status now)
{
    struct buf out = BUF_INIT(MESSAGE_MAX);
    struct json_writer writer;
    message_begin(&writer, &out, "pi_status_change");
    jsonw_text(&writer, "pi", name);
    jsonw_text(&writer, "machine", name);
    put_status(&writer, "previous_status", before);
    put_status(&writer, "new_status", now);
    message_time(&writer, sys_wall_ms());
    finish(sockets, AUDIENCE_CLUSTER, &writer, &out, false);
}

// Takes the statuses over, and tells those that are others than at the last tick.
static void compare_machines(struct sockets *sockets, enum health_status *statuses)
{
    struct registry *registry = sockets->monitor->registry;
    bool same = sockets->machines_of == registry && sockets->machine_statuses != NULL;
    for (size_t i = 0; same && i < registry->machine_count; i++) {
        if (statuses[i] != sockets->machine_statuses[i]) {
            tell_machine(
                sockets, registry->machines[i].name, sockets->machine_statuses[i], statuses[i]);
        }
    }
    mem_free(sockets->machine_statuses);
    sockets->machine_statuses = statuses;
    if (!same) {
        registry_ref(registry);
        registry_unref(sockets->machines_of);
        sockets->machines_of = registry;
    }
}

static void tell_summary(struct sockets *sockets, enum audience audience, const char *type)
{
    struct buf out = BUF_INIT(MESSAGE_MAX);
    struct json_writer writer;
    struct slice fields = buf_slice(&sockets->summary);
    if (sockets->counts[audience] == 0) {
        return;
    }
    message_begin(&writer, &out, type);
    message_time(&writer, sys_wall_ms());
    (void)buf_append_byte(&out, ',');
    // Without the brace in front.
    (void)buf_append_slice(&out, slice_skip(fields, 1)); // out.failed is looked at
    if (!out.failed) {
        sockets_broadcast(sockets, audience, buf_slice(&out), true);
    }
    buf_reset(&out);
}

// Prints the summary; false when it is as it was, or memory ran out.
static bool renew_summary(struct sockets *sockets)
{
    size_t count = sockets->monitor->registry->machine_count;
    struct buf out = BUF_INIT(MESSAGE_MAX);
    struct json_writer writer;
    enum health_status *statuses = mem_zalloc((count + 1) * sizeof *statuses);
    json_writer_init(&writer, &out);
    jsonw_object_begin(&writer, NULL);
    if (statuses == NULL || !write_summary(sockets, &writer, statuses)) {
        mem_free(statuses);
        buf_reset(&out);
        return false;
    }
    jsonw_object_end(&writer);
    compare_machines(sockets, statuses);
    bool same = out.failed || slice_eq(buf_slice(&out), buf_slice(&sockets->summary));
    if (same) {
        buf_reset(&out);
        return false;
    }
    buf_reset(&sockets->summary);
    sockets->summary = out;
    return true;
}

static void on_tick(struct timer *timer)
{
    struct sockets *sockets = container_of(timer, struct sockets, tick);
    sockets->told_ns = worker_now(sockets->worker);
    if (renew_summary(sockets)) {
        tell_summary(sockets, AUDIENCE_EVENTS, "health_summary");
        tell_summary(sockets, AUDIENCE_CLUSTER, "health_update");
    }
}

void sockets_tell_results(struct sockets *sockets)
{
    bool heard = sockets->counts[AUDIENCE_EVENTS] + sockets->counts[AUDIENCE_CLUSTER] > 0;
    if (heard && !sockets->stopping && !timer_armed(&sockets->tick)) {
        worker_arm(sockets->worker, &sockets->tick, sockets->told_ns + SUMMARY_INTERVAL_NS);
    }
}

void sockets_send_summary(struct socket_watcher *watcher)
{
    struct sockets *sockets = watcher->sockets;
    bool cluster = watcher->kind->audience == AUDIENCE_CLUSTER;
    struct buf out = BUF_INIT(MESSAGE_MAX);
    struct json_writer writer;
    (void)renew_summary(sockets); // the old one, then
    struct slice fields = buf_slice(&sockets->summary);
    if (fields.len == 0) {
        return;
    }
    message_begin(&writer, &out, cluster ? "health_update" : "health_summary");
    message_time(&writer, sys_wall_ms());
    (void)buf_append_byte(&out, ',');
    (void)buf_append_slice(&out, slice_skip(fields, 1));
    if (!out.failed && !socket_send(watcher, buf_slice(&out), true)) {
        watcher->missed_summary = true;
    }
    buf_reset(&out);
}

// ---- Devices

static void print_sample(struct buf *out, const struct device *device, const char *type, bool brief)
{
    struct json_writer writer;
    message_begin(&writer, out, type);
    jsonw_text(&writer, "machine", device->name);
    jsonw_text(&writer, "device_id", device->name);
    message_time(&writer, device->seen_wall_ms);
    device_write(device, &writer, "data");
    if (brief) {
        device_write_short(device, &writer, "metrics");
    } else {
        device_write(device, &writer, "metrics");
    }
    jsonw_object_end(&writer);
}

// The two messages of a sample; the second is for those that ask by device_id.
static void push_sample(struct socket_watcher *watcher, const struct device *device,
    const struct buf *whole, const struct buf *brief)
{
    struct slice name = slice_str(device->name);
    if (!subscriptions_want_machine(&watcher->subscriptions, name)) {
        return;
    }
    bool sent = socket_send(watcher, buf_slice(whole), true);
    if (sent && subscriptions_want_device(&watcher->subscriptions, name)) {
        sent = socket_send(watcher, buf_slice(brief), true);
    }
    watcher->missed_samples = watcher->missed_samples || !sent;
}

static void push_to(
    struct sockets *sockets, struct socket_watcher *only, const struct device *device)
{
    struct buf whole = BUF_INIT(MESSAGE_MAX);
    struct buf brief = BUF_INIT(MESSAGE_MAX);
    print_sample(&whole, device, "machine_metrics_update", false);
    print_sample(&brief, device, "metrics_update", true);
    bool printed = !whole.failed && !brief.failed;
    if (only != NULL && printed) {
        push_sample(only, device, &whole, &brief);
    }
    list_for_each (node, &sockets->watchers) {
        struct socket_watcher *watcher = container_of(node, struct socket_watcher, node);
        if (only == NULL && printed && watcher->kind->audience == AUDIENCE_METRICS) {
            push_sample(watcher, device, &whole, &brief);
        }
    }
    buf_reset(&whole);
    buf_reset(&brief);
}

void sockets_send_device(struct socket_watcher *watcher, const struct device *device)
{
    if (watcher->kind->audience == AUDIENCE_METRICS && device->count > 0) {
        push_to(watcher->sockets, watcher, device);
    }
}

void sockets_send_samples(struct socket_watcher *watcher)
{
    const struct devices *devices = watcher->sockets->devices;
    for (size_t i = 0; i < devices->count; i++) {
        sockets_send_device(watcher, devices->all[i]);
    }
}

static void tell_device_status(
    struct sockets *sockets, const struct device *device, enum device_status old)
{
    struct buf out = BUF_INIT(MESSAGE_MAX);
    struct json_writer writer;
    char seen[TIME_ISO_SIZE];
    const char *reason = device->status == DEVICE_OK ? "heartbeat_recovered"
                         : device->seen_wall_ms == 0 ? "no_heartbeat_data"
                                                     : "heartbeat_timeout";
    message_begin(&writer, &out, "device_status_change");
    message_time(&writer, sys_wall_ms());
    jsonw_object_begin(&writer, "data");
    jsonw_text(&writer, "hostname", device->name);
    jsonw_text(&writer, "old_status", device_presence_name(old));
    jsonw_text(&writer, "new_status", device_presence_name(device->status));
    jsonw_text(&writer, "reason", reason);
    if (device->seen_wall_ms != 0) {
        time_to_iso(device->seen_wall_ms, seen);
        jsonw_text(&writer, "last_seen", seen);
    }
    jsonw_object_end(&writer);
    finish(sockets, AUDIENCE_EVENTS, &writer, &out, false);
}

static bool hears_of(const struct socket_watcher *watcher, const struct device *device)
{
    return watcher->kind->audience == AUDIENCE_DEVICES &&
           (watcher->subscriptions.count == 0 ||
               subscriptions_want_device(&watcher->subscriptions, slice_str(device->name)));
}

static void tell_sign_of_life(struct sockets *sockets, const struct device *device)
{
    bool alive = device->status == DEVICE_OK;
    struct buf out = BUF_INIT(MESSAGE_MAX);
    struct json_writer writer;
    char seen[TIME_ISO_SIZE];
    time_to_iso(device->seen_wall_ms, seen);
    message_begin(&writer, &out, alive ? "device_heartbeat" : "device_offline");
    jsonw_text(&writer, "hostname", device->name);
    jsonw_text(&writer, "device_id", device->name);
    jsonw_text(&writer, "status", alive ? "online" : "offline");
    jsonw_text(&writer, alive ? "last_seen_at" : "last_seen", seen);
    jsonw_object_end(&writer);
    list_for_each (node, &sockets->watchers) {
        struct socket_watcher *watcher = container_of(node, struct socket_watcher, node);
        if (!out.failed && hears_of(watcher, device)) {
            (void)socket_send(watcher, buf_slice(&out), true); // the next one makes up for it
        }
    }
    buf_reset(&out);
}

void sockets_tell_registered(struct sockets *sockets, const struct device *device)
{
    struct buf out = BUF_INIT(MESSAGE_MAX);
    struct json_writer writer;
    if (sockets->stopping || sockets->counts[AUDIENCE_DEVICES] == 0) {
        return;
    }
    const char *address = device->machine->address;
    message_begin(&writer, &out, "device_registered");
    jsonw_text(&writer, "hostname", device->name);
    jsonw_text(&writer, "device_id", device->name);
    jsonw_text(&writer, "ip", address == NULL ? "" : address);
    jsonw_text(&writer, "status", device_presence_name(device->status));
    jsonw_bool(&writer, "approval_required", false);
    message_time(&writer, sys_wall_ms());
    jsonw_object_end(&writer);
    list_for_each (node, &sockets->watchers) {
        struct socket_watcher *watcher = container_of(node, struct socket_watcher, node);
        if (!out.failed && hears_of(watcher, device)) {
            (void)socket_send(watcher, buf_slice(&out), false); // a slow one is closed
        }
    }
    buf_reset(&out);
}

void sockets_tell_device(
    struct sockets *sockets, const struct device *device, enum device_status old)
{
    if (sockets->stopping) {
        return;
    }
    if (sockets->counts[AUDIENCE_METRICS] > 0 && device->status == DEVICE_OK && device->count > 0) {
        push_to(sockets, NULL, device);
    }
    if (old != device->status && sockets->counts[AUDIENCE_EVENTS] > 0) {
        tell_device_status(sockets, device, old);
    }
    if (sockets->counts[AUDIENCE_DEVICES] > 0) {
        tell_sign_of_life(sockets, device);
    }
}

enum weir_result sockets_start(struct sockets *sockets, struct worker *worker,
    const struct monitor *monitor, struct devices *devices, struct page *page)
{
    list_init(&sockets->watchers);
    timer_init(&sockets->tick, on_tick);
    buf_init(&sockets->summary, MESSAGE_MAX);
    sockets->monitor = monitor;
    sockets->devices = devices;
    sockets->page = page;
    // Twice what all may have waiting: a watcher that is refused may have a queue as well.
    enum weir_result result =
        ws_worker_init(worker, (size_t)2 * SOCKETS_MAX * (SOCKET_MESSAGE_MAX + SOCKET_QUEUE_MAX));
    sockets->worker = result == WEIR_OK ? worker : NULL;
    return result;
}
