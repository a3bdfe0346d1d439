// SPDX-License-Identifier: Apache-2.0
// What relays ask that only a store can answer (spec section 8): bodies into structs, and rows into
// bodies. Without I/O.
//
// Bodies are strict JSON objects: no member twice, every member of its type and within its bounds;
// members nobody knows are left alone, so that a relay may learn something new before its platform.
#ifndef WEIR_PLATFORM_ASK_H
#define WEIR_PLATFORM_ASK_H

#include <jansson.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/result.h"
#include "base/slice.h"
#include "platform/platform.h"

#define ASK_PROBLEM_SIZE 160
#define ASK_FRAMES_MAX 256 // of a batch
#define ASK_PULL_LIMIT_MAX 1000
#define ASK_PULL_WAIT_MS_MAX 30000
#define ASK_RELAY_ID_LEN_MAX 255

enum platform_ask_kind {
    ASK_NONE,
    ASK_PRESENCE_PUT,
    ASK_PRESENCE_GET,
    ASK_PUBLISH,
    ASK_PULL,
    ASK_TOKEN,
    ASK_DAEMON_KEY,
};

// All texts borrow the body's tree; empty when the member is not there, null or "".
struct presence_ask {
    struct slice workspace_id;
    struct slice runtime_target_id;
    struct slice machine_id;
    struct slice relay_id;
    struct slice relay_ws_base_url;
    bool daemon_connected;
};

struct frame_ask {
    struct slice workspace_id;
    struct slice runtime_target_id;
    struct slice machine_id;
    struct slice source_relay_id;
    struct slice target_relay_id; // empty: for every relay
    struct slice direction;
    struct slice payload;
    struct slice signature;
    int64_t issued_at_ms; // negative: not said
    bool valid;
};

struct pull_ask {
    struct slice relay_id;
    int64_t since_id;
    int64_t limit;
    int64_t wait_ms;
};

// Which route asks for a token; the spelling of its members and of the answer.
enum token_shape {
    TOKEN_ANY,    // relayToken
    TOKEN_CLIENT, // token
    TOKEN_WORKER, // relayToken, claims
};

struct token_ask {
    enum token_shape shape;
    struct relay_token_request request; // its session_channels are below
    struct slice channels[PLATFORM_CHANNELS_MAX];
};

struct daemon_key_ask {
    struct slice workspace_id; // borrows `path`
    struct slice runtime_target_id;
    struct slice public_key;
};

// What was said of the cell's daemon; empty and negative when nothing was.
struct daemon_facts {
    struct slice public_key;
    int64_t generation;
};

struct platform_ask {
    enum platform_ask_kind kind;
    json_t *root; // owned
    struct presence_ask presence;
    struct pull_ask pull;
    struct token_ask token;
    struct daemon_key_ask daemon_key;
    char *path;               // owned; what the words of the path borrow
    struct frame_ask *frames; // owned
    size_t frame_count;
    size_t valid_count; // of frames
    bool batch;
    char problem[ASK_PROBLEM_SIZE]; // English; of WEIR_MALFORMED
};

// WEIR_MALFORMED: problem says which member, and what is allowed. Of a batch a frame that breaks a
// rule is only not valid. WEIR_MEMORY. To be freed by platform_ask_fini in any case.
enum weir_result platform_ask_read(enum platform_ask_kind kind, struct slice body,
    size_t frame_bytes_max, struct platform_ask *ret_ask) WEIR_MUST_CHECK;
// The body of any question as a tree, to begin with; the same results.
enum weir_result platform_ask_parse(
    enum platform_ask_kind kind, struct slice body, struct platform_ask *ret_ask) WEIR_MUST_CHECK;
void platform_ask_fini(struct platform_ask *ask);

// Makes the token that was asked for, with what the store knows of the daemon, and appends the
// answer: {"ok":true,"relayToken":…}, or {"ok":true,"token":…}; for a worker with "claims"; 400
// BAD_REQUEST, 503 KEYS_NOT_LOADED. Not WEIR_OK: as in platform_validate.
enum weir_result platform_answer_token(const struct platform *platform, struct platform_ask *ask,
    const struct daemon_facts *facts, struct buf *out, unsigned *ret_status) WEIR_MUST_CHECK;

// Appends one frame as the store's statement BUS_PUBLISH takes it: an object with the members w, r,
// m, s, t, d, p, i, g and n (bytes of the payload).
void frame_ask_write(const struct frame_ask *frame, struct buf *out);

#endif
