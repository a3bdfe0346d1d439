// SPDX-License-Identifier: Apache-2.0
// A connection whose gate work is done: what gate.c hands to the module that will own it. Every
// taker owns the arrival's descriptor, TLS state and bytes from the call on, whatever happens.
//
//   gate.c   accept ─► PROXY header ─► ClientHello peek ─┬─► passthrough tunnel: visitor_raw_start
//                                                        └─► TLS handshake, by what was decided:
//     rstrm/1            first frame:  OpenControlChannelReq ─► control_start
//                                      ProxyReq ─► proxied_arrived (any worker)
//                                      StreamReq ─► dial_start
//     tls tunnel         visitor_raw_start
//     h2                 edge_h2_start
//     http/1.1, none     edge_h1_start
#ifndef WEIR_ENGINE_ARRIVAL_H
#define WEIR_ENGINE_ARRIVAL_H

#include "base/buf.h"
#include "engine/control/tunnel.h"
#include "proto/rstrm.h"
#include "stream/stream.h"
#include "sys/socket.h"

struct census_seat;
struct engine_shard;

struct arrival {
    struct stream_state state; // ssl is NULL for passthrough, else handshaken
    struct buf unread;         // what was read behind the first frame
    struct census_seat *seat;  // owned; NULL with TLS, whose session keeps it
    struct sys_address peer;
    char sni[TUNNEL_HOST_SIZE]; // lower case; "" without
    int tls_version;
};

// Finds a place for the arrival's peer (census.h); counts when there is none.
bool arrival_take_seat(struct engine_shard *shard, struct arrival *arrival) WEIR_MUST_CHECK;

// What a client asks of the TLS tunnel it came for. The tunnel is borrowed for the call. A
// seat that is left in the arrival afterwards is the caller's to give back.
void visitor_raw_start(struct engine_shard *shard, struct arrival *arrival, struct tunnel *tunnel);
void edge_h1_start(struct engine_shard *shard, struct arrival *arrival);
void edge_h2_start(struct engine_shard *shard, struct arrival *arrival);

// message is borrowed for the call.
struct rstrm_open_control_channel_req;
struct rstrm_stream_req;
struct rstrm_proxy_req;
void control_start(struct engine_shard *shard, struct arrival *arrival,
    const struct rstrm_open_control_channel_req *message);
void dial_start(
    struct engine_shard *shard, struct arrival *arrival, const struct rstrm_stream_req *message);
void proxied_arrived(
    struct engine_shard *shard, struct arrival *arrival, const struct rstrm_proxy_req *message);

#endif
