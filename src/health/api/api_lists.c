// SPDX-License-Identifier: Apache-2.0
// Services, machines, problems and events in the shapes of spec section 4.3.
#include <stdio.h>

#include "base/time.h"
#include "health/api/api_internal.h"
#include "sys/clock.h"

#define RESULTS_SHOWN 100
#define MS_PER_HOUR UINT64_C(3600000)
#define TIMELINE_HOURS_MAX 87600

// ---- Problems

static bool is_affected(const struct target *target, unsigned outcome)
{
    return (target->outcomes & 1u << outcome) != 0;
}

static void write_problem(
    const struct monitor *monitor, struct json_writer *writer, unsigned outcome)
{
    bool grave = false;
    jsonw_object_begin(writer, NULL);
    jsonw_text(writer, "problem_type", check_outcome_label(outcome));
    jsonw_u64(writer, "count", monitor->outcomes[outcome].count);
    view_write_time(writer, "last_seen", monitor->outcomes[outcome].last_wall_ms);
    jsonw_array_begin(writer, "services_affected");
    for (size_t i = 0; i < monitor->target_count; i++) {
        const struct target *target = monitor->targets[i];
        if (is_affected(target, outcome)) {
            jsonw_text(writer, NULL, target->service->name);
            grave = grave || state_status(&target->state) == HEALTH_UNHEALTHY;
        }
    }
    jsonw_array_end(writer);
    jsonw_text(writer, "severity", grave ? "high" : "medium");
    jsonw_object_end(writer);
}

static void write_old_problem(struct json_writer *writer, const struct old_problem *problem)
{
    jsonw_object_begin(writer, NULL);
    jsonw_text(writer, "problem_type", problem->type);
    jsonw_u64(writer, "count", problem->count);
    view_write_time(writer, "last_seen", problem->last_wall_ms);
    jsonw_array_begin(writer, "services_affected");
    for (size_t i = 0; i < problem->service_count; i++) {
        jsonw_text(writer, NULL, problem->services[i]);
    }
    jsonw_array_end(writer);
    jsonw_text(writer, "severity", old_severity_name(problem->severity));
    jsonw_object_end(writer);
}

// Of this process's checks first by their outcomes, then those that were imported.
static uint64_t count_of(const struct health *health, size_t index)
{
    return index < CHECK_OUTCOME_COUNT ? health->monitor.outcomes[index].count
                                       : health->old.problems[index - CHECK_OUTCOME_COUNT].count;
}

void api_write_problems(
    const struct health *health, struct json_writer *writer, const char *key, size_t max)
{
    bool written[CHECK_OUTCOME_COUNT + OLD_PROBLEMS_MAX] = {[OUTCOME_PASS] = true};
    size_t count = CHECK_OUTCOME_COUNT + health->old.problem_count;
    jsonw_array_begin(writer, key);
    for (size_t n = 0; n < max; n++) {
        size_t most = count;
        for (size_t i = 0; i < count; i++) {
            uint64_t times = written[i] ? 0 : count_of(health, i);
            if (times > 0 && (most == count || times > count_of(health, most))) {
                most = i;
            }
        }
        if (most == count) {
            break;
        }
        written[most] = true;
        if (most < CHECK_OUTCOME_COUNT) {
            write_problem(&health->monitor, writer, (unsigned)most);
        } else {
            write_old_problem(writer, &health->old.problems[most - CHECK_OUTCOME_COUNT]);
        }
    }
    jsonw_array_end(writer);
}

void api_problems(struct api_request *request)
{
    struct buf document = BUF_INIT(API_DOCUMENT_MAX);
    struct json_writer writer;
    json_writer_init(&writer, &document);
    api_write_problems(request->health, &writer, NULL, CHECK_OUTCOME_COUNT + OLD_PROBLEMS_MAX);
    api_answer_json(request, 200, &document);
}

// ---- Services

bool api_open_view(struct api_request *request, const struct view_filter *filter, struct view *view)
{
    if (view_of_monitor(view, &request->health->monitor, filter) == WEIR_OK) {
        devices_fill_view(&request->health->devices, view);
        history_fill_view(&request->health->history, view);
        return true;
    }
    view_fini(view);
    api_answer_error(request, 500, "Internal server error");
    return false;
}

void api_all_services(struct api_request *request)
{
    static const struct view_filter all = {0};
    struct buf document = BUF_INIT(API_DOCUMENT_MAX);
    struct json_writer writer;
    struct view view;
    if (!api_open_view(request, &all, &view)) {
        return;
    }
    json_writer_init(&writer, &document);
    view_write_services(&view, &writer, NULL);
    view_fini(&view);
    api_answer_json(request, 200, &document);
}

// Opens the view of one service; false after a refusal.
static bool open_service(struct api_request *request, struct slice machine, struct view *view)
{
    struct view_filter filter = {.service = slice_str(request->path.text[0]), .machine = machine};
    if (!api_open_view(request, &filter, view)) {
        return false;
    }
    if (view->service_count > 0) {
        return true;
    }
    char message[API_PART_SIZE + 32];
    snprintf(message, sizeof message, "Service '%s' not found", request->path.text[0]);
    view_fini(view);
    api_answer_error(request, 404, message);
    return false;
}

void api_service(struct api_request *request)
{
    char machine[API_PART_SIZE];
    struct buf document = BUF_INIT(API_DOCUMENT_MAX);
    struct json_writer writer;
    struct view view;
    api_text(request, "machine", machine, sizeof machine);
    if (!open_service(request, slice_str(machine), &view)) {
        return;
    }
    const struct service *service = view.services[0].target->service;
    json_writer_init(&writer, &document);
    jsonw_object_begin(&writer, NULL);
    view_write_service_members(&view.services[0], &writer);
    jsonw_array_begin(&writer, "dependencies");
    for (size_t i = 0; i < service->dependency_count; i++) {
        jsonw_text(&writer, NULL, service->dependencies[i]);
    }
    jsonw_array_end(&writer);
    if (service->description == NULL) {
        jsonw_null(&writer, "description");
    } else {
        jsonw_text(&writer, "description", service->description);
    }
    api_write_results(request->health, view.services[0].target, &writer, "results", RESULTS_SHOWN);
    jsonw_object_end(&writer);
    view_fini(&view);
    api_answer_json(request, 200, &document);
}

// A pair that is not known is no 404 here.
void api_service_at(struct api_request *request)
{
    struct view_filter filter = {
        .service = slice_str(request->path.text[0]), .machine = slice_str(request->path.text[1])};
    struct buf document = BUF_INIT(API_DOCUMENT_MAX);
    struct json_writer writer;
    struct view view;
    if (!api_open_view(request, &filter, &view)) {
        return;
    }
    json_writer_init(&writer, &document);
    jsonw_object_begin(&writer, NULL);
    if (view.service_count > 0) {
        view_write_service_members(&view.services[0], &writer);
    } else {
        jsonw_text(&writer, "service", request->path.text[0]);
        jsonw_text(&writer, "machine", request->path.text[1]);
        jsonw_text(&writer, "status", "unknown");
        jsonw_u64(&writer, "health_score", 0);
        jsonw_array_begin(&writer, "issues");
        jsonw_text(&writer, NULL, "no such service on this machine");
        jsonw_array_end(&writer);
        view_write_time(&writer, "last_checked", sys_wall_ms());
        jsonw_null(&writer, "uptime_seconds");
        jsonw_null(&writer, "response_time_ms");
    }
    jsonw_object_end(&writer);
    view_fini(&view);
    api_answer_json(request, 200, &document);
}

// What the cards of existing dashboards read.
void api_service_card(struct api_request *request)
{
    struct buf document = BUF_INIT(API_DOCUMENT_MAX);
    struct json_writer writer;
    struct view view;
    if (!open_service(request, SLICE_EMPTY, &view)) {
        return;
    }
    const struct view_service *row = &view.services[0];
    bool healthy = row->status == HEALTH_HEALTHY;
    json_writer_init(&writer, &document);
    jsonw_object_begin(&writer, NULL);
    view_write_service_members(row, &writer);
    jsonw_bool(&writer, "healthy", healthy);
    jsonw_text(&writer, "output", row->message == NULL ? "" : row->message);
    jsonw_text(&writer, "trend", row->consecutive_failures > 0 ? "degrading" : "improving");
    jsonw_array_begin(&writer, "problems");
    if (row->problem_type != NULL) {
        jsonw_object_begin(&writer, NULL);
        jsonw_text(&writer, "name", row->problem_type);
        jsonw_text(&writer, "description", row->message);
        jsonw_object_end(&writer);
    }
    jsonw_array_end(&writer);
    jsonw_array_begin(&writer, "observations");
    if (row->message != NULL) {
        jsonw_object_begin(&writer, NULL);
        jsonw_text(&writer, "type", row->problem_type == NULL ? "success" : "warning");
        jsonw_text(&writer, "name", row->check_type);
        jsonw_text(&writer, "message", row->message);
        jsonw_object_end(&writer);
    }
    jsonw_array_end(&writer);
    jsonw_object_end(&writer);
    view_fini(&view);
    api_answer_json(request, 200, &document);
}

void api_machine(struct api_request *request)
{
    struct view_filter filter = {.machine = slice_str(request->path.text[0])};
    struct buf document = BUF_INIT(API_DOCUMENT_MAX);
    struct json_writer writer;
    struct view view;
    if (!api_open_view(request, &filter, &view)) {
        return;
    }
    if (view.machine_count == 0) {
        view_fini(&view);
        api_answer_error(request, 404, "Machine not found");
        return;
    }
    json_writer_init(&writer, &document);
    jsonw_object_begin(&writer, NULL);
    jsonw_key(&writer, SLICE("machine"));
    view_write_machine(&view.machines[0], &writer);
    view_write_services(&view, &writer, "services");
    jsonw_object_end(&writer);
    view_fini(&view);
    api_answer_json(request, 200, &document);
}

// ---- The other roll-up (spec section 3.3)

static enum place_status place_of(const struct view_service *row)
{
    static const enum place_status places[HEALTH_STATUS_COUNT] = {
        [HEALTH_UNKNOWN] = PLACE_UNKNOWN,
        [HEALTH_UNHEALTHY] = PLACE_DOWN,
        [HEALTH_DEGRADED] = PLACE_DEGRADED,
        [HEALTH_HEALTHY] = PLACE_HEALTHY,
    };
    return row->disabled || row->maintenance ? PLACE_SKIPPED : places[row->status];
}

static void write_place(
    const struct view *view, const struct view_machine *machine, struct json_writer *writer)
{
    unsigned counts[PLACE_STATUS_COUNT] = {0};
    jsonw_object_begin(writer, NULL);
    jsonw_text(writer, "pi", machine->machine);
    jsonw_array_begin(writer, "services");
    for (size_t i = 0; i < view->service_count; i++) {
        if (strcmp(view->services[i].machine, machine->machine) == 0) {
            counts[place_of(&view->services[i])]++;
            jsonw_text(writer, NULL, view->services[i].service);
        }
    }
    jsonw_array_end(writer);
    jsonw_text(writer, "status", place_status_name(rollup_place(counts)));
    view_write_time(writer, "last_checked", machine->last_checked_ms);
    jsonw_object_end(writer);
}

void api_cluster(struct api_request *request)
{
    static const struct view_filter all = {0};
    unsigned counts[PLACE_STATUS_COUNT] = {0};
    struct buf document = BUF_INIT(API_DOCUMENT_MAX);
    struct json_writer writer;
    struct view view;
    if (!api_open_view(request, &all, &view)) {
        return;
    }
    for (size_t i = 0; i < view.service_count; i++) {
        counts[place_of(&view.services[i])]++;
    }
    json_writer_init(&writer, &document);
    jsonw_object_begin(&writer, NULL);
    jsonw_text(&writer, "overall_status", place_status_name(rollup_places(counts)));
    jsonw_array_begin(&writer, "pis");
    for (size_t i = 0; i < view.machine_count; i++) {
        write_place(&view, &view.machines[i], &writer);
    }
    jsonw_array_end(&writer);
    view_write_time(&writer, "timestamp", view.wall_ms);
    jsonw_object_end(&writer);
    view_fini(&view);
    api_answer_json(request, 200, &document);
}

// ---- Events

static void write_status(struct json_writer *writer, const char *key, unsigned status)
{
    if (status == EVENT_NO_STATUS) {
        jsonw_null(writer, key);
    } else {
        jsonw_text(writer, key, health_status_name(status));
    }
}

static void write_event(struct json_writer *writer, const struct health_event *event)
{
    char id[32];
    snprintf(id, sizeof id, "evt-%06llu", (unsigned long long)event->id);
    jsonw_object_begin(writer, NULL);
    jsonw_text(writer, "id", id);
    jsonw_text(writer, "event_type", event_type_name(event->type));
    jsonw_string(writer, "service", event->service);
    jsonw_string(writer, "machine", event->machine);
    view_write_time(writer, "timestamp", event->wall_ms);
    write_status(writer, "previous_status", event->previous);
    write_status(writer, "new_status", event->status);
    jsonw_string(writer, "message", event->message);
    jsonw_object_begin(writer, "details");
    jsonw_object_end(writer);
    jsonw_object_end(writer);
}

struct timeline_filter {
    char service[API_PART_SIZE];
    char machine[API_PART_SIZE];
    char type[64];
    uint64_t since_ms;
    uint64_t limit;
};

static bool wants(const struct timeline_filter *filter, const struct health_event *event)
{
    return (filter->service[0] == '\0' || slice_eq(event->service, slice_str(filter->service))) &&
           (filter->machine[0] == '\0' || slice_eq(event->machine, slice_str(filter->machine))) &&
           (filter->type[0] == '\0' || strcmp(event_type_name(event->type), filter->type) == 0);
}

void api_timeline(struct api_request *request)
{
    struct timeline_filter filter;
    struct buf document = BUF_INIT(API_DOCUMENT_MAX);
    struct json_writer writer;
    uint64_t now_ms = sys_wall_ms();
    uint64_t count = 0;
    int64_t hours;
    int64_t limit;
    if (!api_number(request, "hours", 24, &hours) || !api_number(request, "limit", 1000, &limit)) {
        return;
    }
    hours = hours < 0 ? 0 : hours > TIMELINE_HOURS_MAX ? TIMELINE_HOURS_MAX : hours;
    filter.since_ms = now_ms - (uint64_t)hours * MS_PER_HOUR;
    filter.limit = limit < 0 ? 0 : (uint64_t)limit;
    api_text(request, "service", filter.service, sizeof filter.service);
    api_text(request, "machine", filter.machine, sizeof filter.machine);
    api_text(request, "type", filter.type, sizeof filter.type);
    json_writer_init(&writer, &document);
    jsonw_object_begin(&writer, NULL);
    jsonw_array_begin(&writer, "events");
    for (size_t i = 0; count < filter.limit; i++) {
        const struct health_event *event = event_ring_newest(&request->health->events, i);
        if (event == NULL || event->wall_ms < filter.since_ms) {
            break;
        }
        if (wants(&filter, event)) {
            write_event(&writer, event);
            count++;
        }
    }
    jsonw_array_end(&writer);
    jsonw_u64(&writer, "total_events", count);
    view_write_time(&writer, "start_time", filter.since_ms);
    view_write_time(&writer, "end_time", now_ms);
    jsonw_object_end(&writer);
    api_answer_json(request, 200, &document);
}
