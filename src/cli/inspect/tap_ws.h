// SPDX-License-Identifier: Apache-2.0
// Takes the frames of a WebSocket (RFC 6455) out of the bytes that pass, for the capture. What
// breaks the rules ends it: nobody knows where the next frame begins.
#ifndef WEIR_CLI_TAP_WS_H
#define WEIR_CLI_TAP_WS_H

#include "cli/inspect/capture.h"
#include "proto/websocket.h"

struct tap_ws_half {
    char header[WS_HEADER_MAX]; // of the next frame, as far as it came
    size_t header_len;
    struct ws_header frame; // whose payload passes; while `inside`
    uint64_t passed;        // of it
    struct buf kept;        // of it, unmasked
    bool inside;
    bool in_message;
    bool compressed;
};

struct tap_ws {
    struct tap_ws_half halves[CAPTURE_SIDE_COUNT];
    bool compresses; // an extension that takes RSV1 was agreed on (RFC 7692)
    bool broken;
};

void tap_ws_init(struct tap_ws *ws, bool compresses);
void tap_ws_feed(struct tap_ws *ws, struct capture *capture, struct capture_entry *entry,
    enum capture_side side, struct slice bytes, uint64_t now_ns);
// The stream has gone: what is not complete is told as such. Fine twice.
void tap_ws_close(
    struct tap_ws *ws, struct capture *capture, struct capture_entry *entry, uint64_t now_ns);

#endif
