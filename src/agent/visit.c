// SPDX-License-Identifier: Apache-2.0
// A visitor's stream, from ProxyConnReq to its end (spec section 4.10):
//
//                       ┌─► local service ─┐
//   QUEUED ─► DIALING ──┤                  ├──► FLOWS: ProxyReq, ProxyConnRsp, then bytes ─► OVER
//                       └─► engine (TLS) ──┘
//                                │ either fails
//                                └──────► ProxyConnRsp with an error ─► OVER
//
// Both connections are made at once, and the engine hears of the stream only when the local service
// is there: a service that is down shows as a refusal, and the visitor gets 502. ProxyReq travels
// as the first bytes of the pair's way to the engine. A tunnel without a local service has the
// program in its place, which stream.c looks after.
//
// Invariants:
// 1. over is the only exit. agent->dialing counts those in DIALING.
// 2. Streams of a lost channel go on when they flow; others have nobody to go to.
#include <stdio.h>

#include "agent/internal.h"
#include "base/mem.h"
#include "base/time.h"
#include "sys/clock.h"

#define LOCAL_NS (5 * NS_PER_S)
#define ENGINE_NS (10 * NS_PER_S)
// What is silent for so long is forgotten by both ends; dead peers are found by TCP long before,
// and the engine has limits of its own.
#define IDLE_NS (24 * 3600 * NS_PER_S)
#define HALF_IDLE_NS (3600 * NS_PER_S)
#define STREAM_ID_LEN_MAX 256
#define SECRET_LEN_MAX 1024

// ---- Words

static void answer(
    struct weir_agent *agent, struct slice stream_id, const struct rstrm_error *error)
{
    if (agent->channel != NULL && agent->channel->answered) {
        channel_send(agent->channel, &(struct rstrm_message){.kind = RSTRM_PROXY_CONN_RSP,
                                         .proxy_conn_rsp = {stream_id, error}});
    }
}

static void tell_refused(
    struct weir_tunnel *tunnel, struct weir_stream_info *info, const struct fault *fault)
{
    struct weir_agent_problem problem;
    tunnel->counts.refused++;
    if (tunnel->events.stream_refused != NULL) {
        tunnel->events.stream_refused(tunnel->arg, tunnel, info, fault_problem(fault, &problem));
    }
}

// ---- The end

static void drop_state(struct stream_state *state)
{
    if (state->fd >= 0) {
        stream_state_drop(state);
    }
}

static void over(struct visit *visit)
{
    struct weir_tunnel *tunnel = visit->tunnel;
    struct weir_agent *agent = tunnel->agent;
    if (visit->state == VISIT_QUEUED) {
        list_remove(&visit->queue_node);
        agent->queue_len--;
    } else if (visit->state == VISIT_DIALING) {
        agent->dialing--;
    } else {
        tunnel->counts.streams_open--;
    }
    visit->state = VISIT_OVER;
    reach_cancel(visit->local);
    reach_cancel(visit->engine);
    drop_state(&visit->local_state);
    drop_state(&visit->engine_state);
    list_remove(&visit->node);
    mem_free(visit);
    if (agent->queue_len > 0) {
        agent_plan_work(agent);
    }
    tunnel_settle(tunnel);
}

static void refuse(struct visit *visit, enum rstrm_code code, const struct fault *fault)
{
    struct rstrm_error error = {(int32_t)code, slice_str(fault->text)};
    struct weir_tunnel *tunnel = visit->tunnel;
    tell_refused(tunnel, &visit->info, fault);
    answer(tunnel->agent, slice_str(visit->info.id), &error);
    over(visit);
}

void visit_cut(struct visit *visit)
{
    struct fault fault;
    if (visit->stream != NULL) {
        fault_set(&fault, WEIR_AGENT_ERROR_ENDED, "it was ended");
        stream_cut(visit->stream, &fault);
    } else if (visit->state == VISIT_FLOWS) {
        pair_cut(&visit->pair);
    } else {
        over(visit);
    }
}

void visits_forget(struct weir_tunnel *tunnel)
{
    list_for_each_safe (node, &tunnel->visits) {
        struct visit *visit = container_of(node, struct visit, node);
        if (visit->state != VISIT_FLOWS) {
            visit_cut(visit);
        }
    }
}

// ---- Flowing

static void fault_of_end(const struct visit *visit, enum pair_end end, struct fault *fault)
{
    *fault = (struct fault){0};
    switch (end) {
    case PAIR_DONE:
        break;
    case PAIR_FRONT_READ:
    case PAIR_FRONT_WRITE:
        fault_set(fault, WEIR_AGENT_ERROR_LOST, "the visitor, or the engine, broke off");
        break;
    case PAIR_BACK_READ:
    case PAIR_BACK_WRITE:
        fault_set(fault, WEIR_AGENT_ERROR_LOCAL, "%s: the local service broke off",
            visit->tunnel->target);
        break;
    case PAIR_IDLE:
        fault_set(fault, WEIR_AGENT_ERROR_TIMEOUT, "nothing was said for too long");
        break;
    case PAIR_NO_RESOURCES:
        fault_set(fault, WEIR_AGENT_ERROR_RESOURCES, "out of memory or descriptors");
        break;
    case PAIR_CUT:
    case PAIR_END_COUNT:
        fault_set(fault, WEIR_AGENT_ERROR_ENDED, "it was ended");
        break;
    }
}

static void tell_opened(struct visit *visit)
{
    struct weir_tunnel *tunnel = visit->tunnel;
    visit->state = VISIT_FLOWS;
    visit->tunnel->agent->dialing--;
    visit->began_ns = worker_now(tunnel->agent->worker);
    tunnel->counts.streams++;
    tunnel->counts.streams_open++;
    if (tunnel->events.stream_opened != NULL && tunnel->target != NULL) {
        tunnel->events.stream_opened(tunnel->arg, tunnel, &visit->info);
    }
}

static void tell_closed(struct visit *visit, const struct fault *fault)
{
    struct weir_tunnel *tunnel = visit->tunnel;
    struct weir_agent_problem problem;
    uint64_t lasted_ns = worker_now(tunnel->agent->worker) - visit->began_ns;
    struct weir_stream_totals totals = {visit->bytes_in, visit->bytes_out, lasted_ns / NS_PER_MS};
    if (tunnel->events.stream_closed != NULL && tunnel->target != NULL) {
        tunnel->events.stream_closed(
            tunnel->arg, tunnel, &visit->info, &totals, fault_problem(fault, &problem));
    }
}

void visit_stream_moved(struct visit *visit, uint64_t in, uint64_t out)
{
    visit->bytes_in += in;
    visit->bytes_out += out;
    visit->tunnel->counts.bytes_in += in;
    visit->tunnel->counts.bytes_out += out;
}

static void on_moved(struct pair *pair, uint64_t up, uint64_t down)
{
    struct visit *visit = container_of(pair, struct visit, pair);
    uint64_t ours = down < visit->greeting_len ? down : visit->greeting_len;
    visit->greeting_len -= ours;
    visit_stream_moved(visit, up, down - ours);
}

static void on_tapped(struct pair *pair, bool up, const void *bytes, size_t len)
{
    struct visit *visit = container_of(pair, struct visit, pair);
    struct weir_tunnel *tunnel = visit->tunnel;
    tunnel->events.tap(
        tunnel->arg, tunnel, &visit->info, up ? WEIR_STREAM_IN : WEIR_STREAM_OUT, bytes, len);
}

static void on_ended(struct pair *pair, enum pair_end end)
{
    struct visit *visit = container_of(pair, struct visit, pair);
    struct fault fault;
    fault_of_end(visit, end, &fault);
    tell_closed(visit, &fault);
    over(visit);
}

enum weir_result visit_greeting(const struct visit *visit, struct buf *out)
{
    struct rstrm_client_details details = visit->tunnel->agent->details;
    details.token = visit->secret;
    struct rstrm_message message = {
        .kind = RSTRM_PROXY_REQ,
        .proxy_req = {&details, slice_str(visit->info.id), RSTRM_TRUE},
    };
    return rstrm_encode(out, &message);
}

static void flow(struct visit *visit)
{
    struct weir_agent *agent = visit->tunnel->agent;
    struct buf greeting = BUF_INIT(RSTRM_FRAME_MAX);
    struct buf nothing = BUF_INIT(0);
    struct fault fault;
    if (visit_greeting(visit, &greeting) != WEIR_OK) {
        buf_reset(&greeting);
        fault_set(&fault, WEIR_AGENT_ERROR_RESOURCES, "out of memory");
        refuse(visit, RSTRM_CODE_SERVICE_UNAVAILABLE, &fault);
        return;
    }
    struct pair_options options = {
        .front = visit->engine_state,
        .back = visit->local_state,
        .front_unread = &nothing,
        .back_unread = &greeting,
        .idle_ns = IDLE_NS,
        .half_idle_ns = HALF_IDLE_NS,
        .moved = on_moved,
        .tapped = visit->tunnel->events.tap == NULL ? NULL : on_tapped,
        .ended = on_ended,
    };
    visit->greeting_len = greeting.len;
    visit->engine_state.fd = visit->local_state.fd = -1;
    tell_opened(visit);
    pair_open(&visit->pair, agent->worker, &options);
    answer(agent, slice_str(visit->info.id), NULL);
}

// ---- Dialing

static void on_reached(struct visit *visit, const struct reach_result *result)
{
    if (result->fault.error != WEIR_AGENT_ERROR_NONE) {
        refuse(visit, RSTRM_CODE_SERVICE_UNAVAILABLE, &result->fault);
    } else if (visit->local_state.fd >= 0 && visit->engine_state.fd >= 0) {
        flow(visit);
    }
}

static void on_local(void *arg, const struct reach_result *result)
{
    struct visit *visit = arg;
    visit->local = NULL;
    visit->local_state = result->state;
    on_reached(visit, result);
}

static void on_engine(void *arg, const struct reach_result *result)
{
    struct visit *visit = arg;
    visit->engine = NULL;
    visit->engine_state = result->state;
    on_reached(visit, result);
}

struct reach *visit_reach_engine(struct visit *visit, reach_fn *done, void *arg)
{
    struct weir_agent *agent = visit->tunnel->agent;
    struct reach *spare = spares_take(agent);
    if (spare != NULL) {
        reach_take(spare, done, arg);
        return spare;
    }
    return reach_start(agent->worker, &(struct reach_options){
                                          .what = agent->address,
                                          .host = agent->host,
                                          .port = agent->port,
                                          .known = agent->peer_known ? &agent->peer : NULL,
                                          .tls = &agent->tls,
                                          .timeout_ns = ENGINE_NS,
                                          .done = done,
                                          .arg = arg,
                                      });
}

static void dial(struct visit *visit)
{
    struct weir_tunnel *tunnel = visit->tunnel;
    struct fault fault;
    visit->local = reach_start(tunnel->agent->worker, &(struct reach_options){
                                                          .what = tunnel->target,
                                                          .host = tunnel->target_host,
                                                          .port = tunnel->target_port,
                                                          .unix_path = tunnel->target_path,
                                                          .timeout_ns = LOCAL_NS,
                                                          .done = on_local,
                                                          .arg = visit,
                                                      });
    visit->engine = visit_reach_engine(visit, on_engine, visit);
    if (visit->local == NULL || visit->engine == NULL) {
        fault_set(&fault, WEIR_AGENT_ERROR_RESOURCES, "out of memory");
        refuse(visit, RSTRM_CODE_SERVICE_UNAVAILABLE, &fault);
    }
}

static void offer(struct visit *visit)
{
    struct weir_tunnel *tunnel = visit->tunnel;
    struct fault fault;
    visit->stream = stream_of_visit(visit);
    if (visit->stream == NULL) {
        fault_set(&fault, WEIR_AGENT_ERROR_RESOURCES, "out of memory");
        refuse(visit, RSTRM_CODE_SERVICE_UNAVAILABLE, &fault);
        return;
    }
    if (tunnel->events.accept != NULL) {
        tunnel->events.accept(tunnel->arg, tunnel, visit->stream, &visit->info);
    }
    if (!stream_was_taken(visit->stream, &fault)) {
        visit->stream = NULL;
        refuse(visit, RSTRM_CODE_INVALID_STREAM, &fault);
    }
}

static void start(struct visit *visit)
{
    struct weir_agent *agent = visit->tunnel->agent;
    visit->state = VISIT_DIALING;
    agent->dialing++;
    if (visit->tunnel->target != NULL) {
        dial(visit);
    } else {
        offer(visit);
    }
    spares_warm(agent);
}

void visits_start_queued(struct weir_agent *agent)
{
    while (agent->dialing < agent->options.dials_max && agent->queue_len > 0) {
        struct list *node = list_pop_front(&agent->queue);
        agent->queue_len--;
        start(container_of(node, struct visit, queue_node));
    }
}

// ---- Of the program

void visit_stream_open(struct visit *visit)
{
    tell_opened(visit);
    answer(visit->tunnel->agent, slice_str(visit->info.id), NULL);
}

void visit_stream_gone(struct visit *visit, const struct fault *fault)
{
    visit->stream = NULL;
    if (visit->state == VISIT_FLOWS) {
        over(visit);
    } else {
        refuse(visit, RSTRM_CODE_SERVICE_UNAVAILABLE, fault);
    }
}

// ---- Asked

static struct visit *visit_new(
    struct weir_tunnel *tunnel, const struct rstrm_proxy_conn_req *request)
{
    struct visit *visit =
        mem_zalloc(sizeof *visit + request->stream_id.len + 1 + request->secret.len);
    if (visit == NULL) {
        return NULL;
    }
    char *secret = visit->bytes + request->stream_id.len + 1;
    memcpy(visit->bytes, request->stream_id.at, request->stream_id.len);
    if (request->secret.len > 0) {
        memcpy(secret, request->secret.at, request->secret.len);
    }
    visit->secret = slice_of(secret, request->secret.len);
    if (request->source_ip != NULL) {
        ip_to_text(request->source_ip, visit->source);
    }
    visit->info = (struct weir_stream_info){
        .id = visit->bytes, .source_ip = visit->source, .opened_ms = sys_wall_ms()};
    visit->tunnel = tunnel;
    visit->local_state.fd = visit->engine_state.fd = -1;
    list_init(&visit->queue_node);
    list_push_back(&tunnel->visits, &visit->node);
    return visit;
}

static void refuse_request(struct weir_agent *agent, struct weir_tunnel *tunnel,
    const struct rstrm_proxy_conn_req *request, enum rstrm_code code, const char *text)
{
    struct rstrm_error error = {(int32_t)code, slice_str(text)};
    char source[IP_TEXT_SIZE] = "";
    char id[STREAM_ID_LEN_MAX + 1];
    struct fault fault;
    if (tunnel != NULL) {
        struct weir_stream_info info = {.id = id, .source_ip = source, .opened_ms = sys_wall_ms()};
        (void)slice_to_text(request->stream_id, id, sizeof id);
        if (request->source_ip != NULL) {
            ip_to_text(request->source_ip, source);
        }
        fault_set(&fault,
            code == RSTRM_CODE_SERVICE_UNAVAILABLE ? WEIR_AGENT_ERROR_RESOURCES
                                                   : WEIR_AGENT_ERROR_PROTOCOL,
            "%s", text);
        tell_refused(tunnel, &info, &fault);
    }
    answer(agent, request->stream_id, &error);
}

void visit_ask(struct weir_agent *agent, const struct rstrm_proxy_conn_req *request)
{
    struct map_node *node = map_find(&agent->ids, request->tunnel_id);
    struct weir_tunnel *tunnel =
        node == NULL ? NULL : container_of(node, struct weir_tunnel, id_node);
    struct fault fault;
    if (request->stream_id.len == 0) {
        fault_set(&fault, WEIR_AGENT_ERROR_PROTOCOL,
            "the engine broke the protocol: it asks for a stream without an id");
        channel_lose(agent->channel, &fault);
    } else if (tunnel == NULL || tunnel->wire != TUNNEL_OPEN) {
        refuse_request(agent, NULL, request, RSTRM_CODE_INVALID_STREAM, "No such tunnel here.");
    } else if (request->stream_id.len > STREAM_ID_LEN_MAX || request->secret.len > SECRET_LEN_MAX) {
        refuse_request(agent, tunnel, request, RSTRM_CODE_INVALID_STREAM,
            "The stream's id or secret is too long.");
    } else if (request->proxy_endpoint.at != NULL) {
        // Whoever follows it can be sent anywhere by a bad engine (spec section 14).
        refuse_request(agent, tunnel, request, RSTRM_CODE_INVALID_STREAM,
            "Another proxy endpoint is not accepted.");
    } else if (agent->queue_len >= AGENT_QUEUE_MAX) {
        refuse_request(agent, tunnel, request, RSTRM_CODE_SERVICE_UNAVAILABLE,
            "Too many streams are being opened.");
    } else {
        struct visit *visit = visit_new(tunnel, request);
        if (visit == NULL) {
            refuse_request(agent, tunnel, request, RSTRM_CODE_SERVICE_UNAVAILABLE,
                "The agent is out of memory.");
            return;
        }
        list_push_back(&agent->queue, &visit->queue_node);
        agent->queue_len++;
        visits_start_queued(agent);
    }
}
