// SPDX-License-Identifier: Apache-2.0
// Shared by watch.c (life, snapshots, events) and watch_frames.c (what a WebSocket's peer sends).
#ifndef WEIR_ENGINE_WATCH_INTERNAL_H
#define WEIR_ENGINE_WATCH_INTERNAL_H

#include "engine/api/api_internal.h"
#include "engine/api/watch.h"
#include "engine/control/directory.h"
#include "proto/websocket.h"

// What came of a frame so far.
struct watch_input {
    char bytes[WS_HEADER_MAX + WS_CONTROL_PAYLOAD_MAX]; // a header, and a control frame's payload
    size_t len;
    struct ws_header header; // when header_len is not 0
    uint64_t skip;           // of a data frame's payload
    uint64_t message_len;
    bool in_message;
};

// What is written next, in this order; a message is never left half way.
enum watch_phase { WATCH_BEGIN, WATCH_CLIENTS, WATCH_TUNNELS, WATCH_LIVE, WATCH_PARTING };

struct watcher {
    struct list node; // in shard->watchers
    struct engine_shard *shard;
    struct exchange *exchange; // borrowed; its owner tells us before it goes
    enum watch_transport transport;
    struct token *token; // owned
    struct watch_params params;
    enum watch_phase phase;

    struct snapshot snapshot; // until it is written
    size_t next;              // of its clients or tunnels
    bool need_comma;
    bool in_message;
    uint64_t number; // events up to it are known to the watcher

    struct feed_event **queue; // owned, a ring; NULL while empty. References.
    size_t queue_start;
    size_t queue_count;
    size_t queue_bytes;
    bool stale; // it has missed events and wants a fresh snapshot

    bool blocked;  // the front takes no more
    bool paused;   // the front was told to read no more, and is to be resumed
    bool answered; // our end of the WebSocket is closed
    uint64_t blocked_since_ns;
    uint64_t heard_ns;
    unsigned ticks;
    struct timer timer;
    struct job job;
    struct watch_input input;
};

// ---- watch.c
// Sends one frame. False when the watcher is gone.
bool watch_send_frame(
    struct watcher *watcher, enum ws_opcode opcode, bool fin, struct slice payload);
// The peer broke the protocol: it is told, and not listened to any more. The watcher may be gone
// afterwards.
void watch_fail_with(struct watcher *watcher, uint16_t code, const char *reason);
// The peer's close frame came. The same.
void watch_answer_close(struct watcher *watcher, struct slice payload);

// ---- watch_snapshot.c
bool watch_shows_client(const struct watcher *watcher, const struct client *client);
bool watch_shows_tunnel(const struct watcher *watcher, const struct tunnel *tunnel);
// Appends a piece of the snapshot (some tens of KiB), and moves on to LIVE with the last.
void watch_append_piece(struct watcher *watcher, struct buf *piece);

// ---- watch_frames.c
// Takes bytes of the peer. False when the watcher is gone, or parting.
bool watch_take(struct watcher *watcher, struct slice bytes);

#endif
