// SPDX-License-Identifier: Apache-2.0
// Invariants
//
// 1. An entry is in the list, or held by a tap, or both; what is neither has been freed.
// 2. capture->bytes is the sum of heads and bodies of the entries in the list.
// 3. An entry that is not in the list has no content and takes none: an abandoned stream costs its
//    record and nothing more.
#include "cli/inspect/capture.h"

#include "base/mem.h"
#include "sys/clock.h"

static const struct {
    const char *word;
    const char *text;
} states[] =
    {
#define CAPTURE_STATE(symbol, word, text) {word, text},
#include "cli/inspect/capture_states.def"
#undef CAPTURE_STATE
},
  kinds[] = {
#define CAPTURE_KIND(symbol, word, text) {word, text},
#include "cli/inspect/capture_kinds.def"
#undef CAPTURE_KIND
};

const char *capture_state_word(enum capture_state state)
{
    return states[state].word;
}

const char *capture_state_text(enum capture_state state)
{
    return states[state].text;
}

const char *capture_kind_word(enum capture_kind kind)
{
    return kinds[kind].word;
}

const char *capture_kind_text(enum capture_kind kind)
{
    return kinds[kind].text;
}

// ---- Going

static size_t entry_bytes(const struct capture_entry *entry)
{
    size_t sum = entry->frame_bytes;
    for (size_t i = 0; i < CAPTURE_SIDE_COUNT; i++) {
        sum += entry->messages[i].head_len + entry->messages[i].body.len;
    }
    return sum;
}

static void drop_frame(struct capture_entry *entry)
{
    struct capture_frame *frame =
        container_of(list_pop_front(&entry->frames), struct capture_frame, node);
    entry->frame_count--;
    entry->frame_bytes -= frame->kept;
    mem_free(frame);
}

static void drop_content(struct capture_entry *entry)
{
    while (entry->frame_count > 0) {
        drop_frame(entry);
    }
    mem_free(entry->problem);
    entry->problem = NULL;
    for (size_t i = 0; i < CAPTURE_SIDE_COUNT; i++) {
        struct capture_message *message = &entry->messages[i];
        mem_free(message->head);
        message->head = NULL;
        message->head_len = 0;
        buf_reset(&message->body);
    }
}

static void evict(struct capture *capture, struct capture_entry *entry)
{
    capture->bytes -= entry_bytes(entry);
    capture->count--;
    list_remove(&entry->node);
    drop_content(entry);
    if (entry->holders == 0) {
        mem_free(entry);
    }
}

static void keep_bounds(struct capture *capture)
{
    while (capture->count > capture->entries_max || capture->bytes > capture->bytes_max) {
        evict(capture, container_of(capture->entries.next, struct capture_entry, node));
    }
}

void capture_release(struct capture_entry *entry)
{
    weir_assert(entry->holders > 0);
    if (--entry->holders == 0 && !list_linked(&entry->node)) {
        mem_free(entry);
    }
}

// ---- Coming

struct capture_entry *capture_open(struct capture *capture, const struct capture_origin *origin,
    enum capture_kind kind, unsigned holders, uint64_t now_ns)
{
    struct capture_entry *entry = mem_zalloc(sizeof *entry);
    if (entry == NULL) {
        return NULL;
    }
    entry->id = ++capture->newest;
    entry->wall_ms = sys_wall_ms();
    entry->origin = *origin;
    entry->kind = kind;
    entry->state = kind == CAPTURE_KIND_HTTP ? CAPTURE_ASKING : CAPTURE_OPEN;
    entry->holders = holders;
    entry->messages[CAPTURE_REQUEST].begun_ns = now_ns;
    for (size_t i = 0; i < CAPTURE_SIDE_COUNT; i++) {
        buf_init(&entry->messages[i].body, capture->body_max);
    }
    list_init(&entry->queued);
    list_init(&entry->frames);
    list_push_back(&capture->entries, &entry->node);
    capture->count++;
    keep_bounds(capture);
    return entry;
}

void capture_head(struct capture *capture, struct capture_entry *entry, enum capture_side side,
    struct slice first, struct slice second)
{
    struct capture_message *message = &entry->messages[side];
    weir_assert(message->head == NULL);
    if (!list_linked(&entry->node)) {
        return;
    }
    message->head = mem_alloc(first.len + second.len);
    if (message->head == NULL) {
        return;
    }
    if (first.len > 0) {
        memcpy(message->head, first.at, first.len);
    }
    memcpy(message->head + first.len, second.at, second.len);
    message->head_len = first.len + second.len;
    capture->bytes += message->head_len;
    keep_bounds(capture);
}

void capture_payload(struct capture *capture, struct capture_entry *entry, enum capture_side side,
    struct slice bytes)
{
    struct capture_message *message = &entry->messages[side];
    size_t room = capture->body_max - message->body.len;
    size_t kept = bytes.len < room ? bytes.len : room;
    message->body_len += bytes.len;
    if (!list_linked(&entry->node) || message->body_cut ||
        buf_append(&message->body, bytes.at, kept) != WEIR_OK) {
        message->body_cut |= bytes.len > 0;
        return;
    }
    message->body_cut = kept < bytes.len;
    capture->bytes += kept;
    keep_bounds(capture);
}

void capture_add_frame(struct capture *capture, struct capture_entry *entry,
    const struct capture_frame *frame, struct slice bytes)
{
    entry->frames_seen++;
    if (!list_linked(&entry->node)) {
        return;
    }
    struct capture_frame *kept = mem_alloc(sizeof *kept + bytes.len);
    if (kept == NULL) {
        return;
    }
    *kept = *frame;
    kept->kept = bytes.len;
    if (bytes.len > 0) {
        memcpy(kept->bytes, bytes.at, bytes.len);
    }
    list_push_back(&entry->frames, &kept->node);
    entry->frame_count++;
    entry->frame_bytes += bytes.len;
    capture->bytes += bytes.len;
    if (entry->frame_count > CAPTURE_FRAMES_MAX) {
        size_t before = entry->frame_bytes;
        drop_frame(entry);
        capture->bytes -= before - entry->frame_bytes;
    }
    keep_bounds(capture);
}

void capture_explain(struct capture *capture, struct capture_entry *entry, const char *problem)
{
    if (list_linked(&entry->node) && entry->problem == NULL) {
        entry->problem = mem_copy(problem, strlen(problem)); // without memory it is not said
        capture_touch(capture, entry);
    }
}

void capture_touch(struct capture *capture, struct capture_entry *entry)
{
    entry->revision = ++capture->revision;
    if (capture->changed != NULL) {
        capture->changed(capture, capture->arg);
    }
}

// ---- The whole

void capture_init(struct capture *capture)
{
    *capture = (struct capture){
        .entries_max = CAPTURE_ENTRIES_MAX,
        .body_max = CAPTURE_BODY_MAX,
        .bytes_max = CAPTURE_BYTES_MAX,
    };
    list_init(&capture->entries);
}

static void evict_all(struct capture *capture)
{
    while (!list_empty(&capture->entries)) {
        evict(capture, container_of(capture->entries.next, struct capture_entry, node));
    }
}

void capture_fini(struct capture *capture)
{
    list_for_each (node, &capture->entries) {
        weir_assert(container_of(node, struct capture_entry, node)->holders == 0);
    }
    evict_all(capture);
}

void capture_clear(struct capture *capture)
{
    evict_all(capture);
    capture->revision++;
    if (capture->changed != NULL) {
        capture->changed(capture, capture->arg);
    }
}

struct capture_entry *capture_find(const struct capture *capture, uint64_t id)
{
    list_for_each (node, &capture->entries) {
        struct capture_entry *entry = container_of(node, struct capture_entry, node);
        if (entry->id == id) {
            return entry;
        }
    }
    return NULL;
}

uint64_t capture_oldest(const struct capture *capture)
{
    return list_empty(&capture->entries)
               ? capture->newest + 1
               : container_of(capture->entries.next, struct capture_entry, node)->id;
}
