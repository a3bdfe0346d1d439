// SPDX-License-Identifier: Apache-2.0
// A client's frame without a daemon here:
//
//            known where?  ── yes ──────────────────────────┐
//   frame ──►              ── no ──► held ── answer ──► each in turn ──► a daemon here after all
//            others held?  ── yes ──► held                          ├──► published
//                                                                   └──► dropped, client told
//
// What is published has a ticket until the driver says how it ended.
//
// Invariants
//   1. Frames of a client leave in the order they came.
//   2. A line that holds frames waits for an answer.
//   3. Every frame that came here is counted once: as routed or as dropped.
#include "relay/backplane/outgoing.h"

#include "base/mem.h"
#include "obs/log.h"
#include "relay/backplane/core.h"
#include "relay/flow.h"
#include "relay/redirect.h"
#include "relay/status.h"
#include "sys/clock.h"

#define HELD_COUNT_MAX 256                 // of a client
#define HELD_BYTES_MAX (32u * 1024 * 1024) // of a worker
#define TEXT_KEPT_MAX (64 * 1024)

struct held {
    struct list node;
    size_t len;
    char bytes[]; // headroom, then len
};

struct client_line {
    struct presence_waiter waiter;
    struct peer *client;
    struct list held;
    size_t held_count;
    size_t held_bytes;
    struct list tickets;
    uint64_t redirected; // hash of the URL the client was told last; 0: none yet
};

struct bus_ticket {
    struct list node;    // in plane->tickets
    struct list of_line; // in line->tickets, while the client is here
    struct shard *shard;
    struct peer *client; // NULL: it has gone, or a daemon's
    uint64_t since_ns;
    enum metric routed;
    enum metric dropped;
};

static struct cell_name name_of(const struct cell *cell)
{
    return (struct cell_name){cell_workspace(cell), cell->target};
}

static void count(const struct shard *shard, enum metric metric)
{
    metrics_count(shard->worker->metrics, metric);
}

static void on_presence(
    struct presence_waiter *waiter, enum bus_end end, const struct presence *answer);

// NULL: it has ended, or memory ran out.
static struct client_line *line_of(struct peer *client)
{
    if (!peer_is_open(client)) {
        return NULL;
    }
    if (client->line == NULL) {
        struct client_line *line = mem_zalloc(sizeof *line);
        if (line == NULL) {
            return NULL;
        }
        presence_waiter_init(&line->waiter, on_presence);
        line->client = client;
        list_init(&line->held);
        list_init(&line->tickets);
        client->line = line;
    }
    return client->line;
}

// ---- Outcomes

static void drop(struct peer *client, const char *detail)
{
    struct log_line line;
    count(client->shard, METRIC_CLIENT_MESSAGES_DROPPED);
    log_begin(&line, LOG_CLIENT_MESSAGE_DROPPED);
    peer_log_identity(&line, client);
    log_text(&line, "reason", "daemon_unavailable");
    log_text(&line, "detail", detail);
    log_end(&line);
    status_send_daemon_unavailable(client);
}

static void log_publish(const struct bus_ticket *ticket, enum bus_end end)
{
    struct log_line line;
    bool refused = end == BUS_END_REFUSED || end == BUS_END_STATUS;
    log_begin(&line, refused ? LOG_RELAY_BUS_PUBLISH_FAILED : LOG_RELAY_BUS_PUBLISH_ERROR);
    log_text(&line, "reason", bus_end_label(end));
    log_text(&line, "direction",
        ticket->routed == METRIC_CLIENT_MESSAGES_ROUTED_BUS ? "client_to_daemon"
                                                            : "daemon_to_clients");
    log_end(&line);
}

static void account(const struct bus_ticket *ticket, enum bus_end end)
{
    struct shard *shard = ticket->shard;
    struct metrics_shard *metrics = shard->worker->metrics;
    uint64_t took_ns = worker_now(shard->worker) - ticket->since_ns;
    metrics_observe(
        metrics, HISTOGRAM_BACKPLANE_PUBLISH_SECONDS, (double)took_ns / (double)NS_PER_S);
    if (end == BUS_END_OK) {
        metrics_count(metrics, METRIC_BUS_PUBLISH_OK);
        metrics_count(metrics, ticket->routed);
        return;
    }
    metrics_count(metrics, METRIC_BUS_PUBLISH_FAILED);
    metrics_bus_failure(metrics, BUS_CALL_PUBLISH, end);
    log_publish(ticket, end);
}

void bus_ticket_end(struct bus_ticket *ticket, enum bus_end end)
{
    struct peer *client = ticket->client;
    account(ticket, end);
    if (end != BUS_END_OK && client == NULL) {
        count(ticket->shard, ticket->dropped);
    }
    list_remove(&ticket->node);
    list_remove(&ticket->of_line);
    mem_free(ticket);
    if (client == NULL) {
        return;
    }
    if (end == BUS_END_OK) {
        peer_log_frame(client, LOG_CLIENT_MESSAGE_ROUTED_BUS, NULL);
    } else {
        presence_forget(client->shard, name_of(client->cell));
        drop(client, bus_end_label(end));
    }
}

// ---- Publishing

static void publish(
    struct shard *shard, struct bus_message *message, uint16_t route, struct bus_ticket *ticket)
{
    struct backplane *plane = shard->backplane;
    char signature[BUS_SIGNATURE_SIZE];
    list_push_back(&plane->tickets, &ticket->node);
    message->source = slice_str(shard->relay->config->relay_id);
    if (bus_seal_sign(plane->seal, sys_wall_ms(), message, signature) != WEIR_OK) {
        bus_ticket_end(ticket, BUS_END_NO_MEMORY);
        return;
    }
    buf_clear(&plane->text);
    bus_message_write(message, plane->ops->form, &plane->text);
    if (plane->text.failed) {
        bus_ticket_end(ticket, BUS_END_NO_MEMORY);
    } else {
        struct bus_parcel parcel = {message, buf_slice(&plane->text), ticket, route};
        plane->ops->publish(plane->driver, &parcel);
    }
    if (plane->text.size > TEXT_KEPT_MAX) {
        buf_reset(&plane->text);
    }
}

static struct bus_ticket *ticket_new(struct shard *shard, enum metric routed, enum metric dropped)
{
    struct bus_ticket *ticket = mem_alloc(sizeof *ticket);
    if (ticket == NULL) {
        struct metrics_shard *metrics = shard->worker->metrics;
        metrics_count(metrics, METRIC_BUS_PUBLISH_FAILED);
        metrics_bus_failure(metrics, BUS_CALL_PUBLISH, BUS_END_NO_MEMORY);
        return NULL;
    }
    *ticket = (struct bus_ticket){.shard = shard,
        .since_ns = worker_now(shard->worker),
        .routed = routed,
        .dropped = dropped};
    list_init(&ticket->node);
    list_init(&ticket->of_line);
    return ticket;
}

static struct bus_message message_from(const struct peer *peer, enum bus_direction direction,
    struct slice relay_id, struct slice payload)
{
    const char *claim = peer_text(peer, PEER_MACHINE);
    struct slice machine = claim == NULL ? SLICE_EMPTY : slice_str(claim);
    return (struct bus_message){
        .workspace = cell_workspace(peer->cell),
        .target = peer->cell->target,
        .machine = remote_id_is_sound(machine) ? machine : SLICE_EMPTY,
        .target_relay = relay_id,
        .direction = direction,
        .payload = payload,
    };
}

void outgoing_from_daemon(struct peer *daemon, const struct remote *remote,
    const struct ws_message *message, enum metric routed, enum metric dropped)
{
    struct shard *shard = daemon->shard;
    struct bus_ticket *ticket =
        shard->backplane == NULL ? NULL : ticket_new(shard, routed, dropped);
    if (ticket == NULL) {
        count(shard, dropped);
        return;
    }
    struct bus_message out = message_from(
        daemon, BUS_DAEMON_TO_CLIENTS, remote_id(remote), slice_of(message->bytes, message->len));
    publish(shard, &out, remote->route, ticket);
}

static void publish_for(struct peer *client, const struct presence *to, struct slice payload)
{
    struct bus_ticket *ticket = ticket_new(
        client->shard, METRIC_CLIENT_MESSAGES_ROUTED_BUS, METRIC_CLIENT_MESSAGES_DROPPED);
    if (ticket == NULL) {
        drop(client, bus_end_label(BUS_END_NO_MEMORY));
        return;
    }
    struct client_line *line = line_of(client);
    if (line != NULL) {
        ticket->client = client;
        list_push_back(&line->tickets, &ticket->of_line);
    }
    struct bus_message out = message_from(client, BUS_CLIENT_TO_DAEMON, to->relay_id, payload);
    publish(client->shard, &out, to->route, ticket);
}

// ---- One frame whose daemon's place is known

static void deliver_here(struct peer *client, struct ws_message *message)
{
    struct peer *daemon = client->cell->daemon;
    struct metrics_shard *metrics = client->shard->worker->metrics;
    if (!ws_forward(&daemon->ws, message)) {
        drop(client, "daemon_closing");
        return;
    }
    metrics_count(metrics, METRIC_FRAMES_CLIENT_TO_DAEMON);
    metrics_add(metrics, METRIC_BYTES_CLIENT_TO_DAEMON, (int64_t)message->len);
    ws_settle(client->shard->worker);
    flow_after_send(client, daemon);
}

static void send_on(
    struct peer *client, struct ws_message *message, enum bus_end end, const struct presence *to)
{
    const struct relay_config *config = client->shard->relay->config;
    if (client->cell->daemon != NULL) {
        deliver_here(client, message);
        return;
    }
    if (to == NULL) {
        drop(client, end == BUS_END_OK ? "not_announced" : bus_end_label(end));
        return;
    }
    if (config->client_redirect_enabled) {
        outgoing_redirect(client, to->url, false);
    }
    if (config->bus_enabled) {
        publish_for(client, to, slice_of(message->bytes, message->len));
    } else {
        drop(client, "bus_disabled");
    }
}

void outgoing_redirect(struct peer *client, struct slice url, bool greeting)
{
    struct client_line *line = line_of(client);
    uint64_t hash = siphash(&client->shard->worker->seed, url.at, url.len) | 1;
    if (line == NULL || line->redirected == hash) {
        return;
    }
    line->redirected = hash;
    if (redirect_is_usable(client->shard, url)) {
        count(client->shard, METRIC_CLIENT_REDIRECT);
        status_send_redirect(client, url, greeting);
    }
}

// ---- Holding

bool outgoing_has_held(const struct peer *client)
{
    return client->line != NULL && client->line->held_count > 0;
}

static bool hold(struct client_line *line, const struct ws_message *message)
{
    struct backplane *plane = line->client->shard->backplane;
    const struct relay_config *config = line->client->shard->relay->config;
    if (line->held_count == HELD_COUNT_MAX ||
        line->held_bytes + message->len > config->max_pending_bytes ||
        plane->held_bytes + message->len > HELD_BYTES_MAX) {
        drop(line->client, bus_end_label(BUS_END_QUEUE_FULL));
        return false;
    }
    struct held *held = mem_alloc(sizeof *held + WS_UNMASKED_HEADER_MAX + message->len);
    if (held == NULL) {
        drop(line->client, bus_end_label(BUS_END_NO_MEMORY));
        return false;
    }
    held->len = message->len;
    memcpy(held->bytes + WS_UNMASKED_HEADER_MAX, message->bytes, message->len);
    list_init(&held->node);
    list_push_back(&line->held, &held->node);
    line->held_count++;
    line->held_bytes += held->len;
    plane->held_bytes += held->len;
    return true;
}

static struct held *pop(struct client_line *line)
{
    struct list *node = list_pop_front(&line->held);
    if (node == NULL) {
        return NULL;
    }
    struct held *held = container_of(node, struct held, node);
    line->held_count--;
    line->held_bytes -= held->len;
    line->client->shard->backplane->held_bytes -= held->len;
    return held;
}

static void on_presence(
    struct presence_waiter *waiter, enum bus_end end, const struct presence *answer)
{
    struct client_line *line = container_of(waiter, struct client_line, waiter);
    struct peer *client = line->client;
    // Anything that is sent can end the client, and outgoing_end the line with it.
    for (struct held *held = pop(line); held != NULL;
         held = client->line == NULL ? NULL : pop(client->line)) {
        struct ws_message message = {
            held->bytes + WS_UNMASKED_HEADER_MAX, held->len, WS_TEXT, false};
        send_on(client, &message, end, answer);
        mem_free(held);
    }
}

void outgoing_from_client(struct peer *client, const struct ws_message *message)
{
    struct shard *shard = client->shard;
    struct cell_name name = name_of(client->cell);
    bool waiting = outgoing_has_held(client);
    const struct presence *known = waiting ? NULL : presence_known(shard, name);
    struct ws_message copy = *message;
    if (known != NULL) {
        send_on(client, &copy, BUS_END_OK, known);
        return;
    }
    struct client_line *line = line_of(client);
    if (line == NULL) {
        drop(client, bus_end_label(BUS_END_NO_MEMORY));
    } else if (hold(line, message) && !waiting) {
        presence_ask(shard, name, &line->waiter);
    }
}

void outgoing_end(struct peer *client)
{
    struct client_line *line = client->line;
    if (line == NULL) {
        return;
    }
    presence_cancel(&line->waiter);
    for (struct held *held = pop(line); held != NULL; held = pop(line)) {
        count(client->shard, METRIC_CLIENT_MESSAGES_DROPPED);
        mem_free(held);
    }
    list_for_each_safe (node, &line->tickets) {
        struct bus_ticket *ticket = container_of(node, struct bus_ticket, of_line);
        ticket->client = NULL;
        list_remove(&ticket->of_line);
    }
    client->line = NULL;
    mem_free(line);
}

void outgoing_fini(struct backplane *plane)
{
    weir_assert(list_empty(&plane->tickets) && plane->held_bytes == 0);
}
