// SPDX-License-Identifier: Apache-2.0
// Asks another machine for its resources: one ssh, one script (see device_counters.h).
#ifndef WEIR_HEALTH_DEVICE_PROBE_H
#define WEIR_HEALTH_DEVICE_PROBE_H

#include "health/machines/device_counters.h"
#include "health/registry/registry.h"
#include "loop/watch.h"
#include "sys/spawn.h"

#define DEVICE_PROBE_TIMEOUT_S 30

struct device_probe;
// sample: NULL when there is none; `problem` says why then. Never called inside device_probe_start.
typedef void device_probe_fn(
    void *arg, struct slice machine, const struct device_sample *sample, const char *problem);

// NULL: memory ran out, or ssh cannot be run: no callback comes, and problem (size bytes) says why.
// The probe is in `probes` until its memory goes.
struct device_probe *device_probe_start(struct worker *worker, struct list *probes,
    const struct machine *machine, const char *ssh_dir, device_probe_fn *done, void *arg,
    char *problem, size_t size) WEIR_MUST_CHECK;
// Gives all of them up: no callbacks come. Waits a moment for programs that are being killed; their
// memory goes when the worker has settled.
void device_probes_stop(struct list *probes);

#endif
