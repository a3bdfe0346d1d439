// SPDX-License-Identifier: Apache-2.0
// Who watches events: /api/sse and /api/websocket (spec sections 8.6 to 8.8). A watcher gets a
// snapshot, then every event after it that its filters and its token let through. One that does not
// take its events as fast as they come gets a fresh snapshot instead of them.
#ifndef WEIR_ENGINE_WATCH_H
#define WEIR_ENGINE_WATCH_H

#include "engine/shard.h"

struct api_request;

// On the shard's start, once: from then on the worker's watchers hear of events.
void watch_attach(struct engine_shard *shard);
// No more events: server-sent ones end, WebSockets are closed with 1001. New ones are refused.
void watch_drain(struct engine_shard *shard);
// After a reload: ends those whose token is of another secret (1008, or an end), spread over a
// second.
void watch_withdraw(struct engine_shard *shard);

// Becomes the back of the request and answers it; private to the API. accept_key is the
// Sec-WebSocket-Accept of a WebSocket over HTTP/1.1, else NULL.
enum watch_transport { WATCH_SSE, WATCH_WEBSOCKET };
void watch_start(
    struct api_request *request, enum watch_transport transport, const char *accept_key);

#endif
