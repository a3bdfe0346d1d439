// SPDX-License-Identifier: Apache-2.0
// The routes under /api/uptime (spec section 4.4): statistics, logs and timelines out of the events
// that are kept, and events that others tell.
#include <stdlib.h>

#include "base/mem.h"
#include "base/time.h"
#include "health/api/api_internal.h"
#include "health/history/uptime.h"
#include "sys/clock.h"

#define DAY_MS UINT64_C(86400000)
#define DAYS_MAX 365
#define EVENTS_SHOWN_MAX 1000

static bool is_of(const struct health_event *event, const struct target *target)
{
    return slice_eq(event->service, slice_str(target->service->name)) &&
           slice_eq(event->machine, slice_str(target->service->machine->name));
}

static void put_seconds(struct json_writer *writer, const char *key, uint64_t ms)
{
    jsonw_double(writer, key, (double)ms / 1000);
}

static void put_mean(struct json_writer *writer, const char *key, uint64_t ms, unsigned count)
{
    if (count == 0) {
        jsonw_null(writer, key);
    } else {
        jsonw_double(writer, key, (double)(ms / count) / 1000);
    }
}

static void put_current(struct json_writer *writer, const char *key, const struct uptime *uptime,
    enum presence presence, uint64_t now_ms)
{
    if (uptime->now != presence || uptime->changed_ms == 0) {
        jsonw_null(writer, key);
    } else {
        put_seconds(writer, key, now_ms - uptime->changed_ms);
    }
}

static void write_stats(struct json_writer *writer, const struct target *target,
    const struct uptime *uptime, uint64_t now_ms)
{
    uint64_t up_ms = uptime->spent_ms[PRESENCE_UP];
    uint64_t down_ms = uptime->spent_ms[PRESENCE_DOWN];
    jsonw_object_begin(writer, NULL);
    jsonw_text(writer, "service", target->service->name);
    jsonw_text(writer, "machine", target->service->machine->name);
    put_seconds(writer, "uptime_seconds", up_ms);
    put_seconds(writer, "downtime_seconds", down_ms);
    put_seconds(writer, "uptime_duration", up_ms);
    put_seconds(writer, "downtime_duration", down_ms);
    put_seconds(writer, "total_seconds", up_ms + down_ms);
    if (up_ms + down_ms == 0) {
        jsonw_null(writer, "availability_percent");
    } else {
        uint64_t hundredths = (up_ms * 10000 + (up_ms + down_ms) / 2) / (up_ms + down_ms);
        jsonw_double(writer, "availability_percent", (double)hundredths / 100);
    }
    put_mean(writer, "mtbf", up_ms, uptime->failures);
    put_mean(writer, "mttr", down_ms, uptime->recoveries);
    jsonw_u64(writer, "failure_count", uptime->failures);
    jsonw_u64(writer, "recovery_count", uptime->recoveries);
    jsonw_text(writer, "current_status", presence_name(uptime->now));
    view_write_time(writer, "last_status_change", uptime->changed_ms);
    put_current(writer, "current_uptime_seconds", uptime, PRESENCE_UP, now_ms);
    put_current(writer, "current_downtime_seconds", uptime, PRESENCE_DOWN, now_ms);
    jsonw_object_end(writer);
}

// Of `days`, or `timeRange` as clients write it; false after a 422.
static bool read_days(struct api_request *request, int64_t *ret_days)
{
    char range[16];
    char *end = NULL;
    api_text(request, "timeRange", range, sizeof range);
    int64_t fallback = 30;
    if (range[0] >= '1' && range[0] <= '9') {
        long number = strtol(range, &end, 10);
        fallback = strcmp(end, "d") == 0 ? number : strcmp(end, "h") == 0 ? (number + 23) / 24 : 30;
    }
    if (!api_number(request, "days", fallback, ret_days)) {
        return false;
    }
    if (*ret_days < 1 || *ret_days > DAYS_MAX) {
        api_answer_parameter(request, "days", "Input should be between 1 and 365");
        return false;
    }
    return true;
}

// Walks through the events once for all services.
static void measure_all(
    struct health *health, struct uptime *uptimes, uint64_t since_ms, uint64_t now_ms)
{
    struct monitor *monitor = &health->monitor;
    const struct health_event *event;
    for (size_t i = 0; i < monitor->target_count; i++) {
        uptime_begin(&uptimes[i], state_status(&monitor->targets[i]->state), since_ms, now_ms);
    }
    for (size_t i = 0; (event = event_ring_newest(&health->events, i)) != NULL; i++) {
        const struct target *target = event->service.len == 0 || event->machine.len == 0
                                          ? NULL
                                          : monitor_find(monitor, event->service, event->machine);
        if (target != NULL) {
            uptime_take(&uptimes[target->index], event);
        }
    }
}

void api_uptime_all(struct api_request *request)
{
    const struct monitor *monitor = &request->health->monitor;
    struct buf document = BUF_INIT(API_DOCUMENT_MAX);
    struct json_writer writer;
    uint64_t now_ms = sys_wall_ms();
    int64_t days;
    if (!read_days(request, &days)) {
        return;
    }
    struct uptime *uptimes = mem_zalloc((monitor->target_count + 1) * sizeof *uptimes);
    if (uptimes == NULL) {
        api_answer_error(request, 500, "Internal server error");
        return;
    }
    measure_all(request->health, uptimes, now_ms - (uint64_t)days * DAY_MS, now_ms);
    json_writer_init(&writer, &document);
    jsonw_array_begin(&writer, NULL);
    for (size_t i = 0; i < monitor->target_count; i++) {
        write_stats(&writer, monitor->targets[i], &uptimes[i], now_ms);
    }
    jsonw_array_end(&writer);
    mem_free(uptimes);
    api_answer_json(request, 200, &document);
}

void api_uptime_walk(const struct health *health, const struct target *target,
    struct uptime *uptime, uint64_t since_ms, uint64_t now_ms)
{
    const struct health_event *event;
    uptime_begin(uptime, state_status(&target->state), since_ms, now_ms);
    for (size_t i = 0; (event = event_ring_newest(&health->events, i)) != NULL; i++) {
        if (is_of(event, target)) {
            uptime_take(uptime, event);
        }
    }
}

// NULL after a 404.
static const struct target *find(struct api_request *request)
{
    const struct target *target = monitor_find(&request->health->monitor,
        slice_str(request->path.text[0]), slice_str(request->path.text[1]));
    if (target == NULL) {
        api_answer_error(request, 404, "Service not found on this machine");
    }
    return target;
}

void api_uptime_one(struct api_request *request)
{
    const struct target *target = find(request);
    struct buf document = BUF_INIT(API_DOCUMENT_MAX);
    struct json_writer writer;
    struct uptime uptime = {0};
    uint64_t now_ms = sys_wall_ms();
    int64_t days;
    if (target == NULL || !read_days(request, &days)) {
        return;
    }
    json_writer_init(&writer, &document);
    api_uptime_walk(request->health, target, &uptime, now_ms - (uint64_t)days * DAY_MS, now_ms);
    write_stats(&writer, target, &uptime, now_ms);
    api_answer_json(request, 200, &document);
}

void api_uptime_write_event(struct json_writer *writer, const struct health_event *event)
{
    jsonw_object_begin(writer, NULL);
    view_write_time(writer, "timestamp", event->wall_ms);
    jsonw_text(writer, "event_type", uptime_word(event));
    jsonw_string(writer, "service", event->service);
    jsonw_string(writer, "machine", event->machine);
    jsonw_string(writer, "details", event->message);
    jsonw_object_begin(writer, "metadata");
    jsonw_object_end(writer);
    jsonw_object_end(writer);
}

void api_uptime_events(struct api_request *request)
{
    const struct target *target = find(request);
    struct buf document = BUF_INIT(API_DOCUMENT_MAX);
    struct json_writer writer;
    int64_t limit;
    int64_t offset;
    int64_t days;
    int64_t total = 0;
    uint64_t since_ms = 0;
    char type[32];
    if (target == NULL || !api_number(request, "limit", 100, &limit) ||
        !api_number(request, "offset", 0, &offset) || !api_number(request, "days", 0, &days)) {
        return;
    }
    if (limit < 1 || limit > EVENTS_SHOWN_MAX || offset < 0) {
        api_answer_parameter(request, "limit", "Input should be between 1 and 1000");
        return;
    }
    if (days > 0 && days <= DAYS_MAX) {
        since_ms = sys_wall_ms() - (uint64_t)days * DAY_MS;
    }
    api_text(request, "eventType", type, sizeof type);
    if (type[0] == '\0') {
        api_text(request, "event_type", type, sizeof type);
    }
    json_writer_init(&writer, &document);
    jsonw_object_begin(&writer, NULL);
    jsonw_array_begin(&writer, "events");
    const struct health_event *event;
    for (size_t i = 0; (event = event_ring_newest(&request->health->events, i)) != NULL; i++) {
        if (event->wall_ms < since_ms) {
            break;
        }
        const char *word = is_of(event, target) ? uptime_word(event) : NULL;
        if (word == NULL || (type[0] != '\0' && strcmp(type, word) != 0)) {
            continue;
        }
        if (total >= offset && total - offset < limit) {
            api_uptime_write_event(&writer, event);
        }
        total++;
    }
    jsonw_array_end(&writer);
    jsonw_i64(&writer, "total", total);
    jsonw_i64(&writer, "limit", limit);
    jsonw_i64(&writer, "offset", offset);
    jsonw_bool(&writer, "hasMore", total - offset > limit);
    jsonw_object_end(&writer);
    api_answer_json(request, 200, &document);
}
