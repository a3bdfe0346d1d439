// SPDX-License-Identifier: Apache-2.0
// The life of the service, and its second hand: certificates that changed, keys, what is too old.
#include "platform/service.h"

#include <stdio.h>

#include "base/time.h"
#include "loop/resolver.h"
#include "obs/log.h"
#include "platform/errand.h"
#include "sys/clock.h"

#define SETUP_TIMEOUT_NS (10 * NS_PER_S)
#define IDLE_TIMEOUT_NS (60 * NS_PER_S)
#define PURGE_NS (5 * NS_PER_S)
#define PROBLEM_SIZE 256
#define PRESENCE_TTLS_KEPT 10

// ---- What is too old

static void purge_presence(struct platform_service *service)
{
    const struct platform_config *config = service->options.config;
    struct store_call *call = store_call_new(STORE_PRESENCE_PURGE, NULL, NULL);
    if (call != NULL) {
        uint64_t kept_ms = config->presence_ttl_s * PRESENCE_TTLS_KEPT * 1000;
        store_call_number(call, (int64_t)(sys_wall_ms() - kept_ms));
        store_call_number(call, (int64_t)config->presence_max);
        platform_store_run(service->store, call);
    }
}

static void purge_frames(struct platform_service *service)
{
    const struct platform_config *config = service->options.config;
    struct store_call *call = store_call_new(STORE_BUS_PURGE, NULL, NULL);
    if (call != NULL) {
        store_call_number(call, (int64_t)(sys_wall_ms() - config->frame_ttl_s * 1000));
        store_call_number(call, (int64_t)config->frames_max);
        store_call_number(call, (int64_t)config->frames_bytes_max);
        platform_store_run(service->store, call);
    }
}

// ---- The second hand

// A connection that broke and came back between two looks is told as well.
static void look_at_store(struct platform_service *service)
{
    struct platform_store_health health;
    platform_store_look(service->store, &health);
    bool changed = service->store_told ? health.ok != service->store_was_ok : !health.ok;
    bool came_back = health.ok && health.reconnects != service->store_reconnects;
    if (changed || came_back) {
        struct log_line line;
        log_begin(&line, health.ok ? LOG_PLATFORM_STORE_BACK : LOG_PLATFORM_STORE_LOST);
        log_text(&line, "store", health.kind);
        log_u64(&line, "reconnects", health.reconnects);
        if (!health.ok) {
            log_text(&line, "problem", health.problem);
        }
        log_end(&line);
    }
    service->store_was_ok = health.ok;
    service->store_reconnects = health.reconnects;
    service->store_told = true;
}

static void note_certificate(enum tls_refresh seen, const char *problem)
{
    if (seen == TLS_UNCHANGED) {
        return;
    }
    struct log_line line;
    log_begin(&line, seen == TLS_RELOADED ? LOG_TLS_RELOADED : LOG_TLS_RELOAD_FAILED);
    if (seen == TLS_REJECTED) {
        log_text(&line, "problem", problem);
    }
    log_end(&line);
}

static void look_at_certificate(struct platform_service *service)
{
    char problem[PROBLEM_SIZE] = "";
    if (service->options.config->cert_file != NULL) {
        uint64_t now_ns = worker_now(service->worker);
        note_certificate(tls_server_refresh(&service->tls, &service->tls_settings, now_ns, problem,
                             sizeof problem),
            problem);
        tls_tickets_turn(&service->tickets, now_ns);
    }
}

static void on_second(struct timer *timer)
{
    struct platform_service *service = container_of(timer, struct platform_service, second);
    uint64_t now_ns = worker_now(service->worker);
    worker_arm_in(service->worker, timer, NS_PER_S);
    look_at_certificate(service);
    look_at_store(service);
    if (now_ns >= service->keys_due_ns || !platform_has_keys(service->options.platform)) {
        service_keys_refresh(service);
    }
    if (now_ns >= service->purge_due_ns && service->store_was_ok) {
        service->purge_due_ns = now_ns + PURGE_NS;
        purge_frames(service);
        purge_presence(service);
    }
}

// ---- Life

static enum weir_result start_tls(struct platform_service *service, char *problem, size_t size)
{
    const struct platform_config *config = service->options.config;
    if (config->cert_file == NULL) {
        return WEIR_OK;
    }
    enum weir_result result = tls_tickets_init(&service->tickets, sys_now_ns());
    service->tls_settings = (struct tls_settings){
        .certificate_path = config->cert_file,
        .key_path = config->key_file,
        .client_ca_path = config->client_ca_file,
        .tickets = &service->tickets,
    };
    if (result == WEIR_OK) {
        result = tls_server_load(&service->tls, &service->tls_settings, problem, size);
    }
    service->http.tls = &service->tls;
    return result;
}

static void on_failed(struct http_server *server, const struct ip *peer, enum http_failure failure)
{
    struct platform_service *service = server->options->owner;
    (void)peer;
    if (failure == HTTP_FAILURE_MALFORMED || failure == HTTP_FAILURE_TOO_LARGE) {
        service_count_answer(service, 400);
    }
}

static enum weir_result start_server(struct platform_service *service)
{
    static const struct http_route no_routes[] = {{NULL, NULL, NULL}};
    service->http.routes = no_routes;
    service->http.not_found = service_handle;
    service->http.failed = on_failed;
    service->http.setup_timeout_ns = SETUP_TIMEOUT_NS;
    service->http.idle_timeout_ns = IDLE_TIMEOUT_NS;
    service->http.body_max = platform_body_max(service->options.platform);
    service->http.body_limit = service_body_limit;
    service->http.conn_max = service->options.config->connections_max;
    service->http.owner = service;
    int fd = service->options.fd;
    service->options.fd = -1;
    return http_server_open(&service->server, service->worker, &service->http, fd);
}

enum weir_result platform_service_start(struct platform_service *service, struct worker *worker,
    const struct platform_service_options *options, char *problem, size_t size)
{
    service->options = *options;
    service->worker = worker;
    list_init(&service->errands);
    list_init(&service->pulls);
    list_init(&service->publishing);
    list_init(&service->pending);
    timer_init(&service->second, on_second);
    service->store = platform_store_open(&(struct platform_store_options){
        .worker = worker,
        .url = options->config->database,
        .path = options->store_path,
        .told = bus_told,
        .arg = service,
    });
    if (service->store == NULL) {
        return WEIR_MEMORY;
    }
    enum weir_result result = start_tls(service, problem, size);
    if (result == WEIR_OK) {
        result = start_server(service);
    }
    if (result == WEIR_OK) {
        service_keys_refresh(service);
        worker_arm_in(worker, &service->second, NS_PER_S);
    }
    return result;
}

void platform_service_reload(struct platform_service *service)
{
    char problem[PROBLEM_SIZE] = "";
    if (service->options.config->cert_file != NULL) {
        bool fine = tls_server_load(
                        &service->tls, &service->tls_settings, problem, sizeof problem) == WEIR_OK;
        note_certificate(fine ? TLS_RELOADED : TLS_REJECTED, problem);
    }
    service_keys_refresh(service);
}

void platform_service_drain(struct platform_service *service)
{
    service->draining = true;
    http_server_drain(&service->server);
    bus_release(service);
}

bool platform_service_is_idle(const struct platform_service *service)
{
    return http_server_is_empty(&service->server);
}

static void free_errands(struct platform_service *service)
{
    list_for_each_safe (node, &service->errands) {
        errand_free(container_of(node, struct errand, node));
    }
}

void platform_service_stop(struct platform_service *service)
{
    if (service->options.fd >= 0 && service->worker != NULL && service->server.options == NULL) {
        sys_close(service->options.fd);
        service->options.fd = -1;
    }
    if (service->worker == NULL) {
        return;
    }
    timer_cancel(&service->second);
    if (service->server.options != NULL) {
        http_server_close(&service->server);
    }
    free_errands(service);
    store_call_forget(service->publish_call);
    service_keys_stop(service);
    platform_store_close(service->store);
    service->store = NULL;
    worker_settle(service->worker);
    tls_server_fini(&service->tls);
    tls_tickets_fini(&service->tickets);
    resolver_fini(service->worker);
    service->worker = NULL;
}
