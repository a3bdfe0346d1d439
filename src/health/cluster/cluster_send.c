// SPDX-License-Identifier: Apache-2.0
// The scripts. Each is one step to the Redis: nobody sees a lease between looked at and taken, and
// a result is taken only while its writer has the lease, however late it comes.
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/number.h"
#include "base/time.h"
#include "health/cluster/cluster_internal.h"
#include "health/cluster/shared_result.h"
#include "health/view/view.h"
#include "proto/json_write.h"
#include "sys/clock.h"

#define MONITORS_KEY "portoser:health::monitors"
#define BORN_KEY "portoser:health::born"
#define DOCUMENT_MAX 65536
#define TOLD_MAX (128 * 1024) // a request that told it, and a little
#define KEY_MAX 4096
#define PACE_NS (20 * NS_PER_MS)
#define PACE_COUNT 64
#define PACE_OUT_MAX 262144
#define LOST_MARGIN_MS 10000
#define LOAD_LEN 8
#define THERE_LEN ((size_t)LOAD_LEN + (size_t)SHARE_COUNT * 16)

enum { TAG_LOOK = 1, TAG_RESULT, TAG_EVENT };

// KEYS: monitors, born, a lease for every share. ARGV: who, for how long, an enum share_act for
// every share, its load and the shares' digests in hexadecimal (none: it leaves).
static const char look_script[] =
    "local t = redis.call('TIME') "
    "local now = t[1] * 1000 + math.floor(t[2] / 1000) "
    "local me, ttl, acts = ARGV[1], tonumber(ARGV[2]), ARGV[3] "
    "local born = redis.call('GET', KEYS[2]) "
    "if not born then born = now redis.call('SET', KEYS[2], born) end "
    "local old = now - tonumber(born) >= ttl "
    "redis.call('HSET', KEYS[1], me, string.format('%.0f ', now + ttl) .. ARGV[4]) "
    "local owners = {} "
    "for i = 1, #acts do "
    "local key, act = KEYS[i + 2], acts:sub(i, i) "
    "local owner = redis.call('GET', key) "
    "if owner == me then "
    "if act ~= '-' then redis.call('PEXPIRE', key, ttl) "
    "else redis.call('DEL', key) owner = false end "
    "elseif not owner and (act == '+' or (act == '=' and old)) then "
    "redis.call('SET', key, me, 'NX', 'PX', ttl) owner = me "
    "end owners[i] = owner or '' end "
    "local all, there = redis.call('HGETALL', KEYS[1]), {} "
    "for i = 1, #all, 2 do "
    "local ends, digests = all[i + 1]:match('^(%d+) (.*)$') "
    "if not ends or tonumber(ends) < now then redis.call('HDEL', KEYS[1], all[i]) "
    "else there[#there + 1] = all[i] there[#there + 1] = digests end end "
    "return {string.format('%.0f', now), string.format('%.0f', tonumber(born)), owners, there}";

// KEYS: lease, stream, states, the service's own. ARGV: who, field, message, document, "1": news.
static const char result_script[] =
    "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end "
    "local t = redis.call('TIME') "
    "if ARGV[5] == '1' then redis.call('XADD', KEYS[2], 'MAXLEN', '~', 8192, '*', 'm', ARGV[3]) "
    "end "
    "redis.call('HSET', KEYS[3], ARGV[2], "
    "string.format('%.0f ', t[1] * 1000 + math.floor(t[2] / 1000)) .. ARGV[3]) "
    "redis.call('EXPIRE', KEYS[3], 86400) "
    "redis.call('SETEX', KEYS[4], 300, ARGV[4]) return 1";

// KEYS: lease. ARGV: who, channel, document.
static const char event_script[] = "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end "
                                   "redis.call('PUBLISH', ARGV[2], ARGV[3]) return 1";

// KEYS: maintenance, stream. ARGV: field, message, "1": it begins. One that is over is not kept.
static const char maintenance_script[] =
    "local t = redis.call('TIME') "
    "if ARGV[3] == '1' then redis.call('HSET', KEYS[1], ARGV[1], "
    "string.format('%.0f ', t[1] * 1000 + math.floor(t[2] / 1000)) .. ARGV[2]) "
    "else redis.call('HDEL', KEYS[1], ARGV[1]) end "
    "redis.call('XADD', KEYS[2], 'MAXLEN', '~', 8192, '*', 'm', ARGV[2]) return 1";

void cluster_key(
    char key[CLUSTER_KEY_SIZE], const char *what, unsigned share, const struct shares *shares)
{
    snprintf(key, CLUSTER_KEY_SIZE, "portoser:health::%s:%u:%016llx", what, share,
        (unsigned long long)shares->all[share].digest);
}

// ---- Looks

bool cluster_send_look(struct cluster *cluster)
{
    const struct shares *shares = &cluster->shares;
    char keys[SHARE_COUNT][CLUSTER_KEY_SIZE];
    char acts[SHARE_COUNT];
    char there[THERE_LEN + 1];
    char ttl[24];
    struct slice words[REDIS_WORDS_MAX] = {
        SLICE("EVAL"), slice_str(look_script), SLICE("66"), SLICE(MONITORS_KEY), SLICE(BORN_KEY)};
    size_t count = 5;
    for (unsigned i = 0; i < SHARE_COUNT; i++) {
        cluster_key(keys[i], "lease", i, shares);
        words[count++] = slice_str(keys[i]);
        acts[i] = shares->all[i].act;
        snprintf(there + LOAD_LEN + (size_t)i * 16, 17, "%016llx",
            (unsigned long long)shares->all[i].digest);
    }
    char load[LOAD_LEN + 1];
    snprintf(load, sizeof load, "%08x", shares_load(shares));
    memcpy(there, load, LOAD_LEN);
    snprintf(ttl, sizeof ttl, "%llu", (unsigned long long)(shares->ttl_ns / NS_PER_MS));
    words[count++] = slice_str(shares->name);
    words[count++] = slice_str(ttl);
    words[count++] = slice_of(acts, SHARE_COUNT);
    words[count++] = cluster->leaving ? SLICE_EMPTY : slice_of(there, THERE_LEN);
    return redis_link_send(&cluster->control, TAG_LOOK, words, count);
}

static bool read_ms(const redisReply *reply, uint64_t *ret_ms)
{
    return reply->type == REDIS_REPLY_STRING &&
           number_parse_u64(slice_of(reply->str, reply->len), INT64_MAX, ret_ms) == WEIR_OK;
}

static bool read_name(const redisReply *reply, char name[SHARES_NAME_SIZE])
{
    return reply->type == REDIS_REPLY_STRING &&
           slice_to_text(slice_of(reply->str, reply->len), name, SHARES_NAME_SIZE);
}

static uint64_t read_hex(const char *at, size_t len)
{
    char text[17];
    memcpy(text, at, len);
    text[len] = '\0';
    return strtoull(text, NULL, 16);
}

static bool read_monitor(
    const redisReply *name, const redisReply *there, struct shares_monitor *ret_monitor)
{
    *ret_monitor = (struct shares_monitor){0};
    if (!read_name(name, ret_monitor->name) || there->type != REDIS_REPLY_STRING ||
        (there->len != THERE_LEN && there->len != 0)) {
        return false; // of another version
    }
    ret_monitor->leaving = there->len == 0;
    if (!ret_monitor->leaving) {
        ret_monitor->load = (unsigned)read_hex(there->str, LOAD_LEN);
    }
    for (unsigned i = 0; !ret_monitor->leaving && i < SHARE_COUNT; i++) {
        ret_monitor->digests[i] = read_hex(there->str + LOAD_LEN + (size_t)i * 16, 16);
    }
    return true;
}

// False: it is no answer of look_script.
static bool read_view(struct cluster *cluster, const redisReply *reply)
{
    struct shares_view *view = &cluster->view;
    uint64_t now_ms;
    uint64_t born_ms;
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 4 ||
        !read_ms(reply->element[0], &now_ms) || !read_ms(reply->element[1], &born_ms) ||
        reply->element[2]->type != REDIS_REPLY_ARRAY ||
        reply->element[2]->elements != SHARE_COUNT ||
        reply->element[3]->type != REDIS_REPLY_ARRAY) {
        return false;
    }
    for (unsigned i = 0; i < SHARE_COUNT; i++) {
        if (!read_name(reply->element[2]->element[i], view->owners[i])) {
            return false;
        }
    }
    const redisReply *there = reply->element[3];
    view->monitor_count = 0;
    for (size_t i = 0; i + 1 < there->elements && view->monitor_count < SHARES_MONITORS_MAX;
         i += 2) {
        view->monitor_count += read_monitor(
            there->element[i], there->element[i + 1], &view->monitors[view->monitor_count]);
    }
    view->young = now_ms < born_ms + cluster->shares.ttl_ns / NS_PER_MS;
    if (cluster->born_ms != born_ms && cluster->born_ms != 0) {
        // It has forgotten everything, the stream too.
        snprintf(cluster->position, sizeof cluster->position, "0-0");
        cluster_send_again(cluster);
    }
    cluster->born_ms = born_ms;
    cluster->redis_ms = now_ms;
    cluster->redis_heard_ns = monitor_now_ns();
    return true;
}

static void take_look(struct cluster *cluster, const redisReply *reply)
{
    char why[CLUSTER_PROBLEM_SIZE];
    if (reply->type == REDIS_REPLY_ERROR) {
        snprintf(why, sizeof why, "%.*s", reply->len > 120 ? 120 : (int)reply->len, reply->str);
        cluster_look_failed(cluster, why);
    } else if (!read_view(cluster, reply)) {
        cluster_look_failed(cluster, "what answers there knows no leases");
    } else {
        cluster_answered(cluster);
    }
}

void cluster_take_reply(struct cluster *cluster, unsigned tag, const struct redisReply *reply)
{
    if (tag == TAG_LOOK) {
        take_look(cluster, reply);
    } else if (reply->type == REDIS_REPLY_ERROR) {
        cluster->control.dropped++;
    } else if (reply->type == REDIS_REPLY_INTEGER && reply->integer == 0) {
        cluster->refused++;
    }
}

// ---- Results

static void write_document(const struct target *target, struct buf *out)
{
    const struct state *state = &target->state;
    double response_ms = target_response_ms(target);
    struct json_writer writer;
    json_writer_init(&writer, out);
    jsonw_object_begin(&writer, NULL);
    jsonw_text(&writer, "service", target->service->name);
    jsonw_text(&writer, "machine", target->service->machine->name);
    jsonw_text(&writer, "status", health_status_name(state_status(state)));
    jsonw_u64(&writer, "health_score", state_score(state, &target->rules));
    jsonw_text(&writer, "state_reason", state_reason_word(state->reason));
    jsonw_u64(&writer, "consecutive_failures", state->failures);
    if (response_ms < 0) {
        jsonw_null(&writer, "response_time_ms");
    } else {
        jsonw_double(&writer, "response_time_ms", response_ms);
    }
    view_write_time(&writer, "last_checked", target->has_last ? target->last.wall_ms : 0);
    view_write_time(&writer, "last_pass", target->last_pass_wall_ms);
    view_write_time(&writer, "last_failure", target->last_failure_wall_ms);
    jsonw_text(&writer, "message", target->has_last ? target->last.message : "");
    jsonw_object_end(&writer);
}

static bool can_send(const struct cluster *cluster, const struct target *target)
{
    return cluster->control.state == REDIS_READY && cluster->shares.mode == SHARES_SHARED &&
           cluster_holds(cluster, target);
}

static bool send_result(struct cluster *cluster, struct target *target, bool news)
{
    char lease[CLUSTER_KEY_SIZE];
    char states[CLUSTER_KEY_SIZE];
    struct buf key = BUF_INIT(KEY_MAX);
    struct buf message = BUF_INIT(DOCUMENT_MAX);
    struct buf document = BUF_INIT(DOCUMENT_MAX);
    cluster_key(lease, "lease", target->share, &cluster->shares);
    cluster_key(states, "states", target->share, &cluster->shares);
    buf_printf(
        &key, "portoser:health:%s:%s", target->service->name, target->service->machine->name);
    shared_result_write(target, cluster->shares.name, &message);
    write_document(target, &document);
    bool sent = !key.failed && !message.failed && !document.failed &&
                redis_link_send(&cluster->control, TAG_RESULT,
                    (struct slice[]){SLICE("EVAL"), slice_str(result_script), SLICE("4"),
                        slice_str(lease), SLICE(CLUSTER_STREAM), slice_str(states), buf_slice(&key),
                        slice_str(cluster->shares.name), slice_str(target->key),
                        buf_slice(&message), buf_slice(&document), news ? SLICE("1") : SLICE("0")},
                    12);
    buf_reset(&key);
    buf_reset(&message);
    buf_reset(&document);
    return sent;
}

void cluster_result(struct cluster *cluster, struct target *target)
{
    if (cluster->monitor == NULL || target->lent) {
        return;
    }
    if (!can_send(cluster, target)) {
        cluster->control.dropped++;
        target->unsent = true;
        return;
    }
    target->unsent = !send_result(cluster, target, true);
}

// ---- Again

static void on_pace(struct timer *timer)
{
    struct cluster *cluster = container_of(timer, struct cluster, pace);
    struct monitor *monitor = cluster->monitor;
    unsigned left = PACE_COUNT;
    if (cluster->control.state != REDIS_READY) {
        return; // begins again when it is
    }
    while (cluster->pace_at < monitor->target_count && left > 0 &&
           cluster->control.out.len < PACE_OUT_MAX) {
        struct target *target = monitor->targets[cluster->pace_at++];
        if (!target->unsent || !can_send(cluster, target)) {
            continue;
        }
        bool missed = cluster->lost_wall_ms != 0 && target->own_result &&
                      target->last.wall_ms + LOST_MARGIN_MS >= cluster->lost_wall_ms;
        target->unsent = !send_result(cluster, target, missed);
        left--;
    }
    if (cluster->pace_at < monitor->target_count) {
        worker_arm_in(cluster->worker, timer, PACE_NS);
    } else {
        cluster->lost_wall_ms = 0;
    }
}

void cluster_send_start(struct cluster *cluster)
{
    timer_init(&cluster->pace, on_pace);
}

void cluster_send_again(struct cluster *cluster)
{
    if (cluster->shares.mode != SHARES_SHARED || timer_armed(&cluster->pace)) {
        return;
    }
    cluster->pace_at = 0;
    worker_arm_in(cluster->worker, &cluster->pace, 0);
}

// ---- Events

static void put_status(struct json_writer *writer, const char *key, unsigned status)
{
    if (status == EVENT_NO_STATUS) {
        jsonw_null(writer, key);
    } else {
        jsonw_text(writer, key, health_status_name(status));
    }
}

static void write_event(const struct health_event *event, struct buf *out)
{
    struct json_writer writer;
    json_writer_init(&writer, out);
    jsonw_object_begin(&writer, NULL);
    jsonw_text(&writer, "type", "health_status_change");
    jsonw_string(&writer, "service", event->service);
    jsonw_string(&writer, "machine", event->machine);
    put_status(&writer, "previous_status", event->previous);
    put_status(&writer, "new_status", event->status);
    jsonw_string(&writer, "message", event->message);
    view_write_time(&writer, "timestamp", event->wall_ms);
    jsonw_object_end(&writer);
}

void cluster_event(struct cluster *cluster, const struct health_event *event)
{
    if (cluster->monitor == NULL || event->type != EVENT_STATUS_CHANGE) {
        return;
    }
    const struct target *target = monitor_find(cluster->monitor, event->service, event->machine);
    if (target == NULL || target->lent || !can_send(cluster, target)) {
        return;
    }
    char lease[CLUSTER_KEY_SIZE];
    struct buf document = BUF_INIT(DOCUMENT_MAX);
    cluster_key(lease, "lease", target->share, &cluster->shares);
    write_event(event, &document);
    if (!document.failed) {
        (void)redis_link_send(&cluster->control, TAG_EVENT,
            (struct slice[]){SLICE("EVAL"), slice_str(event_script), SLICE("1"), slice_str(lease),
                slice_str(cluster->shares.name), SLICE("portoser:health"), buf_slice(&document)},
            7); // what is dropped is counted
    }
    buf_reset(&document);
}

void cluster_maintenance(struct cluster *cluster, const struct target *target)
{
    struct buf message = BUF_INIT(DOCUMENT_MAX);
    if (cluster->monitor == NULL) {
        return;
    }
    shared_maintenance_write(target, &message);
    if (!message.failed) {
        (void)redis_link_send(&cluster->control, TAG_EVENT,
            (struct slice[]){SLICE("EVAL"), slice_str(maintenance_script), SLICE("2"),
                SLICE(CLUSTER_MAINTENANCE), SLICE(CLUSTER_STREAM), slice_str(target->key),
                buf_slice(&message), target->maintenance.on ? SLICE("1") : SLICE("0")},
            8); // what is dropped is counted
    }
    buf_reset(&message);
}

static bool send_to_stream(struct cluster *cluster, const struct buf *message)
{
    return !message->failed &&
           redis_link_send(&cluster->control, TAG_EVENT,
               (struct slice[]){SLICE("XADD"), SLICE(CLUSTER_STREAM), SLICE("MAXLEN"), SLICE("~"),
                   SLICE("8192"), SLICE("*"), SLICE("m"), buf_slice(message)},
               8);
}

void cluster_tell_others(
    struct cluster *cluster, const char *what, struct slice about, struct slice json)
{
    struct buf message = BUF_INIT(TOLD_MAX);
    if (cluster->monitor == NULL || cluster->shares.mode == SHARES_ALONE) {
        return;
    }
    shared_told_write(cluster->shares.name, what, about, json, &message);
    (void)send_to_stream(cluster, &message); // what is dropped is counted
    buf_reset(&message);
}

bool cluster_ask(struct cluster *cluster, const struct target *target)
{
    struct buf message = BUF_INIT(DOCUMENT_MAX);
    if (cluster->monitor == NULL) {
        return false;
    }
    shared_check_write(target, &message);
    bool sent = send_to_stream(cluster, &message);
    buf_reset(&message);
    return sent;
}
