// SPDX-License-Identifier: Apache-2.0
//   registry.yml ──file_watch, SIGHUP, API──► health_reload ──► monitor_replace
//   monitor ──hooks──► health_emit ──► event ring, log
//   HTTP ──► api.c ──► view of the monitor
//
// 1. A registry that cannot be used changes nothing: the old one goes on, and `problems` says why.
// 2. `version` grows with everything a document may show, so that a page is printed only once;
//    `urgent` with what a page must show at the next request.
// 3. GET requests read; nothing they do starts a check.
#include "health/health.h"

#include <stdio.h>

#include "base/mem.h"
#include "base/time.h"
#include "health/actions/deployment.h"
#include "health/api/api.h"
#include "loop/resolver.h"
#include "obs/log.h"
#include "sys/clock.h"
#include "sys/socket.h"

#define EVENTS_MAX 10000
#define PROBLEMS_MAX 65536
#define SETUP_TIMEOUT_NS (10 * NS_PER_S)
#define IDLE_TIMEOUT_NS (60 * NS_PER_S)
#define BODY_MAX 65536
#define CONNECTIONS_MAX 768 // beside them there are 256 descriptors for watchers
#define DRAIN_LOOK_NS (50 * NS_PER_MS)

// ---- Events

static void log_event(const struct health_event *event)
{
    struct log_line line;
    log_begin(&line, LOG_HEALTH_EVENT);
    log_text(&line, "type", event_type_name(event->type));
    if (event->service.len > 0) {
        log_str(&line, "service", event->service);
        log_str(&line, "machine", event->machine);
    }
    if (event->status != EVENT_NO_STATUS) {
        log_text(&line, "previous",
            event->previous == EVENT_NO_STATUS ? "none" : health_status_name(event->previous));
        log_text(&line, "status", health_status_name(event->status));
    }
    log_str(&line, "text", event->message);
    log_end(&line);
}

void health_emit(struct health *health, const struct health_event *event)
{
    log_event(event);
    // Without memory the timeline misses it; the log has it.
    const struct health_event *kept = event_ring_add(&health->events, event);
    if (kept != NULL) {
        history_event(&health->history, kept);
    }
    sockets_tell_event(&health->sockets, event);
    cluster_event(&health->cluster, event);
    health->version++;
    health->urgent++;
    if (kept != NULL) {
        page_tell_event(&health->page, kept);
    }
}

static void emit_for(struct health *health, const struct target *target, enum event_type type,
    const struct state_change *change, struct slice message)
{
    health_emit(
        health, &(struct health_event){
                    .wall_ms = sys_wall_ms(),
                    .type = type,
                    .previous = change == NULL || change->pending ? EVENT_NO_STATUS : change->from,
                    .status = change == NULL ? EVENT_NO_STATUS : change->to,
                    .service = slice_str(target->service->name),
                    .machine = slice_str(target->service->machine->name),
                    .message = message,
                });
}

// ---- The monitor's hooks

static void on_result(void *arg, struct target *target)
{
    struct health *health = arg;
    health->version++;
    history_result(&health->history, target);
    cluster_result(&health->cluster, target);
    sockets_tell_results(&health->sockets);
    page_tell_target(&health->page, target);
    diagnoses_heard(health, target);
}

static void on_changed(void *arg, struct target *target, const struct state_change *change)
{
    struct health *health = arg;
    char text[TARGET_TEXT_SIZE];
    size_t len = target_describe(target, text);
    page_tell_target(&health->page, target);
    emit_for(health, target, EVENT_STATUS_CHANGE, change, slice_of(text, len));
    change_hook_look(&health->change_hook, target);
}

static bool on_holds(void *arg, const struct target *target)
{
    const struct health *health = arg;
    return health->options.redis == NULL || cluster_holds(&health->cluster, target);
}

static void on_cluster(void *arg)
{
    struct health *health = arg;
    health->version++;
}

static void on_maintained(void *arg, struct target *target)
{
    struct health *health = arg;
    history_touch(&health->history, target);
    health_look_at_maintenance(health);
    health->version++;
    health->urgent++;
}

static void on_heard(void *arg, const struct shared_message *message)
{
    health_hear(arg, message);
}

static void on_life(void *arg, struct target *target, enum target_life life)
{
    static const enum event_type types[] = {
        [TARGET_ADDED] = EVENT_SERVICE_ADDED,
        [TARGET_REMOVED] = EVENT_SERVICE_REMOVED,
        [TARGET_CHECK_CHANGED] = EVENT_CHECK_CHANGED,
    };
    struct health *health = arg;
    // The services of the first reading are not news.
    if (health->reloaded_wall_ms != 0) {
        emit_for(health, target, types[life], NULL, SLICE_EMPTY);
    }
    if (life == TARGET_REMOVED) {
        diagnoses_lost(health, target);
        history_forget(&health->history, target);
    }
}

bool health_check_now(struct health *health, struct target *target)
{
    return target->lent
               ? service_monitored(target->service) && cluster_ask(&health->cluster, target)
               : monitor_check_now(target);
}

// ---- Reading

static void log_notes(const struct registry *registry)
{
    for (size_t i = 0; i < registry->note_count; i++) {
        const struct registry_note *note = registry->notes[i];
        struct log_line line;
        if (note->level == NOTE_INFO) {
            continue;
        }
        log_begin(&line, LOG_HEALTH_REGISTRY_NOTE);
        log_text(&line, "level", note_level_name(note->level));
        log_text(&line, "file", note->file);
        log_u64(&line, "line", note->line);
        log_text(&line, "path", note->path);
        log_text(&line, "text", note->message);
        log_end(&line);
    }
}

// Keeps why a reading was refused. registry may be NULL.
static void refuse(struct health *health, const struct registry *registry, const char *why)
{
    struct log_line line;
    buf_reset(&health->problems);
    if (registry != NULL) {
        registry_print_notes(registry, NOTE_ERROR, &health->problems);
    } else {
        buf_append_str(&health->problems, why); // it fits
    }
    health->reload_ok = false;
    health->reloaded_wall_ms = sys_wall_ms();
    health->version++;
    page_touch(&health->page);
    log_begin(&line, LOG_HEALTH_REGISTRY_REFUSED);
    log_text(&line, "registry", health->options.registry_path);
    log_str(&line, "problem", buf_slice(&health->problems));
    log_end(&line);
}

static void accept_registry(struct health *health)
{
    buf_reset(&health->problems);
    health->reload_ok = true;
    health->reloaded_wall_ms = sys_wall_ms();
    health->version++;
    log_notes(health->monitor.registry);
}

static bool take_over(struct health *health, struct registry *registry)
{
    struct monitor_difference difference;
    char text[96];
    if (monitor_replace(&health->monitor, registry, &difference) != WEIR_OK) {
        refuse(health, NULL, "out of memory");
        return false;
    }
    // Without memory a machine has no samples until the next reload.
    enum weir_result ignored = devices_follow(&health->devices);
    (void)ignored;
    cluster_follow(&health->cluster);
    accept_registry(health);
    sockets_tell_reload(&health->sockets, &difference);
    snprintf(text, sizeof text, "%u added, %u removed, %u changed", difference.added,
        difference.removed, difference.changed);
    health_emit(health, &(struct health_event){.wall_ms = sys_wall_ms(),
                            .type = EVENT_REGISTRY_RELOADED,
                            .previous = EVENT_NO_STATUS,
                            .status = EVENT_NO_STATUS,
                            .service = SLICE_EMPTY,
                            .machine = SLICE_EMPTY,
                            .message = slice_str(text)});
    health_look_at_maintenance(health);
    return true;
}

static void reload_tokens(struct health *health)
{
    char problem[160];
    if (health->options.tokens_path != NULL &&
        token_list_load(&health->tokens, health->options.tokens_path, problem, sizeof problem) !=
            WEIR_OK) {
        struct log_line line;
        log_begin(&line, LOG_HEALTH_TOKENS_REFUSED);
        log_text(&line, "file", health->options.tokens_path);
        log_text(&line, "problem", problem);
        log_end(&line);
    }
}

enum health_reloaded health_reload(struct health *health)
{
    struct registry *registry;
    reload_tokens(health);
    enum weir_result result =
        registry_load(health->options.registry_path, &health->options.registry, &registry);
    if (result == WEIR_AGAIN) {
        file_watch_again(&health->watch);
        return HEALTH_LOCKED;
    }
    if (result != WEIR_OK || registry->broken) {
        refuse(health, result == WEIR_OK ? registry : NULL, "out of memory");
        registry_unref(registry);
        return HEALTH_REFUSED;
    }
    return take_over(health, registry) ? HEALTH_RELOADED : HEALTH_REFUSED;
}

static void on_file_changed(struct file_watch *watch)
{
    // What came of it is in the log, the metrics and the API.
    (void)health_reload(container_of(watch, struct health, watch));
}

// ---- Life

enum weir_result health_init(
    struct health *health, const struct health_options *options, char *problem, size_t size)
{
    *health = (struct health){.options = *options};
    buf_init(&health->problems, PROBLEMS_MAX);
    enum weir_result result = event_ring_init(&health->events, EVENTS_MAX);
    if (result == WEIR_OK && options->tokens_path != NULL) {
        char why[160];
        result = token_list_load(&health->tokens, options->tokens_path, why, sizeof why);
        if (result != WEIR_OK) {
            snprintf(problem, size, "tokens file %s: %s", options->tokens_path, why);
            return result;
        }
    }
    if (result == WEIR_OK) {
        char host[IP_TEXT_SIZE];
        ip_to_text(&options->listen.ip, host);
        result = listen_set_open(&health->listen,
            &(struct listen_wish){"health", host, options->listen.port, 1}, problem, size);
        health->address = health->listen.address;
    }
    return result;
}

static enum weir_result start_monitor(struct health *health)
{
    struct registry *registry;
    enum weir_result result =
        registry_load(health->options.registry_path, &health->options.registry, &registry);
    if (result != WEIR_OK) {
        registry_unref(registry);
        return result;
    }
    // A broken file is told, and watched until it is better.
    bool broken = registry->broken;
    if (broken) {
        refuse(health, registry, "");
    }
    result = monitor_open(&health->monitor, health->worker,
        &(struct monitor_options){
            .ssh_dir = health->options.ssh_dir,
            .jitter_percent = health->options.jitter_percent,
            .compat_rollup = health->options.compat_rollup,
            .shared = health->options.redis != NULL,
            .hooks = {.result = on_result,
                .changed = on_changed,
                .life = on_life,
                .holds = on_holds,
                .arg = health},
        },
        registry);
    if (result == WEIR_OK && !broken) {
        accept_registry(health);
    }
    return result;
}

static void on_device(void *arg, const struct device *device, enum device_status old)
{
    struct health *health = arg;
    health->version++;
    page_touch(&health->page);
    sockets_tell_device(&health->sockets, device, old);
}

static void on_met(void *arg, const struct device *device)
{
    struct health *health = arg;
    sockets_tell_registered(&health->sockets, device);
}

static enum weir_result start_devices(struct health *health)
{
    return devices_start(&health->devices, health->worker,
        &(struct devices_options){
            .monitor = &health->monitor,
            .ssh_dir = health->options.ssh_dir,
            .interval_ns = health->options.metrics_interval_ns,
            .remote_interval_ns = health->options.remote_interval_ns,
            .heartbeat_timeout_ns = health->options.heartbeat_timeout_ns,
            .heard = on_device,
            .met = on_met,
            .arg = health,
        });
}

// Into a history that is empty: what was imported once is in the store. Ids are in order of time.
static void import_old_files(struct health *health)
{
    struct old_files *old = &health->old;
    struct log_line line;
    if (health->options.import_dir == NULL) {
        return;
    }
    old_files_read(old, health->options.import_dir);
    size_t first = old->event_count > EVENTS_MAX ? old->event_count - EVENTS_MAX : 0;
    size_t taken = 0;
    for (size_t i = first; health->events.count == taken && i < old->event_count; i++) {
        const struct health_event *kept = event_ring_add(&health->events, &old->events[i]);
        if (kept == NULL) {
            break;
        }
        history_event(&health->history, kept);
        taken++;
    }
    log_begin(&line, LOG_HEALTH_IMPORTED);
    log_text(&line, "directory", health->options.import_dir);
    log_u64(&line, "lines", old->lines);
    log_u64(&line, "notUnderstood", old->bad);
    log_u64(&line, "events", taken);
    log_u64(&line, "problems", old->problem_count);
    log_end(&line);
    old_files_drop_events(old);
}

static void on_drain_look(struct timer *timer)
{
    struct health *health = container_of(timer, struct health, drain_look);
    if (!listener_is_open(&health->server.listener)) { // those who are told come back elsewhere
        sockets_drain(&health->sockets);
    }
    if (!http_server_is_empty(&health->server) || health->local.server.conn_count > 0 ||
        health->sockets.count > 0 || !cluster_left(&health->cluster)) {
        worker_arm_in(health->worker, timer, DRAIN_LOOK_NS);
        return;
    }
    health->drained(health->drained_arg);
}

// A request that no handler saw.
static void on_failed(struct http_server *server, const struct ip *peer, enum http_failure failure)
{
    static const unsigned statuses[] = {
        [HTTP_FAILURE_MALFORMED] = 400,
        [HTTP_FAILURE_TOO_LARGE] = 413,
        [HTTP_FAILURE_TIMEOUT] = 408,
        [HTTP_FAILURE_LEFT] = 0,
    };
    struct health *health = server->options->owner;
    (void)peer;
    if (statuses[failure] != 0) {
        api_stats_add(&health->stats, API_ROW_COUNT, false, statuses[failure], 0, sys_now_ns());
    }
}

enum weir_result health_start(struct health *health, struct worker *worker)
{
    health->worker = worker;
    timer_init(&health->drain_look, on_drain_look);
    timer_init(&health->maintenance_look, NULL); // until health_begin_maintenance
    diagnoses_init(&health->diagnoses);
    health->neighbours = neighbours_new(worker, health->options.neighbours, &health->page);
    if (health->neighbours == NULL) {
        return WEIR_MEMORY;
    }
    health->http = (struct http_options){
        .routes = api_no_routes,
        .not_found = api_handle,
        .upgrade = api_upgrade,
        .setup_timeout_ns = SETUP_TIMEOUT_NS,
        .idle_timeout_ns = IDLE_TIMEOUT_NS,
        .body_max = BODY_MAX,
        .error_headers = api_error_headers,
        .conn_max = CONNECTIONS_MAX,
        .failed = on_failed,
        .owner = health,
    };
    if (health->options.on_change != NULL) {
        change_hook_start(&health->change_hook, worker, health->options.on_change,
            health->options.on_change_quiet_ns);
    }
    page_start(&health->page, health);
    enum weir_result result =
        sockets_start(&health->sockets, worker, &health->monitor, &health->devices, &health->page);
    if (result == WEIR_OK) {
        result = start_monitor(health);
    }
    if (result == WEIR_OK) {
        result = history_start(&health->history, worker, &health->monitor, &health->events,
            health->options.store_path);
    }
    if (result == WEIR_OK && health->options.redis != NULL) {
        health->cluster.changed = on_cluster;
        health->cluster.maintained = on_maintained;
        health->cluster.heard = on_heard;
        health->cluster.arg = health;
        result = cluster_start(&health->cluster, worker, &health->monitor, health->options.redis,
            health->address.port);
    }
    if (result == WEIR_OK) {
        import_old_files(health);
        health_begin_maintenance(health);
        result = start_devices(health);
    }
    if (result != WEIR_OK) {
        return result;
    }
    file_watch_open(&health->watch, worker, health->options.registry_path, on_file_changed);
    int fd = listen_set_take(&health->listen, 0);
    result = http_server_open(&health->server, worker, &health->http, fd);
    health->server.listener.inherited = health->listen.inherited;
    health->server_open = result == WEIR_OK;
    if (health->server_open && health->options.socket_path != NULL) {
        health->local_http = health->http;
        health->local_http.unix_socket = true;
        local_socket_start(
            &health->local, worker, health->options.socket_path, &health->local_http);
    }
    if (health->server_open && health->options.heartbeat_url != NULL) {
        dead_man_start(&health->dead_man, worker, health->options.heartbeat_url);
    }
    return result;
}

void health_drain(struct health *health, void (*drained)(void *arg), void *arg)
{
    health->drained = drained;
    health->drained_arg = arg;
    monitor_rest(&health->monitor);
    http_server_drain(&health->server);
    local_socket_drain(&health->local);
    cluster_leave(&health->cluster);
    on_drain_look(&health->drain_look);
}

void health_stop(struct health *health)
{
    if (health->worker == NULL) {
        return;
    }
    struct worker *worker = health->worker;
    health->worker = NULL;
    cluster_stop(&health->cluster); // first: what the others say finds a whole monitor, or nobody
    timer_cancel(&health->drain_look);
    timer_cancel(&health->maintenance_look);
    dead_man_stop(&health->dead_man);
    if (health->server_open) {
        health->server_open = false;
        http_server_close(&health->server);
    }
    local_socket_stop(&health->local);
    change_hook_stop(&health->change_hook);
    sockets_stop(&health->sockets);
    page_stop(&health->page);
    file_watch_close(&health->watch);
    devices_stop(&health->devices);
    history_stop(&health->history);
    monitor_close(&health->monitor);
    diagnoses_stop(&health->diagnoses);
    neighbours_free(health->neighbours);
    health->neighbours = NULL;
    deployment_stop(health);
    resolver_fini(worker);
    worker_settle(worker);
    sockets_fini(&health->sockets);
}

void health_fini(struct health *health)
{
    listen_set_close(&health->listen);
    event_ring_fini(&health->events);
    old_files_fini(&health->old);
    token_list_fini(&health->tokens);
    buf_reset(&health->problems);
    buf_reset(&health->dashboard.text);
    buf_reset(&health->dashboard.packed);
}
