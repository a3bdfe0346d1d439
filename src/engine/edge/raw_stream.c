// SPDX-License-Identifier: Apache-2.0
#include "engine/edge/raw_stream.h"

#include "base/mem.h"
#include "base/time.h"
#include "engine/edge/census.h"
#include "engine/edge/visitor.h"
#include "obs/log.h"
#include "stream/pair.h"

// Nobody sends a byte for so long and still means to: a shell that was forgotten over lunch does.
// Dead peers are found by TCP long before.
#define IDLE_NS (3600 * NS_PER_S)
// One side has ended; an answer that is still to come begins within this.
#define HALF_IDLE_NS (300 * NS_PER_S)

struct raw {
    struct pair pair;
    struct engine_shard *shard;
    struct list node;               // in shard->raws
    struct tunnel *tunnel;          // a reference
    struct census_seat *front_seat; // owned
    enum proxied_kind kind;
};

static void log_end_of(const struct raw *raw, enum pair_end end)
{
    struct log_line line;
    log_begin(&line, LOG_RAW_STREAM_ENDED);
    log_text(&line, "tunnelId", raw->tunnel->id);
    log_text(&line, "hostname", raw->tunnel->hostname);
    log_text(&line, "reason", pair_end_text(end));
    log_u64(&line, "bytesToAgent", raw->pair.up.bytes);
    log_u64(&line, "bytesFromAgent", raw->pair.down.bytes);
    log_end(&line);
}

static void on_ended(struct pair *pair, enum pair_end end)
{
    struct raw *raw = container_of(pair, struct raw, pair);
    struct engine_shard *shard = raw->shard;
    log_end_of(raw, end);
    list_remove(&raw->node);
    proxied_ended(shard, raw->tunnel, raw->kind);
    tunnel_unref(raw->tunnel);
    census_leave(raw->front_seat);
    mem_free(raw);
    engine_note_departure(shard);
}

static void on_moved(struct pair *pair, uint64_t up, uint64_t down)
{
    struct raw *raw = container_of(pair, struct raw, pair);
    struct tunnel *tunnel = raw->tunnel;
    unsigned kind = raw->kind;
    if (up > 0) {
        engine_add(raw->shard, (enum engine_metric)(ENGINE_STREAM_BYTES_TO_AGENT_HTTP + kind),
            (int64_t)up);
        atomic_fetch_add_explicit(&tunnel->bytes_in, up, memory_order_relaxed);
    }
    if (down > 0) {
        engine_add(raw->shard, (enum engine_metric)(ENGINE_STREAM_BYTES_FROM_AGENT_HTTP + kind),
            (int64_t)down);
        atomic_fetch_add_explicit(&tunnel->bytes_out, down, memory_order_relaxed);
    }
}

static void on_held(struct pair *pair, size_t before, size_t now)
{
    struct engine_shard *shard = container_of(pair, struct raw, pair)->shard;
    if (now > before) {
        shard_hold(shard, now - before);
    } else {
        shard_release(shard, before - now);
    }
}

struct raw *raw_stream_greediest(struct engine_shard *shard)
{
    struct raw *most = NULL;
    list_for_each (node, &shard->raws) {
        struct raw *raw = container_of(node, struct raw, node);
        if (most == NULL || raw->pair.held_bytes > most->pair.held_bytes) {
            most = raw;
        }
    }
    return most;
}

size_t raw_stream_held(const struct raw *raw)
{
    return raw->pair.held_bytes;
}

void raw_stream_cut_greedy(struct raw *raw)
{
    struct log_line line;
    log_begin(&line, LOG_VISITOR_CUT);
    log_text(&line, "tunnelId", raw->tunnel->id);
    log_text(&line, "hostname", raw->tunnel->hostname);
    log_u64(&line, "bytes", raw->pair.held_bytes);
    log_text(&line, "reason", VISITOR_CUT_REASON);
    log_end(&line);
    pair_cut(&raw->pair);
}

void raw_stream_start(struct engine_shard *shard, struct raw_options *options)
{
    struct raw *raw = mem_zalloc(sizeof *raw);
    if (raw == NULL) {
        stream_state_drop(&options->front);
        stream_state_drop(&options->back);
        buf_reset(options->front_unread);
        buf_reset(options->back_unread);
        census_leave(options->front_seat);
        proxied_ended(shard, options->tunnel, options->kind);
        return;
    }
    raw->shard = shard;
    raw->tunnel = tunnel_ref(options->tunnel);
    raw->kind = options->kind;
    raw->front_seat = options->front_seat;
    list_push_back(&shard->raws, &raw->node);
    pair_open(&raw->pair, shard->worker,
        &(struct pair_options){
            .front = options->front,
            .back = options->back,
            .front_unread = options->front_unread,
            .back_unread = options->back_unread,
            .idle_ns = IDLE_NS,
            .half_idle_ns = HALF_IDLE_NS,
            .hold_ns = options->hold_ns,
            .whole_batches = true,
            .moved = on_moved,
            .held = on_held,
            .ended = on_ended,
        });
}

void raw_streams_cut(struct engine_shard *shard)
{
    list_for_each (node, &shard->raws) {
        pair_cut(&container_of(node, struct raw, node)->pair);
    }
}
