// SPDX-License-Identifier: Apache-2.0
// The seam between check.c and the types of checks.
#ifndef WEIR_HEALTH_CHECKS_CHECK_INTERNAL_H
#define WEIR_HEALTH_CHECKS_CHECK_INTERNAL_H

#include "health/checks/check.h"

struct check_kind {
    size_t size; // of its struct, which begins with a struct check
    // Begins; may end the check right away.
    void (*start)(struct check *check);
    // The deadline passed: ends the check, now or soon.
    void (*expire)(struct check *check);
    // Lets go of everything, and calls check_gone when nothing refers to the memory any more: now,
    // or when handles are closed.
    void (*stop)(struct check *check);
};

struct check {
    const struct check_kind *kind;
    struct check_room *room;
    const struct service *service; // borrowed until the end
    const struct check_spec *spec; // of the service
    check_done_fn *done;
    void *arg;
    struct timer deadline;
    struct job finish;
    uint64_t started_ns;
    struct check_record record;
    bool ended;     // the record is final, stop was called
    bool delivered; // done was called, or nobody wants to know
    bool gone;
};

extern const struct check_kind check_http;
extern const struct check_kind check_http_plain;
extern const struct check_kind check_tcp;
extern const struct check_kind check_process;
extern const struct check_kind check_exec;

// Ends the check: stops it, and has done called from a deferred job. Control characters of the
// message become blanks. The first end wins.
void check_end(struct check *check, enum check_outcome outcome, const char *format, ...)
    WEIR_PRINTF(3, 4);
// "timeout after 5.0 s while …"; doing may be "".
void check_end_timeout(struct check *check, const char *doing);
// For results of calls to the network: "connect: refused".
void check_end_result(struct check *check, const char *doing, enum weir_result result);
uint64_t check_elapsed_ns(const struct check *check);
void check_gone(struct check *check);

#endif
