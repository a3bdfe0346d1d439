// SPDX-License-Identifier: Apache-2.0
// The page of /metrics: families are rows of health_metrics.def; each has one function that writes
// its samples, so that a family's samples stand together.
#include "health/api/metrics_page.h"

#include <stdio.h>

#include "base/time.h"
#include "base/utf8.h"
#include "health/api/api_internal.h"
#include "proto/prometheus.h"
#include "sys/clock.h"

#define LABELS_MAX 8192

enum health_metric {
#define HEALTH_METRIC(symbol, type, name, labels, help) METRIC_OF_##symbol,
#include "health/health_metrics.def"
#undef HEALTH_METRIC
    HEALTH_METRIC_COUNT,
};

static const struct {
    enum prometheus_type type;
    const char *name;
    const char *labels;
    const char *help;
} families[HEALTH_METRIC_COUNT] = {
#define HEALTH_METRIC(symbol, type, name, labels, help)                                            \
    [METRIC_OF_##symbol] = {PROMETHEUS_##type, name, labels, help},
#include "health/health_metrics.def"
#undef HEALTH_METRIC
};

struct metrics_page {
    struct buf *out;
    enum exposition exposition;
    const struct health *health;
    const struct view *view;
    struct buf labels;               // of the row at hand
    struct json_writer json;         // counts with is_json, as does the next one
    struct json_writer label_writer; // into labels
    bool is_json;
    bool in_family;
};

static void end_family(struct metrics_page *page)
{
    if (page->in_family) {
        jsonw_array_end(&page->json);
        jsonw_object_end(&page->json);
        page->in_family = false;
    }
}

static void begin_family(struct metrics_page *page, enum health_metric metric)
{
    if (page->is_json) {
        end_family(page);
        jsonw_object_begin(&page->json, NULL);
        jsonw_text(&page->json, "name", families[metric].name);
        jsonw_text(&page->json, "type", prometheus_type_name(families[metric].type));
        jsonw_text(&page->json, "help", families[metric].help);
        jsonw_array_begin(&page->json, "samples");
        page->in_family = true;
        return;
    }
    prometheus_family(page->out, page->exposition, families[metric].type, families[metric].name,
        families[metric].help);
}

// ---- Labels

// A control character as its picture, so that names stay different and steer no terminal. 0: it is
// none.
static size_t put_picture(struct buf *out, struct slice rest)
{
    unsigned char first = (unsigned char)rest.at[0];
    if (first < ' ' || first == 0x7f) {
        char picture[] = {'\xe2', '\x90', (char)(0x80 + (first == 0x7f ? 0x21 : first))};
        buf_append(out, picture, sizeof picture);
        return 1;
    }
    if (first == 0xc2 && rest.len > 1 && (unsigned char)rest.at[1] < 0xa0) {
        buf_append_str(out, "\xef\xbf\xbd");
        return 2;
    }
    return 0;
}

static void put_escaped(struct buf *out, const char *text)
{
    struct slice rest = slice_str(text);
    while (rest.len > 0) {
        size_t len = utf8_sequence_len(rest);
        char byte = rest.at[0];
        if (len == 0) {
            len = utf8_broken_len(rest);
            buf_append_str(out, "\xef\xbf\xbd"); // out->failed is looked at in the end
        } else if (byte == '\\' || byte == '"') {
            buf_append_byte(out, '\\');
            buf_append_byte(out, byte);
        } else if (byte == '\n') {
            buf_append_str(out, "\\n");
        } else if (put_picture(out, rest) == 0) {
            buf_append(out, rest.at, len);
        }
        rest = slice_skip(rest, len);
    }
}

static void put_label(struct metrics_page *page, const char *name, const char *value)
{
    if (page->is_json) {
        if (page->labels.len == 0) {
            json_writer_init(&page->label_writer, &page->labels);
        }
        jsonw_text(&page->label_writer, name, value);
        return;
    }
    buf_printf(&page->labels, "%s%s=\"", page->labels.len > 0 ? "," : "", name);
    put_escaped(&page->labels, value);
    buf_append_byte(&page->labels, '"');
}

static void begin_json_sample(struct metrics_page *page)
{
    jsonw_object_begin(&page->json, NULL);
    jsonw_object_begin(&page->json, "labels");
    buf_append_slice(page->out, buf_slice(&page->labels));
    jsonw_object_end(&page->json);
}

static void put_sample(struct metrics_page *page, enum health_metric metric, double value)
{
    bool bare = page->labels.len == 0;
    page->out->failed |= page->labels.failed;
    if (page->is_json) {
        begin_json_sample(page);
        jsonw_double(&page->json, "value", value);
        jsonw_object_end(&page->json);
        return;
    }
    buf_append_str(page->out, families[metric].name);
    if (!bare) {
        buf_append_byte(page->out, '{');
        buf_append_slice(page->out, buf_slice(&page->labels));
        buf_append_byte(page->out, '}');
    }
    buf_printf(page->out, " %.15g\n", value);
}

// ---- Samples of services. negative: the service has no such sample.

typedef double sample_fn(const struct view_service *row);

static double status_of(const struct view_service *row)
{
    return row->status;
}

static double up_of(const struct view_service *row)
{
    return row->status == HEALTH_HEALTHY || row->status == HEALTH_DEGRADED;
}

static double score_of(const struct view_service *row)
{
    return row->score;
}

static double maintenance_of(const struct view_service *row)
{
    return row->maintenance;
}

static double success_of(const struct view_service *row)
{
    return row->last_checked_ms == 0 ? VIEW_NONE : row->problem_type == NULL;
}

static double duration_of(const struct view_service *row)
{
    return row->latency_ms < 0 ? VIEW_NONE : row->latency_ms / 1000;
}

static double failures_of(const struct view_service *row)
{
    return row->consecutive_failures;
}

static double last_success_of(const struct view_service *row)
{
    return row->last_pass_ms == 0 ? VIEW_NONE : (double)row->last_pass_ms / 1000;
}

static double http_status_of(const struct view_service *row)
{
    bool http = row->target->service->check.type == CHECK_HTTP;
    return http && row->last_checked_ms != 0 ? row->code : VIEW_NONE;
}

static double not_after_of(const struct view_service *row)
{
    uint64_t not_after_s = row->target->last.tls_not_after_s;
    return not_after_s == 0 ? VIEW_NONE : (double)not_after_s;
}

static void label_service(struct metrics_page *page, const struct view_service *row, bool type)
{
    buf_reset(&page->labels);
    put_label(page, "service", row->service);
    put_label(page, "machine", row->machine);
    if (type) {
        put_label(page, "type", row->check_type);
    }
}

static void write_services(
    struct metrics_page *page, enum health_metric metric, sample_fn *sample, bool type)
{
    begin_family(page, metric);
    for (size_t i = 0; i < page->view->service_count; i++) {
        const struct view_service *row = &page->view->services[i];
        double value = sample(row);
        if (value >= 0) {
            label_service(page, row, type);
            put_sample(page, metric, value);
        }
    }
}

static void write_states(struct metrics_page *page)
{
    begin_family(page, METRIC_OF_SERVICE_STATE);
    for (size_t i = 0; i < page->view->service_count; i++) {
        const struct view_service *row = &page->view->services[i];
        for (unsigned state = 0; state < HEALTH_STATUS_COUNT; state++) {
            label_service(page, row, false);
            put_label(page, "state", health_status_name(state));
            put_sample(page, METRIC_OF_SERVICE_STATE, row->status == state);
        }
    }
}

static void write_results(struct metrics_page *page)
{
    static const char *const names[RESULT_KIND_COUNT] = {
        [RESULT_PASS] = "pass", [RESULT_FAIL] = "fail", [RESULT_TIMEOUT] = "timeout"};
    begin_family(page, METRIC_OF_CHECKS);
    for (size_t i = 0; i < page->view->service_count; i++) {
        const struct view_service *row = &page->view->services[i];
        for (unsigned kind = 0; service_monitored(row->target->service) && kind < RESULT_KIND_COUNT;
             kind++) {
            label_service(page, row, true);
            put_label(page, "result", names[kind]);
            put_sample(page, METRIC_OF_CHECKS, (double)row->target->results[kind]);
        }
    }
}

static void write_all_services(struct metrics_page *page)
{
    write_services(page, METRIC_OF_SERVICE_STATUS, status_of, false);
    write_services(page, METRIC_OF_SERVICE_UP, up_of, false);
    write_states(page);
    write_services(page, METRIC_OF_SERVICE_SCORE, score_of, false);
    write_services(page, METRIC_OF_SERVICE_MAINTENANCE, maintenance_of, false);
    write_services(page, METRIC_OF_CHECK_SUCCESS, success_of, true);
    write_services(page, METRIC_OF_CHECK_DURATION, duration_of, true);
    write_results(page);
    write_services(page, METRIC_OF_CHECK_FAILURES, failures_of, false);
    write_services(page, METRIC_OF_CHECK_LAST_SUCCESS, last_success_of, false);
    write_services(page, METRIC_OF_CHECK_HTTP_STATUS, http_status_of, false);
    write_services(page, METRIC_OF_CHECK_TLS_NOT_AFTER, not_after_of, false);
}

// ---- Machines, cluster, monitor

static void write_machines(struct metrics_page *page)
{
    begin_family(page, METRIC_OF_MACHINE_STATUS);
    for (size_t i = 0; i < page->view->machine_count; i++) {
        const struct view_machine *machine = &page->view->machines[i];
        buf_reset(&page->labels);
        put_label(page, "machine", machine->machine);
        put_sample(page, METRIC_OF_MACHINE_STATUS, machine->status);
    }
    begin_family(page, METRIC_OF_MACHINE_SERVICES);
    for (size_t i = 0; i < page->view->machine_count; i++) {
        const struct view_machine *machine = &page->view->machines[i];
        for (unsigned state = 0; state < HEALTH_STATUS_COUNT; state++) {
            buf_reset(&page->labels);
            put_label(page, "machine", machine->machine);
            put_label(page, "state", health_status_name(state));
            put_sample(page, METRIC_OF_MACHINE_SERVICES, machine->counts[state]);
        }
    }
}

// Usage of machines that are heard of; negative: not known.
static void write_usage(struct metrics_page *page, enum health_metric metric,
    double (*number)(const struct view_machine *machine))
{
    begin_family(page, metric);
    for (size_t i = 0; i < page->view->machine_count; i++) {
        const struct view_machine *machine = &page->view->machines[i];
        double value = number(machine);
        if (value >= 0) {
            buf_reset(&page->labels);
            put_label(page, "machine", machine->machine);
            put_sample(page, metric, value);
        }
    }
}

static double cpu_of(const struct view_machine *machine)
{
    return machine->cpu_percent;
}

static double memory_of(const struct view_machine *machine)
{
    return machine->memory_percent;
}

static double disk_of(const struct view_machine *machine)
{
    return machine->disk_percent;
}

static double load_of(const struct view_machine *machine)
{
    return machine->load1;
}

static double reachable_of(const struct view_machine *machine)
{
    return machine->reachable == VIEW_NOT_ASKED ? VIEW_NONE : machine->reachable == VIEW_REACHABLE;
}

static void write_device_ages(struct metrics_page *page)
{
    const struct devices *devices = &page->health->devices;
    uint64_t now_ms = sys_wall_ms();
    begin_family(page, METRIC_OF_DEVICE_LAST_SEEN);
    for (size_t i = 0; i < devices->count; i++) {
        uint64_t seen_ms = devices->all[i]->seen_wall_ms;
        if (seen_ms != 0) {
            buf_reset(&page->labels);
            put_label(page, "hostname", devices->all[i]->name);
            put_sample(page, METRIC_OF_DEVICE_LAST_SEEN,
                now_ms > seen_ms ? (double)(now_ms - seen_ms) / 1000 : 0);
        }
    }
    begin_family(page, METRIC_OF_DEVICE_HEARTBEATS);
    for (size_t i = 0; i < devices->count; i++) {
        buf_reset(&page->labels);
        put_label(page, "hostname", devices->all[i]->name);
        put_label(page, "status", "accepted");
        put_sample(page, METRIC_OF_DEVICE_HEARTBEATS, (double)devices->all[i]->heartbeats);
    }
}

static void write_devices(struct metrics_page *page)
{
    const struct devices *devices = &page->health->devices;
    double online = 0;
    write_usage(page, METRIC_OF_MACHINE_CPU, cpu_of);
    write_usage(page, METRIC_OF_MACHINE_MEMORY, memory_of);
    write_usage(page, METRIC_OF_MACHINE_DISK, disk_of);
    write_usage(page, METRIC_OF_MACHINE_LOAD, load_of);
    write_usage(page, METRIC_OF_MACHINE_REACHABLE, reachable_of);
    write_device_ages(page);
    for (size_t i = 0; i < devices->count; i++) {
        online += devices->all[i]->status == DEVICE_OK;
    }
    buf_reset(&page->labels);
    begin_family(page, METRIC_OF_DEVICES_ONLINE);
    put_sample(page, METRIC_OF_DEVICES_ONLINE, online);
}

static void write_one(struct metrics_page *page, enum health_metric metric, double value)
{
    begin_family(page, metric);
    put_sample(page, metric, value);
}

static void write_redis(struct metrics_page *page)
{
    const struct redis_link *link = &page->health->cluster.control;
    write_one(page, METRIC_OF_REDIS_UP, link->state == REDIS_READY);
    begin_family(page, METRIC_OF_REDIS_COMMANDS);
    put_label(page, "result", "sent");
    put_sample(page, METRIC_OF_REDIS_COMMANDS, (double)link->sent);
    buf_reset(&page->labels);
    put_label(page, "result", "dropped");
    put_sample(page, METRIC_OF_REDIS_COMMANDS, (double)link->dropped);
    buf_reset(&page->labels);
}

static void write_cluster(struct metrics_page *page)
{
    const struct cluster *cluster = &page->health->cluster;
    const struct shares *shares = &cluster->shares;
    write_redis(page);
    write_one(page, METRIC_OF_CLUSTER_MONITORS, (double)shares->monitor_count);
    write_one(page, METRIC_OF_CLUSTER_ALONE, shares->mode == SHARES_ALONE);
    write_one(page, METRIC_OF_CLUSTER_SHARES, shares_count_used(shares));
    write_one(page, METRIC_OF_CLUSTER_SHARES_HELD, shares_count_held(shares, monitor_now_ns()));
    write_one(page, METRIC_OF_CLUSTER_SHARES_DIFFERING, shares_count_differing(shares));
    write_one(page, METRIC_OF_CLUSTER_TAKEOVERS, (double)shares->takeovers);
    write_one(page, METRIC_OF_CLUSTER_LOSSES, (double)shares->losses);
    write_one(page, METRIC_OF_CLUSTER_LEASE_ERRORS, (double)cluster->lease_errors);
    write_one(
        page, METRIC_OF_CLUSTER_FENCED, (double)(page->health->monitor.fenced + cluster->refused));
    write_one(page, METRIC_OF_CLUSTER_ADOPTED, (double)cluster->adopted);
}

static void write_monitor(struct metrics_page *page)
{
    const struct health *health = page->health;
    const struct scheduler *scheduler = &health->monitor.scheduler;
    double started_ns = (double)health->worker->crew->started_ns;
    buf_reset(&page->labels);
    write_one(page, METRIC_OF_CLUSTER_STATUS, page->view->overall);
    write_one(page, METRIC_OF_CLUSTER_SCORE, page->view->score);
    write_one(page, METRIC_OF_OVERRUNS, (double)scheduler->overruns);
    write_one(page, METRIC_OF_LAG, (double)scheduler->lag_ns / (double)NS_PER_S);
    write_one(page, METRIC_OF_LOAD_SUCCESS, health->reload_ok);
    write_one(page, METRIC_OF_LOADED_AT, (double)health->reloaded_wall_ms / 1000);
    write_one(page, METRIC_OF_UPTIME, ((double)sys_now_ns() - started_ns) / (double)NS_PER_S);
    write_one(page, METRIC_OF_SOCKETS, (double)health->sockets.count);
    write_one(page, METRIC_OF_SOCKET_MESSAGES, (double)health->sockets.messages);
    write_one(page, METRIC_OF_SOCKETS_SLOW, (double)health->sockets.slow);
    write_one(page, METRIC_OF_PAGE_MISSED, (double)health->sockets.page_missed);
    if (health->history.store != NULL) {
        struct store_health store;
        store_look(health->history.store, &store);
        write_one(page, METRIC_OF_STORE_OK, store.ok);
        write_one(page, METRIC_OF_STORE_DROPPED, (double)store.dropped);
    }
    if (health->cluster.monitor != NULL) {
        write_cluster(page);
    }
    if (health->dead_man.worker != NULL) {
        write_one(page, METRIC_OF_HEARTBEATS, (double)health->dead_man.sent);
        write_one(page, METRIC_OF_HEARTBEAT_OK, health->dead_man.heard);
    }
    if (health->change_hook.worker != NULL) {
        write_one(page, METRIC_OF_HOOK_CALLS, (double)health->change_hook.told);
        write_one(page, METRIC_OF_HOOK_FAILURES, (double)health->change_hook.failed);
    }
    put_label(page, "version", WEIR_VERSION);
    write_one(page, METRIC_OF_BUILD_INFO, 1);
}

// ---- The API itself

static void label_request(struct metrics_page *page, size_t row, bool head)
{
    buf_reset(&page->labels);
    put_label(page, "method", head ? "HEAD" : api_row_method(row));
    put_label(page, "endpoint", api_row_path(row));
}

static void write_requests(struct metrics_page *page, const struct api_stats *stats)
{
    begin_family(page, METRIC_OF_HTTP_REQUESTS);
    for (size_t i = 0; i < 2 * (API_ROW_COUNT + 1) * API_STATUS_COUNT; i++) {
        size_t row = i / API_STATUS_COUNT / 2;
        bool head = i / API_STATUS_COUNT % 2 != 0;
        size_t status = i % API_STATUS_COUNT;
        uint64_t count = stats->rows[row].statuses[head][status];
        char text[16] = "other";
        if (count == 0) {
            continue;
        }
        if (status + 1 < API_STATUS_COUNT) {
            snprintf(text, sizeof text, "%u", api_statuses[status]);
        }
        label_request(page, row, head);
        put_label(page, "status", text);
        put_sample(page, METRIC_OF_HTTP_REQUESTS, (double)count);
    }
}

static void put_durations(struct metrics_page *page, const struct api_row_stats *row)
{
    uint64_t count = 0;
    for (size_t i = 0; i <= API_BUCKET_COUNT; i++) {
        count += row->durations[i];
    }
    if (page->is_json) {
        begin_json_sample(page);
        jsonw_u64(&page->json, "count", count);
        jsonw_double(&page->json, "sum", row->seconds);
        jsonw_object_end(&page->json);
        return;
    }
    prometheus_histogram(page->out, page->exposition, families[METRIC_OF_HTTP_DURATION].name,
        &(struct prometheus_histogram){
            .labels = buf_text(&page->labels),
            .bounds = api_bounds,
            .bound_count = API_BUCKET_COUNT,
            .buckets = row->durations,
            .sum = row->seconds,
        });
}

static void write_http(struct metrics_page *page)
{
    const struct api_stats *stats = &page->health->stats;
    write_requests(page, stats);
    begin_family(page, METRIC_OF_HTTP_DURATION);
    for (size_t i = 0; i <= API_ROW_COUNT; i++) {
        uint64_t seen = 0;
        for (size_t n = 0; n <= API_BUCKET_COUNT; n++) {
            seen += stats->rows[i].durations[n];
        }
        if (seen > 0) {
            label_request(page, i, false);
            put_durations(page, &stats->rows[i]);
        }
    }
    buf_reset(&page->labels);
    write_one(page, METRIC_OF_ERROR_RATE, api_stats_error_rate(stats, sys_now_ns()));
}

// Asked for by `format`, or by Accept. False: something else is wanted.
static bool choose(struct api_request *request, struct metrics_page *page)
{
    char format[32];
    const struct http1_header *accept = http1_find(request->http->head, SLICE("accept"));
    api_text(request, "format", format, sizeof format);
    page->is_json = strcmp(format, "json") == 0;
    page->exposition = EXPOSITION_PROMETHEUS;
    if (format[0] == '\0') {
        page->exposition = prometheus_choose(accept == NULL ? SLICE_EMPTY : accept->value);
    }
    return format[0] == '\0' || page->is_json || strcmp(format, "prometheus") == 0;
}

static void write_page(struct metrics_page *page)
{
    if (page->is_json) {
        json_writer_init(&page->json, page->out);
        jsonw_object_begin(&page->json, NULL);
        view_write_time(&page->json, "timestamp", page->view->wall_ms);
        jsonw_array_begin(&page->json, "metrics");
    }
    write_all_services(page);
    write_machines(page);
    write_devices(page);
    write_monitor(page);
    write_http(page);
    if (page->is_json) {
        end_family(page);
        jsonw_array_end(&page->json);
        jsonw_object_end(&page->json);
    } else {
        prometheus_end(page->out, page->exposition);
    }
}

void api_metrics(struct api_request *request)
{
    static const struct view_filter all = {0};
    struct buf document = BUF_INIT(API_DOCUMENT_MAX);
    struct view view;
    struct metrics_page page = {.out = &document, .health = request->health, .view = &view};
    if (!choose(request, &page)) {
        api_answer_error(request, 400, "format must be prometheus or json");
        return;
    }
    buf_init(&page.labels, LABELS_MAX);
    if (view_of_monitor(&view, &request->health->monitor, &all) == WEIR_OK) {
        devices_fill_view(&request->health->devices, &view);
        write_page(&page);
    } else {
        document.failed = true;
    }
    if (document.failed) {
        api_answer_error(request, 500, "Internal server error");
    } else {
        api_answer_text(request,
            page.is_json ? "application/json" : prometheus_content_type(page.exposition), NULL,
            buf_slice(&document));
    }
    view_fini(&view);
    buf_reset(&page.labels);
    buf_reset(&document);
}

void metrics_page_manual(struct buf *out)
{
    buf_append_str(out,
        "# Metrics of the health monitor\n\n`GET /metrics` and `GET "
        "/api/metrics?format=prometheus` "
        "serve them in Prometheus' text format, or as OpenMetrics when the scraper asks for it.\n"
        "A service has a series once there is something to tell: no check, no duration.\n"
        "This page is the output of `weir config reference health-metrics`.\n\n"
        "| name | type | labels | meaning |\n|---|---|---|---|\n");
    for (size_t i = 0; i < HEALTH_METRIC_COUNT; i++) {
        buf_printf(out, "| `%s` | %s | %s | %s |\n", families[i].name,
            prometheus_type_name(families[i].type), families[i].labels, families[i].help);
    }
}
