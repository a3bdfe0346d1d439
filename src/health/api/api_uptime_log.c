// SPDX-License-Identifier: Apache-2.0
// The uptime log: what held when, service by service, and events that others tell (spec section
// 4.4).
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/time.h"
#include "health/api/api_internal.h"
#include "sys/clock.h"

#define DAY_MS UINT64_C(86400000)
#define DAYS_MAX 90
#define STRETCHES_MAX 1000 // of a service; the oldest are left out
#define EVENTS_SHOWN_MAX 1000
#define LIST_SIZE 4096
#define DETAILS_SIZE 512

// ---- Timeline

struct wanted {
    int64_t days;
    char services[LIST_SIZE]; // with commas between; "": all. So is the next one
    char machines[LIST_SIZE];
};

static bool is_listed(const char *list, const char *name)
{
    struct slice rest = slice_str(list);
    struct slice entry;
    while (rest.len > 0 && slice_split(&rest, ',', &entry)) {
        if (slice_eq(slice_trim(entry), slice_str(name))) {
            return true;
        }
    }
    return list[0] == '\0';
}

// ["a", "b"] becomes "a,b"; a text stays as it is. False: it is neither, or does not fit.
static bool join(const json_t *value, char list[LIST_SIZE])
{
    size_t len = 0;
    size_t count = json_is_array(value) ? json_array_size(value) : value != NULL;
    list[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        const char *name =
            json_string_value(json_is_array(value) ? json_array_get(value, i) : value);
        int more = name == NULL
                       ? -1
                       : snprintf(list + len, LIST_SIZE - len, "%s%s", i > 0 ? "," : "", name);
        if (more < 0 || len + (size_t)more >= LIST_SIZE) {
            return false;
        }
        len += (size_t)more;
    }
    return true;
}

static bool read_body(struct api_request *request, struct wanted *wanted)
{
    struct slice body = request->http->body;
    json_t *root = json_loadb(body.at, body.len, 0, NULL);
    const json_t *days = json_object_get(root, "days");
    wanted->days = days == NULL ? 7 : json_integer_value(days);
    bool ok = json_is_object(root) && (days == NULL || json_is_integer(days)) &&
              join(json_object_get(root, "services"), wanted->services) &&
              join(json_object_get(root, "machines"), wanted->machines);
    json_decref(root);
    if (!ok) {
        api_answer_error(request, 422,
            "The body must be a JSON object with days, and services and machines as lists");
    }
    return ok;
}

// False after a refusal.
static bool read_wanted(struct api_request *request, struct wanted *wanted)
{
    if (slice_eq(request->http->head->method, SLICE("POST"))) {
        if (!read_body(request, wanted)) {
            return false;
        }
    } else {
        api_text(request, "services", wanted->services, sizeof wanted->services);
        api_text(request, "machines", wanted->machines, sizeof wanted->machines);
        if (!api_number(request, "days", 7, &wanted->days)) {
            return false;
        }
    }
    if (wanted->days < 1 || wanted->days > DAYS_MAX) {
        api_answer_parameter(request, "days", "Input should be between 1 and 90");
        return false;
    }
    return true;
}

struct stretches {
    struct json_writer *writer;
    size_t count;
};

static void write_stretch(void *arg, enum presence presence, uint64_t from_ms, uint64_t to_ms)
{
    struct stretches *stretches = arg;
    if (stretches->count++ >= STRETCHES_MAX) {
        return;
    }
    jsonw_object_begin(stretches->writer, NULL);
    jsonw_text(stretches->writer, "status", presence_name(presence));
    view_write_time(stretches->writer, "start", from_ms);
    view_write_time(stretches->writer, "end", to_ms);
    jsonw_double(stretches->writer, "duration_seconds", (double)(to_ms - from_ms) / 1000);
    jsonw_object_end(stretches->writer);
}

static void write_events(struct json_writer *writer, const struct health *health,
    const struct target *target, uint64_t since_ms)
{
    size_t count = 0;
    const struct health_event *event;
    jsonw_array_begin(writer, "events");
    for (size_t i = 0; (event = event_ring_newest(&health->events, i)) != NULL; i++) {
        if (event->wall_ms < since_ms || count == EVENTS_SHOWN_MAX) {
            break;
        }
        if (slice_eq(event->service, slice_str(target->service->name)) &&
            slice_eq(event->machine, slice_str(target->service->machine->name)) &&
            uptime_word(event) != NULL) {
            api_uptime_write_event(writer, event);
            count++;
        }
    }
    jsonw_array_end(writer);
}

static void write_service(struct json_writer *writer, const struct health *health,
    const struct target *target, uint64_t since_ms, uint64_t now_ms)
{
    struct stretches stretches = {.writer = writer};
    struct uptime uptime = {.stretch = write_stretch, .arg = &stretches};
    jsonw_object_begin(writer, NULL);
    jsonw_text(writer, "service", target->service->name);
    jsonw_text(writer, "machine", target->service->machine->name);
    jsonw_array_begin(writer, "periods");
    api_uptime_walk(health, target, &uptime, since_ms, now_ms);
    jsonw_array_end(writer);
    write_events(writer, health, target, since_ms);
    jsonw_object_end(writer);
}

void api_uptime_timeline(struct api_request *request)
{
    const struct monitor *monitor = &request->health->monitor;
    struct buf document = BUF_INIT(API_DOCUMENT_MAX);
    struct json_writer writer;
    struct wanted wanted;
    if (!read_wanted(request, &wanted)) {
        return;
    }
    uint64_t now_ms = sys_wall_ms();
    uint64_t since_ms = now_ms - (uint64_t)wanted.days * DAY_MS;
    json_writer_init(&writer, &document);
    jsonw_object_begin(&writer, NULL);
    view_write_time(&writer, "start_time", since_ms);
    view_write_time(&writer, "end_time", now_ms);
    jsonw_i64(&writer, "days", wanted.days);
    jsonw_array_begin(&writer, "timeline");
    for (size_t i = 0; i < monitor->target_count; i++) {
        const struct target *target = monitor->targets[i];
        if (is_listed(wanted.services, target->service->name) &&
            is_listed(wanted.machines, target->service->machine->name)) {
            write_service(&writer, request->health, target, since_ms, now_ms);
        }
    }
    jsonw_array_end(&writer);
    jsonw_object_end(&writer);
    api_answer_json(request, 200, &document);
}

// ---- Events that others tell

static void take(struct api_request *request, const json_t *event, enum event_type type,
    const struct target *target)
{
    struct health *health = request->health;
    struct buf document = BUF_INIT(API_DOCUMENT_MAX);
    struct json_writer writer;
    const char *word = json_string_value(json_object_get(event, "event_type"));
    const json_t *metadata = json_object_get(event, "metadata");
    struct slice details = slice_str(json_string_value(json_object_get(event, "details")));
    char *text = json_is_object(metadata) ? json_dumps(metadata, JSON_COMPACT) : NULL;
    uint64_t wall_ms = sys_wall_ms();
    details.len = details.len > DETAILS_SIZE ? DETAILS_SIZE : details.len;
    struct uptime_report report = {
        .event_type = word,
        .service = slice_str(target->service->name),
        .machine = slice_str(target->service->machine->name),
        .details = details,
        .metadata = slice_str(text),
        .wall_ms = wall_ms,
    };
    health_note(health, &(struct health_event){
                            .wall_ms = wall_ms,
                            .type = type,
                            .previous = EVENT_NO_STATUS,
                            .status = EVENT_NO_STATUS,
                            .service = report.service,
                            .machine = report.machine,
                            .message = details,
                        });
    sockets_tell_uptime(&health->sockets, &report);
    json_writer_init(&writer, &document);
    jsonw_object_begin(&writer, NULL);
    jsonw_bool(&writer, "success", true);
    jsonw_text(&writer, "event_type", word);
    jsonw_string(&writer, "service", report.service);
    jsonw_string(&writer, "machine", report.machine);
    view_write_time(&writer, "timestamp", wall_ms);
    jsonw_object_end(&writer);
    free(text); // jansson's
    api_answer_json(request, 200, &document);
}

void api_uptime_event(struct api_request *request)
{
    struct slice body = request->http->body;
    json_t *event = json_loadb(body.at, body.len, 0, NULL);
    const char *word = json_string_value(json_object_get(event, "event_type"));
    const char *service = json_string_value(json_object_get(event, "service"));
    const char *machine = json_string_value(json_object_get(event, "machine"));
    enum event_type type;
    if (word == NULL || service == NULL || machine == NULL || !uptime_type_of_word(word, &type)) {
        api_answer_error(request, 422,
            "The body must be a JSON object with service, machine and event_type: start, stop, "
            "failure, recovery, restart or deployment");
    } else {
        const struct target *target =
            monitor_find(&request->health->monitor, slice_str(service), slice_str(machine));
        if (target == NULL) {
            api_answer_error(request, 404, "Service not found on this machine");
        } else {
            take(request, event, type, target);
        }
    }
    json_decref(event);
}
