// SPDX-License-Identifier: Apache-2.0
// Invariants:
// 1. A registered peer is counted as opened once and as closed once; between the two it is its
//    cell's daemon, or one of its clients, or a worker.
// 2. on_ended is the only place where a peer leaves its cell, its tables, its channels and the
//    ledger; on_gone frees it.
// 3. A candidate (a daemon waiting whether the cell's daemon still answers) is not registered yet.
#include "relay/peer.h"

#include "base/mem.h"
#include "base/time.h"
#include "obs/log.h"
#include "relay/backplane/outgoing.h"
#include "relay/channels.h"
#include "relay/flow.h"
#include "relay/routing.h"
#include "relay/status.h"
#include "relay/takeover.h"
#include "relay/worker_transport.h"
#include "sys/clock.h"

static void count(const struct peer *peer, enum metric metric)
{
    metrics_count(peer->shard->worker->metrics, metric);
}

// ---- Logging

void peer_log_identity(struct log_line *line, const struct peer *peer)
{
    char ip[IP_TEXT_SIZE];
    ip_to_text(&peer->ip, ip);
    log_text(line, "workspaceId", peer_text(peer, PEER_WORKSPACE));
    if (peer->cell != NULL && peer->cell->target.len > 0) {
        log_str(line, "runtimeTargetId", peer->cell->target);
    }
    if (peer->role == ROLE_CLIENT) {
        log_text(line, "clientId", peer_text(peer, PEER_CLIENT));
    }
    log_text(line, "ip", ip);
}

void peer_log_frame(const struct peer *peer, int event, const char *reason)
{
    struct log_line line;
    log_begin(&line, (enum log_event)event);
    peer_log_identity(&line, peer);
    if (reason != NULL) {
        log_text(&line, "reason", reason);
    }
    log_end(&line);
}

static const struct {
    int connected;
    int disconnected;
    int ws_error;
    int rejected;
} role_events[ROLE_COUNT] = {
    [ROLE_DAEMON] = {LOG_DAEMON_CONNECTED, LOG_DAEMON_DISCONNECTED, LOG_DAEMON_WS_ERROR,
        LOG_DAEMON_CONNECTION_REJECTED},
    [ROLE_CLIENT] = {LOG_CLIENT_CONNECTED, LOG_CLIENT_DISCONNECTED, LOG_CLIENT_WS_ERROR,
        LOG_CLIENT_CONNECTION_REJECTED},
    [ROLE_WORKER] = {LOG_WORKER_CONNECTED, LOG_WORKER_DISCONNECTED, LOG_WORKER_WS_ERROR,
        LOG_CONNECTION_REJECTED},
};

static void log_connected(const struct peer *peer)
{
    struct log_line line;
    log_begin(&line, (enum log_event)role_events[peer->role].connected);
    peer_log_identity(&line, peer);
    if (peer_text(peer, PEER_MACHINE) != NULL) {
        log_text(&line, "machineId", peer_text(peer, PEER_MACHINE));
    }
    log_end(&line);
}

static void log_disconnected(const struct peer *peer, const struct close_reason *reason,
    bool cleared)
{
    struct log_line line;
    log_begin(&line, (enum log_event)role_events[peer->role].disconnected);
    peer_log_identity(&line, peer);
    log_text(&line, "reason", reason->label);
    if (peer->role == ROLE_DAEMON) {
        log_bool(&line, "clearedCurrentDaemon", cleared);
    }
    log_end(&line);
}

// ---- The end of a token

struct peer_expiry {
    struct timer timer;
    struct peer *peer;
};

static void expiry_end(struct peer *peer)
{
    if (peer->expiry != NULL) {
        timer_cancel(&peer->expiry->timer);
        mem_free(peer->expiry);
        peer->expiry = NULL;
    }
}

static void on_expiry(struct timer *timer)
{
    ws_close(&container_of(timer, struct peer_expiry, timer)->peer->ws, &close_CREDENTIAL_EXPIRED);
}

// Spec section 4.4: optionally not longer than the token lives. False when memory ran out.
static bool watch_expiry(struct peer *peer, const struct claims *claims)
{
    uint64_t grace_ms = peer->shard->relay->config->expiry_grace_ms;
    if (grace_ms == 0 || !claims->has_expiry || claims->expiry_s <= 0) {
        return true;
    }
    peer->expiry = mem_alloc(sizeof *peer->expiry);
    if (peer->expiry == NULL) {
        return false;
    }
    peer->expiry->peer = peer;
    timer_init(&peer->expiry->timer, on_expiry);
    uint64_t end_ms = (uint64_t)claims->expiry_s * 1000 + grace_ms;
    uint64_t now_ms = sys_wall_ms();
    worker_arm_in(peer->shard->worker, &peer->expiry->timer,
        time_from_ms(end_ms > now_ms ? end_ms - now_ms : 0));
    return true;
}

// ---- Ending

static const struct {
    const struct close_reason *reason;
    enum metric metric;
    bool error; // logged as the peer's error
    bool cut;   // logged as ws_terminated
} ends[] = {
    {&close_TOO_LARGE, METRIC_WS_FRAME_TOO_LARGE, true, false},
    {&close_REPAIRED_TOO_LARGE, METRIC_WS_FRAME_TOO_LARGE, true, false},
    {&close_OVERFLOW, METRIC_WS_SLOW_CLIENT_TERMINATED, false, true},
    {&close_IDLE, METRIC_WS_IDLE_TERMINATED, false, true},
    {&close_HEARTBEAT, METRIC_WS_STALE_TERMINATED, false, true},
    {&close_MESSAGE_TIMEOUT, METRIC_WS_IDLE_TERMINATED, false, true},
    {&close_PROTOCOL, METRIC_COUNT, true, false},
    {&close_BAD_UTF8, METRIC_COUNT, true, false},
    {&close_PEER_RESET, METRIC_COUNT, true, false},
};

static void account_end(struct peer *peer, const struct close_reason *reason)
{
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        if (ends[i].reason != reason) {
            continue;
        }
        if (ends[i].metric != METRIC_COUNT) {
            count(peer, ends[i].metric);
        }
        if (ends[i].error) {
            peer_log_frame(peer, role_events[peer->role].ws_error, reason->label);
        }
        if (ends[i].cut) {
            peer_log_frame(peer, LOG_WS_TERMINATED, reason->label);
        }
    }
}

static void become_daemon(struct peer *peer);

static bool leave_cell(struct peer *peer)
{
    struct cell *cell = peer->cell;
    bool was_daemon = cell->daemon == peer;
    if (peer->role == ROLE_CLIENT && list_linked(&peer->cell_node)) {
        list_remove(&peer->cell_node);
        cell->client_count--;
    }
    if (cell->candidate == peer) {
        cell->candidate = NULL;
    }
    if (was_daemon) {
        cell->daemon = NULL;
        cell_clear_tables(cell);
        if (cell->candidate != NULL) {
            become_daemon(cell->candidate);
        } else {
            presence_withdraw(cell, peer);
        }
    }
    cell_update_emptiness(cell);
    return was_daemon;
}

static void on_ended(struct ws *ws, const struct close_reason *reason)
{
    struct peer *peer = peer_of(ws);
    struct shard *shard = peer->shard;
    expiry_end(peer);
    takeover_cancel(peer);
    flow_end(peer);
    channels_leave_all(peer);
    outgoing_end(peer);
    owners_forget_peer(&peer->owned);
    worker_transport_end(peer);
    account_end(peer, reason);
    bool cleared = peer->cell != NULL && leave_cell(peer);
    bool daemon = peer->role == ROLE_DAEMON;
    limiter_drop(daemon || peer->role == ROLE_WORKER ? &shard->daemon : &shard->client_runtime,
        peer->own_rate);
    limiter_drop(&shard->workspace_runtime, peer->workspace_rate);
    peer->own_rate = peer->workspace_rate = NULL;
    ledger_leave(shard->relay->ledger, &peer->ip, peer->role == ROLE_WORKER);
    if (peer->registered) {
        metrics_add(shard->worker->metrics, METRIC_CONNECTIONS, -1);
        count(peer, METRIC_WS_CONNECTIONS_CLOSED);
        log_disconnected(peer, reason, cleared);
    }
}

static void peer_free(struct peer *peer)
{
    list_remove(&peer->node);
    peer->shard->peer_count--;
    channel_list_free(peer->channels);
    mem_free(peer);
}

static void on_gone(struct ws *ws)
{
    struct peer *peer = peer_of(ws);
    struct shard *shard = peer->shard;
    peer_free(peer);
    relay_note_departure(shard);
}

static void on_message(struct ws *ws, struct ws_message *message)
{
    route_message(peer_of(ws), message);
}

static void on_drained(struct ws *ws)
{
    flow_release(peer_of(ws));
}

static const struct ws_events events = {
    .message = on_message,
    .drained = on_drained,
    .ended = on_ended,
    .gone = on_gone,
};

void peer_policy_init(struct ws_policy *policy, const struct relay_config *config)
{
    *policy = (struct ws_policy){
        .events = &events,
        .message_max = config->max_frame_bytes,
        .queue_max = config->max_pending_bytes,
        .queue_high = config->max_pending_bytes / 2,
        .queue_low = config->max_pending_bytes / 4,
        .ping_interval_ns = time_from_ms(config->ping_interval_ms),
        .pong_timeout_ns = time_from_ms(config->pong_timeout_ms),
        .idle_timeout_ns = time_from_ms(config->idle_timeout_ms),
        .message_timeout_ns = time_from_ms(config->message_timeout_ms),
    };
}

// ---- Registration

struct rejection {
    const struct close_reason *close;
    enum handshake_failure failure;
    bool by_role; // logged under the role's own event
};

// The two generations, when they are why.
static void reject_daemon(
    struct peer *peer, const struct rejection *rejection, int64_t claimed, int64_t current)
{
    struct log_line line;
    int event = rejection->by_role ? role_events[peer->role].rejected : LOG_CONNECTION_REJECTED;
    log_begin(&line, (enum log_event)event);
    peer_log_identity(&line, peer);
    log_text(&line, "role", role_name((enum role)peer->role));
    log_text(&line, "reason", rejection->close->label);
    if (current >= 0) {
        log_u64(&line, "daemonIssueGeneration", (uint64_t)claimed);
        log_u64(&line, "currentDaemonIssueGeneration", (uint64_t)current);
    }
    log_end(&line);
    count(peer, METRIC_WS_CONNECTIONS_REJECTED);
    metrics_failure(peer->shard->worker->metrics, rejection->failure);
    ws_close(&peer->ws, rejection->close);
}

static void reject(struct peer *peer, const struct rejection *rejection)
{
    reject_daemon(peer, rejection, -1, -1);
}

static const struct rejection missing_workspace = {
    &close_MISSING_WORKSPACE, FAILURE_MISSING_WORKSPACE_CLAIM, false};
static const struct rejection workspace_mismatch = {
    &close_WORKSPACE_MISMATCH, FAILURE_WORKSPACE_CLAIM_MISMATCH, false};
static const struct rejection target_mismatch = {
    &close_TARGET_MISMATCH, FAILURE_RUNTIME_TARGET_CLAIM_MISMATCH, false};
static const struct rejection role_mismatch = {
    &close_ROLE_MISMATCH, FAILURE_ROLE_CLAIM_MISMATCH, false};
static const struct rejection invalid_scope = {
    &close_INVALID_SCOPE, FAILURE_INVALID_SCOPE_CLAIM, true};
static const struct rejection missing_target = {
    &close_MISSING_TARGET, FAILURE_MISSING_RUNTIME_TARGET_CLAIM, false};
static const struct rejection stale_generation = {
    &close_STALE_GENERATION, FAILURE_STALE_DAEMON_GENERATION, true};
static const struct rejection daemon_connected = {
    &close_DAEMON_CONNECTED, FAILURE_DAEMON_ALREADY_CONNECTED, true};

// Spec section 5.1, in its order; NULL: fine.
static const struct rejection *judge_claims(
    const struct admitted *admitted, const struct claims *claims)
{
    if (claims->workspace_id == NULL) {
        return &missing_workspace;
    }
    if (!slice_eq(slice_str(claims->workspace_id), admitted->workspace)) {
        return &workspace_mismatch;
    }
    if (admitted->target.len > 0 &&
        !slice_eq(slice_str(claims->runtime_target_id), admitted->target)) {
        return &target_mismatch;
    }
    if (claims->has_role && claims->role != admitted->role) {
        return &role_mismatch;
    }
    if (admitted->role == ROLE_CLIENT && claims->scope == SCOPE_NONE) {
        return &invalid_scope;
    }
    bool needs_target = admitted->role == ROLE_DAEMON ||
                        (admitted->role == ROLE_CLIENT && claims->scope != SCOPE_PAIRING);
    if (needs_target && admitted->target.len == 0 && claims->runtime_target_id == NULL) {
        return &missing_target;
    }
    if (claims->runtime_target_id != NULL && !cell_is_id(slice_str(claims->runtime_target_id))) {
        return &target_mismatch;
    }
    return NULL;
}

static void register_peer(struct peer *peer)
{
    struct metrics_shard *metrics = peer->shard->worker->metrics;
    peer->registered = true;
    peer->connected_wall_ms = sys_wall_ms();
    metrics_add(metrics, METRIC_CONNECTIONS, 1);
    metrics_count(metrics, METRIC_WS_CONNECTIONS_OPENED);
    metrics_count(metrics, METRIC_HANDSHAKES);
    log_connected(peer);
}

static void become_daemon(struct peer *peer)
{
    struct cell *cell = peer->cell;
    takeover_won(peer);
    cell->candidate = NULL;
    cell->daemon = peer;
    cell_clear_tables(cell);
    cell_update_emptiness(cell);
    register_peer(peer);
    ws_resume(&peer->ws);
    presence_announce(cell);
}

void peer_refuse_daemon(struct peer *candidate)
{
    reject(candidate, &daemon_connected);
}

// The daemon's end promotes the candidate: see leave_cell.
void peer_replace_daemon(struct cell *cell)
{
    peer_log_frame(cell->daemon, LOG_DAEMON_REPLACED, NULL);
    ws_close(&cell->daemon->ws, &close_DAEMON_REPLACED);
}

// Spec section 5.3 with its DECISION.
static void register_daemon(struct peer *peer, const struct claims *claims)
{
    struct cell *cell = peer->cell;
    if (claims->has_generation && claims->generation < cell->generation) {
        reject_daemon(peer, &stale_generation, claims->generation, cell->generation);
        return;
    }
    bool newer = claims->has_generation && claims->generation > cell->generation;
    if (cell->daemon == NULL) {
        cell->generation = claims->has_generation ? claims->generation : cell->generation;
        become_daemon(peer);
    } else if (newer && cell->generation >= 0) {
        cell->generation = claims->generation;
        if (cell->candidate != NULL) {
            reject(cell->candidate, &daemon_connected);
        }
        cell->candidate = peer;
        peer_replace_daemon(cell);
    } else if (cell->candidate != NULL) {
        reject(peer, &daemon_connected);
    } else if (!takeover_begin(peer, claims)) {
        reject(peer, &daemon_connected);
    }
}

static void register_in_cell(struct peer *peer, const struct claims *claims, struct slice target)
{
    peer->cell = cell_find_or_make(peer->shard, slice_str(claims->workspace_id), target);
    if (peer->cell == NULL) {
        ws_close(&peer->ws, &close_NO_MEMORY);
        return;
    }
    if (peer->role == ROLE_DAEMON) {
        register_daemon(peer, claims);
        if (!peer->registered) {
            cell_update_emptiness(peer->cell);
        }
        return;
    }
    list_push_back(&peer->cell->clients, &peer->cell_node);
    peer->cell->client_count++;
    cell_update_emptiness(peer->cell);
    register_peer(peer);
}

// ---- Making

#define TEXTS_BYTES_MAX 16384 // far more than admission lets claims hold

struct texts {
    struct slice items[PEER_TEXT_COUNT];
    size_t size;
};

// A slice without an address is no claim; an empty one is.
static struct slice claimed(const char *claim)
{
    return claim == NULL ? slice_of(NULL, 0) : slice_str(claim);
}

static void collect_texts(const struct admitted *admitted, struct texts *texts)
{
    const struct claims *claims = admitted->claims;
    *texts = (struct texts){.items = {
        [PEER_WORKSPACE] = admitted->workspace,
        [PEER_CLIENT] = claimed(claims->client_id == NULL ? "client_unknown" : claims->client_id),
        [PEER_MACHINE] = claimed(claims->machine_id),
        [PEER_INSTALL] = claimed(claims->install_id),
        [PEER_USER] = claimed(claims->user_id),
        [PEER_EXECUTOR] = claimed(claims->managed_executor_id),
    }};
    for (size_t i = 0; i < PEER_TEXT_COUNT; i++) {
        texts->size += texts->items[i].at == NULL ? 0 : texts->items[i].len + 1;
    }
}

static void copy_texts(struct peer *peer, size_t at, const struct texts *texts)
{
    for (size_t i = 0; i < PEER_TEXT_COUNT; i++) {
        struct slice text = texts->items[i];
        if (text.at != NULL) {
            char *copy = (char *)peer + at;
            memcpy(copy, text.at, text.len);
            copy[text.len] = '\0';
            peer->texts[i] = (uint16_t)at;
            at += text.len + 1;
        }
    }
}

// The peer, its backend if it has one, and its texts in one piece.
static struct peer *peer_allocate(const struct admitted *admitted)
{
    struct texts texts;
    collect_texts(admitted, &texts);
    bool client = admitted->role == ROLE_CLIENT;
    size_t at = sizeof(struct peer) + (client ? 0 : sizeof(struct peer_backend));
    struct peer *peer = texts.size > TEXTS_BYTES_MAX ? NULL : mem_zalloc(at + texts.size);
    if (peer == NULL) {
        return NULL;
    }
    if (!client) {
        peer->backend = (struct peer_backend *)(void *)(peer + 1);
        list_init(&peer->backend->requests);
    }
    copy_texts(peer, at, &texts);
    return peer;
}

// Limiter keys carry the workspace, so that equal client ids of two tenants do not share one (spec
// section 14, 13).
static bool hold_rates(struct peer *peer)
{
    struct shard *shard = peer->shard;
    uint64_t now_ns = worker_now(shard->worker);
    struct slice workspace = slice_str(peer_text(peer, PEER_WORKSPACE));
    if (peer->role != ROLE_CLIENT) {
        bucket_init(&peer->backend->invalid,
            (double)shard->relay->config->daemon_runtime_rate_per_minute, now_ns);
        peer->own_rate = limiter_hold(&shard->daemon, workspace, now_ns);
        return peer->own_rate != NULL;
    }
    char key[300];
    struct slice client = slice_str(peer_text(peer, PEER_CLIENT));
    memcpy(key, workspace.at, workspace.len + 1); // with its NUL
    memcpy(key + workspace.len + 1, client.at, client.len);
    peer->own_rate = limiter_hold(
        &shard->client_runtime, slice_of(key, workspace.len + 1 + client.len), now_ns);
    peer->workspace_rate = limiter_hold(&shard->workspace_runtime, workspace, now_ns);
    return peer->own_rate != NULL && peer->workspace_rate != NULL;
}

static struct peer *peer_new(struct shard *shard, const struct admitted *admitted)
{
    struct peer *peer = peer_allocate(admitted);
    if (peer == NULL) {
        return NULL;
    }
    list_init(&peer->node);
    list_init(&peer->cell_node);
    list_init(&peer->owned);
    peer->shard = shard;
    peer->role = (uint8_t)admitted->role;
    peer->scope = (uint8_t)admitted->claims->scope;
    peer->profile = (uint8_t)admitted->claims->profile;
    peer->ip = admitted->ip;
    list_push_back(&shard->peers, &peer->node);
    shard->peer_count++;
    if (admitted->claims->session_channel_count > 0 &&
        admitted->claims->scope == SCOPE_SESSION_EVENTS) {
        peer->channels = channel_list_new(admitted->claims);
        if (peer->channels == NULL) {
            peer_free(peer);
            return NULL;
        }
    }
    return peer;
}

enum weir_result peer_open(struct shard *shard, struct admitted *admitted)
{
    const struct claims *claims = admitted->claims;
    struct peer *peer = peer_new(shard, admitted);
    if (peer == NULL) {
        stream_state_drop(&admitted->stream);
        ledger_leave(shard->relay->ledger, &admitted->ip, admitted->role == ROLE_WORKER);
        return WEIR_MEMORY;
    }
    enum weir_result result = ws_open(&peer->ws, shard->worker, &admitted->stream,
        &shard->relay->policy, admitted->preface, admitted->unread);
    if (result != WEIR_OK) {
        ledger_leave(shard->relay->ledger, &peer->ip, admitted->role == ROLE_WORKER);
        peer_free(peer);
        return result;
    }
    if (!peer_is_open(peer)) {
        return WEIR_OK; // it left while it was told that it may come
    }
    const struct rejection *rejection = judge_claims(admitted, claims);
    if (rejection == &missing_target) {
        status_send_target_required(peer);
    }
    if (rejection != NULL) {
        reject(peer, rejection);
        return WEIR_OK;
    }
    if (!hold_rates(peer) || !watch_expiry(peer, claims)) {
        ws_close(&peer->ws, &close_NO_MEMORY);
        return WEIR_OK;
    }
    struct slice target = claims->runtime_target_id != NULL ? slice_str(claims->runtime_target_id)
                                                            : admitted->target;
    if (peer->role == ROLE_WORKER) {
        register_peer(peer);
    } else {
        register_in_cell(peer, claims, target);
    }
    if (admitted->redirect.len > 0 && peer->registered) {
        outgoing_redirect(peer, admitted->redirect, true);
    }
    return WEIR_OK;
}
