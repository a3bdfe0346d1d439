// SPDX-License-Identifier: Apache-2.0
// Who asks where the nodes are: one connection to one of the place's seeds, the next one when that
// fails.
//
//   sentinels  ASKING ──address──► LISTENING to +switch-master ──a node fails──► next sentinel
//   cluster    ASKING ──slots────► RESTING ──a node fails, MOVED, every 10 s──► ASKING
//
// A sentinel that listens cannot be asked (RESP2), so asking again means connecting again.
#include <hiredis/hiredis.h>

#include "base/number.h"
#include "base/time.h"
#include "redis/client_internal.h"

#define PING_NS (2 * NS_PER_S)
#define AGAIN_NS (NS_PER_S / 5)
#define CLUSTER_LOOK_NS (10 * NS_PER_S)
#define REPLY_MAX (4u * 1024 * 1024)
#define PENDING_MAX 16

enum scout_tag { TAG_MASTER, TAG_LISTEN, TAG_SHARDED, TAG_SLOTS };

static struct slice word_of(const redisReply *reply)
{
    return reply->type == REDIS_REPLY_STRING ? slice_of(reply->str, (size_t)reply->len)
                                             : SLICE_EMPTY;
}

// ---- Asking

static void ask(struct redis_client *client)
{
    struct redis_link *link = &client->scout;
    bool ok;
    client->scout_step = SCOUT_ASKING;
    client->scout_again = false;
    if (client->options.place->kind == REDIS_SENTINEL) {
        struct slice words[] = {SLICE("SENTINEL"), SLICE("GET-MASTER-ADDR-BY-NAME"),
            slice_str(client->options.place->name)};
        ok = redis_link_send(link, TAG_MASTER, words, 3);
    } else {
        struct slice info[] = {SLICE("COMMAND"), SLICE("INFO"), SLICE("SSUBSCRIBE")};
        struct slice slots[] = {SLICE("CLUSTER"), SLICE("SLOTS")};
        ok = redis_link_send(link, TAG_SHARDED, info, 3) &&
             redis_link_send(link, TAG_SLOTS, slots, 2);
    }
    if (!ok) {
        redis_link_restart(link, REDIS_FAULT_MEMORY);
    }
}

// The next seed; the link goes there by itself.
static void turn_to_next(struct redis_client *client)
{
    const struct redis_place *place = client->options.place;
    client->scout_at = (client->scout_at + 1) % place->seed_count;
    client->scout_address = place->seeds[client->scout_at];
    client->scout_step = SCOUT_RESTING;
}

static void give_up_seed(struct redis_client *client, enum redis_fault fault)
{
    redis_link_restart(&client->scout, fault); // calls on_lost
}

void scout_ask_again(struct redis_client *client)
{
    if (client->options.place->kind == REDIS_SINGLE || client->closing ||
        (client->scout_again && timer_armed(&client->scout_timer))) {
        return; // not put off by being called again
    }
    client->scout_again = true;
    if (client->scout_step != SCOUT_ASKING && redis_link_is_ready(&client->scout)) {
        worker_arm_in(client->worker, &client->scout_timer, AGAIN_NS);
    }
}

static void on_scout_timer(struct timer *timer)
{
    struct redis_client *client = container_of(timer, struct redis_client, scout_timer);
    if (!redis_link_is_ready(&client->scout)) {
        return; // asks when it is
    }
    if (client->scout_step == SCOUT_LISTENING) {
        give_up_seed(client, REDIS_FAULT_SWITCHED);
    } else if (client->scout_step == SCOUT_RESTING) {
        ask(client);
    }
}

static void rest(struct redis_client *client, enum scout_step step)
{
    client->scout_fault = REDIS_FAULT_NONE;
    client->scout_step = step;
    if (client->scout_again) {
        worker_arm_in(client->worker, &client->scout_timer, AGAIN_NS);
    } else if (step == SCOUT_RESTING) {
        worker_arm_in(client->worker, &client->scout_timer, CLUSTER_LOOK_NS);
    }
}

// ---- Sentinels

static bool read_address(struct slice host, struct slice port, struct redis_address *ret_address)
{
    uint64_t number;
    if (host.len == 0 || !slice_to_text(host, ret_address->host, sizeof ret_address->host) ||
        number_parse_u64(port, 65535, &number) != WEIR_OK || number == 0) {
        return false;
    }
    ret_address->port = (uint16_t)number;
    return true;
}

static bool same_address(const struct redis_address *a, const struct redis_address *b)
{
    return a->port == b->port && slice_eq(slice_str(a->host), slice_str(b->host));
}

static void use_master(struct redis_client *client, const struct redis_address *address)
{
    struct redis_node *node = &client->nodes[0];
    if (!client->mapped) {
        client->mapped = true;
        node_open(client, 0, address);
        nodes_place_channels(client);
        client_judge(client);
    } else if (!same_address(&node->address, address)) {
        node->address = *address;
        for (unsigned lane = 0; lane < LANE_COUNT; lane++) {
            redis_link_restart(&node->links[lane], REDIS_FAULT_SWITCHED);
        }
    }
}

static void take_master(struct redis_client *client, const redisReply *reply)
{
    struct redis_address address;
    struct slice words[] = {SLICE("SUBSCRIBE"), SLICE("+switch-master")};
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
        !read_address(word_of(reply->element[0]), word_of(reply->element[1]), &address)) {
        give_up_seed(client, REDIS_FAULT_SENTINEL);
        return;
    }
    rest(client, SCOUT_LISTENING);
    use_master(client, &address);
    if (redis_link_is_ready(&client->scout) &&
        !redis_link_send(&client->scout, TAG_LISTEN, words, 2)) {
        give_up_seed(client, REDIS_FAULT_MEMORY);
    }
}

// "name old-host old-port new-host new-port"
static void take_switch(struct redis_client *client, struct slice text)
{
    struct slice words[5];
    struct redis_address address;
    for (unsigned i = 0; i < 5; i++) {
        if (!slice_split(&text, ' ', &words[i])) {
            return;
        }
    }
    if (slice_eq(words[0], slice_str(client->options.place->name)) &&
        read_address(words[3], words[4], &address)) {
        use_master(client, &address);
    }
}

static bool on_pushed(void *arg, const struct redisReply *reply)
{
    struct redis_client *client = arg;
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 3 ||
        !slice_eq(word_of(reply->element[0]), SLICE("message"))) {
        return false;
    }
    take_switch(client, word_of(reply->element[2]));
    return true;
}

// ---- Cluster

uint8_t node_find(const struct redis_client *client, const struct redis_address *address)
{
    for (uint8_t i = 0; i < client->node_count; i++) {
        if (client->nodes[i].in_use && same_address(&client->nodes[i].address, address)) {
            return i;
        }
    }
    return NODE_NONE;
}

// A node there is, or room for it.
static uint8_t find_or_open_node(struct redis_client *client, const struct redis_address *address)
{
    uint8_t found = node_find(client, address);
    for (uint8_t i = 0; found == NODE_NONE && i < client->node_count; i++) {
        if (node_is_gone(&client->nodes[i])) {
            node_open(client, i, address);
            found = i;
        }
    }
    return found;
}

// One element of CLUSTER SLOTS: [first, last, [host, port, …], …]
static void take_range(struct redis_client *client, const redisReply *range, bool used[NODES_MAX])
{
    if (range->type != REDIS_REPLY_ARRAY || range->elements < 3 ||
        range->element[0]->type != REDIS_REPLY_INTEGER ||
        range->element[1]->type != REDIS_REPLY_INTEGER ||
        range->element[2]->type != REDIS_REPLY_ARRAY || range->element[2]->elements < 2 ||
        range->element[2]->element[1]->type != REDIS_REPLY_INTEGER) {
        return;
    }
    long long first = range->element[0]->integer;
    long long last = range->element[1]->integer;
    long long port = range->element[2]->element[1]->integer;
    struct slice host = word_of(range->element[2]->element[0]);
    struct redis_address address = {.port = (uint16_t)port};
    if (host.len == 0 || slice_eq(host, SLICE("?"))) {
        host = slice_str(client->scout_address.host); // it does not know its own address
    }
    if (first < 0 || first > last || last >= REDIS_SLOT_COUNT || port <= 0 || port > 65535 ||
        !slice_to_text(host, address.host, sizeof address.host)) {
        return;
    }
    uint8_t node = find_or_open_node(client, &address);
    if (node != NODE_NONE) {
        used[node] = true;
        memset(client->slots + first, node, (size_t)(last - first + 1));
    }
}

static void take_slots(struct redis_client *client, const redisReply *reply)
{
    bool used[NODES_MAX] = {false};
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements == 0) {
        give_up_seed(client, REDIS_FAULT_SLOTS);
        return;
    }
    memset(client->slots, NODE_NONE, REDIS_SLOT_COUNT);
    for (size_t i = 0; i < reply->elements; i++) {
        take_range(client, reply->element[i], used);
    }
    client->mapped = true;
    rest(client, SCOUT_RESTING);
    nodes_place_channels(client);
    for (unsigned i = 0; i < client->node_count; i++) {
        if (client->nodes[i].in_use && !used[i]) {
            node_close(&client->nodes[i]);
        }
    }
    client_judge(client);
}

// ---- The link

static void on_ready(void *arg)
{
    ask(arg);
}

static void on_replied(void *arg, uint64_t tag, const struct redisReply *reply)
{
    struct redis_client *client = arg;
    enum redis_fault fault = redis_fault_of(reply);
    if (tag == TAG_SHARDED) {
        // Those who may not ask get what every Redis has.
        client->sharded = reply->type == REDIS_REPLY_ARRAY && reply->elements == 1 &&
                          reply->element[0]->type == REDIS_REPLY_ARRAY;
    } else if (fault != REDIS_FAULT_NONE) {
        give_up_seed(client, fault);
    } else if (tag == TAG_MASTER) {
        take_master(client, reply);
    } else if (tag == TAG_SLOTS) {
        take_slots(client, reply);
    }
}

static void on_failed(void *arg)
{
    struct redis_client *client = arg;
    client->scout_fault = client->scout.fault;
    turn_to_next(client);
    client_judge(client);
}

static void on_gone(void *arg)
{
    client_note_gone(arg);
}

enum weir_result scout_open(struct redis_client *client)
{
    const struct redis_client_options *from = &client->options;
    struct redis_link_options options = {
        .place = from->place,
        .address = &client->scout_address,
        .tls = client->tls,
        .connect_ns = from->connect_ns,
        .answer_ns = from->answer_ns,
        .ping_ns = PING_NS,
        .reply_max = REPLY_MAX,
        .pending_max = PENDING_MAX,
        .sentinel = from->place->kind == REDIS_SENTINEL,
    };
    struct redis_link_hooks hooks = {
        .ready = on_ready,
        .replied = on_replied,
        .pushed = on_pushed,
        .lost = on_failed,
        .failed = on_failed,
        .gone = on_gone,
        .arg = client,
    };
    timer_init(&client->scout_timer, on_scout_timer);
    client->scout_at = (unsigned)(client->nonce % from->place->seed_count);
    client->scout_address = from->place->seeds[client->scout_at];
    return redis_link_open(&client->scout, client->worker, &options, &hooks);
}

void scout_close(struct redis_client *client)
{
    if (client->options.place->kind != REDIS_SINGLE) {
        timer_cancel(&client->scout_timer);
    }
    redis_link_close(&client->scout);
}
