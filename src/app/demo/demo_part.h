// SPDX-License-Identifier: Apache-2.0
// What moves in `weir up --demo`, as a part of the process on worker 0. It uses the other parts
// from outside, over TCP and TLS and with tokens, as anybody would: an agent publishes a small
// service (demo_service.h), visitors ask for it (demo_visits.h), a daemon and a client talk through
// the relay (demo_talk.h). It opens between engine and health, and writes the registry of the
// latter when the ports of the former are known.
#ifndef WEIR_APP_DEMO_PART_H
#define WEIR_APP_DEMO_PART_H

#include <weir/agent.h>

#include "app/demo/demo_files.h"
#include "app/demo/demo_service.h"
#include "app/demo/demo_talk.h"
#include "app/demo/demo_visits.h"
#include "app/parts/engine_part.h"
#include "app/parts/platform_server.h"
#include "app/parts/relay_part.h"

#define DEMO_METRICS_LISTEN "127.0.0.1:0" // of the engine: any that is free
#define DEMO_PERIOD_S 120
#define DEMO_PERIOD_MIN_S 36 // six checks within the sixth that fails, a second between two
#define DEMO_PERIOD_MAX_S 3600

// All borrowed; they outlive the part.
struct demo_part_options {
    const struct demo_files *files;
    const struct platform_server *platform;
    const struct relay_part *relay;
    const struct engine_part *engine;
    uint64_t period_s; // of the check that fails on purpose
};

struct demo_part {
    struct part part;
    struct demo_part_options options;
    struct worker *worker; // NULL: not started
    struct sys_address service_address;
    int service_fd; // owned; -1: none
    struct demo_service service;
    struct demo_talk talk;
    struct demo_visits visits;
    struct weir_agent_loop *agents; // owned
    struct weir_agent *agent;       // borrows agents; NULL: none, or it has closed
    bool talk_ended;
    bool draining;
};

// part is zeroed before.
void demo_part_init(struct demo_part *part, const struct demo_part_options *options);
// "hello.t.localhost": the name of the published service.
void demo_part_host(const struct demo_part *part, char *text, size_t size);

#endif
