// SPDX-License-Identifier: Apache-2.0
// What the two files of the HTTP/1.1 edge share: edge_h1.c reads requests and owns the connection,
// edge_h1_answer.c writes answers. Nobody else includes this.
#ifndef WEIR_ENGINE_EDGE_H1_H
#define WEIR_ENGINE_EDGE_H1_H

#include "engine/edge/outgo.h"
#include "engine/edge/visitor.h"
#include "proto/http1_body.h"

enum h1_state {
    H1_HEAD,     // a request's head, or nothing
    H1_EXCHANGE, // from a request's head to the end of its answer
    H1_LAST,     // the last answer is on its way out
    H1_LINGER,   // we have ended; what still comes is discarded
    H1_DEAD,
};

struct h1_conn {
    struct stream stream;
    struct visitor visitor;
    struct list node; // in shard->h1_conns
    struct timer timer;
    struct job settle; // deferred: what a call from the back has left to do
    struct exchange exchange;
    struct http1_body body; // of the request
    struct buf in;          // read and not used yet
    size_t in_counted;      // of in, as held for the visitor
    struct outgo out;
    uint64_t moved_ns; // when a byte of the exchange came or went last
    uint64_t left;     // answer bytes to come, when has_length
    enum h1_state state;
    unsigned minor_version;
    char upgrade[32];   // what the request asked for; "": no upgrade
    bool has_length;    // of the answer
    bool chunked;       // the answer's body
    bool keep_alive;    // another request may follow
    bool body_done;     // the request is complete
    bool body_broken;   // it cannot be read on
    bool back_full;     // the back takes no more for now
    bool front_full;    // the back has been told to wait
    bool visitor_ended; // he sends no more
    bool cut;           // the end must not look like one
    bool draining;
    bool asked; // a request, at least one
    bool finished_raw; // close_notify has been sent behind the last byte of an upgraded answer
};

extern const struct front_ops h1_front_ops;

// Has what a call from the back left to do done at the end of this turn.
void h1_settle_later(struct h1_conn *conn);

#endif
