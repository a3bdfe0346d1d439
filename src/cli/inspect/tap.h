// SPDX-License-Identifier: Apache-2.0
// Looks at the bytes of one forwarded stream as they pass and records what HTTP/1.1 exchanges they
// are (RFC 9112). The bytes have been sent on, or will be: nothing here can hold, change or refuse
// them, and what cannot be read is counted.
//
//   requests  ─► head ─► body ─┐            one entry of the capture for each request;
//                ▲─────────────┘            answers go to the oldest entry that waits for one
//   answers   ─► head ─► body ─┐
//                ▲─────────────┘
//   a WebSocket, HTTP/2 ─► both directions are frames, for good
//   TLS, another upgrade, or a broken message ─► they are only counted, for good
#ifndef WEIR_CLI_TAP_H
#define WEIR_CLI_TAP_H

#include "cli/inspect/capture.h"
#include "cli/inspect/tap_h2.h"
#include "cli/inspect/tap_ws.h"
#include "proto/http1_body.h"

// Requests on one stream that have no answer yet; with more it is only counted.
#define TAP_PIPELINE_MAX 32

struct tap_half {
    struct buf head; // a head that is not complete
    struct http1_body body;
    struct capture_entry *entry; // whose message passes; NULL: between messages
    uint64_t begun_ns;           // of the head that is not complete
    bool in_body;
};

// Zeroed when not open.
struct tap {
    struct capture *capture; // borrowed
    struct capture_origin origin;
    struct tap_half halves[CAPTURE_SIDE_COUNT];
    struct list waiting; // entries without a complete answer, the oldest first
    unsigned waiting_count;
    struct capture_entry *opaque; // what counts the bytes that are not read
    struct tap_ws *frames;        // owned; what the opaque entry counts is a WebSocket
    struct tap_h2 *h2;            // owned; what it counts is HTTP/2
    bool spoken;                  // a message of HTTP/1 has passed
    bool blind;                   // nothing is read any more
    bool open;
};

// The capture outlives the tap.
void tap_open(struct tap *tap, struct capture *capture, const struct capture_origin *origin);
// The next bytes of a direction.
void tap_feed(struct tap *tap, enum capture_side side, struct slice bytes, uint64_t now_ns);
// That direction has ended.
void tap_end(struct tap *tap, enum capture_side side, uint64_t now_ns);
// The stream has gone: what is not complete is cut. Fine when it is not open, and twice.
void tap_close(struct tap *tap, uint64_t now_ns);

#endif
