// SPDX-License-Identifier: Apache-2.0
// Shared by sockets.c (who watches), sockets_tell.c (what is pushed) and sockets_ask.c (what is
// asked).
#ifndef WEIR_HEALTH_SOCKETS_INTERNAL_H
#define WEIR_HEALTH_SOCKETS_INTERNAL_H

#include "health/page/page_tables.h"
#include "health/sockets/sockets.h"
#include "health/sockets/subscriptions.h"
#include "stream/websocket.h"

#define SOCKET_MESSAGE_MAX 65536
#define SOCKET_QUEUE_MAX (256 * 1024)        // spec section 5.1
#define SOCKET_PING_NS UINT64_C(30000000000) // of silence, after which {"event":"ping"} is sent

#define CLOSE_REASON(symbol, label, code, text, who, english)                                      \
    extern const struct close_reason close_##symbol;
#include "health/sockets/close_reasons.def"
#undef CLOSE_REASON

struct socket_watcher {
    struct list node; // in sockets->watchers
    struct ws ws;
    struct sockets *sockets;
    const struct socket_kind *kind;
    struct path_parts about; // what stood for {} in its path
    enum role role;
    struct subscriptions subscriptions;
    struct stream_state state; // on its way from the server
    struct buf unread;         // likewise
    char accept[29];
    char protocol[256]; // to be echoed; "": none
    bool opened;        // ws is one
    bool refused;       // there are too many
    bool wants_hello;
    bool missed_summary;
    bool missed_samples;
    struct page_cursor cursor; // of the page's snapshot
    bool missed_delta;
    bool pinged;       // its dialect has {"event":"ping"}
    struct timer ping; // armed with `pinged`, while it is open
};

// Sends one message. `skippable`: something newer makes up for it, so that a slow watcher misses
// it. False: it was missed.
bool socket_send(struct socket_watcher *watcher, struct slice json, bool skippable);
void sockets_broadcast(
    struct sockets *sockets, enum audience audience, struct slice json, bool skippable);

// To those who watch just this.
void sockets_broadcast_about(struct sockets *sockets, enum audience audience, struct slice first,
    struct slice second, struct slice json);

// Begins {"type":type,"event":type, and writes the time where it is wanted.
void message_begin(struct json_writer *writer, struct buf *out, const char *type);
void message_time(struct json_writer *writer, uint64_t wall_ms);
void message_text(
    struct socket_watcher *watcher, const char *type, const char *message, bool with_time);

// The newest summary to one watcher, and the samples of all devices that it wants.
void sockets_send_summary(struct socket_watcher *watcher);
void sockets_send_samples(struct socket_watcher *watcher);
void sockets_send_device(struct socket_watcher *watcher, const struct device *device);

// The page's snapshot, from its begin; and on with it after the queue was too long.
void socket_begin_page(struct socket_watcher *watcher);
void socket_resume_page(struct socket_watcher *watcher);

// A message came in.
void socket_hear(struct socket_watcher *watcher, struct slice text);

#endif
