// SPDX-License-Identifier: Apache-2.0
// The frame rules: which messages may pass the relay, from whom, and what they must carry (spec
// section 6). This is the guard that keeps plaintext off the relay: what no rule admits is refused.
//
// A parsed frame borrows the text it was parsed from; nothing is copied or unescaped.
#ifndef WEIR_RELAY_FRAME_H
#define WEIR_RELAY_FRAME_H

#include <stdbool.h>
#include <stddef.h>

#include "base/result.h"
#include "base/slice.h"
#include "proto/json_scan.h"

enum frame_type {
#define FRAME_TYPE(symbol, member, text, from) FRAME_##symbol,
#include "relay/frame_types.def"
};

// The sender. A frame from the bus is checked as its direction says: client_to_daemon as from a
// client, daemon_to_clients as from a daemon.
enum frame_from {
    FRAME_FROM_CLIENT,
    FRAME_FROM_DAEMON,
    FRAME_FROM_WORKER,
};

// In order of strength (spec section 12).
enum frame_profile {
    FRAME_PROFILE_NONE, // a frame whose rule asks for no profile, whatever it says
    FRAME_PROFILE_IK,
    FRAME_PROFILE_IKPSK2,
};

enum frame_key {
#define FRAME_KEY(field, name) FRAME_KEY_##field,
#include "relay/frame_keys.def"
#undef FRAME_KEY
    FRAME_KEY_COUNT,
};

struct frame {
    enum frame_type type;
    enum frame_profile profile;
    bool has_after_sequence; // only ever true in FRAME_SUBSCRIBE
    double after_sequence;   // 0 when there is none
    // Every member of frame_keys.def, by field or by enum frame_key; the ones the type does not
    // ask for hold whatever the peer wrote.
    union {
        struct json_value values[FRAME_KEY_COUNT];
        struct {
#define FRAME_KEY(field, name) struct json_value field;
#include "relay/frame_keys.def"
#undef FRAME_KEY
        };
    };
};

// Builds the shared key table; called once at process start, before there are threads.
// WEIR_MEMORY.
enum weir_result frame_rules_init(void) WEIR_MUST_CHECK;
// Frees it, when no thread parses any more. Fine without, or after a failed, frame_rules_init.
void frame_rules_fini(void);

// False: not one strict JSON object, or no frame this sender may send; ret_frame means nothing
// then. The frame borrows text. Thread-safe.
bool frame_parse(struct slice text, enum frame_from from, struct frame *ret_frame) WEIR_MUST_CHECK;

// A string member as the peer meant it: unescaped into scratch (size bytes) when it holds escapes,
// otherwise borrowed from the frame's text. False: not a string, or its raw form is longer than
// scratch and needs unescaping.
bool frame_text(const struct json_value *value, char *scratch, size_t size,
    struct slice *ret_text) WEIR_MUST_CHECK;
// The same without JavaScript white space at its ends (spec section 6.1).
bool frame_text_trimmed(const struct json_value *value, char *scratch, size_t size,
    struct slice *ret_text) WEIR_MUST_CHECK;

#endif
