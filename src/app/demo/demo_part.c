// SPDX-License-Identifier: Apache-2.0
#include "app/demo/demo_part.h"

#include <stdio.h>

#include "agent/embed.h"
#include "base/time.h"
#include "sys/clock.h"

#define DRAIN_MAX_NS (6 * NS_PER_S)
#define STREAMS_DRAIN_MS 500
#define QUEUED_MAX (1024 * 1024)
#define DESCRIPTORS 64
#define PLACE_SIZE 64
#define HOST_SIZE 300

static struct demo_part *demo_part_of(struct part *part)
{
    return container_of(part, struct demo_part, part);
}

void demo_part_host(const struct demo_part *part, char *text, size_t size)
{
    snprintf(text, size, DEMO_LABEL ".t.%s", engine_part_config(part->options.engine)->host);
}

// Who listens on all addresses listens on loopback, too.
static struct sys_address reachable(const struct sys_address *listening)
{
    struct sys_address address = *listening;
    char text[IP_TEXT_SIZE];
    ip_to_text(&address.ip, text);
    if (strcmp(text, "0.0.0.0") == 0 || strcmp(text, "::") == 0) {
        address.ip = ip_from_v4((const uint8_t[]){127, 0, 0, 1});
    }
    return address;
}

static void write_place(const struct sys_address *listening, char text[PLACE_SIZE])
{
    struct sys_address address = reachable(listening);
    char ip[IP_TEXT_SIZE];
    ip_to_text(&address.ip, ip);
    bool v6 = strchr(ip, ':') != NULL;
    snprintf(text, PLACE_SIZE, "%s%s%s:%u", v6 ? "[" : "", ip, v6 ? "]" : "", address.port);
}

static void tell_trouble(const char *peer, const struct weir_agent_problem *problem)
{
    struct log_line line;
    log_begin(&line, LOG_DEMO_TROUBLE);
    log_text(&line, "peer", peer);
    log_text(&line, "reason", problem->text);
    log_end(&line);
}

// ---- The end

static void settle(struct demo_part *self)
{
    if (self->draining && self->agent == NULL && self->talk_ended) {
        part_drained(&self->part);
    }
}

static void on_talk_ended(void *arg)
{
    struct demo_part *self = arg;
    self->talk_ended = true;
    settle(self);
}

static void drain(struct part *part)
{
    struct demo_part *self = demo_part_of(part);
    self->draining = true;
    demo_visits_stop(&self->visits);
    if (self->agent != NULL) {
        weir_agent_close(self->agent, STREAMS_DRAIN_MS);
    }
    demo_talk_finish(&self->talk);
    settle(self);
}

// ---- The agent

static void on_agent_state(
    void *arg, struct weir_agent *agent, const struct weir_agent_status *status)
{
    struct demo_part *self = arg;
    (void)agent;
    if ((status->state == WEIR_AGENT_WAITING || status->state == WEIR_AGENT_FAILED) &&
        !self->draining) {
        tell_trouble("agent", status->problem);
    } else if (status->state == WEIR_AGENT_CLOSED) {
        self->agent = NULL;
        settle(self);
    }
}

static void start_visits(struct demo_part *self)
{
    char host[HOST_SIZE];
    char place[PLACE_SIZE];
    const struct sys_address *engine = &self->options.engine->engine.address;
    demo_part_host(self, host, sizeof host);
    write_place(engine, place);
    demo_visits_start(&self->visits, &(struct demo_visits_options){
                                         .worker = self->worker,
                                         .host = host,
                                         .ca_path = self->options.files->certificate.certificate,
                                         .connect_to = place,
                                         .port = engine->port,
                                     });
}

static void on_tunnel_state(
    void *arg, struct weir_tunnel *tunnel, const struct weir_tunnel_status *status)
{
    struct demo_part *self = arg;
    (void)tunnel;
    if (status->state == WEIR_TUNNEL_ONLINE && self->visits.worker == NULL && !self->draining) {
        struct log_line line;
        log_begin(&line, LOG_DEMO_PUBLISHED);
        log_text(&line, "address", status->info->address);
        log_end(&line);
        start_visits(self);
    } else if (status->state == WEIR_TUNNEL_REFUSED) {
        tell_trouble("tunnel", status->problem);
    }
}

static bool make_agent(struct demo_part *self, char *problem, size_t size)
{
    static const struct weir_agent_events events = {.state = on_agent_state};
    const struct demo_files *files = self->options.files;
    char place[PLACE_SIZE];
    write_place(&self->options.engine->engine.address, place);
    self->agents = weir_agent_loop_embed(self->worker);
    self->agent = weir_agent_new(self->agents,
        &(struct weir_agent_options){
            .size = sizeof(struct weir_agent_options),
            .engine = place,
            .token = files->agent_token,
            .ca_file = files->certificate.certificate,
            .server_name = engine_part_config(self->options.engine)->host,
            .agent_name = "weir",
            .agent_channel = "demo",
        },
        &events, self, problem, size);
    return self->agent != NULL;
}

static bool publish(struct demo_part *self, char *problem, size_t size)
{
    static const struct weir_tunnel_events events = {.state = on_tunnel_state};
    static const struct weir_tunnel_label labels[] = {{"made-by", "weir up --demo"}};
    char forward[PLACE_SIZE];
    write_place(&self->service_address, forward);
    return weir_tunnel_open(self->agent,
               &(struct weir_tunnel_options){
                   .size = sizeof(struct weir_tunnel_options),
                   .forward = forward,
                   .name = DEMO_LABEL,
                   .protocol = "http",
                   .publish = WEIR_TUNNEL_YES,
                   .hostname = DEMO_LABEL,
                   .labels = labels,
                   .label_count = 1,
               },
               &events, self, problem, size) != NULL;
}

// ---- Life

static enum weir_result write_places(const struct demo_part *self)
{
    const struct relay_part *relay = self->options.relay;
    return demo_files_write_places(
        self->options.files, &(struct demo_places){
                                 .relay_tls = relay->config.tls_enabled,
                                 .relay_certificate = relay->config.tls_cert_path,
                                 .relay_port = relay->relay.address.port,
                                 .engine_port = self->options.engine->engine.address.port,
                                 .platform_port = self->options.platform->address.port,
                                 .service_port = self->service_address.port,
                                 .moody_period_s = self->options.period_s,
                                 .started_s = sys_wall_ms() / 1000,
                             });
}

static enum weir_result open_demo(struct part *part, struct crew *crew, char *problem, size_t size)
{
    struct demo_part *self = demo_part_of(part);
    (void)crew;
    enum weir_result result = sys_address_parse("127.0.0.1", 0, &self->service_address);
    if (result == WEIR_OK) {
        result = sys_listen_alone(&self->service_address, &self->service_fd);
    }
    if (result == WEIR_OK) {
        result = write_places(self);
    }
    if (result != WEIR_OK) {
        snprintf(problem, size, "the demo's service or its files in %s cannot be made: %s",
            self->options.files->dir, weir_result_text(result));
    }
    return result;
}

static enum weir_result start_worker(
    struct part *part, struct worker *worker, char *problem, size_t size)
{
    struct demo_part *self = demo_part_of(part);
    if (worker->index != 0) {
        return WEIR_OK;
    }
    int fd = self->service_fd;
    self->service_fd = -1;
    self->worker = worker;
    snprintf(problem, size, "the demo");
    enum weir_result result = ws_worker_init(worker, QUEUED_MAX);
    if (result != WEIR_OK) {
        sys_close(fd);
        return result;
    }
    result = demo_service_open(&self->service, worker, fd);
    if (result == WEIR_OK && (!make_agent(self, problem, size) || !publish(self, problem, size))) {
        result = WEIR_INVALID;
    }
    return result;
}

static void start_demo(struct part *part)
{
    struct demo_part *self = demo_part_of(part);
    const struct relay_part *relay = self->options.relay;
    struct log_line line;
    log_begin(&line, LOG_DEMO_STARTED);
    log_text(&line, "directory", self->options.files->dir);
    log_u64(&line, "servicePort", self->service_address.port);
    log_u64(&line, "periodSeconds", self->options.period_s);
    log_end(&line);
    weir_agent_connect(self->agent);
    enum weir_result result = demo_talk_start(
        &self->talk, &(struct demo_talk_options){
                         .worker = self->worker,
                         .platform = self->options.platform->setup->platform,
                         .address = reachable(&relay->relay.address),
                         .ca_path = relay->config.tls_enabled ? relay->config.tls_cert_path : NULL,
                         .ended = on_talk_ended,
                         .arg = self,
                     });
    if (result != WEIR_OK) {
        const struct weir_agent_problem problem = {.text = weir_result_text(result)};
        tell_trouble("relay session", &problem);
    }
}

static void stop_worker(struct part *part, struct worker *worker)
{
    struct demo_part *self = demo_part_of(part);
    if (worker != self->worker) {
        return;
    }
    demo_visits_stop(&self->visits);
    weir_agent_loop_free(self->agents);
    self->agents = NULL;
    demo_talk_stop(&self->talk);
    demo_service_close(&self->service);
}

static void close_demo(struct part *part)
{
    struct demo_part *self = demo_part_of(part);
    demo_talk_free(&self->talk);
    if (self->service_fd >= 0) {
        sys_close(self->service_fd);
        self->service_fd = -1;
    }
}

static const struct part_ops ops = {
    .name = "demo",
    .stopping = LOG_EVENT_COUNT,
    .stopped = LOG_EVENT_COUNT,
    .open = open_demo,
    .start_worker = start_worker,
    .started = start_demo,
    .drain = drain,
    .stop_worker = stop_worker,
    .close = close_demo,
};

static bool session_lives(void *arg, char *text, size_t size)
{
    return demo_talk_lives(arg, text, size);
}

void demo_part_init(struct demo_part *part, const struct demo_part_options *options)
{
    part->part = (struct part){
        .ops = &ops,
        .descriptors = DESCRIPTORS,
        .descriptors_setting = "the demo",
        .drain_max_ns = DRAIN_MAX_NS,
    };
    part->options = *options;
    part->service_fd = -1;
    part->service.session_lives = session_lives;
    part->service.arg = &part->talk;
}
