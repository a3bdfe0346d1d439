// SPDX-License-Identifier: Apache-2.0
// What weir doctor found: one row a check, and how each finding is judged. No I/O.
#ifndef WEIR_CLI_DOCTOR_H
#define WEIR_CLI_DOCTOR_H

#include <jansson.h>

#include "cli/doctor/probe.h"

enum doctor_check {
#define DOCTOR_CHECK(symbol, name) DOCTOR_##symbol,
#include "cli/doctor/doctor_checks.def"
#undef DOCTOR_CHECK
    DOCTOR_CHECK_COUNT
};

enum doctor_status { DOCTOR_SKIP, DOCTOR_PASS, DOCTOR_WARN, DOCTOR_FAIL, DOCTOR_STATUS_COUNT };

#define DOCTOR_MESSAGE_SIZE 1024

struct doctor_finding {
    enum doctor_status status;
    char message[DOCTOR_MESSAGE_SIZE]; // "": nobody has looked
    json_t *details;                   // owned, or NULL
};

struct doctor_report {
    const struct profile *profile; // borrowed
    struct doctor_finding findings[DOCTOR_CHECK_COUNT];
};

// The text is made plain.
void doctor_set(struct doctor_report *report, enum doctor_check check, enum doctor_status status,
    const char *format, ...) WEIR_PRINTF(4, 5);
// Takes the value over; NULL is fine.
void doctor_add_detail(
    struct doctor_report *report, enum doctor_check check, const char *key, json_t *value);
// Every check that nobody has looked at is skipped for this reason.
void doctor_skip_rest(struct doctor_report *report, const char *reason);
void doctor_fini(struct doctor_report *report);

// ---- Judgements

// The profile as it was resolved, and what was said about it (NULL: nothing).
void doctor_judge_profile(struct doctor_report *report, const char *problem, uint64_t wall_ms);
void doctor_judge_probe(
    struct doctor_report *report, const struct probe_result *probe, uint64_t wall_ms);
// theirs_ms: the engine's clock when ours was wall_ms.
void doctor_judge_clock(struct doctor_report *report, uint64_t theirs_ms, uint64_t wall_ms);

// ---- Showing

size_t doctor_count(const struct doctor_report *report, enum doctor_status status);
enum weir_result doctor_write_table(
    const struct doctor_report *report, struct buf *out) WEIR_MUST_CHECK;
// NULL without memory.
json_t *doctor_to_json(const struct doctor_report *report, uint64_t wall_ms) WEIR_MUST_CHECK;

#endif
