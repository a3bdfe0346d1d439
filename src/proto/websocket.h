// SPDX-License-Identifier: Apache-2.0
// The WebSocket framing of RFC 6455, without I/O. One decoder serves both roles: a server expects
// masked frames, a client unmasked ones.
//
// The caller gives the decoder raw bytes; it answers with the next event and how many bytes it has
// used. A header may be cut anywhere; a payload is handed out piece by piece, never copied here:
// gathering pieces into messages is the caller's (stream/websocket.h), which knows its buffers.
#ifndef WEIR_PROTO_WEBSOCKET_H
#define WEIR_PROTO_WEBSOCKET_H

#include <stddef.h>
#include <stdint.h>

#include "base/result.h"
#include "base/slice.h"

enum ws_opcode {
    WS_CONTINUATION = 0x0,
    WS_TEXT = 0x1,
    WS_BINARY = 0x2,
    WS_CLOSE = 0x8,
    WS_PING = 0x9,
    WS_PONG = 0xa,
};

#define WS_CONTROL_PAYLOAD_MAX 125
// An unmasked header is 2, 4 or 10 bytes; a masked one 4 more.
#define WS_HEADER_MAX 14
#define WS_UNMASKED_HEADER_MAX 10

struct ws_header {
    uint64_t payload_len;
    uint8_t mask[4]; // as on the wire; zero when not masked
    uint8_t header_len;
    uint8_t opcode; // enum ws_opcode
    bool fin;
    bool masked;
};

// Parses the header at the front of bytes. WEIR_AGAIN: more bytes are needed (at most
// WS_HEADER_MAX). WEIR_PROTOCOL: reserved bits, an unknown opcode, a fragmented or oversize control
// frame, a length not in its shortest form, the top bit of a 64-bit length, or a mask that is
// missing or present against expect_masked (RFC 6455 sections 5.1, 5.2, 5.5).
enum weir_result ws_header_parse(
    struct slice bytes, bool expect_masked, struct ws_header *ret_header) WEIR_MUST_CHECK;

// Whether a frame with this header may follow in a connection that has (in_message) or has not an
// unfinished message (section 5.4). Control frames may come anywhere.
bool ws_header_fits(const struct ws_header *header, bool in_message);

// The length of the unmasked header of a payload.
size_t ws_header_len(uint64_t payload_len);
// Writes an unmasked header so that it ends right before payload (which has at least
// WS_UNMASKED_HEADER_MAX writable bytes in front); returns where the header begins.
char *ws_header_write_before(char *payload, uint64_t payload_len, enum ws_opcode opcode);
// Writes a complete header, masked when mask is not NULL, fin set. Returns its length.
size_t ws_header_write(
    char out[WS_HEADER_MAX], uint64_t payload_len, enum ws_opcode opcode, const uint8_t mask[4]);

// Copies len bytes from `from` to `to`, XORed with mask, whose phase is the offset of from[0] in
// its payload. to == from works in place, and `to` may lie anywhere before `from`, overlapping. Returns
// whether every byte of the result is ASCII: it comes for nothing here and saves most texts a pass.
bool ws_unmask(char *to, const char *from, size_t len, const uint8_t mask[4], uint64_t offset);

// A received close payload (section 5.5.1): empty gives 1005. WEIR_PROTOCOL: one byte, or a code
// that must not be sent (section 7.4: below 1000, 1004-1006, 1015-2999, 5000 and up; IANA's
// registry has 1012-1014 since). WEIR_MALFORMED: reason is not UTF-8.
enum weir_result ws_close_parse(
    struct slice payload, uint16_t *ret_code, struct slice *ret_reason) WEIR_MUST_CHECK;
// Writes a close payload; reason is cut to 123 bytes at a character's end. Returns the length.
size_t ws_close_write(char out[WS_CONTROL_PAYLOAD_MAX], uint16_t code, struct slice reason);

#define WS_ACCEPT_SIZE 29
// Sec-WebSocket-Accept for a key (section 4.2.2), NUL-terminated. WEIR_INVALID: a key that
// ws_key_valid refuses by its length; WEIR_CRYPTO.
enum weir_result ws_accept_key(struct slice key, char out[WS_ACCEPT_SIZE]) WEIR_MUST_CHECK;
// 16 bytes in padded base64 (section 4.1); like the reference, 22 characters and "==".
bool ws_key_valid(struct slice key);

#endif
