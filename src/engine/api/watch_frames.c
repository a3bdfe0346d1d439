// SPDX-License-Identifier: Apache-2.0
// What a watcher sends over its WebSocket means nothing, but it has to be read: pings want an
// answer, and a close frame an end. Payloads of messages are skipped, not kept.
#include "engine/api/watch_internal.h"

#define MESSAGE_LEN_MAX 65536

static bool is_control(const struct ws_header *header)
{
    return header->opcode >= WS_CLOSE;
}

// A whole control frame is in input->bytes. False when the watcher is gone, or parting.
static bool take_control(struct watcher *watcher)
{
    struct watch_input *input = &watcher->input;
    struct ws_header header = input->header;
    char *payload = input->bytes + header.header_len;
    size_t len = (size_t)header.payload_len;
    input->header = (struct ws_header){0};
    input->len = 0;
    ws_unmask(payload, payload, len, header.mask, 0);
    if (header.opcode == WS_CLOSE) {
        watch_answer_close(watcher, slice_of(payload, len));
        return false;
    }
    return header.opcode != WS_PING ||
           watch_send_frame(watcher, WS_PONG, true, slice_of(payload, len));
}

// A header is complete. False as above.
static bool take_header(struct watcher *watcher)
{
    struct watch_input *input = &watcher->input;
    const struct ws_header *header = &input->header;
    if (!ws_header_fits(header, input->in_message)) {
        watch_fail_with(watcher, 1002, "protocol error");
        return false;
    }
    if (is_control(header)) {
        return header->payload_len > 0 || take_control(watcher);
    }
    input->message_len += header->payload_len;
    if (header->payload_len > MESSAGE_LEN_MAX || input->message_len > MESSAGE_LEN_MAX) {
        watch_fail_with(watcher, 1009, "message too big");
        return false;
    }
    input->skip = header->payload_len;
    input->in_message = !header->fin;
    input->message_len = header->fin ? 0 : input->message_len;
    input->header = (struct ws_header){0};
    input->len = 0;
    return true;
}

static bool take_byte(struct watcher *watcher, char byte)
{
    struct watch_input *input = &watcher->input;
    input->bytes[input->len++] = byte;
    if (input->header.header_len > 0) {
        bool whole = input->len == input->header.header_len + input->header.payload_len;
        return !whole || take_control(watcher);
    }
    enum weir_result result =
        ws_header_parse(slice_of(input->bytes, input->len), true, &input->header);
    if (result == WEIR_AGAIN) {
        input->header = (struct ws_header){0};
        return true;
    }
    if (result != WEIR_OK) {
        watch_fail_with(watcher, 1002, "protocol error");
        return false;
    }
    return take_header(watcher);
}

bool watch_take(struct watcher *watcher, struct slice bytes)
{
    struct watch_input *input = &watcher->input;
    while (bytes.len > 0) {
        if (input->skip > 0) {
            size_t len = bytes.len < input->skip ? bytes.len : (size_t)input->skip;
            input->skip -= len;
            bytes = slice_skip(bytes, len);
            continue;
        }
        if (!take_byte(watcher, bytes.at[0])) {
            return false;
        }
        bytes = slice_skip(bytes, 1);
    }
    return true;
}
