// SPDX-License-Identifier: Apache-2.0
// One pass over the fields. Nearly all of them are in no row, so a row is looked for only when one
// of that length exists, and Connection's words only when it has any but the two everybody sends.
//
// 1. What Connection names never travels, whatever it is; what the edge says is added behind that,
//    so that nobody can talk the edge out of saying it.
// 2. A name that a service may take for one of the rows is treated as one of them.
#include "engine/edge/head_rules.h"

#include "proto/http1_body.h"

enum action { KEEP, DROP, TRAILERS, ID };

static const struct rule {
    struct slice name;
    enum action request;
    enum action answer;
} rules[] = {
#define HEAD_RULE(name, request, answer) {{(name), sizeof(name) - 1}, (request), (answer)},
#include "engine/edge/head_rules.def"
#undef HEAD_RULE
};

// A set bit n: a row's name has n bytes.
static const uint64_t lengths = 0
#define HEAD_RULE(name, request, answer) | (UINT64_C(1) << (sizeof(name) - 1))
#include "engine/edge/head_rules.def"
#undef HEAD_RULE
    ;

struct named {
    struct slice words[HEAD_RULES_NAMED_MAX];
    size_t count;
};

struct fields_out {
    struct http1_header *at;
    size_t count;
    size_t max;
    bool full;
};

static char folded(char byte)
{
    if (byte >= 'A' && byte <= 'Z') {
        return (char)(byte | 0x20);
    }
    return byte == '_' ? '-' : byte;
}

static bool names_equal(struct slice name, struct slice row)
{
    if (name.len != row.len) {
        return false;
    }
    for (size_t i = 0; i < name.len; i++) {
        if (folded(name.at[i]) != row.at[i]) {
            return false;
        }
    }
    return true;
}

static const struct rule *rule_of(struct slice name)
{
    if (name.len >= 64 || (lengths >> name.len & 1) == 0) {
        return NULL;
    }
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        if (names_equal(name, rules[i].name)) {
            return &rules[i];
        }
    }
    return NULL;
}

// Collects what Connection names; False when that is too much.
static bool read_named(const struct http1_header *fields, size_t count, struct named *named)
{
    named->count = 0;
    for (size_t i = 0; i < count; i++) {
        struct slice rest = fields[i].value;
        struct slice word;
        if (!slice_eq_nocase(fields[i].name, SLICE("connection"))) {
            continue;
        }
        while (slice_split(&rest, ',', &word)) {
            word = slice_trim(word);
            if (word.len == 0 || slice_eq_nocase(word, SLICE("keep-alive")) ||
                slice_eq_nocase(word, SLICE("close"))) {
                continue;
            }
            if (named->count == HEAD_RULES_NAMED_MAX) {
                return false;
            }
            named->words[named->count++] = word;
        }
    }
    return true;
}

static bool is_named(const struct named *named, struct slice name)
{
    for (size_t i = 0; i < named->count; i++) {
        if (slice_eq_nocase(named->words[i], name)) {
            return true;
        }
    }
    return false;
}

static void put(struct fields_out *out, struct slice name, struct slice value)
{
    if (out->count == out->max) {
        out->full = true;
        return;
    }
    out->at[out->count++] = (struct http1_header){name, value};
}

static void say(struct fields_out *out, struct slice name, struct slice value)
{
    if (value.len > 0) {
        put(out, name, value);
    }
}

static bool has_word(struct slice value, struct slice wanted)
{
    struct slice word;
    while (slice_split(&value, ',', &word)) {
        if (slice_eq_nocase(slice_trim(word), wanted)) {
            return true;
        }
    }
    return false;
}

static enum action action_of(
    const struct http1_header *field, const struct named *named, bool request)
{
    const struct rule *rule = rule_of(field->name);
    if (rule != NULL) {
        enum action action = request ? rule->request : rule->answer;
        // TE belongs to Connection's words by its own definition (RFC 9110 section 10.1.4).
        return action == TRAILERS || !is_named(named, field->name) ? action : DROP;
    }
    return is_named(named, field->name) ? DROP : KEEP;
}

static bool copy_fields(const struct http1_header *fields, size_t count, bool request,
    struct fields_out *out, bool *ret_has_id)
{
    struct named named;
    if (!read_named(fields, count, &named)) {
        return false;
    }
    *ret_has_id = false;
    for (size_t i = 0; i < count; i++) {
        switch (action_of(&fields[i], &named, request)) {
        case ID:
            *ret_has_id = true;
            put(out, fields[i].name, fields[i].value);
            break;
        case KEEP:
            put(out, fields[i].name, fields[i].value);
            break;
        case TRAILERS:
            if (has_word(fields[i].value, SLICE("trailers"))) {
                put(out, SLICE("te"), SLICE("trailers"));
            }
            break;
        case DROP:
            break;
        }
    }
    return true;
}

enum weir_result head_rules_request(const struct http1_header *fields, size_t count,
    const struct head_facts *facts, struct http1_header *out, size_t out_max, size_t *ret_count)
{
    struct fields_out to = {.at = out, .max = out_max};
    bool has_id;
    if (!copy_fields(fields, count, true, &to, &has_id)) {
        return WEIR_TOO_LARGE;
    }
    say(&to, SLICE("x-forwarded-for"), facts->peers);
    put(&to, SLICE("x-forwarded-proto"), SLICE("https"));
    say(&to, SLICE("x-forwarded-host"), facts->host);
    say(&to, SLICE("x-forwarded-port"), facts->port);
    say(&to, SLICE("x-real-ip"), facts->peer);
    say(&to, SLICE("forwarded"), facts->forwarded);
    if (!has_id) {
        say(&to, SLICE("x-request-id"), facts->request_id);
    }
    *ret_count = to.count;
    return to.full ? WEIR_TOO_LARGE : WEIR_OK;
}

enum weir_result head_rules_answer(const struct http1_header *fields, size_t count,
    struct http1_header *out, size_t out_max, size_t *ret_count)
{
    struct fields_out to = {.at = out, .max = out_max};
    bool has_id;
    if (!copy_fields(fields, count, false, &to, &has_id)) {
        return WEIR_TOO_LARGE;
    }
    *ret_count = to.count;
    return to.full ? WEIR_TOO_LARGE : WEIR_OK;
}

size_t head_rules_trailers(
    const struct http1_header *fields, size_t count, bool request, struct http1_header *out)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        const struct rule *rule = rule_of(fields[i].name);
        bool travels = rule == NULL || (request ? rule->request : rule->answer) == KEEP;
        if (travels && http1_trailer_allowed(fields[i].name)) {
            out[kept++] = fields[i];
        }
    }
    return kept;
}

struct slice head_rules_value(const struct http1_header *fields, size_t count, struct slice name)
{
    for (size_t i = 0; i < count; i++) {
        if (slice_eq_nocase(fields[i].name, name)) {
            return fields[i].value;
        }
    }
    return SLICE_EMPTY;
}
