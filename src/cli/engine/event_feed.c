// SPDX-License-Identifier: Apache-2.0
// One connection after another, over a WebSocket or server-sent events, and what is there.
//
//   WAITING ─timer─► RESOLVING ─► DIALING ─► OPEN ─┐   a WebSocket, each address in its turn
//      ▲    └──────► OPEN (libcurl does the rest) ─┤   server-sent events
//      └──────────────────── ending ◄──────────────┘   until nothing of the connection is left
//
// 1. What belongs to a connection (resolve, dial, ws, call, reader) is let go of by `tear_down`
//    only, from a deferred job: never inside a callback of libcurl or of the websocket.
// 2. A new connection begins when nothing of the last one is left (ws_used and dial say so).
// 3. The state is what was told: an event is applied before the receiver hears of it, and one that
//    nobody heard of, because of a pause, is found again by the next comparison.
// 4. Each deadline is the one timer's: the wait between connections, or the silence of an open one.
#include "cli/engine/event_feed.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/time.h"
#include "cli/engine/sse.h"
#include "loop/resolver.h"
#include "stream/tls_context.h"
#include "stream/ws_client.h"
#include "sys/clock.h"
#include "sys/entropy.h"
#include "sys/resolve.h"

#define MESSAGE_BYTES_MAX ((size_t)64 << 20) // a snapshot of everything
#define WAIT_FIRST_NS (500 * NS_PER_MS)
#define WAIT_MAX_NS (30 * NS_PER_S)
#define CONNECT_NS (10 * NS_PER_S)
#define SILENCE_NS (60 * NS_PER_S) // an engine says something every 15 s
#define REASON_SIZE ENGINE_API_PROBLEM_SIZE

enum feed_phase { WAITING, RESOLVING, DIALING, OPEN, ENDING };

struct event_feed {
    struct worker *worker;
    struct event_feed_options options;
    struct feed_state state;
    struct timer timer;
    struct job tear_down;
    struct resolve *resolve;
    struct ws_dial *dial;
    struct http_call *call;
    struct sse_reader reader;
    SSL_CTX *tls; // owned
    struct ws ws;
    struct ip ips[SYS_RESOLVE_MAX];
    size_t ip_count;
    size_t ip_at;
    uint64_t lost_ns;  // since when nothing is heard; 0: it is, or never was
    unsigned failures; // in a row
    enum feed_phase phase;
    bool ws_used; // the memory of ws belongs to a connection
    bool known;   // state is that of a snapshot
    bool paused;
    bool closed;
    bool refused;
    char reason[REASON_SIZE]; // why the connection ends
    char target[ENGINE_API_TARGET_SIZE];
};

static void begin(struct event_feed *feed);

static void notify(struct event_feed *feed, enum feed_notice notice, const char *text,
    uint64_t wait_ns, size_t count)
{
    if (!feed->closed) {
        feed->options.hooks.notice(feed->options.hooks.arg, notice, text, wait_ns, count);
    }
}

// ---- Ends of connections

static void feed_free(struct event_feed *feed)
{
    timer_cancel(&feed->timer);
    sse_reader_fini(&feed->reader);
    feed_state_fini(&feed->state);
    SSL_CTX_free(feed->tls);
    mem_free(feed);
}

// Full jitter: anything up to twice as long each time.
static uint64_t next_wait_ns(struct event_feed *feed)
{
    uint64_t random = 0;
    uint64_t most_ns = WAIT_MAX_NS;
    if (feed->failures < 6) {
        most_ns = WAIT_FIRST_NS << feed->failures;
    }
    feed->failures++;
    if (sys_entropy(&random, sizeof random) != WEIR_OK) {
        random = worker_now(feed->worker);
    }
    return random % (most_ns < WAIT_MAX_NS ? most_ns : WAIT_MAX_NS);
}

// Goes on once nothing of the connection is left.
static void settle(struct event_feed *feed)
{
    if (feed->ws_used || feed->dial != NULL || list_linked(&feed->tear_down.node)) {
        return;
    }
    if (feed->closed) {
        feed_free(feed);
        return;
    }
    feed->phase = WAITING;
    if (feed->refused) {
        notify(feed, FEED_REFUSED, feed->reason, 0, 0);
    } else if (!feed->paused && feed->reason[0] != '\0') {
        uint64_t wait_ns = next_wait_ns(feed);
        feed->lost_ns = feed->lost_ns == 0 ? worker_now(feed->worker) : feed->lost_ns;
        worker_arm_in(feed->worker, &feed->timer, wait_ns);
        notify(feed, FEED_LOST, feed->reason, wait_ns, 0); // it may close the feed
    } else if (!feed->paused) {
        worker_arm_in(feed->worker, &feed->timer, 0); // resumed meanwhile
    }
}

static void on_tear_down(struct worker *worker, struct job *job)
{
    struct event_feed *feed = container_of(job, struct event_feed, tear_down);
    (void)worker;
    timer_cancel(&feed->timer);
    if (feed->resolve != NULL) {
        resolve_cancel(feed->resolve);
        feed->resolve = NULL;
    }
    http_call_cancel(feed->call);
    feed->call = NULL;
    sse_reader_fini(&feed->reader);
    if (feed->dial != NULL) {
        ws_dial_give_up(feed->dial);
    }
    if (feed->ws_used) {
        ws_cut(&feed->ws, &close_GOING_AWAY);
    }
    settle(feed);
}

// The first reason counts; "" is none: it is paused or closed.
static void end_connection(struct event_feed *feed, const char *reason)
{
    if (feed->phase == ENDING) {
        return;
    }
    feed->phase = ENDING;
    snprintf(feed->reason, sizeof feed->reason, "%s", reason);
    if (!list_linked(&feed->tear_down.node)) {
        worker_defer(feed->worker, &feed->tear_down, on_tear_down);
    }
}

static void refuse(struct event_feed *feed, const char *reason)
{
    feed->refused = true;
    end_connection(feed, reason);
}

// A token that is not valid, or a filter that is none, will not be any better next time.
static bool is_final(unsigned status)
{
    return status == 400 || status == 401 || status == 403 || status == 404 || status == 421;
}

// ---- Events

static bool listens(const struct event_feed *feed)
{
    return feed->phase == OPEN && !feed->paused && !feed->closed;
}

static void tell(struct event_feed *feed, const json_t *event, enum event_origin origin)
{
    if (feed_state_apply(&feed->state, event) != WEIR_OK) {
        end_connection(feed, "the engine sent an event that is none");
        return;
    }
    const char *type = json_string_value(json_object_get(event, "type"));
    feed->options.hooks.event(feed->options.hooks.arg, type, event, origin);
}

static void catch_up(struct event_feed *feed, const json_t *snapshot)
{
    json_t *events = feed_state_catch_up(&feed->state, snapshot, sys_wall_ms());
    json_t *event;
    size_t index;
    size_t told = 0;
    if (events == NULL) {
        end_connection(feed, "the engine sent a snapshot that is none");
        return;
    }
    json_array_foreach(events, index, event)
    {
        if (listens(feed)) {
            tell(feed, event, EVENT_CATCH_UP);
            told++;
        }
    }
    json_decref(events);
    if (feed->lost_ns != 0) {
        uint64_t gap_ns = worker_now(feed->worker) - feed->lost_ns;
        feed->lost_ns = 0;
        notify(feed, FEED_CAUGHT_UP, NULL, gap_ns, told);
    }
}

static void take_message(struct event_feed *feed, struct slice text)
{
    json_t *event = json_loadb(text.at, text.len, 0, NULL);
    const char *type = json_string_value(json_object_get(event, "type"));
    if (type == NULL) {
        end_connection(feed, "the engine sent what is no event");
    } else if (strcmp(type, "state.initial") != 0) {
        if (feed->known) {
            tell(feed, event, EVENT_LIVE);
        }
    } else {
        feed->failures = 0;
        if (feed->known) {
            catch_up(feed, json_object_get(event, "object"));
        } else {
            feed->known = true;
            notify(feed, FEED_CONNECTED, NULL, 0, 0);
            tell(feed, event, EVENT_SNAPSHOT);
        }
    }
    json_decref(event);
}

// ---- Over a WebSocket

static void on_message(struct ws *ws, struct ws_message *message)
{
    struct event_feed *feed = container_of(ws, struct event_feed, ws);
    if (listens(feed) && message->opcode == WS_TEXT) {
        take_message(feed, slice_of(message->bytes, message->len));
    }
}

static void on_ended(struct ws *ws, const struct close_reason *reason)
{
    end_connection(container_of(ws, struct event_feed, ws), reason->english);
}

static void on_gone(struct ws *ws)
{
    struct event_feed *feed = container_of(ws, struct event_feed, ws);
    feed->ws_used = false;
    settle(feed);
}

static const struct ws_events ws_events = {
    .message = on_message,
    .ended = on_ended,
    .gone = on_gone,
};

static const struct ws_policy ws_policy = {
    .events = &ws_events,
    .message_max = MESSAGE_BYTES_MAX,
    .queue_max = 65536,
    .queue_high = 32768,
    .queue_low = 16384,
    .ping_interval_ns = 20 * NS_PER_S,
    .pong_timeout_ns = 20 * NS_PER_S,
    .idle_timeout_ns = SILENCE_NS,
    .message_timeout_ns = SILENCE_NS,
    .client = true,
};

static void dial_next(struct event_feed *feed, const char *reason);

static void on_connected(void *arg)
{
    struct event_feed *feed = arg;
    feed->dial = NULL;
    feed->ws_used = true;
    if (feed->phase == DIALING) {
        feed->phase = OPEN;
    } else {
        ws_cut(&feed->ws, &close_GOING_AWAY); // nobody wants it any more
    }
}

static void on_failed(void *arg, const char *reason, unsigned status)
{
    struct event_feed *feed = arg;
    char text[REASON_SIZE];
    feed->dial = NULL;
    if (feed->phase != DIALING) {
        settle(feed);
    } else if (is_final(status)) {
        snprintf(text, sizeof text, "%s; %s", reason, engine_api_advice(status));
        refuse(feed, text);
    } else {
        dial_next(feed, reason);
    }
}

// The next address, or the end with this reason when there is none.
static void dial_next(struct event_feed *feed, const char *reason)
{
    static const struct ws_dial_events events = {on_connected, on_failed};
    const struct profile *profile = feed->options.api->profile;
    if (feed->ip_at == feed->ip_count) {
        end_connection(feed, reason);
        return;
    }
    feed->phase = DIALING;
    feed->dial = ws_dial_start(feed->worker, &feed->ws,
        &(struct ws_dial_options){
            .peer = "the engine",
            .host = profile->server_name,
            .port = profile->port,
            .target = feed->target,
            .token = profile->token,
            .tls = feed->tls,
            .verify_host = !profile->insecure_skip_verify,
            .address = {feed->ips[feed->ip_at++], profile->port},
            .timeout_ns = CONNECT_NS,
            .policy = &ws_policy,
        },
        &events, feed);
    if (feed->dial == NULL) {
        end_connection(feed, "out of memory or descriptors");
    }
}

static void on_resolved(void *arg, enum weir_result result, const struct ip *ips, size_t count)
{
    struct event_feed *feed = arg;
    feed->resolve = NULL;
    timer_cancel(&feed->timer);
    feed->ip_count = count < SYS_RESOLVE_MAX ? count : SYS_RESOLVE_MAX;
    feed->ip_at = 0;
    if (result == WEIR_OK) {
        memcpy(feed->ips, ips, feed->ip_count * sizeof *ips);
    }
    dial_next(feed, result == WEIR_NOT_FOUND ? "there is no such name" : "no name server answers");
}

static void begin_ws(struct event_feed *feed)
{
    const struct profile *profile = feed->options.api->profile;
    feed->ip_at = 0;
    feed->ip_count = 1;
    if (ip_parse(slice_str(profile->host), &feed->ips[0]) == WEIR_OK) {
        dial_next(feed, "");
        return;
    }
    feed->phase = RESOLVING;
    feed->resolve = resolve_start(feed->worker, profile->host, on_resolved, feed);
    if (feed->resolve == NULL) {
        end_connection(feed, "out of memory");
        return;
    }
    worker_arm_in(feed->worker, &feed->timer, CONNECT_NS);
}

// ---- Over server-sent events

static void on_chunk(void *arg, struct slice bytes)
{
    struct event_feed *feed = arg;
    struct slice data;
    enum weir_result result = WEIR_OK;
    if (feed->phase != OPEN) {
        return;
    }
    worker_arm_in(feed->worker, &feed->timer, SILENCE_NS);
    while (listens(feed) && sse_reader_next(&feed->reader, &bytes, &data, &result)) {
        take_message(feed, data);
    }
    if (result != WEIR_OK) {
        end_connection(feed, "the engine sent an event that is too long");
    }
}

static void on_sse_end(void *arg, const struct http_call_result *result)
{
    struct event_feed *feed = arg;
    char text[ENGINE_API_PROBLEM_SIZE];
    feed->call = NULL;
    if (result->outcome == HTTP_CALL_ANSWERED && result->status == 200) {
        end_connection(feed, "the engine ended the stream");
        return;
    }
    engine_api_describe(feed->options.api, result, text);
    if (result->outcome == HTTP_CALL_ANSWERED && is_final(result->status)) {
        refuse(feed, text);
    } else {
        end_connection(feed, text);
    }
}

static void begin_sse(struct event_feed *feed)
{
    sse_reader_init(&feed->reader, MESSAGE_BYTES_MAX);
    feed->phase = OPEN;
    feed->call =
        engine_api_start(feed->worker, feed->options.api, feed->target, on_chunk, on_sse_end, feed);
    if (feed->call == NULL) {
        end_connection(feed, "out of memory");
        return;
    }
    worker_arm_in(feed->worker, &feed->timer, SILENCE_NS);
}

// ---- Life

static void begin(struct event_feed *feed)
{
    feed->reason[0] = '\0';
    if (feed->options.sse) {
        begin_sse(feed);
    } else {
        begin_ws(feed);
    }
}

static void on_timer(struct timer *timer)
{
    struct event_feed *feed = container_of(timer, struct event_feed, timer);
    if (feed->phase == WAITING) {
        begin(feed);
    } else {
        end_connection(feed,
            feed->phase == RESOLVING ? "no name server answers" : "nothing was heard for a minute");
    }
}

struct event_feed *event_feed_open(struct worker *worker, const struct event_feed_options *options)
{
    const struct profile *profile = options->api->profile;
    struct event_feed *feed = mem_zalloc(sizeof *feed);
    if (feed == NULL) {
        return NULL;
    }
    feed->worker = worker;
    feed->options = *options;
    timer_init(&feed->timer, on_timer);
    list_init(&feed->tear_down.node);
    const char *path = options->sse ? "/api/sse" : "/api/websocket";
    feed->tls = tls_client_new(profile->ca_file, !profile->insecure_skip_verify);
    if (feed->tls == NULL || feed_state_init(&feed->state) != WEIR_OK ||
        !engine_api_target(path, options->params, feed->target)) {
        feed_free(feed);
        return NULL;
    }
    worker_arm_in(worker, &feed->timer, 0);
    return feed;
}

void event_feed_close(struct event_feed *feed)
{
    if (feed == NULL || feed->closed) {
        return;
    }
    feed->closed = true;
    if (!list_linked(&feed->tear_down.node)) {
        worker_defer(feed->worker, &feed->tear_down, on_tear_down);
    }
}

void event_feed_pause(struct event_feed *feed)
{
    feed->paused = true;
    if (feed->phase == WAITING) {
        timer_cancel(&feed->timer);
    } else {
        end_connection(feed, "");
    }
}

void event_feed_resume(struct event_feed *feed)
{
    bool was_paused = feed->paused;
    feed->paused = false;
    if (was_paused && feed->phase == WAITING) {
        worker_arm_in(feed->worker, &feed->timer, 0);
    }
}
