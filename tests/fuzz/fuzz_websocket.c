// SPDX-License-Identifier: Apache-2.0
// Input: one byte that chooses the role, then a stream of frames. What must hold: a header is
// judged the same however it is cut, survives being written again, and masking is its own inverse.
#include <stdint.h>
#include <stdlib.h>

#include "proto/websocket.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// No prefix of a header may be taken for a whole one, and a header that is refused in part is
// refused in whole.
static void check_prefixes(struct slice bytes, bool masked, enum weir_result whole, size_t len)
{
    for (size_t cut = 0; cut < len; cut++) {
        struct ws_header header;
        enum weir_result part = ws_header_parse(slice_of(bytes.at, cut), masked, &header);
        weir_assert(part == WEIR_AGAIN || (whole == WEIR_PROTOCOL && part == whole));
    }
}

static void check_written(struct slice bytes, const struct ws_header *header)
{
    char out[WS_HEADER_MAX];
    size_t len = ws_header_write(out, header->payload_len, (enum ws_opcode)header->opcode,
        header->masked ? header->mask : NULL);
    weir_assert(len == header->header_len);
    weir_assert(((uint8_t)out[0] & 0x0f) == ((uint8_t)bytes.at[0] & 0x0f));
    weir_assert(memcmp(out + 1, bytes.at + 1, len - 1) == 0);
}

static void check_masking(struct slice payload, const struct ws_header *header)
{
    // The payload moves down by as much as its header was long, and is unmasked in two pieces.
    size_t shift = header->header_len;
    char *text = malloc(shift + payload.len);
    weir_assert(text != NULL);
    memcpy(text + shift, payload.at, payload.len);
    size_t first = payload.len / 3;
    ws_unmask(text, text + shift, first, header->mask, 0);
    ws_unmask(text + first, text + shift + first, payload.len - first, header->mask, first);
    for (size_t i = 0; i < payload.len; i++) {
        weir_assert((uint8_t)text[i] == ((uint8_t)payload.at[i] ^ header->mask[i % 4]));
    }
    ws_unmask(text, text, payload.len, header->mask, 0);
    weir_assert(memcmp(text, payload.at, payload.len) == 0);
    free(text);
}

static void check_close(struct slice payload)
{
    uint16_t code;
    struct slice reason;
    if (ws_close_parse(payload, &code, &reason) != WEIR_OK || payload.len == 0) {
        return;
    }
    char out[WS_CONTROL_PAYLOAD_MAX];
    size_t len = ws_close_write(out, code, reason);
    weir_assert(len == payload.len && memcmp(out, payload.at, len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    bool masked = (data[0] & 1) != 0;
    bool in_message = false;
    struct slice rest = slice_of((const char *)data + 1, size - 1);
    while (rest.len > 0) {
        struct ws_header header;
        enum weir_result result = ws_header_parse(rest, masked, &header);
        size_t head_len = rest.len < WS_HEADER_MAX ? rest.len : WS_HEADER_MAX;
        check_prefixes(rest, masked, result, result == WEIR_OK ? header.header_len : head_len);
        if (result != WEIR_OK || !ws_header_fits(&header, in_message)) {
            return 0;
        }
        check_written(rest, &header);
        rest = slice_skip(rest, header.header_len);
        size_t len = header.payload_len < rest.len ? (size_t)header.payload_len : rest.len;
        struct slice payload = slice_of(rest.at, len);
        check_masking(payload, &header);
        if (header.opcode == WS_CLOSE) {
            check_close(payload);
        } else if (header.opcode <= WS_BINARY) {
            in_message = !header.fin;
        }
        rest = slice_skip(rest, len);
    }
    return 0;
}
