// SPDX-License-Identifier: Apache-2.0
// A view as JSON and as text for a terminal. Names and messages come from files and from peers: in
// text every control character is shown as '?', so that nothing can steer the terminal.
#include <stdio.h>

#include "base/time.h"
#include "base/utf8.h"
#include "health/view.h"
#include "proto/json_write.h"

// ---- JSON

static void write_time(struct json_writer *writer, const char *key, uint64_t wall_ms)
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

static void write_issues(struct json_writer *writer, const struct view_service *row)
{
    jsonw_array_begin(writer, "issues");
    for (unsigned i = 0; i < row->issue_count; i++) {
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

static void write_service(struct json_writer *writer, const struct view_service *row)
{
    jsonw_object_begin(writer, NULL);
    jsonw_text(writer, "service", row->service);
    jsonw_text(writer, "machine", row->machine);
    jsonw_text(writer, "status", health_status_name(row->status));
    jsonw_u64(writer, "health_score", row->score);
    write_issues(writer, row);
    write_number(writer, "uptime_seconds", row->uptime_s, 1000);
    write_number(writer, "response_time_ms", row->response_ms, 1000);
    write_time(writer, "last_checked", row->last_checked_ms);
    write_time(writer, "last_pass", row->last_pass_ms);
    write_time(writer, "last_failure", row->last_failure_ms);
    jsonw_u64(writer, "consecutive_failures", row->consecutive_failures);
    jsonw_text(writer, "check_type", row->check_type);
    jsonw_text(writer, "state_reason", row->reason);
    jsonw_text(writer, "color", row->color);
    jsonw_bool(writer, "maintenance", row->maintenance);
    jsonw_bool(writer, "stale", row->stale);
    write_last(writer, row);
    jsonw_object_end(writer);
}

void view_write_service_json(const struct view_service *service, struct buf *out)
{
    struct json_writer writer;
    json_writer_init(&writer, out);
    write_service(&writer, service);
}

static void write_machine(struct json_writer *writer, const struct view_machine *machine)
{
    jsonw_object_begin(writer, NULL);
    jsonw_text(writer, "machine", machine->machine);
    jsonw_text(writer, "status", health_status_name(machine->status));
    jsonw_null(writer, "cpu_usage");
    jsonw_null(writer, "memory_usage");
    jsonw_null(writer, "disk_usage");
    jsonw_u64(writer, "services_count", machine->services_count);
    jsonw_object_end(writer);
}

void view_write_json(const struct view *view, struct buf *out)
{
    struct json_writer writer;
    json_writer_init(&writer, out);
    jsonw_object_begin(&writer, NULL);
    write_time(&writer, "timestamp", view->wall_ms);
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
        write_service(&writer, &view->services[i]);
    }
    jsonw_array_end(&writer);
    jsonw_array_begin(&writer, "machines");
    for (size_t i = 0; i < view->machine_count; i++) {
        write_machine(&writer, &view->machines[i]);
    }
    jsonw_array_end(&writer);
    jsonw_object_end(&writer);
}

// ---- Text

#define CELL_WIDTH_MAX 40
#define ISSUE_WIDTH_MAX 100

static size_t next_len(struct slice text)
{
    size_t len = utf8_sequence_len(text);
    return len == 0 ? 1 : len;
}

static size_t width_of(const char *text)
{
    size_t width = 0;
    struct slice rest = slice_str(text);
    for (; rest.len > 0; rest = slice_skip(rest, next_len(rest))) {
        width++;
    }
    return width;
}

// At most width_max characters, then blanks up to width.
static void put_cell(struct buf *out, const char *text, size_t width, size_t width_max)
{
    struct slice rest = slice_str(text);
    size_t used = 0;
    for (; rest.len > 0 && used < width_max; used++) {
        size_t len = next_len(rest);
        unsigned char first = (unsigned char)rest.at[0];
        bool broken = utf8_sequence_len(rest) == 0;
        bool c1_control = len == 2 && first == 0xc2 && (unsigned char)rest.at[1] < 0xa0;
        if (broken || first < 0x20 || first == 0x7f || c1_control) {
            (void)buf_append_byte(out, '?'); // out->failed is looked at in the end
        } else {
            (void)buf_append(out, rest.at, len);
        }
        rest = slice_skip(rest, len);
    }
    for (; used < width; used++) {
        (void)buf_append_byte(out, ' ');
    }
}

static const char *color_code(enum health_status status)
{
    static const char *const codes[HEALTH_STATUS_COUNT] = {
        [HEALTH_UNKNOWN] = "\033[90m",
        [HEALTH_UNHEALTHY] = "\033[31m",
        [HEALTH_DEGRADED] = "\033[33m",
        [HEALTH_HEALTHY] = "\033[32m",
    };
    return codes[status];
}

static void put_status(struct buf *out, const struct view_style *style, enum health_status status,
    const char *text, size_t width)
{
    (void)buf_append_str(out, style->color ? color_code(status) : "");
    put_cell(out, text, width, CELL_WIDTH_MAX);
    (void)buf_append_str(out, style->color ? "\033[0m" : "");
}

static void upper_name(enum health_status status, char text[16])
{
    const char *name = health_status_name(status);
    size_t i = 0;
    for (; name[i] != '\0' && i < 15; i++) {
        text[i] = (char)(name[i] - 32);
    }
    text[i] = '\0';
}

static void describe_age(uint64_t now_ms, uint64_t then_ms, char text[24])
{
    uint64_t seconds = now_ms > then_ms ? (now_ms - then_ms) / 1000 : 0;
    if (then_ms == 0) {
        snprintf(text, 24, "never");
    } else if (seconds < 120) {
        snprintf(text, 24, "%us ago", (unsigned)seconds);
    } else if (seconds < 7200) {
        snprintf(text, 24, "%um ago", (unsigned)(seconds / 60));
    } else {
        snprintf(text, 24, "%lluh ago", (unsigned long long)(seconds / 3600));
    }
}

static void describe_latency(double ms, char text[24])
{
    if (ms < 0) {
        snprintf(text, 24, "-");
    } else if (ms < 1000) {
        snprintf(text, 24, "%.1fms", ms);
    } else {
        snprintf(text, 24, "%.1fs", ms / 1000);
    }
}

static void put_head(const struct view *view, const struct view_style *style, struct buf *out)
{
    char time[TIME_ISO_SIZE];
    char name[16];
    size_t machines = 0;
    for (size_t i = 0; i < view->machine_count; i++) {
        machines += view->machines[i].services_count > 0;
    }
    time_to_iso(view->wall_ms, time);
    upper_name(view->overall, name);
    (void)buf_append_str(out, "CLUSTER ");
    put_status(out, style, view->overall, name, 0);
    buf_printf(out,
        "  score %u  %u healthy, %u degraded, %u unhealthy, %u unknown  "
        "(%zu services on %zu machines)  %s, %s\n",
        view->score, view->counts[HEALTH_HEALTHY], view->counts[HEALTH_DEGRADED],
        view->counts[HEALTH_UNHEALTHY], view->counts[HEALTH_UNKNOWN], view->service_count, machines,
        view->source, time);
}

struct widths {
    size_t service;
    size_t machine;
};

static size_t at_most(size_t width, size_t max)
{
    return width < max ? width : max;
}

static struct widths measure(const struct view *view)
{
    struct widths widths = {strlen("SERVICE"), strlen("MACHINE")};
    for (size_t i = 0; i < view->service_count; i++) {
        size_t service = at_most(width_of(view->services[i].service), CELL_WIDTH_MAX);
        size_t machine = at_most(width_of(view->services[i].machine), CELL_WIDTH_MAX);
        widths.service = service > widths.service ? service : widths.service;
        widths.machine = machine > widths.machine ? machine : widths.machine;
    }
    return widths;
}

static void put_row(const struct view *view, const struct view_service *row,
    const struct view_style *style, const struct widths *widths, struct buf *out)
{
    char cell[24];
    char name[16];
    put_cell(out, row->service, widths->service, CELL_WIDTH_MAX);
    (void)buf_append_str(out, "  ");
    put_cell(out, row->machine, widths->machine, CELL_WIDTH_MAX);
    (void)buf_append_str(out, "  ");
    upper_name(row->status, name);
    put_status(out, style, row->status, name, 9);
    describe_latency(row->latency_ms, cell);
    buf_printf(out, "  %5u  %9s", row->score, cell);
    describe_age(view->wall_ms, row->last_checked_ms, cell);
    buf_printf(out, "  %-10s", cell);
    if (row->maintenance) {
        (void)buf_append_str(out, "  [maintenance]");
    }
    if (row->issue_count > 0) {
        (void)buf_append_str(out, "  ");
        put_cell(out, row->issues[0].message, 0, ISSUE_WIDTH_MAX);
    }
    while (out->len > 0 && out->at[out->start + out->len - 1] == ' ') {
        out->len--;
    }
    (void)buf_append_byte(out, '\n');
}

void view_write_table(const struct view *view, const struct view_style *style, struct buf *out)
{
    struct widths widths = measure(view);
    put_head(view, style, out);
    if (view->service_count == 0) {
        return;
    }
    (void)buf_append_byte(out, '\n');
    put_cell(out, "SERVICE", widths.service, CELL_WIDTH_MAX);
    (void)buf_append_str(out, "  ");
    put_cell(out, "MACHINE", widths.machine, CELL_WIDTH_MAX);
    (void)buf_append_str(out, "  STATUS     SCORE    LATENCY  LAST-CHECK  ISSUE\n");
    for (size_t i = 0; !style->by_machine && i < view->service_count; i++) {
        put_row(view, &view->services[i], style, &widths, out);
    }
    for (size_t m = 0; style->by_machine && m < view->machine_count; m++) {
        for (size_t i = 0; i < view->service_count; i++) {
            if (strcmp(view->services[i].machine, view->machines[m].machine) == 0) {
                put_row(view, &view->services[i], style, &widths, out);
            }
        }
    }
}

void view_write_service(
    const struct view_service *service, const struct view_style *style, struct buf *out)
{
    (void)buf_append_str(out, "Health Check: ");
    put_cell(out, service->service, 0, SIZE_MAX);
    (void)buf_append_str(out, " on ");
    put_cell(out, service->machine, 0, SIZE_MAX);
    (void)buf_append_str(out, "\nStatus: ");
    put_status(out, style, service->status, health_status_name(service->status), 0);
    buf_printf(out, "%s\nHealth Score: %u/100\n", service->maintenance ? " (maintenance)" : "",
        service->score);
    if (service->interval_s > 0) {
        buf_printf(out, "Check: %s every %g s, timeout %g s, unhealthy after %u failures\n",
            service->check_type, service->interval_s, service->timeout_s,
            service->failure_threshold);
    }
    if (service->message != NULL) {
        buf_printf(out, "Consecutive Failures: %u\nLast Result: ", service->consecutive_failures);
        put_cell(out, service->message, 0, SIZE_MAX);
        buf_printf(out, " (%.1f ms)\n", service->latency_ms);
    }
    if (service->issue_count == 0) {
        (void)buf_append_str(out, "\nNo issues detected\n");
        return;
    }
    (void)buf_append_str(out, "\nIssues:\n");
    for (unsigned i = 0; i < service->issue_count; i++) {
        const struct view_issue *issue = &service->issues[i];
        buf_printf(out, "  - [%s] ",
            strcmp(issue->type, "error") == 0     ? "ERROR"
            : strcmp(issue->type, "warning") == 0 ? "WARNING"
                                                  : "INFO");
        put_cell(out, issue->message, 0, SIZE_MAX);
        (void)buf_append_byte(out, '\n');
    }
}

int view_exit_code(const struct view *view)
{
    if (view->counts[HEALTH_UNHEALTHY] > 0) {
        return 2;
    }
    if (view->counts[HEALTH_DEGRADED] > 0) {
        return 1;
    }
    return view->counts[HEALTH_UNKNOWN] > 0 || view->service_count == 0 ? 3 : 0;
}
