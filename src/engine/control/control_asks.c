// SPDX-License-Identifier: Apache-2.0
// Streams that visitors' workers ask of an agent. At most so many are under way at once, because
// agents drop what goes beyond (spec section 4.10); the rest waits here, bounded.
//
//   proxied.c ──ask──► [waiting] ──► sent ──► ProxyConnRsp ──► back with a verdict
//                          │           └────► bound, timed out, cancelled: forgotten
//                          └────────────────► channel or tunnel ends: back with GONE
//
// Invariants:
// 1. An ask is in control->asks from its arrival until it is given back or freed; outstanding
//    counts those of them that are not in waiting_asks.
// 2. A ProxyConnRsp that accepts settles an ask here (the agent has dialled), and completes nothing
//    there: only the connection itself does (4.10, "7 and 4 race").
#include "engine/control/control.h"

#include "base/mem.h"

void ask_free(struct ask *ask)
{
    tunnel_unref(ask->tunnel);
    mem_free(ask);
}

static void give_back(struct engine_shard *shard, struct ask *ask, enum verdict verdict)
{
    ask->verdict = verdict;
    if (ask->from == shard->worker->index) {
        worker_defer(shard->worker, &ask->job, proxied_take_verdict);
    } else {
        worker_post(&shard->engine->crew->workers[ask->from], &ask->job, proxied_take_verdict);
    }
}

static void send_ask(struct control *control, struct ask *ask)
{
    control->outstanding++;
    control_send(control, &(struct rstrm_message){.kind = RSTRM_PROXY_CONN_REQ,
                              .proxy_conn_req = {
                                  .tunnel_id = slice_str(ask->tunnel->id),
                                  .stream_id = slice_str(ask->id),
                                  .secret = slice_str(ask->secret),
                                  .source_ip = &ask->source,
                              }});
}

static void send_waiting(struct control *control)
{
    size_t max = control->shard->engine->config->limit_outstanding_per_channel;
    while (control->state != CONTROL_GONE && control->outstanding < max) {
        struct list *node = list_pop_front(&control->waiting_asks);
        if (node == NULL) {
            return;
        }
        control->waiting_count--;
        send_ask(control, container_of(node, struct ask, waiting_node));
    }
}

void control_ask(struct engine_shard *shard, struct ask *ask)
{
    const struct engine_config *config = shard->engine->config;
    struct control *control = control_find(shard, ask->tunnel->channel);
    if (control == NULL || !atomic_load(&ask->tunnel->open)) {
        give_back(shard, ask, VERDICT_GONE);
        return;
    }
    bool wait = control->outstanding >= config->limit_outstanding_per_channel;
    if ((wait && control->waiting_count >= config->limit_queued_per_channel) ||
        map_insert(&control->asks, &ask->node, slice_str(ask->id)) != WEIR_OK) {
        give_back(shard, ask, VERDICT_FULL);
        return;
    }
    list_init(&ask->waiting_node);
    if (wait) {
        list_push_back(&control->waiting_asks, &ask->waiting_node);
        control->waiting_count++;
    } else {
        send_ask(control, ask);
    }
}

// Out of the books, and the next one may go.
static void take_out(struct control *control, struct ask *ask)
{
    map_remove(&control->asks, &ask->node);
    if (list_linked(&ask->waiting_node)) {
        list_remove(&ask->waiting_node);
        control->waiting_count--;
    } else {
        control->outstanding--;
    }
}

static struct ask *find_ask(const struct control *control, struct slice stream_id)
{
    struct map_node *node = map_find(&control->asks, stream_id);
    return node == NULL ? NULL : container_of(node, struct ask, node);
}

void control_forget(struct engine_shard *shard, uint64_t channel, struct slice stream_id)
{
    struct control *control = control_find(shard, channel);
    struct ask *ask = control == NULL ? NULL : find_ask(control, stream_id);
    if (ask == NULL) {
        return;
    }
    take_out(control, ask);
    ask_free(ask);
    send_waiting(control);
}

void control_answer(struct control *control, const struct rstrm_proxy_conn_rsp *answer)
{
    struct ask *ask = find_ask(control, answer->stream_id);
    if (ask == NULL || list_linked(&ask->waiting_node)) {
        return; // bound already, given up, or never asked for
    }
    take_out(control, ask);
    give_back(control->shard, ask, answer->error == NULL ? VERDICT_ACCEPTED : VERDICT_REFUSED);
    send_waiting(control);
}

void control_drop_asks(struct control *control, const struct tunnel *tunnel)
{
    struct map_node *node = map_next(&control->asks, NULL);
    while (node != NULL) {
        struct ask *ask = container_of(node, struct ask, node);
        node = map_next(&control->asks, node);
        if (tunnel == NULL || (ask->tunnel == tunnel && list_linked(&ask->waiting_node))) {
            take_out(control, ask);
            give_back(control->shard, ask, VERDICT_GONE);
        }
    }
}
