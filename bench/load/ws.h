// SPDX-License-Identifier: Apache-2.0
// The little of WebSocket a load generator needs (RFC 6455 section 5.2): write masked frames, and
// take a byte stream apart into frames without copying.
#ifndef BENCH_WS_H
#define BENCH_WS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WS_TEXT = 1, WS_CLOSE = 8, WS_PING = 9, WS_PONG = 10 };
enum { WS_HEAD_MAX = 14, WS_CONTROL_MAX = 125 };

// Bytes a masked frame of `len` payload bytes takes.
size_t ws_frame_size(size_t len);

// Writes a final, masked frame under a random mask; returns ws_frame_size(len).
size_t ws_frame_write(uint8_t *out, unsigned opcode, const void *payload, size_t len);

struct ws_reader {
    uint8_t head[WS_HEAD_MAX];
    unsigned head_len; // bytes of the current frame's head seen so far
    bool in_payload;
    bool fin;
    bool masked;
    unsigned opcode;
    uint64_t len;  // payload bytes of the frame
    uint64_t seen; // of those, handed out so far
    uint8_t mask[4];
};

struct ws_piece {
    const uint8_t *data; // into the caller's input, still masked when the frame is
    size_t len;
    uint64_t offset; // of data[0] in the payload
    bool last;       // the frame ends with this piece
};

// Takes bytes from *data / *len. True: *ret_piece is set, and the reader's fields describe the
// frame it belongs to. False: the input is used up.
bool ws_read(struct ws_reader *r, const uint8_t **data, size_t *len, struct ws_piece *ret_piece);

// Copies a piece without its mask.
void ws_unmask(const struct ws_reader *r, const struct ws_piece *piece, uint8_t *out);

#endif
