// SPDX-License-Identifier: Apache-2.0
// Each worker looks at the files for itself, at a handshake and at most once a second, and keeps
// what it has when they are no pair, as between the two renames of a rotation. All workers complain
// about the same files, so the first one does it for all.
#include "engine/edge/engine_tls.h"

#include "base/mem.h"
#include "engine/edge/gate.h"
#include "obs/log.h"

#define PROBLEM_SIZE 512
#define LOADS_PER_LOOK 16 // of further pairs; the others a second later

static void fill_settings(struct engine_shard *shard)
{
    const struct engine_config *config = shard->engine->config;
    shard->tls_settings.certificate_path = config->cert_file;
    shard->tls_settings.key_path = config->key_file;
    shard->tls_settings.select_alpn = gate_select_alpn;
    shard->tls_settings.tickets = &shard->engine->tickets;
}

static void note_expiry(struct engine_shard *shard)
{
    if (shard->worker->index == 0) {
        engine_metrics_set(shard->metrics, ENGINE_CERT_NOT_AFTER, tls_server_expiry(&shard->tls));
    }
}

static void log_reload(const struct tls_settings *settings, const char *problem)
{
    struct log_line line;
    log_begin(&line, problem == NULL ? LOG_TLS_RELOADED : LOG_TLS_RELOAD_FAILED);
    log_text(&line, "certificate", settings->certificate_path);
    if (problem != NULL) {
        log_text(&line, "reason", problem);
    }
    log_end(&line);
}

static void note_reload(struct engine_shard *shard, bool ok, const char *problem)
{
    engine_count(shard, ok ? ENGINE_CERT_RELOADS_OK : ENGINE_CERT_RELOADS_FAILED);
    note_expiry(shard);
    if (atomic_exchange(&shard->engine->noted_stamp, shard->tls.stamp) != shard->tls.stamp) {
        log_reload(&shard->tls_settings, ok ? NULL : problem);
    }
}

// ---- Further pairs

static bool is_news(struct engine_shard *shard, const struct tls_pair *pair)
{
    size_t index = (size_t)(pair - shard->tls_pairs.items);
    return atomic_exchange(&shard->engine->noted_pair_stamps[index], pair->stamp) != pair->stamp;
}

static void report_first(void *arg, const struct tls_pair *pair, const char *problem)
{
    if (is_news(arg, pair) && problem != NULL) {
        log_reload(&pair->settings, problem);
    }
}

static void report_change(void *arg, const struct tls_pair *pair, const char *problem)
{
    engine_count(arg, problem == NULL ? ENGINE_CERT_RELOADS_OK : ENGINE_CERT_RELOADS_FAILED);
    if (is_news(arg, pair)) {
        log_reload(&pair->settings, problem);
    }
}

static enum weir_result set_pairs(struct engine_shard *shard)
{
    const struct engine_config *config = shard->engine->config;
    struct tls_settings *settings = mem_alloc((config->cert_count + 1) * sizeof *settings);
    if (settings == NULL) {
        return WEIR_MEMORY;
    }
    for (size_t i = 0; i < config->cert_count; i++) {
        settings[i] = shard->tls_settings;
        settings[i].certificate_path = config->certs[i].cert_file;
        settings[i].key_path = config->certs[i].key_file;
    }
    enum weir_result result = tls_pairs_set(&shard->tls_pairs, settings, config->cert_count);
    mem_free(settings);
    return result;
}

static void refresh_pairs(struct engine_shard *shard, size_t load_max, tls_pairs_report_fn *report)
{
    tls_pairs_refresh(&shard->tls_pairs, worker_now(shard->worker), load_max, report, shard);
}

// ---- All

enum weir_result engine_load_certificate(struct engine_shard *shard, char *problem, size_t size)
{
    fill_settings(shard);
    enum weir_result result = tls_server_load(&shard->tls, &shard->tls_settings, problem, size);
    note_expiry(shard);
    if (result == WEIR_OK) {
        result = set_pairs(shard);
    }
    if (result == WEIR_OK) {
        refresh_pairs(shard, SIZE_MAX, report_first);
    }
    return result;
}

void engine_refresh_certificate(struct engine_shard *shard)
{
    char problem[PROBLEM_SIZE] = "";
    enum tls_refresh outcome = tls_server_refresh(
        &shard->tls, &shard->tls_settings, worker_now(shard->worker), problem, sizeof problem);
    if (outcome != TLS_UNCHANGED) {
        note_reload(shard, outcome == TLS_RELOADED, problem);
    }
    refresh_pairs(shard, LOADS_PER_LOOK, report_change);
}

void engine_reload_certificate(struct engine_shard *shard)
{
    fill_settings(shard);
    shard->tls.looked_ns = 0;
    if (set_pairs(shard) != WEIR_OK) {
        log_reload(&shard->tls_settings, "out of memory for extensions.certs");
    }
    engine_refresh_certificate(shard);
}
