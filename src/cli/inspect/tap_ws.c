// SPDX-License-Identifier: Apache-2.0
#include "cli/inspect/tap_ws.h"

#define RSV1 0x40

void tap_ws_init(struct tap_ws *ws, bool compresses)
{
    *ws = (struct tap_ws){.compresses = compresses};
    for (size_t i = 0; i < CAPTURE_SIDE_COUNT; i++) {
        buf_init(&ws->halves[i].kept, CAPTURE_FRAME_BYTES_MAX);
    }
}

static void tell(struct tap_ws_half *half, struct capture *capture, struct capture_entry *entry,
    enum capture_side side, uint64_t now_ns)
{
    const struct capture_frame frame = {
        .at_ns = now_ns,
        .len = half->frame.payload_len,
        .side = side,
        .opcode = half->frame.opcode,
        .fin = half->frame.fin,
        .compressed = half->compressed,
        .broken_off = half->passed < half->frame.payload_len,
    };
    capture_add_frame(capture, entry, &frame, buf_slice(&half->kept));
    buf_reset(&half->kept);
    half->inside = false;
}

// Reserved bits are an error to the parser; the one of compression says something only where it was
// agreed on.
static enum weir_result parse(struct tap_ws *ws, struct tap_ws_half *half, enum capture_side side)
{
    char first = half->header[0];
    half->compressed = ws->compresses && (first & RSV1) != 0;
    if (half->compressed) {
        half->header[0] = (char)(first & ~RSV1);
    }
    enum weir_result result = ws_header_parse(
        slice_of(half->header, half->header_len), side == CAPTURE_REQUEST, &half->frame);
    half->header[0] = first;
    if (result == WEIR_OK && !ws_header_fits(&half->frame, half->in_message)) {
        result = WEIR_PROTOCOL;
    }
    return result;
}

static void begin_frame(struct tap_ws_half *half)
{
    bool control = half->frame.opcode >= WS_CLOSE;
    half->in_message = control ? half->in_message : !half->frame.fin;
    half->header_len = 0;
    half->passed = 0;
    half->inside = true;
}

static struct slice feed_header(
    struct tap_ws *ws, struct tap_ws_half *half, enum capture_side side, struct slice bytes)
{
    enum weir_result result = WEIR_AGAIN;
    while (bytes.len > 0 && result == WEIR_AGAIN) {
        half->header[half->header_len++] = bytes.at[0];
        bytes = slice_skip(bytes, 1);
        result = parse(ws, half, side);
    }
    if (result == WEIR_OK) {
        begin_frame(half);
    } else if (result != WEIR_AGAIN) {
        ws->broken = true;
    }
    return bytes;
}

static struct slice feed_payload(struct tap_ws_half *half, struct slice bytes)
{
    uint64_t left = half->frame.payload_len - half->passed;
    size_t len = left < bytes.len ? (size_t)left : bytes.len;
    size_t room = half->kept.len_max - half->kept.len;
    size_t kept = len < room ? len : room;
    if (kept > 0 && half->kept.len == half->passed &&
        buf_append(&half->kept, bytes.at, kept) == WEIR_OK) {
        char *at = half->kept.at + half->kept.start + half->kept.len - kept;
        (void)ws_unmask(at, at, kept, half->frame.mask, half->passed); // ASCII or not
    }
    half->passed += len;
    return slice_skip(bytes, len);
}

void tap_ws_feed(struct tap_ws *ws, struct capture *capture, struct capture_entry *entry,
    enum capture_side side, struct slice bytes, uint64_t now_ns)
{
    struct tap_ws_half *half = &ws->halves[side];
    while (bytes.len > 0 && !ws->broken) {
        bytes = half->inside ? feed_payload(half, bytes) : feed_header(ws, half, side, bytes);
        if (half->inside && half->passed == half->frame.payload_len) {
            tell(half, capture, entry, side, now_ns);
        }
    }
}

void tap_ws_close(
    struct tap_ws *ws, struct capture *capture, struct capture_entry *entry, uint64_t now_ns)
{
    for (size_t i = 0; i < CAPTURE_SIDE_COUNT; i++) {
        if (ws->halves[i].inside) {
            tell(&ws->halves[i], capture, entry, (enum capture_side)i, now_ns);
        }
        buf_reset(&ws->halves[i].kept);
    }
}
