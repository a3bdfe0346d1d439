// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>

#include "agent/internal.h"
#include "base/utf8.h"

static struct weir_tunnel *tunnel_of_request(struct weir_agent *agent, struct slice request_id)
{
    list_for_each (node, &agent->tunnels) {
        struct weir_tunnel *tunnel = container_of(node, struct weir_tunnel, node);
        if (tunnel->wire == TUNNEL_ASKED && slice_eq(request_id, slice_str(tunnel->request_id))) {
            return tunnel;
        }
    }
    return NULL;
}

static void take_open_tunnel(struct weir_agent *agent, const struct rstrm_open_tunnel_rsp *answer)
{
    struct weir_tunnel *tunnel = tunnel_of_request(agent, answer->request_id);
    if (tunnel != NULL) {
        tunnel_answered(tunnel, answer);
    } else if (answer->tunnel_properties != NULL && answer->tunnel_properties->id.len > 0) {
        // One that is not wanted any more.
        channel_send(
            agent->channel, &(struct rstrm_message){.kind = RSTRM_CLOSE_TUNNEL_REQ,
                                .close_tunnel_req.tunnel_id = answer->tunnel_properties->id});
    }
}

static void take_close_tunnel(struct weir_agent *agent, const struct rstrm_close_tunnel *answer)
{
    struct map_node *node = map_find(&agent->ids, answer->tunnel_id);
    if (node != NULL) {
        tunnel_closed_by_engine(container_of(node, struct weir_tunnel, id_node));
    }
}

static void take_server_message(struct weir_agent *agent, struct slice message)
{
    char text[1024];
    snprintf(text, sizeof text, "%.*s", SLICE_ARG(message));
    utf8_make_plain(text);
    if (agent->events.message != NULL) {
        agent->events.message(agent->arg, agent, text);
    }
}

void agent_frame(struct weir_agent *agent, const struct rstrm_message *message)
{
    struct fault fault;
    switch ((int)message->kind) {
    case RSTRM_OPEN_TUNNEL_RSP:
        take_open_tunnel(agent, &message->open_tunnel_rsp);
        break;
    case RSTRM_CLOSE_TUNNEL_RSP:
        take_close_tunnel(agent, &message->close_tunnel_rsp);
        break;
    case RSTRM_PROXY_CONN_REQ:
        visit_ask(agent, &message->proxy_conn_req);
        break;
    case RSTRM_SERVER_MESSAGE:
        take_server_message(agent, message->server_message.message);
        break;
    case RSTRM_CLOSE_CONTROL_CHANNEL_RSP:
        fault_set(&fault, WEIR_AGENT_ERROR_CLOSED, "the engine closed the control channel");
        channel_lose(agent->channel, &fault);
        break;
    default:
        break; // of no meaning to an agent (spec section 4.1)
    }
}
