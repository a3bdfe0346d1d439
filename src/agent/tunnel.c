// SPDX-License-Identifier: Apache-2.0
// A tunnel as the program has it, over as many control channels as its life takes. `wire` says what
// the engine knows of it on the present channel:
//
//   UNKNOWN ── OpenTunnelReq ─► ASKED ── answer ─► OPEN ── CloseTunnelReq ─► PARTING ── answer ─►
//   UNKNOWN
//      ▲                          │                 │
//      └──── refused, or the channel is lost, or the engine closes it
//
// Invariants:
// 1. id_node is in agent->ids exactly while OPEN or PARTING.
// 2. It is freed by tunnel_begin_close alone, which work calls: closing, UNKNOWN, no visits.
#include <stdio.h>

#include "agent/internal.h"
#include "base/mem.h"
#include "base/number.h"
#include "base/hostname.h"
#include "base/time.h"

#define TEXTS_MAX (256u * 1024)
#define ANSWER_NS (30 * NS_PER_S)
#define PARTING_NS (5 * NS_PER_S)
#define UNIX_PREFIX "unix:"

static void set_state(struct weir_tunnel *tunnel, enum weir_tunnel_state state, uint32_t retry_ms)
{
    struct weir_agent_problem problem;
    bool failing = state != WEIR_TUNNEL_OPENING && state != WEIR_TUNNEL_ONLINE;
    tunnel->state = state;
    if (tunnel->events.state == NULL) {
        return;
    }
    struct weir_tunnel_status status = {
        .state = state,
        .problem = failing ? fault_problem(&tunnel->fault, &problem) : NULL,
        .retry_in_ms = retry_ms,
        .info = state == WEIR_TUNNEL_ONLINE ? &tunnel->told.info : NULL,
    };
    tunnel->events.state(tunnel->arg, tunnel, &status);
}

static bool channel_is_open(const struct weir_agent *agent)
{
    return agent->channel != NULL && agent->channel->answered;
}

// ---- Asking

static void ask(struct weir_tunnel *tunnel)
{
    struct weir_agent *agent = tunnel->agent;
    struct tunnel_lists lists;
    struct rstrm_tunnel_properties properties;
    if (agent_uuid(tunnel->request_id) != WEIR_OK) {
        worker_arm_in(agent->worker, &tunnel->timer, NS_PER_S);
        return;
    }
    tunnel_request(&tunnel->options, &lists, &properties);
    if (properties.hostname.at == NULL && tunnel->hostname != NULL) {
        properties.hostname = slice_str(tunnel->hostname);
    }
    tunnel->wire = TUNNEL_ASKED;
    worker_arm_in(agent->worker, &tunnel->timer, ANSWER_NS);
    if (tunnel->state != WEIR_TUNNEL_OPENING) {
        set_state(tunnel, WEIR_TUNNEL_OPENING, 0);
    }
    channel_send(
        agent->channel, &(struct rstrm_message){.kind = RSTRM_OPEN_TUNNEL_REQ,
                            .open_tunnel_req = {slice_str(tunnel->request_id), &properties}});
}

void tunnel_work(struct weir_tunnel *tunnel)
{
    if (tunnel->closing) {
        return;
    }
    if (!tunnel->announced) {
        tunnel->announced = true;
        set_state(tunnel, WEIR_TUNNEL_OPENING, 0);
    }
    bool refused = tunnel->state == WEIR_TUNNEL_REFUSED;
    if (channel_is_open(tunnel->agent) && tunnel->wire == TUNNEL_UNKNOWN && !refused) {
        ask(tunnel);
    }
}

static void on_timer(struct timer *timer)
{
    struct weir_tunnel *tunnel = container_of(timer, struct weir_tunnel, timer);
    struct weir_agent *agent = tunnel->agent;
    struct fault fault;
    if (tunnel->closing) {
        tunnel_forget(tunnel);
        tunnel_settle(tunnel);
    } else if (tunnel->wire == TUNNEL_ASKED) {
        fault_set(&fault, WEIR_AGENT_ERROR_TIMEOUT, "the engine does not answer for a tunnel");
        channel_lose(agent->channel, &fault);
    } else if (channel_is_open(agent)) {
        ask(tunnel);
    }
}

// ---- What the engine says

// The tunnel is nothing to the engine any more.
static void leave_wire(struct weir_tunnel *tunnel)
{
    if (tunnel->wire == TUNNEL_OPEN || tunnel->wire == TUNNEL_PARTING) {
        map_remove(&tunnel->agent->ids, &tunnel->id_node);
    }
    timer_cancel(&tunnel->timer);
    tunnel->wire = TUNNEL_UNKNOWN;
}

void tunnel_channel_lost(struct weir_tunnel *tunnel, const struct fault *fault)
{
    leave_wire(tunnel);
    visits_forget(tunnel);
    if (tunnel->closing) {
        tunnel_settle(tunnel);
        return;
    }
    bool dead = tunnel->state == WEIR_TUNNEL_REFUSED && tunnel->fault.final;
    if (!dead && tunnel->announced && tunnel->state != WEIR_TUNNEL_OFFLINE) {
        tunnel->fault = *fault;
        set_state(tunnel, WEIR_TUNNEL_OFFLINE, 0);
    }
}

static void refused(struct weir_tunnel *tunnel, const struct rstrm_error *error)
{
    struct weir_agent *agent = tunnel->agent;
    leave_wire(tunnel);
    fault_of_engine(&tunnel->fault, "the tunnel", error);
    if (tunnel->closing) {
        tunnel_settle(tunnel);
        return;
    }
    if (tunnel->fault.final && tunnel->hostname != NULL) {
        // The name it once gave is not given again: whatever it gives now will do.
        mem_free(tunnel->hostname);
        tunnel->hostname = NULL;
        ask(tunnel);
        return;
    }
    tunnel->fault.final = tunnel->fault.final || tunnel->options.no_retry;
    if (tunnel->fault.final) {
        set_state(tunnel, WEIR_TUNNEL_REFUSED, 0);
        return;
    }
    tunnel->backoff.attempts += tunnel->backoff.attempts == 0; // asking at once again is no use
    uint32_t wait_ms = 1 + backoff_next(&tunnel->backoff, agent_random());
    worker_arm_in(agent->worker, &tunnel->timer, time_from_ms(wait_ms));
    set_state(tunnel, WEIR_TUNNEL_REFUSED, wait_ms);
}

static void breach(struct weir_tunnel *tunnel, const char *why)
{
    struct fault fault;
    fault_set(&fault, WEIR_AGENT_ERROR_PROTOCOL, "the engine broke the protocol: %s", why);
    channel_lose(tunnel->agent->channel, &fault);
}

static void remember_hostname(struct weir_tunnel *tunnel)
{
    const struct weir_tunnel_info *info = &tunnel->told.info;
    if (tunnel->options.hostname == NULL && info->publish && info->hostname[0] != '\0') {
        // Without memory the next one may be another.
        char *copy = mem_copy(info->hostname, strlen(info->hostname));
        mem_free(tunnel->hostname);
        tunnel->hostname = copy;
    }
}

static void opened(struct weir_tunnel *tunnel, const struct rstrm_tunnel_properties *properties)
{
    struct weir_agent *agent = tunnel->agent;
    struct fault fault;
    if (tunnel_texts_of(&tunnel->told, properties) != WEIR_OK ||
        map_insert(&agent->ids, &tunnel->id_node, slice_str(tunnel->told.info.id)) != WEIR_OK) {
        fault_set(&fault, WEIR_AGENT_ERROR_RESOURCES, "out of memory");
        channel_lose(agent->channel, &fault);
        return;
    }
    timer_cancel(&tunnel->timer);
    tunnel->wire = TUNNEL_OPEN;
    tunnel->backoff.attempts = 0;
    tunnel->fault = (struct fault){0};
    if (tunnel->closing) {
        agent_plan_work(agent);
        return;
    }
    remember_hostname(tunnel);
    spares_warm(agent);
    set_state(tunnel, WEIR_TUNNEL_ONLINE, 0);
}

void tunnel_answered(struct weir_tunnel *tunnel, const struct rstrm_open_tunnel_rsp *answer)
{
    const struct rstrm_tunnel_properties *properties = answer->tunnel_properties;
    if (answer->error != NULL) {
        refused(tunnel, answer->error);
    } else if (properties == NULL || properties->id.len == 0) {
        breach(tunnel, "its answer to a tunnel is empty, or has no id");
    } else if (map_find(&tunnel->agent->ids, properties->id) != NULL) {
        breach(tunnel, "two tunnels have one id");
    } else {
        opened(tunnel, properties);
    }
}

void tunnel_closed_by_engine(struct weir_tunnel *tunnel)
{
    bool asked = tunnel->wire == TUNNEL_PARTING;
    leave_wire(tunnel);
    if (!asked && !tunnel->closing) {
        fault_set(&tunnel->fault, WEIR_AGENT_ERROR_CLOSED, "the engine closed the tunnel");
        tunnel->fault.final = true;
        tunnel->closing = true;
        set_state(tunnel, WEIR_TUNNEL_CLOSING, 0);
    }
    tunnel_settle(tunnel);
}

// ---- The end

void tunnel_forget(struct weir_tunnel *tunnel)
{
    leave_wire(tunnel);
}

void tunnel_settle(struct weir_tunnel *tunnel)
{
    struct weir_agent *agent = tunnel->agent;
    if (tunnel->closing) {
        agent_plan_work(agent);
    }
    if (agent->closing != AGENT_STAYS) {
        agent_close_step(agent);
    }
}

static void free_tunnel(struct weir_tunnel *tunnel)
{
    list_remove(&tunnel->node);
    timer_cancel(&tunnel->timer);
    mem_free(tunnel->hostname);
    arena_reset(&tunnel->told.arena);
    arena_reset(&tunnel->texts);
    mem_free(tunnel);
}

void tunnel_begin_close(struct weir_tunnel *tunnel)
{
    struct weir_agent *agent = tunnel->agent;
    if (tunnel->cut) {
        list_for_each_safe (node, &tunnel->visits) {
            visit_cut(container_of(node, struct visit, node));
        }
    }
    if (tunnel->state != WEIR_TUNNEL_CLOSING) {
        tunnel->fault = (struct fault){0};
        set_state(tunnel, WEIR_TUNNEL_CLOSING, 0);
        if (tunnel->wire == TUNNEL_ASKED) {
            worker_arm_in(agent->worker, &tunnel->timer, PARTING_NS);
        } else if (tunnel->wire == TUNNEL_UNKNOWN) {
            timer_cancel(&tunnel->timer);
        }
    }
    if (tunnel->wire == TUNNEL_OPEN) {
        tunnel->wire = TUNNEL_PARTING;
        worker_arm_in(agent->worker, &tunnel->timer, PARTING_NS);
        visits_forget(tunnel);
        channel_send(
            agent->channel, &(struct rstrm_message){.kind = RSTRM_CLOSE_TUNNEL_REQ,
                                .close_tunnel_req.tunnel_id = slice_str(tunnel->told.info.id)});
    }
    if (tunnel->wire == TUNNEL_UNKNOWN && list_empty(&tunnel->visits)) {
        set_state(tunnel, WEIR_TUNNEL_CLOSED, 0);
        free_tunnel(tunnel);
        if (agent->closing != AGENT_STAYS && agent->closing != AGENT_LEAVES) {
            agent_close_step(agent);
        }
    }
}

void weir_tunnel_close(struct weir_tunnel *tunnel)
{
    tunnel->cut = tunnel->close_asked;
    tunnel->close_asked = true;
    tunnel->closing = true;
    agent_plan_work(tunnel->agent);
}

void weir_tunnel_count(const struct weir_tunnel *tunnel, struct weir_tunnel_counts *ret_counts)
{
    *ret_counts = tunnel->counts;
}

// ---- Making one

// "host:port", "port", "unix:/path".
static bool parse_target(struct weir_tunnel *tunnel, char *problem, size_t size)
{
    const char *text = tunnel->options.forward;
    struct slice host = SLICE("localhost");
    unsigned port = 0;
    uint64_t number;
    char shown[512];
    if (strncmp(text, UNIX_PREFIX, strlen(UNIX_PREFIX)) == 0 && text[5] != '\0') {
        tunnel->target = text;
        tunnel->target_path = text + strlen(UNIX_PREFIX);
        return true;
    }
    if (number_parse_u64(slice_str(text), 65535, &number) == WEIR_OK) {
        port = (unsigned)number;
    } else if (hostname_split_port(slice_str(text), &host, &port) != WEIR_OK) {
        port = 0;
    }
    if (port == 0 || host.len == 0) {
        snprintf(problem, size,
            "the local service is port, host:port or unix:/path, not \"%.100s\"", text);
        return false;
    }
    snprintf(shown, sizeof shown, "%.*s:%u", SLICE_ARG(host), port);
    if (host.len > 2 && host.at[0] == '[') {
        host = slice_of(host.at + 1, host.len - 2);
    }
    tunnel->target = arena_copy(&tunnel->texts, slice_str(shown));
    tunnel->target_host = arena_copy(&tunnel->texts, host);
    tunnel->target_port = (uint16_t)port;
    return tunnel->target != NULL && tunnel->target_host != NULL;
}

static bool set_up(struct weir_tunnel *tunnel, const struct weir_tunnel_options *options,
    char *problem, size_t size)
{
    struct weir_tunnel_options whole = {0};
    memcpy(&whole, options, options->size < sizeof whole ? options->size : sizeof whole);
    const char *mistake = tunnel_options_mistake(&whole);
    snprintf(problem, size, "%s", mistake == NULL ? "out of memory" : mistake);
    if (mistake != NULL ||
        tunnel_options_copy(&tunnel->texts, &whole, &tunnel->options) != WEIR_OK) {
        return false;
    }
    return tunnel->options.forward == NULL || parse_target(tunnel, problem, size);
}

struct weir_tunnel *weir_tunnel_open(struct weir_agent *agent,
    const struct weir_tunnel_options *options, const struct weir_tunnel_events *events, void *arg,
    char *problem, size_t size)
{
    struct weir_tunnel *tunnel = mem_zalloc(sizeof *tunnel);
    if (tunnel == NULL) {
        snprintf(problem, size, "out of memory");
        return NULL;
    }
    tunnel->agent = agent;
    tunnel->arg = arg;
    if (events != NULL) {
        tunnel->events = *events;
    }
    arena_init(&tunnel->texts, TEXTS_MAX);
    list_init(&tunnel->node);
    list_init(&tunnel->visits);
    timer_init(&tunnel->timer, on_timer);
    tunnel->backoff = (struct backoff){.min_ms = agent->options.retry_min_ms,
        .max_ms = agent->options.retry_max_ms,
        .jitter = agent->options.retry_jitter};
    if (!set_up(tunnel, options, problem, size)) {
        free_tunnel(tunnel);
        return NULL;
    }
    list_push_back(&agent->tunnels, &tunnel->node);
    agent_plan_work(agent);
    return tunnel;
}
