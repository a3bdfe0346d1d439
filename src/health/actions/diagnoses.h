// SPDX-License-Identifier: Apache-2.0
// Diagnoses that somebody asked for (spec section 4.3): a service and what it depends on are
// checked now, and what is found is answered, and kept for those who ask later. On the monitor's
// worker.
#ifndef WEIR_HEALTH_DIAGNOSES_H
#define WEIR_HEALTH_DIAGNOSES_H

#include "base/buf.h"
#include "base/list.h"
#include "health/monitor.h"

#define DIAGNOSIS_TARGETS_MAX 32  // the service, and the first of what it needs
#define DIAGNOSES_RUNNING_MAX 16  // more are refused
#define DIAGNOSES_KEPT_MAX 256    // of services; the oldest goes first
#define DIAGNOSIS_TEXT_MAX 262144 // of one result

struct health;

struct diagnoses {
    struct list running;
    size_t running_count;
    struct list kept; // the newest first
    size_t kept_count;
};

void diagnoses_init(struct diagnoses *diagnoses);
// Ends all of them without an answer: their connections are gone. Fine for zeroed ones.
void diagnoses_stop(struct diagnoses *diagnoses);

// A check of the target ended, or the target is about to go. May answer requests.
void diagnoses_heard(struct health *health, const struct target *target);
void diagnoses_lost(struct health *health, const struct target *target);

// The service first, then what it depends on, and what that depends on; each once. Returns how
// many.
size_t diagnosis_closure(struct monitor *monitor, struct target *service,
    struct target *ret_targets[DIAGNOSIS_TARGETS_MAX]);

// ---- What was found (diagnosis_report.c)

struct diagnosis_step {
    const struct target *target; // NULL: it went away meanwhile
    bool awaited;                // its check has not ended
    bool heard;                  // there was a result
};

struct diagnosis_report {
    const struct health *health;
    const char *service;
    const char *machine;
    uint64_t begun_wall_ms;
    double duration_s;
    const struct diagnosis_step *steps; // the service is the first
    size_t count;
};

// Three documents: the DiagnosticResult as a whole, and its problems alone; an array. Returns how
// many problems there are.
size_t diagnosis_write(
    const struct diagnosis_report *report, struct buf *ret_whole, struct buf *ret_problems);

#endif
