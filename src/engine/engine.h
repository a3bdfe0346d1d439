// SPDX-License-Identifier: Apache-2.0
// The engine as a part of the process: one struct engine, and a shard of it on every worker.
#ifndef WEIR_ENGINE_ENGINE_H
#define WEIR_ENGINE_ENGINE_H

#include <stdatomic.h>

#include "engine/config.h"
#include "loop/worker.h"
#include "stream/tls_context.h"
#include "sys/socket.h"

struct directory;
struct feed;
struct engine_metrics;

struct engine {
    const struct engine_config *config; // borrowed; replaced as a whole by a reload
    struct crew *crew;                  // borrowed, outlives the engine
    struct directory *directory;        // owned
    struct feed *feed;                  // owned
    struct engine_metrics *metrics;     // owned; one for each worker
    struct tls_settings tls;
    struct sys_address address;          // of the TLS port, after engine_listen
    struct sys_address redirect_address; // of the plain port
    struct sys_address metrics_address;
    int *listen_fds; // owned; one for each worker until it takes it, then -1
    int *redirect_fds;
    int metrics_fd;
    atomic_uint_fast64_t channel_numbers;
    atomic_bool draining;
};

#endif
