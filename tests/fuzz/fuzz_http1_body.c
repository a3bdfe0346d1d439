// SPDX-License-Identifier: Apache-2.0
// Input: one byte that says how the body is framed and where it is cut, then the body. What must
// hold: payload lies in the input and is no more than it; wherever the bytes are cut, the outcome,
// the payload and the trailers are the same.
#include <stdint.h>

#include "proto/http1_body.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct outcome {
    enum weir_result result;
    size_t left;
    uint64_t sum; // of the payload, with the places of its bytes
    size_t payload_len;
};

static void start(struct http1_body *body, unsigned how)
{
    struct http1_head head = {.status = 200, .minor_version = 1};
    head.chunked = how % 4 < 2;
    head.has_content_length = how % 4 == 2;
    head.content_length = how / 4;
    http1_body_init_response(body, &head, SLICE("GET"));
}

static void feed(struct http1_body *body, struct slice piece, struct outcome *outcome)
{
    struct slice rest = piece;
    do {
        struct slice payload;
        outcome->result = http1_body_next(body, &rest, &payload);
        weir_assert(
            payload.len == 0 || (payload.at >= piece.at && payload.at + payload.len == rest.at));
        for (size_t i = 0; i < payload.len; i++) {
            outcome->sum = outcome->sum * 31 + (unsigned char)payload.at[i];
        }
        outcome->payload_len += payload.len;
    } while (outcome->result == WEIR_OK && rest.len > 0);
    outcome->left = rest.len;
}

static struct outcome run(struct http1_body *body, struct slice whole, size_t step)
{
    struct outcome outcome = {.result = WEIR_OK};
    size_t at = 0;
    do {
        size_t len = whole.len - at < step ? whole.len - at : step;
        feed(body, slice_of(whole.at + at, len), &outcome);
        at += len - outcome.left;
    } while (outcome.result == WEIR_OK && at < whole.len);
    if (outcome.result == WEIR_OK) {
        feed(body, SLICE_EMPTY, &outcome); // what ends in payload says so when it is asked again
    }
    outcome.left = whole.len - at;
    weir_assert(outcome.payload_len <= whole.len);
    weir_assert((outcome.result == WEIR_CLOSED) == http1_body_done(body));
    return outcome;
}

static void compare_trailers(const struct http1_body *a, const struct http1_body *b)
{
    size_t at_a = 0;
    size_t at_b = 0;
    struct http1_header trailer_a;
    struct http1_header trailer_b;
    while (http1_body_trailer_next(a, &at_a, &trailer_a)) {
        weir_assert(http1_body_trailer_next(b, &at_b, &trailer_b));
        weir_assert(slice_eq(trailer_a.name, trailer_b.name));
        weir_assert(slice_eq(trailer_a.value, trailer_b.value));
        weir_assert(!slice_eq_nocase(trailer_a.name, SLICE("transfer-encoding")));
    }
    weir_assert(!http1_body_trailer_next(b, &at_b, &trailer_b));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    struct slice whole = slice_of((const char *)data + 1, size - 1);
    struct http1_body body;
    start(&body, data[0]);
    struct outcome outcome = run(&body, whole, whole.len + 1);
    const size_t steps[] = {1, 1 + data[0] % 13u};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        struct http1_body again_body;
        start(&again_body, data[0]);
        struct outcome again = run(&again_body, whole, steps[i]);
        weir_assert(again.result == outcome.result && again.left == outcome.left);
        weir_assert(again.sum == outcome.sum && again.payload_len == outcome.payload_len);
        if (outcome.result == WEIR_CLOSED) {
            compare_trailers(&body, &again_body);
        }
        http1_body_fini(&again_body);
    }
    http1_body_fini(&body);
    return 0;
}
