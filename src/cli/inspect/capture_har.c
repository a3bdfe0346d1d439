// SPDX-License-Identifier: Apache-2.0
// The HTTP Archive format, version 1.2, as browsers import it. What is not known is -1 or empty, as
// the format wants it; exchanges without an answer have status 0.
#include "cli/inspect/capture_show.h"

#include "base/time.h"

#define URL_MAX (2 * HTTP1_HEAD_BYTES_MAX + 512)

static void write_pair(struct json_writer *writer, struct slice name, struct slice value)
{
    jsonw_object_begin(writer, NULL);
    jsonw_string(writer, "name", name);
    jsonw_string(writer, "value", value);
    jsonw_object_end(writer);
}

static void write_fields(const struct http1_head *head, bool secrets, struct json_writer *writer)
{
    jsonw_array_begin(writer, "headers");
    for (size_t i = 0; i < head->header_count; i++) {
        const struct http1_header *field = &head->headers[i];
        bool hidden = !secrets && capture_is_hidden_field(field->name);
        write_pair(writer, field->name, hidden ? SLICE(CAPTURE_HIDDEN) : field->value);
    }
    jsonw_array_end(writer);
    jsonw_array_begin(writer, "cookies"); // they are among the headers, hidden or not
    jsonw_array_end(writer);
}

static struct slice field_value(const struct http1_head *head, struct slice name)
{
    const struct http1_header *field = http1_find(head, name);
    return field == NULL ? SLICE_EMPTY : field->value;
}

// Visitors came by https; the forwarding head says otherwise where it was not so.
static void append_url(struct buf *url, const struct http1_head *head, bool secrets)
{
    if (!slice_starts_with(head->target, SLICE("/"))) {
        capture_append_target(url, head->target, secrets);
        return;
    }
    bool plain = slice_eq_nocase(field_value(head, SLICE("x-forwarded-proto")), SLICE("http"));
    buf_append_str(url, plain ? "http://" : "https://");
    buf_append_slice(url, field_value(head, SLICE("host")));
    capture_append_target(url, head->target, secrets);
}

static void write_query(struct slice url, struct json_writer *writer)
{
    ptrdiff_t question = slice_find(url, '?');
    struct slice rest = question < 0 ? SLICE_EMPTY : slice_skip(url, (size_t)question + 1);
    struct slice member;
    jsonw_array_begin(writer, "queryString");
    while (rest.len > 0 && slice_split(&rest, '&', &member)) {
        struct slice value = member;
        struct slice name = SLICE_EMPTY;
        (void)slice_split(&value, '=', &name); // a member without '=' is all name
        write_pair(writer, name, value.at == NULL ? SLICE_EMPTY : value);
    }
    jsonw_array_end(writer);
}

static const char *version_text(const struct http1_head *head)
{
    return head->minor_version == 0 ? "HTTP/1.0" : "HTTP/1.1";
}

static void write_request(const struct capture_entry *entry, const struct http1_head *head,
    bool secrets, struct json_writer *writer)
{
    const struct capture_message *message = &entry->messages[CAPTURE_REQUEST];
    struct buf url = BUF_INIT(URL_MAX);
    append_url(&url, head, secrets);
    jsonw_object_begin(writer, "request");
    jsonw_string(writer, "method", head->method);
    jsonw_string(writer, "url", buf_slice(&url));
    jsonw_text(writer, "httpVersion", version_text(head));
    write_fields(head, secrets, writer);
    write_query(buf_slice(&url), writer);
    jsonw_u64(writer, "headersSize", message->head_len);
    jsonw_u64(writer, "bodySize", message->body_len);
    if (message->body_len > 0) {
        jsonw_object_begin(writer, "postData");
        jsonw_string(writer, "mimeType", field_value(head, SLICE("content-type")));
        capture_write_body(writer, "text", buf_slice(&message->body), "comment");
        jsonw_object_end(writer);
    }
    jsonw_object_end(writer);
    buf_reset(&url);
}

static void write_no_answer(struct json_writer *writer)
{
    static const struct http1_head nothing;
    jsonw_u64(writer, "status", 0);
    jsonw_text(writer, "statusText", "");
    jsonw_text(writer, "httpVersion", "");
    write_fields(&nothing, true, writer);
    jsonw_text(writer, "redirectURL", "");
}

static void write_answer(
    const struct capture_entry *entry, bool secrets, struct json_writer *writer)
{
    const struct capture_message *message = &entry->messages[CAPTURE_ANSWER];
    struct http1_head head;
    bool parsed = capture_parse(entry, CAPTURE_ANSWER, &head);
    jsonw_object_begin(writer, "response");
    if (parsed) {
        jsonw_u64(writer, "status", head.status);
        jsonw_text(writer, "statusText", http1_reason(head.status));
        jsonw_text(writer, "httpVersion", version_text(&head));
        write_fields(&head, secrets, writer);
        jsonw_string(writer, "redirectURL", field_value(&head, SLICE("location")));
    } else {
        write_no_answer(writer);
    }
    jsonw_object_begin(writer, "content");
    jsonw_u64(writer, "size", message->body_len);
    jsonw_string(
        writer, "mimeType", parsed ? field_value(&head, SLICE("content-type")) : SLICE_EMPTY);
    capture_write_body(writer, "text", buf_slice(&message->body), "encoding");
    if (message->body_cut) {
        jsonw_text(writer, "comment", "only the beginning was kept");
    }
    jsonw_object_end(writer);
    jsonw_i64(writer, "headersSize", parsed ? (int64_t)message->head_len : -1);
    jsonw_u64(writer, "bodySize", message->body_len);
    jsonw_object_end(writer);
}

static double at_least_0(double ms)
{
    return ms < 0 ? 0 : ms;
}

// As the tools of Chromium write and read them; payloads that are no text are base64 there, too.
static void write_frames(const struct capture_entry *entry, struct json_writer *writer)
{
    jsonw_array_begin(writer, "_webSocketMessages");
    list_for_each (node, &entry->frames) {
        const struct capture_frame *frame = container_of(node, struct capture_frame, node);
        double ms = capture_ms(entry->messages[CAPTURE_REQUEST].begun_ns, frame->at_ns);
        jsonw_object_begin(writer, NULL);
        jsonw_text(writer, "type", frame->side == CAPTURE_REQUEST ? "send" : "receive");
        jsonw_double(writer, "time", ((double)entry->wall_ms + ms) / 1000);
        jsonw_u64(writer, "opcode", frame->opcode);
        capture_write_body(writer, "data", slice_of(frame->bytes, frame->kept), "_encoding");
        jsonw_object_end(writer);
    }
    jsonw_array_end(writer);
}

static void write_entry(const struct capture_entry *entry, bool secrets, struct json_writer *writer)
{
    const struct capture_message *request = &entry->messages[CAPTURE_REQUEST];
    const struct capture_message *answer = &entry->messages[CAPTURE_ANSWER];
    struct http1_head head;
    char iso[TIME_ISO_SIZE];
    if (!capture_parse(entry, CAPTURE_REQUEST, &head)) {
        return;
    }
    time_to_iso(entry->wall_ms, iso);
    double send = at_least_0(capture_ms(request->begun_ns, request->ended_ns));
    double wait = at_least_0(capture_ms(request->ended_ns, answer->begun_ns));
    double receive = at_least_0(capture_ms(answer->begun_ns, answer->ended_ns));
    jsonw_object_begin(writer, NULL);
    jsonw_text(writer, "startedDateTime", iso);
    jsonw_double(writer, "time", send + wait + receive);
    write_request(entry, &head, secrets, writer);
    write_answer(entry, secrets, writer);
    jsonw_object_begin(writer, "cache");
    jsonw_object_end(writer);
    jsonw_object_begin(writer, "timings");
    jsonw_double(writer, "send", send);
    jsonw_double(writer, "wait", wait);
    jsonw_double(writer, "receive", receive);
    jsonw_object_end(writer);
    if (entry->kind == CAPTURE_KIND_WEBSOCKET) {
        write_frames(entry, writer);
    }
    jsonw_text(writer, "connection", entry->origin.stream);
    jsonw_text(writer, "comment", capture_state_text(entry->state));
    jsonw_object_end(writer);
}

void capture_write_har(const struct capture *capture, const struct capture_entry *only,
    bool secrets, struct json_writer *writer)
{
    jsonw_object_begin(writer, NULL);
    jsonw_object_begin(writer, "log");
    jsonw_text(writer, "version", "1.2");
    jsonw_object_begin(writer, "creator");
    jsonw_text(writer, "name", "weir");
    jsonw_text(writer, "version", WEIR_VERSION);
    jsonw_object_end(writer);
    jsonw_array_begin(writer, "entries");
    list_for_each (node, &capture->entries) {
        const struct capture_entry *entry = container_of(node, struct capture_entry, node);
        if (only == NULL || only == entry) {
            write_entry(entry, secrets, writer);
        }
    }
    jsonw_array_end(writer);
    jsonw_object_end(writer);
    jsonw_object_end(writer);
}
