// SPDX-License-Identifier: Apache-2.0
// Composition of a relay, and its end.
//
// Draining, per shard: for RELAY_DRAIN_TIME_MS /health says 503 and everybody is still let in, so
// that load balancers can turn away first. Then other relays are told that the daemons are here no
// more, the listener drains, and upgrades under way go on.
// When no shard listens any more (so that nobody comes back to this process), connections are told
// one slice every 20 ms so that all are told within a second; those that come out of the last
// upgrades, too. When the last has gone, or five seconds have passed, the shard is done. The last
// shard that is done tells whoever asked for it.
#include "relay/relay.h"

#include <stdio.h>

#include "base/mem.h"
#include "base/time.h"
#include "obs/log.h"
#include "proto/json_write.h"
#include "relay/backplane/backplane.h"
#include "relay/jwks_cache.h"
#include "relay/peer.h"
#include "relay/upgrade.h"
#include "sys/clock.h"
#include "sys/entropy.h"
#include "sys/process.h"

#define IDLE_TIMEOUT_NS (5 * NS_PER_S) // spec section 3: keep-alive
#define CERTIFICATE_LOOK_NS (10 * NS_PER_S)
#define UPGRADES_PER_TRIM 128
#define TRIM_DELAY_NS (500 * NS_PER_MS)
#define FAREWELL_STEP_NS (20 * NS_PER_MS)
#define FAREWELL_STEPS 50
#define FAREWELL_SMALL 64 // so few are told at once
#define DRAIN_TIMEOUT_NS (5 * NS_PER_S - 500 * NS_PER_MS)

// ---- The relay

static enum weir_result make_key_header(struct relay *relay)
{
    const char *key = relay->config->internal_key;
    if (key == NULL) {
        return WEIR_OK;
    }
    size_t size = strlen(key) + 32;
    relay->internal_key_header = mem_alloc(size);
    if (relay->internal_key_header == NULL) {
        return WEIR_MEMORY;
    }
    snprintf(relay->internal_key_header, size, "x-relay-internal-key: %s", key);
    return WEIR_OK;
}

enum weir_result relay_init(struct relay *relay, struct crew *crew,
    const struct relay_config *config, const struct http_route *routes, http_handler_fn *not_found)
{
    *relay = (struct relay){.config = config, .crew = crew, .routes = routes,
        .not_found = not_found};
    peer_policy_init(&relay->policy, config);
    relay->platform_tls = (struct http_tls_profile){
        .verify = config->server_tls_verify,
        .ca_path = config->server_ca_cert_path,
        .certificate_path = config->server_mtls ? config->server_client_cert_path : NULL,
        .key_path = config->server_client_key_path,
        .key_passphrase = config->server_client_key_passphrase,
    };
    relay->tls.certificate_path = config->tls_cert_path;
    relay->tls.key_path = config->tls_key_path;
    relay->tls.tickets = &relay->tickets;
    atomic_store(&relay->shards_listening, crew->count);
    atomic_store(&relay->shards_receiving, crew->count);
    atomic_store(&relay->shards_busy, crew->count);
    relay->notices = mem_zalloc(crew->count * sizeof *relay->notices);
    if (relay->notices == NULL) {
        return WEIR_MEMORY;
    }
    enum weir_result result = sys_entropy(&relay->placement, sizeof relay->placement);
    if (result == WEIR_OK) {
        result = tls_tickets_init(&relay->tickets, sys_now_ns());
    }
    if (result == WEIR_OK) {
        result = make_key_header(relay);
    }
    if (result == WEIR_OK) {
        result = frame_rules_init();
    }
    if (result == WEIR_OK) {
        result = bus_message_rules_init();
    }
    if (result == WEIR_OK && config->backplane_mode != BACKPLANE_SINGLE) {
        relay->mail = bus_mail_new(crew->count);
        result = relay->mail == NULL ? WEIR_MEMORY : WEIR_OK;
    }
    if (result != WEIR_OK) {
        return result;
    }
    relay->ledger = ledger_new(
        &(struct ledger_limits){
            .total_max = config->max_total_connections,
            .per_address_max = config->max_connections_per_ip,
            .rate_per_minute = config->upgrade_rate_per_minute,
            .addresses_max = config->upgrade_bucket_max,
        },
        &relay->placement);
    return relay->ledger == NULL ? WEIR_MEMORY : WEIR_OK;
}

enum weir_result relay_listen(struct relay *relay, char *problem, size_t size)
{
    enum weir_result result = listen_set_open(&relay->listen,
        &(struct listen_wish){
            .name = "relay",
            .host = relay->config->listen_host,
            .port = (uint16_t)relay->config->listen_port,
            .count = relay->crew->count,
        },
        problem, size);
    relay->address = relay->listen.address;
    return result;
}

void relay_fini(struct relay *relay)
{
    listen_set_close(&relay->listen);
    mem_free(relay->notices);
    ledger_free(relay->ledger);
    bus_mail_free(relay->mail);
    frame_rules_fini();
    bus_message_rules_fini();
    mem_free(relay->internal_key_header);
    tls_tickets_fini(&relay->tickets);
    *relay = (struct relay){0};
}

// ---- TLS

static void note_certificate(struct shard *shard)
{
    if (shard->worker->index == 0) {
        metrics_set(shard->worker->metrics, METRIC_TLS_CERTIFICATE_EXPIRY_SECONDS,
            tls_server_expiry(&shard->tls));
    }
}

static void reload_certificate(struct shard *shard)
{
    char problem[256];
    struct log_line line;
    const struct tls_settings *settings = &shard->relay->tls;
    bool ok = tls_server_load(&shard->tls, settings, problem, sizeof problem) == WEIR_OK;
    if (ok) {
        note_certificate(shard);
    } else {
        shard->tls.stamp = tls_settings_stamp(settings); // until the files change again
    }
    if (shard->worker->index != 0) {
        return; // one line for all workers
    }
    log_begin(&line, ok ? LOG_TLS_RELOADED : LOG_TLS_RELOAD_FAILED);
    log_text(&line, "certificate", settings->certificate_path);
    if (!ok) {
        log_text(&line, "reason", problem);
    }
    log_end(&line);
}

static void on_certificate_look(struct timer *timer)
{
    struct shard *shard = container_of(timer, struct shard, certificate_watch);
    if (tls_settings_stamp(&shard->relay->tls) != shard->tls.stamp) {
        reload_certificate(shard);
    }
    if (shard->worker->index == 0) {
        tls_tickets_turn(&shard->relay->tickets, worker_now(shard->worker));
    }
    worker_arm_in(shard->worker, timer, CERTIFICATE_LOOK_NS);
}

static void reload_on_worker(struct worker *worker, struct job *job)
{
    struct shard *shard = shard_of(worker);
    atomic_store(&container_of(job, struct relay_notice, reload)->reload_posted, false);
    if (shard != NULL && shard->relay->config->tls_enabled && !shard->draining) {
        reload_certificate(shard);
    }
}

void relay_reload(struct relay *relay)
{
    for (unsigned i = 0; i < relay->crew->count; i++) {
        struct relay_notice *notice = &relay->notices[i];
        if (!atomic_exchange(&notice->reload_posted, true)) {
            worker_post(&relay->crew->workers[i], &notice->reload, reload_on_worker);
        }
    }
}

// ---- A shard

static void on_eviction(struct timer *timer)
{
    struct shard *shard = container_of(timer, struct shard, eviction);
    cells_evict(shard, false);
    worker_arm_in(
        shard->worker, timer, time_from_ms(shard->relay->config->cleanup_interval_ms));
}

// Upgrades are large while they last. When a burst of them is over, the holes they leave between
// what stays would otherwise cost every idle connection a quarter of its size.
static void on_trim(struct timer *timer)
{
    (void)timer;
    sys_trim_heap();
}

void relay_note_upgrade(struct shard *shard)
{
    if (++shard->upgrade_count >= UPGRADES_PER_TRIM) {
        shard->upgrade_count = 0;
        worker_arm_in(shard->worker, &shard->trim, TRIM_DELAY_NS);
    }
}

static void on_farewell(struct timer *timer);

static void shard_init(struct shard *shard, struct relay *relay, struct worker *worker)
{
    const struct relay_config *config = relay->config;
    const struct siphash_key *seed = &worker->seed;
    shard->relay = relay;
    shard->worker = worker;
    map_init(&shard->cells, seed);
    map_init(&shard->workspaces, seed);
    map_init(&shard->places, seed);
    map_init(&shard->remotes, seed);
    list_init(&shard->cell_order);
    list_init(&shard->empty_cells);
    list_init(&shard->peers);
    list_init(&shard->upgrades);
    limiter_init(&shard->kex, seed, config->kex_init_rate_per_minute,
        config->kex_rate_limiter_max_keys);
    limiter_init(&shard->pairing, seed, config->pairing_rate_per_minute,
        config->pairing_rate_limiter_max_keys);
    limiter_init(&shard->client_runtime, seed, config->runtime_rate_per_minute,
        config->runtime_rate_limiter_max_keys);
    limiter_init(&shard->workspace_runtime, seed, config->runtime_rate_per_minute_workspace,
        config->runtime_workspace_rate_limiter_max_keys);
    limiter_init(&shard->daemon, seed, config->daemon_runtime_rate_per_minute,
        config->daemon_rate_limiter_max_keys);
    timer_init(&shard->eviction, on_eviction);
    timer_init(&shard->trim, on_trim);
    timer_init(&shard->certificate_watch, on_certificate_look);
    timer_init(&shard->farewell, on_farewell);
    shard->server_options = (struct http_options){
        .routes = relay->routes,
        .not_found = relay->not_found,
        .upgrade = upgrade_handle,
        .failed = upgrade_failed,
        .tls = config->tls_enabled ? &shard->tls : NULL,
        .setup_timeout_ns = time_from_ms(config->handshake_timeout_ms),
        .idle_timeout_ns = IDLE_TIMEOUT_NS,
        .proxy_protocol = config->proxy_protocol,
        .owner = shard,
    };
}

static enum weir_result open_listener(struct shard *shard, char *problem, size_t size)
{
    struct relay *relay = shard->relay;
    if (relay->config->tls_enabled) {
        enum weir_result loaded = tls_server_load(&shard->tls, &relay->tls, problem, size);
        if (loaded != WEIR_OK) {
            return loaded;
        }
        note_certificate(shard);
        worker_arm_in(shard->worker, &shard->certificate_watch, CERTIFICATE_LOOK_NS);
    }
    int fd = listen_set_take(&relay->listen, shard->worker->index);
    enum weir_result result =
        http_server_open(&shard->server, shard->worker, &shard->server_options, fd);
    shard->server.listener.inherited = relay->listen.inherited;
    return result;
}

enum weir_result relay_worker_start(
    struct relay *relay, struct worker *worker, char *problem, size_t size)
{
    struct shard *shard = mem_zalloc(sizeof *shard);
    snprintf(problem, size, "out of memory");
    if (shard == NULL) {
        return WEIR_MEMORY;
    }
    shard_init(shard, relay, worker);
    worker->rooms[ROOM_RELAY] = shard;
    size_t queued_max = relay->config->max_total_pending_bytes / relay->crew->count;
    enum weir_result result = ws_worker_init(worker, queued_max);
    if (result == WEIR_OK && relay->config->jwks_url != NULL) {
        shard->jwks = jwks_cache_new(shard);
        result = shard->jwks == NULL ? WEIR_MEMORY : WEIR_OK;
    }
    if (result == WEIR_OK && relay->config->backplane_mode != BACKPLANE_SINGLE) {
        result = backplane_open(shard, problem, size);
    }
    if (result == WEIR_OK) {
        result = open_listener(shard, problem, size);
    }
    worker_arm_in(worker, &shard->eviction, time_from_ms(relay->config->cleanup_interval_ms));
    return result;
}

static const struct close_reason cut_at_the_end = {
    "shutting_down", "", "the process ends", 0, CLOSE_BY_US};

// What is still here is cut. Afterwards the loop runs once more for the closing handles.
static void cut_all(struct shard *shard)
{
    upgrades_abort(shard);
    list_for_each_safe(node, &shard->peers) {
        struct peer *peer = container_of(node, struct peer, node);
        ws_cut(&peer->ws, &cut_at_the_end);
    }
}

void relay_worker_stop(struct worker *worker)
{
    struct shard *shard = shard_of(worker);
    if (shard == NULL) {
        return;
    }
    shard->draining = shard->drained = true;
    http_server_close(&shard->server);
    cut_all(shard);
    timer_cancel(&shard->eviction);
    timer_cancel(&shard->trim);
    timer_cancel(&shard->certificate_watch);
    timer_cancel(&shard->farewell);
    worker_settle(worker);
    weir_assert(list_empty(&shard->peers) && list_empty(&shard->upgrades));
    jwks_cache_free(shard->jwks);
    backplane_close(shard);
    worker_settle(worker);
    cells_evict(shard, true);
    map_fini(&shard->cells);
    map_fini(&shard->workspaces);
    map_fini(&shard->places);
    weir_assert(shard->remotes.count == 0);
    map_fini(&shard->remotes);
    limiter_fini(&shard->kex);
    limiter_fini(&shard->pairing);
    limiter_fini(&shard->client_runtime);
    limiter_fini(&shard->workspace_runtime);
    limiter_fini(&shard->daemon);
    tls_server_fini(&shard->tls);
    worker->rooms[ROOM_RELAY] = NULL;
    mem_free(shard);
}

// ---- Draining

static void shard_done(struct shard *shard)
{
    if (shard->drained) {
        return;
    }
    shard->drained = true;
    timer_cancel(&shard->farewell);
    if (atomic_fetch_sub(&shard->relay->shards_busy, 1) == 1) {
        shard->relay->drained(shard->relay->drained_arg);
    }
}

void relay_note_departure(struct shard *shard)
{
    struct relay *relay = shard->relay;
    if (shard->draining && atomic_load(&relay->shards_receiving) == 0 &&
        atomic_load(&relay->upgrades_moving) == 0 && shard->peer_count == 0 &&
        list_empty(&shard->upgrades) && backplane_is_quiet(shard)) {
        shard_done(shard);
    }
}

static void stop_listening(struct shard *shard)
{
    shard->draining = true;
    shard->farewell_deadline_ns = worker_now(shard->worker) + DRAIN_TIMEOUT_NS;
    http_server_drain(&shard->server);
    backplane_withdraw_all(shard);
}

// Once each: nobody comes to this shard any more, and nobody here has a request to make.
static void note_ends(struct shard *shard)
{
    struct relay *relay = shard->relay;
    if (!shard->listening_ended && !listener_is_open(&shard->server.listener)) {
        shard->listening_ended = true;
        atomic_fetch_sub(&relay->shards_listening, 1);
    }
    if (!shard->receiving_ended && http_server_is_empty(&shard->server)) {
        shard->receiving_ended = true;
        atomic_fetch_sub(&relay->shards_receiving, 1);
    }
}

// Tells the next slice. Those who were told stay in the list until they have gone; ws_close does
// nothing to them.
static void tell_some(struct shard *shard)
{
    size_t slice = shard->peer_count / FAREWELL_STEPS;
    size_t left = slice < FAREWELL_SMALL ? FAREWELL_SMALL : slice;
    list_for_each_safe(node, &shard->peers) {
        struct peer *peer = container_of(node, struct peer, node);
        if (!peer_is_open(peer)) {
            continue;
        }
        ws_close(&peer->ws, &close_GOING_AWAY);
        if (--left == 0) {
            break;
        }
    }
}

static void on_farewell(struct timer *timer)
{
    struct shard *shard = container_of(timer, struct shard, farewell);
    if (!shard->draining) {
        stop_listening(shard);
    }
    note_ends(shard);
    if (atomic_load(&shard->relay->shards_listening) == 0) {
        tell_some(shard);
    }
    worker_arm_in(shard->worker, timer, FAREWELL_STEP_NS);
    if (worker_now(shard->worker) >= shard->farewell_deadline_ns) {
        shard_done(shard);
    } else {
        relay_note_departure(shard);
    }
}

static void drain_on_worker(struct worker *worker, struct job *job)
{
    struct shard *shard = shard_of(worker);
    (void)job;
    if (shard != NULL) { // NULL: it could not start, which ends the crew anyway
        worker_arm_in(
            worker, &shard->farewell, time_from_ms(shard->relay->config->drain_time_ms));
    }
}

void relay_drain(struct relay *relay, relay_drained_fn *drained, void *arg)
{
    relay->drained = drained;
    relay->drained_arg = arg;
    atomic_store(&relay->draining, true);
    for (unsigned i = 0; i < relay->crew->count; i++) {
        worker_post(&relay->crew->workers[i], &relay->notices[i].drain, drain_on_worker);
    }
}

// ---- For the admin routes

struct relay *relay_of_conn(const struct http_conn *conn)
{
    const struct shard *shard = http_owner(conn);
    return shard->relay;
}

static void write_iso(struct json_writer *json, const char *key, uint64_t wall_ms)
{
    char text[TIME_ISO_SIZE];
    time_to_iso(wall_ms, text);
    jsonw_text(json, key, text);
}

static void write_text_or_null(struct json_writer *json, const char *key, const char *text)
{
    if (text == NULL) {
        jsonw_null(json, key);
    } else {
        jsonw_text(json, key, text);
    }
}

static void write_daemon(struct json_writer *json, const struct peer *daemon)
{
    jsonw_object_begin(json, NULL);
    write_text_or_null(json, "installId", peer_text(daemon, PEER_INSTALL));
    jsonw_string(json, "runtimeTargetId", daemon->cell->target);
    write_text_or_null(json, "machineId", peer_text(daemon, PEER_MACHINE));
    write_iso(json, "connectedAt", daemon->connected_wall_ms);
    jsonw_u64(json, "framesIn", daemon->frames_in);
    jsonw_u64(json, "framesOut", daemon->ws.frames_sent);
    jsonw_object_end(json);
}

static void write_cell(struct json_writer *json, const struct cell *cell, bool client_ids)
{
    jsonw_object_begin(json, NULL);
    jsonw_string(json, "workspaceId", cell_workspace(cell));
    if (cell->target.len > 0) {
        jsonw_string(json, "runtimeTargetId", cell->target);
    }
    jsonw_bool(json, "daemonConnected", cell->daemon != NULL);
    jsonw_u64(json, "clientCount", cell->client_count);
    if (client_ids) {
        jsonw_array_begin(json, "clientIds");
        list_for_each(node, &cell->clients) {
            const struct peer *client = container_of(node, struct peer, cell_node);
            jsonw_text(json, NULL, peer_text(client, PEER_CLIENT));
        }
        jsonw_array_end(json);
    }
    write_iso(json, "lastActivityAt", cell->last_activity_wall_ms);
    jsonw_array_begin(json, "daemons");
    if (cell->daemon != NULL) {
        write_daemon(json, cell->daemon);
    }
    jsonw_array_end(json);
    jsonw_u64(json, "clients", cell->client_count);
    jsonw_object_end(json);
}

void relay_write_cells(struct worker *worker, struct buf *out)
{
    struct shard *shard = shard_of(worker);
    struct json_writer json;
    json_writer_init(&json, out);
    list_for_each(node, &shard->cell_order) {
        write_cell(&json, container_of(node, struct cell, order),
            shard->relay->config->state_include_client_ids);
    }
}

void relay_write_backplane(struct worker *worker, struct buf *out)
{
    struct shard *shard = shard_of(worker);
    struct json_writer json;
    json_writer_init(&json, out);
    if (shard->backplane != NULL) {
        backplane_write_state(shard, &json);
    }
}

void relay_write_family(struct worker *worker, enum relay_family family, struct buf *out)
{
    static const enum metric_family families[] = {FAMILY_FRAMES_IN, FAMILY_FRAMES_OUT};
    struct shard *shard = shard_of(worker);
    for (struct map_node *node = map_next(&shard->workspaces, NULL); node != NULL;
         node = map_next(&shard->workspaces, node)) {
        const struct workspace *workspace = container_of(node, struct workspace, node);
        if (workspace->labelled) {
            uint64_t frames =
                family == RELAY_FRAMES_IN ? workspace->frames_in : workspace->frames_out;
            metrics_sample(families[family], node->key, (int64_t)frames, out);
        }
    }
}

uint64_t relay_other_frames(struct worker *worker, enum relay_family family)
{
    struct shard *shard = shard_of(worker);
    uint64_t frames = shard->evicted_frames[family];
    for (struct map_node *node = map_next(&shard->workspaces, NULL); node != NULL;
         node = map_next(&shard->workspaces, node)) {
        const struct workspace *workspace = container_of(node, struct workspace, node);
        if (!workspace->labelled) {
            frames += family == RELAY_FRAMES_IN ? workspace->frames_in : workspace->frames_out;
        }
    }
    return frames;
}
