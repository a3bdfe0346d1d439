// SPDX-License-Identifier: Apache-2.0
// The newest exchanges of forwarded streams, kept for a person to look at: heads whole, bodies up
// to a bound, byte counts and times. Nothing here touches the traffic; cli/inspect/tap.h fills it.
//
// Bounded three ways: how many exchanges, how many bytes of one body, how many bytes in all. What
// is above goes, the oldest first; of a WebSocket its oldest frames, too. An exchange that goes
// while its stream still runs loses its content at once, and its memory when the stream is done
// with it.
#ifndef WEIR_CLI_CAPTURE_H
#define WEIR_CLI_CAPTURE_H

#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/slice.h"

enum capture_state {
#define CAPTURE_STATE(symbol, word, text) CAPTURE_##symbol,
#include "cli/inspect/capture_states.def"
#undef CAPTURE_STATE
    CAPTURE_STATE_COUNT,
};

enum capture_kind {
#define CAPTURE_KIND(symbol, word, text) CAPTURE_KIND_##symbol,
#include "cli/inspect/capture_kinds.def"
#undef CAPTURE_KIND
    CAPTURE_KIND_COUNT,
};

enum capture_side {
    CAPTURE_REQUEST, // from the visitor to the service
    CAPTURE_ANSWER,
    CAPTURE_SIDE_COUNT,
};

#define CAPTURE_NAME_SIZE 129
#define CAPTURE_STREAM_SIZE 64
#define CAPTURE_SOURCE_SIZE 64

// Where a stream came from and went. Plain texts (utf8_make_plain), cut to fit.
struct capture_origin {
    char tunnel[CAPTURE_NAME_SIZE];   // its name or address
    char stream[CAPTURE_STREAM_SIZE]; // the engine's id
    char source[CAPTURE_SOURCE_SIZE]; // the visitor's address
    char target[CAPTURE_NAME_SIZE];   // the local service
    uint64_t replay_of;               // the exchange that is sent again; 0: a visitor's
};

struct capture_message {
    char *head; // owned; as it was on the wire, with its empty line; NULL: not there yet
    size_t head_len;
    struct buf body;   // the front of the payload, without chunks
    uint64_t body_len; // of all payload that passed
    uint64_t bytes;    // on the wire, head and framing included
    uint64_t begun_ns; // first byte; 0: none yet
    uint64_t ended_ns; // last byte; 0: not yet
    bool body_cut;     // more passed than body holds
};

// One of a WebSocket, complete or as far as it came.
struct capture_frame {
    struct list node; // of its entry, the oldest first
    uint64_t at_ns;   // last byte
    uint64_t len;     // of the payload
    enum capture_side side;
    uint8_t opcode; // enum ws_opcode
    bool fin;
    bool compressed; // by an extension: the payload is as it was on the wire
    bool broken_off; // it never came whole
    size_t kept;
    char bytes[]; // the front of the payload, unmasked
};

struct capture_entry {
    struct list node;   // of the capture, the oldest first; not linked: it has gone
    struct list queued; // of its tap: the answer is still to come
    uint64_t id;
    uint64_t revision; // of the capture at the last change
    uint64_t wall_ms;  // of the first byte
    struct capture_origin origin;
    struct capture_message messages[CAPTURE_SIDE_COUNT];
    enum capture_state state;
    enum capture_kind kind;
    struct list frames; // struct capture_frame
    size_t frame_count;
    size_t frame_bytes; // kept of payloads
    uint64_t frames_seen;
    char *problem;    // owned; why a replay failed; NULL: it did not
    char method[8];   // "" when it is longer than any that changes what an answer is
    unsigned holders; // of the tap: who still writes to it
};

struct capture;
typedef void capture_changed_fn(struct capture *capture, void *arg);

struct capture {
    struct list entries;
    size_t count;
    size_t bytes;      // of heads and bodies
    uint64_t newest;   // the highest id given out
    uint64_t revision; // goes up with every change
    size_t entries_max;
    size_t body_max;
    size_t bytes_max;
    capture_changed_fn *changed; // NULL, or told of every change; must not touch the capture
    void *arg;
};

#define CAPTURE_ENTRIES_MAX 500
#define CAPTURE_BODY_MAX (256u * 1024)
#define CAPTURE_FRAMES_MAX 200       // of one WebSocket
#define CAPTURE_FRAME_BYTES_MAX 4096 // of one frame
#define CAPTURE_BYTES_MAX (32u * 1024 * 1024)

// With the bounds above; the fields may be lowered before the first entry.
void capture_init(struct capture *capture);
// No tap may be open.
void capture_fini(struct capture *capture);
// Drops what is kept; what still runs goes on without being listed.
void capture_clear(struct capture *capture);
// NULL: there is none, or it has gone.
struct capture_entry *capture_find(const struct capture *capture, uint64_t id);
// The lowest id that is still kept; above the newest when there is none.
uint64_t capture_oldest(const struct capture *capture);

const char *capture_state_word(enum capture_state state);
const char *capture_state_text(enum capture_state state);
const char *capture_kind_word(enum capture_kind kind);
const char *capture_kind_text(enum capture_kind kind);

// ---- For the tap.

// A new entry with holders set, or NULL without memory.
struct capture_entry *capture_open(struct capture *capture, const struct capture_origin *origin,
    enum capture_kind kind, unsigned holders, uint64_t now_ns) WEIR_MUST_CHECK;
// The head in its two pieces; without memory it is not shown.
void capture_head(struct capture *capture, struct capture_entry *entry, enum capture_side side,
    struct slice first, struct slice second);
void capture_payload(struct capture *capture, struct capture_entry *entry, enum capture_side side,
    struct slice bytes);
// A frame of a WebSocket has passed: its payload's front is in bytes; node and kept are set here.
// Without memory it is only counted.
void capture_add_frame(struct capture *capture, struct capture_entry *entry,
    const struct capture_frame *frame, struct slice bytes);
// Says why it failed, once.
void capture_explain(struct capture *capture, struct capture_entry *entry, const char *problem);
// The entry is another one than before.
void capture_touch(struct capture *capture, struct capture_entry *entry);
// One holder writes to it no more; the memory of what has gone goes with the last one.
void capture_release(struct capture_entry *entry);

#endif
