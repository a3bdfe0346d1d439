// SPDX-License-Identifier: Apache-2.0
// Input: one byte that chooses the sender, then a text. What must hold: a verdict does not change
// with white space around the text or with a member nobody asks for; it falls with the text's last
// brace; an accepted frame has what its readers count on.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/utf8.h"
#include "relay/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void start(void)
{
    static bool started;
    if (!started) {
        started = true;
        weir_assert(frame_rules_init() == WEIR_OK);
    }
}

static bool parses(struct slice text, enum frame_from from)
{
    struct frame frame;
    return frame_parse(text, from, &frame);
}

static void check_same_verdict(struct slice text, enum frame_from from, bool valid)
{
    static const char spaces[] = " \t\r\n";
    static const char member[] = "{\"x\":[{\"y\":\"\\n\"}],";
    char *copy = malloc(text.len + 64);
    weir_assert(copy != NULL);
    int len = sprintf(copy, "%s", spaces);
    memcpy(copy + len, text.at, text.len);
    memcpy(copy + (size_t)len + text.len, spaces, sizeof spaces - 1);
    weir_assert(parses(slice_of(copy, text.len + 2 * (sizeof spaces - 1)), from) == valid);
    // Behind a brace that opens it; an empty object is no frame either way.
    if (text.len > 0 && text.at[0] == '{') {
        len = sprintf(copy, "%s", member);
        memcpy(copy + len, text.at + 1, text.len - 1);
        weir_assert(parses(slice_of(copy, (size_t)len + text.len - 1), from) == valid);
    }
    free(copy);
}

static bool has_profile(enum frame_type type)
{
    return type == FRAME_E2EE || type == FRAME_KEX_INIT_V2 || type == FRAME_KEX_INIT_V3 ||
           type == FRAME_KEX_RESPONSE_V2 || type == FRAME_KEX_RESPONSE_V3;
}

static void check_text(const struct json_value *value, bool utf8)
{
    char *scratch = malloc(value->text.len + 1);
    weir_assert(scratch != NULL);
    struct slice text;
    struct slice trimmed;
    bool string = frame_text(value, scratch, value->text.len, &text);
    weir_assert(string == json_value_is_string(value));
    if (string) {
        weir_assert(text.len <= value->text.len);
        weir_assert(!utf8 || utf8_valid(text));
        weir_assert(json_value_is_text(value, text));
        weir_assert(frame_text_trimmed(value, scratch, value->text.len, &trimmed));
        weir_assert((trimmed.len > 0) == json_value_is_filled(value));
    }
    free(scratch);
}

static void check_frame(const struct frame *frame, enum frame_from from, bool utf8)
{
    weir_assert(has_profile(frame->type) == (frame->profile != FRAME_PROFILE_NONE));
    weir_assert((frame->type == FRAME_WORKER_REQUEST) == (from == FRAME_FROM_WORKER));
    weir_assert(!frame->has_after_sequence || frame->after_sequence >= 0);
    for (size_t i = 0; i < FRAME_KEY_COUNT; i++) {
        check_text(&frame->values[i], utf8);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    start();
    enum frame_from from = (enum frame_from)(data[0] % 3);
    struct slice text = slice_of((const char *)data + 1, size - 1);
    struct frame frame;
    bool valid = frame_parse(text, from, &frame);
    check_same_verdict(text, from, valid);
    if (valid) {
        check_frame(&frame, from, utf8_valid(text));
        struct slice bare = slice_trim(text);
        weir_assert(!parses(slice_of(bare.at, bare.len - 1), from));
    }
    return 0;
}
