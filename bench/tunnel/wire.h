// SPDX-License-Identifier: Apache-2.0
// As much of the agent protocol (docs/spec/engine.md section 4) as the bench's agent speaks, written
// by hand: the bench must not share code with what it measures.
#ifndef BENCH_WIRE_H
#define BENCH_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WIRE_FRAME_MAX = 65535 + 4 };

// Members of the envelope.
enum wire_member {
    WIRE_OPEN_CHANNEL_REQ = 1,
    WIRE_OPEN_CHANNEL_RSP = 2,
    WIRE_OPEN_TUNNEL_REQ = 5,
    WIRE_OPEN_TUNNEL_RSP = 6,
    WIRE_PROXY_CONN_REQ = 9,
    WIRE_PROXY_CONN_RSP = 10,
    WIRE_PROXY_REQ = 11,
    WIRE_SERVER_MESSAGE = 16,
};

struct wire_text {
    const uint8_t *at;
    size_t len;
};

// Each writes a whole frame and returns its length.
size_t wire_open_channel(uint8_t *out, const char *token);
// protocol: "http" or "tls"; passthrough only for "tls".
size_t wire_open_tunnel(uint8_t *out, const char *protocol, const char *host, bool passthrough);
size_t wire_proxy(uint8_t *out, struct wire_text stream_id, struct wire_text secret);
size_t wire_proxy_conn_answer(uint8_t *out, struct wire_text stream_id);

// The body of the length-delimited field `number` in a message; len 0 and at NULL without.
struct wire_text wire_field(struct wire_text message, unsigned number);

#endif
