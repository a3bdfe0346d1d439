// SPDX-License-Identifier: Apache-2.0
// Each worker looks at the files for itself, at a handshake and at most once a second, and keeps
// what it has when they are no pair, as between the two renames of a rotation. All workers complain
// about the same files, so the first one does it for all.
#include "engine/engine_tls.h"

#include "engine/gate.h"
#include "obs/log.h"

#define PROBLEM_SIZE 512

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

enum weir_result engine_load_certificate(struct engine_shard *shard, char *problem, size_t size)
{
    fill_settings(shard);
    enum weir_result result = tls_server_load(&shard->tls, &shard->tls_settings, problem, size);
    note_expiry(shard);
    return result;
}

static void log_reload(struct engine_shard *shard, bool ok, const char *problem)
{
    struct log_line line;
    log_begin(&line, ok ? LOG_TLS_RELOADED : LOG_TLS_RELOAD_FAILED);
    log_text(&line, "certificate", shard->tls_settings.certificate_path);
    if (!ok) {
        log_text(&line, "reason", problem);
    }
    log_end(&line);
}

static void note_reload(struct engine_shard *shard, bool ok, const char *problem)
{
    engine_count(shard, ok ? ENGINE_CERT_RELOADS_OK : ENGINE_CERT_RELOADS_FAILED);
    note_expiry(shard);
    if (atomic_exchange(&shard->engine->noted_stamp, shard->tls.stamp) != shard->tls.stamp) {
        log_reload(shard, ok, problem);
    }
}

void engine_refresh_certificate(struct engine_shard *shard)
{
    char problem[PROBLEM_SIZE] = "";
    enum tls_refresh outcome = tls_server_refresh(
        &shard->tls, &shard->tls_settings, worker_now(shard->worker), problem, sizeof problem);
    if (outcome != TLS_UNCHANGED) {
        note_reload(shard, outcome == TLS_RELOADED, problem);
    }
}

void engine_reload_certificate(struct engine_shard *shard)
{
    fill_settings(shard);
    shard->tls.looked_ns = 0;
    engine_refresh_certificate(shard);
}
