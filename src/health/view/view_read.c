// SPDX-License-Identifier: Apache-2.0
// A view out of the dashboard document of a running monitor, of ours or of another that serves the
// same shape: what is missing is left empty, what has the wrong type counts as missing. Counts,
// machines and the overall state come from the rows, so that a filter changes them as it does
// everywhere.
#include <jansson.h>
#include <stdio.h>

#include "base/time.h"
#include "health/view/view.h"
#include "sys/clock.h"

#define ROWS_MAX 200000

static const char *text_of(struct view *view, const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text == NULL ? NULL : arena_copy(&view->arena, slice_str(text));
}

static const char *needed_text(
    struct view *view, const json_t *object, const char *key, const char *fallback)
{
    const char *text = text_of(view, object, key);
    return text == NULL ? fallback : text;
}

static double number_of(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    double number = json_number_value(value);
    return json_is_number(value) && number >= 0 ? number : VIEW_NONE;
}

static unsigned count_of(const json_t *object, const char *key)
{
    double number = number_of(object, key);
    return number < 0 ? 0 : number > 1e9 ? 1000000000 : (unsigned)number;
}

static uint64_t time_of(const json_t *object, const char *key)
{
    uint64_t wall_ms = 0;
    const char *text = json_string_value(json_object_get(object, key));
    return time_from_iso(slice_str(text), &wall_ms) == WEIR_OK ? wall_ms : 0;
}

static enum health_status status_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    for (unsigned status = 0; status < HEALTH_STATUS_COUNT; status++) {
        if (text != NULL && strcmp(text, health_status_name(status)) == 0) {
            return status;
        }
    }
    return HEALTH_UNKNOWN;
}

// The API's issues are text; how grave they are is told by the status.
static void read_issues(struct view *view, struct view_service *row, const json_t *issues)
{
    size_t index;
    json_t *issue;
    json_array_foreach(issues, index, issue)
    {
        const char *message = json_string_value(issue);
        if (message == NULL || row->issue_count == VIEW_ISSUES_MAX) {
            continue;
        }
        row->issues[row->issue_count++] = (struct view_issue){
            .type = row->status == HEALTH_UNHEALTHY  ? "error"
                    : row->status == HEALTH_DEGRADED ? "warning"
                                                     : "info",
            .message = arena_copy(&view->arena, slice_str(message)),
        };
    }
}

static void read_check(struct view *view, struct view_service *row, const json_t *object)
{
    const json_t *check = json_object_get(object, "check");
    const json_t *last = json_object_get(object, "last_result");
    row->check_type = needed_text(view, object, "check_type", "none");
    if (json_is_object(check)) {
        row->interval_s = number_of(check, "interval");
        row->timeout_s = number_of(check, "timeout");
        row->failure_threshold = count_of(check, "failure_threshold");
    }
    row->latency_ms = number_of(last, "latency_ms");
    row->message = text_of(view, last, "message");
    row->problem_type = text_of(view, last, "problem_type");
    row->code = (int)json_integer_value(json_object_get(last, "code"));
}

// What is no such text counts as missing.
static void read_recent(struct view_service *row, const char *text)
{
    if (text != NULL && strspn(text, ".x") == strlen(text)) {
        snprintf(row->recent, sizeof row->recent, "%s", text);
    }
}

static void read_service(struct view *view, struct view_service *row, const json_t *object)
{
    *row = (struct view_service){
        .service = needed_text(view, object, "service", ""),
        .machine = needed_text(view, object, "machine", REGISTRY_UNKNOWN_MACHINE),
        .status = status_of(object, "status"),
        .reason = needed_text(view, object, "state_reason", ""),
        .color = needed_text(view, object, "color", "grey"),
        .score = count_of(object, "health_score"),
        .last_checked_ms = time_of(object, "last_checked"),
        .last_pass_ms = time_of(object, "last_pass"),
        .last_failure_ms = time_of(object, "last_failure"),
        .uptime_s = number_of(object, "uptime_seconds"),
        .uptime_24h = number_of(object, "uptime_24h"),
        .response_ms = number_of(object, "response_time_ms"),
        .consecutive_failures = count_of(object, "consecutive_failures"),
        .maintenance = json_is_true(json_object_get(object, "maintenance")),
        .stale = json_is_true(json_object_get(object, "stale")),
        .disabled = json_is_true(json_object_get(object, "disabled")),
    };
    read_recent(row, json_string_value(json_object_get(object, "recent")));
    read_check(view, row, object);
    read_issues(view, row, json_object_get(object, "issues"));
}

static void read_rows(struct view *view, const json_t *services, const json_t *machines,
    const struct view_filter *filter)
{
    size_t index;
    json_t *object;
    json_array_foreach(services, index, object)
    {
        struct view_service *row = &view->services[view->service_count];
        read_service(view, row, object);
        if (view_wants(filter, slice_str(row->service), slice_str(row->machine), row->status)) {
            view->service_count++;
        }
    }
    json_array_foreach(machines, index, object)
    {
        const char *name = needed_text(view, object, "machine", "");
        if (filter->machine.len == 0 || slice_eq(filter->machine, slice_str(name))) {
            const json_t *reachable = json_object_get(object, "reachable");
            view->machines[view->machine_count++] = (struct view_machine){
                .machine = name,
                .cpu_percent = number_of(object, "cpu_usage"),
                .memory_percent = number_of(object, "memory_usage"),
                .disk_percent = number_of(object, "disk_usage"),
                .load1 = number_of(object, "load1"),
                .reachable = json_is_true(reachable)    ? VIEW_REACHABLE
                             : json_is_false(reachable) ? VIEW_UNREACHABLE
                                                        : VIEW_NOT_ASKED,
            };
        }
    }
}

static enum weir_result read_root(
    struct view *view, const json_t *root, const struct view_filter *filter)
{
    const json_t *services = json_object_get(root, "services");
    const json_t *machines = json_object_get(root, "machines");
    const json_t *registry = json_object_get(root, "registry");
    size_t service_count = json_array_size(services);
    size_t machine_count = json_array_size(machines);
    if (!json_is_array(services) || !json_is_array(machines) || service_count > ROWS_MAX ||
        machine_count > ROWS_MAX || json_object_get(root, "overall_status") == NULL) {
        return WEIR_MALFORMED;
    }
    if (!view_make_room(view, service_count, machine_count)) {
        return WEIR_MEMORY;
    }
    read_rows(view, services, machines, filter);
    view->registry_path = text_of(view, registry, "path");
    view->registry_error = text_of(view, registry, "error");
    view_sum_up(view, false);
    return WEIR_OK;
}

enum weir_result view_of_dashboard(
    struct view *view, struct slice json, const struct view_filter *filter)
{
    json_error_t error;
    *view = (struct view){.wall_ms = sys_wall_ms(), .source = "daemon"};
    json_t *root = json_loadb(json.at, json.len, JSON_REJECT_DUPLICATES, &error);
    if (root == NULL) {
        return WEIR_MALFORMED;
    }
    enum weir_result result = read_root(view, root, filter);
    json_decref(root);
    return result;
}
