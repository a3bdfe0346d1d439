// SPDX-License-Identifier: Apache-2.0
// One connection to a PostgreSQL server, kept up on the worker's loop: libpq without a blocking
// call, names looked up by our resolver.
//
//   WAITING ──► RESOLVING ──► CONNECTING ──► GREETING ──► READY
//      ▲            │             │              │          │
//      └────────────┴─────────────┴──────────────┴──────────┘  failed: full jitter, 50 ms to 2 s
//
// Calls wait in a queue, also while there is no connection, until their deadline; one runs at a
// time. What ran when the connection broke is repeated, but for statements that say STORE_ONCE.
#ifndef WEIR_PLATFORM_STORE_PG_LINK_H
#define WEIR_PLATFORM_STORE_PG_LINK_H

#include "loop/resolver.h"
#include "loop/watch.h"
#include "platform/store_internal.h"
#include "sql/postgres.h"

enum pg_state { PG_WAITING, PG_RESOLVING, PG_CONNECTING, PG_GREETING, PG_READY };

struct pg_watch;
struct pg_link;

struct pg_link_options {
    struct worker *worker;
    const char *url;      // borrowed, outlives the link
    const char *host;     // borrowed; a name to look up, NULL: libpq needs none
    const char *greeting; // SQL that is run first; without rows
    // NULL: not interested. The connection stands, or no longer does; a notification came.
    void (*ready)(void *arg);
    void (*lost)(void *arg);
    void (*notified)(void *arg, struct slice payload);
    void *arg;
};

struct pg_link {
    struct pg_link_options options;
    enum pg_state state;
    struct timer timer;      // of the state; not armed while READY
    struct timer calls;      // the deadline of the call that has waited longest
    struct resolve *resolve; // NULL: none under way
    PGconn *conn;            // owned; NULL without a connection
    struct pg_watch *watch;  // owned; NULL without a socket
    struct list queue;
    struct store_call *running; // NULL: none
    enum weir_result outcome;   // of the running one, so far
    unsigned attempts;          // that failed in a row
    bool opened;
    char problem[PLATFORM_STORE_PROBLEM_SIZE]; // "" while READY and fine
    uint64_t connects;
};

// link is zeroed. The first attempt begins at once.
void pg_link_open(struct pg_link *link, const struct pg_link_options *options);
// Ends it; calls that wait are freed without a word. The memory may go when the worker has settled.
// Fine for a zeroed link, and twice.
void pg_link_close(struct pg_link *link);
void pg_link_run(struct pg_link *link, struct store_call *call);

#endif
