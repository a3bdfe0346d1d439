// SPDX-License-Identifier: Apache-2.0
// The relay as a part of the process: one struct relay, and a shard of it on every worker. All
// connections of a workspace live on one worker, which its hash names.
#ifndef WEIR_RELAY_RELAY_H
#define WEIR_RELAY_RELAY_H

#include <stdatomic.h>

#include "http/client.h"
#include "http/server.h"
#include "loop/worker.h"
#include "relay/config.h"
#include "relay/ledger.h"
#include "stream/listen_set.h"
#include "stream/websocket.h"

// What any thread may tell a worker, without memory of its own.
struct relay_notice {
    struct job drain;
    struct job reload;
    atomic_bool reload_posted; // and not run yet
};

struct bus_mail;

typedef void relay_drained_fn(void *arg);

struct relay {
    const struct relay_config *config; // borrowed, outlives the relay
    struct crew *crew;                 // borrowed, outlives the relay
    struct ledger *ledger;             // owned
    struct ws_policy policy;
    struct http_tls_profile platform_tls;
    struct tls_settings tls;
    struct tls_tickets tickets;
    struct siphash_key placement; // which worker a workspace lives on
    const struct http_route *routes; // plain requests; borrowed
    http_handler_fn *not_found;
    struct sys_address address; // what is listened on, after relay_listen
    struct listen_set listen;
    struct relay_notice *notices; // owned; one for each worker, which may not have started yet
    atomic_bool draining;
    // While draining:
    atomic_uint shards_listening;
    atomic_uint shards_receiving; // that may still get requests
    atomic_uint upgrades_moving;  // at any time: between two workers
    atomic_uint shards_busy;      // that still hold connections
    relay_drained_fn *drained; // told when none does any more
    void *drained_arg;
    atomic_bool unknown_claim_logged;
    char *internal_key_header; // owned; NULL without RELAY_INTERNAL_KEY
    struct bus_mail *mail;     // owned; NULL in mode single
    // Of the workers' ways to other relays.
    atomic_uint links_down;
    _Atomic uint64_t links_down_since_wall_ms; // while one is
    _Atomic(const char *) link_problem;        // static storage
};

// The worker that a workspace lives on.
static inline unsigned relay_place(const struct relay *relay, struct slice workspace)
{
    return (unsigned)(siphash(&relay->placement, workspace.at, workspace.len) %
                      relay->crew->count);
}

// Process-wide, before the workers start. routes: requests that are no upgrades.
enum weir_result relay_init(struct relay *relay, struct crew *crew,
    const struct relay_config *config, const struct http_route *routes,
    http_handler_fn *not_found) WEIR_MUST_CHECK;
void relay_fini(struct relay *relay);

// Opens the workers' listening sockets, before they start. problem (size bytes) says in English why
// not.
enum weir_result relay_listen(struct relay *relay, char *problem, size_t size) WEIR_MUST_CHECK;

// On each worker's thread. problem (size bytes) says in English why it cannot start.
enum weir_result relay_worker_start(
    struct relay *relay, struct worker *worker, char *problem, size_t size) WEIR_MUST_CHECK;
void relay_worker_stop(struct worker *worker);

// Once, on any thread. Stops listening (everybody who has come is still let in), sends everybody 1001
// spread over a second, and calls drained, on any worker's thread, when all have left or five seconds
// later (spec section 13; 14, 9).
void relay_drain(struct relay *relay, relay_drained_fn *drained, void *arg);
// Any thread: loads the certificate anew; a pair that does not fit is logged and not used.
void relay_reload(struct relay *relay);

// ---- For the admin routes.

// The relay whose listener a connection came in by.
struct relay *relay_of_conn(const struct http_conn *conn);

// Appends this worker's cells as JSON objects separated by commas (spec section 3.2).
void relay_write_cells(struct worker *worker, struct buf *out);
// Appends this worker's way to other relays as a JSON object; nothing in mode single.
void relay_write_backplane(struct worker *worker, struct buf *out);
// Appends this worker's samples of one family with a workspace label, as exposition text. A
// workspace lives on one worker, so samples of workers never clash; "_other" is left to
// relay_other_frames.
enum relay_family { RELAY_FRAMES_IN, RELAY_FRAMES_OUT };
void relay_write_family(struct worker *worker, enum relay_family family, struct buf *out);
// Frames of this worker's workspaces that have no label of their own.
uint64_t relay_other_frames(struct worker *worker, enum relay_family family);

#endif
