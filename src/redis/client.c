// SPDX-License-Identifier: Apache-2.0
// 1. A client has gone when all its links have: redis_client_close begins that, client_note_gone
//    ends it. After `closing` no hook is called but `replied` with NULL, and `closed`.
// 2. `up` and `down` are told in turns, but that `down` is told again when the reason is another.
#include "redis/client.h"

#include <hiredis/hiredis.h>
#include <stdio.h>

#include "base/mem.h"
#include "redis/client_internal.h"
#include "stream/tls_context.h"
#include "sys/entropy.h"

// ---- Up and down

static const struct redis_link *wrong_link(const struct redis_client *client)
{
    for (unsigned i = 0; client->mapped && i < client->node_count; i++) {
        const struct redis_node *node = &client->nodes[i];
        for (unsigned lane = 0; node->in_use && lane <= LANE_EVENTS; lane++) {
            if (!redis_link_is_ready(&node->links[lane])) {
                return &node->links[lane];
            }
        }
    }
    return NULL;
}

enum redis_fault redis_client_fault(const struct redis_client *client)
{
    if (client->up) {
        return REDIS_FAULT_NONE;
    }
    const struct redis_link *link = wrong_link(client);
    enum redis_fault fault = link != NULL ? link->fault : client->scout_fault;
    return fault == REDIS_FAULT_NONE ? REDIS_FAULT_STARTING : fault;
}

void redis_client_problem(const struct redis_client *client, char *text, size_t size)
{
    const struct redis_link *link = wrong_link(client);
    if (client->up) {
        snprintf(text, size, "%s", "");
    } else if (link != NULL) {
        const struct redis_address *address = link->options.address;
        snprintf(text, size, "%s:%u: %s", address->host, address->port, link->problem);
    } else {
        snprintf(text, size, "%s", redis_fault_text(redis_client_fault(client)));
    }
}

void client_judge(struct redis_client *client)
{
    bool was_up = client->up;
    bool up = client->mapped;
    for (unsigned i = 0; i < client->node_count; i++) {
        up = up && (!client->nodes[i].in_use || client->nodes[i].up);
    }
    client->up = up;
    enum redis_fault fault = redis_client_fault(client);
    if (client->closing) {
        return;
    }
    if (up && !was_up) {
        client->told_fault = REDIS_FAULT_NONE;
        client->hooks.up(client->hooks.arg);
    } else if (!up && (was_up || fault != client->told_fault)) {
        client->told_fault = fault;
        client->hooks.down(client->hooks.arg, fault);
    }
}

bool redis_client_is_up(const struct redis_client *client)
{
    return client->up;
}

// ---- Commands

static enum redis_fault send_on(struct redis_client *client, struct redis_node *node,
    enum lane lane, uint64_t tag, const struct slice *words, size_t count)
{
    weir_assert(tag < REDIS_CLIENT_TAG_MAX);
    if (client->closing || node == NULL) {
        enum redis_fault fault = redis_client_fault(client);
        return fault == REDIS_FAULT_NONE ? REDIS_FAULT_SLOTS : fault;
    }
    struct redis_link *link = &node->links[lane];
    if (!redis_link_is_ready(link)) {
        return link->fault == REDIS_FAULT_NONE ? REDIS_FAULT_STARTING : link->fault;
    }
    return redis_link_send(link, tag, words, count) ? REDIS_FAULT_NONE : REDIS_FAULT_TOO_LARGE;
}

enum redis_fault redis_client_send(struct redis_client *client, struct slice key, uint64_t tag,
    const struct slice *words, size_t count)
{
    return send_on(client, node_of(client, key), LANE_COMMANDS, tag, words, count);
}

enum redis_fault redis_client_publish(
    struct redis_client *client, struct slice channel, uint64_t tag, struct slice payload)
{
    struct slice words[] = {
        client->sharded ? SLICE("SPUBLISH") : SLICE("PUBLISH"), channel, payload};
    return redis_client_send(client, channel, tag, words, 3);
}

enum redis_fault redis_client_send_blocking(
    struct redis_client *client, uint64_t tag, const struct slice *words, size_t count)
{
    struct redis_node *node = node_of(client, client->options.blocking_key);
    return send_on(client, node, LANE_BLOCKING, tag, words, count);
}

// ---- Channels

enum weir_result redis_client_subscribe(struct redis_client *client, struct slice channel)
{
    if (map_find(&client->channels, channel) != NULL) {
        return WEIR_OK;
    }
    if (channel.len > REDIS_CHANNEL_MAX) {
        return WEIR_TOO_LONG;
    }
    struct redis_channel *made = mem_zalloc(sizeof *made + channel.len + 1);
    if (made == NULL) {
        return WEIR_MEMORY;
    }
    made->name_len = channel.len;
    made->node = NODE_NONE;
    memcpy(made->name, channel.at, channel.len);
    if (map_insert(&client->channels, &made->map_node, slice_of(made->name, channel.len)) !=
        WEIR_OK) {
        mem_free(made);
        return WEIR_MEMORY;
    }
    channel_ask(client, made);
    return WEIR_OK;
}

void redis_client_unsubscribe(struct redis_client *client, struct slice channel)
{
    struct map_node *found = map_find(&client->channels, channel);
    if (found != NULL) {
        struct redis_channel *old = container_of(found, struct redis_channel, map_node);
        channel_leave(client, old);
        map_remove(&client->channels, found);
        mem_free(old);
    }
}

bool redis_client_is_subscribed(const struct redis_client *client, struct slice channel)
{
    const struct map_node *found = map_find(&client->channels, channel);
    return found != NULL && container_of(found, const struct redis_channel, map_node)->subscribed;
}

// ---- Life

static void drop_channels(struct redis_client *client)
{
    struct map_node *at = map_next(&client->channels, NULL);
    while (at != NULL) {
        struct map_node *next = map_next(&client->channels, at);
        map_remove(&client->channels, at);
        mem_free(container_of(at, struct redis_channel, map_node));
        at = next;
    }
    map_fini(&client->channels);
}

static void client_free(struct redis_client *client)
{
    drop_channels(client);
    SSL_CTX_free(client->tls);
    mem_free(client->nodes);
    mem_free(client->slots);
    mem_free(client);
}

static enum weir_result make_parts(struct redis_client *client)
{
    const struct redis_place *place = client->options.place;
    bool cluster = place->kind == REDIS_CLUSTER;
    client->node_count = cluster ? NODES_MAX : 1;
    client->nodes = mem_zalloc(client->node_count * sizeof *client->nodes);
    client->slots = cluster ? mem_alloc(REDIS_SLOT_COUNT) : NULL;
    if (client->nodes == NULL || (cluster && client->slots == NULL)) {
        return WEIR_MEMORY;
    }
    if (cluster) {
        memset(client->slots, NODE_NONE, REDIS_SLOT_COUNT);
    }
    client->tls = place->tls ? tls_client_new(place->ca_path, true) : NULL;
    return place->tls && client->tls == NULL ? WEIR_CRYPTO
                                             : sys_entropy(&client->nonce, sizeof client->nonce);
}

struct redis_client *redis_client_open(struct worker *worker,
    const struct redis_client_options *options, const struct redis_client_hooks *hooks,
    enum weir_result *ret_result)
{
    struct redis_client *client = mem_zalloc(sizeof *client);
    if (client == NULL) {
        *ret_result = WEIR_MEMORY;
        return NULL;
    }
    client->worker = worker;
    client->options = *options;
    client->hooks = *hooks;
    client->told_fault = REDIS_FAULT_STARTING; // which is no news
    map_init(&client->channels, &worker->seed);
    *ret_result = make_parts(client);
    if (*ret_result == WEIR_OK && options->place->kind == REDIS_SINGLE) {
        client->mapped = true;
        node_open(client, 0, &options->place->seeds[0]);
        nodes_place_channels(client);
    } else if (*ret_result == WEIR_OK) {
        *ret_result = scout_open(client);
    }
    if (*ret_result != WEIR_OK) {
        client_free(client);
        return NULL;
    }
    return client;
}

static bool all_gone(const struct redis_client *client)
{
    bool gone = redis_link_is_gone(&client->scout);
    for (unsigned i = 0; i < client->node_count; i++) {
        gone = gone && node_is_gone(&client->nodes[i]);
    }
    return gone;
}

void client_note_gone(struct redis_client *client)
{
    if (client->closing && all_gone(client)) {
        void (*closed)(void *) = client->hooks.closed;
        void *arg = client->hooks.arg;
        client_free(client);
        closed(arg);
    }
}

void redis_client_close(struct redis_client *client)
{
    if (client == NULL || client->closing) {
        return;
    }
    client->closing = true;
    scout_close(client);
    for (unsigned i = 0; i < client->node_count; i++) {
        node_close(&client->nodes[i]);
    }
    client_note_gone(client);
}
