// SPDX-License-Identifier: Apache-2.0
#include "health/sockets/dialect.h"

static struct slice text_of(const json_t *value)
{
    return json_is_string(value) ? slice_of(json_string_value(value), json_string_length(value))
                                 : SLICE_EMPTY;
}

static enum ask_verb verb_of(struct slice word)
{
    static const struct {
        struct slice word;
        enum ask_verb verb;
    } verbs[] = {
        {{"ping", 4}, ASK_PING},
        {{"pong", 4}, ASK_PONG},
        {{"subscribe", 9}, ASK_SUBSCRIBE},
        {{"unsubscribe", 11}, ASK_UNSUBSCRIBE},
        {{"get_current", 11}, ASK_CURRENT},
        {{"list_subscriptions", 18}, ASK_LIST},
    };
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        if (slice_eq(word, verbs[i].word)) {
            return verbs[i].verb;
        }
    }
    return ASK_UNKNOWN;
}

// The first of two members that is there.
static const json_t *either(const json_t *object, const char *first, const char *second)
{
    const json_t *value = json_object_get(object, first);
    return value != NULL ? value : json_object_get(object, second);
}

void ask_read(struct ask *ask, struct slice text)
{
    *ask = (struct ask){.word = SLICE_EMPTY, .service = SLICE_EMPTY, .machine = SLICE_EMPTY};
    if (slice_eq(slice_trim(text), SLICE("ping"))) {
        ask->verb = ASK_PING;
        return;
    }
    ask->document = json_loadb(text.at, text.len, 0, NULL);
    if (!json_is_object(ask->document)) {
        return;
    }
    const json_t *word = either(ask->document, "action", "type");
    ask->word = text_of(word != NULL ? word : json_object_get(ask->document, "event"));
    ask->verb = verb_of(ask->word);
    ask->devices = either(ask->document, "device_id", "hostname");
    ask->third = ask->devices != NULL && json_object_get(ask->document, "action") != NULL;
    ask->patterns = json_object_get(ask->document, "subscriptions");
    ask->service = text_of(json_object_get(ask->document, "service"));
    ask->machine = text_of(json_object_get(ask->document, "machine"));
}

void ask_fini(struct ask *ask)
{
    json_decref(ask->document);
    ask->document = NULL;
}

size_t ask_name_count(const json_t *names)
{
    return json_is_string(names) ? 1 : json_array_size(names);
}

struct slice ask_name(const json_t *names, size_t index)
{
    return text_of(json_is_array(names) ? json_array_get(names, index) : names);
}

bool ask_split_pattern(struct slice pattern, struct slice *ret_service, struct slice *ret_machine)
{
    ptrdiff_t at = slice_find(pattern, '@');
    if (at <= 0 || (size_t)at + 1 == pattern.len) {
        return false;
    }
    *ret_service = slice_of(pattern.at, (size_t)at);
    *ret_machine = slice_skip(pattern, (size_t)at + 1);
    return true;
}
