// SPDX-License-Identifier: Apache-2.0
// The WebSockets of a running monitor (spec section 5): deployment events, changes of state, and
// samples of machines, pushed to whoever watches. Everything is on the monitor's worker.
//
// A message is printed once for all who get it. A watcher that reads too slowly misses samples and
// summaries, of which it gets the newest when it has caught up; when even the events do not fit
// into its queue it is closed with 1013.
#ifndef WEIR_HEALTH_SOCKETS_H
#define WEIR_HEALTH_SOCKETS_H

#include "health/api/path_match.h"
#include "health/api/tokens.h"
#include "health/event_ring.h"
#include "health/machines/device.h"
#include "health/monitor.h"
#include "http/server.h"

#define SOCKETS_MAX 100

struct devices;
struct page;

enum audience {
    AUDIENCE_EVENTS,
    AUDIENCE_METRICS,
    AUDIENCE_DEVICES,
    AUDIENCE_UPTIME,
    AUDIENCE_CLUSTER,
    AUDIENCE_DEPLOYMENT,  // of one id
    AUDIENCE_DIAGNOSTICS, // of one service at its machine
    AUDIENCE_PAGE,
};
#define AUDIENCE_COUNT 8

struct socket_kind {
    const char *path;
    enum audience audience;
    const char *hello; // "": nothing is said first unless asked for
};

struct sockets {
    struct worker *worker;         // NULL: not started
    const struct monitor *monitor; // borrowed, as is the next one
    struct devices *devices;
    struct page *page;
    struct list watchers;
    size_t count; // of them, those that are closing included
    size_t counts[AUDIENCE_COUNT];
    struct timer tick;  // when a summary is due
    uint64_t told_ns;   // the last summary
    struct buf summary; // owned; as it was told last, without its time
    // What the machines were at the last tick, in the order of this registry.
    enum health_status *machine_statuses; // owned
    struct registry *machines_of;         // a reference
    uint64_t messages;                    // sent, to all together
    uint64_t slow;                        // closed because of their queue
    uint64_t page_missed; // watchers that were told too much at once
    bool stopping;
};

// sockets is zeroed before.
enum weir_result sockets_start(struct sockets *sockets, struct worker *worker,
    const struct monitor *monitor, struct devices *devices, struct page *page) WEIR_MUST_CHECK;
// Says goodbye to everybody; new ones are not taken any more.
void sockets_drain(struct sockets *sockets);
// Ends everything at once; the memory goes when the worker has settled.
void sockets_stop(struct sockets *sockets);
// After the worker has settled.
void sockets_fini(struct sockets *sockets);

// What is served at a path, and about what; NULL: nothing.
const struct socket_kind *sockets_find(struct slice path, struct path_parts *ret_about);
// The token that is offered as a subprotocol, "bearer.TOKEN"; empty: none.
struct slice sockets_offered_token(const struct http1_head *head);
// The page that opens the socket is ours, or it is no page at all.
bool sockets_same_origin(const struct http1_head *head);
// Takes the connection of an upgrade over. WEIR_MALFORMED: it is no good handshake, WEIR_CLOSED: no
// more are taken, WEIR_MEMORY; the request is to be answered then.
enum weir_result sockets_take(struct sockets *sockets, const struct socket_kind *kind,
    const struct path_parts *about, struct http_request *request, enum role role) WEIR_MUST_CHECK;

// ---- What happened

// A change of state, or a reload.
void sockets_tell_event(struct sockets *sockets, const struct health_event *event);
void sockets_tell_reload(struct sockets *sockets, const struct monitor_difference *difference);
// Something that a summary shows may have changed.
void sockets_tell_results(struct sockets *sockets);
// A device has a new sample, or was heard of; old is the status it had.
void sockets_tell_device(
    struct sockets *sockets, const struct device *device, enum device_status old);
// One JSON object, as it is: for all who watch events, and for those who watch this deployment.
void sockets_tell_deployment(
    struct sockets *sockets, struct slice deployment_id, struct slice json);
// A machine came into the registry.
void sockets_tell_registered(struct sockets *sockets, const struct device *device);
// The result of a diagnosis, for those who watch its service.
void sockets_tell_diagnosis(
    struct sockets *sockets, const char *service, const char *machine, struct slice result);
// An event that somebody told (spec section 4.4): its word, details and metadata, a JSON object.
struct uptime_report {
    const char *event_type;
    struct slice service;
    struct slice machine;
    struct slice details;
    struct slice metadata; // JSON; empty: {}
    uint64_t wall_ms;
};
void sockets_tell_uptime(struct sockets *sockets, const struct uptime_report *report);

// ---- The page (sockets_page.c)

// What has changed in its tables since it was told last. Who has too much waiting misses it, and
// gets a snapshot when it has caught up.
void sockets_tell_page(struct sockets *sockets, struct slice delta);
// All get a snapshot.
void sockets_restart_page(struct sockets *sockets);

#endif
