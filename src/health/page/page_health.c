// SPDX-License-Identifier: Apache-2.0
// The monitor's own rows. What every check changes (times, latencies) is a table of its own, so
// that a service whose check passes as before costs a watcher some sixty bytes.
#include <stdio.h>

#include "base/mem.h"
#include "health/api/api_internal.h"
#include "health/health.h"
#include "health/page/page_row.h"
#include "sys/clock.h"

#define EVENTS_SHOWN 200

// ---- Services

static void set_service(struct page *page, struct slice key, const struct view_service *service)
{
    struct page_print row;
    page_row_begin(&row);
    jsonw_text(&row.json, "service", service->service);
    jsonw_text(&row.json, "machine", service->machine);
    jsonw_text(&row.json, "status", health_status_name(service->status));
    jsonw_u64(&row.json, "health_score", service->score);
    jsonw_array_begin(&row.json, "issues");
    for (unsigned i = 0; i < service->issue_count; i++) {
        page_row_text(&row, NULL, service->issues[i].message);
    }
    jsonw_array_end(&row.json);
    jsonw_u64(&row.json, "consecutive_failures", service->consecutive_failures);
    jsonw_text(&row.json, "check_type", service->check_type);
    jsonw_text(&row.json, "state_reason", service->reason);
    jsonw_bool(&row.json, "maintenance", service->maintenance);
    page_row_text(
        &row, "maintenance_reason", service->maintenance ? service->maintenance_reason : NULL);
    page_row_text(&row, "checked_by", service->checked_by);
    jsonw_bool(&row.json, "stale", service->stale);
    jsonw_bool(&row.json, "disabled", service->disabled);
    view_write_check(&row.json, service);
    page_row_end(page, PAGE_SERVICES, key, &row);
}

static void set_result(struct page *page, struct slice key, const struct view_service *service)
{
    struct page_print row;
    page_row_begin(&row);
    view_write_time(&row.json, "last_checked", service->last_checked_ms);
    page_row_number(&row, "latency_ms", service->latency_ms, 10);
    page_row_number(&row, "response_time_ms", service->response_ms, 10);
    page_row_number(&row, "uptime_24h", service->uptime_24h, 100);
    page_row_end(page, PAGE_RESULTS, key, &row);
}

static void set_both(struct page *page, const struct view_service *service)
{
    char text[PAGE_KEY_MAX + 1];
    int len = snprintf(text, sizeof text, "%s@%s", service->service, service->machine);
    struct slice key = slice_of(text, (size_t)len);
    if (key.len >= sizeof text) {
        page->tables.left_out++;
        return;
    }
    set_service(page, key, service);
    set_result(page, key, service);
}

void page_health_target(struct page *page, const struct target *target)
{
    struct view view;
    if (view_of_target(&view, target) == WEIR_OK) {
        history_fill_view(&page->health->history, &view);
        set_both(page, &view.services[0]);
    }
    view_fini(&view);
}

void page_health_all(struct page *page)
{
    static const struct view_filter all = {0};
    const struct health *health = page->health;
    struct view view;
    if (view_of_monitor(&view, &health->monitor, &all) == WEIR_OK) {
        history_fill_view(&health->history, &view);
        page_renew_begin(&page->tables, PAGE_SERVICES);
        page_renew_begin(&page->tables, PAGE_RESULTS);
        for (size_t i = 0; i < view.service_count; i++) {
            set_both(page, &view.services[i]);
        }
        page_renew_end(&page->tables, PAGE_SERVICES);
        page_renew_end(&page->tables, PAGE_RESULTS);
    }
    view_fini(&view);
}

// ---- Summary and machines

static void set_machine(struct page *page, const struct view_machine *machine,
    const struct rollup *rollup, size_t place)
{
    struct page_print row;
    page_row_begin(&row);
    jsonw_text(&row.json, "machine", machine->machine);
    jsonw_u64(&row.json, "place", place);
    jsonw_text(&row.json, "status",
        health_status_name(monitor_rollup_status(&page->health->monitor, rollup)));
    jsonw_u64(&row.json, "services_count", machine->services_count);
    jsonw_u64(&row.json, "healthy_services", rollup->counts[HEALTH_HEALTHY]);
    page_row_number(&row, "cpu_usage", machine->cpu_percent, 1);
    page_row_number(&row, "memory_usage", machine->memory_percent, 1);
    page_row_number(&row, "disk_usage", machine->disk_percent, 1);
    if (machine->reachable == VIEW_NOT_ASKED) {
        jsonw_null(&row.json, "reachable");
    } else {
        jsonw_bool(&row.json, "reachable", machine->reachable == VIEW_REACHABLE);
    }
    page_row_end(page, PAGE_MACHINES, slice_str(machine->machine), &row);
}

static void set_roles(struct page *page, const struct machine *machine)
{
    struct buf out = BUF_INIT(PAGE_ROW_MAX);
    struct json_writer writer;
    json_writer_init(&writer, &out);
    jsonw_array_begin(&writer, NULL);
    for (size_t i = 0; i < machine->role_count; i++) {
        jsonw_text(&writer, NULL, machine->roles[i]);
    }
    jsonw_array_end(&writer);
    if (machine->role_count > 0 && !out.failed) {
        page_set(&page->tables, PAGE_ROLES, slice_str(machine->name), buf_slice(&out));
    }
    buf_reset(&out);
}

static void set_machines(struct page *page, struct view *view, const struct rollup *machines)
{
    const struct health *health = page->health;
    const struct registry *registry = health->monitor.registry;
    for (size_t i = 0; i < registry->machine_count; i++) {
        view->machines[view->machine_count++] =
            (struct view_machine){.machine = registry->machines[i].name,
                .cpu_percent = VIEW_NONE,
                .memory_percent = VIEW_NONE,
                .disk_percent = VIEW_NONE};
    }
    for (size_t i = 0; i < registry->service_count; i++) {
        view->machines[registry->services[i].machine - registry->machines].services_count++;
    }
    devices_fill_view(&health->devices, view);
    page_renew_begin(&page->tables, PAGE_MACHINES);
    page_renew_begin(&page->tables, PAGE_ROLES);
    for (size_t i = 0; i < registry->machine_count; i++) {
        set_machine(page, &view->machines[i], &machines[i], i);
        set_roles(page, &registry->machines[i]);
    }
    page_renew_end(&page->tables, PAGE_MACHINES);
    page_renew_end(&page->tables, PAGE_ROLES);
}

static void write_registry(const struct health *health, struct page_print *row)
{
    jsonw_object_begin(&row->json, "registry");
    if (health->reload_ok) {
        jsonw_null(&row->json, "error");
    } else {
        page_row_slice(row, "error", slice_trim(buf_slice(&health->problems)));
    }
    jsonw_object_end(&row->json);
}

static void set_summary(struct page *page, enum health_status overall, const struct rollup *all)
{
    struct page_print row;
    page_row_begin(&row);
    jsonw_text(&row.json, "overall_status", health_status_name(overall));
    jsonw_u64(&row.json, "overall_health_score", rollup_score(all));
    jsonw_u64(&row.json, "total_services", rollup_total(all));
    jsonw_u64(&row.json, "healthy_services", all->counts[HEALTH_HEALTHY]);
    jsonw_u64(&row.json, "degraded_services", all->counts[HEALTH_DEGRADED]);
    // As in the dashboard's document, where the unknown count as unhealthy.
    jsonw_u64(&row.json, "unhealthy_services",
        all->counts[HEALTH_UNHEALTHY] + all->counts[HEALTH_UNKNOWN]);
    jsonw_u64(&row.json, "unknown_services", all->counts[HEALTH_UNKNOWN]);
    jsonw_text(&row.json, "generated_by", "weir " WEIR_VERSION);
    page_row_text(&row, "notice", page->health->monitor.registry->notice);
    jsonw_u64(&row.json, "left_out", page->tables.left_out);
    write_registry(page->health, &row);
    page_row_end(page, PAGE_SUMMARY, SLICE("now"), &row);
}

void page_health_sums(struct page *page)
{
    const struct monitor *monitor = &page->health->monitor;
    size_t count = monitor->registry->machine_count;
    struct rollup *machines = mem_zalloc((count + 1) * sizeof *machines);
    struct rollup all;
    struct view view = {0};
    if (machines != NULL && view_make_room(&view, 0, count)) {
        enum health_status overall = monitor_roll(monitor, sys_wall_ms(), machines, &all);
        set_machines(page, &view, machines);
        set_summary(page, overall, &all);
    }
    view_fini(&view);
    mem_free(machines);
}

// ---- Events

static const char *level_of(const struct health_event *event)
{
    if (event->type == EVENT_PROBLEM_DETECTED || event->status == HEALTH_UNHEALTHY) {
        return "error";
    }
    return event->status == HEALTH_DEGRADED ? "warn" : "info";
}

static void write_status(struct page_print *row, const char *key, unsigned status)
{
    page_row_text(row, key, status == EVENT_NO_STATUS ? NULL : health_status_name(status));
}

void page_health_event(struct page *page, const struct health_event *event)
{
    char text[24];
    struct page_print row;
    snprintf(text, sizeof text, "%llu", (unsigned long long)event->id);
    page_row_begin(&row);
    view_write_time(&row.json, "time", event->wall_ms);
    jsonw_text(&row.json, "kind", event_type_name(event->type));
    jsonw_text(&row.json, "level", level_of(event));
    jsonw_string(&row.json, "service", event->service);
    jsonw_string(&row.json, "machine", event->machine);
    write_status(&row, "previous_status", event->previous);
    write_status(&row, "new_status", event->status);
    page_row_slice(&row, "words", event->message);
    page_row_end(page, PAGE_EVENTS, slice_str(text), &row);
    page_trim(&page->tables, PAGE_EVENTS, EVENTS_SHOWN);
}
