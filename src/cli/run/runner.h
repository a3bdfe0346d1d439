// SPDX-License-Identifier: Apache-2.0
// `weir run`: keeps open what a file declares (spec engine, section 11.6). Tunnels of one engine,
// token and way of TLS share a control channel.
#ifndef WEIR_CLI_RUNNER_H
#define WEIR_CLI_RUNNER_H

#include "base/list.h"
#include "cli/inspect/inspector.h"
#include "cli/loop.h"
#include "cli/run/docker_labels.h"
#include "cli/run/run_plan.h"
#include "loop/file_watch.h"

struct runner_options {
    const char *path;
    const char *docker;               // the socket of an engine of containers instead; or NULL
    const struct docker_rules *rules; // with docker
    const struct profile_ask *ask;
    const struct conf_source *variables;
    const char *inspect; // where the inspector listens; NULL: there is none
    bool inspect_secrets;
    bool inspect_anywhere; // on other addresses than loopback, too
    bool watch;            // the file, or the containers, for changes
    bool json;
};

// Runs the plan, which is taken over, until it is interrupted; returns the exit code.
int runner_run(const struct runner_options *options, struct run_plan *plan);

#endif
