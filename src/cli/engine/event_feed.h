// SPDX-License-Identifier: Apache-2.0
// The events of an engine (spec engine, section 8.6), for as long as somebody wants them. A
// connection that is lost is made again; what happened in between is found by comparing what is
// there with what was there, and told as the events it must have been.
//
//            ┌──────────────── lost: wait, with full jitter ◄──────────────┐
//            ▼                                                             │
//   CONNECTING ──► first answer: the snapshot ──► LIVE ──► the connection ends
//            └──► refused (400, 401, 403, 404): the end
#ifndef WEIR_CLI_EVENT_FEED_H
#define WEIR_CLI_EVENT_FEED_H

#include <jansson.h>

#include "cli/engine/engine_api.h"
#include "stream/websocket.h"

enum event_origin {
    EVENT_SNAPSHOT, // state.initial, the first time only
    EVENT_LIVE,     // as it happens
    EVENT_CATCH_UP, // found by comparing: happened while there was no connection
};

enum feed_notice {
    FEED_CONNECTED, // text: NULL; count: 0
    FEED_LOST,      // text: why; wait_ns: until the next attempt
    FEED_CAUGHT_UP, // after FEED_LOST: count events were told; wait_ns: how long nothing was heard
    FEED_REFUSED,   // text: why; it is the end
};

struct event_feed_hooks {
    // Borrowed during the call. type is the member "type". event_feed_close is fine inside.
    void (*event)(void *arg, const char *type, const json_t *event, enum event_origin origin);
    void (*notice)(
        void *arg, enum feed_notice notice, const char *text, uint64_t wait_ns, size_t count);
    void *arg;
};

struct event_feed_options {
    const struct engine_api *api; // borrowed
    const char *params;           // JSON of section 8.3, borrowed; NULL: everything
    bool sse;                     // instead of a WebSocket
    struct event_feed_hooks hooks;
};

struct event_feed; // opaque

// NULL: memory ran out. Nothing is called before the next turn.
struct event_feed *event_feed_open(
    struct worker *worker, const struct event_feed_options *options) WEIR_MUST_CHECK;
// Nothing is called any more; the memory goes at the end of the turn, or when the connection has
// ended. NULL is fine.
void event_feed_close(struct event_feed *feed);
// Stops listening until event_feed_resume, for a receiver that cannot keep up: the connection is
// given up, and what happens meanwhile is caught up with as after a loss, without notices.
void event_feed_pause(struct event_feed *feed);
void event_feed_resume(struct event_feed *feed);

// ---- What is there. Pure: the part of the above that knows nothing of connections.

struct feed_state {
    json_t *clients; // owned; objects by id
    json_t *tunnels;
};

enum weir_result feed_state_init(struct feed_state *state) WEIR_MUST_CHECK;
void feed_state_fini(struct feed_state *state);
// Takes an event in: what it says is there now.
enum weir_result feed_state_apply(struct feed_state *state, const json_t *event) WEIR_MUST_CHECK;
// The events that lead from state to the snapshot (the object of a state.initial), in an order an
// engine could have sent them; a list. Once all of them are applied, state is as the snapshot says.
// NULL: memory ran out, or the snapshot is none.
json_t *feed_state_catch_up(
    const struct feed_state *state, const json_t *snapshot, uint64_t wall_ms) WEIR_MUST_CHECK;

#endif
