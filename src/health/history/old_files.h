// SPDX-License-Identifier: Apache-2.0
// What the reference kept in a user's directory (spec section 8): logs of uptime and the frequency
// of problems. Read once, at the start, and never written.
//
//   DIR/uptime_events/*_events.jsonl      {"timestamp", "event_type", "service", "machine",
//   "details"} DIR/metrics/uptime/*.log              time|event|service|machine|details
//   DIR/knowledge/problem_frequency.txt   time|problem_type|service|severity
#ifndef WEIR_HEALTH_OLD_FILES_H
#define WEIR_HEALTH_OLD_FILES_H

#include "base/arena.h"
#include "health/event_ring.h"

#define OLD_EVENTS_MAX 100000 // more are passed over
#define OLD_PROBLEMS_MAX 256  // kinds
#define OLD_SERVICES_MAX 16   // named with each

enum old_severity { OLD_INFO, OLD_WARNING, OLD_ERROR, OLD_CRITICAL };
#define OLD_SEVERITY_COUNT 4
// "info", "warning", "error", "critical".
const char *old_severity_name(enum old_severity severity);

struct old_problem {
    const char *type;
    uint64_t count;
    uint64_t last_wall_ms;
    enum old_severity severity; // the gravest
    const char *services[OLD_SERVICES_MAX];
    size_t service_count;
};

// Zeroed before. Everything lies in the arena.
struct old_files {
    struct arena arena;
    struct health_event *events; // by time once they are read
    size_t event_count;
    size_t event_size;
    struct old_problem problems[OLD_PROBLEMS_MAX];
    size_t problem_count;
    unsigned lines; // read
    unsigned bad;   // of them, those that were not understood
};

// Without memory, or when files cannot be read, there is less of it.
void old_files_read(struct old_files *files, const char *directory);
// Frees the events; problems stay.
void old_files_drop_events(struct old_files *files);
void old_files_fini(struct old_files *files);

// ---- One line each; a line that is not understood is counted.

void old_files_take_json(struct old_files *files, struct slice line);
void old_files_take_log(struct old_files *files, struct slice line);
void old_files_take_problem(struct old_files *files, struct slice line);

#endif
