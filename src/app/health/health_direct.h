// SPDX-License-Identifier: Apache-2.0
// Checks the services of a registry once, now, in this process.
#ifndef WEIR_APP_HEALTH_DIRECT_H
#define WEIR_APP_HEALTH_DIRECT_H

#include "app/health/health_answer.h"
#include "health/view/view.h"

// Takes the registry over. present is called once with what was found, unless a signal came first.
// Returns an exit code: EXIT_FINE, EXIT_FAILED after printing why, 128 + the signal.
int health_direct(const struct health_ask *ask, struct registry *registry, const char *ssh_dir,
    const struct view_filter *filter, void (*present)(void *arg, struct monitor *monitor),
    void *arg);

#endif
