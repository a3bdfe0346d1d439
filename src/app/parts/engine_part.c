// SPDX-License-Identifier: Apache-2.0
// A reload reads everything again and takes it over as a whole, or changes nothing. Keys that want
// a restart keep what they had. Old configurations stay until the end, because whoever read the
// pointer may still use it; a few kilobytes for each SIGHUP that changed something.
#include "app/parts/engine_part.h"

#include <stdio.h>

#include "app/command.h"
#include "app/sandbox.h"
#include "base/mem.h"
#include "base/number.h"
#include "sys/seccomp.h"

#define NAMES_BYTES_MAX 4096
#define WORKERS_MAX 256

struct engine_part_config {
    struct engine_part_config *older;
    struct engine_config config;
};

static struct engine_part *engine_part_of(struct part *part)
{
    return container_of(part, struct engine_part, part);
}

const struct engine_config *engine_part_config(const struct engine_part *part)
{
    return &part->configs->config;
}

// ---- Configuration

// Takes the place of what is in *listen.
static enum weir_result apply_listen(
    const char *option, const char *text, struct conf_listen *listen)
{
    struct conf_listen given;
    enum weir_result result = conf_listen_parse(slice_str(text), 0, &given);
    if (result == WEIR_OK) {
        mem_free(listen->host);
        *listen = given;
    } else if (result == WEIR_MALFORMED) {
        fprintf(stderr, "weir: %s \"%s\" is not usable; allowed: ADDR:PORT\n", option, text);
        result = WEIR_INVALID;
    }
    return result;
}

static enum weir_result apply_options(
    const struct engine_part_options *options, struct engine_config *config)
{
    enum weir_result result = WEIR_OK;
    if (options->workers != NULL &&
        number_parse_u64(slice_str(options->workers), WORKERS_MAX, &config->workers) != WEIR_OK) {
        fprintf(stderr, "weir: --workers \"%s\" is not usable; allowed: a number up to %d\n",
            options->workers, WORKERS_MAX);
        return WEIR_INVALID;
    }
    if (options->listen != NULL) {
        const char *option = options->listen_option == NULL ? "--listen" : options->listen_option;
        result = apply_listen(option, options->listen, &config->tls_listen);
    }
    if (result == WEIR_OK && options->metrics_listen != NULL) {
        result =
            apply_listen("the metrics' address", options->metrics_listen, &config->metrics_listen);
    }
    return result;
}

static struct engine_part_config *load(const struct engine_part_options *options,
    struct conf_problems *problems, enum weir_result *ret_result)
{
    struct engine_part_config *loaded = mem_zalloc(sizeof *loaded);
    *ret_result = WEIR_MEMORY;
    if (loaded == NULL) {
        return NULL;
    }
    *ret_result = engine_config_load(&options->source, &loaded->config, NULL, problems);
    if (*ret_result == WEIR_OK) {
        *ret_result = apply_options(options, &loaded->config);
    }
    if (*ret_result == WEIR_OK && problems->errors.len > 0) {
        *ret_result = WEIR_MALFORMED;
    }
    return loaded;
}

static void free_config(struct engine_part_config *config)
{
    if (config != NULL) {
        engine_config_free(&config->config);
        mem_free(config);
    }
}

// ---- Life

static enum weir_result open_engine(
    struct part *part, struct crew *crew, char *problem, size_t size)
{
    struct engine_part *self = engine_part_of(part);
    enum weir_result result = engine_init(&self->engine, crew, engine_part_config(self));
    return result != WEIR_OK ? result : engine_listen(&self->engine, problem, size);
}

static void reach(const struct part *part, struct sys_landlock *landlock)
{
    const struct engine_part *self = container_of(part, struct engine_part, part);
    size_t count;
    const struct conf_row *rows = engine_config_rows(&count);
    sandbox_reach_paths(rows, count, engine_part_config(self), landlock);
    sys_landlock_read(landlock, self->options.source.path);
    const struct conf_ports *ports = &engine_part_config(self)->extension_tcp_ports;
    if (ports->first > 0) {
        sys_landlock_bind(landlock, (uint16_t)ports->first, (uint16_t)ports->last);
    }
}

static enum weir_result start_worker(
    struct part *part, struct worker *worker, char *problem, size_t size)
{
    return engine_worker_start(&engine_part_of(part)->engine, worker, problem, size);
}

static void set_log_level(const struct engine_config *config)
{
    static const enum log_level levels[] = {
        [ENGINE_LOG_DEBUG] = LOG_INFO,
        [ENGINE_LOG_INFO] = LOG_INFO,
        [ENGINE_LOG_WARN] = LOG_WARN,
        [ENGINE_LOG_ERROR] = LOG_ERROR,
    };
    log_set_level(levels[config->log_level]);
}

static void log_started(struct part *part)
{
    const struct engine_part *self = engine_part_of(part);
    const struct engine_config *config = engine_part_config(self);
    struct log_line line;
    char address[IP_TEXT_SIZE]; // which may be another one than configured, without IPv6
    ip_to_text(&self->engine.address.ip, address);
    log_begin(&line, LOG_ENGINE_STARTED);
    log_text(&line, "host", config->host);
    log_text(&line, "address", address);
    log_u64(&line, "port", self->engine.address.port);
    log_u64(&line, "redirectPort", self->engine.redirect_listen.address.port);
    log_u64(&line, "metricsPort", self->engine.metrics_listen.address.port);
    log_bool(&line, "extensions", config->extensions_enabled);
    log_u64(&line, "workers", self->engine.crew->count);
    log_end(&line);
    // Only now, so that the start itself is always told.
    set_log_level(config);
}

static void log_lines(enum log_event event, const char *key, const struct buf *lines)
{
    struct slice rest = buf_slice(lines);
    struct slice text;
    while (slice_split(&rest, '\n', &text)) {
        if (text.len > 0) {
            struct log_line line;
            log_begin(&line, event);
            log_str(&line, key, text);
            log_end(&line);
        }
    }
}

static void log_names(enum log_event event, const struct buf *names)
{
    if (names->len > 0) {
        log_lines(event, "keys", names);
    }
}

// Takes loaded over, or frees it.
static void take_over(struct engine_part *self, struct engine_part_config *loaded)
{
    struct buf live = BUF_INIT(NAMES_BYTES_MAX);
    struct buf restart = BUF_INIT(NAMES_BYTES_MAX);
    const struct engine_config *old = engine_part_config(self);
    bool differ = engine_config_diff(old, &loaded->config, &live, &restart);
    log_names(LOG_CONFIG_WANTS_RESTART, &restart);
    if (differ && engine_config_keep(old, &loaded->config)) {
        log_names(LOG_CONFIG_CHANGED, &live);
        loaded->older = self->configs;
        self->configs = loaded;
        set_log_level(&loaded->config);
    } else {
        free_config(loaded);
    }
    buf_reset(&live);
    buf_reset(&restart);
}

static const char *reload(struct part *part)
{
    struct engine_part *self = engine_part_of(part);
    struct conf_problems problems;
    enum weir_result result;
    conf_problems_init(&problems);
    struct engine_part_config *loaded = load(&self->options, &problems, &result);
    log_lines(LOG_CONFIG_WARNING, "warning", &problems.warnings);
    log_lines(LOG_CONFIG_REFUSED, "problem", &problems.errors);
    if (result == WEIR_OK) {
        take_over(self, loaded);
    } else {
        free_config(loaded);
    }
    conf_problems_fini(&problems);
    engine_reload(&self->engine, engine_part_config(self));
    return result == WEIR_OK ? "configuration, certificate, pages" : "certificate, pages";
}

static void on_drained(void *arg)
{
    part_drained(arg);
}

static void drain(struct part *part)
{
    engine_drain(&engine_part_of(part)->engine, on_drained, part);
}

static void stop_worker(struct part *part, struct worker *worker)
{
    (void)part;
    engine_worker_stop(worker);
}

static void close_engine(struct part *part)
{
    engine_fini(&engine_part_of(part)->engine);
}

static const struct part_ops ops = {
    .name = "engine",
    .sys_part = SYS_PART_ENGINE,
    .stopping = LOG_ENGINE_STOPPING,
    .stopped = LOG_ENGINE_STOPPED,
    .open = open_engine,
    .reach = reach,
    .start_worker = start_worker,
    .started = log_started,
    .reload = reload,
    .drain = drain,
    .stop_worker = stop_worker,
    .close = close_engine,
};

int engine_part_init(struct engine_part *part, const struct engine_part_options *options,
    struct conf_problems *problems)
{
    enum weir_result result;
    part->options = *options;
    part->configs = load(options, problems, &result);
    if (result == WEIR_MALFORMED) {
        command_print_problems(problems);
        return EXIT_CONFIG;
    }
    if (result != WEIR_OK) {
        fputs(result == WEIR_INVALID ? "" : "weir: out of memory\n", stderr);
        return result == WEIR_INVALID ? EXIT_USAGE : EXIT_FAILED;
    }
    part->part = (struct part){
        .ops = &ops,
        .descriptors = engine_part_config(part)->limit_connections,
        .descriptors_setting = "limits.connections",
        .drain_max_ns = ENGINE_DRAIN_MAX_NS,
    };
    return EXIT_FINE;
}

void engine_part_fini(struct engine_part *part)
{
    while (part->configs != NULL) {
        struct engine_part_config *config = part->configs;
        part->configs = config->older;
        free_config(config);
    }
}
