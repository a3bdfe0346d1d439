// SPDX-License-Identifier: Apache-2.0
// Series of single tunnels exist when the configuration allows some: their labels have no bound, so
// the oldest tunnels get them, up to that number.
#include "engine/metrics/metrics_page.h"

#include <stdio.h>

#include "engine/control/directory.h"
#include "obs/log.h"

#define PAGE_BYTES_MAX (64u * 1024 * 1024)
#define SETUP_TIMEOUT_NS (10 * NS_PER_S)
#define IDLE_TIMEOUT_NS (90 * NS_PER_S)
#define LABEL_SIZE (TUNNEL_HOST_SIZE + 16)

static void answer(struct http_conn *conn, unsigned status, const char *headers, const char *text)
{
    http_answer(conn, &(struct http_answer){.status = status,
                          .content_type = "text/plain; charset=utf-8",
                          .headers = headers,
                          .body = slice_str(text)});
}

// ---- Series of tunnels.

// Unique: no hostname has a colon.
static void tunnel_label(const struct tunnel *tunnel, char label[LABEL_SIZE])
{
    if (tunnel->protocol == TUNNEL_TCP) {
        snprintf(label, LABEL_SIZE, "tcp:%u", tunnel->port);
    } else if (tunnel->published) {
        snprintf(label, LABEL_SIZE, "%s", tunnel->hostname);
    } else {
        snprintf(
            label, LABEL_SIZE, "private:%s", tunnel->name[0] == '\0' ? tunnel->id : tunnel->name);
    }
}

static const struct {
    enum engine_family family;
    size_t offset; // of an _Atomic uint64_t in struct tunnel
} tunnel_series[] = {
    {ENGINE_FAMILY_TUNNEL_STREAMS_ACTIVE, offsetof(struct tunnel, streams_active)},
    {ENGINE_FAMILY_TUNNEL_STREAMS, offsetof(struct tunnel, streams_total)},
    {ENGINE_FAMILY_TUNNEL_BYTES_TO_AGENT, offsetof(struct tunnel, bytes_in)},
    {ENGINE_FAMILY_TUNNEL_BYTES_FROM_AGENT, offsetof(struct tunnel, bytes_out)},
};

static void write_tunnels(
    const struct engine *engine, size_t count_max, enum exposition exposition, struct buf *out)
{
    struct snapshot snapshot;
    if (count_max == 0 || !directory_snapshot(engine->directory, NULL, &snapshot)) {
        return;
    }
    size_t count = snapshot.tunnel_count < count_max ? snapshot.tunnel_count : count_max;
    for (size_t i = 0; i < sizeof tunnel_series / sizeof tunnel_series[0]; i++) {
        engine_metrics_family(tunnel_series[i].family, exposition, out);
        for (size_t j = 0; j < count; j++) {
            char label[LABEL_SIZE];
            const void *tunnel = snapshot.tunnels[j];
            const _Atomic uint64_t *value =
                (const void *)((const char *)tunnel + tunnel_series[i].offset);
            tunnel_label(tunnel, label);
            engine_metrics_sample(tunnel_series[i].family, slice_str(label),
                (int64_t)atomic_load_explicit(value, memory_order_relaxed), out);
        }
    }
    snapshot_fini(&snapshot);
}

// ---- Series of further certificates: what this worker serves, which is what all serve.

static void write_pairs(
    const struct engine_shard *shard, enum exposition exposition, struct buf *out)
{
    const struct tls_pairs *pairs = &shard->tls_pairs;
    if (pairs->count > 0) {
        engine_metrics_family(ENGINE_FAMILY_FURTHER_CERT_NOT_AFTER, exposition, out);
    }
    for (size_t i = 0; i < pairs->count; i++) {
        const struct tls_pair *pair = &pairs->items[i];
        engine_metrics_sample(ENGINE_FAMILY_FURTHER_CERT_NOT_AFTER,
            slice_str(pair->settings.certificate_path), tls_context_expiry(pair->current), out);
    }
}

// ---- The page.

static void answer_page(struct http_request *request, const struct engine_shard *shard)
{
    const struct engine *engine = shard->engine;
    const struct engine_config *config = engine->config;
    const struct http1_header *accept = http1_find(request->head, SLICE("accept"));
    enum exposition exposition = prometheus_choose(accept == NULL ? SLICE_EMPTY : accept->value);
    struct buf page = BUF_INIT(PAGE_BYTES_MAX);
    engine_metrics_write(
        engine->metrics, engine->crew->count, engine->crew->started_wall_ms, exposition, &page);
    write_pairs(shard, exposition, &page);
    write_tunnels(engine, config->metrics_tunnel_labels, exposition, &page);
    prometheus_end(&page, exposition);
    if (page.failed) {
        answer(request->conn, 500, NULL, "The page is too large.\n");
    } else {
        http_answer(request->conn, &(struct http_answer){.status = 200,
                                       .content_type = prometheus_content_type(exposition),
                                       .headers = "Cache-Control: no-store\r\n",
                                       .body = buf_slice(&page)});
    }
    buf_reset(&page);
}

// ---- Who may ask.

static bool token_fits(const struct engine_config *config, const struct http_request *request)
{
    const struct http1_header *header = http1_find(request->head, SLICE("authorization"));
    if (config->metrics_token == NULL) {
        return true; // then the listener is on loopback
    }
    if (header == NULL || http1_count(request->head, SLICE("authorization")) != 1 ||
        !slice_starts_with_nocase(header->value, SLICE("bearer "))) {
        return false;
    }
    return slice_eq_secret(
        slice_trim(slice_skip(header->value, 7)), slice_str(config->metrics_token));
}

static void refuse(struct http_request *request, struct engine_shard *shard)
{
    char ip[IP_TEXT_SIZE];
    struct log_line line;
    ip_to_text(&http_peer(request->conn)->ip, ip);
    engine_count(shard, ENGINE_METRICS_UNAUTHORIZED);
    log_begin(&line, LOG_METRICS_UNAUTHORIZED);
    log_text(&line, "ip", ip);
    log_end(&line);
    answer(request->conn, 401, "WWW-Authenticate: Bearer\r\n", "A bearer token is needed.\n");
}

// /healthz and /readyz; from other machines they are not there.
static bool answer_probe(struct http_request *request, const struct engine *engine)
{
    bool ready = slice_eq(request->path, SLICE("/readyz"));
    if ((!ready && !slice_eq(request->path, SLICE("/healthz"))) ||
        !ip_is_loopback(&http_peer(request->conn)->ip)) {
        return false;
    }
    if (ready && atomic_load(&engine->draining)) {
        answer(request->conn, 503, NULL, "draining\n");
    } else {
        answer(request->conn, 200, NULL, "ok\n");
    }
    return true;
}

static void on_request(struct http_request *request)
{
    struct engine_shard *shard = http_owner(request->conn);
    const struct engine_config *config = shard->engine->config;
    if (!slice_eq(request->head->method, SLICE("GET"))) {
        answer(request->conn, 405, "Allow: GET\r\n", "Only GET is possible here.\n");
    } else if (slice_eq(request->path, slice_str(config->metrics_path))) {
        if (token_fits(config, request)) {
            answer_page(request, shard);
        } else {
            refuse(request, shard);
        }
    } else if (!answer_probe(request, shard->engine)) {
        answer(request->conn, 404, NULL, "There is nothing here.\n");
    }
}

// ---- The listener.

static void on_failed(struct http_server *server, const struct ip *peer, enum http_failure failure)
{
    (void)server;
    (void)peer;
    (void)failure; // whoever broke a request to here is answered, and of no interest
}

static const struct http_route no_routes[] = {{0}};

enum weir_result engine_metrics_serve(struct engine_shard *shard, int fd)
{
    shard->metrics_options = (struct http_options){
        .routes = no_routes,
        .not_found = on_request,
        .failed = on_failed,
        .setup_timeout_ns = SETUP_TIMEOUT_NS,
        .idle_timeout_ns = IDLE_TIMEOUT_NS,
        .owner = shard,
    };
    return http_server_open(&shard->metrics_server, shard->worker, &shard->metrics_options, fd);
}
