// SPDX-License-Identifier: Apache-2.0
// Control channels (spec sections 4.5-4.9): one long-lived connection of an agent, frames both
// ways. A channel lives on the worker that accepted it; the numbers of channels are never used
// twice, so that others name one without holding it.
//
//            OpenControlChannelReq
//   arrival ───────────────────────► OPEN ──── close reason ───► GONE ──► (parting, or reset)
//      │                              │ ▲
//      └─► refused: parting           ▼ │ the holder of a wanted name is asked
//                                   WAITING: no frame is looked at
//
// control_open.c decides about newcomers, control.c has the connection, control_frames.c what the
// frames mean, control_tunnels.c tunnels and take-over, control_asks.c the streams that are asked
// for.
#ifndef WEIR_ENGINE_CONTROL_H
#define WEIR_ENGINE_CONTROL_H

#include "engine/control/client.h"
#include "engine/control/token.h"
#include "engine/control/tunnel.h"
#include "engine/shard.h"
#include "engine/upstream/proxied_internal.h"
#include "proto/rstrm.h"
#include "stream/stream.h"

enum control_close {
#define CONTROL_CLOSE(symbol, label, graceful, text) CONTROL_CLOSE_##symbol,
#include "engine/close_reasons.def"
#undef CONTROL_CLOSE
};

enum control_state {
    CONTROL_OPEN,
    CONTROL_WAITING, // an OpenTunnelReq waits for the holder of its name
    CONTROL_GONE,
};

struct control {
    struct stream stream;
    struct engine_shard *shard; // borrowed
    struct map_node node;       // in shard->channels, by number
    uint64_t number;
    struct client *client; // a reference
    struct token *token;   // owned
    struct sys_address peer;
    enum control_state state;
    struct buf in;
    struct buf out;
    struct job flush;    // deferred: out has frames of this turn
    struct job resume;   // deferred: in has frames that waited
    struct timer check;  // liveness
    struct timer expiry; // of the token
    uint64_t opened_ns;
    uint64_t heard_ns;
    uint64_t heartbeat_ns;   // between two of the agent's; 0: not negotiated
    uint64_t silence_max_ns; // with heartbeat_ns
    uint64_t last_sequence;
    bool beats;                   // at least one heartbeat came
    struct stream_state farewell; // between detaching and parting
    struct list tunnels;          // struct control_tunnel, in order of opening
    size_t tunnel_count;
    bool probed;     // the holder of the name that the frame at hand asks for has been asked
    struct map asks; // struct ask, by stream id
    struct list waiting_asks; // not sent yet
    size_t waiting_count;
    size_t outstanding; // sent, and neither bound nor answered
};

struct tunnel_listener;

struct control_tunnel {
    struct list node;
    struct tunnel *tunnel;            // a reference
    struct tunnel_listener *listener; // owned; of a published TCP tunnel
};

// For control_open.c, in this order. control is zeroed memory; in between client, token, peer,
// heartbeat and `in` are filled.
void control_init(struct control *control, struct engine_shard *shard);
// Takes state over, also on failure; control_discard is left to do then.
enum weir_result control_begin(struct control *control, struct stream_state *state) WEIR_MUST_CHECK;
// Frees one that never began.
void control_discard(struct control *control);
// The interval of its heartbeats, agreed or assumed.
uint64_t control_heartbeat_ns(const struct control *control);

// The open channel of that number on this worker, or NULL.
struct control *control_find(struct engine_shard *shard, uint64_t number);
// Queues a frame; it leaves at the end of this turn. May end the channel.
void control_send(struct control *control, const struct rstrm_message *message);
// Sends a frame that means nothing, at once: whether the peer's kernel acknowledges it tells
// whether it is there.
void control_poke(struct control *control);
// The only exit: idempotent, first reason wins. Its tunnels are gone when it returns.
void control_end(struct control *control, enum control_close reason);
// Looks at what has been read; for whoever held the frames up.
void control_resume(struct control *control);

void controls_drain(struct engine_shard *shard); // close_notify, no CloseTunnelRsp (spec 2.4)
// After a reload: ends those whose token is of another secret, spread over a second.
void controls_withdraw(struct engine_shard *shard);

// ---- control_frames.c

// May end the channel.
void control_handle_frame(struct control *control, const struct rstrm_message *message);

// ---- control_tunnels.c

void control_open_tunnel(struct control *control, const struct rstrm_open_tunnel_req *request);
void control_close_tunnel(struct control *control, const struct rstrm_close_tunnel *request);
void control_remove_tunnels(struct control *control);
// Forgets who asks about holders on this worker.
void control_probes_cut(struct engine_shard *shard);

// ---- control_asks.c

// Takes the ask over: sends it, or queues it, or gives it back with a verdict.
void control_ask(struct engine_shard *shard, struct ask *ask);
// The stream was bound, or nobody waits for it any more.
void control_forget(struct engine_shard *shard, uint64_t channel, struct slice stream_id);
void control_answer(struct control *control, const struct rstrm_proxy_conn_rsp *answer);
// Those of one tunnel that were not sent yet, or all.
void control_drop_asks(struct control *control, const struct tunnel *tunnel);

#endif
