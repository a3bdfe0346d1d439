// SPDX-License-Identifier: Apache-2.0
// The parts of `weir health` that have a file of their own.
#ifndef WEIR_APP_CMD_HEALTH_H
#define WEIR_APP_CMD_HEALTH_H

#include <stdbool.h>

struct command;
struct health_setup;

extern const struct command command_health_serve;
extern const struct command command_health_event;
extern const struct command command_health_deploy_log;
extern const struct command command_health_machines;
extern const struct command command_health_history;
extern const struct command command_health_events;
extern const struct command command_health_metrics;
extern const struct command command_health_uptime;
extern const struct command command_health_maintenance;

// what: "validate", "show" or "path". Returns the exit code.
int cmd_health_registry(const char *what, struct health_setup *setup, bool json);

#endif
