// SPDX-License-Identifier: Apache-2.0
#include "relay/answers.h"

#include "obs/log.h"
#include "relay/backplane/outgoing.h"
#include "relay/flow.h"

#define ID_BYTES_MAX 4096 // of an escaped id that needs unescaping

struct answer {
    struct cell *cell;
    struct peer *daemon; // NULL: of another relay
    const struct frame *frame;
    struct ws_message *message;
};

// How each family is counted.
struct ends {
    enum metric local;
    enum metric bus;
    enum metric dropped;
};
static const struct ends session_ends = {METRIC_SESSION_FRAME_ROUTED_LOCAL,
    METRIC_SESSION_FRAME_ROUTED_BUS, METRIC_SESSION_FRAME_DROPPED};
static const struct ends key_exchange_ends = {METRIC_KEY_EXCHANGE_RESPONSE_ROUTED_LOCAL,
    METRIC_KEY_EXCHANGE_RESPONSE_ROUTED_BUS, METRIC_KEY_EXCHANGE_RESPONSE_DROPPED};
static const struct ends pairing_ends = {METRIC_PAIRING_RESPONSE_ROUTED_LOCAL,
    METRIC_PAIRING_RESPONSE_ROUTED_BUS, METRIC_PAIRING_RESPONSE_DROPPED};

static uint64_t now(const struct answer *answer)
{
    return worker_now(answer->cell->shard->worker);
}

static bool deliver(const struct answer *answer, struct owner owner, const struct ends *ends)
{
    struct metrics_shard *metrics = answer->cell->shard->worker->metrics;
    if (owner.peer != NULL && ws_forward(&owner.peer->ws, answer->message)) {
        metrics_count(metrics, ends->local);
        answer->cell->workspace->frames_out++;
        if (answer->daemon != NULL) {
            flow_after_send(answer->daemon, owner.peer);
        }
        return true;
    }
    if (owner.remote != NULL && answer->daemon != NULL) {
        outgoing_from_daemon(
            answer->daemon, owner.remote, answer->message, ends->bus, ends->dropped);
    } else {
        metrics_count(metrics, ends->dropped);
    }
    return false;
}

static bool route_session(const struct answer *answer)
{
    char scratch[ID_BYTES_MAX];
    struct slice session;
    struct cell_tables *tables = answer->cell->tables;
    struct owner owner = {NULL, NULL};
    // Looked up as it stands, not trimmed (spec section 7.3).
    if (tables != NULL &&
        frame_text(&answer->frame->session_id, scratch, sizeof scratch, &session)) {
        owner = owners_find(&tables->sessions, session, now(answer));
    }
    return deliver(answer, owner, &session_ends);
}

static struct owner take_asker(const struct answer *answer, bool pairing)
{
    char scratch[ID_BYTES_MAX];
    struct slice id;
    struct cell_tables *tables = answer->cell->tables;
    if (tables == NULL ||
        !frame_text_trimmed(&answer->frame->request_id, scratch, sizeof scratch, &id) ||
        id.len == 0) {
        return (struct owner){NULL, NULL};
    }
    return owners_take(pairing ? &tables->pairings : &tables->key_exchanges, id, now(answer));
}

static bool is_nobody(struct owner owner)
{
    return owner.peer == NULL && owner.remote == NULL;
}

static void log_missing(const struct answer *answer, enum log_event event)
{
    struct log_line line;
    if (answer->daemon != NULL) {
        peer_log_frame(answer->daemon, (int)event, NULL);
        return;
    }
    log_begin(&line, event);
    log_str(&line, "workspaceId", cell_workspace(answer->cell));
    log_str(&line, "runtimeTargetId", answer->cell->target);
    log_end(&line);
}

// The session is the asker's from here on.
static void keep_session(const struct answer *answer, struct owner owner)
{
    char scratch[ID_BYTES_MAX];
    struct slice session;
    if (!frame_text_trimmed(&answer->frame->session_id, scratch, sizeof scratch, &session) ||
        session.len == 0) {
        return;
    }
    struct owners *sessions = &answer->cell->tables->sessions;
    if (owner.peer == NULL) {
        // Without memory the session's frames will be dropped, and counted then.
        (void)!owners_set_remote(sessions, session, owner.remote, now(answer));
    } else if (owners_set(sessions, session, owner.peer, &owner.peer->owned, now(answer)) !=
               WEIR_OK) {
        ws_close(&owner.peer->ws, &close_NO_MEMORY);
    }
}

static bool route_key_exchange(const struct answer *answer)
{
    struct owner owner = take_asker(answer, false);
    if (is_nobody(owner)) {
        log_missing(answer, LOG_KEY_EXCHANGE_RESPONSE_OWNER_MISSING);
    } else {
        keep_session(answer, owner);
    }
    bool delivered = deliver(answer, owner, &key_exchange_ends);
    remote_unref(owner.remote);
    return delivered;
}

static bool route_pairing(const struct answer *answer)
{
    struct owner owner = take_asker(answer, true);
    if (is_nobody(owner)) {
        log_missing(answer, LOG_PAIRING_RESPONSE_OWNER_MISSING);
    }
    bool delivered = deliver(answer, owner, &pairing_ends);
    remote_unref(owner.remote);
    return delivered;
}

bool answers_route(
    struct cell *cell, struct peer *daemon, const struct frame *frame, struct ws_message *message)
{
    const struct answer answer = {cell, daemon, frame, message};
    switch (frame->type) {
    case FRAME_E2EE:
    case FRAME_KEY_UPDATE_REQUIRED:
        return route_session(&answer);
    case FRAME_KEX_RESPONSE_V3:
    case FRAME_KEX_RESPONSE_V2:
        return route_key_exchange(&answer);
    case FRAME_PAIRING_OFFER_RESPONSE:
    case FRAME_PAIRING_REDEEM_RESPONSE:
        return route_pairing(&answer);
    case FRAME_SESSION_EVENT: // the rest is no answer, and refused before
    case FRAME_KEX_INIT_V3:
    case FRAME_KEX_INIT_V2:
    case FRAME_PAIRING_OFFER_REQUEST:
    case FRAME_PAIRING_REDEEM_REQUEST:
    case FRAME_SUBSCRIBE:
    case FRAME_UNSUBSCRIBE:
    case FRAME_VIEWER_PRESENCE:
    case FRAME_WORKER_REQUEST:
        return false;
    }
    return false;
}
