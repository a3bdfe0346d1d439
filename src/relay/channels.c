// SPDX-License-Identifier: Apache-2.0
#include "relay/channels.h"

#include "base/mem.h"
#include "obs/log.h"
#include "relay/flow.h"
#include "relay/status.h"

#define CHANNEL_BYTES_MAX 4096 // of a frame's channel name; more is no channel anybody was allowed

struct channel_list {
    struct list subscriptions; // to those of them that the client listens to now
    size_t count;
    char *names[CLAIMS_CHANNELS_MAX]; // owned
};

struct channel {
    struct map_node node;
    struct cell *cell;
    struct list subscribers;
    char name[];
};

struct subscription {
    struct list of_channel;
    struct list of_peer;
    struct channel *channel;
    struct peer *peer;
};

struct channel_list *channel_list_new(const struct claims *claims)
{
    struct channel_list *list = mem_zalloc(sizeof *list);
    if (list == NULL) {
        return NULL;
    }
    list_init(&list->subscriptions);
    for (size_t i = 0; i < claims->session_channel_count; i++) {
        const char *name = claims->session_channels[i];
        list->names[i] = mem_copy(name, strlen(name));
        list->count++;
        if (list->names[i] == NULL) {
            channel_list_free(list);
            return NULL;
        }
    }
    return list;
}

void channel_list_free(struct channel_list *list)
{
    for (size_t i = 0; list != NULL && i < list->count; i++) {
        mem_free(list->names[i]);
    }
    mem_free(list);
}

static bool is_allowed(const struct peer *peer, struct slice name)
{
    for (size_t i = 0; peer->channels != NULL && i < peer->channels->count; i++) {
        if (slice_eq(slice_str(peer->channels->names[i]), name)) {
            return true;
        }
    }
    return false;
}

static struct channel *find(struct cell *cell, struct slice name)
{
    struct map_node *node = map_find(&cell->channels, name);
    return node == NULL ? NULL : container_of(node, struct channel, node);
}

static struct channel *find_or_make(struct cell *cell, struct slice name)
{
    struct channel *channel = find(cell, name);
    if (channel != NULL) {
        return channel;
    }
    channel = mem_alloc(sizeof *channel + name.len);
    if (channel == NULL) {
        return NULL;
    }
    memcpy(channel->name, name.at, name.len);
    channel->cell = cell;
    list_init(&channel->subscribers);
    if (map_insert(&cell->channels, &channel->node, slice_of(channel->name, name.len)) !=
        WEIR_OK) {
        mem_free(channel);
        return NULL;
    }
    return channel;
}

static void drop_if_unused(struct channel *channel)
{
    if (list_empty(&channel->subscribers)) {
        map_remove(&channel->cell->channels, &channel->node);
        mem_free(channel);
    }
}

static void end_subscription(struct subscription *subscription)
{
    struct channel *channel = subscription->channel;
    list_remove(&subscription->of_channel);
    list_remove(&subscription->of_peer);
    mem_free(subscription);
    drop_if_unused(channel);
}

// Only of a channel that is allowed, so there is a list.
static struct subscription *subscription_of(struct peer *peer, struct slice name)
{
    list_for_each(node, &peer->channels->subscriptions) {
        struct subscription *subscription = container_of(node, struct subscription, of_peer);
        if (slice_eq(subscription->channel->node.key, name)) {
            return subscription;
        }
    }
    return NULL;
}

static bool subscribe(struct peer *peer, struct slice name)
{
    if (subscription_of(peer, name) != NULL) {
        return true;
    }
    struct channel *channel = find_or_make(peer->cell, name);
    struct subscription *subscription = channel == NULL ? NULL : mem_alloc(sizeof *subscription);
    if (subscription == NULL) {
        if (channel != NULL) {
            drop_if_unused(channel);
        }
        return false;
    }
    subscription->channel = channel;
    subscription->peer = peer;
    list_init(&subscription->of_channel);
    list_init(&subscription->of_peer);
    list_push_back(&channel->subscribers, &subscription->of_channel);
    list_push_back(&peer->channels->subscriptions, &subscription->of_peer);
    return true;
}

static void count(struct peer *peer, enum metric metric)
{
    metrics_count(peer->shard->worker->metrics, metric);
}

// The frame's channel when this client may use it; otherwise the client is told that it may not.
static bool allowed_channel(struct peer *peer, const struct frame *frame, const char *denied_type,
    enum metric metric, char scratch[CHANNEL_BYTES_MAX], struct slice *ret_name)
{
    if (frame_text_trimmed(&frame->channel, scratch, CHANNEL_BYTES_MAX, ret_name) &&
        is_allowed(peer, *ret_name)) {
        return true;
    }
    count(peer, metric);
    status_send_denied(peer, denied_type, &frame->channel);
    return false;
}

void channels_subscribe(struct peer *peer, const struct frame *frame)
{
    char scratch[CHANNEL_BYTES_MAX];
    struct slice name;
    if (!allowed_channel(peer, frame, "viewport.session_events.subscribe_denied/v1",
            METRIC_SESSION_EVENT_SUBSCRIBE_REJECTED, scratch, &name)) {
        return;
    }
    if (!subscribe(peer, name)) {
        ws_close(&peer->ws, &close_NO_MEMORY);
        return;
    }
    count(peer, METRIC_SESSION_EVENT_SUBSCRIBED);
    status_send_subscribed(peer, name, frame);
}

void channels_unsubscribe(struct peer *peer, const struct frame *frame)
{
    char scratch[CHANNEL_BYTES_MAX];
    struct slice name;
    if (!allowed_channel(peer, frame, "viewport.session_events.subscribe_denied/v1",
            METRIC_SESSION_EVENT_SUBSCRIBE_REJECTED, scratch, &name)) {
        return;
    }
    struct subscription *subscription = subscription_of(peer, name);
    if (subscription != NULL) {
        end_subscription(subscription);
        count(peer, METRIC_SESSION_EVENT_UNSUBSCRIBED);
    }
    status_send_unsubscribed(peer, name);
}

// Spec section 14, 15: a presence frame speaks for the user in the claims, when there is one.
static bool is_own_user(const struct peer *peer, const struct frame *frame)
{
    char scratch[1024];
    struct slice user;
    if (peer_text(peer, PEER_USER) == NULL) {
        return true;
    }
    return frame_text_trimmed(&frame->user_id, scratch, sizeof scratch, &user) &&
           slice_eq(user, slice_str(peer_text(peer, PEER_USER)));
}

// Sending can end any subscriber, and the last one takes the channel with it. So the place in the list
// is held by a node of our own, which keeps the channel as well.
// peer: who sent it, and does not get it; NULL: nobody here.
static size_t fan_out(struct peer *peer, struct channel *channel, struct ws_message *message)
{
    size_t sent = 0;
    struct list place;
    list_push_front(&channel->subscribers, &place);
    while (place.next != &channel->subscribers) {
        struct list *node = place.next;
        list_remove(&place);
        list_push_front(node, &place); // behind node
        struct peer *to = container_of(node, struct subscription, of_channel)->peer;
        if (to != peer && ws_forward(&to->ws, message)) {
            sent++;
            if (peer != NULL) {
                flow_after_send(peer, to);
            }
        }
    }
    list_remove(&place);
    drop_if_unused(channel);
    return sent;
}

void channels_presence(struct peer *peer, const struct frame *frame, struct ws_message *message)
{
    char scratch[CHANNEL_BYTES_MAX];
    struct slice name;
    const char *denied = "viewport.session_viewer_presence_denied/v1";
    if (!is_own_user(peer, frame)) {
        count(peer, METRIC_SESSION_VIEWER_PRESENCE_REJECTED);
        status_send_denied(peer, denied, &frame->channel);
        return;
    }
    if (!allowed_channel(
            peer, frame, denied, METRIC_SESSION_VIEWER_PRESENCE_REJECTED, scratch, &name)) {
        return;
    }
    struct channel *channel = find(peer->cell, name);
    size_t sent = channel == NULL ? 0 : fan_out(peer, channel, message);
    count(peer, sent > 0 ? METRIC_SESSION_VIEWER_PRESENCE_FANNED
                         : METRIC_SESSION_VIEWER_PRESENCE_NO_PEERS);
}

bool channels_event(struct cell *cell, const struct frame *frame, struct ws_message *message)
{
    char scratch[CHANNEL_BYTES_MAX];
    struct slice name;
    struct metrics_shard *metrics = cell->shard->worker->metrics;
    struct channel *channel =
        frame_text_trimmed(&frame->channel, scratch, sizeof scratch, &name) ? find(cell, name)
                                                                            : NULL;
    size_t sent = channel == NULL ? 0 : fan_out(NULL, channel, message);
    metrics_add(metrics, METRIC_SESSION_EVENT_FRAME_DELIVERED, (int64_t)sent);
    cell->workspace->frames_out += sent;
    if (sent == 0) {
        metrics_count(metrics, METRIC_SESSION_EVENT_FRAME_DROPPED);
    }
    return sent > 0;
}

void channels_leave_all(struct peer *peer)
{
    if (peer->channels == NULL) {
        return;
    }
    list_for_each_safe(node, &peer->channels->subscriptions) {
        end_subscription(container_of(node, struct subscription, of_peer));
    }
}

void channels_fini(struct cell *cell)
{
    weir_assert(cell->channels.count == 0);
    map_fini(&cell->channels);
}
