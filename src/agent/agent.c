// SPDX-License-Identifier: Apache-2.0
//                  reached, answered
//   CONNECTING ─────────────────────────► ONLINE
//    ▲   │  what failed may pass            │ lost
//    │   ├────────────────► WAITING ◄───────┤
//    │   │                     │            │
//    └───│─────────────────────┘            │
//        └───────► FAILED ◄─────────────────┘  what will not, or no_reconnect
//
// weir_agent_close leads out of each of them (agent_close.c).
//
// Invariants:
// 1. reach is there exactly while CONNECTING has no channel; channel exactly in the rest of
//    CONNECTING, ONLINE, and CLOSING as long as it lasts.
// 2. Calls of the program only leave a wish and plan `work`: events come from the loop alone.
#include <stdio.h>

#include "agent/internal.h"
#include "auth/jwt_precheck.h"
#include "base/hostname.h"
#include "base/mem.h"
#include "base/time.h"
#include "base/utf8.h"
#include "sys/clock.h"
#include "sys/entropy.h"

#define TEXTS_MAX (128u * 1024)
#define TOKEN_LEN_MAX 16384
#define PORT_DEFAULT 443
#define PROTOCOL_VERSION "1.4.5"
// A channel that lasted so long was fine: its loss starts the waits from the beginning.
#define STABLE_NS (10 * NS_PER_S)
// An attempt older than this began before the network changed.
#define FRESH_NS NS_PER_S

#if defined __x86_64__
#define ARCH "x86_64"
#elif defined __aarch64__
#define ARCH "aarch64"
#else
#define ARCH "unknown"
#endif

static void attempt(struct weir_agent *agent);

// ---- Telling

void agent_set_state(struct weir_agent *agent, enum weir_agent_state state, uint32_t retry_in_ms,
    const struct weir_agent_engine *engine)
{
    struct weir_agent_problem problem;
    bool failing = state == WEIR_AGENT_WAITING || state == WEIR_AGENT_FAILED;
    agent->state = state;
    if (agent->events.state == NULL) {
        return;
    }
    struct weir_agent_status status = {
        .state = state,
        .problem = failing ? fault_problem(&agent->fault, &problem) : NULL,
        .retry_in_ms = retry_in_ms,
        .attempt = agent->backoff.attempts,
        .engine = engine,
    };
    agent->events.state(agent->arg, agent, &status);
}

enum weir_result agent_uuid(char text[AGENT_UUID_SIZE])
{
    static const char hex[] = "0123456789abcdef";
    uint8_t random[16];
    enum weir_result result = sys_entropy(random, sizeof random);
    if (result != WEIR_OK) {
        return result;
    }
    random[6] = (uint8_t)((random[6] & 0x0f) | 0x40);
    random[8] = (uint8_t)((random[8] & 0x3f) | 0x80);
    for (size_t i = 0; i < sizeof random; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) {
            *text++ = '-';
        }
        *text++ = hex[random[i] >> 4];
        *text++ = hex[random[i] & 15];
    }
    *text = '\0';
    return WEIR_OK;
}

uint32_t agent_random(void)
{
    uint32_t random = 0;
    enum weir_result result = sys_entropy(&random, sizeof random);
    (void)result; // without entropy the wait is not spread
    return random;
}

// ---- Attempts

static void on_timer(struct timer *timer)
{
    struct weir_agent *agent = container_of(timer, struct weir_agent, timer);
    if (agent->closing != AGENT_STAYS) {
        agent_close_timeout(agent);
    } else {
        attempt(agent);
    }
}

static void attempt_failed(struct weir_agent *agent, const struct fault *fault)
{
    if (fault != &agent->fault) {
        agent->fault = *fault;
    }
    if (fault->final || agent->options.no_reconnect) {
        agent->fault.final = true;
        agent_set_state(agent, WEIR_AGENT_FAILED, 0, NULL);
        return;
    }
    uint32_t wait_ms = backoff_next(&agent->backoff, agent_random());
    worker_arm_in(agent->worker, &agent->timer, time_from_ms(wait_ms));
    agent_set_state(agent, WEIR_AGENT_WAITING, wait_ms, NULL);
}

static enum weir_result write_greeting(struct weir_agent *agent, struct buf *out)
{
    struct rstrm_liveness liveness = {.heartbeat_interval_ms = agent->options.heartbeat_ms};
    struct rstrm_message message = {
        .kind = RSTRM_OPEN_CONTROL_CHANNEL_REQ,
        .open_control_channel_req = {&agent->details, &liveness},
    };
    return rstrm_encode(out, &message);
}

static void fail_resources(struct weir_agent *agent)
{
    fault_set(&agent->fault, WEIR_AGENT_ERROR_RESOURCES, "out of memory or descriptors");
    attempt_failed(agent, &agent->fault);
}

static void on_reached(void *arg, const struct reach_result *result)
{
    struct weir_agent *agent = arg;
    struct buf greeting = BUF_INIT(RSTRM_FRAME_MAX);
    agent->reach = NULL;
    if (result->fault.error != WEIR_AGENT_ERROR_NONE) {
        agent->peer_known = false;
        attempt_failed(agent, &result->fault);
        return;
    }
    struct stream_state state = result->state;
    agent->peer = result->address;
    agent->peer_known = true;
    if (write_greeting(agent, &greeting) != WEIR_OK) {
        buf_reset(&greeting);
        stream_state_drop(&state);
        fail_resources(agent);
        return;
    }
    agent->channel = channel_start(agent, &state, &greeting);
    if (agent->channel == NULL) {
        fail_resources(agent);
    }
}

static void attempt(struct weir_agent *agent)
{
    agent->attempt_ns = worker_now(agent->worker);
    agent_set_state(agent, WEIR_AGENT_CONNECTING, 0, NULL);
    if (jwt_precheck(agent->details.token, NULL, sys_wall_ms()) == PRECHECK_EXPIRED) {
        fault_set(&agent->fault, WEIR_AGENT_ERROR_TOKEN,
            "the token has expired: make a new one (or set the clock right)");
        agent->fault.final = true;
        attempt_failed(agent, &agent->fault);
        return;
    }
    agent->reach = reach_start(
        agent->worker, &(struct reach_options){
                           .what = agent->address,
                           .host = agent->host,
                           .port = agent->port,
                           .tls = &agent->tls,
                           .timeout_ns = time_from_ms(agent->options.connect_timeout_ms),
                           .done = on_reached,
                           .arg = agent,
                       });
    if (agent->reach == NULL) {
        fail_resources(agent);
    }
}

void agent_channel_open(struct weir_agent *agent, const struct rstrm_channel *channel)
{
    static const struct rstrm_server_details nothing;
    const struct rstrm_server_details *details =
        channel->server_details == NULL ? &nothing : channel->server_details;
    const struct slice from[] = {details->agent, details->channel, details->version, details->plan,
        details->provider, details->region, details->update, channel->client_id};
    char texts[sizeof from / sizeof *from][128];
    for (size_t i = 0; i < sizeof from / sizeof *from; i++) {
        snprintf(texts[i], sizeof texts[i], "%.*s", from[i].at == NULL ? 0 : (int)from[i].len,
            from[i].at == NULL ? "" : from[i].at);
        utf8_make_plain(texts[i]);
    }
    struct weir_agent_engine engine = {
        texts[0], texts[1], texts[2], texts[3], texts[4], texts[5], texts[6], texts[7]};
    agent->online_ns = worker_now(agent->worker);
    agent_set_state(agent, WEIR_AGENT_ONLINE, 0, &engine);
    list_for_each (node, &agent->tunnels) {
        tunnel_work(container_of(node, struct weir_tunnel, node));
    }
}

void agent_channel_lost(struct weir_agent *agent, const struct fault *fault)
{
    bool online = agent->state == WEIR_AGENT_ONLINE;
    agent->channel = NULL;
    spares_drop(agent);
    list_for_each_safe (node, &agent->tunnels) {
        tunnel_channel_lost(container_of(node, struct weir_tunnel, node), fault);
    }
    if (agent->closing != AGENT_STAYS) {
        agent_close_step(agent);
        return;
    }
    if (online && worker_now(agent->worker) - agent->online_ns >= STABLE_NS) {
        agent->backoff.attempts = 0;
    }
    attempt_failed(agent, fault);
}

// ---- Wishes

static void act_on_nudge(struct weir_agent *agent)
{
    if (agent->state == WEIR_AGENT_WAITING) {
        worker_arm_in(agent->worker, &agent->timer, 0);
    } else if (agent->state == WEIR_AGENT_ONLINE) {
        channel_probe(agent->channel);
    } else if (agent->reach != NULL && worker_now(agent->worker) - agent->attempt_ns > FRESH_NS) {
        reach_cancel(agent->reach);
        agent->reach = NULL;
        attempt(agent);
    }
}

static void on_work(struct worker *worker, struct job *job)
{
    struct weir_agent *agent = container_of(job, struct weir_agent, work);
    (void)worker;
    list_for_each_safe (node, &agent->tunnels) {
        struct weir_tunnel *tunnel = container_of(node, struct weir_tunnel, node);
        if (tunnel->closing) {
            tunnel_begin_close(tunnel);
        }
    }
    if (agent->close_calls > 0) {
        agent_begin_close(agent);
        return;
    }
    if (agent->connect_wanted &&
        (agent->state == WEIR_AGENT_IDLE || agent->state == WEIR_AGENT_FAILED)) {
        agent->backoff.attempts = 0;
        attempt(agent);
    }
    agent->connect_wanted = false;
    if (agent->nudged) {
        agent->nudged = false;
        act_on_nudge(agent);
    }
    list_for_each (node, &agent->tunnels) {
        tunnel_work(container_of(node, struct weir_tunnel, node));
    }
    visits_start_queued(agent);
}

void agent_plan_work(struct weir_agent *agent)
{
    if (!list_linked(&agent->work.node)) {
        worker_defer(agent->worker, &agent->work, on_work);
    }
}

static void on_network(struct network_watch *watch)
{
    struct weir_agent_loop *loop = container_of(watch, struct weir_agent_loop, network);
    list_for_each (node, &loop->agents) {
        weir_agent_nudge(container_of(node, struct weir_agent, node));
    }
}

void weir_agent_connect(struct weir_agent *agent)
{
    struct weir_agent_loop *loop = agent->loop;
    if (!loop->network_tried) {
        loop->network_tried = true;
        network_watch_open(&loop->network, loop->worker, on_network);
    }
    agent->connect_wanted = true;
    agent_plan_work(agent);
}

void weir_agent_nudge(struct weir_agent *agent)
{
    agent->nudged = true;
    agent_plan_work(agent);
}

void weir_agent_close(struct weir_agent *agent, uint32_t drain_ms)
{
    agent->close_calls++;
    agent->drain_ms = drain_ms;
    agent_plan_work(agent);
}

// ---- Making one

static bool parse_engine(struct weir_agent *agent, char *problem, size_t size)
{
    struct slice host;
    unsigned port = 0;
    char text[HOSTNAME_SIZE];
    size_t len;
    struct ip ip;
    const char *engine = agent->options.engine;
    if (hostname_split_port(slice_str(engine), &host, &port) != WEIR_OK || host.len == 0) {
        snprintf(problem, size, "the engine is host or host:port, not \"%.100s\"", engine);
        return false;
    }
    if (host.at[0] == '[' && host.len > 2) {
        host = slice_of(host.at + 1, host.len - 2);
    }
    if (ip_parse(host, &ip) != WEIR_OK && hostname_normalize(host, text, &len) == WEIR_OK) {
        host = slice_of(text, len);
    } else if (ip_parse(host, &ip) != WEIR_OK) {
        snprintf(problem, size, "\"%.100s\" is no host name and no address", engine);
        return false;
    }
    agent->port = port == 0 ? PORT_DEFAULT : (uint16_t)port;
    agent->host = arena_copy(&agent->texts, host);
    char address[HOSTNAME_SIZE + 16];
    snprintf(address, sizeof address,
        ip_parse(host, &ip) == WEIR_OK && !ip_is_v4(&ip) ? "[%.*s]:%u" : "%.*s:%u", SLICE_ARG(host),
        (unsigned)agent->port);
    agent->address = arena_copy(&agent->texts, slice_str(address));
    return agent->host != NULL && agent->address != NULL;
}

static bool copy_text(struct weir_agent *agent, const char **text, const char *fallback)
{
    const char *from = *text == NULL ? fallback : *text;
    *text = from == NULL ? NULL : arena_copy(&agent->texts, slice_str(from));
    return from == NULL || *text != NULL;
}

static bool copy_options(struct weir_agent *agent, const struct weir_agent_options *from)
{
    struct weir_agent_options *to = &agent->options;
    memcpy(to, from, from->size < sizeof *to ? from->size : sizeof *to);
    to->heartbeat_ms = to->heartbeat_ms == 0 ? 5000 : to->heartbeat_ms;
    to->connect_timeout_ms = to->connect_timeout_ms == 0 ? 15000 : to->connect_timeout_ms;
    to->retry_min_ms = to->retry_min_ms == 0 ? 500 : to->retry_min_ms;
    to->retry_max_ms = to->retry_max_ms == 0 ? 30000 : to->retry_max_ms;
    to->dials_max = to->dials_max == 0 ? 128 : to->dials_max < 64 ? 64 : to->dials_max;
    to->spare_connections = to->spare_connections == 0                 ? 2
                            : to->spare_connections < 0                ? 0
                            : to->spare_connections > AGENT_SPARES_MAX ? AGENT_SPARES_MAX
                                                                       : to->spare_connections;
    to->retry_jitter = to->retry_jitter > 100 ? 100 : to->retry_jitter;
    agent->backoff = (struct backoff){
        .min_ms = to->retry_min_ms, .max_ms = to->retry_max_ms, .jitter = to->retry_jitter};
    return copy_text(agent, &to->engine, NULL) && copy_text(agent, &to->token, NULL) &&
           copy_text(agent, &to->ca_file, NULL) && copy_text(agent, &to->server_name, NULL) &&
           copy_text(agent, &to->agent_name, "weir") &&
           copy_text(agent, &to->agent_channel, "library") &&
           copy_text(agent, &to->agent_version, WEIR_VERSION);
}

static const char *mistake_of(const struct weir_agent_options *options)
{
    if (options->engine == NULL || options->engine[0] == '\0') {
        return "no engine is given";
    }
    if (options->token == NULL || options->token[0] == '\0') {
        return "no token is given";
    }
    if (!text_is_sendable(options->token, TOKEN_LEN_MAX)) {
        return "the token cannot be one: it is too long, or has blanks or control characters in it";
    }
    if (!text_is_sendable(options->agent_name, 256) ||
        !text_is_sendable(options->agent_channel, 256) ||
        !text_is_sendable(options->agent_version, 256)) {
        return "the agent's name, channel or version cannot be sent";
    }
    return NULL;
}

static void describe(struct weir_agent *agent)
{
    const struct weir_agent_options *options = &agent->options;
    agent->details = (struct rstrm_client_details){
        .agent = slice_str(options->agent_name),
        .channel = slice_str(options->agent_channel),
        .version = slice_str(options->agent_version),
        .os = SLICE("linux"),
        .arch = SLICE(ARCH),
        .token = slice_str(options->token),
        .protocol_version = SLICE(PROTOCOL_VERSION),
    };
}

static bool set_up(
    struct weir_agent *agent, const struct weir_agent_options *options, char *problem, size_t size)
{
    snprintf(problem, size, "out of memory");
    if (!copy_options(agent, options)) {
        return false;
    }
    const char *mistake = mistake_of(&agent->options);
    if (mistake != NULL) {
        snprintf(problem, size, "%s", mistake);
        return false;
    }
    if (!parse_engine(agent, problem, size)) {
        return false;
    }
    describe(agent);
    const char *name =
        agent->options.server_name == NULL ? agent->host : agent->options.server_name;
    enum weir_result result = agent_tls_init(
        &agent->tls, &agent->loop->trusts, agent->options.ca_file, agent->options.insecure, name);
    if (result == WEIR_CRYPTO) {
        snprintf(problem, size, "no certificates can be read from %.200s",
            options->ca_file == NULL ? "the system's store" : options->ca_file);
    }
    return result == WEIR_OK;
}

struct weir_agent *weir_agent_new(struct weir_agent_loop *loop,
    const struct weir_agent_options *options, const struct weir_agent_events *events, void *arg,
    char *problem, size_t size)
{
    // A loop that could not be made is an agent that cannot be made.
    struct weir_agent *agent = loop == NULL ? NULL : mem_zalloc(sizeof *agent);
    if (agent == NULL) {
        snprintf(problem, size, "out of memory");
        return NULL;
    }
    agent->loop = loop;
    agent->worker = loop->worker;
    agent->arg = arg;
    if (events != NULL) {
        agent->events = *events;
    }
    arena_init(&agent->texts, TEXTS_MAX);
    list_init(&agent->node);
    list_init(&agent->tunnels);
    list_init(&agent->streams);
    list_init(&agent->queue);
    list_init(&agent->work.node);
    timer_init(&agent->timer, on_timer);
    map_init(&agent->ids, &agent->worker->seed);
    if (!set_up(agent, options, problem, size)) {
        agent_free(agent);
        return NULL;
    }
    list_push_back(&loop->agents, &agent->node);
    return agent;
}

void agent_free(struct weir_agent *agent)
{
    list_remove(&agent->node);
    list_remove(&agent->work.node);
    timer_cancel(&agent->timer);
    map_fini(&agent->ids);
    agent_tls_fini(&agent->tls);
    arena_reset(&agent->texts);
    mem_free(agent);
}
