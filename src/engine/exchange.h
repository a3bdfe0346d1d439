// SPDX-License-Identifier: Apache-2.0
// One request and its answer, between a front (who dialled in: edge_h1.c, edge_h2.c) and a back
// (who answers: upstream*.c over a proxied stream, api.c, or page.c). The two know only this page.
//
//              exchange_start ─► routing by authority (spec section 6.2) ─► back
//   front  ──  back->body, back->end                       request body   ──►  back
//          ◄── front->head, front->body, front->end        answer         ──
//          ◄── front->resume     back->resume ──►          back-pressure
//          ◄── front->fail       back->cancel ──►          the end before its time
//
// Rules, for both sides:
// 1. Body bytes are pushed; the receiver takes all of them, writes what the kernel takes and copies
//    the rest. It returns false when it holds more than EXCHANGE_HELD_HIGH: the sender then pushes no
//    more (it stops reading its socket) until it is resumed. What is pushed at once is at most one
//    read (WORKER_READ_AREA_SIZE).
// 2. A call into the other side may end the exchange: touch nothing of it afterwards unless
//    exchange->ended is still false. The front owns the memory of the exchange and keeps it until
//    its own connection's turn ends.
// 3. Exactly one of front->end, front->fail, back->cancel ends it; exchange_finished is called by
//    the front when its last byte is handed to its connection.
// 4. After an answer of 101 (or 200 to a CONNECT) both directions are raw bytes; end means the end
//    of that direction, and the exchange lives until both have ended.
// 5. All slices are borrowed for the call.
#ifndef WEIR_ENGINE_EXCHANGE_H
#define WEIR_ENGINE_EXCHANGE_H

#include "engine/tunnel.h"
#include "loop/timer.h"
#include "proto/http1.h"
#include "sys/socket.h"

#define EXCHANGE_HELD_HIGH (64u * 1024)
#define EXCHANGE_FIELDS_MAX 128

struct exchange;
struct engine_shard;

// Why the edge answers itself, or cuts: rows of edge_errors.def (status, label, English).
enum edge_error {
#define EDGE_ERROR(symbol, status, label, text) EDGE_##symbol,
#include "engine/edge_errors.def"
#undef EDGE_ERROR
    EDGE_ERROR_COUNT,
};

struct request_head {
    struct slice method;
    struct slice authority; // as received: Host, or :authority
    struct slice target;    // path and query as received; "*" for OPTIONS; empty for a plain CONNECT
    const struct http1_header *fields; // as received, without pseudo fields and Host
    size_t field_count;
    struct slice upgrade; // protocol asked for: Upgrade, or :protocol of an extended CONNECT; or empty
    bool has_body;        // bytes or an end will follow; false: back->end is not called
    bool has_length;
    uint64_t length;
    unsigned version; // 1 or 2
};

struct answer_head {
    unsigned status; // below 200 (but 101): informational, more heads follow
    const struct http1_header *fields; // hop-by-hop ones removed
    size_t field_count;
    bool has_body; // false: this head ends the answer, front->end is not called
    bool has_length;
    uint64_t length;
};

struct front_ops {
    void (*head)(struct exchange *exchange, const struct answer_head *head);
    bool (*body)(struct exchange *exchange, struct slice bytes);
    void (*end)(struct exchange *exchange, const struct http1_header *trailers, size_t count);
    // Before the head: the page of that error. Afterwards: a cut that the visitor can tell from an
    // end (spec section 6.8).
    void (*fail)(struct exchange *exchange, enum edge_error error);
    void (*resume)(struct exchange *exchange); // the back takes request body again
};

struct back_ops {
    bool (*body)(struct exchange *exchange, struct slice bytes);
    void (*end)(struct exchange *exchange, const struct http1_header *trailers, size_t count);
    void (*resume)(struct exchange *exchange); // the front takes answer body again
    void (*cancel)(struct exchange *exchange); // the visitor left; no more calls to the front
};

// What a front's connection is to the back: embedded in it.
struct visitor {
    struct engine_shard *shard;
    struct sys_address peer;
    char sni[TUNNEL_HOST_SIZE]; // "" without
    int tls_version;            // TLS1_2_VERSION and so on
    // Upstream streams that finished an exchange for this visitor and may serve its next one; the
    // upstream's affair (upstream_pool.h). The front calls upstream_pool_close when it ends.
    struct list idle_upstreams;
    size_t idle_upstream_count;
};

struct exchange {
    struct visitor *visitor;
    const struct front_ops *front;
    const struct back_ops *back; // NULL before it is routed and after it ended
    void *back_state;            // the back's
    uint64_t started_ns;
    unsigned status; // of the final head; 0 before
    bool upgraded;   // see rule 4
    bool ended;
};

// Routes the request and starts its back. May call the front at once (pages, errors). The front has
// set visitor and front, everything else is zero.
void exchange_start(struct exchange *exchange, const struct request_head *head);
// The visitor has gone, or misbehaves.
void exchange_cancel(struct exchange *exchange);

// ---- For backs.

// The fields that travel on: no hop-by-hop ones nor those Connection names, no spoofable ones, and
// those the edge adds (spec section 6.3). out has room for EXCHANGE_FIELDS_MAX; texts that are made
// go to scratch. Host is not among them. WEIR_TOO_LARGE when they do not fit.
enum weir_result exchange_forward_fields(struct exchange *exchange, const struct request_head *head,
    struct buf *scratch, struct http1_header *out, size_t *ret_count) WEIR_MUST_CHECK;
// The same for the answer of an upstream.
enum weir_result exchange_answer_fields(const struct http1_header *fields, size_t count,
    struct http1_header *out, size_t *ret_count) WEIR_MUST_CHECK;
// Ends the exchange from the back's side before its time.
void exchange_fail(struct exchange *exchange, enum edge_error error);

#endif
