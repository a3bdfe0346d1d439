// SPDX-License-Identifier: Apache-2.0
// What the files of the HTTP/2 edge share: edge_h2.c owns the connection, edge_h2_request.c hears
// what nghttp2 has read, edge_h2_answer.c says what it is to write. Nobody else includes this.
#ifndef WEIR_ENGINE_EDGE_H2_H
#define WEIR_ENGINE_EDGE_H2_H

#include <nghttp2/nghttp2.h>

#include "engine/edge/outgo.h"
#include "engine/edge/visitor.h"

#define H2_STREAM_WINDOW (256u * 1024)
#define H2_CONNECTION_WINDOW (1024u * 1024) // bounds what all streams of a visitor may hold
#define H2_HEAD_LIST_MAX (32u * 1024)       // as RFC 9113 section 6.5.2 counts

// A header block on its way in; there is never more than one (RFC 9113 section 4.3). Lies in a
// block.
struct h2_head {
    struct http1_header fields[HTTP1_HEADERS_MAX];
    size_t count;
    struct slice method;
    struct slice scheme;
    struct slice authority;
    struct slice path;
    struct slice protocol;
    size_t list_len; // as counted for H2_HEAD_LIST_MAX
    size_t len;      // of bytes
    bool too_large;
    char bytes[];
};

enum h2_state {
    H2_OPEN,
    H2_LINGER, // we have ended; what still comes is discarded
    H2_DEAD,
};

// Frames that cost us more than their sender, counted over a while.
enum h2_nuisance { H2_RESETS, H2_PINGS, H2_SETTINGS, H2_PRIORITIES, H2_EMPTY, H2_NUISANCES };

struct h2_conn {
    struct stream stream;
    struct visitor visitor;
    struct list node; // in shard->h2_conns
    struct timer timer;
    struct job settle;
    nghttp2_session *session; // owned
    struct list streams;      // all, by h2_stream.node
    struct list work;         // those that settle looks at
    size_t stream_count;
    struct outgo out;
    struct h2_head *head;   // owned block; NULL between header blocks
    uint64_t head_since_ns; // when it began
    uint64_t heard_ns;      // when something was read last
    uint64_t rest_since_ns; // when the last stream ended
    uint64_t armed_ns;      // what the timer waits for
    uint64_t window_ns;     // when counting began
    unsigned nuisances[H2_NUISANCES];
    enum h2_state state;
    bool in_session; // nghttp2 is on the stack: it must not be entered again
    bool greeted;    // the visitor's SETTINGS have come
    bool pinged;     // and not answered yet
    bool draining;
};

// Fields kept for later: pairs of lengths and texts.
struct h2_trailers {
    struct buf bytes;
    size_t count;
};

struct h2_stream {
    struct exchange exchange;
    struct h2_conn *conn; // borrowed
    struct list node;
    struct list work_node;
    struct timer timer;
    int32_t id;
    uint64_t moved_ns;
    struct buf held;     // of the request: not taken by the back, or too early for it
    struct buf out;      // of the answer: not taken by the session
    struct slice direct; // the same, while it still lies where the back has it
    struct h2_trailers request_trailers;
    struct h2_trailers trailers;
    bool started;      // the exchange
    bool request_done; // END_STREAM has come
    bool end_told;     // and the back knows
    bool back_full;
    bool front_full;
    bool answer_done; // the back has said all
    bool cut;         // and not in order
    bool closed;      // the session knows the stream no more
};

extern const struct front_ops h2_front_ops;

void h2_settle_later(struct h2_conn *conn);
// Has settle look at the stream.
void h2_stream_touch(struct h2_stream *stream);

// ---- edge_h2_request.c

void h2_request_callbacks(nghttp2_session_callbacks *callbacks);
// Gives the back what it takes now of what has come for it.
void h2_stream_feed(struct h2_stream *stream);
void h2_head_drop(struct h2_conn *conn);
// What a visitor's head may be, as RFC 9113 section 6.5.2 counts.
size_t h2_head_list_max(const struct h2_conn *conn);
// Too much of something: GOAWAY ENHANCE_YOUR_CALM.
void h2_calm_down(struct h2_conn *conn);
// A stream was reset because of what the visitor sent: as much of a nuisance as his own resets.
void h2_note_forced_reset(struct h2_conn *conn);

// ---- edge_h2_answer.c

void h2_answer_callbacks(nghttp2_session_callbacks *callbacks);
// Lets the session write as far as the visitor takes it.
void h2_pump(struct h2_conn *conn);

enum weir_result h2_trailers_keep(
    struct h2_trailers *kept, const struct http1_header *fields, size_t count) WEIR_MUST_CHECK;
// Fills fields (room for HTTP1_HEADERS_MAX), which borrow from kept; returns how many.
size_t h2_trailers_list(const struct h2_trailers *kept, struct http1_header *fields);

#endif
