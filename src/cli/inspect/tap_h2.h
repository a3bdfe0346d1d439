// SPDX-License-Identifier: Apache-2.0
// Takes the requests of an HTTP/2 connection (RFC 9113) out of the bytes that pass, for the
// capture: an entry each, with its head written as HTTP/1.1 would. What breaks the rules, or is
// above the bounds, ends it; the connection's own entry counts on.
#ifndef WEIR_CLI_TAP_H2_H
#define WEIR_CLI_TAP_H2_H

#include <nghttp2/nghttp2.h>

#include "cli/inspect/capture.h"

#define TAP_H2_STREAMS_MAX 64 // at once; more are not followed
#define TAP_H2_HEADER_SIZE 9

struct tap_h2_stream {
    uint32_t id;
    struct capture_entry *entry; // held; NULL: the slot is free
    bool ended[CAPTURE_SIDE_COUNT];
};

struct tap_h2_half {
    uint8_t header[TAP_H2_HEADER_SIZE]; // of the next frame, as far as it came
    size_t header_len;
    size_t left; // of the payload; while `inside`
    size_t padding;
    uint8_t type;
    uint8_t flags;
    uint32_t id;
    bool inside;
    bool starts;                   // the payload, with the length of its padding
    bool gathers;                  // a head goes on in the next frame
    bool ends;                     // that head ends its stream
    struct buf frame;              // a payload that is looked at as a whole
    struct buf fields;             // of a head, as HPACK has them
    nghttp2_hd_inflater *inflater; // owned
};

struct tap_h2 {
    struct capture *capture; // borrowed, as is origin
    const struct capture_origin *origin;
    struct tap_h2_half halves[CAPTURE_SIDE_COUNT];
    struct tap_h2_stream streams[TAP_H2_STREAMS_MAX];
    size_t preface_left;
    bool broken;
};

// Without memory it is broken from the start.
void tap_h2_init(struct tap_h2 *h2, struct capture *capture, const struct capture_origin *origin);
void tap_h2_feed(struct tap_h2 *h2, enum capture_side side, struct slice bytes, uint64_t now_ns);
// The stream has gone: what is not complete is cut. Fine twice.
void tap_h2_close(struct tap_h2 *h2);

#endif
