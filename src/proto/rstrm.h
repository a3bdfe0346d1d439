// SPDX-License-Identifier: Apache-2.0
// The agent protocol rstrm/1 (spec engine, sections 4.1-4.4), without I/O: frames of a four-byte
// big-endian length and one protobuf Message. The protobuf library stays behind this header.
//
// Absent and "present with the default value" differ in this protocol, and so they do here: a slice
// that is absent has at == NULL (SLICE_EMPTY is present), a sub-message that is absent is NULL, a
// switch has three positions. A zeroed struct is one with nothing in it. Of several members of a
// oneof the last one wins, also when it is the same one again.
//
// The same structs are decoded to and encoded from. Decoded ones lie in the caller's arena and live
// until it is reset; what is encoded borrows from the caller for the call.
#ifndef WEIR_PROTO_RSTRM_H
#define WEIR_PROTO_RSTRM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/ip.h"
#include "base/result.h"
#include "base/slice.h"

#define RSTRM_ALPN "rstrm/1"
#define RSTRM_LENGTH_SIZE 4
#define RSTRM_PAYLOAD_MAX 65535
#define RSTRM_FRAME_MAX (RSTRM_LENGTH_SIZE + RSTRM_PAYLOAD_MAX)
// For arena_init: the most a frame may ask for when it is decoded. A frame that needs more is
// refused; honest ones need about four times their length.
#define RSTRM_ARENA_BYTES_MAX 262144
// Labels, or elements of one list; a frame with more is refused.
#define RSTRM_ITEMS_MAX 1024

enum rstrm_kind {
    RSTRM_NONE = 0, // an empty message, or a member we do not know: to be ignored
#define KIND(symbol, number, member) RSTRM_##symbol = (number),
#include "proto/rstrm_kinds.def"
#undef KIND
};

enum rstrm_code {
#define CODE(symbol, number) RSTRM_CODE_##symbol = (number),
#include "proto/rstrm_codes.def"
#undef CODE
};

enum rstrm_switch { RSTRM_ABSENT = 0, RSTRM_FALSE, RSTRM_TRUE };

struct rstrm_error {
    int32_t code; // enum rstrm_code, or one that we do not know
    struct slice message;
};

struct rstrm_client_details {
    struct slice agent;
    struct slice channel;
    struct slice version;
    struct slice os;
    struct slice arch;
    struct slice token; // a secret: never logged
    struct slice protocol_version;
};

struct rstrm_server_details {
    struct slice agent;
    struct slice channel;
    struct slice version;
    struct slice plan;
    struct slice provider;
    struct slice region;
    struct slice update;
};

struct rstrm_liveness {
    uint32_t heartbeat_interval_ms;
    uint32_t heartbeat_timeout_ms;
};

struct rstrm_label {
    struct slice key;
    struct slice value;
};

// Each key once: of equal ones the last has won. The order is that of the wire.
struct rstrm_labels {
    const struct rstrm_label *at;
    size_t count;
};

struct rstrm_list {
    const struct slice *at;
    size_t count;
};

struct rstrm_timestamp {
    int64_t seconds; // since 1970
    int32_t nanos;
};

struct rstrm_tunnel_properties {
    struct slice id;
    const struct rstrm_timestamp *creation_date;
    struct slice name;
    struct slice type;
    enum rstrm_switch publish;
    struct slice protocol;
    struct rstrm_labels labels;
    struct rstrm_list geoip;
    struct rstrm_list trusted_ips;
    struct slice host;
    struct slice tls_mode;
    struct rstrm_list tls_alpns;
    struct slice tls_min_version;
    struct rstrm_list tls_ciphers;
    enum rstrm_switch mtls_auth;
    struct slice mtls_cacert_pem;
    struct slice http_version;
    enum rstrm_switch http_use_tls;
    enum rstrm_switch token_auth;
    enum rstrm_switch rstream_auth;
    enum rstrm_switch challenge_mode;
    struct slice hostname;
    bool has_port;
    uint32_t port; // as sent: may be above 65535
    enum rstrm_switch upstream_tls;
    enum rstrm_switch datagram_guaranteed_delivery;
    enum rstrm_switch allow_cross_region_routing;
};

struct rstrm_open_control_channel_req {
    const struct rstrm_client_details *client_details;
    const struct rstrm_liveness *liveness;
};

struct rstrm_channel {
    struct slice client_id;
    const struct rstrm_server_details *server_details;
    const struct rstrm_liveness *liveness;
};

// One of the two, or (decoded only) none.
struct rstrm_open_control_channel_rsp {
    const struct rstrm_channel *ok;
    const struct rstrm_error *error;
};

struct rstrm_open_tunnel_req {
    struct slice request_id;
    const struct rstrm_tunnel_properties *tunnel_properties;
};

// One of the two, or (decoded only) none.
struct rstrm_open_tunnel_rsp {
    struct slice request_id;
    const struct rstrm_tunnel_properties *tunnel_properties;
    const struct rstrm_error *error;
};

struct rstrm_close_tunnel {
    struct slice tunnel_id;
};

struct rstrm_proxy_conn_req {
    struct slice tunnel_id;
    struct slice stream_id;
    struct slice secret; // never logged
    const struct ip *source_ip;
    struct slice proxy_endpoint;
};

struct rstrm_proxy_conn_rsp {
    struct slice stream_id;
    const struct rstrm_error *error; // NULL: accepted
};

struct rstrm_proxy_req {
    const struct rstrm_client_details *client_details; // its token is the stream's secret
    struct slice stream_id;
    enum rstrm_switch zero_rtt;
};

struct rstrm_proxy_rsp {
    const struct rstrm_error *error; // NULL: fine
};

struct rstrm_stream_req {
    const struct rstrm_client_details *client_details;
    struct slice tunnel_id_name;
    enum rstrm_switch zero_rtt;
    enum rstrm_switch datagram_channel;
};

// An error, or a stream id (at == NULL: decoded, and neither was there).
struct rstrm_stream_rsp {
    struct slice stream_id;
    const struct rstrm_error *error;
};

struct rstrm_datagram_channel_close {
    struct slice stream_id;
    const struct rstrm_error *error;
};

struct rstrm_heartbeat {
    uint64_t sequence;
    uint64_t acknowledgement;
};

struct rstrm_server_message {
    struct slice message;
};

struct rstrm_message {
    enum rstrm_kind kind;
    union {
        struct rstrm_open_control_channel_req open_control_channel_req;
        struct rstrm_open_control_channel_rsp open_control_channel_rsp;
        struct rstrm_open_tunnel_req open_tunnel_req;
        struct rstrm_open_tunnel_rsp open_tunnel_rsp;
        struct rstrm_close_tunnel close_tunnel_req;
        struct rstrm_close_tunnel close_tunnel_rsp;
        struct rstrm_proxy_conn_req proxy_conn_req;
        struct rstrm_proxy_conn_rsp proxy_conn_rsp;
        struct rstrm_proxy_req proxy_req;
        struct rstrm_proxy_rsp proxy_rsp;
        struct rstrm_stream_req stream_req;
        struct rstrm_stream_rsp stream_rsp;
        struct rstrm_heartbeat heartbeat;
        struct rstrm_server_message server_message;
        struct rstrm_datagram_channel_close datagram_channel_close;
    }; // the two CloseControlChannel messages have no fields
};

// The frame at the front of bytes; it is RSTRM_LENGTH_SIZE + ret_payload->len long. A payload of
// length 0 is legal and means nothing. WEIR_AGAIN: more is needed. WEIR_TOO_LARGE: the length is
// past RSTRM_PAYLOAD_MAX, known as soon as the length is there.
enum weir_result rstrm_next_frame(struct slice bytes, struct slice *ret_payload) WEIR_MUST_CHECK;

// Decodes a payload. WEIR_MALFORMED: not protobuf, groups, a known field of another wire type,
// nesting deeper than 8, a string that is not UTF-8 or has a NUL in it, an IPv6 address that is not
// 16 bytes. WEIR_TOO_LARGE: it would need more than the arena may hold, or more than
// RSTRM_ITEMS_MAX labels or list elements. WEIR_MEMORY. Unknown fields and members are skipped. The
// arena may hold earlier messages; a failed decode leaves them intact.
enum weir_result rstrm_decode(
    struct slice payload, struct arena *arena, struct rstrm_message *ret_message) WEIR_MUST_CHECK;

// Appends a whole frame, or nothing. The kind is not RSTRM_NONE. WEIR_TOO_LARGE: past
// RSTRM_PAYLOAD_MAX. WEIR_INVALID: a text with a NUL in it. WEIR_FULL and WEIR_MEMORY as buf_append
// has them.
enum weir_result rstrm_encode(struct buf *out, const struct rstrm_message *message) WEIR_MUST_CHECK;

#endif
