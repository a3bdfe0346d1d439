// SPDX-License-Identifier: Apache-2.0
// Invariants
//
// 1. An entry is held once for its request and once for its answer: by the half its message passes
//    through or, for an answer that has not begun, by `waiting`. The opaque entry of a stream that
//    was never HTTP is held once, by the tap.
// 2. Blind is for good: without knowing where one message ends, nobody knows where the next begins.
// 3. Work is bounded by the bytes fed: a head that grows byte by byte is looked at cheaply (see
//    http1_parse_request), and at most HTTP1_HEAD_BYTES_MAX of it are kept.
#include "cli/inspect/tap.h"

#include "base/mem.h"

#define PREFACE SLICE("PRI * HTTP/2.0\r\n") // the first line of it (RFC 9113 section 3.4)
#define PREFACE_LEAST 3                     // no method of HTTP/1 begins like this
#define START_SIZE 256                      // of a message, to tell what it is
#define TLS_HANDSHAKE 0x16                  // RFC 8446 section 5.1
#define STATUS_SWITCHING 101
#define UPGRADE_WEBSOCKET SLICE("websocket")
#define EXTENSIONS SLICE("sec-websocket-extensions")
#define COMPRESSION SLICE("permessage-deflate")

void tap_open(struct tap *tap, struct capture *capture, const struct capture_origin *origin)
{
    *tap = (struct tap){.capture = capture, .origin = *origin, .open = true};
    list_init(&tap->waiting);
    for (size_t i = 0; i < CAPTURE_SIDE_COUNT; i++) {
        buf_init(&tap->halves[i].head, HTTP1_HEAD_BYTES_MAX);
    }
}

// ---- Ends of messages

static void leave_queue(struct tap *tap, struct capture_entry *entry)
{
    if (list_linked(&entry->queued)) {
        list_remove(&entry->queued);
        tap->waiting_count--;
    }
}

static void settle(struct tap *tap, struct capture_entry *entry, enum capture_state state)
{
    entry->state = state;
    capture_touch(tap->capture, entry);
}

static void half_reset(struct tap_half *half)
{
    http1_body_fini(&half->body);
    buf_reset(&half->head);
    half->entry = NULL;
    half->in_body = false;
}

static void request_complete(struct tap *tap, struct capture_entry *entry, uint64_t now_ns)
{
    entry->messages[CAPTURE_REQUEST].ended_ns = now_ns;
    if (entry->messages[CAPTURE_ANSWER].ended_ns != 0) {
        settle(tap, entry, CAPTURE_DONE);
    } else if (entry->state == CAPTURE_ASKING) {
        settle(tap, entry, CAPTURE_WAITING);
    } else {
        capture_touch(tap->capture, entry);
    }
}

static void answer_complete(struct tap *tap, struct capture_entry *entry, uint64_t now_ns)
{
    entry->messages[CAPTURE_ANSWER].ended_ns = now_ns;
    leave_queue(tap, entry);
    if (entry->messages[CAPTURE_REQUEST].ended_ns != 0) {
        settle(tap, entry, CAPTURE_DONE);
    } else {
        capture_touch(tap->capture, entry); // answered early; the request still comes
    }
}

static void message_complete(struct tap *tap, enum capture_side side, uint64_t now_ns)
{
    struct tap_half *half = &tap->halves[side];
    struct capture_entry *entry = half->entry;
    half_reset(half);
    if (side == CAPTURE_REQUEST) {
        request_complete(tap, entry, now_ns);
    } else {
        answer_complete(tap, entry, now_ns);
    }
    capture_release(entry);
}

// ---- What is not read

static void count_bytes(struct tap *tap, enum capture_side side, size_t len, uint64_t now_ns)
{
    struct capture_message *message = &tap->opaque->messages[side];
    message->begun_ns = message->begun_ns == 0 ? now_ns : message->begun_ns;
    message->bytes += len;
    message->body_len += len;
    message->body_cut = true;
    capture_touch(tap->capture, tap->opaque);
}

static void cut(struct tap *tap, struct capture_entry *entry)
{
    if (entry != tap->opaque) {
        settle(tap, entry, CAPTURE_CUT);
    }
    capture_release(entry);
}

// Gives up every hold but the one of the entry that counts from now on.
static void let_go(struct tap *tap)
{
    for (size_t i = 0; i < CAPTURE_SIDE_COUNT; i++) {
        struct capture_entry *entry = tap->halves[i].entry;
        half_reset(&tap->halves[i]);
        if (entry != NULL) {
            cut(tap, entry);
        }
    }
    while (!list_empty(&tap->waiting)) {
        struct capture_entry *entry = container_of(tap->waiting.next, struct capture_entry, queued);
        leave_queue(tap, entry);
        cut(tap, entry);
    }
}

// Without memory it is only counted.
static void follow_h2(struct tap *tap, uint64_t now_ns)
{
    tap->h2 = mem_alloc(sizeof *tap->h2);
    if (tap->h2 == NULL) {
        return;
    }
    tap_h2_init(tap->h2, tap->capture, &tap->origin);
    for (size_t i = 0; i < CAPTURE_SIDE_COUNT; i++) {
        tap_h2_feed(tap->h2, (enum capture_side)i, buf_slice(&tap->halves[i].head), now_ns);
    }
}

// From now on everything is counted, for `entry` or, where it is NULL, for one of its own.
static void go_blind(
    struct tap *tap, enum capture_kind kind, struct capture_entry *entry, uint64_t now_ns)
{
    tap->blind = true;
    if (entry == NULL) {
        tap->opaque = capture_open(tap->capture, &tap->origin, kind, 1, now_ns);
    } else {
        entry->kind = kind;
        entry->holders++;
        tap->opaque = entry;
        settle(tap, entry, CAPTURE_OPEN);
    }
    size_t pending[CAPTURE_SIDE_COUNT] = {tap->halves[0].head.len, tap->halves[1].head.len};
    if (kind == CAPTURE_KIND_H2C) {
        follow_h2(tap, now_ns);
    }
    let_go(tap);
    for (size_t i = 0; i < CAPTURE_SIDE_COUNT && tap->opaque != NULL; i++) {
        if (pending[i] > 0) {
            count_bytes(tap, (enum capture_side)i, pending[i], now_ns);
        }
    }
}

// A service of HTTP/2 need not wait for the visitor: its SETTINGS may come first (RFC 9113 section
// 3.4).
static bool is_settings(struct slice start)
{
    static const char rest[] = {4, 0, 0, 0, 0, 0}; // type, flags, no stream
    return start.len >= TAP_H2_HEADER_SIZE && start.at[0] == 0 && start.at[1] == 0 &&
           memcmp(start.at + 3, rest, sizeof rest) == 0;
}

// What a stream is, by the first bytes that cannot be read as a head.
static enum capture_kind kind_of(const struct tap *tap, enum capture_side side, struct slice start)
{
    struct slice line;
    if (side == CAPTURE_REQUEST && !tap->spoken) {
        if ((unsigned char)start.at[0] == TLS_HANDSHAKE) {
            return CAPTURE_KIND_TLS;
        }
        if (start.len >= PREFACE_LEAST &&
            slice_starts_with(
                PREFACE, slice_of(start.at, start.len < PREFACE.len ? start.len : PREFACE.len))) {
            return CAPTURE_KIND_H2C;
        }
    }
    if (side == CAPTURE_ANSWER && !tap->spoken && is_settings(start)) {
        return CAPTURE_KIND_H2C;
    }
    bool like_http =
        slice_split(&start, '\n', &line) && slice_contains_nocase(line, SLICE("HTTP/1."));
    return like_http || tap->spoken ? CAPTURE_KIND_UNREADABLE : CAPTURE_KIND_RAW;
}

// ---- Heads

static void open_request(
    struct tap *tap, const struct http1_head *head, struct slice first, struct slice second)
{
    struct tap_half *half = &tap->halves[CAPTURE_REQUEST];
    struct capture_entry *entry =
        capture_open(tap->capture, &tap->origin, CAPTURE_KIND_HTTP, 2, half->begun_ns);
    half->entry = entry;
    if (entry == NULL) {
        return;
    }
    list_push_back(&tap->waiting, &entry->queued);
    tap->waiting_count++;
    (void)slice_to_text(
        head->method, entry->method, sizeof entry->method); // the long ones are as any
    capture_head(tap->capture, entry, CAPTURE_REQUEST, first, second);
    http1_body_init_request(&half->body, head);
}

static void open_answer(
    struct tap *tap, const struct http1_head *head, struct slice first, struct slice second)
{
    struct tap_half *half = &tap->halves[CAPTURE_ANSWER];
    struct capture_entry *entry = container_of(tap->waiting.next, struct capture_entry, queued);
    half->entry = entry;
    leave_queue(tap, entry);
    entry->messages[CAPTURE_ANSWER].begun_ns = half->begun_ns;
    capture_head(tap->capture, entry, CAPTURE_ANSWER, first, second);
    http1_body_init_response(&half->body, head, slice_str(entry->method));
    settle(tap, entry, CAPTURE_ANSWERING);
}

static bool is_interim(const struct http1_head *head)
{
    return head->status / 100 == 1 && head->status != STATUS_SWITCHING;
}

static bool leaves_http(const struct capture_entry *entry, const struct http1_head *head)
{
    return head->status == STATUS_SWITCHING ||
           (head->status / 100 == 2 && strcmp(entry->method, "CONNECT") == 0);
}

// Without memory it is an upgrade like others.
static enum capture_kind kind_of_upgrade(struct tap *tap, const struct http1_head *head)
{
    const struct http1_header *upgrade = http1_find(head, SLICE("upgrade"));
    const struct http1_header *extensions = http1_find(head, EXTENSIONS);
    if (head->status != STATUS_SWITCHING || upgrade == NULL ||
        !slice_eq_nocase(upgrade->value, UPGRADE_WEBSOCKET)) {
        return CAPTURE_KIND_UPGRADED;
    }
    tap->frames = mem_alloc(sizeof *tap->frames);
    if (tap->frames == NULL) {
        return CAPTURE_KIND_UPGRADED;
    }
    tap_ws_init(
        tap->frames, extensions != NULL && slice_contains_nocase(extensions->value, COMPRESSION));
    return CAPTURE_KIND_WEBSOCKET;
}

// A whole head lies in what is kept of it and in the front of bytes.
static void take_head(struct tap *tap, enum capture_side side, const struct http1_head *head,
    struct slice kept, struct slice *bytes, uint64_t now_ns)
{
    struct tap_half *half = &tap->halves[side];
    struct slice rest = slice_of(bytes->at, head->head_len - kept.len);
    *bytes = slice_skip(*bytes, rest.len);
    if (side == CAPTURE_REQUEST) {
        open_request(tap, head, kept, rest);
    } else if (!is_interim(head)) {
        open_answer(tap, head, kept, rest);
    }
    bool leaves = side == CAPTURE_ANSWER && half->entry != NULL && leaves_http(half->entry, head);
    enum capture_kind kind = leaves ? kind_of_upgrade(tap, head) : CAPTURE_KIND_HTTP;
    buf_reset(&half->head); // head's texts may be there
    tap->spoken = true;
    struct capture_entry *entry = half->entry;
    if (entry == NULL) {
        if (side == CAPTURE_REQUEST) {
            tap->blind = true; // no memory: nothing is recorded
            let_go(tap);
        }
        return;
    }
    entry->messages[side].bytes = head->head_len;
    if (leaves) {
        go_blind(tap, kind, entry, now_ns);
        return;
    }
    half->in_body = true;
    capture_touch(tap->capture, entry);
    if (http1_body_done(&half->body)) {
        message_complete(tap, side, now_ns);
    }
}

static enum weir_result parse(
    enum capture_side side, struct slice bytes, struct http1_head *ret_head)
{
    return side == CAPTURE_REQUEST ? http1_parse_request(bytes, ret_head)
                                   : http1_parse_response(bytes, ret_head);
}

// Keeps what there is room for and looks again; *ret_kept is what was kept before.
static enum weir_result parse_pieces(struct tap_half *half, enum capture_side side,
    struct slice bytes, struct http1_head *ret_head, size_t *ret_kept)
{
    *ret_kept = half->head.len;
    size_t room = half->head.len_max - half->head.len;
    size_t len = bytes.len < room ? bytes.len : room;
    if (buf_append(&half->head, bytes.at, len) != WEIR_OK) {
        return WEIR_MEMORY;
    }
    enum weir_result result = parse(side, buf_slice(&half->head), ret_head);
    if (result == WEIR_AGAIN && len < bytes.len) {
        return WEIR_TOO_LARGE;
    }
    half->head.len = result == WEIR_AGAIN ? half->head.len : *ret_kept;
    return result;
}

// The first bytes of the head at hand, wherever they lie.
static size_t copy_start(const struct tap_half *half, struct slice bytes, char start[START_SIZE])
{
    struct slice kept = buf_slice(&half->head);
    size_t len = kept.len < START_SIZE ? kept.len : START_SIZE;
    size_t more = bytes.len < START_SIZE - len ? bytes.len : START_SIZE - len;
    memcpy(start, kept.at, len);
    memcpy(start + len, bytes.at, more);
    return len + more;
}

static void feed_head(struct tap *tap, enum capture_side side, struct slice *bytes, uint64_t now_ns)
{
    struct tap_half *half = &tap->halves[side];
    struct http1_head head;
    size_t kept = 0;
    half->begun_ns = half->head.len == 0 ? now_ns : half->begun_ns;
    bool unasked = side == CAPTURE_ANSWER && list_empty(&tap->waiting);
    bool crowded = side == CAPTURE_REQUEST && tap->waiting_count == TAP_PIPELINE_MAX;
    enum weir_result result = WEIR_MALFORMED;
    if (!unasked && !crowded) {
        result = half->head.len == 0 ? parse(side, *bytes, &head) : WEIR_AGAIN;
        result = result == WEIR_AGAIN ? parse_pieces(half, side, *bytes, &head, &kept) : result;
    }
    if (result == WEIR_OK) {
        take_head(
            tap, side, &head, slice_of(half->head.at + half->head.start, kept), bytes, now_ns);
    } else if (result == WEIR_AGAIN) {
        *bytes = SLICE_EMPTY;
    } else {
        char start[START_SIZE];
        size_t len = copy_start(half, *bytes, start);
        enum capture_kind kind = kind_of(tap, side, slice_of(start, len));
        go_blind(tap, crowded ? CAPTURE_KIND_CROWDED : kind, NULL, now_ns);
    }
}

// ---- Bodies

static void feed_body(struct tap *tap, enum capture_side side, struct slice *bytes, uint64_t now_ns)
{
    struct tap_half *half = &tap->halves[side];
    struct capture_entry *entry = half->entry;
    struct slice payload;
    size_t before = bytes->len;
    enum weir_result result = http1_body_next(&half->body, bytes, &payload);
    entry->messages[side].bytes += before - bytes->len;
    if (result == WEIR_OK || result == WEIR_CLOSED) {
        if (payload.len > 0) {
            capture_payload(tap->capture, entry, side, payload);
        }
        if (result == WEIR_CLOSED || http1_body_done(&half->body)) {
            message_complete(tap, side, now_ns);
        } else {
            capture_touch(tap->capture, entry);
        }
    } else {
        go_blind(tap, CAPTURE_KIND_UNREADABLE, entry, now_ns);
    }
}

// ---- The stream

static void feed_blind(struct tap *tap, enum capture_side side, struct slice bytes, uint64_t now_ns)
{
    if (tap->h2 != NULL) {
        tap_h2_feed(tap->h2, side, bytes, now_ns);
    }
    if (tap->frames != NULL) {
        tap_ws_feed(tap->frames, tap->capture, tap->opaque, side, bytes, now_ns);
    }
    count_bytes(tap, side, bytes.len, now_ns);
}

void tap_feed(struct tap *tap, enum capture_side side, struct slice bytes, uint64_t now_ns)
{
    while (bytes.len > 0) {
        if (tap->blind) {
            if (tap->opaque != NULL) {
                feed_blind(tap, side, bytes, now_ns);
            }
            return;
        }
        if (tap->halves[side].in_body) {
            feed_body(tap, side, &bytes, now_ns);
        } else {
            feed_head(tap, side, &bytes, now_ns);
        }
    }
}

void tap_end(struct tap *tap, enum capture_side side, uint64_t now_ns)
{
    struct tap_half *half = &tap->halves[side];
    if (half->in_body && http1_body_ends_at_close(&half->body)) {
        message_complete(tap, side, now_ns);
    } else if (tap->opaque != NULL && tap->opaque->messages[side].ended_ns == 0) {
        tap->opaque->messages[side].ended_ns = now_ns;
        capture_touch(tap->capture, tap->opaque);
    }
}

void tap_close(struct tap *tap, uint64_t now_ns)
{
    if (!tap->open) {
        return;
    }
    struct slice start = buf_slice(&tap->halves[CAPTURE_REQUEST].head);
    if (start.len > 0) {
        go_blind(tap, kind_of(tap, CAPTURE_REQUEST, start), NULL, now_ns);
    }
    let_go(tap);
    if (tap->h2 != NULL) {
        tap_h2_close(tap->h2);
        mem_free(tap->h2);
    }
    if (tap->frames != NULL) {
        tap_ws_close(tap->frames, tap->capture, tap->opaque, now_ns);
        mem_free(tap->frames);
    }
    if (tap->opaque != NULL) {
        for (size_t i = 0; i < CAPTURE_SIDE_COUNT; i++) {
            struct capture_message *message = &tap->opaque->messages[i];
            message->ended_ns = message->ended_ns == 0 ? now_ns : message->ended_ns;
        }
        settle(tap, tap->opaque, CAPTURE_DONE);
        capture_release(tap->opaque);
    }
    *tap = (struct tap){0};
}
