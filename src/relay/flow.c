// SPDX-License-Identifier: Apache-2.0
#include "relay/flow.h"

#include "base/mem.h"
#include "base/time.h"

#define GRACE_NS (1 * NS_PER_S)

struct peer_flow {
    struct peer *peer;
    struct timer throttle; // as a sender: until reading goes on
    struct timer grace;    // as a receiver: how long senders wait for it
    struct list blocked;   // as a receiver: blocked_on of the senders that wait for it
    struct list blocked_on;
    bool grace_over; // until the queue is low again
};

static bool is_blocked(const struct peer *sender)
{
    return sender->flow != NULL && list_linked(&sender->flow->blocked_on);
}

static void update_reading(struct peer *peer)
{
    bool throttled = peer->flow != NULL && timer_armed(&peer->flow->throttle);
    if (throttled || is_blocked(peer)) {
        ws_pause(&peer->ws);
    } else {
        ws_resume(&peer->ws);
    }
}

static void unblock_senders(struct peer_flow *receiver)
{
    for (struct list *node = list_pop_front(&receiver->blocked); node != NULL;
         node = list_pop_front(&receiver->blocked)) {
        update_reading(container_of(node, struct peer_flow, blocked_on)->peer);
    }
}

static void on_throttle_over(struct timer *timer)
{
    update_reading(container_of(timer, struct peer_flow, throttle)->peer);
}

static void on_grace_over(struct timer *timer)
{
    struct peer_flow *flow = container_of(timer, struct peer_flow, grace);
    flow->grace_over = true;
    unblock_senders(flow);
}

// Without memory nobody is slowed down; the bounds on queues still hold.
static struct peer_flow *flow_of(struct peer *peer)
{
    if (peer->flow == NULL) {
        peer->flow = mem_zalloc(sizeof *peer->flow);
        if (peer->flow == NULL) {
            return NULL;
        }
        peer->flow->peer = peer;
        timer_init(&peer->flow->throttle, on_throttle_over);
        timer_init(&peer->flow->grace, on_grace_over);
        list_init(&peer->flow->blocked);
        list_init(&peer->flow->blocked_on);
    }
    return peer->flow;
}

void flow_after_send(struct peer *sender, struct peer *receiver)
{
    if (!ws_is_backlogged(&receiver->ws) || is_blocked(sender) || !peer_is_open(sender) ||
        !peer_is_open(receiver)) {
        return;
    }
    struct peer_flow *flow = flow_of(receiver);
    if (flow == NULL || flow->grace_over || flow_of(sender) == NULL) {
        return;
    }
    if (!timer_armed(&flow->grace)) {
        worker_arm_in(receiver->shard->worker, &flow->grace, GRACE_NS);
    }
    list_push_back(&flow->blocked, &sender->flow->blocked_on);
    metrics_count(sender->shard->worker->metrics, METRIC_SOURCES_PAUSED);
    update_reading(sender);
}

void flow_release(struct peer *receiver)
{
    if (receiver->flow != NULL) {
        timer_cancel(&receiver->flow->grace);
        receiver->flow->grace_over = false;
        unblock_senders(receiver->flow);
    }
}

void flow_throttle(struct peer *peer, uint64_t wait_ns)
{
    struct peer_flow *flow = flow_of(peer);
    if (flow != NULL) {
        metrics_count(peer->shard->worker->metrics, METRIC_FRAMES_THROTTLED);
        worker_arm_in(peer->shard->worker, &flow->throttle, wait_ns);
        update_reading(peer);
    }
}

void flow_end(struct peer *peer)
{
    flow_release(peer);
    if (peer->flow != NULL) {
        list_remove(&peer->flow->blocked_on);
        timer_cancel(&peer->flow->throttle);
        mem_free(peer->flow);
        peer->flow = NULL;
    }
}
