// SPDX-License-Identifier: Apache-2.0
// From a client (spec section 7.2): scope gate, profile, limiters and tables, then to the daemon.
#include <stdio.h>

#include "obs/log.h"
#include "relay/backplane/outgoing.h"
#include "relay/channels.h"
#include "relay/flow.h"
#include "relay/routing.h"
#include "relay/status.h"

#define ID_BYTES_MAX 4096

static void count(struct peer *peer, enum metric metric)
{
    metrics_count(peer->shard->worker->metrics, metric);
}

// ---- What a scope may send

enum family { FAMILY_RUNTIME, FAMILY_PAIRING, FAMILY_EVENTS };

static enum family family_of(enum frame_type type)
{
    switch (type) {
    case FRAME_PAIRING_OFFER_REQUEST:
    case FRAME_PAIRING_REDEEM_REQUEST:
        return FAMILY_PAIRING;
    case FRAME_SUBSCRIBE:
    case FRAME_UNSUBSCRIBE:
    case FRAME_VIEWER_PRESENCE:
        return FAMILY_EVENTS;
    case FRAME_E2EE:
    case FRAME_KEX_INIT_V3:
    case FRAME_KEX_INIT_V2:
    case FRAME_KEX_RESPONSE_V3:
    case FRAME_KEX_RESPONSE_V2:
    case FRAME_KEY_UPDATE_REQUIRED:
    case FRAME_PAIRING_OFFER_RESPONSE:
    case FRAME_PAIRING_REDEEM_RESPONSE:
    case FRAME_SESSION_EVENT:
    case FRAME_WORKER_REQUEST:
        return FAMILY_RUNTIME;
    }
    return FAMILY_RUNTIME;
}

// NULL text: may pass. Without a close reason the connection stays and gets a status frame.
static const struct gate {
    const char *log_reason;
    const struct close_reason *close;
} gates[][3] = {
    [SCOPE_RUNTIME] =
        {
            [FAMILY_RUNTIME] = {NULL, NULL},
            [FAMILY_PAIRING] = {"scope_mismatch_runtime_only", &close_RUNTIME_ONLY},
            [FAMILY_EVENTS] = {"scope_mismatch_runtime_or_pairing_only", &close_EVENTS_SCOPE},
        },
    [SCOPE_PAIRING] =
        {
            [FAMILY_RUNTIME] = {"scope_mismatch_pairing_only", &close_PAIRING_ONLY},
            [FAMILY_PAIRING] = {NULL, NULL},
            [FAMILY_EVENTS] = {"scope_mismatch_runtime_or_pairing_only", &close_EVENTS_SCOPE},
        },
    [SCOPE_SESSION_EVENTS] =
        {
            [FAMILY_RUNTIME] = {"scope_mismatch_session_events_only", NULL},
            [FAMILY_PAIRING] = {"scope_mismatch_session_events_only", NULL},
            [FAMILY_EVENTS] = {NULL, NULL},
        },
};

static bool pass_scope(struct peer *client, const struct frame *frame)
{
    const struct gate *gate = &gates[client->scope][family_of(frame->type)];
    if (gate->log_reason == NULL) {
        return true;
    }
    count(client, METRIC_FRAMES_CLIENT_REJECTED_SCOPE);
    peer_log_frame(client, LOG_CLIENT_FRAME_REJECTED, gate->log_reason);
    if (gate->close != NULL) {
        ws_close(&client->ws, gate->close);
    } else {
        status_send_events_scope_only(client);
    }
    return false;
}

static bool pass_profile(struct peer *client, const struct frame *frame)
{
    if (frame->profile == FRAME_PROFILE_NONE || client->profile == FRAME_PROFILE_NONE ||
        frame->profile == (enum frame_profile)client->profile) {
        return true;
    }
    count(client, METRIC_FRAMES_CLIENT_REJECTED_PROFILE_MISMATCH);
    peer_log_frame(client, LOG_CLIENT_FRAME_REJECTED, "profile_mismatch");
    ws_close(&client->ws, &close_CLIENT_PROFILE);
    return false;
}

static void drop(struct peer *client, const char *reason)
{
    count(client, METRIC_CLIENT_MESSAGES_DROPPED);
    peer_log_frame(client, LOG_CLIENT_MESSAGE_DROPPED, reason);
}

// ---- Limiters and tables

static const struct rate_event over_runtime = {METRIC_FRAMES_CLIENT_RUNTIME_RATE_LIMITED,
    LOG_CLIENT_FRAME_RATE_LIMITED, "runtime_rate_limit", &close_RUNTIME_RATE};
static const struct rate_event over_presence = {METRIC_SESSION_VIEWER_PRESENCE_RATE_LIMITED,
    LOG_CLIENT_FRAME_RATE_LIMITED, "presence_rate_limit", &close_PRESENCE_RATE};
static const struct rate_event over_kex = {METRIC_FRAMES_CLIENT_KEX_RATE_LIMITED,
    LOG_CLIENT_FRAME_RATE_LIMITED, "kex_rate_limit", &close_KEX_RATE};
static const struct rate_event over_pairing = {METRIC_FRAMES_CLIENT_PAIRING_RATE_LIMITED,
    LOG_CLIENT_FRAME_RATE_LIMITED, "pairing_rate_limit", &close_PAIRING_RATE};

// The client's own bucket first, then the workspace's (spec section 7.7).
static bool charge_runtime(struct peer *client, const struct rate_event *event)
{
    struct shard *shard = client->shard;
    return route_charge(client, &shard->client_runtime, client->own_rate, event) &&
           route_charge(client, &shard->workspace_runtime, client->workspace_rate, event);
}

static bool charge_window(
    struct peer *client, struct limiter *limiter, const struct rate_event *event)
{
    char key[512];
    char ip[IP_TEXT_SIZE];
    ip_to_text(&client->ip, ip);
    int len = snprintf(key, sizeof key, "%s:%s:%s", peer_text(client, PEER_WORKSPACE),
        peer_text(client, PEER_CLIENT), ip);
    if (limiter_count(limiter, slice_of(key, (size_t)len < sizeof key ? (size_t)len : sizeof key),
            worker_now(client->shard->worker))) {
        return true;
    }
    // A window cannot be slowed down to: what is above it would wait for up to a minute.
    count(client, event->metric);
    peer_log_frame(client, event->log_event, event->log_reason);
    ws_close(&client->ws, event->close);
    return false;
}

// Remembers who asked. A blank id is forwarded, but nobody can be found by it.
static bool track(struct peer *client, bool pairing, const struct json_value *request_id)
{
    char scratch[ID_BYTES_MAX];
    struct slice id;
    if (!frame_text_trimmed(request_id, scratch, sizeof scratch, &id) || id.len == 0) {
        return true;
    }
    struct cell_tables *tables = cell_tables(client->cell);
    struct owners *owners =
        tables == NULL ? NULL : (pairing ? &tables->pairings : &tables->key_exchanges);
    if (owners == NULL || owners_set(owners, id, client, &client->owned,
                              worker_now(client->shard->worker)) != WEIR_OK) {
        drop(client, "no_memory");
        ws_close(&client->ws, &close_NO_MEMORY);
        return false;
    }
    return true;
}

static bool pass_limits(struct peer *client, const struct frame *frame)
{
    switch (frame->type) {
    case FRAME_KEX_INIT_V3:
    case FRAME_KEX_INIT_V2:
        return charge_window(client, &client->shard->kex, &over_kex) &&
               track(client, false, &frame->request_id);
    case FRAME_PAIRING_OFFER_REQUEST:
    case FRAME_PAIRING_REDEEM_REQUEST:
        return charge_window(client, &client->shard->pairing, &over_pairing) &&
               track(client, true, &frame->request_id);
    case FRAME_E2EE:
        return charge_runtime(client, &over_runtime);
    case FRAME_VIEWER_PRESENCE:
        return charge_runtime(client, &over_presence);
    case FRAME_SUBSCRIBE:
    case FRAME_UNSUBSCRIBE:
    case FRAME_KEX_RESPONSE_V3: // the rest never comes from a client
    case FRAME_KEX_RESPONSE_V2:
    case FRAME_KEY_UPDATE_REQUIRED:
    case FRAME_PAIRING_OFFER_RESPONSE:
    case FRAME_PAIRING_REDEEM_RESPONSE:
    case FRAME_SESSION_EVENT:
    case FRAME_WORKER_REQUEST:
        return true;
    }
    return true;
}

// ---- Delivery

static void to_daemon(struct peer *client, struct ws_message *message)
{
    struct peer *daemon = client->cell->daemon;
    if (client->cell->target.len == 0) {
        drop(client, "missing_runtime_target");
        status_send_target_required(client);
        return;
    }
    bool waits = outgoing_has_held(client); // what came before goes first
    if (waits || (daemon == NULL && presence_usable(client->shard))) {
        outgoing_from_client(client, message);
        return;
    }
    if (daemon == NULL || !ws_forward(&daemon->ws, message)) {
        drop(client, "daemon_unavailable");
        status_send_daemon_unavailable(client);
        return;
    }
    struct metrics_shard *metrics = client->shard->worker->metrics;
    metrics_count(metrics, METRIC_FRAMES_CLIENT_TO_DAEMON);
    metrics_add(metrics, METRIC_BYTES_CLIENT_TO_DAEMON, (int64_t)message->len);
    flow_after_send(client, daemon);
}

void route_client_message(struct peer *client, struct ws_message *message)
{
    struct frame frame;
    if (!frame_parse(slice_of(message->bytes, message->len), FRAME_FROM_CLIENT, &frame)) {
        route_invalid(client, LOG_CLIENT_FRAME_REJECTED, METRIC_FRAMES_CLIENT_REJECTED,
            "invalid_client_frame");
        status_send_invalid_frame(client);
        return;
    }
    if (!pass_scope(client, &frame) || !pass_profile(client, &frame)) {
        return;
    }
    metrics_observe(client->shard->worker->metrics, HISTOGRAM_FRAME_SIZE_BYTES,
        (double)message->len);
    if (!pass_limits(client, &frame)) {
        return;
    }
    if (frame.type == FRAME_SUBSCRIBE) {
        channels_subscribe(client, &frame);
    } else if (frame.type == FRAME_UNSUBSCRIBE) {
        channels_unsubscribe(client, &frame);
    } else if (frame.type == FRAME_VIEWER_PRESENCE) {
        channels_presence(client, &frame, message);
    } else {
        to_daemon(client, message);
    }
}
