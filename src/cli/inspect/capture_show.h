// SPDX-License-Identifier: Apache-2.0
// Captured exchanges as JSON: for the inspector's page, and as an HTTP archive (HAR 1.2). Without
// `secrets` the values of fields and query members that hold some (hidden_names.def) are
// "[hidden]"; bodies are shown as they are.
#ifndef WEIR_CLI_CAPTURE_SHOW_H
#define WEIR_CLI_CAPTURE_SHOW_H

#include "cli/inspect/capture.h"
#include "proto/http1.h"
#include "proto/json_write.h"

#define CAPTURE_HIDDEN "[hidden]"

// The request of an entry that is HTTP, parsed again; false: there is none, or it has gone.
bool capture_parse(
    const struct capture_entry *entry, enum capture_side side, struct http1_head *ret_head);

// {"revision":…,"oldest":…,"exchanges":[…]}: what has changed since that revision, the oldest
// first.
void capture_write_list(
    const struct capture *capture, uint64_t after, bool secrets, struct json_writer *writer);
// One exchange with its fields and bodies.
void capture_write_entry(
    const struct capture_entry *entry, bool secrets, struct json_writer *writer);
// The archive of one exchange, or of all that are HTTP (NULL).
void capture_write_har(const struct capture *capture, const struct capture_entry *only,
    bool secrets, struct json_writer *writer);

// ---- Pieces of both

bool capture_is_hidden_field(struct slice name);
// Appends a request target, the values of secret members of its query hidden.
void capture_append_target(struct buf *out, struct slice target, bool secrets);
// A body as text ("encoding": null) or, where it is no UTF-8, as base64; NULL without memory.
void capture_write_body(
    struct json_writer *writer, const char *key, struct slice body, const char *encoding_key);
// Milliseconds between two moments; -1: one of them is not known.
double capture_ms(uint64_t from_ns, uint64_t to_ns);

#endif
