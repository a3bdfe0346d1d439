// SPDX-License-Identifier: Apache-2.0
// The machines of the registry and their resources (spec section 5.4): this one is read from /proc,
// others are asked over ssh when that is wanted, and any may report itself (a heartbeat). Lives on
// the monitor's worker; nothing of it is ever written into the registry.
#ifndef WEIR_HEALTH_DEVICES_H
#define WEIR_HEALTH_DEVICES_H

#include "health/machines/device.h"
#include "health/machines/device_probe.h"
#include "health/monitor.h"
#include "health/view/view.h"

#define DEVICES_INTERVAL_MAX_S 300

struct devices_options {
    const struct monitor *monitor; // borrowed
    const char *ssh_dir;           // see struct check_room
    uint64_t interval_ns;          // of looks at this machine
    uint64_t remote_interval_ns;   // of others; 0: they are not asked
    uint64_t heartbeat_timeout_ns; // without a sign of life for that long a machine is offline
    // A device was heard of; old is the status it had. NULL: not interested.
    void (*heard)(void *arg, const struct device *device, enum device_status old);
    // The registry has one more. NULL: not interested.
    void (*met)(void *arg, const struct device *device);
    void *arg;
};

struct devices {
    struct devices_options options;
    struct worker *worker; // NULL: not started
    struct map by_name;
    struct device **all; // owned; in the order they were met
    size_t count;
    struct device_cpu cpu; // of this machine at the last look
    struct timer local_look;
    struct timer remote_look;
    struct timer age_look;
    struct list probes; // under way, or closing
    size_t probe_count; // under way
    size_t next_remote; // the first device that has not been asked in this round
    uint64_t samples;   // taken or received
};

// devices is zeroed before.
enum weir_result devices_start(struct devices *devices, struct worker *worker,
    const struct devices_options *options) WEIR_MUST_CHECK;
// Ends the probes under way. Fine for zeroed devices, and twice.
void devices_stop(struct devices *devices);
// After a start, and whenever the registry is another one: its machines, and no others.
enum weir_result devices_follow(struct devices *devices) WEIR_MUST_CHECK;
void devices_set_interval(struct devices *devices, uint64_t interval_ns);

// NULL: there is none of that name.
struct device *devices_find(const struct devices *devices, struct slice name);
// A machine reports itself. NULL: only that it lives.
void devices_heartbeat(
    struct devices *devices, struct device *device, const struct device_sample *sample);
// Fills in the resources of the machines that are heard of.
void devices_fill_view(const struct devices *devices, struct view *view);
// Another look at this machine, now; false when the device is not this machine.
bool devices_look_now(struct devices *devices, struct device *device);
// Drops samples older than that.
void devices_forget(struct devices *devices, uint64_t before_wall_ms);

#endif
