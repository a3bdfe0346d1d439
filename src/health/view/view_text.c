// SPDX-License-Identifier: Apache-2.0
// A view as text for a terminal. Names and messages come from files and from peers: every control
// character is shown as '?', so that nothing can steer the terminal.
#include <stdio.h>

#include "base/time.h"
#include "base/utf8.h"
#include "health/view/view.h"

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
        if (service->recent[0] != '\0') {
            buf_printf(out, "Recent Results: %s\n", service->recent);
        }
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

// Whole, so that no two names become one; blanks up to width.
static void put_whole(struct buf *out, const char *text, size_t width)
{
    put_cell(out, text == NULL ? "" : text, width, SIZE_MAX);
    (void)buf_append_byte(out, ' ');
}

void view_write_status_table(const struct view *view, struct buf *out)
{
    buf_printf(
        out, "%-25s %-10s %-15s %-10s %s\n", "SERVICE", "TYPE", "MACHINE", "STATUS", "HEALTH");
    for (size_t i = 0; i < view->service_count; i++) {
        const struct view_service *row = &view->services[i];
        bool unknown = row->status == HEALTH_UNKNOWN;
        bool up = row->status == HEALTH_HEALTHY || row->status == HEALTH_DEGRADED;
        put_whole(out, row->service, 25);
        put_whole(out, row->target->service->deployment_type, 10);
        put_whole(out, row->machine, 15);
        put_whole(out, unknown ? "unknown" : up ? "running" : "stopped", 10);
        buf_append_str(out, unknown ? "N/A\n" : up ? "✓\n" : "✗\n");
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
