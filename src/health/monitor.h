// SPDX-License-Identifier: Apache-2.0
// The monitor of one registry on one worker: it schedules the checks, feeds their results to the
// states, and tells a listener what changed. What others show (API, sockets, history, terminal)
// they read from its targets, on its worker.
#ifndef WEIR_HEALTH_MONITOR_H
#define WEIR_HEALTH_MONITOR_H

#include "base/map.h"
#include "health/checks/check.h"
#include "health/registry/registry.h"
#include "health/rollup.h"
#include "health/scheduler.h"
#include "health/state.h"

struct monitor;

enum result_kind { RESULT_PASS, RESULT_FAIL, RESULT_TIMEOUT };
#define RESULT_KIND_COUNT 3

// What a reload makes of a target.
enum target_change { CHANGE_GONE, CHANGE_NEW, CHANGE_RULES, CHANGE_CHECK };

// A service at its machine, and what is known of it.
struct target {
    struct map_node node; // by key
    struct monitor *monitor;
    const struct service *service; // of the monitor's registry; changes with a reload
    char *key;                     // owned; "7:service@machine"
    size_t index;                  // in monitor->targets
    struct scheduled scheduled;    // counts with `planned`
    struct timer stale;
    struct check *check;      // under way; NULL: none
    struct registry *checked; // what the check under way refers to
    struct job refused;       // a start that memory did not allow, on its way to being over
    struct state state;
    struct state_rules rules;
    struct check_record last;          // counts with has_last
    uint64_t last_pass_wall_ms;        // 0: never
    uint64_t last_failure_wall_ms;     // 0: never
    float pass_ms[STATE_RECENT_COUNT]; // latencies of the newest passes, a ring
    unsigned pass_count;
    unsigned pass_next;
    uint64_t results[RESULT_KIND_COUNT];
    uint32_t outcomes; // a bit for each enum check_outcome that was seen
    // Set through the API, over what the registry says.
    struct maintenance maintenance;
    char maintenance_reason[128];
    bool maintenance_set;
    bool maintenance_told; // what was told of it last; see maintenance.c
    bool planned;          // the scheduler has it
    bool has_last;
    // Of several monitors (cluster.h); fields without meaning of one that is alone.
    const char *checked_by; // the monitor that does, "" nobody; NULL: there is only this one
    uint64_t last_ns;       // when the newest result came, on the clock of states; 0: none has
    uint64_t adopted;       // tells the newest result that was taken over from others that came
    unsigned share;
    bool lent;                 // another monitor checks it
    bool own_result;           // has been checked since it was taken
    bool unsent;               // its newest result is to be told to the others
    bool selected;             // of a single round
    enum target_change change; // during a reload
    // Of the on_change hook (change_hook.h).
    struct list hook_node;
    uint64_t hook_quiet_ns;       // until when nothing more is told
    enum health_status hook_told; // last; healthy before
};

// What a reload did to a target.
enum target_life { TARGET_ADDED, TARGET_REMOVED, TARGET_CHECK_CHANGED };

// Calls of the monitor to whoever listens; NULL: not interested. They must not change the monitor.
struct monitor_hooks {
    void (*result)(void *arg, struct target *target);
    void (*changed)(void *arg, struct target *target, const struct state_change *change);
    void (*life)(void *arg, struct target *target, enum target_life life);
    void (*round_done)(void *arg); // of monitor_check_round
    // Whether this monitor may check the target right now; what it found is given up if not.
    bool (*holds)(void *arg, const struct target *target);
    void *arg;
};

struct monitor_options {
    const char *ssh_dir; // see struct check_room
    struct monitor_hooks hooks;
    unsigned jitter_percent; // see struct scheduler
    bool compat_rollup;
    bool single; // one round, asked for by monitor_check_round: nothing is scheduled, and one
                 // failure is unhealthy
    bool shared; // targets begin as lent, and are checked from monitor_take on
};

// What a reload did.
struct monitor_difference {
    unsigned added;
    unsigned removed;
    unsigned changed;
};

struct monitor {
    struct worker *worker;
    struct monitor_options options;
    struct registry *registry; // owned
    uint64_t registry_loaded_wall_ms;
    struct target **targets; // owned; in the order of the registry's services
    size_t target_count;
    struct map by_key;
    struct scheduler scheduler;
    struct check_room room;
    struct timer clock_watch;
    uint64_t slept_ns; // how far the boot clock is ahead of the monotonic one
    struct {
        uint64_t count;
        uint64_t last_wall_ms;
    } outcomes[CHECK_OUTCOME_COUNT]; // of all results so far
    bool resting;                    // see monitor_rest
    size_t round_left;               // checks of a round that have not ended
    uint64_t fenced;                 // checks and results given up because hooks.holds said so
};

// Takes the registry over, also on failure.
enum weir_result monitor_open(struct monitor *monitor, struct worker *worker,
    const struct monitor_options *options, struct registry *registry) WEIR_MUST_CHECK;
// Takes over another reading of the registry (spec section 2.8); the old one is freed. On
// WEIR_MEMORY nothing has changed, and the new one is freed. ret_difference may be NULL.
enum weir_result monitor_replace(struct monitor *monitor, struct registry *registry,
    struct monitor_difference *ret_difference) WEIR_MUST_CHECK;
// No check begins any more, and those under way are given up: the process ends, and what it checks may
// end with it. What is known stays.
void monitor_rest(struct monitor *monitor);
// Cancels everything. Fine for a zeroed monitor, and twice.
void monitor_close(struct monitor *monitor);

// Checks all selected targets once, at once; then hooks.round_done.
void monitor_check_round(struct monitor *monitor);
// An extra check of one target. False: one is under way, or there is nothing to check.
bool monitor_check_now(struct target *target);

// NULL: there is none. machine may be empty: the service wherever it is.
struct target *monitor_find(struct monitor *monitor, struct slice service, struct slice machine);
// until_wall_ms 0: until it is taken back. on false ends one that was set, or that of the registry.
void monitor_set_maintenance(
    struct target *target, bool on, uint64_t until_wall_ms, struct slice reason);

// Gives a target that has not been checked yet the state it had before the process started, and its
// newest result (wall_ms 0: none). Nobody is told; the next result is compared with it.
void monitor_restore(
    struct target *target, const struct state *state, const struct check_record *last);

// ---- Several monitors

// From now on this monitor checks the target, in the phase of the newest result that it knows.
void monitor_take(struct target *target);
// Another one does: a check under way is given up. The state stays, and gets stale if nobody looks.
void monitor_lend(struct target *target);
// A result of another monitor: the state there after it, on this one's clock, and the record.
// Everybody is told as of an own result.
void monitor_adopt(
    struct target *target, const struct state *state, const struct check_record *record);

// ---- What is known

// The clock of states.
uint64_t monitor_now_ns(void);
// Declared not to be checked: grey, and not counted.
bool target_disabled(const struct target *target);
// Now: by the API, the registry, or its machine.
bool target_in_maintenance(const struct target *target, uint64_t wall_ms);
// Counts for its machine and the cluster.
bool target_counted(const struct target *target, uint64_t wall_ms);
// Why the state is what it is, and the newest result's message. Returns the length.
#define TARGET_TEXT_SIZE (CHECK_MESSAGE_SIZE + 64)
size_t target_describe(const struct target *target, char text[TARGET_TEXT_SIZE]);
// Mean of the newest passes, in milliseconds; negative: there was none.
double target_response_ms(const struct target *target);
// The counted services of every machine, into a zeroed array as long as registry->machines; all
// services together, counted or not, into ret_all. Returns the status of the cluster: the worst of
// the machines that have a counted service.
enum health_status monitor_roll(const struct monitor *monitor, uint64_t wall_ms,
    struct rollup *machines, struct rollup *ret_all);
enum health_status monitor_rollup_status(
    const struct monitor *monitor, const struct rollup *rollup);

#endif
