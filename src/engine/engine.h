// SPDX-License-Identifier: Apache-2.0
// The engine as a part of the process: one struct engine, and a shard of it on every worker.
#ifndef WEIR_ENGINE_ENGINE_H
#define WEIR_ENGINE_ENGINE_H

#include <stdatomic.h>

#include "engine/config/config.h"
#include "base/time.h"
#include "loop/worker.h"
#include "stream/listen_set.h"
#include "stream/tls_context.h"

struct census;
struct directory;
struct engine_metrics;
struct feed;

// What any thread may tell a worker, without memory of its own.
struct engine_notice {
    struct job drain;
    struct job part;
    struct job reload;
    atomic_bool reload_posted; // and not run yet
};

struct engine {
    // Borrowed; replaced as a whole by a reload, and valid as long as the engine: whoever reads it
    // twice may read two.
    const struct engine_config *_Atomic config;
    struct crew *crew;              // borrowed, outlives the engine
    struct census *census;          // owned
    struct directory *directory;    // owned
    struct feed *feed;              // owned
    struct engine_metrics *metrics; // owned; one for each worker
    struct tls_tickets tickets;
    atomic_uint_fast64_t noted_stamp;    // of the certificate files that were logged last
    atomic_uint_fast64_t noted_pair_stamps[ENGINE_CERTS_MAX]; // the same for extensions.certs
    struct engine_notice *notices;       // owned; one for each worker
    struct sys_address address;          // of the TLS port, after engine_listen
    struct listen_set listen;            // its sockets
    struct listen_set redirect_listen;   // of the plain port
    struct listen_set metrics_listen;
    atomic_uint_fast64_t channel_numbers;
    atomic_bool draining;
    atomic_uint gates_open;       // while draining
    atomic_uint shards_streaming; // that still had streams when it began to drain
    atomic_uint shards_busy;      // that still hold connections while draining
    void (*drained)(void *arg);
    void *drained_arg;
};

// Process-wide, before the workers start. config outlives the engine, and so do those of reloads.
enum weir_result engine_init(
    struct engine *engine, struct crew *crew, const struct engine_config *config) WEIR_MUST_CHECK;
void engine_fini(struct engine *engine);
// Opens the workers' listening sockets, before they start. problem (size bytes) says in English why
// not.
enum weir_result engine_listen(struct engine *engine, char *problem, size_t size) WEIR_MUST_CHECK;

// On each worker's thread. problem (size bytes) says in English why it cannot start.
enum weir_result engine_worker_start(
    struct engine *engine, struct worker *worker, char *problem, size_t size) WEIR_MUST_CHECK;
void engine_worker_stop(struct worker *worker);

// How long a drain takes at most.
#define ENGINE_DRAIN_MAX_NS (7 * NS_PER_S)
// Any thread, once (spec section 2.4): no newcomers; open streams get a grace period; then agents
// get close_notify and FIN. drained is called on a worker when all have gone, at the latest after
// ENGINE_DRAIN_MAX_NS.
void engine_drain(struct engine *engine, void (*drained)(void *arg), void *arg);
// Any thread: takes the configuration over (the old one must stay valid), and loads certificate and
// pages anew; what cannot be used is logged, and the old one stays.
void engine_reload(struct engine *engine, const struct engine_config *config);

#endif
