// SPDX-License-Identifier: Apache-2.0
// A view as JSON: the command line's documents, and the members that the API's are made of.
#include "base/time.h"
#include "health/view/view.h"

void view_write_time(struct json_writer *writer, const char *key, uint64_t wall_ms)
{
    char text[TIME_ISO_SIZE];
    if (wall_ms == 0) {
        jsonw_null(writer, key);
        return;
    }
    time_to_iso(wall_ms, text);
    jsonw_text(writer, key, text);
}

static void write_number(struct json_writer *writer, const char *key, double number, double unit)
{
    if (number < 0) {
        jsonw_null(writer, key);
    } else {
        // Enough digits for a person, and no noise of binary fractions.
        jsonw_double(writer, key, (double)(uint64_t)(number * unit + 0.5) / unit);
    }
}

static void write_text(struct json_writer *writer, const char *key, const char *text)
{
    if (text == NULL) {
        jsonw_null(writer, key);
    } else {
        jsonw_text(writer, key, text);
    }
}

// The command line's issues are objects, the API's are strings.
static void write_issues(struct json_writer *writer, const struct view_service *row, bool api)
{
    jsonw_array_begin(writer, "issues");
    for (unsigned i = 0; i < row->issue_count; i++) {
        if (api) {
            jsonw_text(writer, NULL, row->issues[i].message);
            continue;
        }
        jsonw_object_begin(writer, NULL);
        jsonw_text(writer, "type", row->issues[i].type);
        jsonw_text(writer, "message", row->issues[i].message);
        jsonw_object_end(writer);
    }
    jsonw_array_end(writer);
}

static void write_last(struct json_writer *writer, const struct view_service *row)
{
    if (row->last_checked_ms == 0) {
        jsonw_null(writer, "last_result");
        return;
    }
    jsonw_object_begin(writer, "last_result");
    jsonw_bool(writer, "ok", row->problem_type == NULL);
    write_number(writer, "latency_ms", row->latency_ms, 1000);
    jsonw_i64(writer, "code", row->code);
    write_text(writer, "problem_type", row->problem_type);
    write_text(writer, "message", row->message);
    jsonw_object_end(writer);
}

void view_write_check(struct json_writer *writer, const struct view_service *row)
{
    if (row->interval_s <= 0) {
        jsonw_null(writer, "check");
        return;
    }
    jsonw_object_begin(writer, "check");
    jsonw_text(writer, "type", row->check_type);
    jsonw_double(writer, "interval", row->interval_s);
    jsonw_double(writer, "timeout", row->timeout_s);
    jsonw_u64(writer, "failure_threshold", row->failure_threshold);
    jsonw_object_end(writer);
}

static void write_members(struct json_writer *writer, const struct view_service *row, bool api)
{
    jsonw_text(writer, "service", row->service);
    jsonw_text(writer, "machine", row->machine);
    jsonw_text(writer, "status", health_status_name(row->status));
    jsonw_u64(writer, "health_score", row->score);
    write_issues(writer, row, api);
    write_number(writer, "uptime_seconds", row->uptime_s, 1000);
    write_number(writer, "response_time_ms", row->response_ms, 1000);
    write_number(writer, "uptime_24h", row->uptime_24h, 100);
    view_write_time(writer, "last_checked", row->last_checked_ms);
    view_write_time(writer, "last_pass", row->last_pass_ms);
    view_write_time(writer, "last_failure", row->last_failure_ms);
    jsonw_u64(writer, "consecutive_failures", row->consecutive_failures);
    jsonw_text(writer, "recent", row->recent);
    jsonw_text(writer, "check_type", row->check_type);
    jsonw_text(writer, "state_reason", row->reason);
    jsonw_text(writer, "color", row->color);
    jsonw_bool(writer, "maintenance", row->maintenance);
    write_text(writer, "maintenance_reason", row->maintenance ? row->maintenance_reason : NULL);
    if (row->checked_by != NULL) {
        write_text(writer, "checked_by", row->checked_by[0] == '\0' ? NULL : row->checked_by);
    }
    jsonw_bool(writer, "stale", row->stale);
    jsonw_bool(writer, "disabled", row->disabled);
    view_write_check(writer, row);
    write_last(writer, row);
}

static void write_service(struct json_writer *writer, const struct view_service *row, bool api)
{
    jsonw_object_begin(writer, NULL);
    write_members(writer, row, api);
    jsonw_object_end(writer);
}

void view_write_service_json(const struct view_service *service, struct buf *out)
{
    struct json_writer writer;
    json_writer_init(&writer, out);
    write_service(&writer, service, false);
}

void view_write_service_members(const struct view_service *service, struct json_writer *writer)
{
    write_members(writer, service, true);
}

void view_write_services(const struct view *view, struct json_writer *writer, const char *key)
{
    jsonw_array_begin(writer, key);
    for (size_t i = 0; i < view->service_count; i++) {
        write_service(writer, &view->services[i], true);
    }
    jsonw_array_end(writer);
}

// Two decimals are more than anybody reads.
static void write_known(struct json_writer *writer, const char *key, double number)
{
    if (number < 0) {
        jsonw_null(writer, key);
    } else {
        jsonw_double(writer, key, (double)(int64_t)(number * 100 + 0.5) / 100);
    }
}

static void write_usage(struct json_writer *writer, const struct view_machine *machine)
{
    write_known(writer, "cpu_usage", machine->cpu_percent);
    write_known(writer, "memory_usage", machine->memory_percent);
    write_known(writer, "disk_usage", machine->disk_percent);
}

void view_write_machine(const struct view_machine *machine, struct json_writer *writer)
{
    unsigned counted = machine->counts[HEALTH_UNHEALTHY] + machine->counts[HEALTH_UNKNOWN];
    jsonw_object_begin(writer, NULL);
    jsonw_text(writer, "machine", machine->machine);
    jsonw_text(writer, "status", health_status_name(machine->status));
    jsonw_u64(writer, "services_count", machine->services_count);
    jsonw_u64(writer, "healthy_services", machine->counts[HEALTH_HEALTHY]);
    jsonw_u64(writer, "unhealthy_services", counted); // clients count unknown ones here
    jsonw_u64(writer, "degraded_services", machine->counts[HEALTH_DEGRADED]);
    jsonw_u64(writer, "unknown_services", machine->counts[HEALTH_UNKNOWN]);
    write_usage(writer, machine);
    write_known(writer, "load1", machine->load1);
    if (machine->reachable == VIEW_NOT_ASKED) {
        jsonw_null(writer, "reachable");
    } else {
        jsonw_bool(writer, "reachable", machine->reachable == VIEW_REACHABLE);
    }
    view_write_time(writer, "last_checked", machine->last_checked_ms);
    jsonw_object_end(writer);
}

static void write_brief_machine(struct json_writer *writer, const struct view_machine *machine)
{
    jsonw_object_begin(writer, NULL);
    jsonw_text(writer, "machine", machine->machine);
    jsonw_text(writer, "status", health_status_name(machine->status));
    write_usage(writer, machine);
    jsonw_u64(writer, "services_count", machine->services_count);
    jsonw_object_end(writer);
}

void view_write_json(const struct view *view, struct buf *out)
{
    struct json_writer writer;
    json_writer_init(&writer, out);
    jsonw_object_begin(&writer, NULL);
    view_write_time(&writer, "timestamp", view->wall_ms);
    jsonw_text(&writer, "overall_status", health_status_name(view->overall));
    jsonw_u64(&writer, "overall_health_score", view->score);
    jsonw_u64(&writer, "total_services", view->service_count);
    jsonw_u64(&writer, "healthy", view->counts[HEALTH_HEALTHY]);
    jsonw_u64(&writer, "degraded", view->counts[HEALTH_DEGRADED]);
    jsonw_u64(&writer, "unhealthy", view->counts[HEALTH_UNHEALTHY]);
    jsonw_u64(&writer, "unknown", view->counts[HEALTH_UNKNOWN]);
    jsonw_text(&writer, "source", view->source);
    jsonw_array_begin(&writer, "services");
    for (size_t i = 0; i < view->service_count; i++) {
        write_service(&writer, &view->services[i], false);
    }
    jsonw_array_end(&writer);
    jsonw_array_begin(&writer, "machines");
    for (size_t i = 0; i < view->machine_count; i++) {
        write_brief_machine(&writer, &view->machines[i]);
    }
    jsonw_array_end(&writer);
    jsonw_object_end(&writer);
}
