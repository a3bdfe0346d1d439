// SPDX-License-Identifier: Apache-2.0
// A table of members per question: name, what it may hold, where it goes. A NUL in a text is
// refused: PostgreSQL cannot keep one, and no identifier or JSON payload needs one.
#include "platform/ask.h"

#include <stdio.h>

#include "base/mem.h"
#include "platform/platform.h"
#include "platform/platform_internal.h"
#include "proto/json_write.h"

#define URL_LEN_MAX 512
#define MACHINE_LEN_MAX 255
#define SIGNATURE_LEN_MAX 512
#define NUMBER_MAX 9007199254740991 // 2^53 - 1

enum rule { RULE_ID, RULE_TEXT, RULE_PAYLOAD, RULE_DIRECTION, RULE_NUMBER, RULE_BOOL };

struct member {
    const char *name;
    enum rule rule;
    bool required; // there, not null and not ""
    int64_t max;   // bytes of a text, or the number
    size_t at;     // in the question's struct
};

#define PRESENCE(field) offsetof(struct presence_ask, field)
static const struct member put_members[] = {
    {"workspaceId", RULE_ID, true, 0, PRESENCE(workspace_id)},
    {"runtimeTargetId", RULE_ID, false, 0, PRESENCE(runtime_target_id)},
    {"machineId", RULE_TEXT, false, MACHINE_LEN_MAX, PRESENCE(machine_id)},
    {"relayId", RULE_TEXT, true, ASK_RELAY_ID_LEN_MAX, PRESENCE(relay_id)},
    {"relayWsBaseUrl", RULE_TEXT, true, URL_LEN_MAX, PRESENCE(relay_ws_base_url)},
    {"daemonConnected", RULE_BOOL, true, 0, PRESENCE(daemon_connected)},
    {NULL, RULE_ID, false, 0, 0},
};

static const struct member get_members[] = {
    {"workspaceId", RULE_ID, true, 0, PRESENCE(workspace_id)},
    {"runtimeTargetId", RULE_ID, false, 0, PRESENCE(runtime_target_id)},
    {NULL, RULE_ID, false, 0, 0},
};

#define FRAME(field) offsetof(struct frame_ask, field)
static const struct member frame_members[] = {
    {"workspaceId", RULE_ID, true, 0, FRAME(workspace_id)},
    {"runtimeTargetId", RULE_ID, true, 0, FRAME(runtime_target_id)},
    {"machineId", RULE_TEXT, false, MACHINE_LEN_MAX, FRAME(machine_id)},
    {"sourceRelayId", RULE_TEXT, true, ASK_RELAY_ID_LEN_MAX, FRAME(source_relay_id)},
    {"targetRelayId", RULE_TEXT, false, ASK_RELAY_ID_LEN_MAX, FRAME(target_relay_id)},
    {"direction", RULE_DIRECTION, true, 0, FRAME(direction)},
    {"payload", RULE_PAYLOAD, true, 0, FRAME(payload)},
    {"issuedAtMs", RULE_NUMBER, false, NUMBER_MAX, FRAME(issued_at_ms)},
    {"signature", RULE_TEXT, false, SIGNATURE_LEN_MAX, FRAME(signature)},
    {NULL, RULE_ID, false, 0, 0},
};

#define PULL(field) offsetof(struct pull_ask, field)
static const struct member pull_members[] = {
    {"relayId", RULE_TEXT, true, ASK_RELAY_ID_LEN_MAX, PULL(relay_id)},
    {"sinceId", RULE_NUMBER, true, NUMBER_MAX, PULL(since_id)},
    {"limit", RULE_NUMBER, true, NUMBER_MAX, PULL(limit)},
    {"waitMs", RULE_NUMBER, true, NUMBER_MAX, PULL(wait_ms)},
    {NULL, RULE_ID, false, 0, 0},
};

// ---- One member

static bool text_fits(const struct member *member, struct slice text, size_t payload_max)
{
    switch (member->rule) {
    case RULE_ID:
        return platform_is_id(text);
    case RULE_DIRECTION:
        return slice_eq(text, SLICE("client_to_daemon")) ||
               slice_eq(text, SLICE("daemon_to_clients"));
    case RULE_PAYLOAD:
        return text.len <= payload_max && slice_find(text, '\0') < 0;
    case RULE_TEXT:
        return text.len <= (size_t)member->max && slice_find(text, '\0') < 0;
    case RULE_NUMBER:
    case RULE_BOOL:
        break;
    }
    return false;
}

static bool read_text(
    const struct member *member, const json_t *value, size_t payload_max, struct slice *ret_text)
{
    if (value == NULL || json_is_null(value)) {
        return !member->required;
    }
    if (!json_is_string(value)) {
        return false;
    }
    struct slice text = slice_of(json_string_value(value), json_string_length(value));
    if (text.len == 0) {
        return !member->required;
    }
    *ret_text = text;
    return text_fits(member, text, payload_max);
}

static bool read_number(const struct member *member, const json_t *value, int64_t *ret_number)
{
    if (value == NULL || json_is_null(value)) {
        return !member->required;
    }
    if (!json_is_integer(value) || json_integer_value(value) < 0 ||
        json_integer_value(value) > member->max) {
        return false;
    }
    *ret_number = json_integer_value(value);
    return true;
}

static bool read_member(
    const struct member *member, const json_t *object, size_t payload_max, void *target)
{
    json_t *value = json_object_get(object, member->name);
    void *field = (char *)target + member->at;
    switch (member->rule) {
    case RULE_BOOL:
        *(bool *)field = json_is_true(value);
        return json_is_boolean(value);
    case RULE_NUMBER:
        return read_number(member, value, field);
    case RULE_ID:
    case RULE_TEXT:
    case RULE_PAYLOAD:
    case RULE_DIRECTION:
        break;
    }
    return read_text(member, value, payload_max, field);
}

static void say_allowed(
    const struct member *member, size_t payload_max, char problem[ASK_PROBLEM_SIZE])
{
    char allowed[96] = "true or false";
    switch (member->rule) {
    case RULE_ID:
        snprintf(allowed, sizeof allowed, "1-128 characters of A-Z a-z 0-9 . _ : -");
        break;
    case RULE_TEXT:
        snprintf(allowed, sizeof allowed, "text of at most %lld bytes", (long long)member->max);
        break;
    case RULE_PAYLOAD:
        snprintf(allowed, sizeof allowed, "text of at most %zu bytes", payload_max);
        break;
    case RULE_DIRECTION:
        snprintf(allowed, sizeof allowed, "client_to_daemon, daemon_to_clients");
        break;
    case RULE_NUMBER:
        snprintf(allowed, sizeof allowed, "a whole number from 0 to %lld", (long long)member->max);
        break;
    case RULE_BOOL:
        break;
    }
    snprintf(problem, ASK_PROBLEM_SIZE, "%s: %s; allowed: %s", member->name,
        member->required ? "required" : "may be left out", allowed);
}

static bool read_members(const struct member *members, const json_t *object, size_t payload_max,
    void *target, char problem[ASK_PROBLEM_SIZE])
{
    if (!json_is_object(object)) {
        snprintf(problem, ASK_PROBLEM_SIZE, "the body: allowed: a JSON object");
        return false;
    }
    for (const struct member *member = members; member->name != NULL; member++) {
        if (!read_member(member, object, payload_max, target)) {
            say_allowed(member, payload_max, problem);
            return false;
        }
    }
    return true;
}

// ---- Questions

static bool read_frame(const json_t *object, size_t payload_max, struct frame_ask *frame,
    char problem[ASK_PROBLEM_SIZE])
{
    frame->issued_at_ms = -1;
    frame->valid = read_members(frame_members, object, payload_max, frame, problem);
    return frame->valid;
}

static enum weir_result read_batch(const json_t *list, size_t payload_max, struct platform_ask *ask)
{
    size_t count = json_array_size(list);
    ask->batch = true;
    if (!json_is_array(list) || count == 0 || count > ASK_FRAMES_MAX) {
        snprintf(ask->problem, sizeof ask->problem, "frames: allowed: a list of 1 to %d frames",
            ASK_FRAMES_MAX);
        return WEIR_MALFORMED;
    }
    ask->frames = mem_zalloc(count * sizeof *ask->frames);
    if (ask->frames == NULL) {
        return WEIR_MEMORY;
    }
    ask->frame_count = count;
    for (size_t i = 0; i < count; i++) {
        char ignored[ASK_PROBLEM_SIZE];
        ask->valid_count +=
            read_frame(json_array_get(list, i), payload_max, &ask->frames[i], ignored);
    }
    return WEIR_OK;
}

static enum weir_result read_publish(size_t payload_max, struct platform_ask *ask)
{
    json_t *list = json_object_get(ask->root, "frames");
    if (list != NULL) {
        return read_batch(list, payload_max, ask);
    }
    ask->frames = mem_zalloc(sizeof *ask->frames);
    if (ask->frames == NULL) {
        return WEIR_MEMORY;
    }
    ask->frame_count = ask->valid_count = 1;
    return read_frame(ask->root, payload_max, ask->frames, ask->problem) ? WEIR_OK : WEIR_MALFORMED;
}

static int64_t at_most(int64_t number, int64_t max)
{
    return number < max ? number : max;
}

static enum weir_result read_pull(struct platform_ask *ask)
{
    if (!read_members(pull_members, ask->root, 0, &ask->pull, ask->problem)) {
        return WEIR_MALFORMED;
    }
    if (ask->pull.limit == 0) {
        snprintf(ask->problem, sizeof ask->problem, "limit: allowed: 1 and more");
        return WEIR_MALFORMED;
    }
    ask->pull.limit = at_most(ask->pull.limit, ASK_PULL_LIMIT_MAX);
    ask->pull.wait_ms = at_most(ask->pull.wait_ms, ASK_PULL_WAIT_MS_MAX);
    return WEIR_OK;
}

enum weir_result platform_ask_parse(
    enum platform_ask_kind kind, struct slice body, struct platform_ask *ret_ask)
{
    json_error_t error;
    *ret_ask = (struct platform_ask){.kind = kind};
    ret_ask->root = json_loadb(body.at, body.len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (ret_ask->root == NULL) {
        snprintf(
            ret_ask->problem, sizeof ret_ask->problem, "the body is no JSON: %.100s", error.text);
        return json_error_code(&error) == json_error_out_of_memory ? WEIR_MEMORY : WEIR_MALFORMED;
    }
    return WEIR_OK;
}

enum weir_result platform_ask_read(enum platform_ask_kind kind, struct slice body,
    size_t frame_bytes_max, struct platform_ask *ret_ask)
{
    enum weir_result result = platform_ask_parse(kind, body, ret_ask);
    if (result != WEIR_OK) {
        return result;
    }
    switch (kind) {
    case ASK_PRESENCE_PUT:
    case ASK_PRESENCE_GET:
        return read_members(kind == ASK_PRESENCE_PUT ? put_members : get_members, ret_ask->root, 0,
                   &ret_ask->presence, ret_ask->problem)
                   ? WEIR_OK
                   : WEIR_MALFORMED;
    case ASK_PUBLISH:
        return read_publish(frame_bytes_max, ret_ask);
    case ASK_PULL:
        return read_pull(ret_ask);
    case ASK_TOKEN:
    case ASK_DAEMON_KEY:
    case ASK_NONE:
        break;
    }
    return WEIR_INVALID;
}

void platform_ask_fini(struct platform_ask *ask)
{
    json_decref(ask->root);
    mem_free(ask->frames);
    mem_free(ask->path);
    *ask = (struct platform_ask){0};
}

// ---- Rows

void frame_ask_write(const struct frame_ask *frame, struct buf *out)
{
    struct json_writer writer;
    json_writer_init(&writer, out);
    jsonw_object_begin(&writer, NULL);
    jsonw_string(&writer, "w", frame->workspace_id);
    jsonw_string(&writer, "r", frame->runtime_target_id);
    if (frame->machine_id.len > 0) {
        jsonw_string(&writer, "m", frame->machine_id);
    }
    jsonw_string(&writer, "s", frame->source_relay_id);
    jsonw_string(&writer, "t", frame->target_relay_id);
    jsonw_string(&writer, "d", frame->direction);
    jsonw_string(&writer, "p", frame->payload);
    if (frame->issued_at_ms >= 0) {
        jsonw_i64(&writer, "i", frame->issued_at_ms);
    }
    if (frame->signature.len > 0) {
        jsonw_string(&writer, "g", frame->signature);
    }
    jsonw_u64(&writer, "n", frame->payload.len);
    jsonw_object_end(&writer);
}
