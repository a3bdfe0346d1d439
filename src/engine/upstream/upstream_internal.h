// SPDX-License-Identifier: Apache-2.0
// What the files of the upstream share. Nobody else includes this.
#ifndef WEIR_ENGINE_UPSTREAM_INTERNAL_H
#define WEIR_ENGINE_UPSTREAM_INTERNAL_H

#include "engine/edge/exchange.h"
#include "engine/shard.h"
#include "engine/upstream/proxied.h"
#include "engine/upstream/upstream_pool.h"
#include "engine/upstream/upstream_tls.h"
#include "proto/http1_body.h"
#include "stream/stream.h"

struct upstream;
struct upstream_request;
struct upstream_h2;
struct upstream_pool;

// What a stream may hold of requests: the mark at which the front has to wait, what it may push
// before it sees that, and heads with framing.
#define UPSTREAM_OUT_MAX (EXCHANGE_HELD_HIGH + WORKER_READ_AREA_SIZE + 128 * 1024)

enum upstream_state {
    UPSTREAM_OPENING,   // asked of the agent
    UPSTREAM_HANDSHAKE, // TLS with the service
    UPSTREAM_READY,     // speaks its protocol
    UPSTREAM_DEAD,
};

// How exchanges travel on a stream: upstream_h1.c, upstream_h2.c.
struct upstream_protocol {
    // The stream is there: begins to use it. False without memory: the caller ends it.
    bool (*open)(struct upstream *upstream);
    // Becomes the exchange's back. May end it, and the upstream, at once. again: it has been sent
    // once before, and will not be a third time.
    void (*start)(struct upstream *upstream, struct exchange *exchange,
        const struct request_head *onward, bool again);
    void (*ready)(struct upstream *upstream, unsigned events);
    // Bytes that came before the stream was ours.
    void (*take)(struct upstream *upstream, struct slice bytes);
    void (*late)(struct upstream *upstream); // its timer
    // Ends the upstream and fails what travels on it.
    void (*fail)(struct upstream *upstream, enum edge_error error);
    // Gives back what it keeps; part of upstream_close.
    void (*fini)(struct upstream *upstream);
};

extern const struct upstream_protocol upstream_h1;
extern const struct upstream_protocol upstream_h2;

enum upstream_h1_phase {
    H1_REST, // no exchange
    H1_HEAD, // waits for the head of an answer
    H1_BODY,
    H1_RAW,  // upgraded
    H1_LAST, // no exchange any more; the last bytes of an upgraded one are on their way
};

struct upstream_h1_state {
    struct exchange *exchange; // borrowed; NULL in H1_REST and H1_LAST
    enum upstream_h1_phase phase;
    struct buf out;  // the request, as far as the stream has not taken it
    size_t out_sent; // of a repeatable request, which stays in out until something is answered
    size_t counted;  // of out and of records, as held for the visitor (visitor.h)
    struct buf in;   // the head of an answer, as far as it is here
    struct http1_body body;
    struct job flush; // deferred: the head waits for a body to travel with
    unsigned interim_count;
    bool repeatable;   // may be sent again on another stream
    bool chunked;      // the request's body
    bool wants_raw;    // Upgrade or CONNECT
    bool request_done; // nothing more to come from the front
    bool answer_done;  // in H1_RAW: the service has ended its side
    bool keep_alive;
    bool front_waits; // until out is low
    bool paused;      // the front takes no more
    bool deaf;        // the service takes no more
    char accept[29];  // that a WebSocket answer to a key of ours must give; or ""
};

struct upstream {
    struct stream stream;                     // open from the bind on
    struct engine_shard *shard;               // borrowed
    struct tunnel *tunnel;                    // a reference
    const struct upstream_protocol *protocol; // NULL while it is unknown
    enum upstream_state state;
    struct proxied *opening;        // while it is asked for
    struct upstream_tls *handshake; // while the service is greeted
    struct list requests;           // that wait for the stream
    struct list node;               // in shard->upstreams
    struct timer timer;
    struct job gone;            // deferred: frees one that never had a stream
    struct list at_rest;        // in a pool
    struct visitor *visitor;    // whose pool, borrowed; or
    struct upstream_pool *pool; // which pool; or neither
    bool bound;                 // proxied_ended is due
    bool reused;                // has carried an exchange before the one at hand
    bool personal;              // has carried credentials of a connection: one visitor's for good
    bool h1_only;               // offers no h2 to a service that negotiates
    struct upstream_h1_state h1;
    struct upstream_h2 *h2; // owned
    size_t held;            // counted: what waits for the service and is no exchange's; of h2
};

// ---- upstream.c

// A stream of tunnel, opening; not asked for yet. NULL without memory.
struct upstream *upstream_new(struct engine_shard *shard, struct tunnel *tunnel) WEIR_MUST_CHECK;
// Asks the agent for it on behalf of this visitor. False without memory.
bool upstream_open(struct upstream *upstream, const struct visitor *visitor) WEIR_MUST_CHECK;
// Begins the requests that wait for it, as far as it takes them now, and sends those that it has no
// room for elsewhere.
void upstream_begin_waiting(struct upstream *upstream);
// Ends it hard, and then fails those who wait for it.
void upstream_end(struct upstream *upstream, enum edge_error error);
// The only end: idempotent, legal in any state. Whoever travels on it must have been told before.
// hard: the agent shall see an abort.
void upstream_close(struct upstream *upstream, bool hard);
// Bytes are counted where they cross the stream.
void upstream_count_sent(struct upstream *upstream, size_t len);
void upstream_count_received(struct upstream *upstream, size_t len);
// Of HTTP/1.1: limits.header_bytes, as far as a read has room for it.
size_t upstream_answer_head_max(const struct upstream *upstream);
uint64_t upstream_first_byte_ns(const struct upstream *upstream);
uint64_t upstream_rest_ns(const struct upstream *upstream);
uint64_t upstream_body_idle_ns(const struct upstream *upstream);

// ---- upstream_h2.c

// One request more fits on this stream of h2, now or when it is open.
bool upstream_h2_has_room(const struct upstream *upstream);
// And may begin now. Before the service has said how many it takes at once only one may: those
// above that are refused, and a request with a body could not be sent again.
bool upstream_h2_takes_now(const struct upstream *upstream);

// ---- upstream_request.c: a request that waits for its stream, or is kept to be sent again.

struct upstream_request {
    struct list node;              // in upstream->requests
    struct upstream *upstream;     // borrowed; it waits for that
    struct exchange *exchange;     // borrowed
    struct request_head head;      // with the fields that travel on; all of it behind this struct
    size_t head_size;              // of this block, held for the visitor
    struct buf body;               // what came of it while it waits
    struct http1_header *trailers; // owned
    size_t trailer_count;
    bool ended;       // the body is complete
    bool front_waits; // until it takes more
    bool again;       // has been sent before
};

// A copy of what is known. NULL without memory.
struct upstream_request *upstream_request_new(
    struct exchange *exchange, const struct request_head *onward) WEIR_MUST_CHECK;
// NULL is fine.
void upstream_request_free(struct upstream_request *request);
// Becomes the exchange's back until the upstream is ready.
void upstream_request_wait(struct upstream_request *request, struct upstream *upstream);
// The upstream is ready: hands over to its protocol. Frees the request.
void upstream_request_begin(struct upstream_request *request);
// On a new stream. Frees the request when it fails.
void upstream_request_open(struct upstream_request *request, struct tunnel *tunnel);

// Fields with their texts in one block, to be freed with mem_free. NULL without memory.
struct http1_header *upstream_copy_fields(
    const struct http1_header *fields, size_t count) WEIR_MUST_CHECK;

// ---- Facts about requests.

// May be sent twice: idempotent by its method (RFC 9110 section 9.2.2), nothing to push.
bool upstream_is_repeatable(const struct request_head *head);
// Turns into raw bytes when the answer says so.
bool upstream_wants_raw(const struct request_head *head);
// Authenticates the connection it travels on, not only itself.
bool upstream_binds_connection(const struct request_head *head);

#endif
