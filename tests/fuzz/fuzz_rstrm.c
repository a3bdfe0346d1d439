// SPDX-License-Identifier: Apache-2.0
// Input: the payload of a frame. What must hold: a decode stays within the arena's bound, and what
// it gave encodes to a frame that decodes to the same, so that encoding once more changes nothing.
#include <stdint.h>

#include "proto/rstrm.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void encode(const struct rstrm_message *message, struct buf *out)
{
    buf_init(out, RSTRM_FRAME_MAX);
    enum weir_result result = rstrm_encode(out, message);
    // A negative code may have come in five bytes; it goes out in ten.
    weir_assert(result == WEIR_OK || result == WEIR_TOO_LARGE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > RSTRM_PAYLOAD_MAX) {
        return 0;
    }
    struct arena arena;
    arena_init(&arena, RSTRM_ARENA_BYTES_MAX);
    struct rstrm_message message;
    enum weir_result result = rstrm_decode(slice_of((const char *)data, size), &arena, &message);
    weir_assert(arena.bytes <= RSTRM_ARENA_BYTES_MAX);
    if (result == WEIR_OK && message.kind != RSTRM_NONE) {
        struct buf out;
        encode(&message, &out);
        struct slice payload;
        if (out.len > 0 && rstrm_next_frame(buf_slice(&out), &payload) == WEIR_OK) {
            struct arena second;
            arena_init(&second, RSTRM_ARENA_BYTES_MAX);
            weir_assert(rstrm_decode(payload, &second, &message) == WEIR_OK);
            struct buf again;
            encode(&message, &again);
            weir_assert(slice_eq(buf_slice(&again), buf_slice(&out)));
            buf_reset(&again);
            arena_reset(&second);
        }
        buf_reset(&out);
    }
    arena_reset(&arena);
    return 0;
}
