// SPDX-License-Identifier: Apache-2.0
// The members are the rows of a table; what is read is one pass of the JSON scanner over the text.
//
// A payload is a frame inside a JSON string, so it is nearly always escaped. It is unescaped once,
// behind headroom, and goes from there to a socket without another copy.
#include "relay/backplane/message.h"

#include "base/mem.h"
#include "base/utf8.h"
#include "proto/json_scan.h"
#include "proto/json_write.h"

enum member {
    MEMBER_ID,
    MEMBER_WORKSPACE,
    MEMBER_TARGET,
    MEMBER_MACHINE,
    MEMBER_SOURCE,
    MEMBER_TARGET_RELAY,
    MEMBER_DIRECTION,
    MEMBER_PAYLOAD,
    MEMBER_ISSUED,
    MEMBER_SIGNATURE,
    MEMBER_COUNT,
};

static const char *const names[MEMBER_COUNT] = {
    [MEMBER_ID] = "id",
    [MEMBER_WORKSPACE] = "workspaceId",
    [MEMBER_TARGET] = "runtimeTargetId",
    [MEMBER_MACHINE] = "machineId",
    [MEMBER_SOURCE] = "sourceRelayId",
    [MEMBER_TARGET_RELAY] = "targetRelayId",
    [MEMBER_DIRECTION] = "direction",
    [MEMBER_PAYLOAD] = "payload",
    [MEMBER_ISSUED] = "issuedAtMs",
    [MEMBER_SIGNATURE] = "signature",
};

static const struct slice directions[] = {
    [BUS_CLIENT_TO_DAEMON] = {"client_to_daemon", 16},
    [BUS_DAEMON_TO_CLIENTS] = {"daemon_to_clients", 17},
};

static struct json_keys *keys;

enum weir_result bus_message_rules_init(void)
{
    keys = json_keys_new(names, MEMBER_COUNT);
    return keys == NULL ? WEIR_MEMORY : WEIR_OK;
}

void bus_message_rules_fini(void)
{
    json_keys_free(keys);
    keys = NULL;
}

// ---- Writing

static void write_some(struct json_writer *json, enum member member, struct slice text)
{
    if (text.len > 0) {
        jsonw_string(json, names[member], text);
    }
}

// The platform tells "nobody in particular" apart by direction; Redis always has a string.
static void write_target_relay(
    struct json_writer *json, const struct bus_message *message, enum bus_form form)
{
    if (form == BUS_FORM_PLATFORM && message->target_relay.len == 0 &&
        message->direction == BUS_DAEMON_TO_CLIENTS) {
        jsonw_null(json, names[MEMBER_TARGET_RELAY]);
    } else {
        jsonw_string(json, names[MEMBER_TARGET_RELAY], message->target_relay);
    }
}

void bus_message_write(const struct bus_message *message, enum bus_form form, struct buf *out)
{
    struct json_writer json;
    json_writer_init(&json, out);
    jsonw_object_begin(&json, NULL);
    jsonw_string(&json, names[MEMBER_WORKSPACE], message->workspace);
    jsonw_string(&json, names[MEMBER_TARGET], message->target);
    write_some(&json, MEMBER_MACHINE, message->machine);
    jsonw_string(&json, names[MEMBER_SOURCE], message->source);
    write_target_relay(&json, message, form);
    jsonw_string(&json, names[MEMBER_DIRECTION], directions[message->direction]);
    jsonw_string(&json, names[MEMBER_PAYLOAD], message->payload);
    if (message->issued) {
        jsonw_u64(&json, names[MEMBER_ISSUED], message->issued_at_ms);
    }
    write_some(&json, MEMBER_SIGNATURE, message->signature);
    jsonw_object_end(&json);
}

// ---- Reading

static bool read_text(const struct json_value *value, struct buf *scratch, struct slice *ret_text)
{
    if (!json_value_is_string(value)) {
        return false;
    }
    *ret_text = value->text;
    if (value->escaped) {
        char *at = buf_reserve(scratch, value->text.len);
        if (at == NULL) {
            return false;
        }
        *ret_text = slice_of(at, json_value_unescape(value, at));
        buf_commit(scratch, ret_text->len);
    }
    return true;
}

// Absent, or a string; with lenient anything else is as good as absent.
static bool read_optional(
    const struct json_value *value, bool lenient, struct buf *scratch, struct slice *ret_text)
{
    *ret_text = SLICE_EMPTY;
    if (value->kind == JSON_KIND_ABSENT) {
        return true;
    }
    return read_text(value, scratch, ret_text) || lenient;
}

// Absent is one thing for the platform and a mistake in Redis; null and blank name nobody.
static bool read_target_relay(
    const struct json_value *value, enum bus_form form, struct buf *scratch, struct slice *ret_text)
{
    *ret_text = SLICE_EMPTY;
    if (value->kind == JSON_KIND_NULL ||
        (value->kind == JSON_KIND_ABSENT && form == BUS_FORM_PLATFORM)) {
        return true;
    }
    if (!read_text(value, scratch, ret_text)) {
        return false;
    }
    if (json_js_trim(*ret_text).len == 0) {
        *ret_text = SLICE_EMPTY;
    }
    return true;
}

static bool read_direction(const struct json_value *value, enum bus_direction *ret_direction)
{
    for (enum bus_direction i = BUS_CLIENT_TO_DAEMON; i <= BUS_DAEMON_TO_CLIENTS; i++) {
        if (json_value_is_text(value, directions[i])) {
            *ret_direction = i;
            return true;
        }
    }
    return false;
}

static bool read_natural(const struct json_value *value, uint64_t *ret_number)
{
    double number;
    if (!json_value_is_int(value, &number) || number < 0 || number > 9007199254740991.0) {
        return false;
    }
    *ret_number = (uint64_t)number;
    return true;
}

// A number that is no time is as good as none: whether one is needed is the seal's matter.
static bool read_issued(const struct json_value *value, struct bus_message *ret_message)
{
    ret_message->issued = read_natural(value, &ret_message->issued_at_ms);
    return ret_message->issued || value->kind == JSON_KIND_ABSENT ||
           value->kind == JSON_KIND_NUMBER;
}

static bool read_members(const struct json_value *values, enum bus_form form, struct buf *scratch,
    struct bus_message *ret_message)
{
    bool lenient = form == BUS_FORM_PLATFORM;
    return read_text(&values[MEMBER_WORKSPACE], scratch, &ret_message->workspace) &&
           read_text(&values[MEMBER_TARGET], scratch, &ret_message->target) &&
           json_js_trim(ret_message->target).len > 0 &&
           read_optional(&values[MEMBER_MACHINE], lenient, scratch, &ret_message->machine) &&
           read_text(&values[MEMBER_SOURCE], scratch, &ret_message->source) &&
           read_target_relay(
               &values[MEMBER_TARGET_RELAY], form, scratch, &ret_message->target_relay) &&
           read_direction(&values[MEMBER_DIRECTION], &ret_message->direction) &&
           (read_issued(&values[MEMBER_ISSUED], ret_message) || lenient) &&
           read_optional(&values[MEMBER_SIGNATURE], lenient, scratch, &ret_message->signature) &&
           (form == BUS_FORM_REDIS ||
               (read_natural(&values[MEMBER_ID], &ret_message->id) && ret_message->id > 0)) &&
           json_value_is_string(&values[MEMBER_PAYLOAD]);
}

static bool read_payload(
    const struct json_value *value, size_t headroom, struct buf *scratch, struct slice *ret_payload)
{
    char *at = buf_reserve(scratch, headroom + value->text.len);
    if (at == NULL) {
        return false;
    }
    at += headroom;
    size_t len = value->text.len;
    if (value->escaped) {
        len = json_value_unescape(value, at);
    } else {
        memcpy(at, value->text.at, len);
    }
    buf_commit(scratch, headroom + len);
    *ret_payload = slice_of(at, len);
    return utf8_valid(*ret_payload);
}

// Room for everything at once: what was unescaped before must not move when more is.
static bool make_room(struct buf *scratch, size_t len)
{
    buf_clear(scratch);
    return buf_reserve(scratch, len) != NULL;
}

enum bus_verdict bus_message_read(struct slice text, enum bus_form form,
    const struct bus_reader *reader, size_t headroom, struct buf *scratch,
    struct bus_message *ret_message)
{
    struct json_value values[MEMBER_COUNT];
    *ret_message = (struct bus_message){0};
    if (json_scan(text, keys, values) != WEIR_OK || !make_room(scratch, headroom + text.len) ||
        !read_members(values, form, scratch, ret_message)) {
        return BUS_MALFORMED;
    }
    if (slice_eq(ret_message->source, reader->relay_id) ||
        (ret_message->target_relay.len > 0 &&
            !slice_eq(ret_message->target_relay, reader->relay_id))) {
        return BUS_FOR_OTHERS;
    }
    if (!read_payload(&values[MEMBER_PAYLOAD], headroom, scratch, &ret_message->payload)) {
        return BUS_MALFORMED;
    }
    return ret_message->payload.len > reader->payload_max ? BUS_TOO_LARGE : BUS_FOR_US;
}

struct bus_envelope bus_message_peek(struct slice text, char *scratch, size_t size)
{
    struct json_value values[MEMBER_COUNT];
    struct bus_envelope envelope = {0};
    if (json_scan(text, keys, values) != WEIR_OK) {
        return envelope;
    }
    const struct json_value *value = &values[MEMBER_WORKSPACE];
    (void)read_natural(&values[MEMBER_ID], &envelope.id);
    (void)read_natural(&values[MEMBER_ISSUED], &envelope.issued_at_ms);
    if (json_value_is_string(value) && (!value->escaped || value->text.len <= size)) {
        envelope.workspace =
            value->escaped ? slice_of(scratch, json_value_unescape(value, scratch)) : value->text;
    }
    return envelope;
}
