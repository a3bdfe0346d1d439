// SPDX-License-Identifier: Apache-2.0
// Several monitors of one registry that share its checks through a Redis (docs/adr/0008), and what
// is known written through to it for others to read (spec section 8): SETEX
// portoser:health:{service}:{machine} 300 with every result, PUBLISH portoser:health with every
// change of state.
//
//   look, once a period ──EVAL──► leases ──► shares.h ──► monitor_take, monitor_lend
//   own result ──EVAL, if the lease is ours──► state of the share, stream
//   stream ──XREAD──► result of another ──► monitor_adopt
//
// Nothing here waits for the Redis, and no check does.
#ifndef WEIR_HEALTH_CLUSTER_H
#define WEIR_HEALTH_CLUSTER_H

#include "health/cluster/shares.h"
#include "health/event_ring.h"
#include "health/monitor.h"
#include "redis/link.h"

#define CLUSTER_PROBLEM_SIZE 160

struct shared_message;

struct cluster {
    struct worker *worker;
    struct monitor *monitor; // borrowed; NULL: not started
    struct shares shares;
    struct shares_view view;   // of the answer at hand
    struct redis_link control; // looks and results
    struct redis_link reader;  // the stream of everybody's results
    struct timer look;
    struct timer pace;  // of results that are to be sent again
    struct timer retry; // of reading, after an error
    size_t pace_at;     // in monitor->targets
    char position[48];  // the newest entry of the stream that was read; "": none yet
    bool stale_states;  // the states kept in the Redis are to be read
    bool leaving;
    bool left;
    uint64_t left_by_ns;     // leaving waits no longer
    uint64_t lost_wall_ms;   // when results may first have been lost with the connection
    uint64_t born_ms;        // of the Redis's memory, on its clock; 0: never heard
    uint64_t redis_ms;       // its clock,
    uint64_t redis_heard_ns; // and when it was told
    uint64_t lease_errors;
    uint64_t refused; // results that the Redis did not take, because the lease was another's
    uint64_t adopted;
    unsigned held_told; // shares held, as the log has it
    enum shares_mode mode_told;
    char problem[CLUSTER_PROBLEM_SIZE]; // of the last look; "": none
    // Who checks what has changed.
    void (*changed)(void *arg);
    // Maintenance of the target was set by another monitor.
    void (*maintained)(void *arg, struct target *target);
    // Another monitor was told something: a message of kind SHARED_TOLD.
    void (*heard)(void *arg, const struct shared_message *message);
    void *arg;
};

// cluster is zeroed before, but for the functions and arg; the monitor is one with options.shared.
// port goes into this monitor's name.
enum weir_result cluster_start(struct cluster *cluster, struct worker *worker,
    struct monitor *monitor, const struct redis_place *place, uint16_t port) WEIR_MUST_CHECK;
// All of the following do nothing when it was not started.
void cluster_stop(struct cluster *cluster);
// Gives back all leases. True: that is done, or takes too long.
void cluster_leave(struct cluster *cluster);
bool cluster_left(const struct cluster *cluster);
// The registry was replaced.
void cluster_follow(struct cluster *cluster);
void cluster_result(struct cluster *cluster, struct target *target);
void cluster_event(struct cluster *cluster, const struct health_event *event);
// Has whoever checks the target do so now. False: nobody can be asked.
bool cluster_ask(struct cluster *cluster, const struct target *target);

// Tells the others of maintenance that was set here.
void cluster_maintenance(struct cluster *cluster, const struct target *target);

// Tells the others what this one was told, as shared_told_write has it. What is too large, or
// cannot be sent now, stays here.
void cluster_tell_others(
    struct cluster *cluster, const char *what, struct slice about, struct slice json);

// For hooks.holds.
bool cluster_holds(const struct cluster *cluster, const struct target *target);
// What to tell an operator; in `text`. False: it is not as it should be.
bool cluster_tell(const struct cluster *cluster, char *text, size_t size);

#endif
