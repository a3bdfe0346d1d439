// SPDX-License-Identifier: Apache-2.0
// What joins relays (spec sections 7.5 to 9): the seam between a shard, which keeps the rules, and a
// driver, which knows how to reach the others. A shard has one driver, or none in mode single.
//
//    routing, peers ──► presence.c  ──► driver->put, withdraw, resolve ──► platform, or Redis
//                   ──► outgoing.c  ──► driver->publish ──────────────────►
//    routing       ◄── incoming.c  ◄── backplane_receive  ◄── driver ◄─────
//
// The core does: encoding, signing and every check of what comes in; the cache of look-ups (single
// flight); holding a client's frames, in order, while one is under way; when presence is written;
// all counting and logging of frames. A driver does: connections, its own queues with their bounds
// and deadlines, reconnecting, and telling how each thing it was asked for ended.
//
// Everything of a shard happens on its worker; nothing is locked.
#ifndef WEIR_RELAY_BACKPLANE_BACKPLANE_H
#define WEIR_RELAY_BACKPLANE_BACKPLANE_H

#include "base/time.h"
#include "obs/metrics.h"
#include "proto/json_write.h"
#include "relay/backplane/message.h"
#include "relay/places.h"

// ---- What a driver is asked for

// The daemon of a cell, here. The slices are valid during the call.
struct presence_record {
    struct cell_name name;
    struct slice machine; // len 0: none
};

// Who has the daemon of a cell, elsewhere.
struct presence {
    struct slice relay_id;
    struct slice url;     // its RELAY_PUBLIC_WS_BASE_URL
    struct slice machine; // len 0: none
    uint16_t route;       // the driver's own note about how to reach that relay; 0 when it needs none
};

// A frame for another relay, signed. message and text are valid during the call; the ticket until it
// has been ended.
struct bus_ticket;
struct bus_parcel {
    const struct bus_message *message; // target_relay is never empty
    struct slice text;                 // the message as JSON, in the driver's form
    struct bus_ticket *ticket;
    uint16_t route; // as the presence answer, or the frame that is answered, had it
};

struct presence_query;

// First member of a driver's own struct.
struct backplane_driver {
    const struct backplane_driver_ops *ops;
};

struct backplane_driver_ops {
    const char *name;
    enum bus_form form;
    // On the worker's thread, before its first turn. NULL: problem (size bytes) says in English why.
    struct backplane_driver *(*open)(struct shard *shard, char *problem, size_t size);
    // Ends whatever is open (tickets, queries, writes) with BUS_END_CLOSING before it returns. Memory
    // may be kept until the loop has turned once more. Nothing is called afterwards.
    void (*close)(struct backplane_driver *driver);

    // Writes that the cell's daemon is here; that it is not, but only if this relay is still the one
    // that is written there. Writes of a cell keep their order. Each call is answered by one
    // backplane_written, at once or later; one that a later call for the same cell has made useless
    // may be left out and answered with BUS_END_OK. Never waits longer than
    // RELAY_INTERNAL_API_TIMEOUT_MS for an answer, nor forever for its turn.
    void (*put)(struct backplane_driver *driver, const struct presence_record *record);
    void (*withdraw)(struct backplane_driver *driver, const struct presence_record *record);
    // Answered by presence_query_answer, at once or later, within RELAY_INTERNAL_API_TIMEOUT_MS.
    void (*resolve)(struct backplane_driver *driver, struct presence_query *query);
    // Parcels for one relay leave in the order of the calls. Each is answered by bus_ticket_end, at
    // once or later. What waits is bounded in count, bytes and time: see bus_bounds below.
    void (*publish)(struct backplane_driver *driver, const struct bus_parcel *parcel);

    // The worker has something of this workspace from now on, or no more; NULL where that is of no
    // interest. A put comes after the watch; the driver sees to it that nobody learns of the daemon
    // before frames for it can arrive.
    void (*watch)(struct backplane_driver *driver, struct slice workspace);
    void (*unwatch)(struct backplane_driver *driver, struct slice workspace);
    // Adds members of its own to /state's `backplane` object of this worker; may be NULL.
    void (*write_state)(struct backplane_driver *driver, struct json_writer *json);
};

// One for each mode; defined by the drivers.
extern const struct backplane_driver_ops backplane_server_ops;
extern const struct backplane_driver_ops backplane_redis_ops;

// Bounds for what a driver lets wait for one relay. Above them: BUS_END_QUEUE_FULL; a parcel that
// waited longer: BUS_END_EXPIRED. The signature of what waits ages, so the time is far below
// RELAY_BUS_SIGNATURE_MAX_SKEW_MS.
#define BUS_QUEUE_COUNT_MAX 10000
#define BUS_QUEUE_BYTES_MAX (8u * 1024 * 1024)
#define BUS_QUEUE_WAIT_NS (5 * NS_PER_S)

// ---- What a driver tells

// BUS_END_OK, or a row of obs/bus_ends.def; seconds from the call to its end. A put that failed is
// asked for again a little later.
void backplane_written(
    struct shard *shard, struct cell_name name, enum bus_end end, double seconds);
void bus_ticket_end(struct bus_ticket *ticket, enum bus_end end);

struct cell_name presence_query_name(const struct presence_query *query);
// answer: with BUS_END_OK who has the daemon, or NULL when nobody does; copied.
void presence_query_answer(
    struct presence_query *query, enum bus_end end, const struct presence *answer);

// A message that came for a workspace of this worker, as it was on the wire. Wrong ones are counted
// and dropped. route is kept with the sessions it opens, and given back with their answers.
void backplane_receive(struct shard *shard, struct slice text, uint16_t route);

// The way to the others works, or does not, as this worker sees it; repeating what is known is fine.
// When it is up again all presence of this worker is written anew. problem (NULL when up): English, static storage.
void backplane_link(struct shard *shard, bool up, const char *problem);
// A round of pulling has ended: counted, logged when it failed.
void backplane_pulled(struct shard *shard, enum bus_end end);

// A message that a driver refuses without giving it to backplane_receive: counted and logged.
void backplane_reject(struct shard *shard, enum metric metric, const char *reason);

// ---- Mail: what one worker receives for all

// Takes messages of any workspace on the worker that pulled them, and gives them to the workers they
// belong to. Between bus_mail_send and its callback it is closed: the puller asks for no more, which
// bounds what is under way. relay->mail, used by worker 0 only.
struct bus_mail;
typedef void bus_mail_fn(void *arg);
// A copy is made. False: memory ran out, and that is counted. A message without a workspace is
// rejected, and counted, here. envelope: what bus_message_peek says of it.
bool bus_mail_add(struct bus_mail *mail, struct shard *shard, struct slice text,
    const struct bus_envelope *envelope, uint16_t route) WEIR_MUST_CHECK;
// Calls done on the shard's worker, later, when every worker has handled its part.
void bus_mail_send(struct bus_mail *mail, struct shard *shard, bus_mail_fn *done, void *arg);
// With the next mail all workers write their presence anew: for a driver whose link worker 0 alone
// watches.
void bus_mail_announce(struct bus_mail *mail);
// The driver closes: done is not called any more.
void bus_mail_forget(struct bus_mail *mail);

// ---- Small things drivers share

// A random time from 0 to bound_ns ("full jitter").
uint64_t backplane_jitter(struct shard *shard, uint64_t bound_ns);

// ---- For the shard

// In a mode other than single; before the listener is open. problem: as relay_worker_start.
enum weir_result backplane_open(struct shard *shard, char *problem, size_t size) WEIR_MUST_CHECK;
// Fine without backplane_open, or after it failed.
void backplane_close(struct shard *shard);
// A workspace has its first cell here, or its last one has gone.
void backplane_watch(struct shard *shard, struct slice workspace);
void backplane_unwatch(struct shard *shard, struct slice workspace);
// One object: this worker's way to the others.
void backplane_write_state(struct shard *shard, struct json_writer *json);
struct bus_mail *bus_mail_new(unsigned workers) WEIR_MUST_CHECK;
void bus_mail_free(struct bus_mail *mail);
// Draining: withdraws all presence; relay_note_departure is called when the last write has ended.
void backplane_withdraw_all(struct shard *shard);
// Nothing more to wait for while draining.
bool backplane_is_quiet(const struct shard *shard);

#endif
