// SPDX-License-Identifier: Apache-2.0
// The rules of frame_types.def as a table, and the little machine that runs them. A frame is
// valid when some rule holds entirely: the sender may send its type, the naming member says so,
// the profile is one of the rule's, and every check passes. Rules that share a name (versions,
// profiles, ok and not ok) exclude each other; a text that names itself twice, by type and by
// schema, is the first of the two that is valid.
//
// The table is searched in order. The first row is the one that nearly every frame hits, and the
// others are told apart by the length of their names before a byte is compared.
#include "relay/frame.h"

#define CHECKS_MAX 8
#define USER_ID_LEN_MAX 128
#define DISPLAY_NAME_LEN_MAX 255
#define TTL_SECONDS_MIN 30
#define TTL_SECONDS_MAX 3600

// What a member must be.
enum predicate {
    IS_STRING,
    IS_FILLED, // a string that is not blank
    IS_NUMBER,
    IS_POSITIVE_INT,
    IS_NATURAL_INT,
    IS_TTL,
    IS_2,
    IS_3,
    IS_TRUE,
    IS_FALSE,
    IS_OBJECT,
    IS_OBJECT_OR_NULL,
    IS_CHANNEL,
    IS_PRESENCE_ACTION,
    IS_USER_ID,
    IS_DISPLAY_NAME,
    IS_METHOD,
    IS_WORKER_PATH,
};

struct check {
    enum frame_key key;
    enum predicate predicate;
    bool optional;
};

struct rule {
    enum frame_type type;
    unsigned profiles; // bits of enum frame_profile; 0: not looked at
    struct check checks[CHECKS_MAX];
    size_t check_count;
};

struct name {
    enum frame_key member;
    struct slice text;
    unsigned from; // bits of enum frame_from
};

#define BIT(number) (1U << (number))
#define CLIENT BIT(FRAME_FROM_CLIENT)
#define DAEMON BIT(FRAME_FROM_DAEMON)
#define WORKER BIT(FRAME_FROM_WORKER)
#define NO_PROFILE 0U
#define IK_PROFILE BIT(FRAME_PROFILE_IK)
#define IKPSK2_PROFILE BIT(FRAME_PROFILE_IKPSK2)
#define ANY_PROFILE (IK_PROFILE | IKPSK2_PROFILE)
#define MUST(field, is)                                                                            \
    {                                                                                              \
        FRAME_KEY_##field, is, false                                                               \
    }
#define MAY(field, is)                                                                             \
    {                                                                                              \
        FRAME_KEY_##field, is, true                                                                \
    }

static const struct name names[] = {
#define FRAME_TYPE(symbol, naming_member, name_text, senders)                                      \
    [FRAME_##symbol] = {.member = FRAME_KEY_##naming_member,                                       \
        .text = {name_text, sizeof name_text - 1},                                                 \
        .from = (senders)},
#include "relay/frame_types.def"
};

static const struct rule rules[] = {
#define FRAME_RULE(symbol, allowed, ...)                                                           \
    {.type = FRAME_##symbol,                                                                       \
        .profiles = (allowed),                                                                     \
        .checks = {__VA_ARGS__},                                                                   \
        .check_count = sizeof((const struct check[]){__VA_ARGS__}) / sizeof(struct check)},
#include "relay/frame_types.def"
};

static const char *const key_names[] = {
#define FRAME_KEY(field, name) name,
#include "relay/frame_keys.def"
#undef FRAME_KEY
};

// Written once by frame_rules_init, read by all threads.
static struct json_keys *keys;

enum weir_result frame_rules_init(void)
{
    keys = json_keys_new(key_names, FRAME_KEY_COUNT);
    return keys == NULL ? WEIR_MEMORY : WEIR_OK;
}

void frame_rules_fini(void)
{
    json_keys_free(keys);
    keys = NULL;
}

static bool is_int_between(const struct json_value *value, double low, double high)
{
    double number;
    return json_value_is_int(value, &number) && number >= low && number <= high;
}

static bool is_int_from(const struct json_value *value, double low)
{
    double number;
    return json_value_is_int(value, &number) && number >= low;
}

static bool is_action(const struct json_value *value)
{
    return json_value_is_text(value, SLICE("heartbeat")) ||
           json_value_is_text(value, SLICE("joined")) || json_value_is_text(value, SLICE("left"));
}

static bool is_method(const struct json_value *value)
{
    return json_value_is_text(value, SLICE("POST")) || json_value_is_text(value, SLICE("GET")) ||
           json_value_is_text(value, SLICE("PATCH"));
}

static bool holds(const struct json_value *value, enum predicate predicate)
{
    switch (predicate) {
    case IS_STRING:
        return json_value_is_string(value);
    case IS_FILLED:
        return json_value_is_filled(value);
    case IS_NUMBER:
        return value->kind == JSON_KIND_NUMBER;
    case IS_POSITIVE_INT:
        return is_int_from(value, 1);
    case IS_NATURAL_INT:
        return is_int_from(value, 0);
    case IS_TTL:
        return is_int_between(value, TTL_SECONDS_MIN, TTL_SECONDS_MAX);
    case IS_2:
        return json_value_is_number(value, 2);
    case IS_3:
        return json_value_is_number(value, 3);
    case IS_TRUE:
        return value->kind == JSON_KIND_TRUE;
    case IS_FALSE:
        return value->kind == JSON_KIND_FALSE;
    case IS_OBJECT:
        return value->kind == JSON_KIND_OBJECT;
    case IS_OBJECT_OR_NULL:
        return value->kind == JSON_KIND_OBJECT || value->kind == JSON_KIND_NULL;
    case IS_CHANNEL:
        return json_value_starts_with(value, SLICE("agent-session:"));
    case IS_PRESENCE_ACTION:
        return is_action(value);
    case IS_USER_ID:
        return json_value_is_filled(value) && json_value_utf16_len(value) <= USER_ID_LEN_MAX;
    case IS_DISPLAY_NAME:
        return json_value_is_string(value) && json_value_utf16_len(value) <= DISPLAY_NAME_LEN_MAX;
    case IS_METHOD:
        return is_method(value);
    case IS_WORKER_PATH:
        return json_value_starts_with(value, SLICE("/api/runtime/workspaces/"));
    }
    return false;
}

static enum frame_profile profile_of(const struct json_value *value)
{
    if (json_value_is_text(value, SLICE("noise-ik"))) {
        return FRAME_PROFILE_IK;
    }
    if (json_value_is_text(value, SLICE("noise-ikpsk2"))) {
        return FRAME_PROFILE_IKPSK2;
    }
    return FRAME_PROFILE_NONE;
}

static bool rule_names(const struct rule *rule, const struct frame *frame, enum frame_from from)
{
    const struct name *name = &names[rule->type];
    return (name->from & BIT(from)) != 0 &&
           json_value_is_text(&frame->values[name->member], name->text);
}

static bool rule_holds(const struct rule *rule, struct frame *frame)
{
    frame->profile = rule->profiles == 0 ? FRAME_PROFILE_NONE : profile_of(&frame->profile_value);
    if (rule->profiles != 0 && (rule->profiles & BIT(frame->profile)) == 0) {
        return false;
    }
    for (size_t i = 0; i < rule->check_count; i++) {
        const struct check *check = &rule->checks[i];
        const struct json_value *value = &frame->values[check->key];
        bool absent = check->optional && value->kind == JSON_KIND_ABSENT;
        if (!absent && !holds(value, check->predicate)) {
            return false;
        }
    }
    return true;
}

static void note_numbers(struct frame *frame)
{
    frame->after_sequence = 0;
    frame->has_after_sequence =
        frame->type == FRAME_SUBSCRIBE &&
        json_value_is_int(&frame->after_sequence_value, &frame->after_sequence);
}

bool frame_parse(struct slice text, enum frame_from from, struct frame *ret_frame)
{
    weir_assert(keys != NULL);
    if (json_scan(text, keys, ret_frame->values) != WEIR_OK) {
        return false;
    }
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        if (rule_names(&rules[i], ret_frame, from) && rule_holds(&rules[i], ret_frame)) {
            ret_frame->type = rules[i].type;
            note_numbers(ret_frame);
            return true;
        }
    }
    return false;
}

bool frame_text(const struct json_value *value, char *scratch, size_t size, struct slice *ret_text)
{
    if (!json_value_is_string(value) || (value->escaped && value->text.len > size)) {
        return false;
    }
    *ret_text = value->text;
    if (value->escaped) {
        *ret_text = slice_of(scratch, json_value_unescape(value, scratch));
    }
    return true;
}

bool frame_text_trimmed(
    const struct json_value *value, char *scratch, size_t size, struct slice *ret_text)
{
    if (!frame_text(value, scratch, size, ret_text)) {
        return false;
    }
    *ret_text = json_js_trim(*ret_text);
    return true;
}
