// SPDX-License-Identifier: Apache-2.0
// One row for each field of each message: its number on the wire and where it lies in our struct.
// Offsets in the library's structs come from its own descriptors, by number.
#include "proto/rstrm_forms.h"

#include <google/protobuf/timestamp.pb-c.h>
#include <rstrm.pb-c.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define TYPE(theirs) &rstream__io_rstrm__protobuf__##theirs##__descriptor
#define FORM(name, theirs)                                                                         \
    static const struct rstrm_form name##_form = {                                                 \
        theirs, sizeof(struct rstrm_##name), name##_fields, COUNT(name##_fields)}
#define ROW(number, type, ours, member)                                                            \
    {                                                                                              \
        number, RSTRM_FIELD_##type, offsetof(struct rstrm_##ours, member), NULL                    \
    }
#define SUB(number, sub, ours, member)                                                             \
    {                                                                                              \
        number, RSTRM_FIELD_FORM, offsetof(struct rstrm_##ours, member), &sub##_form               \
    }

static const struct rstrm_field error_fields[] = {
    ROW(1, 32, error, code),
    ROW(2, TEXT, error, message),
};
FORM(error, TYPE(error));

static const struct rstrm_field client_details_fields[] = {
    ROW(1, TEXT, client_details, agent),
    ROW(2, TEXT, client_details, channel),
    ROW(3, TEXT, client_details, version),
    ROW(4, TEXT, client_details, os),
    ROW(5, TEXT, client_details, arch),
    ROW(6, TEXT, client_details, token),
    ROW(7, TEXT, client_details, protocol_version),
};
FORM(client_details, TYPE(client_details));

static const struct rstrm_field server_details_fields[] = {
    ROW(1, TEXT, server_details, agent),
    ROW(2, TEXT, server_details, channel),
    ROW(3, TEXT, server_details, version),
    ROW(4, TEXT, server_details, plan),
    ROW(5, TEXT, server_details, provider),
    ROW(6, TEXT, server_details, region),
    ROW(7, TEXT, server_details, update),
};
FORM(server_details, TYPE(server_details));

static const struct rstrm_field liveness_fields[] = {
    ROW(1, 32, liveness, heartbeat_interval_ms),
    ROW(2, 32, liveness, heartbeat_timeout_ms),
};
FORM(liveness, TYPE(control_channel_liveness));

static const struct rstrm_field timestamp_fields[] = {
    ROW(1, 64, timestamp, seconds),
    ROW(2, 32, timestamp, nanos),
};
FORM(timestamp, &google__protobuf__timestamp__descriptor);

static const struct rstrm_field tunnel_properties_fields[] = {
    ROW(1, TEXT, tunnel_properties, id),
    SUB(2, timestamp, tunnel_properties, creation_date),
    ROW(3, TEXT, tunnel_properties, name),
    ROW(4, TEXT, tunnel_properties, type),
    ROW(5, SWITCH, tunnel_properties, publish),
    ROW(6, TEXT, tunnel_properties, protocol),
    ROW(7, LABELS, tunnel_properties, labels),
    ROW(8, LIST, tunnel_properties, geoip),
    ROW(9, LIST, tunnel_properties, trusted_ips),
    ROW(10, TEXT, tunnel_properties, host),
    ROW(11, TEXT, tunnel_properties, tls_mode),
    ROW(12, LIST, tunnel_properties, tls_alpns),
    ROW(13, TEXT, tunnel_properties, tls_min_version),
    ROW(14, LIST, tunnel_properties, tls_ciphers),
    ROW(15, SWITCH, tunnel_properties, mtls_auth),
    ROW(16, TEXT, tunnel_properties, mtls_cacert_pem),
    ROW(17, TEXT, tunnel_properties, http_version),
    ROW(18, SWITCH, tunnel_properties, http_use_tls),
    ROW(19, SWITCH, tunnel_properties, token_auth),
    ROW(20, SWITCH, tunnel_properties, rstream_auth),
    ROW(21, SWITCH, tunnel_properties, challenge_mode),
    ROW(22, TEXT, tunnel_properties, hostname),
    ROW(23, PORT, tunnel_properties, port),
    ROW(24, SWITCH, tunnel_properties, upstream_tls),
    ROW(25, SWITCH, tunnel_properties, datagram_guaranteed_delivery),
    ROW(26, SWITCH, tunnel_properties, allow_cross_region_routing),
};
FORM(tunnel_properties, TYPE(tunnel_properties));

static const struct rstrm_field channel_fields[] = {
    ROW(1, STRING, channel, client_id),
    SUB(2, server_details, channel, server_details),
    SUB(3, liveness, channel, liveness),
};
FORM(channel, TYPE(control_channel));

static const struct rstrm_field open_control_channel_req_fields[] = {
    SUB(1, client_details, open_control_channel_req, client_details),
    SUB(2, liveness, open_control_channel_req, liveness),
};
FORM(open_control_channel_req, TYPE(open_control_channel_req));

static const struct rstrm_field open_control_channel_rsp_fields[] = {
    SUB(1, channel, open_control_channel_rsp, ok),
    SUB(2, error, open_control_channel_rsp, error),
};
FORM(open_control_channel_rsp, TYPE(open_control_channel_rsp));

static const struct rstrm_form close_control_channel_req_form = {
    TYPE(close_control_channel_req), 0, NULL, 0};
static const struct rstrm_form close_control_channel_rsp_form = {
    TYPE(close_control_channel_rsp), 0, NULL, 0};

static const struct rstrm_field open_tunnel_req_fields[] = {
    ROW(1, STRING, open_tunnel_req, request_id),
    SUB(2, tunnel_properties, open_tunnel_req, tunnel_properties),
};
FORM(open_tunnel_req, TYPE(open_tunnel_req));

static const struct rstrm_field open_tunnel_rsp_fields[] = {
    ROW(1, STRING, open_tunnel_rsp, request_id),
    SUB(2, tunnel_properties, open_tunnel_rsp, tunnel_properties),
    SUB(3, error, open_tunnel_rsp, error),
};
FORM(open_tunnel_rsp, TYPE(open_tunnel_rsp));

static const struct rstrm_field close_tunnel_fields[] = {
    ROW(1, STRING, close_tunnel, tunnel_id),
};
static const struct rstrm_form close_tunnel_req_form = {TYPE(close_tunnel_req),
    sizeof(struct rstrm_close_tunnel), close_tunnel_fields, COUNT(close_tunnel_fields)};
static const struct rstrm_form close_tunnel_rsp_form = {TYPE(close_tunnel_rsp),
    sizeof(struct rstrm_close_tunnel), close_tunnel_fields, COUNT(close_tunnel_fields)};

static const struct rstrm_field proxy_conn_req_fields[] = {
    ROW(1, STRING, proxy_conn_req, tunnel_id),
    ROW(2, STRING, proxy_conn_req, stream_id),
    ROW(3, TEXT, proxy_conn_req, secret),
    ROW(4, ADDRESS, proxy_conn_req, source_ip),
    ROW(5, TEXT, proxy_conn_req, proxy_endpoint),
};
FORM(proxy_conn_req, TYPE(proxy_conn_req));

static const struct rstrm_field proxy_conn_rsp_fields[] = {
    ROW(1, STRING, proxy_conn_rsp, stream_id),
    SUB(2, error, proxy_conn_rsp, error),
};
FORM(proxy_conn_rsp, TYPE(proxy_conn_rsp));

static const struct rstrm_field proxy_req_fields[] = {
    SUB(1, client_details, proxy_req, client_details),
    ROW(2, STRING, proxy_req, stream_id),
    ROW(3, SWITCH, proxy_req, zero_rtt),
};
FORM(proxy_req, TYPE(proxy_req));

static const struct rstrm_field proxy_rsp_fields[] = {
    SUB(1, error, proxy_rsp, error),
};
FORM(proxy_rsp, TYPE(proxy_rsp));

static const struct rstrm_field stream_req_fields[] = {
    SUB(1, client_details, stream_req, client_details),
    ROW(2, STRING, stream_req, tunnel_id_name),
    ROW(3, SWITCH, stream_req, zero_rtt),
    ROW(4, SWITCH, stream_req, datagram_channel),
};
FORM(stream_req, TYPE(stream_req));

static const struct rstrm_field stream_rsp_fields[] = {
    ROW(1, STRING, stream_rsp, stream_id),
    SUB(2, error, stream_rsp, error),
};
FORM(stream_rsp, TYPE(stream_rsp));

static const struct rstrm_field heartbeat_fields[] = {
    ROW(1, 64, heartbeat, sequence),
    ROW(2, 64, heartbeat, acknowledgement),
};
FORM(heartbeat, TYPE(heartbeat));

static const struct rstrm_field server_message_fields[] = {
    ROW(1, STRING, server_message, message),
};
FORM(server_message, TYPE(server_message));

static const struct rstrm_field datagram_channel_close_fields[] = {
    ROW(1, STRING, datagram_channel_close, stream_id),
    SUB(2, error, datagram_channel_close, error),
};
FORM(datagram_channel_close, TYPE(datagram_channel_close));

const struct rstrm_form *rstrm_form_of(enum rstrm_kind kind)
{
    static const struct rstrm_form *const forms[] = {
#define KIND(symbol, number, member) [number] = &member##_form,
#include "proto/rstrm_kinds.def"
#undef KIND
    };
    return (size_t)kind < COUNT(forms) ? forms[kind] : NULL;
}

const ProtobufCMessageDescriptor *rstrm_envelope(void)
{
    return TYPE(message);
}
