// SPDX-License-Identifier: Apache-2.0
// WebSocket frames: headers in and out, masking, close payloads, the opening key.
//
// A header is judged as early as its bytes allow: the first byte alone refuses reserved bits and
// opcodes, the second the mask and the length of a control frame. A peer that breaks the rules does
// not keep us waiting for the rest.
//
// Unmasking is the hot path: wide.c does all but the last bytes.
#include "proto/websocket.h"

#include <openssl/evp.h>
#include <string.h>

#include "base/base64.h"
#include "base/utf8.h"
#include "proto/wide.h"

#define FIN_BIT 0x80u
#define RESERVED_BITS 0x70u
#define OPCODE_BITS 0x0fu
#define CONTROL_BIT 0x08u
#define MASK_BIT 0x80u
#define LENGTH_BITS 0x7fu
#define LENGTH_16 126u
#define LENGTH_64 127u

#define CLOSE_CODE_LEN 2
#define CLOSE_REASON_MAX (WS_CONTROL_PAYLOAD_MAX - CLOSE_CODE_LEN)
#define CLOSE_CODE_ABSENT 1005 // section 7.1.5: what a close without a code means

#define KEY_LEN 24
#define KEY_GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
#define KEY_GUID_LEN (sizeof KEY_GUID - 1)
#define SHA1_LEN 20

static bool first_byte_valid(uint8_t first);
static bool length_field_valid(uint8_t second, bool control, bool expect_masked);
static size_t length_field_extra(uint8_t second);
static bool close_code_valid(uint16_t code);

static uint64_t load_be(const uint8_t *bytes, size_t count)
{
    uint64_t value = 0;
    for (size_t i = 0; i < count; i++) {
        value = value << 8 | bytes[i];
    }
    return value;
}

static void store_be(uint8_t *bytes, size_t count, uint64_t value)
{
    for (size_t i = count; i > 0; i--) {
        bytes[i - 1] = (uint8_t)(value & 0xff);
        value >>= 8;
    }
}

enum weir_result ws_header_parse(
    struct slice bytes, bool expect_masked, struct ws_header *ret_header)
{
    const uint8_t *at = (const uint8_t *)bytes.at;
    if (bytes.len == 0) {
        return WEIR_AGAIN;
    }
    if (!first_byte_valid(at[0])) {
        return WEIR_PROTOCOL;
    }
    if (bytes.len == 1) {
        return WEIR_AGAIN;
    }
    if (!length_field_valid(at[1], (at[0] & CONTROL_BIT) != 0, expect_masked)) {
        return WEIR_PROTOCOL;
    }

    size_t extra = length_field_extra(at[1]);
    size_t len = 2 + extra;
    if (bytes.len < len) {
        return WEIR_AGAIN;
    }
    uint64_t payload_len = extra == 0 ? at[1] & LENGTH_BITS : load_be(at + 2, extra);
    // The shortest form is the only one, and the top bit of 64 stays clear (section 5.2).
    if (len != ws_header_len(payload_len) || payload_len > INT64_MAX) {
        return WEIR_PROTOCOL;
    }
    size_t mask_len = expect_masked ? 4 : 0;
    if (bytes.len < len + mask_len) {
        return WEIR_AGAIN;
    }

    *ret_header = (struct ws_header){
        .payload_len = payload_len,
        .header_len = (uint8_t)(len + mask_len),
        .opcode = at[0] & OPCODE_BITS,
        .fin = (at[0] & FIN_BIT) != 0,
        .masked = expect_masked,
    };
    memcpy(ret_header->mask, at + len, mask_len);
    return WEIR_OK;
}

static bool first_byte_valid(uint8_t first)
{
    if ((first & RESERVED_BITS) != 0) {
        return false;
    }
    switch ((enum ws_opcode)(first & OPCODE_BITS)) {
    case WS_CONTINUATION:
    case WS_TEXT:
    case WS_BINARY:
        return true;
    case WS_CLOSE:
    case WS_PING:
    case WS_PONG:
        return (first & FIN_BIT) != 0;
    }
    return false;
}

static bool length_field_valid(uint8_t second, bool control, bool expect_masked)
{
    if (((second & MASK_BIT) != 0) != expect_masked) {
        return false;
    }
    return !control || (second & LENGTH_BITS) <= WS_CONTROL_PAYLOAD_MAX;
}

static size_t length_field_extra(uint8_t second)
{
    switch (second & LENGTH_BITS) {
    case LENGTH_16:
        return 2;
    case LENGTH_64:
        return 8;
    default:
        return 0;
    }
}

bool ws_header_fits(const struct ws_header *header, bool in_message)
{
    if ((header->opcode & CONTROL_BIT) != 0) {
        return true;
    }
    return (header->opcode == WS_CONTINUATION) == in_message;
}

size_t ws_header_len(uint64_t payload_len)
{
    if (payload_len < LENGTH_16) {
        return 2;
    }
    return payload_len <= UINT16_MAX ? 4 : WS_UNMASKED_HEADER_MAX;
}

// Writes all but the mask; returns the length.
static size_t header_put(uint8_t *out, uint64_t payload_len, enum ws_opcode opcode)
{
    size_t len = ws_header_len(payload_len);
    out[0] = (uint8_t)(FIN_BIT | opcode);
    if (len == 2) {
        out[1] = (uint8_t)payload_len;
        return len;
    }
    out[1] = len == 4 ? LENGTH_16 : LENGTH_64;
    store_be(out + 2, len - 2, payload_len);
    return len;
}

char *ws_header_write_before(char *payload, uint64_t payload_len, enum ws_opcode opcode)
{
    char *begin = payload - ws_header_len(payload_len);
    header_put((uint8_t *)begin, payload_len, opcode);
    return begin;
}

size_t ws_header_write(
    char out[WS_HEADER_MAX], uint64_t payload_len, enum ws_opcode opcode, const uint8_t mask[4])
{
    uint8_t *at = (uint8_t *)out;
    size_t len = header_put(at, payload_len, opcode);
    if (mask == NULL) {
        return len;
    }
    at[1] |= MASK_BIT;
    memcpy(at + len, mask, 4);
    return len + 4;
}

bool ws_unmask(char *to, const char *from, size_t len, const uint8_t mask[4], uint64_t offset)
{
    uint8_t turned[8];
    for (size_t i = 0; i < sizeof turned; i++) {
        turned[i] = mask[(i + offset) & 3];
    }
    uint64_t pattern;
    memcpy(&pattern, turned, sizeof pattern);

    bool ascii;
    size_t done = wide_best()->unmask(to, from, len, pattern, &ascii);
    uint8_t seen = 0; // the last bytes, one over the other
    for (size_t k = 0; done + k < len; k++) {
        uint8_t byte = (uint8_t)((uint8_t)from[done + k] ^ turned[k]);
        seen |= byte;
        to[done + k] = (char)byte;
    }
    return ascii && seen < 0x80;
}

enum weir_result ws_close_parse(struct slice payload, uint16_t *ret_code, struct slice *ret_reason)
{
    if (payload.len == 0) {
        *ret_code = CLOSE_CODE_ABSENT;
        *ret_reason = SLICE_EMPTY;
        return WEIR_OK;
    }
    if (payload.len < CLOSE_CODE_LEN) {
        return WEIR_PROTOCOL;
    }
    uint16_t code = (uint16_t)load_be((const uint8_t *)payload.at, CLOSE_CODE_LEN);
    if (!close_code_valid(code)) {
        return WEIR_PROTOCOL;
    }
    struct slice reason = slice_skip(payload, CLOSE_CODE_LEN);
    if (!utf8_valid(reason)) {
        return WEIR_MALFORMED;
    }
    *ret_code = code;
    *ret_reason = reason;
    return WEIR_OK;
}

// Which codes a peer may put on the wire: those IANA's registry has (1012 to 1014 came after the
// RFC), less the three that only a local API reports, and the ranges of libraries and applications.
static bool close_code_valid(uint16_t code)
{
    if (code >= 3000) {
        return code <= 4999;
    }
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014);
}

size_t ws_close_write(char out[WS_CONTROL_PAYLOAD_MAX], uint16_t code, struct slice reason)
{
    size_t len = reason.len;
    if (len > CLOSE_REASON_MAX) {
        len = CLOSE_REASON_MAX;
        while (len > 0 && ((uint8_t)reason.at[len] & 0xc0) == 0x80) {
            len--;
        }
    }
    store_be((uint8_t *)out, CLOSE_CODE_LEN, code);
    if (len > 0) {
        memcpy(out + CLOSE_CODE_LEN, reason.at, len);
    }
    return CLOSE_CODE_LEN + len;
}

enum weir_result ws_accept_key(struct slice key, char out[WS_ACCEPT_SIZE])
{
    _Static_assert(BASE64_SIZE(SHA1_LEN) == WS_ACCEPT_SIZE, "a SHA-1 in base64");
    if (key.len != KEY_LEN) {
        return WEIR_INVALID;
    }
    char text[KEY_LEN + KEY_GUID_LEN];
    memcpy(text, key.at, KEY_LEN);
    memcpy(text + KEY_LEN, KEY_GUID, KEY_GUID_LEN);
    uint8_t digest[SHA1_LEN];
    if (EVP_Digest(text, sizeof text, digest, NULL, EVP_sha1(), NULL) != 1) {
        return WEIR_CRYPTO;
    }
    base64_encode(digest, sizeof digest, out);
    return WEIR_OK;
}

bool ws_key_valid(struct slice key)
{
    if (key.len != KEY_LEN || !slice_ends_with(key, SLICE("=="))) {
        return false;
    }
    for (size_t i = 0; i < KEY_LEN - 2; i++) {
        char c = key.at[i];
        bool letter = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
        if (!letter && !(c >= '0' && c <= '9') && c != '+' && c != '/') {
            return false;
        }
    }
    return true;
}
