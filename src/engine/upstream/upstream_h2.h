// SPDX-License-Identifier: Apache-2.0
// What the two halves of upstream_h2 share. Nobody else includes this.
#ifndef WEIR_ENGINE_UPSTREAM_H2_H
#define WEIR_ENGINE_UPSTREAM_H2_H

#include <nghttp2/nghttp2.h>

#include "engine/upstream/upstream_internal.h"

// What a service may send of one answer before we have passed it on; the front holds no more.
#define H2_STREAM_WINDOW (256 * 1024)
#define H2_CONNECTION_WINDOW (1024 * 1024)
#define H2_HEADER_LIST_MAX 32768 // with 32 bytes a field (RFC 9113 section 6.5.2)

struct upstream_h2 {
    nghttp2_session *session; // owned
    struct upstream *upstream;
    struct list streams; // struct h2_call
    size_t stream_count;
    size_t exchange_count; // of streams that have one
    size_t heads_len;      // of requests that wait to become frames
    struct buf out;        // frames, as far as the stream has not taken them
    struct buf block;      // the header block that is being received
    size_t block_list_size;
    size_t block_count;
    struct job flush; // deferred: there are frames to send
    size_t useless;   // what the service's frames have cost since one was of use
    bool inside;      // nghttp2 is on the stack: it must not be freed
    bool greeted;     // its SETTINGS have come
    bool refuses;     // the service takes no new requests
    bool some_low;    // a stream may take body again
};

// An exchange on an h2 upstream.
struct h2_call {
    struct list node; // in upstream_h2.streams
    struct upstream *upstream;
    struct exchange *exchange;      // NULL when it has been let go of
    struct upstream_request *again; // owned; a copy for another try, until something is answered
    struct buf body;                // what came from the front and is in no frame yet
    struct http1_header *trailers;  // owned
    size_t trailer_count;
    struct timer timer;
    size_t held_len; // of the answer, pushed since the front last wanted more
    size_t head_len; // of the request, until it is in a frame
    int32_t id;
    unsigned interim_count;
    bool has_body;
    bool request_done; // the front has ended it
    bool sleeps;       // nghttp2 waits for more of the body
    bool front_waits;
    bool answered; // the final head is through
    bool repeatable;
};

// ---- upstream_h2.c

// Frames have been submitted: they leave at the end of the turn.
void upstream_h2_flush_later(struct upstream *upstream);
// No call goes to the exchange any more, nor comes from it.
void upstream_h2_let_go(struct h2_call *stream);
// Tells the service that nothing more will come or be taken.
void upstream_h2_reset(struct h2_call *stream, uint32_t code);
void upstream_h2_arm(struct h2_call *stream);
// The stream ended before its answer was complete. unprocessed: the service has not looked at it.
void upstream_h2_broken(struct h2_call *stream, bool unprocessed, enum edge_error error);
// Its head is in a frame, or never will be.
void upstream_h2_forget_head(struct h2_call *stream);
// nghttp2 has closed it.
void upstream_h2_free_stream(struct h2_call *stream);

// ---- upstream_h2_answer.c

void upstream_h2_set_callbacks(nghttp2_session_callbacks *callbacks);

#endif
