// SPDX-License-Identifier: Apache-2.0
//   STAYS ─► CLOSES_TUNNELS ─► DRAINS ─► CLOSES_CHANNEL ─► LEAVES ─► freed
//              5 s at most     drain_ms    5 s at most
//
// A step is over when what it waits for is gone, or its time; those that have nothing to wait for
// are passed at once. The second call of weir_agent_close, and the end of the loop, go to LEAVES.
#include "agent/internal.h"
#include "base/time.h"

#define STEP_NS (5 * NS_PER_S)

static const struct fault ended = {
    .error = WEIR_AGENT_ERROR_ENDED, .final = true, .text = "it was ended"};

static bool engine_knows_a_tunnel(const struct weir_agent *agent)
{
    list_for_each (node, &agent->tunnels) {
        if (container_of(node, struct weir_tunnel, node)->wire != TUNNEL_UNKNOWN) {
            return true;
        }
    }
    return false;
}

static void say_goodbye(struct weir_agent *agent)
{
    if (agent->channel != NULL && agent->channel->answered) {
        channel_send(
            agent->channel, &(struct rstrm_message){.kind = RSTRM_CLOSE_CONTROL_CHANNEL_REQ});
    }
}

static void cut_streams(struct weir_agent *agent)
{
    list_for_each_safe (node, &agent->streams) {
        stream_cut(stream_at(node), &ended);
    }
    list_for_each_safe (node, &agent->tunnels) {
        struct weir_tunnel *tunnel = container_of(node, struct weir_tunnel, node);
        list_for_each_safe (inner, &tunnel->visits) {
            visit_cut(container_of(inner, struct visit, node));
        }
    }
}

static void start_step(struct weir_agent *agent, enum agent_closing step, uint64_t time_ns)
{
    agent->closing = step;
    worker_arm_in(agent->worker, &agent->timer, time_ns);
}

static void start_leaving(struct weir_agent *agent)
{
    struct channel *channel = agent->channel;
    agent->closing = AGENT_LEAVES;
    timer_cancel(&agent->timer);
    spares_drop(agent);
    reach_cancel(agent->reach);
    agent->reach = NULL;
    agent->channel = NULL;
    channel_drop(channel, true);
    list_for_each_safe (node, &agent->tunnels) {
        struct weir_tunnel *tunnel = container_of(node, struct weir_tunnel, node);
        tunnel->closing = true;
        tunnel_forget(tunnel);
    }
    cut_streams(agent);
    agent_plan_work(agent); // whoever cuts may be inside of what it cuts
}

static bool has_streams(const struct weir_agent *agent)
{
    if (!list_empty(&agent->streams)) {
        return true;
    }
    list_for_each (node, &agent->tunnels) {
        if (!list_empty(&container_of(node, struct weir_tunnel, node)->visits)) {
            return true;
        }
    }
    return false;
}

void agent_close_step(struct weir_agent *agent)
{
    bool online = agent->channel != NULL && agent->channel->answered;
    if (agent->closing == AGENT_CLOSES_TUNNELS && (!online || !engine_knows_a_tunnel(agent))) {
        start_step(agent, AGENT_DRAINS, time_from_ms(agent->drain_ms));
    }
    if (agent->closing == AGENT_DRAINS && (agent->drain_ms == 0 || !has_streams(agent))) {
        start_step(agent, AGENT_CLOSES_CHANNEL, STEP_NS);
        say_goodbye(agent);
    }
    if (agent->closing == AGENT_CLOSES_CHANNEL && !online) {
        start_leaving(agent);
    }
}

void agent_close_timeout(struct weir_agent *agent)
{
    if (agent->closing == AGENT_CLOSES_TUNNELS) {
        list_for_each_safe (node, &agent->tunnels) {
            tunnel_forget(container_of(node, struct weir_tunnel, node));
        }
        agent_close_step(agent);
    } else if (agent->closing == AGENT_DRAINS) {
        agent->drain_ms = 0;
        agent_close_step(agent);
    } else if (agent->closing == AGENT_CLOSES_CHANNEL) {
        start_leaving(agent);
    }
}

static void finish_leaving(struct weir_agent *agent)
{
    if (has_streams(agent) || !list_empty(&agent->tunnels)) {
        agent_plan_work(agent); // they go with this turn, or the next
        return;
    }
    agent_set_state(agent, WEIR_AGENT_CLOSED, 0, NULL);
    agent_free(agent);
}

// From work: a call of weir_agent_close, or what start_leaving planned.
void agent_begin_close(struct weir_agent *agent)
{
    if (agent->closing == AGENT_LEAVES) {
        finish_leaving(agent);
        return;
    }
    if (agent->close_calls > 1) {
        start_leaving(agent);
        return;
    }
    if (agent->closing != AGENT_STAYS) {
        return;
    }
    start_step(agent, AGENT_CLOSES_TUNNELS, STEP_NS);
    spares_drop(agent);
    reach_cancel(agent->reach);
    agent->reach = NULL;
    if (agent->channel != NULL && !agent->channel->answered) {
        struct channel *channel = agent->channel;
        agent->channel = NULL;
        channel_drop(channel, true);
    }
    agent_set_state(agent, WEIR_AGENT_CLOSING, 0, NULL);
    list_for_each_safe (node, &agent->tunnels) {
        struct weir_tunnel *tunnel = container_of(node, struct weir_tunnel, node);
        tunnel->closing = true;
        tunnel_begin_close(tunnel);
    }
    if (agent->closing == AGENT_CLOSES_TUNNELS) {
        agent_close_step(agent);
    }
}

void agent_cut(struct weir_agent *agent)
{
    agent->close_calls = 2;
    if (agent->closing != AGENT_LEAVES) {
        start_leaving(agent);
    }
}
