// SPDX-License-Identifier: Apache-2.0
// Input: one byte that chooses the form, then what came from the bus: a message, or a platform's
// answer with many. What must hold: what is for us can be written and read again as the same; what
// peeking saw is what reading sees; sealed it is believed once; and every element of an array of
// objects is an object.
#include <stdint.h>
#include <stdlib.h>

#include "base/utf8.h"
#include "proto/json_scan.h"
#include "relay/backplane/seal.h"

#define HEADROOM 14
#define PAYLOAD_MAX 4096
#define WALL_MS 1795224820204

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct siphash_key seed = {1, 2};
static const struct bus_reader reader = {{"relay-c", 7}, PAYLOAD_MAX};
static struct json_keys *frames_key;

static void start(void)
{
    static const char *const names[] = {"frames"};
    if (frames_key == NULL) {
        frames_key = json_keys_new(names, 1);
        weir_assert(frames_key != NULL && bus_message_rules_init() == WEIR_OK);
    }
}

static void check_peek(struct slice text, const struct bus_message *message)
{
    size_t room = text.len + 1;
    char *scratch = malloc(room);
    weir_assert(scratch != NULL);
    struct bus_envelope envelope = bus_message_peek(text, scratch, room);
    weir_assert(slice_eq(envelope.workspace, message->workspace));
    weir_assert(message->id == 0 || envelope.id == message->id); // Redis has none
    weir_assert(envelope.issued_at_ms == message->issued_at_ms);
    free(scratch);
}

// Whatever is in it: signed, it is believed here, but not twice.
static void check_seal(struct bus_message message)
{
    char signature[BUS_SIGNATURE_SIZE];
    struct bus_seal_options options = {.key = "k", .max_skew_ms = 1, .track_max = 4};
    struct bus_seal *seal = bus_seal_new(NULL, &seed, &options);
    weir_assert(seal != NULL);
    weir_assert(bus_seal_sign(seal, WALL_MS, &message, signature) == WEIR_OK);
    weir_assert(bus_seal_check(seal, WALL_MS, &message) == BUS_SEAL_GOOD);
    weir_assert(bus_seal_check(seal, WALL_MS, &message) == BUS_SEAL_REPLAYED);
    bus_seal_free(seal);
}

static void check_again(const struct bus_message *message)
{
    struct buf text = BUF_INIT(1u << 20);
    struct buf scratch = BUF_INIT(1u << 20);
    struct bus_message back;
    bus_message_write(message, BUS_FORM_REDIS, &text);
    weir_assert(!text.failed);
    weir_assert(bus_message_read(buf_slice(&text), BUS_FORM_REDIS, &reader, HEADROOM, &scratch,
                    &back) == BUS_FOR_US);
    weir_assert(slice_eq(back.payload, message->payload));
    weir_assert(back.direction == message->direction);
    weir_assert(back.issued == message->issued && back.issued_at_ms == message->issued_at_ms);
    buf_reset(&text);
    buf_reset(&scratch);
}

static void check_array(struct slice text)
{
    struct json_value frames;
    struct slice element;
    if (json_scan(text, frames_key, &frames) != WEIR_OK || frames.kind != JSON_KIND_ARRAY) {
        return;
    }
    struct slice rest = frames.text;
    while (json_array_next(&rest, &element)) {
        struct json_value inner;
        weir_assert(element.len > 0 && element.at > text.at &&
                    element.at + element.len < text.at + text.len);
        weir_assert(element.at[0] != '{' || json_scan(element, frames_key, &inner) == WEIR_OK);
    }
    weir_assert(rest.len == 1 && rest.at[0] == ']');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    start();
    enum bus_form form = data[0] % 2 == 0 ? BUS_FORM_REDIS : BUS_FORM_PLATFORM;
    struct slice text = slice_of((const char *)data + 1, size - 1);
    struct buf scratch = BUF_INIT(1u << 20);
    struct bus_message message;
    if (bus_message_read(text, form, &reader, HEADROOM, &scratch, &message) == BUS_FOR_US) {
        weir_assert(message.payload.len <= PAYLOAD_MAX && utf8_valid(message.payload));
        check_peek(text, &message);
        check_seal(message);
        if (utf8_valid(text)) { // what is not is repaired on the way
            check_again(&message);
        }
    }
    buf_reset(&scratch);
    check_array(text);
    return 0;
}
