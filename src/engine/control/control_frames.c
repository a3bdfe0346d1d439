// SPDX-License-Identifier: Apache-2.0
// What the frames of an open channel mean: a row for each kind of message.
#include "engine/control/control.h"

#include "obs/log.h"

typedef void frame_fn(struct control *control, const struct rstrm_message *message);

// ---- Handlers

static void ignore(struct control *control, const struct rstrm_message *message)
{
    (void)control;
    (void)message;
}

static void open_tunnel(struct control *control, const struct rstrm_message *message)
{
    control_open_tunnel(control, &message->open_tunnel_req);
}

static void close_tunnel(struct control *control, const struct rstrm_message *message)
{
    control_close_tunnel(control, &message->close_tunnel_req);
}

static void answer(struct control *control, const struct rstrm_message *message)
{
    control_answer(control, &message->proxy_conn_rsp);
}

// Spec section 4.6: acknowledgements only where they were agreed on, rising, each once.
static void heartbeat(struct control *control, const struct rstrm_message *message)
{
    uint64_t sequence = message->heartbeat.sequence;
    engine_count(control->shard, ENGINE_HEARTBEATS);
    control->beats = true;
    if (control->heartbeat_ns == 0 || sequence <= control->last_sequence) {
        return;
    }
    control->last_sequence = sequence;
    control_send(control,
        &(struct rstrm_message){.kind = RSTRM_HEARTBEAT, .heartbeat.acknowledgement = sequence});
}

static void close_channel(struct control *control, const struct rstrm_message *message)
{
    (void)message;
    control_remove_tunnels(control);
    control_send(control, &(struct rstrm_message){.kind = RSTRM_CLOSE_CONTROL_CHANNEL_RSP});
    control_end(control, CONTROL_CLOSE_CLIENT);
}

// ---- The table. Kinds without a handler are of another connection, direction or moment.

struct frame_row {
    const char *name;
    frame_fn *handle;
};

static const struct frame_row rows[] = {
    [RSTRM_NONE] = {"none", ignore},
    [RSTRM_OPEN_CONTROL_CHANNEL_REQ] = {"OpenControlChannelReq", NULL},
    [RSTRM_OPEN_CONTROL_CHANNEL_RSP] = {"OpenControlChannelRsp", NULL},
    [RSTRM_CLOSE_CONTROL_CHANNEL_REQ] = {"CloseControlChannelReq", close_channel},
    [RSTRM_CLOSE_CONTROL_CHANNEL_RSP] = {"CloseControlChannelRsp", NULL},
    [RSTRM_OPEN_TUNNEL_REQ] = {"OpenTunnelReq", open_tunnel},
    [RSTRM_OPEN_TUNNEL_RSP] = {"OpenTunnelRsp", NULL},
    [RSTRM_CLOSE_TUNNEL_REQ] = {"CloseTunnelReq", close_tunnel},
    [RSTRM_CLOSE_TUNNEL_RSP] = {"CloseTunnelRsp", NULL},
    [RSTRM_PROXY_CONN_REQ] = {"ProxyConnReq", NULL},
    [RSTRM_PROXY_CONN_RSP] = {"ProxyConnRsp", answer},
    [RSTRM_PROXY_REQ] = {"ProxyReq", NULL},
    [RSTRM_PROXY_RSP] = {"ProxyRsp", NULL},
    [RSTRM_STREAM_REQ] = {"StreamReq", NULL},
    [RSTRM_STREAM_RSP] = {"StreamRsp", NULL},
    [RSTRM_HEARTBEAT] = {"Heartbeat", heartbeat},
    [RSTRM_SERVER_MESSAGE] = {"ServerMessage", ignore},
    [RSTRM_DATAGRAM_CHANNEL_CLOSE] = {"DatagramChannelClose", ignore},
};

void control_handle_frame(struct control *control, const struct rstrm_message *message)
{
    weir_assert((size_t)message->kind < sizeof rows / sizeof *rows);
    const struct frame_row *row = &rows[message->kind];
    if (row->handle != NULL) {
        row->handle(control, message);
        return;
    }
    struct log_line line;
    log_begin(&line, LOG_AGENT_PROTOCOL_ERROR);
    log_text(&line, "clientId", control->client->id);
    log_u64(&line, "code", RSTRM_CODE_INVALID_REQUEST);
    log_text(&line, "frame", row->name);
    log_end(&line);
    control_send(control, &(struct rstrm_message){.kind = RSTRM_SERVER_MESSAGE,
                              .server_message.message = SLICE("2000: unexpected frame")});
    control_end(control, CONTROL_CLOSE_PROTOCOL);
}
