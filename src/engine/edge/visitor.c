// SPDX-License-Identifier: Apache-2.0
#include "engine/edge/visitor.h"

#include <stdio.h>

#include "engine/config/config.h"
#include "engine/edge/edge.h"
#include "engine/edge/raw_stream.h"
#include "engine/shard.h"
#include "engine/upstream/upstream.h"
#include "engine/upstream/upstream_pool.h"
#include "obs/log.h"

void visitor_init(
    struct visitor *visitor, struct engine_shard *shard, const struct arrival *arrival)
{
    const struct engine *engine = shard->engine;
    unsigned port = engine->config->public_port != 0 ? (unsigned)engine->config->public_port
                                                     : engine->address.port;
    *visitor = (struct visitor){
        .shard = shard,
        .peer = arrival->peer,
        .tls_version = arrival->tls_version,
    };
    memcpy(visitor->sni, arrival->sni, sizeof visitor->sni);
    ip_to_text(&visitor->peer.ip, visitor->peer_text);
    (void)snprintf(visitor->port_text, sizeof visitor->port_text, "%u", port);
    upstream_pool_open(visitor);
}

uint64_t visitor_silence_ns(const struct exchange *exchange, bool request_done)
{
    const struct engine_config *config = exchange->visitor->shard->engine->config;
    uint64_t idle_s = config->limit_body_idle_s;
    uint64_t answer_s = 2 * config->stream_request_s + 1;
    bool waits = request_done && exchange->status == 0;
    return (waits && answer_s > idle_s ? answer_s : idle_s) * NS_PER_S;
}

// ---- What is held

// The more of the two.
static struct visitor *greedier(struct visitor *one, struct visitor *other)
{
    if (one == NULL || other == NULL) {
        return one == NULL ? other : one;
    }
    return one->held_bytes >= other->held_bytes ? one : other;
}

static uint64_t held_max(const struct engine_shard *shard)
{
    return shard->engine->config->limit_buffered_bytes / shard->engine->crew->count;
}

static void log_cut(const struct visitor *visitor)
{
    struct log_line line;
    log_begin(&line, LOG_VISITOR_CUT);
    log_text(&line, "visitor", visitor->peer_text);
    log_u64(&line, "bytes", visitor->held_bytes);
    log_text(&line, "reason", VISITOR_CUT_REASON);
    log_end(&line);
}

static void cut_greediest(struct engine_shard *shard)
{
    struct visitor *h1 = edge_h1_greediest(shard);
    struct visitor *h2 = edge_h2_greediest(shard);
    struct visitor *most = greedier(h1, h2);
    struct raw *raw = raw_stream_greediest(shard);
    struct upstream *upstream = upstream_greediest(shard);
    size_t of_visitor = most == NULL ? 0 : most->held_bytes;
    size_t of_raw = raw == NULL ? 0 : raw_stream_held(raw);
    size_t of_upstream = upstream == NULL ? 0 : upstream_held(upstream);
    weir_assert(of_visitor + of_raw + of_upstream > 0);
    engine_count(shard, ENGINE_VISITORS_CUT);
    if (of_upstream > of_visitor && of_upstream > of_raw) {
        upstream_cut_greedy(upstream);
        return;
    }
    if (of_raw > of_visitor) {
        raw_stream_cut_greedy(raw);
        return;
    }
    log_cut(most);
    if (most == h1) {
        edge_h1_cut(most);
    } else {
        edge_h2_cut(most);
    }
}

static void on_relief(struct worker *worker, struct job *job)
{
    struct engine_shard *shard = container_of(job, struct engine_shard, relief);
    (void)worker;
    while (shard->held_bytes > held_max(shard)) {
        cut_greediest(shard);
    }
}

void shard_hold(struct engine_shard *shard, size_t len)
{
    shard->held_bytes += len;
    engine_add(shard, ENGINE_BUFFERED_BYTES, (int64_t)len);
    if (shard->held_bytes > held_max(shard) && !list_linked(&shard->relief.node)) {
        worker_defer(shard->worker, &shard->relief, on_relief);
    }
}

void shard_release(struct engine_shard *shard, size_t len)
{
    weir_assert(shard->held_bytes >= len);
    shard->held_bytes -= len;
    engine_add(shard, ENGINE_BUFFERED_BYTES, -(int64_t)len);
}

void visitor_hold(struct visitor *visitor, size_t len)
{
    visitor->held_bytes += len;
    shard_hold(visitor->shard, len);
}

void visitor_release(struct visitor *visitor, size_t len)
{
    weir_assert(visitor->held_bytes >= len);
    visitor->held_bytes -= len;
    shard_release(visitor->shard, len);
}
