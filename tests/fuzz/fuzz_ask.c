// SPDX-License-Identifier: Apache-2.0
// Bodies that relays send to the platform, as every question: what is taken keeps its bounds, what
// is refused says why, and a frame that is taken is written as JSON that reads back.
#include <stdint.h>

#include "platform/ask.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FRAME_BYTES_MAX 4096
#define ROW_BYTES_MAX 65536

static void check_frame(const struct frame_ask *frame)
{
    struct buf row = BUF_INIT(ROW_BYTES_MAX);
    if (!frame->valid) {
        return;
    }
    weir_assert(frame->payload.len > 0 && frame->payload.len <= FRAME_BYTES_MAX);
    weir_assert(frame->source_relay_id.len > 0 &&
                frame->source_relay_id.len <= ASK_RELAY_ID_LEN_MAX &&
                frame->target_relay_id.len <= ASK_RELAY_ID_LEN_MAX);
    frame_ask_write(frame, &row);
    weir_assert(!row.failed);
    json_t *back = json_loadb(row.at, row.len, JSON_REJECT_DUPLICATES, NULL);
    json_t *payload = json_object_get(back, "p");
    weir_assert(slice_eq(
        frame->payload, slice_of(json_string_value(payload), json_string_length(payload))));
    weir_assert(json_integer_value(json_object_get(back, "n")) == (json_int_t)frame->payload.len);
    json_decref(back);
    buf_reset(&row);
}

static void check(enum platform_ask_kind kind, struct slice body)
{
    struct platform_ask ask;
    enum weir_result result = platform_ask_read(kind, body, FRAME_BYTES_MAX, &ask);
    weir_assert(result == WEIR_OK || result == WEIR_MALFORMED);
    weir_assert(result == WEIR_OK || ask.problem[0] != '\0');
    if (result == WEIR_OK) {
        weir_assert(ask.frame_count <= ASK_FRAMES_MAX);
        weir_assert(
            ask.pull.limit <= ASK_PULL_LIMIT_MAX && ask.pull.wait_ms <= ASK_PULL_WAIT_MS_MAX);
        for (size_t i = 0; i < ask.frame_count; i++) {
            check_frame(&ask.frames[i]);
        }
    }
    platform_ask_fini(&ask);
    platform_ask_fini(&ask);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice body = slice_of((const char *)data, size);
    check(ASK_PRESENCE_PUT, body);
    check(ASK_PRESENCE_GET, body);
    check(ASK_PUBLISH, body);
    check(ASK_PULL, body);
    return 0;
}
