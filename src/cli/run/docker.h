// SPDX-License-Identifier: Apache-2.0
// The containers of an engine that speaks Docker's HTTP interface over a Unix socket: asked once,
// or followed.
#ifndef WEIR_CLI_DOCKER_H
#define WEIR_CLI_DOCKER_H

#include "base/slice.h"
#include "loop/worker.h"

#define DOCKER_SOCKET "unix:///var/run/docker.sock"

struct docker_options {
    const char *socket; // a path, or unix://PATH
    bool follow;        // ask again when a container, or its network, has changed
    // What the engine says to GET /containers/json.
    void (*list)(void *arg, struct slice text);
    // It cannot be asked, or followed, for now: again in wait_ms; 0: it is not asked again by
    // itself.
    void (*problem)(void *arg, const char *text, uint32_t wait_ms);
    void *arg;
};

struct docker;
// Asks soon. Copies the options, but for the texts. NULL without memory.
struct docker *docker_open(struct worker *worker, const struct docker_options *options);
// Asks now.
void docker_look(struct docker *docker);
// Not from inside a callback. NULL is fine.
void docker_close(struct docker *docker);

#endif
