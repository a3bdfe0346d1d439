// SPDX-License-Identifier: Apache-2.0
// Shared by websocket.c (life), websocket_read.c (receiving) and outbox.c (sending).
#ifndef WEIR_STREAM_WEBSOCKET_INTERNAL_H
#define WEIR_STREAM_WEBSOCKET_INTERNAL_H

#include "stream/websocket.h"

struct ws_partial {
    size_t len;
    size_t size;
    size_t need; // length of the frame at the front; 0 while its header is incomplete
    char bytes[];
};

struct ws_gather {
    size_t len;
    size_t size;
    char bytes[]; // WS_UNMASKED_HEADER_MAX bytes of room, then the message
};

// ---- websocket.c
// The connection broke or broke the rules; legal in any state.
void ws_fail(struct ws *ws, const struct close_reason *reason);
void ws_update_interest(struct ws *ws);
void ws_arm_timer(struct ws *ws);
void ws_peer_closed(struct ws *ws, struct slice payload);
void ws_finish_when_done(struct ws *ws);

// ---- websocket_read.c
void ws_on_readable(struct ws *ws);
// Handles what was left when reading was paused; false when the connection is not open any more.
void ws_on_resume(struct worker *worker, struct job *job);
enum weir_result ws_stash(struct ws *ws, const char *bytes, size_t len);
void ws_drop_input(struct ws *ws);

// ---- outbox.c
// Bytes that wait for the kernel.
static inline size_t ws_queued(const struct ws *ws)
{
    return ws->queue == NULL ? 0 : ws->queue->len;
}
// Bytes of `ws` that wait in the outbox go to the kernel or to the queue.
void outbox_flush_one(struct ws *ws);
void outbox_flush(struct worker *worker);
void outbox_forget(struct ws *ws);
void outbox_release_queue(struct ws *ws);
// Sends raw bytes in order; copies what does not fit now.
void outbox_send(struct ws *ws, struct iovec *parts, size_t count);
void outbox_on_writable(struct ws *ws);

#endif
