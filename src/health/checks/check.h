// SPDX-License-Identifier: Apache-2.0
// One run of one service's check: started, it ends with exactly one record, or is cancelled. What
// the four types have in common (deadline, clock, the record, memory) is check.c's; a type is one
// row of functions.
#ifndef WEIR_HEALTH_CHECKS_CHECK_H
#define WEIR_HEALTH_CHECKS_CHECK_H

#include "health/registry/registry.h"
#include "loop/worker.h"

enum check_outcome {
#define CHECK_OUTCOME(symbol, passed, label) OUTCOME_##symbol,
#include "health/checks/outcomes.def"
#undef CHECK_OUTCOME
    CHECK_OUTCOME_COUNT,
};
bool check_outcome_passed(enum check_outcome outcome);
// The problem_type of the API.
const char *check_outcome_label(enum check_outcome outcome);

#define CHECK_MESSAGE_SIZE 201

// Nanoseconds from the start to the end of each phase; 0: it was not reached.
struct check_phases {
    uint64_t name_ns;
    uint64_t connect_ns;
    uint64_t tls_ns;
    uint64_t first_byte_ns;
};

// The result record (spec section 2.5).
struct check_record {
    uint64_t wall_ms; // of the end
    uint64_t latency_ns;
    enum check_outcome outcome;
    int code; // HTTP status or exit status; 0: there was none
    struct check_phases phases;
    uint64_t tls_not_after_s;         // seconds since 1970; 0: no certificate was seen
    char message[CHECK_MESSAGE_SIZE]; // one line of valid UTF-8 without control characters
};

struct swarm;

// What all checks of a worker share.
struct check_room {
    struct worker *worker;
    // Where ssh keeps its shared connections: a private directory, at most CHECK_SSH_DIR_MAX bytes
    // long. NULL: connections are not shared.
    const char *ssh_dir;
    struct swarm *swarm;   // owned; of the sockets; NULL: no check has opened one yet
    struct list lingering; // programs that outlived their checks, until they are dead
};
#define CHECK_SSH_DIR_MAX 48 // "/", 40 digits and a suffix of ssh's must fit into a socket's name

void check_room_init(struct check_room *room, struct worker *worker, const char *ssh_dir);
// No check may be under way. Waits a moment for programs that are being killed.
void check_room_fini(struct check_room *room);

struct check;
typedef void check_done_fn(void *arg, const struct check_record *record);

// Starts the check of a service that is to be checked (service_monitored); the service must live
// until the end. done is called once and never synchronously, timeout_ns after the start at the
// latest; for a program that has to be killed, two seconds later. NULL when memory ran out: no
// callback comes.
struct check *check_start(struct check_room *room, const struct service *service,
    check_done_fn *done, void *arg) WEIR_MUST_CHECK;
// Gives it up at once: no callback comes. A program that runs is killed. NULL is fine; not to be
// used after the callback.
void check_cancel(struct check *check);

// Which limit of parallelism a check counts against (spec section 2.4).
enum check_lane { LANE_SOCKET, LANE_SSH, LANE_EXEC };
#define CHECK_LANE_COUNT 3
enum check_lane check_lane(const struct service *service);

#endif
