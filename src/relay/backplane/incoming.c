// SPDX-License-Identifier: Apache-2.0
// What other relays, or the platform, send (spec section 7.6), is believed as little as a socket:
//
//   message ──► form, size, names ──► signature, freshness ──► frame rules ──► a daemon, or clients
//
// Invariants
//   1. Nothing is made for a message: no cell, no limiter key of a workspace nobody is here of.
//   Only
//      a request or a session is noted, in the tables of a daemon that is here, which are bounded.
//   2. What came from a relay goes to no relay.
//   3. Every message for this relay is counted once: delivered, dropped, over the rate, or refused
//      under the name of why.
#include "base/time.h"
#include "obs/log.h"
#include "relay/answers.h"
#include "relay/backplane/core.h"
#include "relay/channels.h"
#include "relay/remotes.h"
#include "sys/clock.h"

#define ID_BYTES_MAX 4096 // of an escaped id that needs unescaping
#define SCRATCH_KEPT_MAX (64 * 1024)

struct arrival {
    struct shard *shard;
    struct bus_message message;
    uint16_t route;
};

static void log_arrival(const struct arrival *arrival, enum log_event event, const char *reason)
{
    struct log_line line;
    const struct bus_message *message = &arrival->message;
    log_begin(&line, event);
    log_str(&line, "workspaceId", message->workspace);
    log_str(&line, "runtimeTargetId", message->target);
    log_str(&line, "sourceRelayId", message->source);
    log_text(&line, "direction",
        message->direction == BUS_CLIENT_TO_DAEMON ? "client_to_daemon" : "daemon_to_clients");
    log_text(&line, "reason", reason);
    log_end(&line);
}

static void refuse(const struct arrival *arrival, enum metric metric, const char *reason)
{
    metrics_count(arrival->shard->worker->metrics, metric);
    log_arrival(arrival, LOG_BUS_FRAME_REJECTED, reason);
}

static void drop(const struct arrival *arrival, const char *reason)
{
    metrics_count(arrival->shard->worker->metrics, METRIC_BUS_FRAMES_DROPPED);
    // What is meant for whoever has somebody is nobody's at most relays.
    if (arrival->message.target_relay.len > 0) {
        log_arrival(arrival, LOG_BUS_FRAME_DROPPED, reason);
    }
}

// ---- Believing

static const struct {
    enum metric metric;
    const char *reason;
} seal_faults[] = {
    [BUS_SEAL_INVALID] = {METRIC_BUS_PULL_INVALID_SIGNATURE, "invalid_signature"},
    [BUS_SEAL_STALE] = {METRIC_BUS_PULL_STALE_SIGNATURE, "stale_signature"},
    [BUS_SEAL_REPLAYED] = {METRIC_BUS_PULL_REPLAYED_SIGNATURE, "replayed_signature"},
};

static bool names_are_sound(const struct bus_message *message)
{
    return cell_is_id(message->workspace) && cell_is_id(message->target) &&
           remote_id_is_sound(message->source) &&
           (message->machine.len == 0 || remote_id_is_sound(message->machine));
}

// False: it has been counted, or is none of ours.
static bool believe(struct arrival *arrival, struct slice text)
{
    struct backplane *plane = arrival->shard->backplane;
    const struct relay_config *config = arrival->shard->relay->config;
    const struct bus_reader reader = {slice_str(config->relay_id), config->max_frame_bytes};
    switch (bus_message_read(text, plane->ops->form, &reader, WS_UNMASKED_HEADER_MAX,
        &plane->scratch, &arrival->message)) {
    case BUS_FOR_US:
        break;
    case BUS_FOR_OTHERS:
        return false;
    case BUS_MALFORMED:
        refuse(arrival, METRIC_BUS_FRAMES_REJECTED, "malformed");
        return false;
    case BUS_TOO_LARGE:
        refuse(arrival, METRIC_BUS_PULL_FRAME_TOO_LARGE, "frame_too_large");
        return false;
    }
    if (!names_are_sound(&arrival->message)) {
        refuse(arrival, METRIC_BUS_FRAMES_REJECTED, "invalid_id");
        return false;
    }
    enum bus_seal_verdict verdict = bus_seal_check(plane->seal, sys_wall_ms(), &arrival->message);
    if (verdict != BUS_SEAL_GOOD) {
        refuse(arrival, seal_faults[verdict].metric, seal_faults[verdict].reason);
        return false;
    }
    return true;
}

static struct ws_message payload_of(const struct arrival *arrival)
{
    struct slice payload = arrival->message.payload;
    return (struct ws_message){(char *)(uintptr_t)payload.at, payload.len, WS_TEXT, false};
}

// ---- For a daemon here

// What a client may send to a daemon; the rest of a client's frames concern its own relay.
static bool is_for_daemon(enum frame_type type)
{
    return type == FRAME_E2EE || type == FRAME_KEX_INIT_V3 || type == FRAME_KEX_INIT_V2 ||
           type == FRAME_PAIRING_OFFER_REQUEST || type == FRAME_PAIRING_REDEEM_REQUEST;
}

// Remembers which relay asked. False: memory ran out, so the answer would not find back.
static bool track(const struct arrival *arrival, struct cell *cell, const struct frame *frame)
{
    char scratch[ID_BYTES_MAX];
    struct slice id;
    struct shard *shard = arrival->shard;
    if (frame->type == FRAME_E2EE ||
        !frame_text_trimmed(&frame->request_id, scratch, sizeof scratch, &id) || id.len == 0) {
        return true;
    }
    bool pairing =
        frame->type == FRAME_PAIRING_OFFER_REQUEST || frame->type == FRAME_PAIRING_REDEEM_REQUEST;
    struct cell_tables *tables = cell_tables(cell);
    struct remote *remote =
        tables == NULL ? NULL
                       : remote_ref(&shard->remotes, arrival->message.source, arrival->route);
    if (remote == NULL) {
        return false;
    }
    enum weir_result result =
        owners_set_remote(pairing ? &tables->pairings : &tables->key_exchanges, id, remote,
            worker_now(shard->worker));
    remote_unref(remote);
    return result == WEIR_OK;
}

static void to_daemon(const struct arrival *arrival)
{
    struct frame frame;
    const struct bus_message *message = &arrival->message;
    struct shard *shard = arrival->shard;
    struct cell *cell = cell_find(shard, message->workspace, message->target);
    struct ws_message payload = payload_of(arrival);
    if (!frame_parse(message->payload, FRAME_FROM_CLIENT, &frame) || !is_for_daemon(frame.type)) {
        refuse(arrival, METRIC_BUS_FRAMES_REJECTED, "invalid_client_frame");
    } else if (cell == NULL || cell->daemon == NULL) {
        drop(arrival, "daemon_unavailable");
    } else if (!track(arrival, cell, &frame)) {
        drop(arrival, "no_memory");
    } else if (!ws_forward(&cell->daemon->ws, &payload)) {
        drop(arrival, "daemon_closing");
    } else {
        cell->last_activity_wall_ms = sys_wall_ms();
        metrics_count(shard->worker->metrics, METRIC_BUS_FRAMES_TO_DAEMON);
        ws_settle(shard->worker);
    }
}

// ---- For clients here

static bool pass_rate(const struct arrival *arrival)
{
    struct shard *shard = arrival->shard;
    uint64_t now_ns = worker_now(shard->worker);
    struct limiter_key *key = limiter_hold(&shard->daemon, arrival->message.workspace, now_ns);
    bool passes = key != NULL && limiter_take(&shard->daemon, key, now_ns);
    limiter_drop(&shard->daemon, key);
    return passes;
}

static void to_clients(const struct arrival *arrival)
{
    struct frame frame;
    const struct bus_message *message = &arrival->message;
    struct shard *shard = arrival->shard;
    struct metrics_shard *metrics = shard->worker->metrics;
    struct cell *cell = cell_find(shard, message->workspace, message->target);
    struct ws_message payload = payload_of(arrival);
    if (!frame_parse(message->payload, FRAME_FROM_DAEMON, &frame)) {
        refuse(arrival, METRIC_BUS_FRAMES_REJECTED, "invalid_daemon_frame");
        return;
    }
    if (cell == NULL) {
        drop(arrival, "client_unavailable");
        return;
    }
    if (!pass_rate(arrival)) {
        refuse(arrival, METRIC_BUS_FRAMES_DAEMON_RATE_LIMITED, "daemon_rate_limit");
        return;
    }
    bool delivered = frame.type == FRAME_SESSION_EVENT
                         ? channels_event(cell, &frame, &payload)
                         : answers_route(cell, NULL, &frame, &payload);
    if (delivered) {
        cell->last_activity_wall_ms = sys_wall_ms();
        metrics_count(metrics, METRIC_BUS_FRAMES_TO_CLIENTS);
        ws_settle(shard->worker);
    } else {
        drop(arrival, "client_unavailable");
    }
}

void backplane_receive(struct shard *shard, struct slice text, uint16_t route)
{
    struct arrival arrival = {.shard = shard, .route = route};
    struct buf *scratch = &shard->backplane->scratch;
    if (believe(&arrival, text)) {
        if (arrival.message.direction == BUS_CLIENT_TO_DAEMON) {
            to_daemon(&arrival);
        } else {
            to_clients(&arrival);
        }
    }
    if (scratch->size > SCRATCH_KEPT_MAX) {
        buf_reset(scratch);
    }
}
