// SPDX-License-Identifier: Apache-2.0
// One request and its answer, between a front (who dialled in: edge_h1.c, edge_h2.c) and a back
// (who answers: upstream*.c over a proxied stream, api.c, or page.c). The two know only this page.
//
//              exchange_start ─► routing by authority (spec section 6.2) ─► back
//   front  ──  back->body, back->end                       request body   ──►  back
//          ◄── front->head, front->body, front->end        answer         ──
//          ◄── front->resume     back->resume ──►          back-pressure
//          ◄── front->cut        back->cancel ──►          the end before its time
//
// Rules, for both sides:
// 1. Body bytes are pushed; the receiver takes all of them, writes what the kernel takes and copies
//    the rest. It returns false when it holds more than EXCHANGE_HELD_HIGH: the sender then stops
//    reading its socket until it is resumed. What it has read already it still pushes, and the last
//    word counts; that is at most one read (WORKER_READ_AREA_SIZE), or a window of h2.
// 2. A call into the other side may end the exchange: touch nothing of it afterwards unless
//    exchange->ended is still false. The front owns the memory of the exchange and keeps it until
//    this turn's deferred work; only then does it begin another one there.
// 3. Exactly one of front->head without a body, front->end, exchange_fail, exchange_cancel ends it.
//    A back has let go of the exchange before it calls one of the first three, and is let go of
//    when cancel is called. An answer may be complete before the request is: a back that is not
//    told of the end of the request by then has a stream that cannot be used again.
// 4. After an answer of 101 (or 2xx to a CONNECT; exchange->upgraded) both directions are raw
//    bytes; end means the end of that direction, and the exchange ends when both have ended, or by
//    exchange_fail or exchange_cancel.
// 5. All slices are borrowed for the call.
// 6. Neither side reads its socket inside a call from the other: what was pushed may lie in the
//    worker's read area. resume means: wait for readiness again.
// 7. exchange_start may end it before it returns.
#ifndef WEIR_ENGINE_EXCHANGE_H
#define WEIR_ENGINE_EXCHANGE_H

#include "base/ip.h"
#include "base/list.h"
#include "engine/control/tunnel.h"
#include "loop/timer.h"
#include "proto/http1.h"
#include "sys/socket.h"

#define EXCHANGE_HELD_HIGH (64u * 1024)
#define EXCHANGE_FIELDS_MAX 128
#define EXCHANGE_ID_SIZE 33
#define EXCHANGE_LINE_SIZE 160

struct exchange;
struct engine_shard;

// Why the edge answers itself, or cuts: rows of edge_errors.def (status, label, English).
enum edge_error {
#define EDGE_ERROR(symbol, status, label, text) EDGE_##symbol,
#include "engine/edge/edge_errors.def"
#undef EDGE_ERROR
    EDGE_ERROR_COUNT,
};

struct request_head {
    struct slice method;
    struct slice authority; // as received: Host, or :authority
    struct slice target; // path and query as received; "*" for OPTIONS; empty for a plain CONNECT
    const struct http1_header *fields; // as received, without pseudo fields and Host
    size_t field_count;
    // The protocol asked for: Upgrade, or :protocol of an extended CONNECT; empty: none.
    struct slice upgrade;
    // Bytes or an end will follow; false: back->end is not called, unless it is upgraded later.
    bool has_body;
    bool has_length;
    uint64_t length;
    unsigned version; // 1 or 2
};

struct answer_head {
    unsigned status; // below 200 (but 101): informational, more heads follow
    // By exchange_answer_fields: no hop-by-hop ones, no Content-Length.
    const struct http1_header *fields;
    size_t field_count;
    struct slice upgrade; // of a 101: the protocol that Upgrade names
    // False: this head ends the answer, there is no end. Of no meaning for an upgrade.
    bool has_body;
    bool has_length; // also without a body: what an answer to HEAD or a 304 says
    uint64_t length;
};

struct front_ops {
    void (*head)(struct exchange *exchange, const struct answer_head *head);
    bool (*body)(struct exchange *exchange, struct slice bytes);
    void (*end)(struct exchange *exchange, const struct http1_header *trailers, size_t count);
    // An end behind the head and before its time, that the visitor can tell from a good one (spec
    // section 6.8). Called by exchange_fail only.
    void (*cut)(struct exchange *exchange);
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
    char peer_text[IP_TEXT_SIZE];
    char port_text[11]; // the public port
    bool connected;     // a plain CONNECT has been carried: no other authority from then on
    bool strayed; // another authority than the SNI has been asked for: no CONNECT from then on
    // Upstream streams that finished an exchange for this visitor and may serve its next one; the
    // upstream's affair (upstream_pool.h). The front calls upstream_pool_close when it ends.
    struct list idle_upstreams;
    size_t idle_upstream_count;
    size_t held_bytes; // what the front keeps for it and of it (visitor.h)
};

struct exchange {
    struct visitor *visitor;
    const struct front_ops *front;
    const struct back_ops *back; // NULL before it is routed and after it ended
    void *back_state;            // the back's
    uint64_t started_ns;
    unsigned status; // of the final head; 0 before
    bool upgraded;   // see rule 4
    bool request_ended;
    bool answer_ended;
    bool ended;
    bool connect;     // the method is CONNECT
    bool head_only;   // the method is HEAD
    bool wants_html;  // of Accept, for pages
    unsigned version; // of the request
    char request_id[EXCHANGE_ID_SIZE];
    char line[EXCHANGE_LINE_SIZE]; // for the log: method, authority, path; cut to fit
    const char *label;             // why the edge answers itself, or cuts; NULL otherwise
};

// Routes the request and starts its back. May call the front at once (pages, errors). The front has
// set visitor and front, everything else is zero.
void exchange_start(struct exchange *exchange, const struct request_head *head);
// The same for a request that the front refuses itself; exchange_start is not called then. What of
// the head is known may be given, the rest is zero.
void exchange_refuse(
    struct exchange *exchange, const struct request_head *head, enum edge_error error);
// What fronts call instead of the back's table. The end only for a request that has_body, or when
// it was upgraded.
bool exchange_request_body(struct exchange *exchange, struct slice bytes);
void exchange_request_end(
    struct exchange *exchange, const struct http1_header *trailers, size_t count);
void exchange_answer_resume(struct exchange *exchange);
// The visitor has gone, or misbehaves. Fine when it has ended.
void exchange_cancel(struct exchange *exchange);
// The front's patience has ended: cancels the back; then the page of that error, or a cut.
void exchange_abort(struct exchange *exchange, enum edge_error error);
// For the books: once for each exchange that was started or refused, when it has ended.
void exchange_finished(struct exchange *exchange);

// ---- For backs.

// The answer: what backs call instead of the front's table. 101 only when the head asked for an
// upgrade.
void exchange_head(struct exchange *exchange, const struct answer_head *head);
bool exchange_body(struct exchange *exchange, struct slice bytes);
void exchange_end(struct exchange *exchange, const struct http1_header *trailers, size_t count);
void exchange_resume(struct exchange *exchange);
// Ends the exchange from the back's side before its time: the page of that error, or a cut when the
// head has gone out.
void exchange_fail(struct exchange *exchange, enum edge_error error);

// The fields that travel on: no hop-by-hop ones nor those Connection names, no spoofable ones, and
// those the edge adds (spec section 6.3). out has room for EXCHANGE_FIELDS_MAX; scratch holds what
// they borrow and is usually left empty. Host and Content-Length are not among them: they come from
// the head's authority, has_length and length. Upgrade neither. WEIR_TOO_LARGE when they do not
// fit.
enum weir_result exchange_forward_fields(struct exchange *exchange, const struct request_head *head,
    struct buf *scratch, struct http1_header *out, size_t *ret_count) WEIR_MUST_CHECK;
// The same for the answer of an upstream.
enum weir_result exchange_answer_fields(const struct http1_header *fields, size_t count,
    struct http1_header *out, size_t *ret_count) WEIR_MUST_CHECK;

#endif
