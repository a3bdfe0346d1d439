// SPDX-License-Identifier: Apache-2.0
// One connection to a Redis, kept up: hiredis formats and reads, the stream is ours, so that TLS,
// deadlines and reconnects are too. Nobody waits for it: what cannot be sent is dropped and
// counted.
//
//   WAITING ──► RESOLVING ──► CONNECTING ──► TLS ──► GREETING ──► READY
//      ▲            │             │           │          │          │
//      └────────────┴─────────────┴───────────┴──────────┴──────────┘  failed: 0.5 s, doubling to 4
#ifndef WEIR_REDIS_LINK_H
#define WEIR_REDIS_LINK_H

#include "base/buf.h"
#include "loop/resolver.h"
#include "redis/place.h"
#include "stream/stream.h"

#define REDIS_PROBLEM_SIZE 160

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
#define REDIS_PENDING_MAX 4096

struct redis_link {
    struct worker *worker;           // NULL: not opened
    const struct redis_place *place; // borrowed, outlives the link
    enum redis_state state;
    struct timer timer;      // the deadline of the state, or the end of waiting
    struct resolve *resolve; // NULL: none under way
    struct stream stream;
    bool streaming;             // the stream is open, or closing
    bool closed;                // by redis_link_close
    SSL_CTX *tls;               // owned; NULL: plain
    struct redisReader *reader; // owned; NULL without a connection
    struct buf out;
    uint64_t backoff_ns;
    unsigned unanswered;
    uint8_t tags[REDIS_PENDING_MAX]; // of the commands that are not answered yet, a ring
    unsigned tag_first;
    uint64_t sent;
    uint64_t dropped;
    char problem[REDIS_PROBLEM_SIZE]; // "" while READY and fine
    size_t reply_max;                 // bytes of a reply
    // All may send. The connection stands.
    void (*ready)(void *arg);
    // The answer to a command, in their order; an error (REDIS_REPLY_ERROR) as well.
    void (*replied)(void *arg, unsigned tag, const struct redisReply *reply);
    // It stood, and does no longer: what was sent and not answered may have been done or not.
    void (*lost)(void *arg);
    void *arg;
};

// link is zeroed before, but for reply_max, the functions and arg. WEIR_CRYPTO: no TLS.
enum weir_result redis_link_open(struct redis_link *link, struct worker *worker,
    const struct redis_place *place) WEIR_MUST_CHECK;
// Ends it; the memory may go when the worker has settled. Fine for a zeroed link, and twice.
void redis_link_close(struct redis_link *link);
// At most REDIS_WORDS_MAX words. False: it was dropped.
#define REDIS_WORDS_MAX 96
bool redis_link_send(
    struct redis_link *link, unsigned tag, const struct slice *words, size_t count);

#endif
