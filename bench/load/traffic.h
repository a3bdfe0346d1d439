// SPDX-License-Identifier: Apache-2.0
// Envelopes through the relay over pairs of one daemon and one client.
//
// Closed loop: every stream keeps `inflight` frames under way; a frame that arrives lets the next
// one go. Open loop: frame i is due at start + i / rate whatever the relay does. In both, the
// latency of a frame counts from the moment it was allowed to go (its credit, or its due time),
// so time a frame waits because the relay is behind is in the figure: no coordinated omission.
#ifndef BENCH_TRAFFIC_H
#define BENCH_TRAFFIC_H

#include <sys/types.h>

#include "fleet.h"

enum traffic_direction {
    TRAFFIC_UP,   // client to daemon
    TRAFFIC_DOWN, // daemon to client
    TRAFFIC_BOTH, // both at once, independently
    TRAFFIC_ECHO  // client to daemon and back; latency is the round trip
};

enum { TRAFFIC_OTHERS_MAX = 16 };

struct traffic_options {
    enum traffic_direction direction;
    size_t size;        // bytes of a message
    unsigned inflight;  // closed loop: frames under way in each stream
    double rate;        // frames a second over all streams; 0: closed loop
    uint64_t warmup_ns; // before the window
    uint64_t window_ns; // measured
    pid_t server;       // whose CPU time is read; 0: nobody's
    pid_t others[TRAFFIC_OTHERS_MAX]; // and whose as well, each for itself
    unsigned other_count;
};

struct traffic_result {
    uint64_t frames;
    uint64_t window_ns;
    uint64_t server_cpu_ns;
    uint64_t server_user_ns;
    uint64_t server_system_ns;
    uint64_t generator_cpu_ns;
    uint64_t others_cpu_ns[TRAFFIC_OTHERS_MAX];
    struct hist latency_ns;
    struct hist lateness_ns; // open loop: how late the generator itself was
};

// Runs warm-up and window over a fleet whose pairs have exchanged keys. Checks every frame's head
// and length, and the bytes of the first frames of a stream and of one in 64 later; dies on a
// difference, or when nothing arrives for two seconds.
void traffic_run(
    struct fleet *f, const struct traffic_options *options, struct traffic_result *ret_result);

#endif
