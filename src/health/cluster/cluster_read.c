// SPDX-License-Identifier: Apache-2.0
// The other monitors' results. First the newest entry of the stream, then the states that are kept
// of every share, then the stream from there on: what comes twice is recognised, nothing falls
// between. One command at a time, but for the states.
#include <hiredis/hiredis.h>
#include <stdio.h>

#include "base/number.h"
#include "base/time.h"
#include "health/cluster/cluster_internal.h"
#include "health/cluster/shared_result.h"

#define RETRY_NS NS_PER_S
#define ENTRIES_MAX "512"
#define BLOCK_MS "500"
#define REPLY_MAX (64 * 1024 * 1024)

enum { TAG_NEWEST = 1, TAG_STATES, TAG_ENTRIES };

static struct slice text_of(const redisReply *reply)
{
    return reply->type == REDIS_REPLY_STRING ? slice_of(reply->str, reply->len) : SLICE_EMPTY;
}

// How long ago it was, by the Redis's clock at both ends.
static uint64_t age_ns(const struct cluster *cluster, uint64_t then_ms)
{
    uint64_t since_ms = (monitor_now_ns() - cluster->redis_heard_ns) / NS_PER_MS;
    uint64_t now_ms = cluster->redis_ms + since_ms;
    return cluster->redis_ms == 0 || then_ms >= now_ms ? 0 : time_from_ms(now_ms - then_ms);
}

// ---- A message

static void take_result(struct target *target, const struct shared_message *message)
{
    bool known = target->adopted == message->mark;
    bool ours_is_newer = !target->lent && target->own_result;
    if (known || ours_is_newer || message->identity != target->service->identity ||
        !service_monitored(target->service)) {
        return;
    }
    target->adopted = message->mark;
    monitor_adopt(target, &message->state, &message->record);
}

static void take_message(struct cluster *cluster, struct slice text, uint64_t written_ms)
{
    struct shared_message message;
    shared_message_read(&message, text, age_ns(cluster, written_ms));
    if (message.kind == SHARED_TOLD && !slice_eq(message.by, slice_str(cluster->shares.name))) {
        cluster->heard(cluster->arg, &message);
    }
    struct target *target = message.kind == SHARED_NOTHING || message.kind == SHARED_TOLD
                                ? NULL
                                : monitor_find(cluster->monitor, message.service, message.machine);
    if (target != NULL && message.kind == SHARED_CHECK && !target->lent) {
        (void)monitor_check_now(target); // one under way will do
    }
    if (target != NULL && message.kind == SHARED_RESULT) {
        cluster->adopted++;
        take_result(target, &message);
    }
    if (target != NULL && message.kind == SHARED_MAINTENANCE) {
        monitor_set_maintenance(target, message.on, message.until_wall_ms, message.reason);
        cluster->maintained(cluster->arg, target);
    }
    shared_message_fini(&message);
}

// "1700000000000-0": milliseconds, and a count.
static uint64_t written_ms(struct slice id)
{
    uint64_t ms = 0;
    ptrdiff_t dash = slice_find(id, '-');
    struct slice digits = dash < 0 ? id : slice_of(id.at, (size_t)dash);
    return number_parse_u64(digits, INT64_MAX, &ms) == WEIR_OK ? ms : 0;
}

// ---- Asking

static void send_read(struct cluster *cluster)
{
    const struct slice words[] = {SLICE("XREAD"), SLICE("COUNT"), SLICE(ENTRIES_MAX),
        SLICE("BLOCK"), SLICE(BLOCK_MS), SLICE("STREAMS"), SLICE(CLUSTER_STREAM),
        slice_str(cluster->position)};
    (void)redis_link_send(&cluster->reader, TAG_ENTRIES, words, 8); // begins again when it stands
}

void cluster_read_states(struct cluster *cluster)
{
    cluster->stale_states = false;
    (void)redis_link_send(&cluster->reader, TAG_STATES,
        (struct slice[]){SLICE("HGETALL"), SLICE(CLUSTER_MAINTENANCE)}, 2); // as above
    for (unsigned i = 0; i < SHARE_COUNT; i++) {
        char key[CLUSTER_KEY_SIZE];
        cluster_key(key, "states", i, &cluster->shares);
        if (cluster->shares.all[i].digest != 0) {
            (void)redis_link_send(&cluster->reader, TAG_STATES,
                (struct slice[]){SLICE("HGETALL"), slice_str(key)}, 2); // as above
        }
    }
}

static void go_on(struct cluster *cluster)
{
    if (cluster->position[0] == '\0') {
        (void)redis_link_send(&cluster->reader, TAG_NEWEST,
            (struct slice[]){SLICE("XREVRANGE"), SLICE(CLUSTER_STREAM), SLICE("+"), SLICE("-"),
                SLICE("COUNT"), SLICE("1")},
            6); // as above
        return;
    }
    if (cluster->stale_states) {
        cluster_read_states(cluster);
    }
    send_read(cluster);
}

// ---- Answers

static void set_position(struct cluster *cluster, struct slice id)
{
    if (id.len > 0) {
        (void)slice_to_text(id, cluster->position, sizeof cluster->position); // it fits
    }
}

// The entries, [[id, [field, value]], …]; of a foreign hand they may be anything.
static void take_entries(struct cluster *cluster, const redisReply *entries, bool only_position)
{
    for (size_t i = 0; entries->type == REDIS_REPLY_ARRAY && i < entries->elements; i++) {
        const redisReply *entry = entries->element[i];
        if (entry->type != REDIS_REPLY_ARRAY || entry->elements != 2) {
            continue;
        }
        const redisReply *fields = entry->element[1];
        struct slice id = text_of(entry->element[0]);
        set_position(cluster, id);
        if (!only_position && fields->type == REDIS_REPLY_ARRAY && fields->elements >= 2) {
            take_message(cluster, text_of(fields->element[1]), written_ms(id));
        }
    }
}

static void take_streams(struct cluster *cluster, const redisReply *reply)
{
    for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i < reply->elements; i++) {
        const redisReply *stream = reply->element[i];
        if (stream->type == REDIS_REPLY_ARRAY && stream->elements == 2) {
            take_entries(cluster, stream->element[1], false);
        }
    }
}

// Field, "MS message", …
static void take_states(struct cluster *cluster, const redisReply *reply)
{
    for (size_t i = 1; reply->type == REDIS_REPLY_ARRAY && i < reply->elements; i += 2) {
        struct slice text = text_of(reply->element[i]);
        ptrdiff_t blank = slice_find(text, ' ');
        if (blank > 0) {
            struct slice ms = slice_of(text.at, (size_t)blank);
            take_message(cluster, slice_skip(text, (size_t)blank + 1), written_ms(ms));
        }
    }
}

static void on_replied(void *arg, uint64_t tag, const struct redisReply *reply)
{
    struct cluster *cluster = arg;
    if (reply->type == REDIS_REPLY_ERROR && tag != TAG_STATES) {
        worker_arm_in(cluster->worker, &cluster->retry, RETRY_NS);
        return;
    }
    switch (tag) {
    case TAG_NEWEST:
        snprintf(cluster->position, sizeof cluster->position, "0-0");
        take_entries(cluster, reply, true);
        cluster->stale_states = true;
        go_on(cluster);
        break;
    case TAG_ENTRIES:
        take_streams(cluster, reply);
        go_on(cluster);
        break;
    default:
        take_states(cluster, reply);
        break;
    }
}

static void on_ready(void *arg)
{
    go_on(arg);
}

static void on_lost(void *arg)
{
    struct cluster *cluster = arg;
    timer_cancel(&cluster->retry);
}

static void on_retry(struct timer *timer)
{
    go_on(container_of(timer, struct cluster, retry));
}

enum weir_result cluster_read_start(struct cluster *cluster, const struct redis_place *place)
{
    struct redis_link_options options = {.place = place, .reply_max = REPLY_MAX};
    struct redis_link_hooks hooks = {
        .ready = on_ready, .replied = on_replied, .lost = on_lost, .arg = cluster};
    timer_init(&cluster->retry, on_retry);
    return redis_link_open(&cluster->reader, cluster->worker, &options, &hooks);
}
