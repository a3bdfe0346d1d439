// SPDX-License-Identifier: Apache-2.0
// A request's head is parsed, rewritten as for an upstream, written out and parsed again: whatever
// came in, what goes out is one request with one Host, no framing but our own, and nothing that
// speaks for the edge but what the edge said.
#include <stdint.h>

#include "base/buf.h"
#include "engine/edge/head_rules.h"

#define OUT_MAX (HTTP1_HEADERS_MAX + HEAD_RULES_ADDED_MAX)

static void write_head(
    struct buf *out, const struct http1_head *head, const struct http1_header *fields, size_t count)
{
    buf_append_slice(out, head->method);
    buf_append_byte(out, ' ');
    buf_append_slice(out, head->target);
    buf_append_str(out, " HTTP/1.1\r\nhost: edge.test\r\n");
    for (size_t i = 0; i < count; i++) {
        buf_append_slice(out, fields[i].name);
        buf_append_str(out, ": ");
        buf_append_slice(out, fields[i].value);
        buf_append_str(out, "\r\n");
    }
    buf_append_str(out, "\r\n");
}

static void check_rewritten(
    const struct http1_head *head, const struct http1_header *fields, size_t count)
{
    struct buf text = BUF_INIT(4 * HTTP1_HEAD_BYTES_MAX);
    struct http1_head again;
    write_head(&text, head, fields, count);
    weir_assert(!text.failed);
    enum weir_result result = http1_parse_request(buf_slice(&text), &again);
    if (result == WEIR_OK) {
        weir_assert(again.head_len == text.len);
        weir_assert(again.header_count == count + 1);
        weir_assert(!again.chunked && !again.has_content_length && !again.upgrade);
        weir_assert(http1_count(&again, SLICE("x-forwarded-for")) == 1);
        weir_assert(
            slice_eq(http1_find(&again, SLICE("x-forwarded-for"))->value, SLICE("192.0.2.7")));
        weir_assert(http1_count(&again, SLICE("x-request-id")) >= 1);
    } else {
        // What the edge adds may take a head that was near the limits past them.
        weir_assert(result == WEIR_TOO_LARGE);
    }
    buf_reset(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    const struct head_facts facts = {
        .peer = SLICE("192.0.2.7"),
        .peers = SLICE("192.0.2.7"),
        .host = SLICE("edge.test"),
        .port = SLICE("443"),
        .forwarded = SLICE_EMPTY,
        .request_id = SLICE("made"),
    };
    struct http1_head head;
    struct http1_header out[OUT_MAX];
    size_t count = 0;
    struct slice text = slice_of((const char *)bytes, len);
    if (http1_parse_request(text, &head) == WEIR_OK &&
        head_rules_request(head.headers, head.header_count, &facts, out, OUT_MAX, &count) ==
            WEIR_OK) {
        check_rewritten(&head, out, count);
    }
    if (http1_parse_response(text, &head) == WEIR_OK &&
        head_rules_answer(head.headers, head.header_count, out, OUT_MAX, &count) == WEIR_OK) {
        weir_assert(count <= head.header_count);
    }
    return 0;
}
