// SPDX-License-Identifier: Apache-2.0
// A message between relays, as JSON (spec sections 8 and 9): what is written to a list, a channel
// or the platform, and what is read from them. Codec only; who signs is in seal.h.
#ifndef WEIR_RELAY_BACKPLANE_MESSAGE_H
#define WEIR_RELAY_BACKPLANE_MESSAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/result.h"
#include "base/slice.h"

enum bus_direction { BUS_CLIENT_TO_DAEMON, BUS_DAEMON_TO_CLIENTS };

struct bus_message {
    struct slice workspace;
    struct slice target;       // runtime target
    struct slice machine;      // len 0: none
    struct slice source;       // the relay it comes from, or anything when the platform wrote it
    struct slice target_relay; // len 0: whoever has the other end
    struct slice payload;      // the frame
    struct slice signature;    // len 0: none
    uint64_t issued_at_ms;     // wall clock
    uint64_t id;               // of the platform's table; 0: none
    enum bus_direction direction;
    bool issued;               // issued_at_ms is there
};

// Where a message travels: the members and their order differ (spec sections 8 and 9).
enum bus_form { BUS_FORM_REDIS, BUS_FORM_PLATFORM };

// Process-wide, before there are threads; WEIR_MEMORY.
enum weir_result bus_message_rules_init(void) WEIR_MUST_CHECK;
// Fine without, or after a failed, bus_message_rules_init.
void bus_message_rules_fini(void);

// Appends one JSON object. out->failed says whether it fitted.
void bus_message_write(const struct bus_message *message, enum bus_form form, struct buf *out);

// Who reads, and what is too much.
struct bus_reader {
    struct slice relay_id;
    size_t payload_max;
};
enum bus_verdict {
    BUS_FOR_US,
    BUS_FOR_OTHERS, // another relay's, or our own
    BUS_MALFORMED,
    BUS_TOO_LARGE,
};
// scratch is cleared and holds the payload afterwards, with headroom writable bytes in front, so
// that a header can be put there; ret_message borrows text and scratch. Escaped names and ids are
// unescaped into scratch too. BUS_MALFORMED also when scratch is too small or memory ran out.
enum bus_verdict bus_message_read(struct slice text, enum bus_form form,
    const struct bus_reader *reader, size_t headroom, struct buf *scratch,
    struct bus_message *ret_message) WEIR_MUST_CHECK;
// What has to be known before it is clear which worker may read the rest.
struct bus_envelope {
    struct slice workspace; // len 0: there is none
    uint64_t id;            // 0: there is none
    uint64_t issued_at_ms;  // 0: there is none
};
// Borrows text, or scratch (size bytes). What is no message at all has nothing.
struct bus_envelope bus_message_peek(struct slice text, char *scratch, size_t size);

#endif
