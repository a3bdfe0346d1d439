// SPDX-License-Identifier: Apache-2.0
// What clients of the metric sockets ask for, in whichever of the three dialects (spec
// section 5.3):
// {"type":"subscribe","device_id":…}, {"action":"subscribe","subscriptions":[…]},
// {"action":"subscribe","hostname":…}, or the bare text "ping". The third is that of clients which
// put "action" and "device_id" together, and expect {"event":"ping"} when they are silent. Pure.
#ifndef WEIR_HEALTH_DIALECT_H
#define WEIR_HEALTH_DIALECT_H

#include <jansson.h>

#include "base/slice.h"

enum ask_verb {
    ASK_NOT_JSON, // or no object
    ASK_PING,
    ASK_PONG, // our ping was heard
    ASK_SUBSCRIBE,
    ASK_UNSUBSCRIBE,
    ASK_CURRENT,
    ASK_LIST,
    ASK_UNKNOWN,
};

// Slices and values borrow from the document, and from nothing of the caller's.
struct ask {
    enum ask_verb verb;
    bool third;             // the third dialect
    json_t *document;       // owned; NULL: there is none
    const json_t *devices;  // device_id or hostname, a string or a list; NULL: not given
    const json_t *patterns; // subscriptions, of any kind; NULL: not given
    struct slice word;      // the verb as written; empty: none
    struct slice service;   // empty: not given, as the next one
    struct slice machine;
};

// Also without memory: then it is ASK_NOT_JSON. The ask wants ask_fini.
void ask_read(struct ask *ask, struct slice text);
void ask_fini(struct ask *ask);

// How many names a value holds: one of a string, those of a list, none of anything else.
size_t ask_name_count(const json_t *names);
// The index-th of them; empty when it is no string.
struct slice ask_name(const json_t *names, size_t index);
// "service@machine", where either may be "*". False: no '@', or nothing on one side of it.
bool ask_split_pattern(struct slice pattern, struct slice *ret_service, struct slice *ret_machine);

#endif
