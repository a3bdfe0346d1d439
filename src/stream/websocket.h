// SPDX-License-Identifier: Apache-2.0
// A WebSocket connection on a worker, after the upgrade: messages in, messages out, control frames,
// close handshake, heartbeat, bounded queue.
//
//                    ws_close(reason), or the peer's end
//   OPEN ───────────────────────────────────────────────► CLOSING ── both close frames ──► LINGER
//     │  cut reasons, broken connection                      │ 2 s          passed            │ 1 s
//     └───────────────────────────► DEAD ◄───────────────────┴────────────────────────────────┘
//
// `ended` is called once, when OPEN is left; `gone` once, when the memory may be freed. What was
// accepted for sending before ws_close is sent before the close frame.
#ifndef WEIR_STREAM_WEBSOCKET_H
#define WEIR_STREAM_WEBSOCKET_H

#include "base/buf.h"
#include "proto/websocket.h"
#include "stream/stream.h"

enum close_fault { CLOSE_BY_PEER, CLOSE_BY_US };

struct close_reason {
    const char *label;
    const char *text; // of the close frame
    const char *english;
    uint16_t code; // 0: cut without a close frame
    enum close_fault fault;
};

#define CLOSE_REASON(symbol, label, code, text, who, english)                                      \
    extern const struct close_reason close_##symbol;
#include "stream/close_reasons.def"
#undef CLOSE_REASON

struct ws;

// A complete message. bytes may be changed by the receiver and have WS_UNMASKED_HEADER_MAX writable
// bytes in front; they are valid until the callback returns, except as ws_forward keeps them.
struct ws_message {
    char *bytes;
    size_t len;
    enum ws_opcode opcode; // WS_TEXT (then valid UTF-8) or WS_BINARY
    bool forwarded;        // set by ws_forward
};

struct ws_events {
    void (*message)(struct ws *ws, struct ws_message *message);
    // The queue has fallen below queue_low after it was above queue_high.
    void (*drained)(struct ws *ws);
    void (*ended)(struct ws *ws, const struct close_reason *reason);
    void (*gone)(struct ws *ws);
};

// Shared by all connections of a kind; all bounds of one.
struct ws_policy {
    const struct ws_events *events;
    size_t message_max;
    size_t queue_max;  // above it the connection is closed with close_OVERFLOW
    size_t queue_high; // above it ws_is_backlogged
    size_t queue_low;
    uint64_t ping_interval_ns; // 0: no heartbeat
    uint64_t pong_timeout_ns;
    uint64_t idle_timeout_ns;
    uint64_t message_timeout_ns;
    bool client; // frames we send are masked, frames we get are not
};

enum ws_state { WS_OPEN, WS_CLOSING, WS_LINGER, WS_DEAD };

struct ws_partial; // bytes read but not used yet
struct ws_gather;  // the fragments of a message so far

struct ws {
    struct stream stream;
    const struct ws_policy *policy; // borrowed, outlives the connection
    const struct close_reason *reason;
    struct buf *queue;          // owned; what the kernel did not take, NULL when it took all
    struct ws_partial *partial; // owned
    struct ws_gather *gather;   // owned
    struct timer timer;
    struct job resume;
    uint64_t last_activity_ns;
    uint64_t next_ping_ns;
    uint64_t ping_sent_ns;  // 0: none unanswered
    uint64_t partial_since_ns;
    uint64_t frames_sent;
    uint16_t outbox_slot; // 1-based; 0: none
    uint8_t state;        // enum ws_state
    uint8_t gather_opcode;
    bool paused;
    bool was_high;
    bool close_sent;
    bool close_received;
};

// Takes the stream's state over, on this worker. preface (a 101 response) is sent first; unread
// are bytes that came after the upgrade request and are processed in the next turn. On failure the
// state is dropped and no callback will come.
enum weir_result ws_open(struct ws *ws, struct worker *worker, struct stream_state *state,
    const struct ws_policy *policy, struct slice preface, struct slice unread) WEIR_MUST_CHECK;

// Sends a message or control frame, copying what the kernel does not take. Does nothing unless OPEN.
void ws_send(struct ws *ws, enum ws_opcode opcode, struct slice payload);
// Sends a received message on as one unfragmented text frame, without copying unless the kernel does
// not take it. To be called inside the message callback, for as many receivers as there are.
// False when the receiver is not open (nothing was sent) or was closed by its full queue.
bool ws_forward(struct ws *to, struct ws_message *message);

// Sends what ws_forward has noted: for a message whose bytes go before the callback returns.
void ws_settle(struct worker *worker);

void ws_close(struct ws *ws, const struct close_reason *reason);
// Ends the connection at once, without a close frame, in any state.
void ws_cut(struct ws *ws, const struct close_reason *reason);
// Asks for a sign of life now; ws->last_activity_ns tells.
void ws_ping(struct ws *ws);
// Stops and resumes reading; the heartbeat does not count a paused peer as silent.
void ws_pause(struct ws *ws);
void ws_resume(struct ws *ws);

static inline bool ws_is_open(const struct ws *ws)
{
    return ws->state == WS_OPEN;
}
// Bytes accepted but not taken by the kernel are above the high mark.
bool ws_is_backlogged(const struct ws *ws);

// For each part of the process that holds websockets on this worker, before the first one: adds what
// the part lets wait in queues to the bound for all of them.
enum weir_result ws_worker_init(struct worker *worker, size_t queued_max) WEIR_MUST_CHECK;
// When all of them have gone; fine on a worker that had none.
void ws_worker_fini(struct worker *worker);

#endif
