// SPDX-License-Identifier: Apache-2.0
// A node and its connections.
//
//   commands READY ─────────────────────────────────────┐
//   events READY ─► every channel of its slots, then     ├─► PUBLISH token ─► it comes back ─► up
//                   the probe's own, is subscribed ──────┘
//
// 1. A node is up only while both connections stand that the last probe went through.
// 2. The probe's channel is subscribed last, and a Redis answers in order: when it is, all are.
// 3. A channel is subscribed at one node at most; channel->node says which was asked.
#include <hiredis/hiredis.h>
#include <stdio.h>

#include "base/number.h"
#include "base/time.h"
#include "redis/client_internal.h"

#define EVENTS_PING_NS (2 * NS_PER_S)
#define LOOK_NS (2 * NS_PER_S)
#define PROBE_TRIES_MAX 4000000u

// The upper byte of a tag. What the owner asked has 0.
#define KIND_SHIFT 56
enum kind {
    KIND_OWNER,
    KIND_ASKING,
    KIND_PROBE,
    KIND_ROLE,
    KIND_SUBSCRIBE,
    KIND_UNSUBSCRIBE,
    KIND_PROBE_CHANNEL
};

static uint64_t tag_of(enum kind kind)
{
    return (uint64_t)kind << KIND_SHIFT;
}

static enum kind kind_of(uint64_t tag)
{
    return (enum kind)(tag >> KIND_SHIFT);
}

static uint8_t index_of(const struct redis_node *node)
{
    return (uint8_t)(node - node->client->nodes);
}

struct redis_node *node_of(struct redis_client *client, struct slice key)
{
    if (!client->mapped) {
        return NULL;
    }
    uint8_t index = client->slots == NULL ? 0 : client->slots[redis_slot(key)];
    return index == NODE_NONE || !client->nodes[index].in_use ? NULL : &client->nodes[index];
}

static struct slice word_of(const redisReply *reply)
{
    return reply->type == REDIS_REPLY_STRING || reply->type == REDIS_REPLY_STATUS
               ? slice_of(reply->str, (size_t)reply->len)
               : SLICE_EMPTY;
}

// ---- Up and down

static void node_is_down(struct redis_node *node)
{
    node->up = false;
    node->probe_token[0] = '\0';
    timer_cancel(&node->probe_deadline);
    scout_ask_again(node->client);
    client_judge(node->client);
}

static void probe(struct redis_node *node)
{
    struct redis_client *client = node->client;
    struct redis_link *commands = &node->links[LANE_COMMANDS];
    if (!node->probing || !redis_link_is_ready(commands)) {
        return;
    }
    int len = snprintf(node->probe_token, sizeof node->probe_token, "%016llx-%llu",
        (unsigned long long)client->nonce, (unsigned long long)++client->probe_count);
    struct slice words[] = {client->sharded ? SLICE("SPUBLISH") : SLICE("PUBLISH"),
        slice_str(node->probe_channel), slice_of(node->probe_token, (size_t)len)};
    worker_arm_in(client->worker, &node->probe_deadline, client->options.answer_ns);
    if (!redis_link_send(commands, tag_of(KIND_PROBE), words, 3)) {
        redis_link_restart(commands, REDIS_FAULT_TOO_LARGE);
    }
}

static void on_probe_deadline(struct timer *timer)
{
    struct redis_node *node = container_of(timer, struct redis_node, probe_deadline);
    redis_link_restart(&node->links[LANE_EVENTS], REDIS_FAULT_PROBE);
}

static void take_probe(struct redis_node *node, struct slice token)
{
    if (node->probe_token[0] == '\0' || !slice_eq(token, slice_str(node->probe_token))) {
        return; // of an earlier connection
    }
    node->probe_token[0] = '\0';
    timer_cancel(&node->probe_deadline);
    node->up = true;
    client_judge(node->client);
}

// The probe's channel must lie in a slot of this node, or a cluster sends us elsewhere.
static bool name_probe(struct redis_node *node)
{
    struct redis_client *client = node->client;
    for (unsigned i = 0; i < PROBE_TRIES_MAX; i++) {
        int len = snprintf(node->probe_channel, sizeof node->probe_channel, "%.*s:probe:%016llx:%u",
            SLICE_ARG(client->options.prefix), (unsigned long long)client->nonce, i);
        if (len < 0 || (size_t)len >= sizeof node->probe_channel) {
            return false;
        }
        if (node_of(client, slice_of(node->probe_channel, (size_t)len)) == node) {
            return true;
        }
    }
    return false;
}

// ---- Channels

void channel_ask(struct redis_client *client, struct redis_channel *channel)
{
    struct slice name = channel->map_node.key;
    struct redis_node *node = node_of(client, name);
    struct slice words[] = {client->sharded ? SLICE("SSUBSCRIBE") : SLICE("SUBSCRIBE"), name};
    channel->subscribed = false;
    channel->node = NODE_NONE;
    if (node == NULL || !redis_link_is_ready(&node->links[LANE_EVENTS])) {
        return;
    }
    if (redis_link_send(&node->links[LANE_EVENTS], tag_of(KIND_SUBSCRIBE), words, 2)) {
        channel->node = index_of(node);
    } else {
        redis_link_restart(&node->links[LANE_EVENTS], REDIS_FAULT_TOO_LARGE);
    }
}

void channel_leave(struct redis_client *client, struct redis_channel *channel)
{
    struct slice words[] = {
        client->sharded ? SLICE("SUNSUBSCRIBE") : SLICE("UNSUBSCRIBE"), channel->map_node.key};
    struct redis_link *events =
        channel->node == NODE_NONE ? NULL : &client->nodes[channel->node].links[LANE_EVENTS];
    channel->subscribed = false;
    channel->node = NODE_NONE;
    if (events != NULL && redis_link_is_ready(events) &&
        !redis_link_send(events, tag_of(KIND_UNSUBSCRIBE), words, 2)) {
        redis_link_restart(events, REDIS_FAULT_TOO_LARGE);
    }
}

static struct redis_channel *channel_find(struct redis_client *client, struct slice name)
{
    struct map_node *found = map_find(&client->channels, name);
    return found == NULL ? NULL : container_of(found, struct redis_channel, map_node);
}

static void place_blocking(struct redis_client *client);

void nodes_place_channels(struct redis_client *client)
{
    struct map_node *at = NULL;
    while ((at = map_next(&client->channels, at)) != NULL) {
        struct redis_channel *channel = container_of(at, struct redis_channel, map_node);
        struct redis_node *node = node_of(client, at->key);
        if (node == NULL || channel->node != index_of(node)) {
            channel_leave(client, channel);
            channel_ask(client, channel);
        }
    }
    place_blocking(client);
}

static void forget_channels_of(struct redis_node *node)
{
    struct map_node *at = NULL;
    while ((at = map_next(&node->client->channels, at)) != NULL) {
        struct redis_channel *channel = container_of(at, struct redis_channel, map_node);
        if (channel->node == index_of(node)) {
            channel->node = NODE_NONE;
            channel->subscribed = false;
        }
    }
}

// ---- Events

static void on_events_ready(void *arg)
{
    struct redis_node *node = arg;
    struct redis_client *client = node->client;
    struct redis_link *events = &node->links[LANE_EVENTS];
    nodes_place_channels(client);
    if (!name_probe(node)) {
        redis_link_restart(events, REDIS_FAULT_SLOTS);
        return;
    }
    struct slice words[] = {
        client->sharded ? SLICE("SSUBSCRIBE") : SLICE("SUBSCRIBE"), slice_str(node->probe_channel)};
    if (redis_link_is_ready(events) &&
        !redis_link_send(events, tag_of(KIND_PROBE_CHANNEL), words, 2)) {
        redis_link_restart(events, REDIS_FAULT_TOO_LARGE);
    }
}

static void on_events_lost(void *arg)
{
    struct redis_node *node = arg;
    node->probing = false;
    forget_channels_of(node);
    node_is_down(node);
}

static void on_any_failed(void *arg)
{
    node_is_down(arg);
}

static void take_subscribed(struct redis_node *node, const redisReply *reply)
{
    struct redis_client *client = node->client;
    struct slice name = reply->type == REDIS_REPLY_ARRAY && reply->elements == 3
                            ? word_of(reply->element[1])
                            : SLICE_EMPTY;
    struct redis_channel *channel = channel_find(client, name);
    if (channel != NULL && channel->node == index_of(node) && !channel->subscribed) {
        channel->subscribed = true;
        client->hooks.subscribed(client->hooks.arg, name);
    }
}

static void on_events_replied(void *arg, uint64_t tag, const struct redisReply *reply)
{
    struct redis_node *node = arg;
    enum redis_fault fault = redis_fault_of(reply);
    if (fault != REDIS_FAULT_NONE) {
        // Channels of a slot that has moved are asked for anew with all others.
        redis_link_restart(&node->links[LANE_EVENTS], fault);
        return;
    }
    if (kind_of(tag) == KIND_SUBSCRIBE) {
        take_subscribed(node, reply);
    } else if (kind_of(tag) == KIND_PROBE_CHANNEL) {
        node->probing = true;
        probe(node);
    }
}

// A slot has moved, and its channels have been unsubscribed for us.
static void take_eviction(struct redis_node *node, struct slice name)
{
    struct redis_channel *channel = channel_find(node->client, name);
    if (channel != NULL && channel->node == index_of(node)) {
        channel->subscribed = false;
        channel->node = NODE_NONE;
        scout_ask_again(node->client);
    }
}

static bool on_events_pushed(void *arg, const struct redisReply *reply)
{
    struct redis_node *node = arg;
    struct redis_client *client = node->client;
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 3) {
        return false;
    }
    struct slice what = word_of(reply->element[0]);
    struct slice name = word_of(reply->element[1]);
    if (slice_eq(what, SLICE("message")) || slice_eq(what, SLICE("smessage"))) {
        struct slice payload = word_of(reply->element[2]);
        if (slice_eq(name, slice_str(node->probe_channel))) {
            take_probe(node, payload);
        } else {
            client->hooks.message(client->hooks.arg, name, payload);
        }
        return true;
    }
    uint64_t next = redis_link_next_tag(&node->links[LANE_EVENTS]);
    if (slice_eq(what, SLICE("sunsubscribe")) &&
        (next >= REDIS_TAG_OWN || kind_of(next) != KIND_UNSUBSCRIBE)) {
        take_eviction(node, name);
        return true;
    }
    return false;
}

// ---- Commands

static void on_commands_ready(void *arg)
{
    struct redis_node *node = arg;
    worker_arm_in(node->client->worker, &node->look, LOOK_NS);
    probe(node);
}

static void on_commands_lost(void *arg)
{
    struct redis_node *node = arg;
    timer_cancel(&node->look);
    node_is_down(node);
}

static void on_look(struct timer *timer)
{
    struct redis_node *node = container_of(timer, struct redis_node, look);
    worker_arm_in(node->client->worker, &node->look, LOOK_NS);
    // Too much waits: then the answers' deadline says whether it is well.
    (void)redis_link_send(
        &node->links[LANE_COMMANDS], tag_of(KIND_ROLE), (struct slice[]){SLICE("ROLE")}, 1);
}

static void demote(struct redis_node *node, enum redis_fault fault)
{
    redis_link_restart(&node->links[LANE_EVENTS], fault);
    redis_link_restart(&node->links[LANE_COMMANDS], fault);
}

// What an answer says about the place, whoever asked.
static void learn(struct redis_node *node, enum redis_fault fault)
{
    if (fault == REDIS_FAULT_MOVED || fault == REDIS_FAULT_ASK || fault == REDIS_FAULT_TRYAGAIN ||
        fault == REDIS_FAULT_CLUSTERDOWN) {
        scout_ask_again(node->client);
    } else if (fault == REDIS_FAULT_READONLY || fault == REDIS_FAULT_MASTERDOWN) {
        demote(node, fault);
    }
}

static void on_commands_replied(void *arg, uint64_t tag, const struct redisReply *reply)
{
    struct redis_node *node = arg;
    struct redis_client *client = node->client;
    enum redis_fault fault = redis_fault_of(reply);
    enum kind kind = kind_of(tag);
    if (kind == KIND_OWNER) {
        client->hooks.replied(client->hooks.arg, tag, reply);
        if (client->closing) {
            return;
        }
    } else if (kind == KIND_ROLE && reply->type == REDIS_REPLY_ARRAY && reply->elements > 0 &&
               !slice_eq(word_of(reply->element[0]), SLICE("master"))) {
        fault = REDIS_FAULT_READONLY;
    } else if (kind == KIND_PROBE && fault != REDIS_FAULT_NONE) {
        redis_link_restart(&node->links[LANE_EVENTS], fault);
    }
    learn(node, fault);
}

// "MOVED 3999 10.0.0.1:6381", or ASK; the host is empty when the node does not know it.
static bool read_redirect(const redisReply *reply, struct redis_address *ret_address)
{
    struct slice text = slice_of(reply->str, (size_t)reply->len);
    struct slice word;
    uint64_t port;
    if (!slice_split(&text, ' ', &word) || !slice_split(&text, ' ', &word) || text.at == NULL) {
        return false;
    }
    size_t colon = text.len;
    while (colon > 0 && text.at[colon - 1] != ':') {
        colon--;
    }
    if (colon < 2 || number_parse_u64(slice_skip(text, colon), 65535, &port) != WEIR_OK) {
        return false;
    }
    ret_address->port = (uint16_t)port;
    return slice_to_text(slice_of(text.at, colon - 1), ret_address->host, sizeof ret_address->host);
}

enum redis_fault redis_client_follow(struct redis_client *client, const struct redisReply *reply,
    uint64_t tag, const struct slice *words, size_t count)
{
    enum redis_fault fault = redis_fault_of(reply);
    struct redis_address address;
    if (client->slots == NULL || client->closing ||
        (fault != REDIS_FAULT_MOVED && fault != REDIS_FAULT_ASK) ||
        !read_redirect(reply, &address)) {
        return fault == REDIS_FAULT_NONE ? REDIS_FAULT_OTHER : fault;
    }
    uint8_t index = node_find(client, &address);
    struct redis_link *link =
        index == NODE_NONE ? NULL : &client->nodes[index].links[LANE_COMMANDS];
    if (link == NULL || !redis_link_is_ready(link)) {
        return fault;
    }
    bool sent = (fault != REDIS_FAULT_ASK || redis_link_send(link, tag_of(KIND_ASKING),
                                                 (struct slice[]){SLICE("ASKING")}, 1)) &&
                redis_link_send(link, tag, words, count);
    return sent ? REDIS_FAULT_NONE : REDIS_FAULT_TOO_LARGE;
}

static void on_forsaken(void *arg, uint64_t tag)
{
    struct redis_node *node = arg;
    if (kind_of(tag) == KIND_OWNER) {
        node->client->hooks.replied(node->client->hooks.arg, tag, NULL);
    }
}

// ---- Blocking

static void on_blocking_ready(void *arg)
{
    struct redis_node *node = arg;
    node->client->hooks.blocking_ready(node->client->hooks.arg);
}

static void on_blocking_replied(void *arg, uint64_t tag, const struct redisReply *reply)
{
    struct redis_node *node = arg;
    enum redis_fault fault = redis_fault_of(reply);
    node->client->hooks.replied(node->client->hooks.arg, tag, reply);
    if (!node->client->closing && fault != REDIS_FAULT_NONE) {
        learn(node, fault);
        redis_link_restart(&node->links[LANE_BLOCKING], fault); // and asks anew, after a pause
    }
}

static void on_blocking_lost(void *arg)
{
    (void)arg; // the answer that will not come was told
}

static void on_gone(void *arg)
{
    struct redis_node *node = arg;
    client_note_gone(node->client);
}

// ---- Opening and closing

static void open_lane(struct redis_node *node, enum lane lane)
{
    static const struct redis_link_hooks hooks[LANE_COUNT] = {
        [LANE_COMMANDS] = {.ready = on_commands_ready,
            .replied = on_commands_replied,
            .lost = on_commands_lost,
            .failed = on_any_failed},
        [LANE_EVENTS] = {.ready = on_events_ready,
            .replied = on_events_replied,
            .pushed = on_events_pushed,
            .lost = on_events_lost,
            .failed = on_any_failed},
        [LANE_BLOCKING] = {.ready = on_blocking_ready,
            .replied = on_blocking_replied,
            .lost = on_blocking_lost},
    };
    struct redis_client *client = node->client;
    const struct redis_client_options *from = &client->options;
    struct redis_link_hooks mine = hooks[lane];
    mine.arg = node;
    mine.forsaken = on_forsaken;
    mine.gone = on_gone;
    struct redis_link_options options = {
        .place = from->place,
        .address = &node->address,
        .tls = client->tls,
        .connect_ns = from->connect_ns,
        .answer_ns = lane == LANE_BLOCKING ? from->blocking_ns : from->answer_ns,
        .ping_ns = lane == LANE_EVENTS ? EVENTS_PING_NS : 0,
        .reply_max = from->reply_max,
        .out_max = from->out_max,
        .pending_max = from->pending_max,
        .master = true,
    };
    if (redis_link_open(&node->links[lane], client->worker, &options, &mine) != WEIR_OK) {
        client->scout_fault = REDIS_FAULT_MEMORY; // the node never comes up, and that is why
    }
}

void node_open(struct redis_client *client, unsigned index, const struct redis_address *address)
{
    struct redis_node *node = &client->nodes[index];
    *node = (struct redis_node){.client = client, .address = *address, .in_use = true};
    timer_init(&node->probe_deadline, on_probe_deadline);
    timer_init(&node->look, on_look);
    open_lane(node, LANE_COMMANDS);
    open_lane(node, LANE_EVENTS);
}

void node_close(struct redis_node *node)
{
    if (!node->in_use) {
        return;
    }
    node->in_use = node->up = false;
    forget_channels_of(node);
    timer_cancel(&node->probe_deadline);
    timer_cancel(&node->look);
    for (unsigned i = 0; i < LANE_COUNT; i++) {
        redis_link_close(&node->links[i]);
    }
}

bool node_is_gone(const struct redis_node *node)
{
    bool gone = !node->in_use;
    for (unsigned i = 0; i < LANE_COUNT; i++) {
        gone = gone && redis_link_is_gone(&node->links[i]);
    }
    return gone;
}

static void place_blocking(struct redis_client *client)
{
    if (client->options.blocking_key.len == 0) {
        return;
    }
    struct redis_node *owner = node_of(client, client->options.blocking_key);
    for (unsigned i = 0; i < client->node_count; i++) {
        struct redis_node *node = &client->nodes[i];
        struct redis_link *link = &node->links[LANE_BLOCKING];
        if (node != owner) {
            redis_link_close(link);
        } else if (redis_link_is_gone(link)) {
            open_lane(node, LANE_BLOCKING);
        }
    }
}
