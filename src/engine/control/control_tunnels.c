// SPDX-License-Identifier: Apache-2.0
// Opening and closing tunnels (spec section 4.8), and who gets a name that is taken (5.6).
//
//   newcomer's worker                       holder's worker
//   conflict, same identity ──probe──►      no such channel                        ─┐
//   (frames wait)                           silent for two heartbeats: ended        ├─► answer
//                                           data sent again and again: ended        │
//                                           else poked: acknowledged, so alive     ─┤
//                                                       not in time: ended         ─┘
//   tries once more ◄──────────────────────────────────────────────────────────────
//
// A stopped agent whose kernel still acknowledges is found by its heartbeats; one behind a broken
// network by its kernel, long before a heartbeat is missed.
#include "base/mem.h"
#include "base/time.h"
#include "engine/control/control.h"
#include "engine/control/directory.h"
#include "engine/control/registration.h"
#include "engine/edge/visitor_raw.h"
#include "obs/log.h"

#define SILENT_HEARTBEATS 2
#define TIMEOUTS_OF_THE_DEAD 3
#define PROBE_STEP_NS (50 * NS_PER_MS)
#define PROBE_MAX_NS (2 * NS_PER_S)

// ---- Take-over

// Owned by the worker it was sent to last.
struct probe {
    struct job job;
    struct list node;      // in the holder's shard->probes
    struct worker *worker; // the holder's
    struct timer timer;
    uint64_t deadline_ns;
    unsigned from;     // worker of the newcomer
    uint64_t newcomer; // its channel
    uint64_t holder;   // channel
};

static void on_probed(struct worker *worker, struct job *job)
{
    struct probe *probe = container_of(job, struct probe, job);
    struct engine_shard *shard = engine_shard_of(worker);
    struct control *control = shard == NULL ? NULL : control_find(shard, probe->newcomer);
    mem_free(probe);
    if (control != NULL) {
        control->probed = true;
        control_resume(control);
    }
}

static void send_back(struct engine_shard *shard, struct probe *probe)
{
    timer_cancel(&probe->timer);
    list_remove(&probe->node);
    worker_post(&shard->engine->crew->workers[probe->from], &probe->job, on_probed);
}

static bool is_silent(const struct control *holder, uint64_t now_ns)
{
    bool beats = holder->beats || holder->heartbeat_ns > 0;
    return beats && now_ns - holder->heard_ns >= SILENT_HEARTBEATS * control_heartbeat_ns(holder);
}

// What its kernel makes of what we sent. A busy channel always has something under way; only what
// is sent again and again is lost.
static struct sys_tcp_health health_of(const struct control *holder)
{
    struct sys_tcp_health health;
    if (sys_tcp_health(holder->stream.fd, &health) != WEIR_OK) {
        return (struct sys_tcp_health){0};
    }
    return health;
}

static void give_way(struct control *holder)
{
    engine_count(holder->shard, ENGINE_TAKEOVERS);
    control_end(holder, CONTROL_CLOSE_TAKEOVER);
}

static void on_probe_step(struct timer *timer)
{
    struct probe *probe = container_of(timer, struct probe, timer);
    struct worker *worker = probe->worker;
    struct engine_shard *shard = engine_shard_of(worker);
    struct control *holder = control_find(shard, probe->holder);
    struct sys_tcp_health health = {0};
    if (holder != NULL) {
        health = health_of(holder);
    }
    bool late = worker_now(worker) >= probe->deadline_ns;
    if (health.unacknowledged > 0 && health.timeouts < TIMEOUTS_OF_THE_DEAD && !late) {
        worker_arm_in(worker, timer, PROBE_STEP_NS);
        return;
    }
    if (health.timeouts > 0) {
        give_way(holder);
    }
    send_back(shard, probe);
}

static void on_probe(struct worker *worker, struct job *job)
{
    struct probe *probe = container_of(job, struct probe, job);
    struct engine_shard *shard = engine_shard_of(worker);
    if (shard == NULL || shard->stopping) {
        mem_free(probe);
        return;
    }
    probe->worker = worker;
    timer_init(&probe->timer, on_probe_step);
    list_push_back(&shard->probes, &probe->node);
    struct control *holder = control_find(shard, probe->holder);
    if (holder != NULL &&
        (is_silent(holder, worker_now(worker)) || health_of(holder).timeouts > 0)) {
        give_way(holder);
        holder = NULL;
    }
    if (holder == NULL) {
        send_back(shard, probe);
        return;
    }
    control_poke(holder);
    probe->deadline_ns = worker_now(worker) + PROBE_MAX_NS;
    worker_arm_in(worker, &probe->timer, PROBE_STEP_NS);
}

void control_probes_cut(struct engine_shard *shard)
{
    list_for_each_safe (node, &shard->probes) {
        struct probe *probe = container_of(node, struct probe, node);
        timer_cancel(&probe->timer);
        list_remove(&probe->node);
        mem_free(probe);
    }
}

static bool may_take_over(const struct control *control, const struct tunnel *holder)
{
    return control->shard->engine->config->takeover == ENGINE_TAKEOVER_SAME_IDENTITY &&
           holder->channel != control->number &&
           strcmp(holder->identity, control->client->identity) == 0;
}

// True when the holder is being asked: the frame waits for it.
static bool probe_holder(struct control *control, const struct tunnel *holder)
{
    struct probe *probe =
        control->probed || !may_take_over(control, holder) ? NULL : mem_zalloc(sizeof *probe);
    if (probe == NULL) {
        return false;
    }
    probe->from = control->shard->worker->index;
    probe->newcomer = control->number;
    probe->holder = holder->channel;
    control->state = CONTROL_WAITING;
    worker_post(&control->shard->engine->crew->workers[holder->worker], &probe->job, on_probe);
    return true;
}

// ---- Opening

static void count_refusal(struct engine_shard *shard, enum rstrm_code code, bool conflict)
{
    static const struct {
        enum rstrm_code code;
        enum engine_metric metric;
    } rows[] = {
        {RSTRM_CODE_UNAUTHORIZED, ENGINE_TUNNEL_OPENS_UNAUTHORIZED},
        {RSTRM_CODE_FEATURE_NOT_AVAILABLE, ENGINE_TUNNEL_OPENS_UNAVAILABLE},
        {RSTRM_CODE_CAPACITY_EXHAUSTED, ENGINE_TUNNEL_OPENS_CAPACITY},
        {RSTRM_CODE_INTERNAL, ENGINE_TUNNEL_OPENS_ERROR},
    };
    enum engine_metric metric =
        conflict ? ENGINE_TUNNEL_OPENS_CONFLICT : ENGINE_TUNNEL_OPENS_INVALID;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        metric = rows[i].code == code ? rows[i].metric : metric;
    }
    engine_count(shard, metric);
}

static void refuse(struct control *control, struct slice request_id,
    const struct tunnel_refusal *refusal, bool conflict)
{
    struct log_line line;
    struct rstrm_error error = {(int32_t)refusal->code, slice_str(refusal->message)};
    count_refusal(control->shard, refusal->code, conflict);
    log_begin(&line, LOG_TUNNEL_REFUSED);
    log_text(&line, "clientId", control->client->id);
    log_u64(&line, "code", (uint64_t)refusal->code);
    log_text(&line, "reason", refusal->reason != NULL ? refusal->reason : refusal->message);
    log_end(&line);
    control_send(control, &(struct rstrm_message){.kind = RSTRM_OPEN_TUNNEL_RSP,
                              .open_tunnel_rsp = {.request_id = request_id, .error = &error}});
}

static void log_tunnel(enum log_event event, const struct tunnel *tunnel)
{
    struct log_line line;
    log_begin(&line, event);
    log_text(&line, "clientId", tunnel->client_id);
    log_text(&line, "tunnelId", tunnel->id);
    log_text(&line, "name", tunnel->name);
    log_text(&line, "hostname", tunnel->hostname);
    log_u64(&line, "port", tunnel->port);
    log_end(&line);
}

static void count_tunnels(struct engine_shard *shard, const struct tunnel *tunnel, int amount)
{
    enum engine_metric metric =
        (enum engine_metric)(ENGINE_TUNNELS_PRIVATE + (unsigned)tunnel->protocol);
    engine_add(shard, metric, amount);
}

// The tunnel is registered. False: it cannot be served after all.
static bool keep_tunnel(
    struct control *control, struct tunnel *tunnel, struct tunnel_refusal *ret_refusal)
{
    struct control_tunnel *kept = mem_zalloc(sizeof *kept);
    *ret_refusal = (struct tunnel_refusal){
        .code = RSTRM_CODE_INTERNAL, .message = "The engine is out of memory."};
    if (kept == NULL) {
        return false;
    }
    if (tunnel->protocol == TUNNEL_TCP) {
        kept->listener = tunnel_listener_open(control->shard, tunnel);
        if (kept->listener == NULL) {
            *ret_refusal = (struct tunnel_refusal){
                .code = RSTRM_CODE_INVALID_REQUEST, .message = "TCP port is already in use."};
            mem_free(kept);
            return false;
        }
    }
    kept->tunnel = tunnel;
    list_push_back(&control->tunnels, &kept->node);
    control->tunnel_count++;
    count_tunnels(control->shard, tunnel, 1);
    return true;
}

static void answer_opened(struct control *control, struct slice request_id, struct tunnel *tunnel)
{
    struct tunnel_refusal refusal;
    if (!keep_tunnel(control, tunnel, &refusal)) {
        (void)directory_remove(control->shard->engine->directory, tunnel);
        tunnel_unref(tunnel);
        refuse(control, request_id, &refusal, refusal.code == RSTRM_CODE_INVALID_REQUEST);
        return;
    }
    engine_count(control->shard, ENGINE_TUNNEL_OPENS_OK);
    log_tunnel(LOG_TUNNEL_OPENED, tunnel);
    control_send(control, &(struct rstrm_message){.kind = RSTRM_OPEN_TUNNEL_RSP,
                              .open_tunnel_rsp = {.request_id = request_id,
                                  .tunnel_properties = &tunnel->properties}});
}

static void try_to_open(struct control *control, const struct rstrm_tunnel_properties *asked,
    struct registration *ret_result)
{
    struct engine *engine = control->shard->engine;
    struct directory_limits limits;
    struct tunnel_rules rules;
    registration_rules(engine, &rules, &limits);
    struct tunnel_owner owner = {
        .client_id = control->client->id,
        .identity = control->client->identity,
        .user_id = control->client->user_id,
        .worker = control->shard->worker->index,
        .channel = control->number,
    };
    registration_try(engine->directory, &limits, asked, &rules, &owner, control->token, ret_result);
}

void control_open_tunnel(struct control *control, const struct rstrm_open_tunnel_req *request)
{
    static const struct tunnel_refusal too_many = {.code = RSTRM_CODE_CAPACITY_EXHAUSTED,
        .message = "Too many tunnels on this control channel."};
    struct registration result = {0};
    if (control->tunnel_count >= control->shard->engine->config->limit_tunnels_per_channel) {
        refuse(control, request->request_id, &too_many, false);
        return;
    }
    try_to_open(control, request->tunnel_properties, &result);
    bool waits = result.holder != NULL && probe_holder(control, result.holder);
    if (result.tunnel != NULL) {
        answer_opened(control, request->request_id, result.tunnel);
    } else if (!waits) {
        refuse(control, request->request_id, &result.refusal, result.holder != NULL);
    }
    tunnel_unref(result.holder);
    control->probed = false;
}

// ---- Closing

static void remove_tunnel(struct control *control, struct control_tunnel *kept)
{
    struct tunnel *tunnel = kept->tunnel;
    list_remove(&kept->node);
    control->tunnel_count--;
    count_tunnels(control->shard, tunnel, -1);
    (void)directory_remove(control->shard->engine->directory, tunnel);
    tunnel_listener_close(kept->listener);
    control_drop_asks(control, tunnel);
    log_tunnel(LOG_TUNNEL_CLOSED, tunnel);
    tunnel_unref(tunnel);
    mem_free(kept);
}

void control_remove_tunnels(struct control *control)
{
    list_for_each_safe (node, &control->tunnels) {
        remove_tunnel(control, container_of(node, struct control_tunnel, node));
    }
}

void control_close_tunnel(struct control *control, const struct rstrm_close_tunnel *request)
{
    list_for_each_safe (node, &control->tunnels) {
        struct control_tunnel *kept = container_of(node, struct control_tunnel, node);
        if (slice_eq(request->tunnel_id, slice_str(kept->tunnel->id))) {
            remove_tunnel(control, kept);
            break;
        }
    }
    control_send(control, &(struct rstrm_message){.kind = RSTRM_CLOSE_TUNNEL_RSP,
                              .close_tunnel_rsp.tunnel_id = request->tunnel_id});
}
