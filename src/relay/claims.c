// SPDX-License-Identifier: Apache-2.0
// Every claim is a row: name, how it is checked, where it goes.
#include "relay/claims.h"

#include <jansson.h>
#include <stddef.h>
#include <stdio.h>

#include "base/mem.h"
#include "proto/json_scan.h"

static const char *const role_names[] = {
    [ROLE_DAEMON] = "workspace-daemon",
    [ROLE_CLIENT] = "client",
    [ROLE_WORKER] = "worker",
};

const char *role_name(enum role role)
{
    return role_names[role];
}

bool role_parse(struct slice text, enum role *ret_role)
{
    for (int i = 0; i < ROLE_COUNT; i++) {
        if (slice_eq(text, slice_str(role_names[i]))) {
            *ret_role = (enum role)i;
            return true;
        }
    }
    return false;
}

enum claim_kind {
    CLAIM_TEXT,          // string of 1..max
    CLAIM_NULLABLE_TEXT, // or null
    CLAIM_AUDIENCE,      // string of 1..max, or an array of such
    CLAIM_INT,
    CLAIM_NATURAL,
    CLAIM_ROLE,
    CLAIM_SCOPE,
    CLAIM_PROFILE,
    CLAIM_IDS,      // array of strings of 1..max
    CLAIM_CHANNELS, // array of "agent-session:…"
};

#define NOWHERE SIZE_MAX
#define AT(field) offsetof(struct claims, field)

static const struct claim_rule {
    const char *name;
    enum claim_kind kind;
    size_t max;
    size_t target; // offset of a char * in struct claims, or NOWHERE
} rules[] = {
    {"clientId", CLAIM_TEXT, 128, AT(client_id)},
    {"userId", CLAIM_TEXT, 128, AT(user_id)},
    {"installId", CLAIM_TEXT, 128, AT(install_id)},
    {"runtimeTargetId", CLAIM_TEXT, 128, AT(runtime_target_id)},
    {"workspaceId", CLAIM_TEXT, 128, AT(workspace_id)},
    {"managedExecutorId", CLAIM_TEXT, 128, AT(managed_executor_id)},
    {"machineId", CLAIM_TEXT, 255, AT(machine_id)},
    {"role", CLAIM_ROLE, 0, NOWHERE},
    {"scope", CLAIM_SCOPE, 0, NOWHERE},
    {"sessionIds", CLAIM_IDS, 128, NOWHERE},
    {"sessionChannels", CLAIM_CHANNELS, 255, NOWHERE},
    {"e2eeProfile", CLAIM_PROFILE, 0, NOWHERE},
    {"policyMode", CLAIM_TEXT, 128, NOWHERE},
    {"daemonPublicKey", CLAIM_NULLABLE_TEXT, 512, NOWHERE},
    {"pairingSecret", CLAIM_NULLABLE_TEXT, 1024, NOWHERE},
    {"relayWsBaseUrl", CLAIM_NULLABLE_TEXT, 512, NOWHERE},
    {"iss", CLAIM_TEXT, 255, NOWHERE},
    {"jti", CLAIM_TEXT, 255, NOWHERE},
    {"aud", CLAIM_AUDIENCE, 255, NOWHERE},
    {"iat", CLAIM_INT, 0, NOWHERE},
    {"exp", CLAIM_INT, 0, NOWHERE},
    {"nbf", CLAIM_INT, 0, NOWHERE},
    {"ver", CLAIM_INT, 0, NOWHERE},
    {"daemonIssueGeneration", CLAIM_NATURAL, 0, NOWHERE},
};

static const struct claim_rule *rule_of(const char *name)
{
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        if (strcmp(rules[i].name, name) == 0) {
            return &rules[i];
        }
    }
    return NULL;
}

static struct slice text_of(const json_t *value)
{
    return slice_of(json_string_value(value), json_string_length(value));
}

// Lengths are UTF-16 code units; a character beyond the BMP (four bytes) counts two.
static size_t utf16_len(struct slice text)
{
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++) {
        unsigned char byte = (unsigned char)text.at[i];
        len += (byte & 0xc0) != 0x80;
        len += byte >= 0xf0;
    }
    return len;
}

static bool is_text(const json_t *value, size_t max)
{
    if (!json_is_string(value)) {
        return false;
    }
    size_t len = utf16_len(text_of(value));
    return len >= 1 && len <= max;
}

static bool is_texts(const json_t *value, size_t count_max, size_t len_max)
{
    if (!json_is_array(value) || json_array_size(value) > count_max) {
        return false;
    }
    size_t index;
    json_t *item;
    json_array_foreach(value, index, item) {
        if (!is_text(item, len_max)) {
            return false;
        }
    }
    return true;
}

static bool read_int(const json_t *value, double min, int64_t *ret_number)
{
    if (!json_is_number(value)) {
        return false;
    }
    double number = json_number_value(value);
    // The range first: a double beyond int64_t must not be converted.
    if (!(number >= min && number <= 9007199254740991.0) || number != (double)(int64_t)number) {
        return false;
    }
    *ret_number = (int64_t)number;
    return true;
}

static bool read_choice(const json_t *value, const char *const *names, int *ret_choice)
{
    for (int i = 0; json_is_string(value) && names[i] != NULL; i++) {
        if (slice_eq(text_of(value), slice_str(names[i]))) {
            *ret_choice = i;
            return true;
        }
    }
    return false;
}

static bool read_channels(const json_t *value, size_t len_max, struct claims *claims)
{
    if (!is_texts(value, CLAIMS_CHANNELS_MAX, len_max)) {
        return false;
    }
    size_t index;
    json_t *item;
    json_array_foreach(value, index, item) {
        struct slice text = text_of(item);
        struct slice rest = slice_skip(text, strlen("agent-session:"));
        if (!slice_starts_with(text, SLICE("agent-session:")) || rest.len == 0 ||
            slice_find(rest, '\n') >= 0) {
            return false;
        }
        text = json_js_trim(text);
        char *copy = mem_copy(text.at, text.len);
        if (copy == NULL) {
            claims->no_memory = true;
            return false;
        }
        claims->session_channels[claims->session_channel_count++] = copy;
    }
    return true;
}

static bool keep_text(const json_t *value, size_t target, struct claims *claims)
{
    struct slice text = json_js_trim(text_of(value));
    if (target == NOWHERE || text.len == 0) {
        return true;
    }
    char **field = (char **)(void *)((char *)claims + target);
    *field = mem_copy(text.at, text.len);
    claims->no_memory = *field == NULL;
    return *field != NULL;
}

static bool read_int_claim(
    const struct claim_rule *rule, const json_t *value, struct claims *claims)
{
    int64_t number;
    if (!read_int(value, rule->kind == CLAIM_NATURAL ? 0 : -9007199254740991.0, &number)) {
        return false;
    }
    if (rule->kind == CLAIM_NATURAL) {
        claims->has_generation = true;
        claims->generation = number;
    } else if (strcmp(rule->name, "exp") == 0) {
        claims->has_expiry = true;
        claims->expiry_s = number;
    }
    return true;
}

static bool read_enum_claim(
    const struct claim_rule *rule, const json_t *value, struct claims *claims)
{
    static const char *const scopes[] = {"runtime", "pairing", "session-events", NULL};
    static const char *const profiles[] = {"noise-ik", "noise-ikpsk2", NULL};
    int choice;
    if (rule->kind == CLAIM_ROLE) {
        claims->has_role = json_is_string(value) && role_parse(text_of(value), &claims->role);
        return claims->has_role;
    }
    if (!read_choice(value, rule->kind == CLAIM_SCOPE ? scopes : profiles, &choice)) {
        return false;
    }
    if (rule->kind == CLAIM_SCOPE) {
        claims->scope = (enum scope)(SCOPE_RUNTIME + choice);
    } else {
        claims->profile = (enum frame_profile)(FRAME_PROFILE_IK + choice);
    }
    return true;
}

static bool read_claim(const struct claim_rule *rule, const json_t *value, struct claims *claims)
{
    switch (rule->kind) {
    case CLAIM_TEXT:
        return is_text(value, rule->max) && keep_text(value, rule->target, claims);
    case CLAIM_NULLABLE_TEXT:
        return json_is_null(value) || is_text(value, rule->max);
    case CLAIM_AUDIENCE:
        return is_text(value, rule->max) || is_texts(value, SIZE_MAX, rule->max);
    case CLAIM_INT:
    case CLAIM_NATURAL:
        return read_int_claim(rule, value, claims);
    case CLAIM_ROLE:
    case CLAIM_SCOPE:
    case CLAIM_PROFILE:
        return read_enum_claim(rule, value, claims);
    case CLAIM_IDS:
        return is_texts(value, CLAIMS_CHANNELS_MAX, rule->max);
    case CLAIM_CHANNELS:
        return read_channels(value, rule->max, claims);
    }
    return false;
}

static bool read_claims(const json_t *object, struct claims *claims)
{
    const char *name;
    json_t *value;
    if (!json_is_object(object)) {
        return false;
    }
    json_object_foreach((json_t *)(uintptr_t)object, name, value) {
        const struct claim_rule *rule = rule_of(name);
        if (rule == NULL) {
            if (claims->unknown[0] == '\0') {
                snprintf(claims->unknown, sizeof claims->unknown, "%s", name);
            }
        } else if (!read_claim(rule, value, claims)) {
            return false;
        }
    }
    return true;
}

// The platform's own word, when it gives one.
static void copy_reason(const json_t *answer, char *reason, size_t size)
{
    const json_t *text = json_object_get(answer, "reason");
    if (!json_is_string(text)) {
        text = json_object_get(answer, "error");
    }
    snprintf(reason, size, "%s", json_is_string(text) ? json_string_value(text)
                                                      : "VALIDATION_FAILED");
}

static enum admission_verdict judge(
    const json_t *answer, unsigned status, struct claims *claims, char *reason, size_t size)
{
    if (!json_is_object(answer)) {
        snprintf(reason, size, "INVALID_JSON");
        return ADMISSION_INVALID_JSON;
    }
    if (status < 200 || status > 299 || !json_is_true(json_object_get(answer, "ok"))) {
        copy_reason(answer, reason, size);
        return ADMISSION_DENIED;
    }
    if (!read_claims(json_object_get(answer, "claims"), claims)) {
        snprintf(reason, size, claims->no_memory ? "OUT_OF_MEMORY" : "INVALID_CLAIMS");
        return claims->no_memory ? ADMISSION_NO_MEMORY : ADMISSION_INVALID_CLAIMS;
    }
    reason[0] = '\0';
    return ADMISSION_OK;
}

enum admission_verdict claims_read(struct slice answer, unsigned status, struct claims *ret_claims,
    char *reason, size_t size)
{
    *ret_claims = (struct claims){0};
    json_t *json = json_loadb(answer.at, answer.len, 0, NULL);
    enum admission_verdict verdict = judge(json, status, ret_claims, reason, size);
    json_decref(json);
    if (verdict != ADMISSION_OK) {
        claims_fini(ret_claims);
    }
    return verdict;
}

void claims_fini(struct claims *claims)
{
    char **texts[] = {&claims->workspace_id, &claims->runtime_target_id, &claims->client_id,
        &claims->machine_id, &claims->install_id, &claims->user_id, &claims->managed_executor_id};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        mem_free(*texts[i]);
        *texts[i] = NULL;
    }
    for (size_t i = 0; i < claims->session_channel_count; i++) {
        mem_free(claims->session_channels[i]);
    }
    claims->session_channel_count = 0;
}
