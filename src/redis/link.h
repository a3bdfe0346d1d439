// SPDX-License-Identifier: Apache-2.0
// One connection to one Redis, kept up: hiredis formats and reads, the stream is ours, so that TLS,
// deadlines and reconnects are too. Nobody waits for it: what cannot be sent is dropped and
// counted.
//
//   WAITING ──► RESOLVING ──► CONNECTING ──► TLS ──► GREETING ──► READY
//      ▲            │             │           │          │          │
//      └────────────┴─────────────┴───────────┴──────────┴──────────┘  failed
//
// The pause after a failure is a random part of a bound that doubles from 0.5 to 4 s (full jitter).
#ifndef WEIR_REDIS_LINK_H
#define WEIR_REDIS_LINK_H

#include "base/buf.h"
#include "loop/resolver.h"
#include "redis/fault.h"
#include "redis/place.h"
#include "stream/stream.h"

#define REDIS_PROBLEM_SIZE 256
#define REDIS_WORDS_MAX 96

enum redis_state {
    REDIS_WAITING,
    REDIS_RESOLVING,
    REDIS_CONNECTING,
    REDIS_TLS,
    REDIS_GREETING,
    REDIS_READY,
};

struct redisReader;
struct redisReply;

struct redis_link_options {
    const struct redis_place *place; // borrowed, outlives the link
    // Read at every attempt: who changes it, and then calls redis_link_restart, moves the link.
    const struct redis_address *address; // borrowed, outlives the link; NULL: the place's first
    SSL_CTX *tls;         // borrowed, outlives the link; NULL: made when the place says TLS
    uint64_t connect_ns;  // for connecting and greeting together; 0: 5 s
    uint64_t answer_ns;   // for the answer to a command; 0: 5 s
    uint64_t ping_ns;     // pause after which a silent connection is asked PING; 0: never
    size_t reply_max;     // bytes of a reply
    size_t out_max;       // bytes that may wait to be sent; 0: 4 MiB
    unsigned pending_max; // commands that may wait for their answers; 0: 4096
    bool master;          // a replica is refused
    bool sentinel;        // it is a sentinel: its own user and password, no database
};

struct redis_link_hooks {
    // All may send. The connection stands.
    void (*ready)(void *arg);
    // The answer to a command, in their order; an error (REDIS_REPLY_ERROR) as well.
    void (*replied)(void *arg, uint64_t tag, const struct redisReply *reply);
    // True: the reply is a message that answers no command, and was dealt with. NULL: none is.
    bool (*pushed)(void *arg, const struct redisReply *reply);
    // It stood, and does no longer: what was sent and not answered may have been done or not.
    void (*lost)(void *arg);
    // It could not be made. May be NULL.
    void (*failed)(void *arg);
    // A command that will not be answered, each in their order, before `lost`. May be NULL.
    void (*forsaken)(void *arg, uint64_t tag);
    // After redis_link_close: nothing of it is in use any more. May be NULL.
    void (*gone)(void *arg);
    void *arg;
};

struct redis_pending; // a command that is not answered yet

struct redis_link {
    struct redis_link_options options;
    struct redis_link_hooks hooks;
    struct worker *worker; // NULL: not opened
    enum redis_state state;
    struct timer timer;      // the deadline of the state, or the end of waiting
    struct resolve *resolve; // NULL: none under way
    struct stream stream;
    bool streaming;             // the stream is open, or closing
    bool closed;                // by redis_link_close
    bool flushing;              // flush is deferred
    SSL_CTX *own_tls;           // owned; NULL: plain, or another's
    struct redisReader *reader; // owned; NULL without a connection
    struct buf out;
    struct job flush;
    uint64_t backoff_ns;
    struct redis_pending *pending; // owned; a ring
    unsigned pending_first;
    unsigned unanswered;
    uint64_t sent;
    uint64_t dropped;
    enum redis_fault fault;           // NONE while READY
    char problem[REDIS_PROBLEM_SIZE]; // "" while READY
};

// link is zeroed before, or is gone. Never calls back before it returns. WEIR_CRYPTO: no TLS,
// WEIR_MEMORY.
enum weir_result redis_link_open(struct redis_link *link, struct worker *worker,
    const struct redis_link_options *options, const struct redis_link_hooks *hooks) WEIR_MUST_CHECK;
// Ends it; of the hooks, `forsaken` is called before it returns, and `gone` at the end of the turn,
// unless it is gone when it returns. Only then may the memory go, or the link be opened again. Fine
// for a zeroed link, and twice.
void redis_link_close(struct redis_link *link);
static inline bool redis_link_is_gone(const struct redis_link *link)
{
    return link->worker == NULL || (link->closed && !link->streaming && !link->flushing);
}
// Lets the connection go, if there is one, and connects anew, after a pause. `lost` or `failed` is
// called before it returns.
void redis_link_restart(struct redis_link *link, enum redis_fault why);
// At most REDIS_WORDS_MAX words, which are sent at the end of the turn. Never calls back. False: it
// was dropped. Tags are below REDIS_TAG_OWN.
#define REDIS_TAG_OWN (UINT64_MAX - 1)
bool redis_link_send(
    struct redis_link *link, uint64_t tag, const struct slice *words, size_t count);
// The tag of the command whose answer is next, or REDIS_TAG_OWN when none of the owner's is.
uint64_t redis_link_next_tag(const struct redis_link *link);
static inline bool redis_link_is_ready(const struct redis_link *link)
{
    return link->worker != NULL && link->state == REDIS_READY;
}

#endif
