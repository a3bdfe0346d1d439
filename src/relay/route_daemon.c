// SPDX-License-Identifier: Apache-2.0
// From the daemon (spec section 7.1): a response finds the client that asked, by request id; a
// session frame the client that has the session.
#include "obs/log.h"
#include "relay/flow.h"
#include "relay/routing.h"

#define ID_BYTES_MAX 4096 // of an escaped id that needs unescaping

static void count(struct peer *peer, enum metric metric)
{
    metrics_count(peer->shard->worker->metrics, metric);
}

static bool deliver(struct peer *daemon, struct peer *client, struct ws_message *message)
{
    if (client == NULL || !ws_forward(&client->ws, message)) {
        return false;
    }
    daemon->cell->workspace->frames_out++;
    flow_after_send(daemon, client);
    return true;
}

static void route_session(
    struct peer *daemon, const struct frame *frame, struct ws_message *message)
{
    char scratch[ID_BYTES_MAX];
    struct slice session;
    struct cell_tables *tables = daemon->cell->tables;
    struct peer *client = NULL;
    // Looked up as it stands, not trimmed (spec section 7.3).
    if (tables != NULL && frame_text(&frame->session_id, scratch, sizeof scratch, &session)) {
        client = owners_find(&tables->sessions, session, worker_now(daemon->shard->worker));
    }
    bool sent = deliver(daemon, client, message);
    count(daemon, sent ? METRIC_SESSION_FRAME_ROUTED_LOCAL : METRIC_SESSION_FRAME_DROPPED);
}

static struct peer *take_asker(
    struct peer *daemon, struct owners *requests, const struct json_value *request_id)
{
    char scratch[ID_BYTES_MAX];
    struct slice id;
    if (!frame_text_trimmed(request_id, scratch, sizeof scratch, &id) || id.len == 0) {
        return NULL;
    }
    return owners_take(requests, id, worker_now(daemon->shard->worker));
}

// The session is the asker's from here on.
static void keep_session(struct peer *daemon, struct peer *client, const struct frame *frame)
{
    char scratch[ID_BYTES_MAX];
    struct slice session;
    if (!frame_text_trimmed(&frame->session_id, scratch, sizeof scratch, &session) ||
        session.len == 0) {
        return;
    }
    if (owners_set(&daemon->cell->tables->sessions, session, client, &client->owned,
            worker_now(daemon->shard->worker)) != WEIR_OK) {
        ws_close(&client->ws, &close_NO_MEMORY);
    }
}

static void route_key_exchange(
    struct peer *daemon, const struct frame *frame, struct ws_message *message)
{
    struct cell_tables *tables = daemon->cell->tables;
    struct peer *client =
        tables == NULL ? NULL : take_asker(daemon, &tables->key_exchanges, &frame->request_id);
    if (client == NULL) {
        count(daemon, METRIC_KEY_EXCHANGE_RESPONSE_DROPPED);
        peer_log_frame(daemon, LOG_KEY_EXCHANGE_RESPONSE_OWNER_MISSING, NULL);
        return;
    }
    keep_session(daemon, client, frame);
    count(daemon, deliver(daemon, client, message) ? METRIC_KEY_EXCHANGE_RESPONSE_ROUTED_LOCAL
                                                   : METRIC_KEY_EXCHANGE_RESPONSE_DROPPED);
}

static void route_pairing(
    struct peer *daemon, const struct frame *frame, struct ws_message *message)
{
    struct cell_tables *tables = daemon->cell->tables;
    struct peer *client =
        tables == NULL ? NULL : take_asker(daemon, &tables->pairings, &frame->request_id);
    if (client == NULL) {
        count(daemon, METRIC_PAIRING_RESPONSE_DROPPED);
        peer_log_frame(daemon, LOG_PAIRING_RESPONSE_OWNER_MISSING, NULL);
        return;
    }
    count(daemon, deliver(daemon, client, message) ? METRIC_PAIRING_RESPONSE_ROUTED_LOCAL
                                                   : METRIC_PAIRING_RESPONSE_DROPPED);
}

static void route(struct peer *daemon, const struct frame *frame, struct ws_message *message)
{
    switch (frame->type) {
    case FRAME_E2EE:
    case FRAME_KEY_UPDATE_REQUIRED:
        route_session(daemon, frame, message);
        return;
    case FRAME_KEX_RESPONSE_V3:
    case FRAME_KEX_RESPONSE_V2:
        route_key_exchange(daemon, frame, message);
        return;
    case FRAME_PAIRING_OFFER_RESPONSE:
    case FRAME_PAIRING_REDEEM_RESPONSE:
        route_pairing(daemon, frame, message);
        return;
    case FRAME_SESSION_EVENT: // only the platform may publish these (spec section 6.3)
    case FRAME_KEX_INIT_V3:   // the rest is refused by the frame rules
    case FRAME_KEX_INIT_V2:
    case FRAME_PAIRING_OFFER_REQUEST:
    case FRAME_PAIRING_REDEEM_REQUEST:
    case FRAME_SUBSCRIBE:
    case FRAME_UNSUBSCRIBE:
    case FRAME_VIEWER_PRESENCE:
    case FRAME_WORKER_REQUEST:
        peer_log_frame(daemon, LOG_DAEMON_FRAME_REJECTED, "unroutable_daemon_frame");
        return;
    }
}

static const struct rate_event over_rate = {METRIC_FRAMES_DAEMON_RATE_LIMITED,
    LOG_DAEMON_FRAME_RATE_LIMITED, "daemon_rate_limit", &close_DAEMON_RATE};

// Invalid frames are charged to the connection, not to the workspace (spec section 14, 13).
static void refuse(struct peer *daemon)
{
    double capacity = (double)daemon->shard->relay->config->daemon_runtime_rate_per_minute;
    route_invalid(daemon, LOG_DAEMON_FRAME_REJECTED, METRIC_FRAMES_DAEMON_REJECTED,
        "invalid_daemon_frame");
    if (!bucket_take(&daemon->backend->invalid, capacity, worker_now(daemon->shard->worker))) {
        count(daemon, over_rate.metric);
        peer_log_frame(daemon, over_rate.log_event, over_rate.log_reason);
        ws_close(&daemon->ws, over_rate.close);
    }
}

void route_daemon_message(struct peer *daemon, struct ws_message *message)
{
    struct frame frame;
    if (!frame_parse(slice_of(message->bytes, message->len), FRAME_FROM_DAEMON, &frame)) {
        refuse(daemon);
        return;
    }
    if (!route_charge(daemon, &daemon->shard->daemon, daemon->own_rate, &over_rate)) {
        return;
    }
    if (frame.profile != FRAME_PROFILE_NONE && daemon->profile > frame.profile) {
        count(daemon, METRIC_FRAMES_DAEMON_REJECTED_PROFILE_MISMATCH);
        peer_log_frame(daemon, LOG_DAEMON_FRAME_REJECTED, "profile_mismatch");
        ws_close(&daemon->ws, &close_DAEMON_PROFILE);
        return;
    }
    struct metrics_shard *metrics = daemon->shard->worker->metrics;
    metrics_count(metrics, METRIC_FRAMES_DAEMON_TO_CLIENTS);
    metrics_add(metrics, METRIC_BYTES_DAEMON_TO_CLIENTS, (int64_t)message->len);
    metrics_observe(metrics, HISTOGRAM_FRAME_SIZE_BYTES, (double)message->len);
    daemon->cell->workspace->frames_in++;
    route(daemon, &frame, message);
}
