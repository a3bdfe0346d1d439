// SPDX-License-Identifier: Apache-2.0
// A view as a page that is readable without scripts: the state of everything as it was when the
// page was asked for, and its age. Where there are scripts they put their own in its place. Names
// and messages come from files and from peers, and only ever stand as text (markup.h). A state is
// always a word; its colour is beside it.
#include <stdio.h>

#include "base/time.h"
#include "health/view/markup.h"
#include "health/view/view.h"

#define REFRESH_S 15

static void put_time(struct buf *out, uint64_t wall_ms)
{
    char time[TIME_ISO_SIZE];
    if (wall_ms == 0) {
        buf_append_str(out, "never");
        return;
    }
    time_to_iso(wall_ms, time);
    buf_printf(out, "<time datetime=\"%s\">%s</time>", time, time);
}

static void put_age(struct buf *out, uint64_t now_ms, uint64_t then_ms)
{
    if (then_ms == 0) {
        buf_append_str(out, "never");
        return;
    }
    unsigned long long age_s = now_ms > then_ms ? (now_ms - then_ms) / 1000 : 0;
    if (age_s < 120) {
        buf_printf(out, "%llu s ago", age_s);
    } else if (age_s < 7200) {
        buf_printf(out, "%llu min ago", age_s / 60);
    } else {
        buf_printf(out, "%llu h ago", age_s / 3600);
    }
}

static void put_head(const struct view *view, const char *notice, struct buf *out)
{
    const char *status = health_status_name(view->overall);
    buf_printf(out,
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
        "<title>%s - weir health</title>\n"
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
        "<noscript><meta http-equiv=\"refresh\" content=\"%d\"></noscript>\n"
        "<link rel=\"icon\" href=\"health/icon/%s.svg\">\n"
        "<link rel=\"stylesheet\" href=\"health/style.css\">\n"
        "<script src=\"health/app.js\" defer></script></head><body><div id=\"page\">\n",
        status, REFRESH_S, status);
    buf_printf(out,
        "<header class=\"banner %s\"><h1>Cluster: %s</h1>\n"
        "<p>Score %u. %u healthy, %u degraded, %u unhealthy, %u unknown; %zu services on %zu "
        "machines.<br><small>As of ",
        status, status, view->score, view->counts[HEALTH_HEALTHY], view->counts[HEALTH_DEGRADED],
        view->counts[HEALTH_UNHEALTHY], view->counts[HEALTH_UNKNOWN], view->service_count,
        view->machine_count);
    put_time(out, view->wall_ms);
    buf_append_str(out, "</small></p>");
    if (notice != NULL) {
        buf_append_str(out, "<p class=\"notice\">");
        markup_put(out, notice);
        buf_append_str(out, "</p>");
    }
    buf_append_str(out, "</header>\n");
}

static void put_percent(struct buf *out, const char *name, double percent)
{
    if (percent >= 0) {
        buf_printf(out, "%s %.0f %% ", name, percent);
    }
}

static void put_machines(const struct view *view, struct buf *out)
{
    buf_append_str(out, "<h2>Machines</h2>\n<ul class=\"machines\">\n");
    for (size_t i = 0; i < view->machine_count; i++) {
        const struct view_machine *machine = &view->machines[i];
        const char *status = health_status_name(machine->status);
        buf_printf(out, "<li class=\"%s\"><strong>", status);
        markup_put(out, machine->machine);
        buf_printf(out, "</strong>: %s<br>%u of %u healthy<br><small>", status,
            machine->counts[HEALTH_HEALTHY], machine->services_count);
        put_percent(out, "cpu", machine->cpu_percent);
        put_percent(out, "memory", machine->memory_percent);
        put_percent(out, "disk", machine->disk_percent);
        buf_printf(out, "%s</small></li>\n",
            machine->reachable == VIEW_UNREACHABLE ? "not reachable" : "");
    }
    buf_append_str(out, "</ul>\n");
}

// ---- Services

static void put_option(struct buf *out, const char *word, const char *chosen)
{
    buf_printf(out, "<option%s>%s</option>", strcmp(word, chosen) == 0 ? " selected" : "", word);
}

static void put_filter(const struct view_page *page, struct buf *out)
{
    buf_append_str(out, "<h2>Services</h2>\n<form method=\"get\" action=\"health\">"
                        "<label>State <select name=\"status\"><option value=\"\">all</option>");
    for (unsigned i = HEALTH_STATUS_COUNT; i-- > 0;) {
        put_option(out, health_status_name(i), page->status);
    }
    buf_append_str(out, "</select></label><label>Machine <input name=\"machine\" value=\"");
    markup_put(out, page->machine);
    buf_append_str(out, "\"></label><label>Text <input name=\"text\" value=\"");
    markup_put(out, page->text);
    buf_append_str(out, "\"></label><button>Show</button></form>\n");
}

static bool is_shown(const struct view_service *row, const struct view_page *page)
{
    return (page->status[0] == '\0' ||
               strcmp(page->status, health_status_name(row->status)) == 0) &&
           (page->machine[0] == '\0' || strcmp(page->machine, row->machine) == 0) &&
           (page->text[0] == '\0' ||
               slice_contains_nocase(slice_str(row->service), slice_str(page->text)) ||
               slice_contains_nocase(slice_str(row->machine), slice_str(page->text)));
}

static void put_service(const struct view *view, const struct view_service *row, struct buf *out)
{
    const char *status = health_status_name(row->status);
    buf_printf(out, "<tr><td><span class=\"state %s\">%s%s</span></td><td>", status, status,
        row->maintenance ? ", maintenance" : "");
    markup_put(out, row->service);
    buf_append_str(out, "</td><td>");
    markup_put(out, row->machine);
    buf_printf(out, "</td><td class=\"number\">%u</td><td class=\"number\">", row->score);
    if (row->latency_ms >= 0) {
        buf_printf(out, "%.1f ms", row->latency_ms);
    }
    buf_append_str(out, "</td><td class=\"number\">");
    if (row->uptime_24h >= 0) {
        buf_printf(out, "%.2f %%", row->uptime_24h);
    }
    buf_append_str(out, "</td><td>");
    put_age(out, view->wall_ms, row->last_checked_ms);
    buf_printf(out, "</td><td class=\"number\">%u</td><td>", row->consecutive_failures);
    for (unsigned i = 0; i < row->issue_count; i++) {
        buf_append_str(out, i > 0 ? "<br>" : "");
        markup_put(out, row->issues[i].message);
    }
    buf_append_str(out, "</td></tr>\n");
}

static void put_services(const struct view *view, const struct view_page *page, struct buf *out)
{
    size_t shown = 0;
    put_filter(page, out);
    buf_append_str(out,
        "<div class=\"scroll\"><table><thead><tr><th>State</th><th>Service</th><th>Machine</th>"
        "<th>Score</th><th>Latency</th><th>24 h</th><th>Last check</th><th>Failures</th>"
        "<th>Issue</th></tr></thead><tbody>\n");
    for (size_t m = 0; m < view->machine_count; m++) {
        for (size_t i = 0; i < view->service_count; i++) {
            const struct view_service *row = &view->services[i];
            if (strcmp(row->machine, view->machines[m].machine) == 0 && is_shown(row, page)) {
                put_service(view, row, out);
                shown++;
            }
        }
    }
    buf_printf(out, "</tbody></table></div>\n<p class=\"soft\">%zu of %zu services shown.</p>\n",
        shown, view->service_count);
}

void view_write_page(const struct view *view, const struct view_page *page, struct buf *out)
{
    put_head(view, page->notice, out);
    if (page->registry_error != NULL) {
        buf_append_str(out, "<p class=\"error\">The registry could not be read again; what was "
                            "read before goes on. ");
        markup_put(out, page->registry_error);
        buf_append_str(out, "</p>\n");
    }
    put_machines(view, out);
    put_services(view, page, out);
    buf_append_str(out, "<footer class=\"soft\"><p>weir " WEIR_VERSION
                        ". The same for programs: <a href=\"api/health/dashboard\">JSON</a>, "
                        "<a href=\"metrics\">metrics</a>.</p></footer></div></body></html>\n");
}
