// SPDX-License-Identifier: Apache-2.0
// The running monitor: a registry that is watched, its checks, its events, and the HTTP API over
// them. Everything of it lives on one worker.
#ifndef WEIR_HEALTH_HEALTH_H
#define WEIR_HEALTH_HEALTH_H

#include "health/actions/change_hook.h"
#include "health/actions/dead_man.h"
#include "health/actions/diagnoses.h"
#include "health/api/api_stats.h"
#include "health/api/local_socket.h"
#include "health/api/tokens.h"
#include "health/cluster/cluster.h"
#include "health/event_ring.h"
#include "health/history/history.h"
#include "health/history/old_files.h"
#include "health/machines/devices.h"
#include "health/monitor.h"
#include "health/page/neighbours.h"
#include "health/page/page.h"
#include "health/sockets/sockets.h"
#include "http/server.h"
#include "loop/file_watch.h"
#include "stream/listen_set.h"

#define HEALTH_DRAIN_MAX_NS UINT64_C(5000000000)

struct health_options {
    const char *registry_path;
    struct registry_options registry; // what it refers to outlives the monitor
    const char *ssh_dir;              // see struct check_room
    const char *store_path;           // where history is kept; NULL: in memory only
    const char *tokens_path;          // NULL: nobody needs one
    const char *socket_path;          // of a Unix socket; NULL: none
    struct sys_address listen;        // port 0: any; the monitor has what it got
    const struct redis_place *redis;  // shared with other monitors; NULL: there are none
    const char *cors_origins;         // whose pages may ask, a comma between them; NULL: none
    const char *allowed_hosts;        // names of this monitor, a comma between them; NULL: none
    const char *heartbeat_url;        // that is asked for every minute; NULL: none
    const char *on_change;            // see change_hook.h; NULL: none
    const char *import_dir;           // what the reference kept; NULL: none
    const char *ui_dir;               // files to be served beside the API; NULL: none
    const struct neighbour_place *neighbours; // NEIGHBOUR_COUNT of them
    const char *deploy_command;               // run with MACHINE SERVICE to move one; NULL: none
    bool public_read;                         // what only reads health takes no token
    bool production;                          // the environment is one
    bool compat_rollup;
    unsigned jitter_percent;      // of each interval; every check is up to so much later
    uint64_t metrics_interval_ns; // of looks at this machine's resources
    uint64_t remote_interval_ns;  // the same for other machines, over ssh; 0: never
    uint64_t heartbeat_timeout_ns;
    uint64_t deploy_timeout_ns;  // of one move
    uint64_t on_change_quiet_ns; // between two calls because of one service
};

// How many events are taken from outside (spec section 5.2): EVENTS_PER_SECOND at most.
struct events_gate {
    uint64_t second_ns; // the begin of the second that is counted
    unsigned count;
};

// The central document, printed once for all who ask.
struct health_page {
    struct buf text;   // owned; empty: not printed yet
    struct buf packed; // owned; its gzip; empty: nobody has asked for that
    uint64_t printed_ns;
    uint64_t version; // as struct health had it when this was printed; so is the next
    uint64_t urgent;
    enum health_status overall;
    uint64_t hash; // of the text
};

struct health {
    struct health_options options;
    struct sys_address address; // where it listens
    struct worker *worker;      // whose it is; NULL: not started
    struct monitor monitor;
    struct event_ring events;
    struct token_list tokens;
    struct history history;
    struct cluster cluster;
    struct old_files old;
    struct dead_man dead_man;
    struct change_hook change_hook;
    struct devices devices;
    struct sockets sockets;
    struct page page;
    struct diagnoses diagnoses;
    struct neighbours *neighbours; // owned
    struct deployment *deployment; // the one that runs; NULL: none
    struct events_gate events_gate;
    struct http_server server;
    struct http_options http;
    struct local_socket local;
    struct http_options local_http; // the same for those who come by the Unix socket
    struct file_watch watch;
    struct timer drain_look;
    struct timer maintenance_look;
    struct buf problems;       // of the last reading that was refused; empty: the registry is fine
    bool reload_ok;            // the last reading was taken over
    uint64_t reloaded_wall_ms; // of the last reading
    uint64_t version;          // changes with everything that a document shows
    uint64_t urgent;           // changes with what somebody asked for, and wants to see at once
    struct health_page dashboard;
    struct api_stats stats;
    struct listen_set listen;
    bool server_open;
    void (*drained)(void *arg);
    void *drained_arg;
};

// Reads the registry and the tokens, and listens. A registry with mistakes in services is fine; one
// that cannot be used at all is not. health is zeroed before.
enum weir_result health_init(struct health *health, const struct health_options *options,
    char *problem, size_t size) WEIR_MUST_CHECK;
// On the worker that is to have it.
enum weir_result health_start(struct health *health, struct worker *worker) WEIR_MUST_CHECK;
// Reads registry and tokens again, and takes over what is good.
enum health_reloaded {
    HEALTH_RELOADED,
    HEALTH_REFUSED, // the old registry goes on; `problems` says why
    HEALTH_LOCKED,  // somebody writes the file; it is read when they are done
};
enum health_reloaded health_reload(struct health *health);
// No new requests; calls back when those under way are answered, at once if there are none.
void health_drain(struct health *health, void (*drained)(void *arg), void *arg);
void health_stop(struct health *health);
void health_fini(struct health *health);

// Puts an event into the timeline and the log. Everybody who is told of events is told from here.
void health_emit(struct health *health, const struct health_event *event);

// ---- What this monitor is told, and the others of its cluster are to know (others.c)

// One JSON object about a deployment, for who watches.
void health_tell_deployment(struct health *health, struct slice deployment_id, struct slice json);
// As health_emit.
void health_note(struct health *health, const struct health_event *event);
// The device reported itself with this JSON object; empty: without one.
void health_tell_heartbeat(struct health *health, const struct device *device, struct slice json);
// Another monitor was told something.
void health_hear(struct health *health, const struct shared_message *message);

// Has the target checked, here or by the monitor that does. False: a check is under way, there is
// nothing to check, or nobody can be asked.
bool health_check_now(struct health *health, struct target *target);

// Takes what maintenance there is for told.
void health_begin_maintenance(struct health *health);
// Tells what has begun and ended: after somebody set it, and after a reload. Ends are told by
// themselves.
void health_look_at_maintenance(struct health *health);

#endif
