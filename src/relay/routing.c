// SPDX-License-Identifier: Apache-2.0
#include "relay/routing.h"

#include "base/mem.h"
#include "base/utf8.h"
#include "obs/log.h"
#include "relay/flow.h"

bool route_charge(struct peer *peer, struct limiter *limiter, struct limiter_key *key,
    const struct rate_event *event)
{
    struct shard *shard = peer->shard;
    uint64_t now_ns = worker_now(shard->worker);
    if (limiter_take(limiter, key, now_ns)) {
        return true;
    }
    if (shard->relay->config->rate_limit_action == RATE_LIMIT_THROTTLE) {
        // The frame at hand still passes; the next one is read when there is a token for it.
        flow_throttle(peer, limiter_wait_ns(limiter, key, now_ns));
        return true;
    }
    metrics_count(shard->worker->metrics, event->metric);
    peer_log_frame(peer, event->log_event, event->log_reason);
    ws_close(&peer->ws, event->close);
    return false;
}

void route_invalid(struct peer *peer, int log_event, enum metric metric, const char *reason)
{
    metrics_count(peer->shard->worker->metrics, metric);
    peer_log_frame(peer, log_event, reason);
}

static const struct {
    void (*route)(struct peer *peer, struct ws_message *message);
} routes[ROLE_COUNT] = {
    [ROLE_DAEMON] = {route_daemon_message},
    [ROLE_CLIENT] = {route_client_message},
    [ROLE_WORKER] = {route_worker_message},
};

// A binary message is text whose bad sequences become U+FFFD (spec section 6.1). Each bad byte can
// become three.
static void route_repaired(struct peer *peer, const struct ws_message *message)
{
    struct buf repaired;
    buf_init(&repaired, WS_UNMASKED_HEADER_MAX + 3 * message->len);
    bool fits = buf_reserve(&repaired, WS_UNMASKED_HEADER_MAX) != NULL;
    if (fits) {
        buf_commit(&repaired, WS_UNMASKED_HEADER_MAX);
    }
    struct slice rest = slice_of(message->bytes, message->len);
    while (rest.len > 0 && fits) {
        size_t len = utf8_sequence_len(rest);
        struct slice piece = len > 0 ? slice_of(rest.at, len) : SLICE("\xef\xbf\xbd");
        fits = buf_append_slice(&repaired, piece) == WEIR_OK;
        rest = slice_skip(rest, len > 0 ? len : utf8_broken_len(rest));
    }
    size_t len = repaired.len - (fits ? WS_UNMASKED_HEADER_MAX : 0);
    if (!fits) {
        ws_close(&peer->ws, &close_NO_MEMORY);
    } else if (len > peer->shard->relay->config->max_frame_bytes) {
        ws_close(&peer->ws, &close_REPAIRED_TOO_LARGE);
    } else {
        struct ws_message text = {
            repaired.at + repaired.start + WS_UNMASKED_HEADER_MAX, len, WS_TEXT, false};
        routes[peer->role].route(peer, &text);
        ws_settle(peer->shard->worker);
    }
    buf_reset(&repaired);
}

void route_message(struct peer *peer, struct ws_message *message)
{
    peer->frames_in++;
    if (message->opcode == WS_BINARY && !utf8_valid(slice_of(message->bytes, message->len))) {
        route_repaired(peer, message);
    } else {
        routes[peer->role].route(peer, message);
    }
}
