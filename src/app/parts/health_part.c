// SPDX-License-Identifier: Apache-2.0
#include "app/parts/health_part.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/command.h"
#include "app/sandbox.h"
#include "base/number.h"
#include "sql/sqlite.h"
#include "sys/file.h"
#include "sys/seccomp.h"
#include "base/time.h"

#define DESCRIPTORS (512 + 32 + 256 + 1024) // sockets, ssh, programs, requests
#define DAY_S 86400
#define JITTER_MAX 50 // a pass is stale after twice the interval
#define DEVELOPMENT_ORIGINS                                                                        \
    "http://localhost:8989,http://localhost:5173,http://127.0.0.1:8989,http://127.0.0.1:5173"
#define PROBLEM_SIZE (REGISTRY_PATH_SIZE + 256)

static struct health_part *health_part_of(struct part *part)
{
    return container_of(part, struct health_part, part);
}

// ---- Where to listen

static const char *variable(const struct health_part *part, const char *name)
{
    const struct conf_source *source = &part->setup.dotenv.source;
    const char *value = source->get(source->arg, name);
    return value == NULL || value[0] == '\0' ? NULL : value;
}

static bool parse_listen(const char *text, struct sys_address *ret_address)
{
    const char *colon = strrchr(text, ':');
    char host[64];
    uint64_t port;
    return colon != NULL &&
           slice_to_text(slice_of(text, (size_t)(colon - text)), host, sizeof host) &&
           number_parse_u64(slice_str(colon + 1), 65535, &port) == WEIR_OK &&
           sys_address_parse(host, (uint16_t)port, ret_address) == WEIR_OK;
}

static bool find_listen(struct health_part *part, const char *option)
{
    char text[128];
    const char *host = variable(part, "BIND_HOST");
    const char *port = variable(part, "BACKEND_PORT");
    if (option == NULL) {
        snprintf(text, sizeof text, "%s:%s", host == NULL ? "127.0.0.1" : host,
            port == NULL ? "8988" : port);
    }
    if (parse_listen(option == NULL ? text : option, &part->options.listen)) {
        return true;
    }
    fprintf(stderr, "weir health: \"%s\" is not usable to listen on; allowed: ADDR:PORT\n",
        option == NULL ? text : option);
    return false;
}

// The command line looks for it there, too.
static bool find_socket(struct health_part *part, const char *option)
{
    if (option != NULL && strcmp(option, "none") == 0) {
        return true;
    }
    if (option == NULL && !health_setup_socket(part->socket_path, sizeof part->socket_path)) {
        return true;
    }
    if (option != NULL &&
        sys_absolute_path(option, part->socket_path, sizeof part->socket_path) != WEIR_OK) {
        fprintf(stderr, "weir health: the path of --socket %s cannot be used\n", option);
        return false;
    }
    part->options.socket_path = part->socket_path;
    return true;
}

static bool find_access(struct health_part *part, const struct health_part_options *options)
{
    bool loopback = ip_is_loopback(&part->options.listen.ip);
    bool given = options->public_read != NULL;
    part->options.tokens_path = options->tokens;
    part->options.public_read = given ? strcmp(options->public_read, "true") == 0 : loopback;
    if (given && !part->options.public_read && strcmp(options->public_read, "false") != 0) {
        fprintf(stderr, "weir health: --public-read \"%s\" is not usable; allowed: true, false\n",
            options->public_read);
        return false;
    }
    if (!loopback && options->tokens == NULL) {
        fputs("weir health: listening beyond this machine wants --tokens FILE, so that not "
              "everybody may start checks and maintenance\n",
            stderr);
        return false;
    }
    return true;
}

// Whose pages may ask, and where our own are. The default of the list is that of dashboards under
// development.
static bool find_pages(struct health_part *part, const struct health_part_options *options)
{
    const char *environment = variable(part, "ENVIRONMENT");
    const char *origins = variable(part, "CORS_ALLOWED_ORIGINS");
    struct health_options *into = &part->options;
    into->production = environment == NULL || strcmp(environment, "production") == 0;
    into->cors_origins = origins != NULL || into->production ? origins : DEVELOPMENT_ORIGINS;
    into->allowed_hosts = options->allowed_hosts;
    into->ui_dir = options->ui_dir;
    into->import_dir = options->import_dir;
    into->heartbeat_url = options->heartbeat_url;
    if (options->heartbeat_url != NULL && strncmp(options->heartbeat_url, "http://", 7) != 0 &&
        strncmp(options->heartbeat_url, "https://", 8) != 0) {
        fputs(
            "weir health: --heartbeat-url is not usable; allowed: http://… or https://…\n", stderr);
        return false;
    }
    if (options->import_dir != NULL && !sys_is_directory(options->import_dir)) {
        fprintf(stderr, "weir health: --import \"%s\" is no directory\n", options->import_dir);
        return false;
    }
    if (options->ui_dir != NULL && !sys_is_directory(options->ui_dir)) {
        fprintf(stderr, "weir health: --ui-dir \"%s\" is no directory\n", options->ui_dir);
        return false;
    }
    return true;
}

// A number of seconds from an option or a variable.
static bool find_seconds(
    const char *name, const char *text, uint64_t fallback, uint64_t max, uint64_t *ret_ns)
{
    uint64_t seconds = fallback;
    if (text != NULL &&
        (number_parse_u64(slice_str(text), max, &seconds) != WEIR_OK || seconds == 0)) {
        fprintf(stderr, "weir health: %s \"%s\" is not usable; allowed: 1-%llu\n", name, text,
            (unsigned long long)max);
        return false;
    }
    *ret_ns = seconds * NS_PER_S;
    return true;
}

static bool find_store(struct health_part *part, const struct health_part_options *options)
{
    const char *dir =
        options->state_dir != NULL ? options->state_dir : variable(part, "WEIR_STATE_DIR");
    if (dir == NULL) {
        return true;
    }
    int len = snprintf(part->store_path, sizeof part->store_path, "%s/health.db", dir);
    if (len < 0 || (size_t)len >= sizeof part->store_path) {
        fputs("weir health: the path of --state-dir is too long\n", stderr);
        return false;
    }
    if (!sandbox_own_directory(dir)) {
        return false;
    }
    // One that cannot be made now is told by the monitor, and tried again.
    enum weir_result ignored = sys_dir_make(dir);
    (void)ignored;
    part->options.store_path = part->store_path;
    return true;
}

static bool find_redis(struct health_part *part)
{
    const char *url = variable(part, "REDIS_URL");
    const char *enabled = variable(part, "REDIS_ENABLED");
    if (url == NULL || (enabled != NULL && strcmp(enabled, "false") == 0)) {
        return true;
    }
    char problem[REDIS_PROBLEM_SIZE] = "health uses one Redis, without sentinels or cluster";
    if (redis_place_parse(slice_str(url), &part->redis, problem, sizeof problem) != WEIR_OK ||
        part->redis.kind != REDIS_SINGLE) {
        fprintf(stderr,
            "weir health: REDIS_URL is not usable: %s; allowed: redis://[USER:PASSWORD@]HOST"
            "[:PORT][/DATABASE], or rediss://\n",
            problem);
        return false;
    }
    part->options.redis = &part->redis;
    return true;
}

static bool find_jitter(struct health_part *part, const char *text)
{
    uint64_t percent = 0;
    if (text != NULL && number_parse_u64(slice_str(text), JITTER_MAX, &percent) != WEIR_OK) {
        fprintf(stderr, "weir health: --jitter \"%s\" is not usable; allowed: 0-%d\n", text,
            JITTER_MAX);
        return false;
    }
    part->options.jitter_percent = (unsigned)percent;
    return true;
}

static bool find_intervals(struct health_part *part, const struct health_part_options *options)
{
    static const char timeout[] = "DEVICE_HEARTBEAT_TIMEOUT_SECONDS";
    struct health_options *into = &part->options;
    bool ok =
        find_seconds("--metrics-interval", options->metrics_interval, 10, DEVICES_INTERVAL_MAX_S,
            &into->metrics_interval_ns) &&
        find_seconds("--ssh-metrics-interval", options->ssh_metrics_interval, 60, DAY_S,
            &into->remote_interval_ns) &&
        find_seconds(
            "--on-change-quiet", options->on_change_quiet, 60, DAY_S, &into->on_change_quiet_ns) &&
        find_seconds(
            "--deploy-timeout", options->deploy_timeout, 120, DAY_S, &into->deploy_timeout_ns) &&
        find_seconds(timeout, variable(part, timeout), 300, DAY_S, &into->heartbeat_timeout_ns);
    if (!options->ssh_metrics) {
        into->remote_interval_ns = 0;
    }
    return ok;
}

// ---- Life

static enum weir_result open_health(
    struct part *part, struct crew *crew, char *problem, size_t size)
{
    struct health_part *self = health_part_of(part);
    (void)crew;
    enum weir_result result =
        self->options.store_path == NULL ? WEIR_OK : sqlite_load(problem, size);
    return result != WEIR_OK ? result : health_init(&self->health, &self->options, problem, size);
}

static void write_beside(struct sys_landlock *landlock, const char *path)
{
    char directory[REGISTRY_PATH_SIZE];
    const char *slash = path == NULL ? NULL : strrchr(path, '/');
    if (slash != NULL &&
        slice_to_text(slice_of(path, (size_t)(slash - path)), directory, sizeof directory)) {
        sys_landlock_write(landlock, directory[0] == '\0' ? "/" : directory);
    }
}

// The registry names files anywhere (certificates, pid files, checks of others), and another one
// may take its place while we run: all may be read. Written is the history, and our own socket.
static void reach(const struct part *part, struct sys_landlock *landlock)
{
    const struct health_part *self = container_of(part, struct health_part, part);
    sys_landlock_read_here(landlock, "/");
    write_beside(landlock, self->options.store_path);
    write_beside(landlock, self->options.socket_path);
}

static enum weir_result start_worker(
    struct part *part, struct worker *worker, char *problem, size_t size)
{
    if (worker->index != 0) {
        return WEIR_OK;
    }
    enum weir_result result = health_start(&health_part_of(part)->health, worker);
    if (result != WEIR_OK) {
        snprintf(problem, size, "the health monitor cannot start: %s", weir_result_text(result));
    }
    return result;
}

static void log_started(struct part *part)
{
    const struct health *health = &health_part_of(part)->health;
    char host[IP_TEXT_SIZE];
    struct log_line line;
    ip_to_text(&health->address.ip, host);
    log_begin(&line, LOG_HEALTH_STARTED);
    log_text(&line, "host", host);
    log_u64(&line, "port", health->address.port);
    log_text(&line, "registry", health->options.registry_path);
    log_u64(&line, "services", health->monitor.registry->service_count);
    log_u64(&line, "machines", health->monitor.registry->machines_declared);
    log_bool(&line, "registryLoaded", health->reload_ok);
    log_end(&line);
}

static const char *reload(struct part *part)
{
    static const char *const words[] = {
        [HEALTH_RELOADED] = "registry, tokens",
        [HEALTH_REFUSED] = NULL,
        [HEALTH_LOCKED] = "tokens; the registry when it is no longer locked",
    };
    return words[health_reload(&health_part_of(part)->health)];
}

static void on_drained(void *arg)
{
    part_drained(arg);
}

static void drain(struct part *part)
{
    health_drain(&health_part_of(part)->health, on_drained, part);
}

static void stop_worker(struct part *part, struct worker *worker)
{
    if (worker->index == 0) {
        health_stop(&health_part_of(part)->health);
    }
}

static void close_health(struct part *part)
{
    health_fini(&health_part_of(part)->health);
}

static const struct part_ops ops = {
    .name = "health",
    .spawns = true,
    .sys_part = SYS_PART_HEALTH,
    .stopping = LOG_HEALTH_STOPPING,
    .stopped = LOG_HEALTH_STOPPED,
    .open = open_health,
    .reach = reach,
    .start_worker = start_worker,
    .started = log_started,
    .reload = reload,
    .drain = drain,
    .stop_worker = stop_worker,
    .close = close_health,
};

int health_part_init(struct health_part *part, const struct health_part_options *options)
{
    char problem[PROBLEM_SIZE];
    part->part = (struct part){
        .ops = &ops,
        .descriptors = DESCRIPTORS,
        .descriptors_setting = "the number of checks at once",
        .drain_max_ns = HEALTH_DRAIN_MAX_NS,
    };
    int exit_code = health_setup_open(&part->setup, options->registry, problem, sizeof problem);
    if (exit_code != EXIT_FINE) {
        fprintf(stderr, "weir health: %s\n", problem);
        return exit_code;
    }
    part->setup.options.implicit_checks = options->implicit_checks;
    part->setup.options.legacy_compose_health = options->legacy_compose_health;
    if (sys_absolute_path(part->setup.path, part->registry_path, sizeof part->registry_path) !=
        WEIR_OK) {
        fprintf(stderr, "weir health: the path of %s cannot be used\n", part->setup.path);
        return EXIT_NO_INPUT;
    }
    part->options.registry_path = part->registry_path;
    part->options.registry = part->setup.options;
    part->options.ssh_dir = health_setup_ssh_dir(&part->setup);
    part->options.compat_rollup = options->compat_rollup;
    part->options.neighbours = part->neighbours;
    part->options.deploy_command = options->deploy_command;
    part->options.on_change = options->on_change;
    if (!find_listen(part, options->listen) || !find_socket(part, options->socket) ||
        !find_access(part, options) || !find_pages(part, options) ||
        !find_intervals(part, options) ||
        !health_neighbours_read(&options->neighbours, part->neighbours) ||
        !find_jitter(part, options->jitter) || !find_store(part, options) || !find_redis(part)) {
        return EXIT_USAGE;
    }
    return EXIT_FINE;
}

void health_part_fini(struct health_part *part)
{
    health_setup_close(&part->setup);
}
