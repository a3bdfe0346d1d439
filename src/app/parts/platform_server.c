// SPDX-License-Identifier: Apache-2.0
#include "app/parts/platform_server.h"

#include <stdio.h>

#include "app/sandbox.h"
#include "base/time.h"
#include "sys/seccomp.h"
#include "sys/supervisor.h"

#define DRAIN_MAX_NS (5 * NS_PER_S)
#define DRAIN_LOOK_NS (20 * NS_PER_MS)

static struct platform_server *server_of(struct part *part)
{
    return container_of(part, struct platform_server, part);
}

static enum weir_result listen_now(struct platform_server *server, char *problem, size_t size)
{
    const struct conf_listen *listen = &server->setup->config.listen;
    enum weir_result result = listen_set_open(&server->listen,
        &(struct listen_wish){"platform", listen->host, (uint16_t)listen->port, 1}, problem, size);
    server->address = server->listen.address;
    return result;
}

static enum weir_result open_platform(
    struct part *part, struct crew *crew, char *problem, size_t size)
{
    struct platform_server *server = server_of(part);
    (void)crew;
    enum weir_result result = platform_store_load(server->setup->config.database, problem, size);
    return result == WEIR_OK && server->alone ? listen_now(server, problem, size) : result;
}

static void read_file(void *arg, const char *path, bool alone)
{
    if (alone) {
        sys_landlock_read_here(arg, path);
    } else {
        sys_landlock_read(arg, path);
    }
}

static void reach(const struct part *part, struct sys_landlock *landlock)
{
    const struct platform_setup *setup = container_of(part, struct platform_server, part)->setup;
    size_t count;
    const struct conf_row *rows = platform_config_rows(&count);
    sandbox_reach_paths(rows, count, &setup->config, landlock);
    sys_landlock_write(landlock, setup->state_dir);
    platform_store_files(setup->config.database, read_file, landlock);
}

static enum weir_result start_worker(
    struct part *part, struct worker *worker, char *problem, size_t size)
{
    struct platform_server *server = server_of(part);
    if (worker->index != 0) {
        return WEIR_OK;
    }
    snprintf(problem, size, "the platform cannot be served");
    enum weir_result result = platform_service_start(&server->service, worker,
        &(struct platform_service_options){
            .platform = server->setup->platform,
            .config = &server->setup->config,
            .store_path = server->setup->store_path,
            .fd = listen_set_take(&server->listen, 0),
        },
        problem, size);
    server->service.server.listener.inherited = server->listen.inherited;
    return result;
}

static void log_started(struct part *part)
{
    const struct platform_server *server = server_of(part);
    const struct platform_config *config = &server->setup->config;
    struct log_line line;
    char address[IP_TEXT_SIZE];
    ip_to_text(&server->address.ip, address);
    log_begin(&line, LOG_PLATFORM_STARTED);
    log_text(&line, "address", address);
    log_u64(&line, "port", server->address.port);
    log_bool(&line, "tls", config->cert_file != NULL);
    log_bool(&line, "clientCertificates", config->client_ca_file != NULL);
    log_text(&line, "store", config->database == NULL ? "sqlite" : "postgres");
    log_text(&line, "stateDir", server->setup->state_dir);
    log_end(&line);
}

static const char *reload(struct part *part)
{
    platform_service_reload(&server_of(part)->service);
    return "certificate, signing keys";
}

static void on_drained(struct timer *timer)
{
    struct platform_server *server = container_of(timer, struct platform_server, drained);
    if (platform_service_is_idle(&server->service)) {
        part_drained(&server->part);
    } else {
        worker_arm_in(server->service.worker, timer, DRAIN_LOOK_NS);
    }
}

static void drain(struct part *part)
{
    struct platform_server *server = server_of(part);
    if (server->alone) {
        platform_service_drain(&server->service);
        worker_arm_in(server->service.worker, &server->drained, 0);
    } else {
        part_drained(part);
    }
}

static void stop_worker(struct part *part, struct worker *worker)
{
    if (worker->index == 0) {
        timer_cancel(&server_of(part)->drained);
        platform_service_stop(&server_of(part)->service);
    }
}

static void close_platform(struct part *part)
{
    listen_set_close(&server_of(part)->listen);
}

static const struct part_ops ops = {
    .name = "platform",
    .sys_part = SYS_PART_PLATFORM,
    .stopping = LOG_PLATFORM_STOPPING,
    .stopped = LOG_PLATFORM_STOPPED,
    .open = open_platform,
    .reach = reach,
    .start_worker = start_worker,
    .started = log_started,
    .reload = reload,
    .drain = drain,
    .stop_worker = stop_worker,
    .close = close_platform,
};

bool platform_server_init(struct platform_server *server, struct platform_setup *setup, bool alone)
{
    server->part = (struct part){
        .ops = &ops,
        .descriptors = setup->config.connections_max,
        .descriptors_setting = "limits.connections",
        .drain_max_ns = DRAIN_MAX_NS,
    };
    server->setup = setup;
    server->alone = alone;
    timer_init(&server->drained, on_drained);
    char problem[256];
    if (alone) {
        return true;
    }
    sys_supervisor_open();
    if (listen_now(server, problem, sizeof problem) != WEIR_OK) {
        fprintf(stderr, "%s: the platform: %s\n", setup->who, problem);
        return false;
    }
    return true;
}
