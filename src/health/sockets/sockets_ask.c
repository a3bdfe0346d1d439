// SPDX-License-Identifier: Apache-2.0
// What clients send: "ping" on every socket, subscriptions and questions on those for metrics (spec
// section 5.3). Whatever is not understood is told, and the connection stays open.
#include <stdio.h>

#include "base/utf8.h"
#include "health/machines/devices.h"
#include "health/sockets/dialect.h"
#include "health/sockets/sockets_internal.h"
#include "sys/clock.h"

#define SHOWN_MAX 200 // of what a client sent, in an error
#define COMPLAINT_SIZE (2 * SHOWN_MAX + 200)
#define REPLY_MAX (1024 * 1024)

// For "%.*s" in an error; the writer mends UTF-8 that was cut.
static struct slice shown(struct slice text)
{
    return text.len > SHOWN_MAX ? slice_of(text.at, SHOWN_MAX) : text;
}

static void send_reply(struct socket_watcher *watcher, struct json_writer *writer, struct buf *out)
{
    message_time(writer, sys_wall_ms());
    jsonw_object_end(writer);
    if (!out->failed) {
        (void)socket_send(watcher, buf_slice(out), false);
    }
    buf_reset(out);
}

// ---- Subscribing

static void tell_failure(struct socket_watcher *watcher, struct slice name, enum weir_result result)
{
    char text[COMPLAINT_SIZE];
    struct slice part = shown(name);
    if (result == WEIR_FULL) {
        snprintf(
            text, sizeof text, "Too many subscriptions; at most %d are kept", SUBSCRIPTIONS_MAX);
    } else if (result == WEIR_TOO_LONG) {
        snprintf(text, sizeof text, "Invalid subscription: %.*s", SLICE_ARG(part));
    } else {
        snprintf(text, sizeof text, "Out of memory");
    }
    message_text(watcher, "error", text, true);
}

static void reply_device(struct socket_watcher *watcher, const char *type, struct slice id)
{
    struct buf out = BUF_INIT(REPLY_MAX);
    struct json_writer writer;
    message_begin(&writer, &out, type);
    jsonw_string(&writer, "device_id", id);
    jsonw_string(&writer, "hostname", id);
    jsonw_array_begin(&writer, "subscriptions");
    jsonw_string(&writer, NULL, id);
    jsonw_array_end(&writer);
    send_reply(watcher, &writer, &out);
}

static void push_samples_of(struct socket_watcher *watcher, struct slice id)
{
    const struct devices *devices = watcher->sockets->devices;
    char text[COMPLAINT_SIZE];
    struct slice part = shown(id);
    const struct device *device = devices_find(devices, id);
    if (slice_eq(id, SLICE("*"))) {
        sockets_send_samples(watcher);
    } else if (device != NULL) {
        sockets_send_device(watcher, device);
    } else {
        snprintf(text, sizeof text, "Unknown device: %.*s", SLICE_ARG(part));
        message_text(watcher, "error", text, true);
    }
}

static void subscribe_devices(struct socket_watcher *watcher, const struct ask *ask)
{
    size_t count = ask_name_count(ask->devices);
    if (count == 0) {
        message_text(watcher, "error", "device_id must be a text or a list of texts", true);
    }
    for (size_t i = 0; i < count && ws_is_open(&watcher->ws); i++) {
        struct slice id = ask_name(ask->devices, i);
        enum weir_result result = subscriptions_add(&watcher->subscriptions, SUBSCRIBED_DEVICE, id);
        if (result != WEIR_OK) {
            tell_failure(watcher, id, result);
            return;
        }
        reply_device(watcher, "subscribed", id);
        push_samples_of(watcher, id);
    }
}

// A pattern that is of use, or an error to the client.
static bool take_pattern(struct socket_watcher *watcher, struct slice pattern)
{
    char text[COMPLAINT_SIZE];
    struct slice part = shown(pattern);
    struct slice service;
    struct slice machine;
    if (!ask_split_pattern(pattern, &service, &machine)) {
        snprintf(text, sizeof text, "Invalid subscription format: %.*s. Use 'service@machine'",
            SLICE_ARG(part));
        message_text(watcher, "error", text, true);
        return false;
    }
    enum weir_result result =
        subscriptions_add(&watcher->subscriptions, SUBSCRIBED_PATTERN, pattern);
    if (result != WEIR_OK) {
        tell_failure(watcher, pattern, result);
    }
    return result == WEIR_OK;
}

static void subscribe_patterns(struct socket_watcher *watcher, const json_t *patterns)
{
    struct buf out = BUF_INIT(REPLY_MAX);
    struct json_writer writer;
    if (!json_is_array(patterns)) {
        message_text(watcher, "error", "subscriptions must be a list", true);
        return;
    }
    message_begin(&writer, &out, "subscribed");
    jsonw_array_begin(&writer, "subscriptions");
    for (size_t i = 0; i < json_array_size(patterns) && ws_is_open(&watcher->ws); i++) {
        struct slice pattern = ask_name(patterns, i);
        if (take_pattern(watcher, pattern)) {
            jsonw_string(&writer, NULL, pattern);
        }
    }
    jsonw_array_end(&writer);
    send_reply(watcher, &writer, &out);
}

static void subscribe(struct socket_watcher *watcher, const struct ask *ask)
{
    if (ask->devices != NULL) {
        subscribe_devices(watcher, ask);
    } else if (watcher->kind->audience == AUDIENCE_DEVICES) {
        reply_device(watcher, "subscribed", SLICE("*"));
    } else {
        subscribe_patterns(watcher, ask->patterns);
    }
}

static void unsubscribe_all(struct socket_watcher *watcher)
{
    struct buf out = BUF_INIT(REPLY_MAX);
    struct json_writer writer;
    subscriptions_fini(&watcher->subscriptions);
    message_begin(&writer, &out, "unsubscribed");
    jsonw_text(&writer, "subscriptions", "all");
    send_reply(watcher, &writer, &out);
}

static void unsubscribe(struct socket_watcher *watcher, const struct ask *ask)
{
    struct buf out = BUF_INIT(REPLY_MAX);
    struct json_writer writer;
    for (size_t i = 0; i < ask_name_count(ask->devices); i++) {
        struct slice id = ask_name(ask->devices, i);
        subscriptions_remove(&watcher->subscriptions, SUBSCRIBED_DEVICE, id);
        reply_device(watcher, "unsubscribed", id);
    }
    if (ask->devices != NULL) {
        return;
    }
    if (ask->patterns == NULL) {
        unsubscribe_all(watcher);
        return;
    }
    message_begin(&writer, &out, "unsubscribed");
    jsonw_array_begin(&writer, "subscriptions");
    for (size_t i = 0; i < ask_name_count(ask->patterns); i++) {
        struct slice pattern = ask_name(ask->patterns, i);
        subscriptions_remove(&watcher->subscriptions, SUBSCRIBED_PATTERN, pattern);
        jsonw_string(&writer, NULL, pattern);
    }
    jsonw_array_end(&writer);
    send_reply(watcher, &writer, &out);
}

// ---- Questions

// There are no samples of services, only of machines.
static void tell_current(struct socket_watcher *watcher, const struct ask *ask)
{
    char text[2 * COMPLAINT_SIZE];
    struct slice service = shown(ask->service);
    struct slice machine = shown(ask->machine);
    if (service.len == 0 || machine.len == 0) {
        message_text(watcher, "error", "service and machine required for get_current", true);
        return;
    }
    snprintf(text, sizeof text, "No metrics found for %.*s@%.*s", SLICE_ARG(service),
        SLICE_ARG(machine));
    message_text(watcher, "error", text, true);
}

static size_t count_everywhere(const struct socket_watcher *asking, struct slice wanted)
{
    size_t count = 0;
    list_for_each (node, &asking->sockets->watchers) {
        const struct socket_watcher *watcher = container_of(node, struct socket_watcher, node);
        for (size_t i = 0; i < watcher->subscriptions.count; i++) {
            bool mine = watcher == asking || asking->role == ROLE_ADMIN;
            count += mine && slice_eq(subscriptions_text(&watcher->subscriptions, i), wanted);
        }
    }
    return count;
}

static void tell_subscriptions(struct socket_watcher *watcher)
{
    struct buf out = BUF_INIT(REPLY_MAX);
    struct json_writer writer;
    message_begin(&writer, &out, "subscriptions_list");
    jsonw_object_begin(&writer, "subscriptions");
    for (size_t i = 0; i < watcher->subscriptions.count; i++) {
        struct slice text = subscriptions_text(&watcher->subscriptions, i);
        jsonw_key(&writer, text);
        jsonw_u64(&writer, NULL, count_everywhere(watcher, text));
    }
    jsonw_object_end(&writer);
    send_reply(watcher, &writer, &out);
}

static void tell_unknown(struct socket_watcher *watcher, const struct ask *ask)
{
    char text[COMPLAINT_SIZE];
    struct slice word = shown(ask->word);
    snprintf(text, sizeof text, "Unknown action: %.*s", SLICE_ARG(word));
    message_text(watcher, "error", text, true);
}

static void answer(struct socket_watcher *watcher, const struct ask *ask)
{
    switch (ask->verb) {
    case ASK_NOT_JSON:
        message_text(watcher, "error", "Invalid JSON", true);
        break;
    case ASK_PING:
        message_text(watcher, "pong", NULL, true);
        break;
    case ASK_PONG:
        break;
    case ASK_SUBSCRIBE:
        subscribe(watcher, ask);
        break;
    case ASK_UNSUBSCRIBE:
        unsubscribe(watcher, ask);
        break;
    case ASK_CURRENT:
        tell_current(watcher, ask);
        break;
    case ASK_LIST:
        tell_subscriptions(watcher);
        break;
    case ASK_UNKNOWN:
        tell_unknown(watcher, ask);
        break;
    }
}

void socket_hear(struct socket_watcher *watcher, struct slice text)
{
    enum audience audience = watcher->kind->audience;
    struct ask ask;
    ask_read(&ask, text);
    watcher->pinged = watcher->pinged || ask.third;
    if (watcher->pinged) {
        worker_arm_in(watcher->sockets->worker, &watcher->ping, SOCKET_PING_NS);
    }
    if (audience == AUDIENCE_METRICS || audience == AUDIENCE_DEVICES) {
        answer(watcher, &ask);
    } else if (ask.verb == ASK_PING) {
        message_text(watcher, "pong", NULL, false);
    }
    ask_fini(&ask);
}
