// SPDX-License-Identifier: Apache-2.0
#include "relay/status.h"

#include "proto/json_write.h"

#define STATUS_BYTES_MAX 16384

// A frame on its way out. Without memory it is not sent; the peer's own deadlines handle that.
struct status {
    struct buf out;
    struct json_writer json;
};

static void begin(struct status *status, const char *type)
{
    buf_init(&status->out, STATUS_BYTES_MAX);
    json_writer_init(&status->json, &status->out);
    jsonw_object_begin(&status->json, NULL);
    jsonw_text(&status->json, "type", type);
}

static void finish(struct status *status, struct peer *peer)
{
    jsonw_object_end(&status->json);
    if (!status->out.failed) {
        ws_send(&peer->ws, WS_TEXT, buf_slice(&status->out));
    }
    buf_reset(&status->out);
}

static void begin_code(
    struct status *status, const struct peer *peer, const char *code, const char *message)
{
    begin(status, "relay_status");
    jsonw_text(&status->json, "code", code);
    jsonw_text(&status->json, "message", message);
    jsonw_text(&status->json, "workspaceId", peer_text(peer, PEER_WORKSPACE));
}

void status_send_daemon_unavailable(struct peer *client)
{
    struct status status;
    begin_code(&status, client, "DAEMON_UNAVAILABLE",
        "No machine runtime is connected for this runtime target");
    jsonw_bool(&status.json, "retryable", true);
    if (client->cell->target.len > 0) {
        jsonw_string(&status.json, "runtimeTargetId", client->cell->target);
    }
    if (peer_text(client, PEER_MACHINE) != NULL) {
        jsonw_text(&status.json, "machineId", peer_text(client, PEER_MACHINE));
    }
    finish(&status, client);
}

void status_send_target_required(struct peer *peer)
{
    struct status status;
    begin_code(&status, peer, "RUNTIME_TARGET_REQUIRED",
        "Runtime client must specify a runtime target");
    jsonw_bool(&status.json, "retryable", false);
    finish(&status, peer);
}

void status_send_redirect(struct peer *client, struct slice url, bool greeting)
{
    struct status status;
    begin_code(&status, client, "RELAY_REDIRECT",
        "Workspace is assigned to a different relay instance");
    if (!greeting) {
        jsonw_string(&status.json, "runtimeTargetId", client->cell->target);
    }
    jsonw_string(&status.json, "relayWsBaseUrl", url);
    finish(&status, client);
}

void status_send_invalid_frame(struct peer *client)
{
    struct status status;
    begin_code(&status, client, "INVALID_FRAME",
        "client frame must be a valid runtime or pairing control frame");
    finish(&status, client);
}

void status_send_events_scope_only(struct peer *client)
{
    struct status status;
    begin_code(&status, client, "SESSION_EVENTS_SCOPE_ONLY",
        "session-events scoped clients can only subscribe to authorized session event channels");
    finish(&status, client);
}

void status_send_subscribed(struct peer *client, struct slice channel, const struct frame *frame)
{
    struct status status;
    begin(&status, "viewport.session_events.subscribed/v1");
    jsonw_string(&status.json, "channel", channel);
    jsonw_double(&status.json, "afterSequence", frame->after_sequence);
    jsonw_text(&status.json, "authoritativeSource", "session_events");
    jsonw_bool(&status.json, "websocketRequiredForBackfill", false);
    finish(&status, client);
}

void status_send_unsubscribed(struct peer *client, struct slice channel)
{
    struct status status;
    begin(&status, "viewport.session_events.unsubscribed/v1");
    jsonw_string(&status.json, "channel", channel);
    finish(&status, client);
}

void status_send_denied(struct peer *client, const char *type, const struct json_value *channel)
{
    char scratch[4096];
    struct slice name;
    if (!frame_text_trimmed(channel, scratch, sizeof scratch, &name)) {
        name = SLICE_EMPTY;
    }
    struct status status;
    begin(&status, type);
    jsonw_string(&status.json, "channel", name);
    jsonw_text(&status.json, "reason", "CHANNEL_NOT_AUTHORIZED");
    jsonw_text(&status.json, "workspaceId", peer_text(client, PEER_WORKSPACE));
    finish(&status, client);
}
