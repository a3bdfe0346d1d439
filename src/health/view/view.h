// SPDX-License-Identifier: Apache-2.0
// What the monitor knows at one moment, as everybody shows it: the API's documents, the terminal.
// Text borrows from the monitor and the registry; a view is used at once and thrown away.
#ifndef WEIR_HEALTH_VIEW_H
#define WEIR_HEALTH_VIEW_H

#include "base/arena.h"
#include "health/monitor.h"
#include "proto/json_write.h"

#define VIEW_ISSUES_MAX 4
#define VIEW_NONE (-1.0)

struct view_issue {
    const char *type; // "error", "warning", "info"
    const char *message;
};

struct view_service {
    const char *service;
    const char *machine;
    enum health_status status;
    const char *reason; // word of the state, "single check" of a round
    const char *color;
    unsigned score;
    struct view_issue issues[VIEW_ISSUES_MAX];
    unsigned issue_count;
    uint64_t last_checked_ms; // wall clock; 0: never. So are the next two
    uint64_t last_pass_ms;
    uint64_t last_failure_ms;
    double uptime_s;    // VIEW_NONE: not healthy
    double uptime_24h;  // percent of the day's results that passed; VIEW_NONE: not known
    double response_ms; // VIEW_NONE: never passed
    double latency_ms;  // of the last result; VIEW_NONE: none
    unsigned consecutive_failures;
    char recent[STATE_RECENT_COUNT +
                1]; // the newest results, the newest last: '.' passed, 'x' failed
    const char *check_type;
    double interval_s; // of a check that is none: 0, as the next two
    double timeout_s;
    unsigned failure_threshold;
    const char *message;      // of the last result; NULL: none
    const char *problem_type; // of the last result; NULL: it passed, or there is none
    int code;
    bool maintenance;
    const char *maintenance_reason; // NULL: none given
    const char *checked_by;         // of several monitors; "": none of them; NULL: there is one
    bool stale;
    bool disabled;
    const struct target *target; // NULL: from elsewhere
};

enum view_reachable { VIEW_NOT_ASKED, VIEW_UNREACHABLE, VIEW_REACHABLE };

struct view_machine {
    const char *machine;
    enum health_status status;
    unsigned services_count;
    unsigned counts[HEALTH_STATUS_COUNT]; // of the counted ones
    uint64_t last_checked_ms;             // the newest of its services; 0: never
    const struct machine *entry;          // NULL: from elsewhere
    double cpu_percent;                   // VIEW_NONE: not known; so are the next three
    double memory_percent;
    double disk_percent;
    double load1;
    enum view_reachable reachable;
};

struct view {
    struct arena arena;
    uint64_t wall_ms;
    const char *source; // "daemon", "direct"
    enum health_status overall;
    unsigned score;
    unsigned counts[HEALTH_STATUS_COUNT]; // of all services
    struct view_service *services;
    size_t service_count;
    struct view_machine *machines; // those declared, and those that services name
    size_t machine_count;
    const char *registry_path;  // of the monitor that answered; NULL: not told
    const char *registry_error; // NULL: it is fine
};

// Which services a view shows; empty slices: any.
struct view_filter {
    struct slice service;
    struct slice machine;
    bool statuses[HEALTH_STATUS_COUNT];
    bool by_status;
};
bool view_wants(const struct view_filter *filter, struct slice service, struct slice machine,
    enum health_status status);

// Counts, score and overall are those of what the filter lets through. WEIR_MEMORY is the only
// other result. The view wants view_fini in every case.
enum weir_result view_of_monitor(struct view *view, const struct monitor *monitor,
    const struct view_filter *filter) WEIR_MUST_CHECK;
// The row of one service, without sums. The same results.
enum weir_result view_of_target(struct view *view, const struct target *target) WEIR_MUST_CHECK;
// From the JSON of GET /api/health/dashboard (view_read.c); it is copied. WEIR_MALFORMED: it is
// none.
enum weir_result view_of_dashboard(
    struct view *view, struct slice json, const struct view_filter *filter) WEIR_MUST_CHECK;
void view_fini(struct view *view);
// Room for so many rows; for those who fill a view.
bool view_make_room(struct view *view, size_t services, size_t machines);
// Machines, counts and overall from the rows of services.
void view_sum_up(struct view *view, bool compat_rollup);

// ---- JSON (view_json.c)

// One document as `weir health --json-output` prints it, without a line end (spec section 6.2).
void view_write_json(const struct view *view, struct buf *out);
// The bare service object of the command line.
void view_write_service_json(const struct view_service *service, struct buf *out);
// The API's: into an object that is open; all services as an array; one object.
void view_write_service_members(const struct view_service *service, struct json_writer *writer);
void view_write_services(const struct view *view, struct json_writer *writer, const char *key);
void view_write_machine(const struct view_machine *machine, struct json_writer *writer);
// null for 0.
void view_write_time(struct json_writer *writer, const char *key, uint64_t wall_ms);
// How a service is checked, as the member "check"; null when it is not.
void view_write_check(struct json_writer *writer, const struct view_service *row);

// ---- HTML (view_html.c)

struct view_page {
    const char *status; // what the reader asked to see; "": all. So are the next two
    const char *machine;
    const char *text; // in the name of a service or its machine
    const char *registry_error;
    const char *notice; // NULL: none
};

// A whole document, which a browser without scripts asks for again by itself (spec section 7.2).
void view_write_page(const struct view *view, const struct view_page *page, struct buf *out);

// ---- Text (view_text.c)

struct view_style {
    bool color;
    bool by_machine; // in the order of the machines
};

// Head line and table.
void view_write_table(const struct view *view, const struct view_style *style, struct buf *out);
// One service on several lines.
void view_write_service(
    const struct view_service *service, const struct view_style *style, struct buf *out);
// The table of `portoser status`, of a view of a monitor in this process.
void view_write_status_table(const struct view *view, struct buf *out);
// 0 all healthy, 1 some degraded, 2 some unhealthy, 3 some unknown and none worse; nothing: 3.
int view_exit_code(const struct view *view);

#endif
