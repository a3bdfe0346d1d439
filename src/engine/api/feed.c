// SPDX-License-Identifier: Apache-2.0
// Each worker has an inbox: a list of events under a lock of its own, and one job that is posted
// when the list is not empty any more. An event has a list node for every worker, so that it is put
// into all inboxes without allocating.
//
// 1. An inbox holds one reference of each event in it.
// 2. A worker without subscribers gets nothing.
// 3. An inbox is bounded. When it is full, or an event could not be made, its events are dropped
//    and the worker is told that it missed some (an event NULL), before anything newer.
#include "engine/api/feed.h"

#include <pthread.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/time.h"
#include "loop/worker.h"
#include "proto/json_write.h"
#include "sys/clock.h"
#include "sys/entropy.h"

#define INBOX_MAX 4096
#define EVENTS_PER_TURN 64 // each goes to all watchers of the worker
#define EVENT_BYTES_MAX (1u << 20)

struct inbox {
    struct job job; // the worker's while posted
    struct feed *feed;
    unsigned index; // of the worker
    feed_fn *deliver;
    void *arg;
    atomic_size_t subscribers;
    pthread_mutex_t lock; // for what follows
    struct list events;
    size_t count;
    bool posted;
    bool missed;
};

struct feed {
    struct crew *crew; // borrowed
    uint32_t origin;   // random; tells the ids of one process from another's
    atomic_uint_fast64_t ids;
    uint64_t newest; // under the directory's lock
    unsigned count;
    struct inbox inboxes[]; // one for each worker
};

static const char *const type_names[] = {
    [FEED_CLIENT_CREATED] = "client.created",
    [FEED_CLIENT_DELETED] = "client.deleted",
    [FEED_TUNNEL_CREATED] = "tunnel.created",
    [FEED_TUNNEL_DELETED] = "tunnel.deleted",
};

struct feed *feed_new(struct crew *crew)
{
    struct feed *feed = mem_zalloc(sizeof *feed + crew->count * sizeof feed->inboxes[0]);
    if (feed == NULL || sys_entropy(&feed->origin, sizeof feed->origin) != WEIR_OK) {
        mem_free(feed);
        return NULL;
    }
    feed->crew = crew;
    feed->count = crew->count;
    for (unsigned i = 0; i < feed->count; i++) {
        struct inbox *inbox = &feed->inboxes[i];
        inbox->feed = feed;
        inbox->index = i;
        pthread_mutex_init(&inbox->lock, NULL);
        list_init(&inbox->events);
        list_init(&inbox->job.node);
    }
    return feed;
}

// The event of a node in the inbox of that worker.
static struct feed_event *event_of(struct list *node, unsigned index)
{
    return container_of(node - index, struct feed_event, nodes);
}

// Under the inbox' lock, or when nobody else is there.
static void drop_events(struct inbox *inbox)
{
    struct list *node;
    while ((node = list_pop_front(&inbox->events)) != NULL) {
        feed_event_unref(event_of(node, inbox->index));
    }
    inbox->count = 0;
}

void feed_free(struct feed *feed)
{
    for (unsigned i = 0; feed != NULL && i < feed->count; i++) {
        drop_events(&feed->inboxes[i]);
        pthread_mutex_destroy(&feed->inboxes[i].lock);
    }
    mem_free(feed);
}

void feed_attach(struct feed *feed, struct worker *worker, feed_fn *deliver, void *arg)
{
    feed->inboxes[worker->index].deliver = deliver;
    feed->inboxes[worker->index].arg = arg;
}

// ---- Events.

struct feed_event *feed_event_ref(struct feed_event *event)
{
    atomic_fetch_add_explicit(&event->refs, 1, memory_order_relaxed);
    return event;
}

void feed_event_unref(struct feed_event *event)
{
    if (event == NULL || atomic_fetch_sub_explicit(&event->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    client_unref(event->client);
    tunnel_unref(event->tunnel);
    mem_free((char *)event->json.at);
    mem_free(event);
}

void feed_make_id(struct feed *feed, char id[FEED_ID_SIZE])
{
    uint64_t number = atomic_fetch_add_explicit(&feed->ids, 1, memory_order_relaxed) + 1;
    snprintf(id, FEED_ID_SIZE, "evt_%08x%016llx", feed->origin, (unsigned long long)number);
}

static void write_event(struct feed *feed, const struct feed_event *event, struct buf *out)
{
    bool online = event->kind == FEED_CLIENT_CREATED || event->kind == FEED_TUNNEL_CREATED;
    struct slice user = event->client != NULL ? event->client->user_id : event->tunnel->user_id;
    struct json_writer writer;
    char id[FEED_ID_SIZE];
    char now[TIME_ISO_SIZE];
    feed_make_id(feed, id);
    time_to_iso(sys_wall_ms(), now);
    json_writer_init(&writer, out);
    jsonw_object_begin(&writer, NULL);
    jsonw_text(&writer, "id", id);
    jsonw_text(&writer, "type", type_names[event->kind]);
    jsonw_text(&writer, "created_at", now);
    if (user.len > 0) {
        jsonw_string(&writer, "user_id", user);
    }
    jsonw_raw(&writer, "object", SLICE_EMPTY);
    if (event->client != NULL) {
        client_write_json(event->client, online, out);
    } else {
        tunnel_write_json(event->tunnel, online, out);
    }
    jsonw_object_end(&writer);
}

// One reference; NULL without memory.
static struct feed_event *make_event(
    struct feed *feed, enum feed_kind kind, struct client *client, struct tunnel *tunnel)
{
    struct feed_event *event = mem_zalloc(sizeof *event + feed->count * sizeof event->nodes[0]);
    if (event == NULL) {
        return NULL;
    }
    atomic_init(&event->refs, 1);
    event->kind = kind;
    event->number = feed->newest;
    event->client = client == NULL ? NULL : client_ref(client);
    event->tunnel = tunnel == NULL ? NULL : tunnel_ref(tunnel);
    struct buf text = BUF_INIT(EVENT_BYTES_MAX);
    write_event(feed, event, &text);
    char *copy = text.failed ? NULL : mem_copy(buf_slice(&text).at, text.len);
    event->json = slice_of(copy, text.len);
    buf_reset(&text);
    if (copy == NULL) {
        feed_event_unref(event);
        return NULL;
    }
    return event;
}

// ---- Delivery.

// Moves what one turn delivers to `events`. True when more is left.
static bool take_some(struct inbox *inbox, struct list *events, bool *ret_missed)
{
    pthread_mutex_lock(&inbox->lock);
    for (int i = 0; i < EVENTS_PER_TURN && !list_empty(&inbox->events); i++) {
        list_push_back(events, list_pop_front(&inbox->events));
        inbox->count--;
    }
    *ret_missed = inbox->missed;
    inbox->missed = false;
    inbox->posted = !list_empty(&inbox->events);
    bool more = inbox->posted;
    pthread_mutex_unlock(&inbox->lock);
    return more;
}

static void on_post(struct worker *worker, struct job *job)
{
    struct inbox *inbox = container_of(job, struct inbox, job);
    struct list events;
    struct list *node;
    bool missed;
    list_init(&events);
    bool more = take_some(inbox, &events, &missed);
    if (missed) {
        inbox->deliver(inbox->arg, NULL);
    }
    while ((node = list_pop_front(&events)) != NULL) {
        struct feed_event *event = event_of(node, inbox->index);
        inbox->deliver(inbox->arg, event);
        feed_event_unref(event);
    }
    if (more) {
        worker_post(worker, &inbox->job, on_post);
    }
}

// event may be NULL: missed.
static void put(struct inbox *inbox, struct feed_event *event)
{
    pthread_mutex_lock(&inbox->lock);
    if (event == NULL || inbox->count == INBOX_MAX) {
        drop_events(inbox);
        inbox->missed = true;
    } else {
        list_push_back(&inbox->events, &feed_event_ref(event)->nodes[inbox->index]);
        inbox->count++;
    }
    if (!inbox->posted) {
        inbox->posted = true;
        worker_post(&inbox->feed->crew->workers[inbox->index], &inbox->job, on_post);
    }
    pthread_mutex_unlock(&inbox->lock);
}

static void publish(
    struct feed *feed, enum feed_kind kind, struct client *client, struct tunnel *tunnel)
{
    struct feed_event *event = NULL;
    bool tried = false;
    feed->newest++;
    for (unsigned i = 0; i < feed->count; i++) {
        struct inbox *inbox = &feed->inboxes[i];
        if (atomic_load(&inbox->subscribers) == 0) {
            continue;
        }
        if (!tried) {
            event = make_event(feed, kind, client, tunnel);
            tried = true;
        }
        put(inbox, event);
    }
    feed_event_unref(event);
}

void feed_publish_client(struct feed *feed, enum feed_kind kind, struct client *client)
{
    publish(feed, kind, client, NULL);
}

void feed_publish_tunnel(struct feed *feed, enum feed_kind kind, struct tunnel *tunnel)
{
    publish(feed, kind, NULL, tunnel);
}

uint64_t feed_subscribe(struct feed *feed, struct worker *worker)
{
    atomic_fetch_add(&feed->inboxes[worker->index].subscribers, 1);
    return feed->newest;
}

uint64_t feed_newest(const struct feed *feed)
{
    return feed->newest;
}

size_t feed_subscribers(const struct feed *feed)
{
    size_t count = 0;
    for (unsigned i = 0; i < feed->count; i++) {
        count += atomic_load(&feed->inboxes[i].subscribers);
    }
    return count;
}

void feed_unsubscribe(struct feed *feed, struct worker *worker)
{
    atomic_fetch_sub(&feed->inboxes[worker->index].subscribers, 1);
}
