// SPDX-License-Identifier: Apache-2.0
// The health monitor as a part of a process. It lives on worker 0.
#ifndef WEIR_APP_HEALTH_PART_H
#define WEIR_APP_HEALTH_PART_H

#include "app/health/health_setup.h"
#include "app/parts/health_neighbours.h"
#include "app/parts/process.h"
#include "health/health.h"

struct health_part {
    struct part part;
    struct health_setup setup;
    struct health_options options;
    struct redis_place redis;
    char socket_path[REGISTRY_PATH_SIZE];
    struct neighbour_place neighbours[NEIGHBOUR_COUNT]; // until somebody asks, others may fill them in
    char store_path[REGISTRY_PATH_SIZE];    // "": none
    char registry_path[REGISTRY_PATH_SIZE]; // absolute: others compare it with theirs
    struct health health;
};

struct health_part_options {
    const char *registry;         // of --registry, or NULL
    const char *listen;           // "ADDR:PORT", or NULL
    const char *socket;           // a path, "none", or NULL: $XDG_RUNTIME_DIR/portoser.sock
    const char *tokens;           // a file, or NULL
    const char *state_dir;        // where history is kept; NULL: WEIR_STATE_DIR, or nowhere
    const char *public_read;      // "true", "false", or NULL: on loopback
    const char *allowed_hosts;    // names with commas between, or NULL
    const char *heartbeat_url;    // or NULL
    const char *import_dir;       // a directory, or NULL
    const char *ui_dir;           // a directory, or NULL
    const char *on_change;        // a command or an URL, or NULL
    const char *on_change_quiet;  // seconds, or NULL
    const char *deploy_command;   // or NULL
    const char *deploy_timeout;   // seconds, or NULL
    const char *jitter;           // percent of an interval, or NULL
    const char *metrics_interval; // seconds, or NULL; so is the next
    const char *ssh_metrics_interval;
    struct health_neighbour_options neighbours;
    bool ssh_metrics;
    bool implicit_checks;
    bool legacy_compose_health;
    bool compat_rollup;
};

// Says on standard error what is wrong and returns the exit code, EXIT_FINE when it can run. part
// is zeroed before.
int health_part_init(struct health_part *part, const struct health_part_options *options);
void health_part_fini(struct health_part *part);

#endif
