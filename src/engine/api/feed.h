// SPDX-License-Identifier: Apache-2.0
// What happened, for whoever watches (spec section 8.6). The directory publishes under its lock, so
// the order is its order; an event is serialised once, and all watchers on all workers share the
// bytes. Nothing is made while nobody watches.
//
// A worker gets events by a post, in order. When an event could not be made for want of memory, the
// worker is told that it has missed some: its watchers then need a fresh snapshot.
#ifndef WEIR_ENGINE_FEED_H
#define WEIR_ENGINE_FEED_H

#include <stdatomic.h>

#include "base/list.h"
#include "base/slice.h"
#include "engine/control/client.h"
#include "engine/control/tunnel.h"

struct crew;
struct feed;
struct worker;

enum feed_kind {
    FEED_CLIENT_CREATED,
    FEED_CLIENT_DELETED,
    FEED_TUNNEL_CREATED,
    FEED_TUNNEL_DELETED,
};

struct feed_event {
    atomic_uint refs;
    enum feed_kind kind;
    uint64_t number;       // 1, 2, 3 ... over all events
    struct client *client; // a reference; NULL for a tunnel's
    struct tunnel *tunnel; // a reference; NULL for a client's
    struct slice json;     // owned; the whole envelope
    struct list nodes[];   // one for each worker
};

#define FEED_ID_SIZE 29 // "evt_" and 24 hexadecimal digits, with the NUL

// On the subscribed worker's thread. event is borrowed (feed_event_ref keeps it); NULL: some were
// missed.
typedef void feed_fn(void *arg, struct feed_event *event);

struct feed *feed_new(struct crew *crew) WEIR_MUST_CHECK;
// After all workers have ended.
void feed_free(struct feed *feed);

// Own worker, once: who gets what is posted there. No subscriber is there yet.
void feed_attach(struct feed *feed, struct worker *worker, feed_fn *deliver, void *arg);

// ---- Under the directory's lock.

void feed_publish_client(struct feed *feed, enum feed_kind kind, struct client *client);
void feed_publish_tunnel(struct feed *feed, enum feed_kind kind, struct tunnel *tunnel);
// One watcher more on that worker. Returns the number of the newest event: those up to it are in
// the snapshot that is taken under the same lock, even when they are delivered later.
uint64_t feed_subscribe(struct feed *feed, struct worker *worker);
uint64_t feed_newest(const struct feed *feed);

// ---- Any time.

// Watchers on all workers.
size_t feed_subscribers(const struct feed *feed);
void feed_unsubscribe(struct feed *feed, struct worker *worker);
struct feed_event *feed_event_ref(struct feed_event *event);
void feed_event_unref(struct feed_event *event);
// An id for an event that is one watcher's own (state.initial).
void feed_make_id(struct feed *feed, char id[FEED_ID_SIZE]);

#endif
