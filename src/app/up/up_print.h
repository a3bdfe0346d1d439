// SPDX-License-Identifier: Apache-2.0
// What `weir up` says when it is ready: where things are, and what to try next. Standard error.
#ifndef WEIR_APP_UP_PRINT_H
#define WEIR_APP_UP_PRINT_H

#include "app/demo/demo_part.h"
#include "app/parts/engine_part.h"
#include "app/parts/health_part.h"
#include "app/parts/platform_server.h"
#include "app/parts/relay_part.h"

// Of parts that have started; NULL: it does not run. platform counts with setup.
struct up_parts {
    const struct platform_setup *setup;
    const struct platform_server *platform;
    const struct relay_part *relay;
    const struct engine_part *engine;
    const struct health_part *health;
    const struct demo_part *demo;
};

// Without a file: platform and relay.
void up_print_relay(const struct up_parts *parts);
// Of a file.
void up_print_parts(const struct up_parts *parts);
// The demo: all of them.
void up_print_demo(const struct up_parts *parts);

#endif
