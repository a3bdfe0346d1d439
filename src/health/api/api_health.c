// SPDX-License-Identifier: Apache-2.0
// Who this is, whether it works, and the central document (spec sections 4.2, 4.3).
#include <stdio.h>

#include "base/siphash.h"
#include "base/time.h"
#include "health/api/api_internal.h"
#include "sys/clock.h"
#include "sys/file.h"

#define DASHBOARD_FRESH_NS (250 * NS_PER_MS)
#define LAG_MAX_NS (5 * NS_PER_S)
#define PROBLEMS_SHOWN 10

static void begin(struct buf *document, struct json_writer *writer)
{
    buf_init(document, API_DOCUMENT_MAX);
    json_writer_init(writer, document);
    jsonw_object_begin(writer, NULL);
}

static const char *environment_name(const struct api_request *request)
{
    const struct conf_source *source = request->health->options.registry.environment;
    const char *name = source->get(source->arg, "ENVIRONMENT");
    return name == NULL || name[0] == '\0' ? "production" : name;
}

void api_ping(struct api_request *request)
{
    struct buf document;
    struct json_writer writer;
    begin(&document, &writer);
    jsonw_text(&writer, "status", "ok");
    jsonw_object_end(&writer);
    api_answer_json(request, 200, &document);
}

void api_liveness(struct api_request *request)
{
    const struct health *health = request->health;
    const struct registry *registry = health->monitor.registry;
    struct buf document;
    struct json_writer writer;
    begin(&document, &writer);
    jsonw_text(&writer, "status", health->reload_ok ? "healthy" : "degraded");
    jsonw_bool(&writer, "registry_exists", sys_file_exists(health->options.registry_path));
    jsonw_object_begin(&writer, "background_workers");
    jsonw_bool(&writer, "enabled", true);
    jsonw_text(&writer, "metrics_queue", "disabled");
    jsonw_text(&writer, "metrics_collector", "running");
    jsonw_text(&writer, "metrics_prefetcher", "disabled");
    jsonw_text(&writer, "device_monitor", "running");
    jsonw_object_end(&writer);
    jsonw_object_begin(&writer, "config_status");
    jsonw_bool(&writer, "valid", registry->note_counts[NOTE_ERROR] == 0 && health->reload_ok);
    jsonw_u64(&writer, "warnings_count", registry->note_counts[NOTE_WARNING]);
    jsonw_text(&writer, "environment", environment_name(request));
    jsonw_bool(&writer, "keycloak_enabled", false);
    jsonw_bool(&writer, "background_workers_enabled", true);
    jsonw_object_end(&writer);
    jsonw_object_end(&writer);
    api_answer_json(request, 200, &document);
}

void api_identity(struct api_request *request)
{
    bool exists = sys_file_exists(request->health->options.registry_path);
    struct buf document;
    struct json_writer writer;
    begin(&document, &writer);
    jsonw_text(&writer, "status", "healthy");
    jsonw_text(&writer, "service", "portoser-web");
    jsonw_text(&writer, "version", WEIR_VERSION);
    jsonw_text(&writer, "environment", environment_name(request));
    view_write_time(&writer, "timestamp", sys_wall_ms());
    jsonw_text(&writer, "vault", "disabled");
    jsonw_text(&writer, "keycloak", "disabled");
    jsonw_text(&writer, "registry", exists ? "connected" : "not_found");
    jsonw_object_end(&writer);
    api_answer_json(request, 200, &document);
}

// ---- Comprehensive

struct own_check {
    const char *name;
    const char *status; // healthy, unhealthy, disabled
    struct slice message;
};

static size_t count_healthy(const struct own_check *checks, size_t count)
{
    size_t healthy = 0;
    for (size_t i = 0; i < count; i++) {
        healthy += strcmp(checks[i].status, "unhealthy") != 0;
    }
    return healthy;
}

static void write_own_checks(
    struct json_writer *writer, const struct own_check *checks, size_t count)
{
    jsonw_object_begin(writer, "checks");
    for (size_t i = 0; i < count; i++) {
        jsonw_object_begin(writer, checks[i].name);
        jsonw_text(writer, "status", checks[i].status);
        jsonw_string(writer, "message", checks[i].message);
        jsonw_double(writer, "response_time_ms", 0);
        jsonw_object_end(writer);
    }
    jsonw_object_end(writer);
}

static const char *judge_store(const struct health *health, char *message, size_t size)
{
    struct store_health store;
    if (health->history.store == NULL) {
        snprintf(message, size, "not configured");
        return "disabled";
    }
    store_look(health->history.store, &store);
    if (store.ok) {
        snprintf(message, size, "%llu rows written, %llu waiting, %llu dropped",
            (unsigned long long)store.written, (unsigned long long)store.waiting,
            (unsigned long long)store.dropped);
        return "healthy";
    }
    snprintf(message, size, "%s", store.problem);
    return "unhealthy";
}

static struct own_check judge_redis(const struct health *health)
{
    const struct redis_link *link = &health->cluster.control;
    if (health->cluster.monitor == NULL) {
        return (struct own_check){"redis", "disabled", SLICE("not configured")};
    }
    if (link->state != REDIS_READY) {
        return (struct own_check){"redis", "unhealthy", slice_str(link->problem)};
    }
    return (struct own_check){"redis", "healthy", SLICE("connected")};
}

static struct own_check judge_cluster(const struct health *health, char *message, size_t size)
{
    if (health->cluster.monitor == NULL) {
        return (struct own_check){"cluster", "disabled", SLICE("this monitor is the only one")};
    }
    bool ok = cluster_tell(&health->cluster, message, size);
    return (struct own_check){"cluster", ok ? "healthy" : "unhealthy", slice_str(message)};
}

void api_comprehensive(struct api_request *request)
{
    const struct health *health = request->health;
    bool late = health->monitor.scheduler.lag_ns > LAG_MAX_NS;
    char store_message[STORE_PROBLEM_SIZE];
    char cluster_message[2 * CLUSTER_PROBLEM_SIZE];
    const char *store_status = judge_store(health, store_message, sizeof store_message);
    const struct own_check checks[] = {
        {"vault", "disabled", SLICE("not used")},
        {"keycloak", "disabled", SLICE("not used")},
        {"registry", health->reload_ok ? "healthy" : "unhealthy",
            health->reload_ok ? SLICE("loaded") : slice_trim(buf_slice(&health->problems))},
        {"portoser_cli", "disabled", SLICE("not used")},
        {"mcp_database", "disabled", SLICE("not used")},
        judge_redis(health),
        {"metrics_queue", "disabled", SLICE("not used")},
        {"circuit_breaker", "disabled", SLICE("not used")},
        {"scheduler", late ? "unhealthy" : "healthy",
            late ? SLICE("checks start late") : SLICE("checks start on time")},
        {"state_file", store_status, slice_str(store_message)},
        judge_cluster(health, cluster_message, sizeof cluster_message),
    };
    const size_t count = sizeof checks / sizeof checks[0];
    const size_t healthy = count_healthy(checks, count);
    struct buf document;
    struct json_writer writer;
    begin(&document, &writer);
    jsonw_text(&writer, "status", healthy == count ? "healthy" : "degraded");
    jsonw_text(&writer, "service", "portoser-web");
    jsonw_text(&writer, "version", WEIR_VERSION);
    jsonw_text(&writer, "environment", environment_name(request));
    view_write_time(&writer, "timestamp", sys_wall_ms());
    write_own_checks(&writer, checks, count);
    jsonw_u64(&writer, "healthy_checks", healthy);
    jsonw_u64(&writer, "total_checks", count);
    jsonw_object_end(&writer);
    api_answer_json(request, healthy == count ? 200 : 503, &document);
}

// ---- Dashboard

static void write_registry(const struct health *health, struct json_writer *writer)
{
    jsonw_object_begin(writer, "registry");
    jsonw_text(writer, "path", health->options.registry_path);
    view_write_time(writer, "loaded_at", health->monitor.registry_loaded_wall_ms);
    if (health->reload_ok) {
        jsonw_null(writer, "error");
    } else {
        jsonw_string(writer, "error", slice_trim(buf_slice(&health->problems)));
    }
    jsonw_object_end(writer);
}

static void write_cluster(const struct health *health, struct json_writer *writer)
{
    const struct shares *shares = &health->cluster.shares;
    if (health->cluster.monitor == NULL) {
        return;
    }
    jsonw_object_begin(writer, "cluster");
    jsonw_text(writer, "monitor", shares->name);
    jsonw_text(writer, "mode", shares_mode_name(shares->mode));
    jsonw_u64(writer, "shares_held", shares_count_held(shares, monitor_now_ns()));
    jsonw_u64(writer, "shares", shares_count_used(shares));
    jsonw_u64(writer, "shares_differing", shares_count_differing(shares));
    jsonw_array_begin(writer, "monitors");
    for (size_t i = 0; i < shares->monitor_count; i++) {
        jsonw_text(writer, NULL, shares->monitors[i].name);
    }
    jsonw_array_end(writer);
    jsonw_object_end(writer);
}

static void write_dashboard(
    const struct health *health, const struct view *view, struct json_writer *writer)
{
    const unsigned *counts = view->counts;
    jsonw_object_begin(writer, NULL);
    jsonw_text(writer, "overall_status", health_status_name(view->overall));
    jsonw_u64(writer, "overall_health_score", view->score);
    jsonw_u64(writer, "total_services", view->service_count);
    jsonw_u64(writer, "healthy_services", counts[HEALTH_HEALTHY]);
    jsonw_u64(writer, "degraded_services", counts[HEALTH_DEGRADED]);
    // Clients count unknown ones as unhealthy; their number is told beside it.
    jsonw_u64(writer, "unhealthy_services", counts[HEALTH_UNHEALTHY] + counts[HEALTH_UNKNOWN]);
    jsonw_u64(writer, "unknown_services", counts[HEALTH_UNKNOWN]);
    jsonw_u64(writer, "total_machines", health->monitor.registry->machines_declared);
    view_write_services(view, writer, "services");
    jsonw_array_begin(writer, "machines");
    for (size_t i = 0; i < view->machine_count; i++) {
        view_write_machine(&view->machines[i], writer);
    }
    jsonw_array_end(writer);
    api_write_problems(health, writer, "recent_problems", PROBLEMS_SHOWN);
    view_write_time(writer, "last_updated", view->wall_ms);
    jsonw_text(writer, "generated_by", "weir " WEIR_VERSION);
    write_registry(health, writer);
    write_cluster(health, writer);
    jsonw_object_end(writer);
}

// Prints the page again when it shows something old. False without memory.
static bool print_page(struct health *health, uint64_t now_ns)
{
    static const struct view_filter all = {0};
    struct health_page *page = &health->dashboard;
    struct view view;
    struct json_writer writer;
    buf_reset(&page->packed);
    buf_init(&page->packed, API_DOCUMENT_MAX);
    buf_reset(&page->text);
    buf_init(&page->text, API_DOCUMENT_MAX);
    json_writer_init(&writer, &page->text);
    bool ok = view_of_monitor(&view, &health->monitor, &all) == WEIR_OK;
    if (ok) {
        devices_fill_view(&health->devices, &view);
        history_fill_view(&health->history, &view);
        write_dashboard(health, &view, &writer);
        page->overall = view.overall;
        ok = !page->text.failed;
    }
    view_fini(&view);
    if (!ok) {
        buf_reset(&page->text);
        return false;
    }
    struct slice text = buf_slice(&page->text);
    page->hash = siphash(&health->worker->seed, text.at, text.len);
    page->printed_ns = now_ns;
    page->version = health->version;
    page->urgent = health->urgent;
    return true;
}

static void answer_page(struct api_request *request, unsigned status)
{
    struct health_page *page = &request->health->dashboard;
    if (status == 200) {
        api_answer_tagged(request, &(struct api_tagged){.content_type = "application/json",
                                       .hash = page->hash,
                                       .body = buf_slice(&page->text),
                                       .packed = &page->packed});
        return;
    }
    struct buf copy = BUF_INIT(API_DOCUMENT_MAX);
    buf_append_slice(&copy, buf_slice(&page->text)); // failed: answered with 500
    api_answer_json(request, status, &copy);
}

void api_dashboard(struct api_request *request)
{
    struct health *health = request->health;
    struct health_page *page = &health->dashboard;
    uint64_t now_ns = worker_now(health->worker);
    bool refresh;
    bool strict;
    if (!api_flag(request, "refresh", true, &refresh) ||
        !api_flag(request, "strict", false, &strict)) {
        return;
    }
    // Ages in it grow by themselves, so that a page without news gets old as well.
    bool changed = page->version != health->version || now_ns > page->printed_ns + NS_PER_S;
    bool settled = now_ns > page->printed_ns + DASHBOARD_FRESH_NS;
    bool old = page->text.len == 0 || page->urgent != health->urgent || (changed && settled);
    if (old && (refresh || page->text.len == 0) && !print_page(health, now_ns)) {
        api_answer_error(request, 500, "Internal server error");
        return;
    }
    answer_page(request, strict && page->overall == HEALTH_UNHEALTHY ? 503 : 200);
}
