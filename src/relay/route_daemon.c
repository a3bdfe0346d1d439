// SPDX-License-Identifier: Apache-2.0
// From the daemon (spec section 7.1): what it may send, and how much. Where it goes: answers.c.
#include "obs/log.h"
#include "relay/answers.h"
#include "relay/routing.h"

static void count(struct peer *peer, enum metric metric)
{
    metrics_count(peer->shard->worker->metrics, metric);
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
    if (frame.type == FRAME_SESSION_EVENT) { // only the platform may publish these (section 6.3)
        peer_log_frame(daemon, LOG_DAEMON_FRAME_REJECTED, "unroutable_daemon_frame");
    } else {
        answers_route(daemon->cell, daemon, &frame, message);
    }
}
