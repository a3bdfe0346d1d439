// SPDX-License-Identifier: Apache-2.0
// What monitors of one cluster tell each other through the Redis: JSON objects with a `kind`. A
// result carries the whole state after it, so that who missed some still knows where it stands.
// Times in it are ages: clocks of two machines are never compared.
#ifndef WEIR_HEALTH_SHARED_RESULT_H
#define WEIR_HEALTH_SHARED_RESULT_H

#include <jansson.h>

#include "health/monitor.h"

enum shared_kind { SHARED_NOTHING, SHARED_RESULT, SHARED_CHECK, SHARED_MAINTENANCE, SHARED_TOLD };

struct shared_message {
    json_t *document; // owned; the slices borrow it
    enum shared_kind kind;
    struct slice service;
    struct slice machine;
    // Of a result.
    uint64_t identity;
    uint64_t mark; // tells it from all others
    struct state state;
    struct check_record record;
    // Of maintenance, as monitor_set_maintenance takes it.
    bool on;
    uint64_t until_wall_ms;
    struct slice reason;
    // Of something that a monitor was told.
    struct slice by;    // its name
    struct slice what;  // a word
    struct slice about; // a name, or empty
    const json_t *body; // an object; of the document
    uint64_t age_ns;    // since it was written
};

void shared_result_write(const struct target *target, const char *by, struct buf *out);
// Asks whoever checks the service to do so now.
void shared_check_write(const struct target *target, struct buf *out);
// What the target's maintenance is by now.
void shared_maintenance_write(const struct target *target, struct buf *out);
// What the monitor `by` was told: a word, a name or nothing, a JSON object.
void shared_told_write(
    const char *by, const char *what, struct slice about, struct slice json, struct buf *out);
// Times of the state and the record are put on the clocks here, age_ns after the message was
// written. SHARED_NOTHING: it is none, or of another version. The message wants
// shared_message_fini in every case.
void shared_message_read(struct shared_message *message, struct slice text, uint64_t age_ns);
void shared_message_fini(struct shared_message *message);

#endif
