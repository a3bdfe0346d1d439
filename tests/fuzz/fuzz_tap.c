// SPDX-License-Identifier: Apache-2.0
// Input: pieces of a conversation, each a byte (direction, and the length of the piece) and its
// bytes. What must hold: every byte is counted once at most, bounds are kept, nothing is held at
// the end.
#include <stdint.h>

#include "cli/inspect/tap.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct capture *capture, const uint64_t fed[CAPTURE_SIDE_COUNT])
{
    uint64_t counted[CAPTURE_SIDE_COUNT] = {0};
    size_t bytes = 0;
    size_t count = 0;
    list_for_each (node, &capture->entries) {
        const struct capture_entry *entry = container_of(node, struct capture_entry, node);
        count++;
        bytes += entry->frame_bytes;
        weir_assert(entry->frame_count <= CAPTURE_FRAMES_MAX);
        weir_assert(entry->frame_count <= entry->frames_seen);
        weir_assert(entry->holders == 0 && entry->state >= CAPTURE_DONE);
        for (size_t i = 0; i < CAPTURE_SIDE_COUNT; i++) {
            const struct capture_message *message = &entry->messages[i];
            counted[i] += message->bytes; // of a request of HTTP/2 its connection counts them
            bytes += message->head_len + message->body.len;
            weir_assert(message->body.len <= capture->body_max);
            weir_assert(message->body.len <= message->body_len);
            weir_assert(message->body.len == message->body_len || message->body_cut);
        }
    }
    weir_assert(bytes == capture->bytes && count == capture->count);
    weir_assert(bytes <= capture->bytes_max && count <= capture->entries_max);
    weir_assert(counted[0] <= fed[0] && counted[1] <= fed[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct capture capture;
    struct tap tap;
    uint64_t fed[CAPTURE_SIDE_COUNT] = {0};
    capture_init(&capture);
    capture.entries_max = 8;
    capture.body_max = 16;
    capture.bytes_max = 4096;
    tap_open(&tap, &capture, &(struct capture_origin){.tunnel = "t"});
    while (size > 0) {
        enum capture_side side = (data[0] & 1) == 0 ? CAPTURE_REQUEST : CAPTURE_ANSWER;
        size_t len = data[0] >> 1;
        len = len < size - 1 ? len : size - 1;
        if (len == 0) {
            tap_end(&tap, side, 1);
        }
        tap_feed(&tap, side, slice_of((const char *)data + 1, len), 1);
        fed[side] += len;
        data += 1 + len;
        size -= 1 + len;
    }
    tap_close(&tap, 2);
    check(&capture, fed);
    capture_fini(&capture);
    return 0;
}
