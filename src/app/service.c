// SPDX-License-Identifier: Apache-2.0
#include "app/service.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "admin/routes.h"
#include "app/command.h"
#include "app/platform_server.h"
#include "base/mem.h"
#include "base/number.h"
#include "base/time.h"
#include "obs/log.h"
#include "sys/entropy.h"
#include "sys/fault.h"
#include "sys/process.h"

#define PROBLEM_SIZE 512

struct service {
    const struct service_options *options;
    struct crew crew;
    struct relay relay;
    struct relay_config config;
    struct platform_server platform;
    uv_signal_t signals[3];
    char problem[PROBLEM_SIZE];
};

// ---- Signals, on worker 0

static void on_signal(uv_signal_t *handle, int number)
{
    struct service *service = handle->data;
    if (number == SIGHUP) {
        relay_reload(&service->relay);
        return;
    }
    if (atomic_load(&service->relay.draining)) {
        _exit(EXIT_FINE); // a second one: now
    }
    struct log_line line;
    log_begin(&line, LOG_RELAY_STOPPING);
    log_text(&line, "signal", number == SIGTERM ? "SIGTERM" : "SIGINT");
    log_end(&line);
    relay_drain(&service->relay);
}

static enum weir_result watch_signals(struct service *service, struct worker *worker)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP};
    for (size_t i = 0; i < 3; i++) {
        uv_signal_t *handle = &service->signals[i];
        handle->data = service;
        if (uv_signal_init(&worker->loop, handle) != 0 ||
            uv_signal_start(handle, on_signal, numbers[i]) != 0) {
            return WEIR_DESCRIPTORS;
        }
    }
    return WEIR_OK;
}

// ---- Workers

static void log_started(const struct service *service)
{
    const struct relay_config *config = &service->config;
    struct log_line line;
    log_begin(&line, LOG_RELAY_STARTED);
    log_text(&line, "host", config->listen_host);
    log_u64(&line, "port", service->relay.address.port);
    log_text(&line, "serverUrl", config->platform_origin);
    log_text(&line, "relayId", config->relay_id);
    log_text(&line, "publicWsBaseUrl", config->public_ws_base_url);
    log_bool(&line, "clientRedirectEnabled", config->client_redirect_enabled);
    log_text(&line, "backplaneMode", "single");
    log_bool(&line, "busEnabled", config->bus_enabled);
    log_bool(&line, "tlsEnabled", config->tls_enabled);
    log_text(&line, "securityMode", security_mode_name(config->security_mode));
    log_u64(&line, "maxTotalConnections", config->max_total_connections);
    log_u64(&line, "maxConnectionsPerIp", config->max_connections_per_ip);
    log_u64(&line, "maxClientsPerWorkspace", config->max_clients_per_workspace);
    log_u64(&line, "maxFrameBytes", config->max_frame_bytes);
    log_u64(&line, "idleTimeoutMs", config->idle_timeout_ms);
    log_bool(&line, "adminHttpEnabled", config->enable_admin_http);
    log_u64(&line, "workers", service->crew.count);
    log_end(&line);
}

static enum weir_result start_worker(struct worker *worker, void *arg)
{
    struct service *service = arg;
    const struct service_options *options = service->options;
    char problem[PROBLEM_SIZE] = "";
    enum weir_result result =
        relay_worker_start(&service->relay, worker, problem, sizeof problem);
    if (result == WEIR_OK && worker->index == 0) {
        result = watch_signals(service, worker);
    }
    if (result == WEIR_OK && worker->index == 0 && options->platform != NULL) {
        result = platform_server_open(
            &service->platform, worker, options->platform, options->platform_fd);
    }
    if (result != WEIR_OK) {
        fprintf(stderr, "weir: worker %u cannot start: %s (%s)\n", worker->index,
            problem[0] == '\0' ? "no resources" : problem, weir_result_text(result));
        return result;
    }
    if (worker->index == 0) {
        log_started(service);
        if (options->ready != NULL) {
            options->ready(&service->relay, options->arg);
        }
    }
    return WEIR_OK;
}

static void stop_worker(struct worker *worker, void *arg)
{
    struct service *service = arg;
    if (worker->index == 0) {
        platform_server_close(&service->platform);
    }
    relay_worker_stop(worker);
}

// ---- Start

static void print_lines(struct buf *lines)
{
    const char *text = buf_text(lines);
    fputs(text == NULL ? "weir: out of memory\n" : text, stderr);
}

static void log_warnings(const struct conf_problems *problems)
{
    struct slice rest = buf_slice(&problems->warnings);
    struct slice text;
    while (slice_split(&rest, '\n', &text)) {
        if (text.len > 0) {
            struct log_line line;
            log_begin(&line, LOG_CONFIG_WARNING);
            log_str(&line, "warning", text);
            log_end(&line);
        }
    }
}

// --listen and --workers stand above the environment.
struct overridden {
    const struct conf_source *below;
    char host[64];
    char port[8];
    const char *workers;
};

static const char *get_overridden(void *arg, const char *name)
{
    const struct overridden *over = arg;
    if (over->port[0] != '\0' && strcmp(name, "RELAY_LISTEN_HOST") == 0) {
        return over->host;
    }
    if (over->port[0] != '\0' && strcmp(name, "RELAY_LISTEN_PORT") == 0) {
        return over->port;
    }
    if (over->workers != NULL && strcmp(name, "WEIR_WORKERS") == 0) {
        return over->workers;
    }
    return over->below->get(over->below->arg, name);
}

static bool file_exists_below(void *arg, const char *path)
{
    const struct overridden *over = arg;
    return over->below->file_exists(over->below->arg, path);
}

static bool split_listen(const char *listen, struct overridden *over)
{
    const char *colon = listen == NULL ? NULL : strrchr(listen, ':');
    if (listen == NULL) {
        return true;
    }
    return colon != NULL &&
           slice_to_text(slice_of(listen, (size_t)(colon - listen)), over->host,
               sizeof over->host) &&
           over->host[0] != '\0' &&
           slice_to_text(slice_str(colon + 1), over->port, sizeof over->port) &&
           over->port[0] != '\0';
}

static int load_config(struct service *service, struct conf_problems *problems)
{
    const struct service_options *options = service->options;
    struct overridden over = {.below = options->source, .workers = options->workers};
    struct conf_source source = {get_overridden, file_exists_below, &over};
    uint8_t random[6];
    if (!split_listen(options->listen, &over)) {
        fprintf(stderr, "weir: --listen \"%s\" is not usable; allowed: ADDR:PORT\n",
            options->listen);
        return EXIT_USAGE;
    }
    if (sys_entropy(random, sizeof random) != WEIR_OK ||
        relay_config_load(&source, random, &service->config, problems) != WEIR_OK) {
        fputs("weir: out of memory\n", stderr);
        return EXIT_FAILED;
    }
    if (problems->errors.len > 0) {
        print_lines(&problems->errors);
        return EXIT_FAILED;
    }
    return EXIT_FINE;
}

// What a start with its full number of connections may need, and a little for ourselves.
static void check_descriptors(const struct service *service)
{
    uint64_t limit = sys_raise_descriptor_limit();
    uint64_t needed = service->config.max_total_connections + 64;
    if (limit < needed) {
        struct log_line line;
        log_begin(&line, LOG_CONFIG_WARNING);
        log_text(&line, "warning",
            "the limit of open files (RLIMIT_NOFILE) is lower than RELAY_MAX_TOTAL_CONNECTIONS "
            "needs; raise it with ulimit -Hn or LimitNOFILE=");
        log_u64(&line, "limit", limit);
        log_u64(&line, "needed", needed);
        log_end(&line);
    }
}

// Lets a test know how far its numbers reach.
static void report_faults(void)
{
#if WEIR_FAULTS
    if (getenv("WEIR_FAIL_ALLOCATION") != NULL || getenv("WEIR_FAIL_SYSCALL") != NULL) {
        fprintf(stderr, "weir: %lu allocations, %lu system calls\n", mem_count(), sys_call_count());
    }
#endif
}

static int run_workers(struct service *service)
{
    unsigned count = (unsigned)service->config.workers;
    struct crew_hooks hooks = {start_worker, stop_worker, service};
    enum weir_result result = crew_init(&service->crew, count == 0 ? sys_cpu_count() : count);
    if (result == WEIR_OK) {
        result = relay_init(&service->relay, &service->crew, &service->config, admin_routes,
            admin_not_found);
    }
    if (result == WEIR_OK) {
        result = relay_listen(&service->relay, service->problem, sizeof service->problem);
    }
    if (result != WEIR_OK) {
        fprintf(stderr, "weir: %s\n", service->problem[0] == '\0' ? weir_result_text(result)
                                                                  : service->problem);
    } else {
        result = crew_run(&service->crew, &hooks);
        if (result != WEIR_OK) {
            fprintf(stderr, "weir: ended before its time: %s\n", weir_result_text(result));
        }
    }
    report_faults();
    relay_fini(&service->relay);
    crew_fini(&service->crew);
    return result == WEIR_OK ? EXIT_FINE : EXIT_FAILED;
}

// Builds with fault injection let a test choose which allocation or system call fails.
static void arm_faults(void)
{
#if WEIR_FAULTS
    const char *allocation = getenv("WEIR_FAIL_ALLOCATION");
    const char *call = getenv("WEIR_FAIL_SYSCALL");
    if (allocation != NULL) {
        mem_fail_at(strtoul(allocation, NULL, 10));
    }
    if (call != NULL) {
        sys_fail_at(strtoul(call, NULL, 10));
    }
#endif
}

static int run_with_log(struct service *service, const struct conf_problems *problems)
{
    if (http_client_global_init() != WEIR_OK ||
        log_start(service->config.max_logs, STDOUT_FILENO) != WEIR_OK) {
        fputs("weir: out of memory\n", stderr);
        return EXIT_FAILED;
    }
    log_warnings(problems);
    check_descriptors(service);
    arm_faults();
    int exit_code = run_workers(service);
    struct log_line line;
    log_begin(&line, LOG_RELAY_STOPPED);
    log_u64(&line, "exitCode", (uint64_t)exit_code);
    log_end(&line);
    log_stop();
    http_client_global_fini();
    return exit_code;
}

int service_run(const struct service_options *options)
{
    struct conf_problems problems;
    struct service *service = mem_zalloc(sizeof *service);
    if (service == NULL) {
        fputs("weir: out of memory\n", stderr);
        return EXIT_FAILED;
    }
    signal(SIGPIPE, SIG_IGN);
    sys_limit_heaps(2);
    conf_problems_init(&problems);
    service->options = options;
    int exit_code = load_config(service, &problems);
    if (exit_code == EXIT_FINE) {
        exit_code = run_with_log(service, &problems);
    }
    conf_problems_fini(&problems);
    relay_config_free(&service->config);
    mem_free(service);
    return exit_code;
}
