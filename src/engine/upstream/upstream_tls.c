// SPDX-License-Identifier: Apache-2.0
// Invariants:
// 1. end is the only exit: with WEIR_OK the stream is detached and goes to `done`, otherwise it is
//    closed; `done` follows when the loop has let go of the descriptor, at the end of the turn.
// 2. cancel makes `done` NULL; what is under way still ends by 1.
#include "engine/upstream/upstream_tls.h"

#include "base/mem.h"
#include "base/time.h"
#include "engine/shard.h"
#include "stream/tls_stack.h"

#define HANDSHAKE_NS (10 * NS_PER_S) // spec section 6.9

// By enum upstream_tls_offer, in wire form.
static const struct slice offers[] = {
    [UPSTREAM_TLS_NO_ALPN] = {"", 0},
    [UPSTREAM_TLS_HTTP1] = {"\x08http/1.1", 9},
    [UPSTREAM_TLS_HTTP] = {"\x02h2\x08http/1.1", 12},
};

struct upstream_tls {
    struct stream stream;
    struct timer timer;
    upstream_tls_fn *done; // NULL: nobody waits
    void *arg;
    struct stream_state state; // between the detachment and done
    enum weir_result result;
    bool ended;
};

static void on_gone(struct stream *stream)
{
    struct upstream_tls *tls = container_of(stream, struct upstream_tls, stream);
    if (tls->done != NULL) {
        tls->done(tls->arg, tls->result, tls->result == WEIR_OK ? &tls->state : NULL);
    } else if (tls->result == WEIR_OK) {
        stream_state_drop(&tls->state);
    }
    mem_free(tls);
}

static void end(struct upstream_tls *tls, enum weir_result result)
{
    if (tls->ended) {
        return;
    }
    tls->ended = true;
    tls->result = result;
    timer_cancel(&tls->timer);
    if (result == WEIR_OK) {
        stream_detach(&tls->stream, &tls->state, on_gone);
    } else {
        stream_close(&tls->stream, true, on_gone);
    }
}

static void go_on(struct upstream_tls *tls)
{
    enum weir_result result = stream_handshake(&tls->stream);
    if (result != WEIR_AGAIN) {
        end(tls, result);
    }
}

static void on_ready(struct stream *stream, unsigned events)
{
    (void)events;
    go_on(container_of(stream, struct upstream_tls, stream));
}

static void on_late(struct timer *timer)
{
    end(container_of(timer, struct upstream_tls, timer), WEIR_TIMEOUT);
}

static bool push_session(struct engine_shard *shard, const struct tunnel *tunnel,
    struct slice offer, struct stream_state *state)
{
    if (shard->upstream_tls == NULL) {
        shard->upstream_tls = tls_stack_context_new(shard->tls.library);
    }
    return shard->upstream_tls != NULL &&
           tls_stack_push(state, shard->upstream_tls, tunnel->hostname, offer) == WEIR_OK;
}

struct upstream_tls *upstream_tls_start(struct engine_shard *shard, const struct tunnel *tunnel,
    enum upstream_tls_offer offer, struct stream_state *state, upstream_tls_fn *done, void *arg)
{
    struct upstream_tls *tls = mem_zalloc(sizeof *tls);
    if (tls == NULL || !push_session(shard, tunnel, offers[offer], state)) {
        stream_state_drop(state);
        mem_free(tls);
        return NULL;
    }
    if (stream_open(&tls->stream, shard->worker, state->fd, state->ssl, on_ready) != WEIR_OK) {
        mem_free(tls);
        return NULL;
    }
    tls->done = done;
    tls->arg = arg;
    timer_init(&tls->timer, on_late);
    worker_arm_in(shard->worker, &tls->timer, HANDSHAKE_NS);
    go_on(tls);
    return tls;
}

void upstream_tls_cancel(struct upstream_tls *tls)
{
    if (tls != NULL) {
        tls->done = NULL;
        end(tls, WEIR_CLOSED);
    }
}
