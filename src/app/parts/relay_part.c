// SPDX-License-Identifier: Apache-2.0
#include "app/parts/relay_part.h"

#include <stdio.h>

#include "admin/routes.h"
#include "app/command.h"
#include "app/sandbox.h"
#include "base/time.h"
#include "sys/entropy.h"
#include "sys/seccomp.h"

#define DRAIN_MAX_NS (5 * NS_PER_S) // spec section 14, 9; RELAY_DRAIN_TIME_MS comes before it

// ---- Life

static struct relay_part *relay_part_of(struct part *part)
{
    return container_of(part, struct relay_part, part);
}

static enum weir_result open_relay(struct part *part, struct crew *crew, char *problem, size_t size)
{
    struct relay_part *self = relay_part_of(part);
    enum weir_result result =
        relay_init(&self->relay, crew, &self->config, admin_routes, admin_not_found);
    if (result == WEIR_OK) {
        result = relay_listen(&self->relay, problem, size);
    }
    if (result == WEIR_OK && self->config.listen_port == 0) {
        result = relay_config_use_port(&self->config, self->relay.address.port);
    }
    return result;
}

static void reach(const struct part *part, struct sys_landlock *landlock)
{
    const struct relay_part *self = container_of(part, struct relay_part, part);
    size_t count;
    const struct conf_row *rows = relay_config_rows(&count);
    sandbox_reach_paths(rows, count, &self->config, landlock);
}

static enum weir_result start_worker(
    struct part *part, struct worker *worker, char *problem, size_t size)
{
    return relay_worker_start(&relay_part_of(part)->relay, worker, problem, size);
}

static void log_started(struct part *part)
{
    const struct relay_part *self = relay_part_of(part);
    const struct relay_config *config = &self->config;
    struct log_line line;
    log_begin(&line, LOG_RELAY_STARTED);
    log_text(&line, "host", config->listen_host);
    log_u64(&line, "port", self->relay.address.port);
    log_text(&line, "serverUrl", config->platform_origin);
    log_text(&line, "relayId", config->relay_id);
    log_text(&line, "publicWsBaseUrl", config->public_ws_base_url);
    log_bool(&line, "clientRedirectEnabled", config->client_redirect_enabled);
    log_text(&line, "backplaneMode", backplane_mode_name(config->backplane_mode));
    log_bool(&line, "busEnabled", config->bus_enabled);
    log_bool(&line, "tlsEnabled", config->tls_enabled);
    log_text(&line, "securityMode", security_mode_name(config->security_mode));
    log_u64(&line, "maxTotalConnections", config->max_total_connections);
    log_u64(&line, "maxConnectionsPerIp", config->max_connections_per_ip);
    log_u64(&line, "maxClientsPerWorkspace", config->max_clients_per_workspace);
    log_u64(&line, "maxFrameBytes", config->max_frame_bytes);
    log_u64(&line, "idleTimeoutMs", config->idle_timeout_ms);
    log_bool(&line, "adminHttpEnabled", config->enable_admin_http);
    log_u64(&line, "workers", self->relay.crew->count);
    log_end(&line);
}

static const char *reload(struct part *part)
{
    struct relay_part *self = relay_part_of(part);
    if (!self->config.tls_enabled) {
        return NULL;
    }
    relay_reload(&self->relay);
    return "certificate";
}

static void on_drained(void *arg)
{
    part_drained(arg);
}

static void drain(struct part *part)
{
    relay_drain(&relay_part_of(part)->relay, on_drained, part);
}

static void stop_worker(struct part *part, struct worker *worker)
{
    (void)part;
    relay_worker_stop(worker);
}

static void close_relay(struct part *part)
{
    relay_fini(&relay_part_of(part)->relay);
}

static const struct part_ops ops = {
    .name = "relay",
    .sys_part = SYS_PART_RELAY,
    .stopping = LOG_RELAY_STOPPING,
    .stopped = LOG_RELAY_STOPPED,
    .open = open_relay,
    .reach = reach,
    .start_worker = start_worker,
    .started = log_started,
    .reload = reload,
    .drain = drain,
    .stop_worker = stop_worker,
    .close = close_relay,
};

// ---- Configuration

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

static void label_below(void *arg, const char *name, char text[CONF_LABEL_SIZE])
{
    const struct overridden *over = arg;
    const struct conf_source *below = over->below;
    if (get_overridden(arg, name) == below->get(below->arg, name)) {
        conf_source_label(below, name, text);
    } else {
        snprintf(text, CONF_LABEL_SIZE, "%s", name);
    }
}

static bool split_listen(const char *listen, struct overridden *over)
{
    const char *colon = listen == NULL ? NULL : strrchr(listen, ':');
    if (listen == NULL) {
        return true;
    }
    return colon != NULL &&
           slice_to_text(
               slice_of(listen, (size_t)(colon - listen)), over->host, sizeof over->host) &&
           over->host[0] != '\0' &&
           slice_to_text(slice_str(colon + 1), over->port, sizeof over->port) &&
           over->port[0] != '\0';
}

static void print_lines(struct buf *lines)
{
    const char *text = buf_text(lines);
    fputs(text == NULL ? "weir: out of memory\n" : text, stderr);
}

int relay_part_init(struct relay_part *part, const struct relay_part_options *options,
    struct conf_problems *problems)
{
    struct overridden over = {.below = options->source, .workers = options->workers};
    struct conf_source source = {get_overridden, file_exists_below, &over, label_below};
    uint8_t random[6];
    if (!split_listen(options->listen, &over)) {
        fprintf(
            stderr, "weir: --listen \"%s\" is not usable; allowed: ADDR:PORT\n", options->listen);
        return EXIT_USAGE;
    }
    if (sys_entropy(random, sizeof random) != WEIR_OK ||
        relay_config_load(&source, random, options->own_platform, &part->config, problems) != WEIR_OK) {
        fputs("weir: out of memory\n", stderr);
        return EXIT_FAILED;
    }
    if (problems->errors.len > 0) {
        print_lines(&problems->errors);
        return EXIT_FAILED;
    }
    part->part = (struct part){
        .ops = &ops,
        .descriptors = part->config.max_total_connections,
        .descriptors_setting = "RELAY_MAX_TOTAL_CONNECTIONS",
        .drain_max_ns = time_from_ms(part->config.drain_time_ms) + DRAIN_MAX_NS,
    };
    return EXIT_FINE;
}

void relay_part_fini(struct relay_part *part)
{
    relay_config_free(&part->config);
}
