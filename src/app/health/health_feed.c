// SPDX-License-Identifier: Apache-2.0
//   again ──name──► dial ──► open: every message is news ──┐
//     ▲       └───────┴──────────── lost ──────────────────┘
//     └─1 s, doubled up to 30 s─┘
//
// 1. At any time at most one of these is under way: timer, name, dial, connection.
// 2. After health_feed_close (worker is NULL) nobody is told of anything.
#include "app/health/health_feed.h"

#include <stdio.h>

#include "base/number.h"
#include "base/time.h"
#include "stream/tls_context.h"

#define PATH "/ws"
#define MESSAGE_MAX (1024 * 1024) // as the monitor bounds them
#define QUEUE_MAX 16384
#define WAIT_FIRST_NS NS_PER_S
#define WAIT_MAX_NS (30 * NS_PER_S)
#define SILENCE_NS (90 * NS_PER_S) // the monitor pings every 30 s

static void on_message(struct ws *ws, struct ws_message *message)
{
    struct health_feed *feed = container_of(ws, struct health_feed, ws);
    (void)message; // what it says is asked for: one document shows all of it
    if (feed->worker != NULL) {
        feed->news(feed->arg);
    }
}

static void try_later(struct health_feed *feed)
{
    uint64_t wait_ns = feed->failures < 5 ? WAIT_FIRST_NS << feed->failures : WAIT_MAX_NS;
    feed->failures++;
    if (feed->worker != NULL) {
        worker_arm_in(feed->worker, &feed->again, wait_ns);
    }
}

static void on_ended(struct ws *ws, const struct close_reason *reason)
{
    (void)ws;
    (void)reason; // on_gone follows
}

static void on_gone(struct ws *ws)
{
    struct health_feed *feed = container_of(ws, struct health_feed, ws);
    feed->ws_used = false;
    try_later(feed);
}

static const struct ws_events ws_events = {
    .message = on_message,
    .ended = on_ended,
    .gone = on_gone,
};

static const struct ws_policy ws_policy = {
    .events = &ws_events,
    .message_max = MESSAGE_MAX,
    .queue_max = QUEUE_MAX,
    .queue_high = QUEUE_MAX / 2,
    .queue_low = QUEUE_MAX / 4,
    .idle_timeout_ns = SILENCE_NS,
    .message_timeout_ns = SILENCE_NS,
    .client = true,
};

static void on_connected(void *arg)
{
    struct health_feed *feed = arg;
    feed->dial = NULL;
    feed->ws_used = true;
    feed->failures = 0;
    if (feed->worker == NULL) {
        ws_cut(&feed->ws, &close_GOING_AWAY);
        return;
    }
    feed->news(feed->arg); // of what happened while nobody listened
}

static void on_failed(void *arg, const char *reason, unsigned status)
{
    struct health_feed *feed = arg;
    (void)reason; // the questions fail as well, and say why
    (void)status;
    feed->dial = NULL;
    try_later(feed);
}

static void dial(struct health_feed *feed)
{
    static const struct ws_dial_events events = {on_connected, on_failed};
    struct ws_dial_options options = {
        .peer = "the monitor",
        .host = feed->host,
        .port = feed->port,
        .target = feed->target,
        .token = feed->server->token,
        .tls = feed->tls,
        .verify_host = true,
        .unix_path = health_server_socket(feed->server),
        .timeout_ns = 2 * feed->server->timeout_ns,
        .policy = &ws_policy,
    };
    if (feed->ip_count > 0) {
        options.address =
            (struct sys_address){feed->ips[feed->failures % feed->ip_count], feed->port};
    }
    feed->dial = ws_dial_start(feed->worker, &feed->ws, &options, &events, feed);
    if (feed->dial == NULL) {
        try_later(feed);
    }
}

static void on_name(void *arg, enum weir_result result, const struct ip *ips, size_t count)
{
    struct health_feed *feed = arg;
    size_t max = sizeof feed->ips / sizeof feed->ips[0];
    feed->resolve = NULL;
    feed->ip_count = result != WEIR_OK ? 0 : count < max ? count : max;
    for (size_t i = 0; i < feed->ip_count; i++) {
        feed->ips[i] = ips[i];
    }
    if (feed->ip_count > 0) {
        dial(feed);
    } else {
        try_later(feed);
    }
}

static void on_again(struct timer *timer)
{
    struct health_feed *feed = container_of(timer, struct health_feed, again);
    struct sys_address address;
    if (health_server_socket(feed->server) != NULL) {
        dial(feed);
    } else if (sys_address_parse(feed->host, feed->port, &address) == WEIR_OK) {
        feed->ips[0] = address.ip;
        feed->ip_count = 1;
        dial(feed);
    } else {
        feed->resolve = resolve_start(feed->worker, feed->host, on_name, feed);
        if (feed->resolve == NULL) {
            try_later(feed);
        }
    }
}

// "http://host:8988/base". False: it is none that can be dialled.
static bool read_url(struct health_feed *feed, struct slice url, bool *ret_tls)
{
    uint64_t port;
    *ret_tls = slice_starts_with_nocase(url, SLICE("https://"));
    if (!*ret_tls && !slice_starts_with_nocase(url, SLICE("http://"))) {
        return false;
    }
    struct slice rest = slice_skip(url, *ret_tls ? 8 : 7);
    ptrdiff_t slash = slice_find(rest, '/');
    struct slice place = slash < 0 ? rest : slice_of(rest.at, (size_t)slash);
    struct slice base = slash < 0 ? SLICE_EMPTY : slice_skip(rest, (size_t)slash);
    while (slice_ends_with(base, SLICE("/"))) {
        base.len--;
    }
    size_t host_len = place.len;
    bool bracket = slice_starts_with(place, SLICE("["));
    while (host_len > 0 && place.at[host_len - 1] != ':' && place.at[host_len - 1] != ']') {
        host_len--;
    }
    bool has_port = host_len > 0 && place.at[host_len - 1] == ':';
    struct slice host = has_port ? slice_of(place.at, host_len - 1) : place;
    if (bracket && slice_ends_with(host, SLICE("]"))) {
        host = slice_of(host.at + 1, host.len - 2);
    }
    port = *ret_tls ? 443 : 80;
    if (has_port && number_parse_u64(slice_skip(place, host_len), 65535, &port) != WEIR_OK) {
        return false;
    }
    feed->port = (uint16_t)port;
    int len = snprintf(feed->target, sizeof feed->target, "%.*s" PATH, SLICE_ARG(base));
    return len > 0 && (size_t)len < sizeof feed->target && host.len > 0 &&
           slice_to_text(host, feed->host, sizeof feed->host);
}

enum weir_result health_feed_open(struct health_feed *feed, struct worker *worker,
    const struct health_server *server, void (*news)(void *arg), void *arg)
{
    bool tls = false;
    *feed = (struct health_feed){
        .worker = worker, .server = server, .news = news, .arg = arg, .port = 80};
    timer_init(&feed->again, on_again);
    snprintf(feed->host, sizeof feed->host, "localhost");
    snprintf(feed->target, sizeof feed->target, PATH);
    enum weir_result result = ws_worker_init(worker, QUEUE_MAX);
    if (result != WEIR_OK) {
        return result;
    }
    if (health_server_socket(server) == NULL && !read_url(feed, slice_str(server->base), &tls)) {
        return WEIR_OK;
    }
    feed->tls = tls ? tls_client_new(NULL, true) : NULL;
    if (!tls || feed->tls != NULL) {
        worker_arm_in(worker, &feed->again, 0);
    }
    return WEIR_OK;
}

void health_feed_close(struct health_feed *feed)
{
    if (feed->worker == NULL) {
        return;
    }
    feed->worker = NULL;
    timer_cancel(&feed->again);
    if (feed->resolve != NULL) {
        resolve_cancel(feed->resolve);
        feed->resolve = NULL;
    }
    if (feed->dial != NULL) {
        ws_dial_give_up(feed->dial);
    }
    if (feed->ws_used) {
        ws_cut(&feed->ws, &close_GOING_AWAY);
    }
}

void health_feed_fini(struct health_feed *feed, struct worker *worker)
{
    // One that was just being connected is cut in the turn in which it is.
    while (feed->dial != NULL || feed->ws_used) {
        worker_settle(worker);
    }
    if (feed->server != NULL) {
        SSL_CTX_free(feed->tls);
        feed->tls = NULL;
        ws_worker_fini(worker);
    }
}
