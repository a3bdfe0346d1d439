// SPDX-License-Identifier: Apache-2.0
// Heads are kept as they were on the wire and parsed again when somebody looks.
#include "cli/inspect/capture_show.h"

#include "base/base64.h"
#include "base/mem.h"
#include "base/time.h"
#include "base/utf8.h"
#include "proto/websocket.h"

#define TARGET_MAX (2 * HTTP1_HEAD_BYTES_MAX)

static const char *const hidden_fields[] = {
#define HIDDEN_FIELD(name) name,
#define HIDDEN_QUERY(name)
#include "cli/hidden_names.def"
#undef HIDDEN_FIELD
#undef HIDDEN_QUERY
};
static const char *const hidden_members[] = {
#define HIDDEN_FIELD(name)
#define HIDDEN_QUERY(name) name,
#include "cli/hidden_names.def"
#undef HIDDEN_FIELD
#undef HIDDEN_QUERY
};

static bool is_among(struct slice name, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (slice_eq_nocase(name, slice_str(names[i]))) {
            return true;
        }
    }
    return false;
}

bool capture_is_hidden_field(struct slice name)
{
    return is_among(name, hidden_fields, sizeof hidden_fields / sizeof hidden_fields[0]);
}

void capture_append_target(struct buf *out, struct slice target, bool secrets)
{
    ptrdiff_t question = slice_find(target, '?');
    if (secrets || question < 0) {
        buf_append_slice(out, target); // out->failed is looked at in the end
        return;
    }
    buf_append(out, target.at, (size_t)question + 1);
    struct slice rest = slice_skip(target, (size_t)question + 1);
    struct slice member;
    for (bool first = true; slice_split(&rest, '&', &member); first = false) {
        struct slice value = member;
        struct slice name;
        bool named = slice_split(&value, '=', &name) && value.at != NULL;
        buf_append_str(out, first ? "" : "&");
        if (named &&
            is_among(name, hidden_members, sizeof hidden_members / sizeof hidden_members[0])) {
            buf_append_slice(out, name);
            buf_append_str(out, "=" CAPTURE_HIDDEN);
        } else {
            buf_append_slice(out, member);
        }
    }
}

bool capture_parse(
    const struct capture_entry *entry, enum capture_side side, struct http1_head *ret_head)
{
    const struct capture_message *message = &entry->messages[side];
    struct slice head = slice_of(message->head, message->head_len);
    if (message->head == NULL) {
        return false;
    }
    return (side == CAPTURE_REQUEST ? http1_parse_request(head, ret_head)
                                    : http1_parse_response(head, ret_head)) == WEIR_OK;
}

double capture_ms(uint64_t from_ns, uint64_t to_ns)
{
    return from_ns == 0 || to_ns < from_ns ? -1 : (double)(to_ns - from_ns) / (double)NS_PER_MS;
}

void capture_write_body(
    struct json_writer *writer, const char *key, struct slice body, const char *encoding_key)
{
    if (utf8_valid(body)) {
        jsonw_string(writer, key, body);
        return;
    }
    char *text = mem_alloc(BASE64_SIZE(body.len));
    if (text == NULL) {
        jsonw_null(writer, key);
        return;
    }
    jsonw_string(writer, key, slice_of(text, base64_encode(body.at, body.len, text)));
    jsonw_text(writer, encoding_key, "base64");
    mem_free(text);
}

// ---- Lists

static void write_times(const struct capture_entry *entry, struct json_writer *writer)
{
    const struct capture_message *request = &entry->messages[CAPTURE_REQUEST];
    const struct capture_message *answer = &entry->messages[CAPTURE_ANSWER];
    char iso[TIME_ISO_SIZE];
    time_to_iso(entry->wall_ms, iso);
    jsonw_text(writer, "started", iso);
    const struct {
        const char *name;
        double ms;
    } times[] = {
        {"send_ms", capture_ms(request->begun_ns, request->ended_ns)},
        {"wait_ms", capture_ms(request->ended_ns, answer->begun_ns)},
        {"receive_ms", capture_ms(answer->begun_ns, answer->ended_ns)},
        {"total_ms", capture_ms(request->begun_ns, answer->ended_ns)},
    };
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        if (times[i].ms >= 0) {
            jsonw_double(writer, times[i].name, times[i].ms);
        }
    }
}

static void write_request_line(
    const struct http1_head *head, bool secrets, struct json_writer *writer)
{
    struct buf target = BUF_INIT(TARGET_MAX);
    const struct http1_header *host = http1_find(head, SLICE("host"));
    capture_append_target(&target, head->target, secrets);
    jsonw_string(writer, "method", head->method);
    jsonw_string(writer, "target", buf_slice(&target));
    if (host != NULL) {
        jsonw_string(writer, "host", host->value);
    }
    buf_reset(&target);
}

static void write_summary(
    const struct capture_entry *entry, bool secrets, struct json_writer *writer)
{
    struct http1_head head;
    jsonw_u64(writer, "id", entry->id);
    jsonw_text(writer, "tunnel", entry->origin.tunnel);
    jsonw_text(writer, "stream_id", entry->origin.stream);
    jsonw_text(writer, "source_ip", entry->origin.source);
    jsonw_text(writer, "kind", capture_kind_word(entry->kind));
    jsonw_text(writer, "state", capture_state_word(entry->state));
    jsonw_text(writer, "state_text", capture_state_text(entry->state));
    if (entry->kind != CAPTURE_KIND_HTTP) {
        jsonw_text(writer, "note", capture_kind_text(entry->kind));
    }
    if (entry->problem != NULL) {
        jsonw_text(writer, "problem", entry->problem);
    }
    if (entry->origin.replay_of != 0) {
        jsonw_u64(writer, "replay_of", entry->origin.replay_of);
    }
    write_times(entry, writer);
    if (capture_parse(entry, CAPTURE_REQUEST, &head)) {
        write_request_line(&head, secrets, writer);
    }
    if (capture_parse(entry, CAPTURE_ANSWER, &head)) {
        jsonw_u64(writer, "status", head.status);
        jsonw_text(writer, "reason", http1_reason(head.status));
    }
    jsonw_u64(writer, "request_bytes", entry->messages[CAPTURE_REQUEST].bytes);
    jsonw_u64(writer, "answer_bytes", entry->messages[CAPTURE_ANSWER].bytes);
}

void capture_write_list(
    const struct capture *capture, uint64_t after, bool secrets, struct json_writer *writer)
{
    jsonw_object_begin(writer, NULL);
    jsonw_u64(writer, "revision", capture->revision);
    jsonw_u64(writer, "oldest", capture_oldest(capture));
    jsonw_array_begin(writer, "exchanges");
    list_for_each (node, &capture->entries) {
        const struct capture_entry *entry = container_of(node, struct capture_entry, node);
        if (entry->revision > after) {
            jsonw_object_begin(writer, NULL);
            write_summary(entry, secrets, writer);
            jsonw_object_end(writer);
        }
    }
    jsonw_array_end(writer);
    jsonw_object_end(writer);
}

// ---- One

static void write_message(const struct capture_entry *entry, enum capture_side side, bool secrets,
    struct json_writer *writer)
{
    const struct capture_message *message = &entry->messages[side];
    struct http1_head head;
    bool parsed = capture_parse(entry, side, &head);
    jsonw_object_begin(writer, side == CAPTURE_REQUEST ? "request" : "answer");
    jsonw_array_begin(writer, "fields");
    for (size_t i = 0; parsed && i < head.header_count; i++) {
        const struct http1_header *field = &head.headers[i];
        bool hidden = !secrets && capture_is_hidden_field(field->name);
        jsonw_object_begin(writer, NULL);
        jsonw_string(writer, "name", field->name);
        jsonw_string(writer, "value", hidden ? SLICE(CAPTURE_HIDDEN) : field->value);
        jsonw_object_end(writer);
    }
    jsonw_array_end(writer);
    jsonw_u64(writer, "body_bytes", message->body_len);
    jsonw_u64(writer, "body_kept", message->body.len);
    jsonw_bool(writer, "body_cut", message->body_cut);
    capture_write_body(writer, "body", buf_slice(&message->body), "body_encoding");
    jsonw_object_end(writer);
}

// The words of opcodes, as RFC 6455 section 5.2 has them.
static const char *opcode_word(uint8_t opcode)
{
    static const char *const words[16] = {[WS_CONTINUATION] = "continuation",
        [WS_TEXT] = "text",
        [WS_BINARY] = "binary",
        [WS_CLOSE] = "close",
        [WS_PING] = "ping",
        [WS_PONG] = "pong"};
    return words[opcode & 15] == NULL ? "" : words[opcode & 15];
}

static void write_frame(const struct capture_entry *entry, const struct capture_frame *frame,
    struct json_writer *writer)
{
    jsonw_object_begin(writer, NULL);
    jsonw_text(writer, "from", frame->side == CAPTURE_REQUEST ? "visitor" : "service");
    jsonw_text(writer, "type", opcode_word(frame->opcode));
    jsonw_u64(writer, "bytes", frame->len);
    jsonw_u64(writer, "bytes_kept", frame->kept);
    jsonw_double(
        writer, "at_ms", capture_ms(entry->messages[CAPTURE_REQUEST].begun_ns, frame->at_ns));
    jsonw_bool(writer, "fin", frame->fin);
    jsonw_bool(writer, "compressed", frame->compressed);
    jsonw_bool(writer, "broken_off", frame->broken_off);
    capture_write_body(writer, "payload", slice_of(frame->bytes, frame->kept), "encoding");
    jsonw_object_end(writer);
}

static void write_frames(const struct capture_entry *entry, struct json_writer *writer)
{
    jsonw_u64(writer, "frames_seen", entry->frames_seen);
    jsonw_array_begin(writer, "frames");
    list_for_each (node, &entry->frames) {
        write_frame(entry, container_of(node, struct capture_frame, node), writer);
    }
    jsonw_array_end(writer);
}

void capture_write_entry(
    const struct capture_entry *entry, bool secrets, struct json_writer *writer)
{
    jsonw_object_begin(writer, NULL);
    write_summary(entry, secrets, writer);
    write_message(entry, CAPTURE_REQUEST, secrets, writer);
    write_message(entry, CAPTURE_ANSWER, secrets, writer);
    if (entry->kind == CAPTURE_KIND_WEBSOCKET) {
        write_frames(entry, writer);
    }
    jsonw_object_end(writer);
}
