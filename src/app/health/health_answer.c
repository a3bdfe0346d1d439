// SPDX-License-Identifier: Apache-2.0
#include "app/health/health_answer.h"

#include <stdio.h>

#include "app/command.h"
#include "base/utf8.h"
#include "cli/print.h"
#include "proto/json_write.h"

#define SHOWN_SIZE 2048

// As a terminal may see it.
static const char *shown(const char *text, char line[SHOWN_SIZE])
{
    snprintf(line, SHOWN_SIZE, "%s", text);
    utf8_make_plain(line);
    return line;
}

int health_complain(const struct health_ask *ask, int exit_code, const char *problem)
{
    if (ask->json) {
        struct buf out = BUF_INIT(16 * 1024);
        struct json_writer writer;
        json_writer_init(&writer, &out);
        jsonw_object_begin(&writer, NULL);
        jsonw_text(&writer, "error", problem);
        jsonw_object_end(&writer);
        const char *text = buf_text(&out);
        puts(text == NULL ? "{\"error\":\"out of memory\"}" : text);
        buf_reset(&out);
    } else {
        char line[SHOWN_SIZE];
        fprintf(stderr, "weir health: %s\n", shown(problem, line));
    }
    return exit_code;
}

static void write_verdict(const struct view_service *row, struct buf *out)
{
    char name[SHOWN_SIZE];
    char issue[SHOWN_SIZE];
    shown(row->service, name);
    if (row->status == HEALTH_HEALTHY) {
        buf_printf(out, "✓ Service '%s' is healthy\n", name);
    } else if (row->status == HEALTH_DEGRADED) {
        buf_printf(out, "⚠ Service '%s' is healthy but degraded: %s\n", name,
            shown(row->issue_count > 0 ? row->issues[0].message : row->reason, issue));
    } else {
        buf_printf(out, "✗ Service '%s' is unhealthy or unreachable\n", name);
    }
}

static bool is_up(const struct view_service *row)
{
    return row->status == HEALTH_HEALTHY || row->status == HEALTH_DEGRADED;
}

static void write_check_all(const struct view *view, struct buf *out)
{
    bool all = true;
    buf_append_str(out, "Checking health of all services...\n");
    for (size_t i = 0; i < view->service_count; i++) {
        const struct view_service *row = &view->services[i];
        bool up = is_up(row);
        all = all && (up || row->disabled);
        char name[SHOWN_SIZE];
        buf_printf(out, "%-30s ... ", shown(row->service, name));
        write_verdict(row, out);
        buf_append_str(out, up ? "✓ HEALTHY\n" : "✗ UNHEALTHY\n");
    }
    buf_append_str(out, all ? "✓ All services are healthy\n" : "✗ Some services are unhealthy\n");
}

static void write_status(const struct view_service *row, struct buf *out)
{
    const struct service *service = row->target->service;
    const char *status = is_up(row)                        ? "running"
                         : row->status == HEALTH_UNHEALTHY ? "stopped"
                                                           : "unknown";
    char name[SHOWN_SIZE];
    char type[SHOWN_SIZE];
    char place[SHOWN_SIZE];
    buf_printf(out, "Service: %s\n  Type: %s\n  Host: %s\n", shown(service->name, name),
        shown(service->deployment_type, type), shown(service->machine->name, place));
    if (service->port != 0) {
        buf_printf(out, "  Port: %u\n", (unsigned)service->port);
    }
    buf_printf(out, "  Hostname: %s\n  Status: %s\n", shown(service->hostname, name), status);
    if (is_up(row)) {
        buf_printf(
            out, "  Health: %s\n", row->status == HEALTH_HEALTHY ? "✓ Healthy" : "✗ Unhealthy");
    }
}

// ---- portoser cluster status

static const char *cluster_word(const struct view_service *row)
{
    static const char *const words[HEALTH_STATUS_COUNT] = {
        [HEALTH_UNKNOWN] = "skipped",
        [HEALTH_UNHEALTHY] = "down",
        [HEALTH_DEGRADED] = "degraded",
        [HEALTH_HEALTHY] = "healthy",
    };
    return row->disabled ? "skipped" : words[row->status];
}

static void write_cluster_service(struct json_writer *writer, const struct view_service *row)
{
    const struct service *service = row->target->service;
    const char *url = service->check.url;
    char port[8] = "";
    if (service->port != 0) {
        snprintf(port, sizeof port, "%u", (unsigned)service->port);
    }
    jsonw_object_begin(writer, NULL);
    jsonw_text(writer, "service", row->service);
    jsonw_text(writer, "hostname", service->hostname);
    jsonw_text(writer, "port", port);
    jsonw_text(writer, "status", cluster_word(row));
    jsonw_i64(writer, "http_code", service->check.type == CHECK_HTTP ? row->code : 0);
    jsonw_text(writer, "endpoint", url == NULL ? "" : url);
    jsonw_text(writer, "message", row->message == NULL ? "" : row->message);
    jsonw_object_end(writer);
}

static void write_cluster(const struct health_ask *ask, const struct view *view, struct buf *out)
{
    const unsigned *counts = view->counts;
    struct json_writer writer;
    buf_append_str(out, "Getting cluster status...\n\n");
    if (!ask->json) {
        buf_printf(out, "Healthy: %u\nDegraded: %u\nDown: %u\nSkipped: %u\nTotal: %zu\n",
            counts[HEALTH_HEALTHY], counts[HEALTH_DEGRADED], counts[HEALTH_UNHEALTHY],
            counts[HEALTH_UNKNOWN], view->service_count);
        return;
    }
    json_writer_init(&writer, out);
    jsonw_object_begin(&writer, NULL);
    view_write_time(&writer, "timestamp", view->wall_ms);
    jsonw_u64(&writer, "healthy", counts[HEALTH_HEALTHY]);
    jsonw_u64(&writer, "degraded", counts[HEALTH_DEGRADED]);
    jsonw_u64(&writer, "down", counts[HEALTH_UNHEALTHY]);
    jsonw_u64(&writer, "skipped", counts[HEALTH_UNKNOWN]);
    jsonw_u64(&writer, "total", view->service_count);
    jsonw_array_begin(&writer, "services");
    for (size_t i = 0; i < view->service_count; i++) {
        write_cluster_service(&writer, &view->services[i]);
    }
    jsonw_array_end(&writer);
    jsonw_object_end(&writer);
    buf_append_byte(out, '\n');
}

// ---- portoser verify

static void put_place(const struct check_spec *check, struct buf *out)
{
    if (check->type == CHECK_HTTP) {
        char url[SHOWN_SIZE];
        buf_append_str(out, shown(check->url, url));
    } else if (check->type == CHECK_TCP) {
        char host[SHOWN_SIZE];
        buf_printf(out, "tcp://%s:%u", shown(check->host, host), (unsigned)check->port);
    } else {
        buf_append_str(
            out, check->type == CHECK_NONE ? "no health check" : check_type_name(check->type));
    }
}

static void write_verify(const struct view *view, struct buf *out)
{
    unsigned failed = 0;
    unsigned skipped = 0;
    for (size_t i = 0; i < view->service_count; i++) {
        const struct view_service *row = &view->services[i];
        char name[SHOWN_SIZE];
        bool unchecked = row->status == HEALTH_UNKNOWN;
        bool up = is_up(row);
        skipped += unchecked;
        failed += !unchecked && !up;
        buf_printf(out, "%s %s — ", unchecked ? "⊘" : up ? "✓" : "✗", shown(row->service, name));
        put_place(&row->target->service->check, out);
        if (unchecked) {
            buf_append_str(out, " (skipped)");
        } else if (!up && row->target->service->check.type == CHECK_HTTP) {
            buf_printf(out, " (HTTP %03d)", row->code);
        } else if (!up) {
            char message[SHOWN_SIZE];
            buf_printf(out, " (%s)", shown(row->message == NULL ? "" : row->message, message));
        }
        buf_append_byte(out, '\n');
    }
    buf_printf(out, "\nPassed: %zu\nFailed: %u\nSkipped: %u\n",
        view->service_count - failed - skipped, failed, skipped);
}

void health_write_text(const struct health_ask *ask, const struct view *view, struct buf *out)
{
    struct view_style style = {.color = ask->color, .by_machine = ask->verbose};
    const struct view_service *first = view->service_count == 0 ? NULL : &view->services[0];
    switch (ask->form) {
    case FORM_TABLE:
        view_write_table(view, &style, out);
        break;
    case FORM_SERVICE:
        view_write_service(first, &style, out);
        break;
    case FORM_CHECK:
        write_verdict(first, out);
        break;
    case FORM_CHECK_ALL:
        write_check_all(view, out);
        break;
    case FORM_STATUS:
        write_status(first, out);
        break;
    case FORM_STATUS_ALL:
        view_write_status_table(view, out);
        break;
    case FORM_CLUSTER:
        write_cluster(ask, view, out);
        break;
    case FORM_VERIFY:
        write_verify(view, out);
        break;
    case FORM_DIAGNOSE:
        break;
    }
}

int health_exit_code(const struct health_ask *ask, const struct view *view)
{
    if (ask->exit_zero || ask->form == FORM_STATUS || ask->form == FORM_STATUS_ALL) {
        return EXIT_FINE;
    }
    if (ask->form == FORM_VERIFY) {
        return view->counts[HEALTH_UNHEALTHY] > 0 ? EXIT_FAILED : EXIT_FINE;
    }
    if (ask->form == FORM_CLUSTER) {
        return view->counts[HEALTH_UNHEALTHY] > 0 ? 2 : view->counts[HEALTH_DEGRADED] > 0;
    }
    if (ask->form != FORM_CHECK && ask->form != FORM_CHECK_ALL) {
        return view_exit_code(view);
    }
    for (size_t i = 0; i < view->service_count; i++) {
        if (!is_up(&view->services[i]) &&
            (ask->form == FORM_CHECK || !view->services[i].disabled)) {
            return EXIT_FAILED;
        }
    }
    return EXIT_FINE;
}

void health_write(const struct health_ask *ask, const struct view *view, struct buf *out)
{
    if (!ask->json || ask->form == FORM_CLUSTER) {
        health_write_text(ask, view, out);
        return;
    }
    if (ask->service != NULL) {
        view_write_service_json(&view->services[0], out);
    } else {
        view_write_json(view, out);
    }
    buf_append_byte(out, '\n');
}

int health_print(struct buf *out, int exit_code)
{
    if (!print_buf(out)) {
        fputs("weir health: the answer could not be written\n", stderr);
        exit_code = EXIT_OUTPUT;
    }
    buf_reset(out);
    return exit_code;
}

int health_answer(const struct health_ask *ask, const struct view *view)
{
    struct buf out = BUF_INIT(HEALTH_OUTPUT_MAX);
    int exit_code = health_exit_code(ask, view);
    if (ask->quiet) {
        return exit_code;
    }
    health_write(ask, view, &out);
    return health_print(&out, exit_code);
}
